//! Generated metadata of a filtered state, synced from the small upstreams of the fixtures.

use super::*;
use crate::sync::{RequestMode, Rollback, Session, SyncContext};

/// A scene whose repository `r` is a filtered mirror.
fn filtered(format: &str) -> Scene {
    let mut scene = Scene::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/upstream");
    let (kind, section) = match format {
        "rpm" => ("rpm", "rpm: {gpgkey_file: KEY, gpgcheck: false}"),
        _ => ("apt", "apt: {gpgkey_file: KEY, distribution: stable}"),
    };
    let key = fixtures.join("key.asc").display().to_string();
    let text = format!(
        "name: r\ntype: {kind}\nupstream: {{url: {}}}\n{}\nfilters: {{exclude: [tiny-data]}}\n\
         check_valid_until: false\n",
        fixtures.join(format).display(),
        section.replace("KEY", &key),
    );
    fs::write(scene.at("config/repos.d/r.yaml"), text).unwrap();
    let loaded = config::load(&scene.at("config")).unwrap();
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    scene.config = loaded.config;
    let workers = threads::pool("test", 2).unwrap();
    let context = SyncContext {
        config: &scene.config,
        storage: &scene.storage,
        workers: &workers,
        progress: &Progress::Lines,
        limiter: None,
        request_mode: RequestMode::Conditional,
        rollback: Rollback::Refused,
    };
    let repository = scene.config.repository(&RepoId::test("r")).unwrap();
    let session = Session::open(context, repository).unwrap();
    session.sync().unwrap();
    drop(session);
    scene
}

/// Damages the file of an object, whatever is in it.
fn damage(scene: &Scene, entry: &Entry) -> DamagedObject {
    let path = scene.storage.pool.object_path(entry.object);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&path, "damaged").unwrap();
    DamagedObject {
        object: entry.object,
        size: entry.size,
        damage: Damage::Size { got: 7 },
        uses: Vec::new(),
    }
}

#[test]
fn generated_indexes_are_made_again_from_the_evidence() {
    for format in ["rpm", "apt"] {
        let scene = filtered(format);
        let id = RepoId::test("r");
        let record = scene.storage.read(|reader| reader.repository(&id));
        let state = record.unwrap().unwrap().state;
        let entries = |manifest| {
            scene
                .storage
                .read(|reader| reader.entries(manifest))
                .unwrap()
        };
        let metadata = |entry: &Entry| matches!(entry.role, Role::Root | Role::Index);
        let mut generated = entries(state.manifest);
        generated.retain(metadata);
        let evidence = entries(state.evidence.unwrap());
        assert!(generated.len() >= 3 && evidence.len() >= 3);
        // Everything at once: the evidence is downloaded first.
        let all = generated.iter().chain(&evidence);
        let damaged: Vec<DamagedObject> = all.map(|entry| damage(&scene, entry)).collect();
        let outcome = scene.repair(&damaged, &[]);
        assert!(outcome.unrepaired.is_empty(), "{:?}", outcome.unrepaired);
        for one in &outcome.repaired {
            let is_own = generated
                .iter()
                .any(|entry| entry.object == one.damaged.object);
            let is_made = one.source == RepairSource::Evidence;
            assert_eq!(is_own, is_made, "{format}: {one:?}");
            assert!(scene.storage.pool.is_intact(one.damaged.object).unwrap());
        }

        // With other evidence than it was made from, the bytes would be others.
        let mut other = state.clone();
        other.evidence = None;
        scene.put_state("r", &other);
        let damaged: Vec<DamagedObject> = generated
            .iter()
            .map(|entry| damage(&scene, entry))
            .collect();
        let outcome = scene.repair(&damaged, &[]);
        assert!(outcome.repaired.is_empty(), "{:?}", outcome.repaired);
        let reasons = &outcome.unrepaired[0].reasons;
        assert!(
            reasons[0].starts_with("generated metadata of r: it has no"),
            "{reasons:?}"
        );
    }
}
