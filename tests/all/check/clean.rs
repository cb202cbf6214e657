//! What is good is proved, and nothing else is said.

use super::{CHECK, QUICK, good, is_package, scene, two, verdicts};
use crate::kit::chantal::Repository;
use crate::kit::keys::Key;
use crate::kit::mirror::{Mirror, beside};
use crate::kit::upstream::{Checksum, DebExtra, Package, RpmExtra, Upstream, edit_root};
use crate::old_stores::last_ones;

#[test]
fn what_is_as_the_upstream_made_it_is_proved() {
    for upstream in Upstream::both() {
        let mirror = scene(upstream);
        for args in [&CHECK[..], &QUICK[..]] {
            let result = good(&mirror.chantal, args);
            assert_eq!(
                verdicts(&mirror.chantal, &result),
                ["r: proved", "r/s: proved", "[dir]/www/r/latest: proved"]
            );
            let key = Key::archive().fingerprint();
            for state in result["states"].as_array().unwrap() {
                assert_eq!(state["signed_by"][0], key.as_str());
                assert_eq!(state["packages"], 2);
            }
            assert_eq!(result["notes"].as_array().unwrap().len(), 0, "{result:#}");
            let objects = result["objects"].as_u64().unwrap();
            let hashed = result["files_hashed"].as_u64().unwrap();
            assert_eq!(hashed, if args == QUICK { 0 } else { objects });
        }
        let key = Key::archive().fingerprint();
        let output = mirror.run(&QUICK).succeeds();
        let line =
            format!("r/s: proved, signed by Archive <archive@example.org> ({key}), 2 packages\n");
        assert!(output.stdout.contains(&line), "{output:?}");
        assert!(
            output.stdout.contains(" (0 B hashed), 0 damaged\n"),
            "{output:?}"
        );
    }
}

#[test]
fn digests_that_name_no_object_are_proved() {
    let upstreams = [Checksum::Sha512, Checksum::Sha1].map(|checksum| {
        Upstream::rpm().with_rpm(|rpm| {
            rpm.checksum = checksum;
            rpm.package_checksum = checksum;
        })
    });
    for upstream in upstreams {
        let mirror = scene(upstream);
        let result = good(&mirror.chantal, &CHECK);
        assert!(verdicts(&mirror.chantal, &result).contains(&"r/s: proved".to_owned()));
    }
}

#[test]
fn what_has_everything_is_proved() {
    let upstreams = [
        Upstream::deb().with_deb(|deb| {
            use DebExtra::{Appstream, ByHash, Cnf, Contents, Installer, Pdiff, Sources, Udebs};
            deb.extras = [
                Appstream, ByHash, Cnf, Contents, Installer, Pdiff, Sources, Udebs,
            ]
            .into();
        }),
        Upstream::rpm().with_rpm(|rpm| {
            use RpmExtra::{Comps, Key, Modules, Prestodelta, UnknownTypes, Updateinfo};
            rpm.extras = [Comps, Key, Modules, Prestodelta, UnknownTypes, Updateinfo].into();
        }),
    ];
    for upstream in upstreams {
        let apt = upstream.kind() == "apt";
        let mut mirror = Mirror::of(two(upstream));
        if apt {
            mirror = mirror.defined(|repository| {
                let lines = ["sources: true", "udebs: true", "installer: true"];
                lines
                    .iter()
                    .fold(repository, |repository, line| repository.format(line))
            });
        }
        mirror.sync().exits(0);
        let result = good(&mirror.chantal, &CHECK);
        assert_eq!(
            verdicts(&mirror.chantal, &result),
            ["r: proved", "[dir]/www/r/latest: proved"]
        );
    }
}

#[test]
fn what_was_filtered_is_proved_to_the_evidence() {
    for upstream in Upstream::both() {
        let mirror = Mirror::of(two(upstream))
            .defined(|repository| repository.more("filters:\n  exclude: [other]\n"));
        mirror.run(&["config", "keygen"]).exits(0);
        mirror.sync().exits(0);
        mirror.snapshot("s");
        let publish = ["publish", "--snapshot-name", "s", "--to", "www/s"];
        mirror.run(&publish).exits(0);
        let result = good(&mirror.chantal, &CHECK);
        let expected = ["r", "r/s", "[dir]/www/r/latest", "[dir]/www/s"];
        assert_eq!(
            verdicts(&mirror.chantal, &result),
            expected.map(|name| format!("{name}: proved_to_evidence"))
        );
        // The upstream's key, and ours.
        let tree = &result["states"][3]["signed_by"];
        assert_eq!(tree.as_array().unwrap().len(), 2, "{result:#}");
    }
}

