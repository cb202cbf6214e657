//! The trusted keys as they are published: which, under which names, and when they change.

use super::keys::{KEY, Keyed, TRUST, checked};
use super::{both, hello, mirror_of};
use crate::kit::chantal::Repository;
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::upstream::{Checksum, Package, Upstream};

fn both_keys() -> [&'static Key; 2] {
    [Key::archive(), Key::stranger()]
}

/// Syncs what this definition makes of the mirror; the tree is exactly the upstream's with the
/// definition's keys.
#[track_caller]
fn publishes(mirror: &Mirror, repository: &Repository) {
    mirror.chantal.repository(repository);
    mirror.sync().succeeds();
    let expected = mirror.built.mirrored_by(repository);
    mirror.tree().assert_same(&expected);
    // And from here on nothing is to be done.
    mirror.server.clear_log();
    let said = mirror.sync().succeeds().stdout;
    let unchanged = "r: unchanged, 1 package, 1 request, 0 B downloaded\n";
    assert_eq!(said, unchanged);
    mirror.tree().assert_same(&expected);
}

#[test]
fn all_trusted_keys_and_no_others() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        let two = mirror.usual().trusting_all(&both_keys());
        publishes(&mirror, &two);
        for path in two.key_files().paths() {
            assert!(mirror.tree().find(path).is_some());
        }
        // The usual definition has the one that is chosen here.
        let fingerprint = Key::archive().fingerprint();
        let line = format!("gpgkey_fingerprints: [{fingerprint}]");
        mirror.chantal.repository(&two.format(&line));
        mirror.sync().succeeds();
        mirror.tree().assert_same(&mirror.built.mirrored());
    }
}

#[test]
fn without_keys_there_is_no_file() {
    for upstream in both() {
        let mirror = mirror_of(upstream.unsigned());
        mirror.sync().succeeds();
        mirror.tree().assert_same(&mirror.built.mirrored());
        assert_eq!(mirror.usual().key_files().len(), 0);
    }
    // Clients may want to check what chantal was told not to.
    for upstream in both() {
        let kind = upstream.kind();
        let mirror = mirror_of(upstream);
        let off = match kind {
            "apt" => "gpgcheck: false",
            _ => "repo_gpgcheck: false",
        };
        publishes(&mirror, &mirror.usual().format(off));
        mirror.tree().assert_same(&mirror.built.mirrored());
    }
}

#[test]
fn under_the_name_that_is_configured() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        publishes(&mirror, &mirror.usual());
        // Each takes effect though the upstream is the same, and the name before does not stay.
        for (written, name) in [
            ("vendor", "vendor"),
            ("Other v2.asc", "Other v2"),
            ("x.gpg", "x"),
        ] {
            let name = match mirror.upstream.kind() {
                "apt" => name,
                _ => written,
            };
            mirror.chantal.repository(&mirror.usual().key_name(written));
            mirror.sync().succeeds();
            let named = mirror.usual().key_name(name);
            mirror.tree().assert_same(&mirror.built.mirrored_by(&named));
        }
        publishes(&mirror, &mirror.usual());
    }
}

#[test]
fn a_name_that_is_no_file_name_is_refused() {
    for upstream in both() {
        let mirror = mirror_of(upstream).defined(|repository| repository.key_name("keys/mine"));
        mirror.sync().fails_with(
            2,
            "error: [dir]/config/repos.d/r.yaml: publish.key_name: \"keys/mine\" is not a valid file name\n\
             hint: the key files are at the top of the published tree, and must not be hidden files\n",
        );
        assert_eq!(mirror.server.requests(), []);
    }
}

