//! Roots that are generated once for all places of a state.

use super::*;
use crate::config::Signing;
use crate::openpgp::{SigningKey, SigningKeyKind};
use crate::store::Reader;
use crate::store::records::{GeneratedRootKey, GeneratedRootRecord, RootValidity};

const RELEASE: &str = "dists/s/Release";
/// 2026-01-01, after the keys were made.
const NOW: i64 = 1_767_225_600;

/// Of a filtered state, whose root is neither dated nor signed.
fn filtered(scene: &Scene, package: &str) -> ObjectId {
    let release = format!("Suite: s\nDescription: {package}\nSHA256:\n");
    let Scene { storage, .. } = scene;
    let files = [
        (RELEASE, release.as_str(), Role::Root),
        ("pool/p", package, Role::File),
    ];
    let entries = files.map(|(path, content, role)| {
        let stored = storage.pool.add(&storage.locks, content.as_bytes());
        Entry::new(RelPath::parse(path).unwrap(), stored.unwrap(), role)
    });
    let built = manifest::build(entries.to_vec()).unwrap();
    storage
        .write(|writer| writer.put_made(&built, NOW))
        .unwrap();
    built.id
}

impl Scene {
    fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join("www").join(name)
    }

    fn signing(&self, name: &str) -> Signing {
        let key_file = self.dir.path().join(name);
        let made = SigningKey::generate(SigningKeyKind::Ed25519, name, None, NOW - 10);
        fs::write(&key_file, made.unwrap().secret_armored).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&key_file, private).unwrap();
        Signing {
            key_file,
            passphrase_file: None,
        }
    }

    fn show(
        &self,
        manifest: ObjectId,
        place: &str,
        key: &ConfiguredKey<'_>,
        mode: PublishMode,
        now: i64,
    ) -> Shown {
        let tree = self.place(place);
        let generator = RootGenerator {
            format: RepoFormat::Apt.rules(),
            key,
            key_name: &RelPath::parse("key").unwrap(),
        };
        let request = Request {
            caller: Caller::Command,
            tree: &tree,
            repository: &RepoId::test("r"),
            snapshot: None,
            manifest,
            root: RootChoice::Generated(generator),
            keep: Duration::ZERO,
            mode,
        };
        publish_at(&self.storage, request, now).unwrap();
        let record = self.storage.read(|reader| reader.tree(&tree));
        let record = record.unwrap().unwrap();
        Shown {
            manifest: record.manifest.unwrap(),
            date: record.newest_root_date.unwrap(),
            release: fs::read(tree.join(RELEASE)).unwrap(),
        }
    }

    fn always(&self, manifest: ObjectId, place: &str, now: i64) -> Shown {
        let no_key = ConfiguredKey::none();
        self.show(manifest, place, &no_key, PublishMode::Always, now)
    }

    fn roots(&self) -> Vec<(GeneratedRootKey, GeneratedRootRecord)> {
        let roots = self.storage.read(Reader::generated_roots);
        roots.unwrap().into_iter().collect()
    }
}

/// What a place shows.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    manifest: ObjectId,
    date: i64,
    release: Vec<u8>,
}

#[test]
fn all_places_of_a_state_have_one_root() {
    let scene = Scene::new();
    let state = filtered(&scene, "1");
    let signing = scene.signing("a");
    for key in [ConfiguredKey::none(), ConfiguredKey::new(Some(&signing))] {
        let show = |place, mode, now| scene.show(state, place, &key, mode, now);
        let first = show("one", PublishMode::Always, NOW);
        // Published again, and elsewhere.
        let again = show("one", PublishMode::Always, NOW + 10);
        assert_eq!(again, first);
        assert_eq!(show("two", PublishMode::IfChanged, NOW + 20), first);
        let signature = |place| fs::read(scene.place(place).join("dists/s/InRelease")).ok();
        assert_eq!(signature("one"), signature("two"));
        assert_eq!(signature("one").is_some(), key.read().unwrap().is_some());
        let new = show("two", PublishMode::RecreateMissing, NOW + 30);
        assert_eq!(new.date, NOW + 30);
        assert_eq!(show("one", PublishMode::Always, NOW + 40), new);
        for place in ["one", "two"] {
            let tree = scene.place(place);
            unpublish(
                &scene.storage,
                &tree,
                RecordFate::Remove,
                MissingTree::Reject,
            )
            .unwrap();
        }
    }
    let keys = scene.roots().into_iter().map(|(key, _)| key.signed_by);
    assert_eq!(keys.filter(Option::is_none).count(), 1);
    assert_eq!(scene.roots().len(), 2);
}

#[test]
fn a_place_whose_clients_know_a_newer_root_gets_a_newer_one() {
    let scene = Scene::new();
    let (state, other) = (filtered(&scene, "1"), filtered(&scene, "2"));
    let first = scene.always(state, "one", NOW);
    assert_eq!(scene.always(other, "two", NOW + 50).date, NOW + 50);
    let newer = scene.always(state, "two", NOW + 50);
    assert_eq!(newer.date, NOW + 51);
    assert_ne!(newer.release, first.release);
    // It is the one for all places from then on.
    assert_eq!(scene.always(state, "three", NOW + 60), newer);
    assert_eq!(scene.always(state, "one", NOW + 60), newer);
    // Back to the other one.
    assert_eq!(scene.always(other, "one", NOW + 60).date, NOW + 60);
}