#[test]
fn merges_are_their_own() {
    for upstream in Upstream::both() {
        let mirror = scene(upstream.clone());
        let other = upstream.package(Package::new("third", "1.0-1"));
        let (_, _server) = beside(&mirror.chantal, "b", &other, Repository::unpublished);
        mirror.run(&["repo", "sync", "--repo-id", "b"]).exits(0);
        let merge = ["snapshot", "merge", "--source", "r/s", "--source", "b"];
        let name = ["--name", "m", "--repo-id", "r"];
        mirror.run(&[&merge[..], &name].concat()).exits(0);
        mirror
            .run(&["publish", "--snapshot-name", "r/m", "--to", "www/m"])
            .exits(0);
        let result = good(&mirror.chantal, &CHECK);
        let verdicts = verdicts(&mirror.chantal, &result);
        assert!(verdicts.contains(&"r/m: own".to_owned()), "{verdicts:?}");
        assert!(
            verdicts.contains(&"[dir]/www/m: own".to_owned()),
            "{verdicts:?}"
        );

        // Without a source it is only noted that nothing can be compared.
        mirror
            .run(&["snapshot", "delete", "--name", "r/s"])
            .exits(0);
        let result = good(&mirror.chantal, &["db", "check", "--snapshot", "r/m"]);
        let note = result["states"][0]["notes"][0].as_str().unwrap();
        assert!(
            note.contains("no longer exist or have changed: r/s"),
            "{note}"
        );
    }
}

#[test]
fn without_a_signature_the_chain_begins_at_the_root() {
    for upstream in Upstream::both() {
        let mirror = Mirror::of(two(upstream.unsigned()))
            .defined(Repository::unsigned)
            .synced();
        let result = good(&mirror.chantal, &CHECK);
        assert_eq!(
            verdicts(&mirror.chantal, &result),
            ["r: unsigned", "[dir]/www/r/latest: unsigned"]
        );
    }
}

/// A snapshot that is published where apt knows a newer Release gets a new root.
#[test]
fn a_root_with_a_new_date_is_proved() {
    let mut mirror = scene(Upstream::deb());
    mirror.run(&["config", "keygen"]).exits(0);
    mirror.next(|upstream| upstream.replace(Package::new("hello", "2.0-1")));
    mirror.sync().exits(0);
    mirror
        .run(&["publish", "--repo-id", "r", "--to", "www/x"])
        .exits(0);
    mirror
        .run(&["publish", "--snapshot-name", "s", "--to", "www/x"])
        .exits(0);
    let result = good(&mirror.chantal, &CHECK);
    let verdicts = verdicts(&mirror.chantal, &result);
    assert!(
        verdicts.contains(&"[dir]/www/x: proved".to_owned()),
        "{verdicts:?}"
    );
}

/// Earlier generations stay in a tree, and a tree may show an earlier state.
#[test]
fn what_is_earlier_is_proved_as_far_as_it_can_be() {
    for upstream in Upstream::both() {
        let mut mirror = scene(upstream);
        mirror.next(|upstream| upstream.replace(Package::new("hello", "2.0-1")));
        mirror.sync().exits(0);
        good(&mirror.chantal, &CHECK);
        mirror.define(Repository::unpublished);
        mirror.next(|upstream| upstream.replace(Package::new("hello", "3.0-1")));
        mirror.sync().exits(0);
        let result = good(&mirror.chantal, &CHECK);
        assert_eq!(
            verdicts(&mirror.chantal, &result),
            ["r: proved", "r/s: proved", "[dir]/www/r/latest: proved"]
        );
        let note = &result["states"][2]["notes"][0];
        assert_eq!(note, "an earlier state of its repository", "{result:#}");
    }
}

#[test]
fn a_part_of_the_storage_can_be_checked() {
    let mirror = scene(Upstream::rpm());
    let snapshot = ["db", "check", "--snapshot-name", "s"];
    let result = good(&mirror.chantal, &snapshot);
    assert_eq!(verdicts(&mirror.chantal, &result), ["r/s: proved"]);
    let repository = ["db", "check", "--quick", "--repo-id", "r"];
    let result = good(&mirror.chantal, &repository);
    assert_eq!(result["states"].as_array().unwrap().len(), 3);
    mirror
        .run(&["db", "check", "--repo-id", "nothing"])
        .fails_with(2, "error: repository nothing was never synced\n");
    mirror
        .run(&["db", "check", "--quick", "--read-data", "5%"])
        .exits(2);
}