/// Clients import what they find there, and the upstream's root may be unsigned.
#[test]
fn nothing_of_the_upstream_stands_in_their_place() {
    for (upstream, taken) in [
        (Upstream::deb(), "r-archive-key.asc"),
        (Upstream::deb(), "r-archive-key.gpg"),
        (Upstream::rpm(), "RPM-GPG-KEY-r"),
    ] {
        let below = format!("{taken}/hello.pkg");
        for path in [taken, &below] {
            let mut mirror = mirror_of(upstream.clone().package(hello().raw(b"good")));
            mirror.sync().succeeds();
            let before = mirror.tree();
            mirror.next(|upstream| upstream.replace(hello().raw(b"evil").at(path)));
            refused(&mirror, path, taken);
            mirror.tree().assert_same(&before);
            // Under another name there is room for both.
            let mine = mirror.usual().key_name("mine");
            mirror.chantal.repository(&mine);
            mirror.sync().succeeds();
            assert_eq!(mirror.tree().bytes(path), b"evil");
            for (path, bytes) in mine.key_files().iter() {
                assert_eq!(mirror.tree().bytes(path), bytes);
            }
        }
        // The same bytes are no reason to complain.
        let key = mirror_key(&upstream, taken);
        let mirror = mirror_of(upstream.package(hello().raw(&key).at(taken)));
        mirror.sync().succeeds();
        mirror.tree().assert_same(&mirror.built.mirrored());
    }
}

/// Whoever answers for the upstream of an unsigned repomd may name any file as metadata.
#[test]
fn metadata_does_not_stand_in_their_place() {
    let mirror = mirror_of(Upstream::rpm().package(hello()));
    mirror.sync().succeeds();
    let before = mirror.tree();
    mirror.server.edit(|tree| {
        let evil = Key::stranger().public_armored();
        let data = format!(
            "<data type=\"key\"><checksum type=\"sha256\">{}</checksum><location href=\"RPM-GPG-KEY-r\"/></data></repomd>",
            Checksum::Sha256.hex(evil.as_bytes())
        );
        let repomd = tree.text("repodata/repomd.xml").replace("</repomd>", &data);
        let signature = Key::archive().sign(repomd.as_bytes());
        tree.insert("repodata/repomd.xml.asc", signature);
        tree.insert("repodata/repomd.xml", repomd);
        tree.insert("RPM-GPG-KEY-r", evil);
    });
    refused(&mirror, "RPM-GPG-KEY-r", "RPM-GPG-KEY-r");
    mirror.tree().assert_same(&before);
    // The upstream without it is as good as before.
    mirror.server.swap(mirror.built.tree.clone());
    publishes(&mirror, &mirror.usual());
}

#[track_caller]
fn refused(mirror: &Mirror, path: &str, key_file: &str) {
    mirror.sync().fails_with(
        4,
        &format!(
            "error: r: the upstream has a file {path} where the trusted keys are published ({key_file})\n\
             hint: clients would trust keys that the upstream chooses; if this file is legitimate, set publish.key_name to give the key files another name; the state of the last successful sync is unchanged\n"
        ),
    );
}

fn mirror_key(upstream: &Upstream, path: &str) -> Vec<u8> {
    let files = Repository::of("r", upstream, "").key_files();
    files.bytes(path).to_vec()
}

#[test]
fn other_keys_in_the_file_are_published_by_the_next_sync() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        publishes(&mirror, &mirror.usual());
        mirror.server.clear_log();
        let two = mirror.usual().trusting_all(&both_keys());
        mirror.chantal.repository(&two);
        mirror.sync().succeeds();
        // The signature is judged by the new keys; indexes and packages are known.
        let known = |path: &str| {
            [
                "InRelease",
                "Release",
                "Release.gpg",
                "repomd.xml",
                "repomd.xml.asc",
                "repomd.xml.key",
            ]
            .contains(&path.rsplit('/').next().unwrap())
        };
        let mut answered = mirror.server.requests();
        answered.retain(|request| request.status == 200);
        assert!(!answered.is_empty() && answered.iter().all(|request| known(&request.path)));
        publishes(&mirror, &two);
    }
}