#[test]
fn another_key_makes_another_root() {
    let scene = Scene::new();
    let state = filtered(&scene, "1");
    let (a, b) = (scene.signing("a"), scene.signing("b"));
    let show = |signing, now| {
        let key = ConfiguredKey::new(signing);
        let shown = scene.show(state, "one", &key, PublishMode::IfChanged, now);
        let record = scene
            .storage
            .read(|reader| reader.tree(&scene.place("one")));
        let fingerprint = key.read().unwrap().map(SigningKey::fingerprint);
        assert_eq!(record.unwrap().unwrap().root_key, fingerprint);
        shown.date
    };
    assert_eq!(show(Some(&a), NOW), NOW);
    assert_eq!(show(Some(&b), NOW + 1), NOW + 1);
    assert_eq!(show(None, NOW + 2), NOW + 2);
    // The first one is older than what clients know.
    assert_eq!(show(Some(&a), NOW + 3), NOW + 3);
    assert_eq!(scene.roots().len(), 3);
    // A place whose clients know none.
    let key = ConfiguredKey::new(Some(&b));
    let shown = scene.show(state, "two", &key, PublishMode::IfChanged, NOW + 4);
    assert_eq!(shown.date, NOW + 1);
}

/// The certificate in the tree is the current one.
#[test]
fn a_stored_root_with_other_key_files_is_not_used() {
    let scene = Scene::new();
    let state = filtered(&scene, "1");
    let signing = scene.signing("a");
    let key = ConfiguredKey::new(Some(&signing));
    let show = |place, now| scene.show(state, place, &key, PublishMode::Always, now);
    let first = show("one", NOW);
    let (of_root, mut record) = scene.roots().remove(0);
    let mut entries = scene
        .storage
        .read(|reader| reader.entries(record.manifest))
        .unwrap();
    let stored = scene
        .storage
        .pool
        .add(&scene.storage.locks, b"an earlier certificate");
    let stored = stored.unwrap();
    for entry in entries.iter_mut().filter(|entry| entry.role == Role::Key) {
        (entry.object, entry.size) = (stored.object, stored.size);
    }
    let built = manifest::build(entries).unwrap();
    record.manifest = built.id;
    scene
        .storage
        .write(|writer| {
            writer.put_made(&built, NOW)?;
            writer.put_generated_root(&of_root, &record)
        })
        .unwrap();
    let new = show("two", NOW + 1);
    assert_eq!(new.date, NOW + 1);
    assert_ne!(new.manifest, first.manifest);
}

#[test]
fn a_lost_or_damaged_root_is_generated_again() {
    let scene = Scene::new();
    let state = filtered(&scene, "1");
    let release = |shown: &Shown| scene.storage.pool.object_path(ObjectId::of(&shown.release));
    let first = scene.always(state, "one", NOW);
    fs::remove_file(release(&first)).unwrap();
    let second = scene.always(state, "two", NOW + 1);
    assert_eq!(second.date, NOW + 1);
    let damaged = release(&second);
    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&damaged, writable).unwrap();
    fs::write(&damaged, "damaged").unwrap();
    let third = scene.always(state, "two", NOW + 2);
    assert_eq!(third.date, NOW + 2);
    assert_eq!(scene.always(state, "one", NOW + 3), third);
    assert_eq!(scene.roots().len(), 1);
}

#[test]
fn a_stored_root_is_needed_as_long_as_its_source() {
    let scene = Scene::new();
    let state = filtered(&scene, "1");
    let clean = || {
        let needed = scene
            .storage
            .read(|reader| reader.needed(|_, _| false))
            .unwrap();
        scene
            .storage
            .write(|writer| writer.retain(&needed))
            .unwrap();
        needed
    };
    let no_key = ConfiguredKey::none();
    let first = scene.always(state, "one", NOW);
    // Clients of the place may know another root, and the stored one is another one from then on.
    let stored = scene.show(state, "two", &no_key, PublishMode::RecreateMissing, NOW + 1);
    unpublish(
        &scene.storage,
        &scene.place("two"),
        RecordFate::Remove,
        MissingTree::Reject,
    )
    .unwrap();
    let needed = clean();
    assert!(
        needed.manifests.contains(&stored.manifest) && needed.manifests.contains(&first.manifest)
    );
    let object = ObjectId::of(&stored.release);
    assert_eq!(
        needed.objects.get(&object),
        Some(&(stored.release.len() as u64))
    );
    assert_eq!(scene.roots().len(), 1);
    assert_eq!(scene.roots()[0].1.manifest, stored.manifest);

    // The tree moves on, and nothing else needs the state.
    let next = filtered(&scene, "2");
    scene.always(next, "one", NOW + 2);
    let needed = clean();
    assert!(!needed.manifests.contains(&state) && !needed.objects.contains_key(&object));
    let sources: Vec<ObjectId> = scene.roots().iter().map(|(key, _)| key.source).collect();
    assert_eq!(sources, [next]);
}

/// A snapshot is used after the expiry date of the upstream, the state is not.
#[test]
fn roots_with_and_without_an_expiry_date_are_stored_apart() {
    let scene = Scene::new();
    let state = filtered(&scene, "1");
    let key = |validity| GeneratedRootKey {
        source: state,
        signed_by: None,
        validity,
    };
    let shown = scene.always(state, "one", NOW);
    let stored = |validity| {
        let root = scene
            .storage
            .read(|reader| reader.generated_root(&key(validity)));
        root.unwrap().map(|root| (root.manifest, root.date))
    };
    assert_eq!(stored(RootValidity::Kept), Some((shown.manifest, NOW)));
    assert_eq!(stored(RootValidity::Dropped), None);
}