#[test]
fn it_runs_beside_others_but_not_beside_a_cleanup() {
    let mirror = scene(Upstream::rpm());
    let path = mirror.chantal.data().join("chantal.lock");
    let held = std::fs::File::open(path).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockShared).unwrap();
    good(&mirror.chantal, &QUICK);
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    mirror.run(&QUICK).exits(6);
}

#[test]
fn flat_repositories_are_proved() {
    let upstream = Upstream::deb().with_deb(|deb| deb.flat = Some("./".to_owned()));
    let mirror = scene(upstream);
    let result = good(&mirror.chantal, &CHECK);
    assert!(verdicts(&mirror.chantal, &result).contains(&"r/s: proved".to_owned()));
}

/// What a Release says of components that were not selected does not matter.
#[test]
fn only_what_was_selected_counts() {
    let mut mirror = Mirror::of(two(Upstream::deb()));
    edit_root(&mut mirror.built.tree, |release| {
        let (one, other) = ("1".repeat(64), "2".repeat(64));
        let list = "contrib/binary-amd64/Packages";
        let more = format!(
            "SHA256:\n {one} 1 {list}\n {other} 2 {list}\n {one} 3 non-free/binary-amd64/Packages.lz4\n"
        );
        release.replacen("SHA256:\n", &more, 1)
    });
    mirror.server.swap(mirror.built.tree.clone());
    mirror.sync().exits(0);
    let result = good(&mirror.chantal, &CHECK);
    let proved = ["r: proved", "[dir]/www/r/latest: proved"];
    assert_eq!(verdicts(&mirror.chantal, &result), proved);
}

/// They have neither keyrings nor evidence, which is no damage.
#[test]
fn states_of_earlier_versions_are_unproved_at_worst() {
    for (version, store) in last_ones() {
        let chantal = store();
        chantal.run(&["db", "migrate"]).exits(0);
        let output = chantal.run(&["db", "check", "--format", "json"]);
        let result = output.json();
        let states = result["states"].as_array().unwrap();
        assert!(!states.is_empty(), "{version}");
        for state in states {
            let verdict = state["verdict"].as_str().unwrap();
            let is_expected = ["unproved", "unsigned", "own"].contains(&verdict)
                || version >= 4 && verdict == "proved_to_evidence";
            assert!(is_expected, "version {version}: {state:#}");
            let notes = state["notes"].to_string();
            let is_noted =
                notes.contains("unproved: ") && notes.contains("before schema version 4");
            assert_eq!(
                is_noted,
                verdict == "unproved",
                "version {version}: {state:#}"
            );
        }
        assert_eq!(
            result["damaged_objects"].as_array().unwrap().len(),
            0,
            "{result:#}"
        );
        assert_eq!(
            result["database"].as_array().unwrap().len(),
            0,
            "{result:#}"
        );
    }
}

/// Clients differ in which one they read: both are mirrored, and both count.
#[test]
fn two_lists_of_the_same_name_are_both_read() {
    let mut mirror = Mirror::of(two(Upstream::rpm()));
    let other = Upstream::rpm()
        .package(Package::new("third", "1.0-1"))
        .build();
    for (path, bytes) in other.tree.iter() {
        if is_package(path) || path.contains("primary.xml") {
            mirror.built.tree.insert(path, bytes);
        }
    }
    let root = other.tree.text("repodata/repomd.xml");
    let start = root.find("<data type=\"primary\">").unwrap();
    let end = start + root[start..].find("</data>").unwrap() + "</data>".len();
    edit_root(&mut mirror.built.tree, |text| {
        text.replacen("</repomd>", &format!("{}</repomd>", &root[start..end]), 1)
    });
    mirror.server.swap(mirror.built.tree.clone());
    mirror.sync().exits(0);
    let result = good(&mirror.chantal, &CHECK);
    assert_eq!(verdicts(&mirror.chantal, &result)[0], "r: proved");
    assert_eq!(result["states"][0]["packages"], 3, "{result:#}");
}