#[test]
fn keys_from_a_url() {
    for upstream in both() {
        let mut keyed = Keyed::of(upstream);
        keyed.mirror.sync().succeeds();
        let archive = keyed.mirror.usual();
        let (mirror, expected) = (&keyed.mirror, keyed.mirror.built.mirrored_by(&archive));
        mirror.tree().assert_same(&expected);
        mirror
            .sync()
            .succeeds()
            .mentions("r: unchanged, 1 package, 1 request, ");

        // Somebody says that another key is trusted, and the upstream is signed by both in turn.
        let key = Key::stranger().public_armored() + &Key::archive().public_armored();
        keyed.keys.edit(|tree| tree.insert(KEY, key));
        mirror.chantal.run(&TRUST).succeeds();
        mirror.sync().succeeds();
        let two = archive.trusting_all(&both_keys());
        mirror.tree().assert_same(&mirror.built.mirrored_by(&two));
        mirror
            .sync()
            .succeeds()
            .mentions("r: unchanged, 1 package, 1 request, ");
        keyed.rotate(Key::stranger());
        keyed.mirror.sync().succeeds();
    }
}

/// The root needs a key that the URL has only now: the state that it makes is published with that
/// key.
#[test]
fn a_key_that_comes_with_the_root_is_published_with_it() {
    let (old, new) = (Key::archive().fingerprint(), Key::stranger().fingerprint());
    for upstream in both() {
        let mut keyed = Keyed::of(upstream);
        keyed.mirror.sync().succeeds();
        let key = Key::archive().public_armored() + &Key::stranger().public_armored();
        keyed.keys.edit(|tree| tree.insert(KEY, key));
        keyed.rotate(Key::stranger());
        keyed.define(&[&format!("gpgkey_fingerprints: [{old}, {new}]")]);
        keyed.mirror.sync().succeeds();
        let two = keyed.mirror.usual().trusting_all(&both_keys());
        for (path, bytes) in two.key_files().iter() {
            assert_eq!(keyed.mirror.tree().bytes(path), bytes);
        }
        let unchanged = "r: unchanged, 1 package, 1 request, ";
        keyed.mirror.sync().succeeds().mentions(unchanged);
    }
}

/// Even where no root is verified with it.
#[test]
fn a_key_that_cannot_be_had_is_known_before_packages_come() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        let repository = checked(&mirror)
            .unsigned()
            .format("gpgkey_file: absent.asc");
        mirror.chantal.repository(&repository);
        let said = mirror.sync().exits(2).stderr;
        assert!(
            said.starts_with("error: r: cannot load key: ") && said.contains("absent.asc"),
            "{said}"
        );
        let package = mirror.built.path_of("hello");
        assert_eq!(mirror.server.requests_of(&package).len(), 0);
    }
}

/// A client with the keys of yesterday is told by its own check, not by a file that stayed.
#[test]
fn earlier_keys_do_not_stay() {
    for upstream in both() {
        let mut mirror = mirror_of(upstream);
        mirror.sync().succeeds();
        mirror.chantal.repository(&mirror.usual().key_name("now"));
        mirror.next(|upstream| upstream.add(Package::new("new", "1-1")));
        mirror.sync().succeeds();
        let published = mirror.tree();
        for path in mirror.usual().key_files().paths() {
            assert!(published.find(path).is_none(), "{path}");
        }
        for (path, bytes) in mirror.usual().key_name("now").key_files().iter() {
            assert_eq!(published.bytes(path), bytes);
        }
    }
}

/// zypper offers it for import: no other keys than the trusted ones may stand there.
#[test]
fn an_upstreams_own_key_file_holds_trusted_keys_or_is_left_out() {
    const PATH: &str = "repodata/repomd.xml.key";
    for (key, is_published) in [(Key::archive(), true), (Key::stranger(), false)] {
        let mirror = mirror_of(Upstream::rpm().package(hello()));
        mirror
            .server
            .edit(|tree| tree.insert(PATH, key.public_armored()));
        let warning = "warning: r: [server]/repodata/repomd.xml.key skipped: contains keys that are not trusted\n";
        mirror
            .sync()
            .fails_with(0, if is_published { "" } else { warning });
        assert_eq!(mirror.tree().find(PATH).is_some(), is_published);
    }
}
