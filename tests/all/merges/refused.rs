//! Merges that are refused, and runs that were killed: nothing is lost, and nothing wrong is signed.

use super::*;

#[test]
fn what_cannot_be_merged_is_refused_and_changes_nothing() {
    let [deb, rpm] = pair(&[("hello", "1.0-1")], &[("other", "1-1")]);
    let [deb, _] = deb;
    let [rpm, _] = rpm;
    let merging = Merging::of(&[deb.clone(), rpm]);
    merging.run(&["a", "b"], &["--name", "m"]).fails_with(
        2,
        "error: cannot merge a/latest (apt) with b/latest (rpm): different types\n",
    );
    merging
        .run(&["b"], &["--name", "m", "--suite", "x"])
        .fails_with(
            2,
            "error: suite is not supported for repositories of type rpm\n",
        );
    merging.run(&["a", "c"], &["--name", "m"]).fails_with(
        2,
        "error: unknown snapshot or state c (known: a/latest, b/latest)\n",
    );
    merging
        .run(&["a"], &["--name", "m", "--repo-id", "c"])
        .fails_with(2, "error: unknown repository c (known: a, b)\n");
    merging.run(&["a"], &["--name", "latest"]).exits(2);
    merging
        .run(&["a"], &["--name", "m", "--label", "two\nlines"])
        .exits(2);
    merging.run(&["a"], &["--name", "m"]).succeeds();
    merging.run(&["a"], &["--name", "m"]).fails_with(
        2,
        "error: snapshot a/m already exists\n\
         hint: snapshots are immutable: choose another name, or delete the existing snapshot first\n",
    );
    let flat = deb.clone().with_deb(|deb| deb.flat = Some("./".to_owned()));
    let merging = Merging::of(&[flat, deb]);
    merging.run(&["a", "b"], &["--name", "m"]).fails_with(
        2,
        "error: cannot merge a/latest (flat repository) with b/latest (not a flat repository)\n",
    );
    let listed = merging.chantal.run(&["snapshot", "list"]).succeeds();
    listed.says("no snapshots\n");
}

/// What a merge reads whole out of the pool is what its name says, or nothing is made of it.
#[test]
fn damaged_keys_and_roots_are_not_merged() {
    for upstreams in pair(&[("hello", "1.0-1")], &[("other", "1-1")]) {
        let merging = Merging::of(&upstreams);
        let snapshot = ["snapshot", "create", "--repo-id", "b", "--name", "s"];
        merging.chantal.run(&snapshot).succeeds();
        let synced = merging.tree("b/s");
        let root = match merging.kind {
            "apt" => "dists/stable/InRelease",
            _ => "repodata/repomd.xml",
        };
        // Both repositories trust one key.
        let [ours, first] = ["b", "a"].map(|name| match merging.kind {
            "apt" => format!("{name}-archive-key.gpg"),
            _ => format!("RPM-GPG-KEY-{name}"),
        });
        for (path, (state, said)) in [(&*ours, ("a", &*first)), (root, ("b", root))] {
            let bytes = synced.bytes(path);
            let hex = Checksum::Sha256.hex(bytes);
            let pool = merging.chantal.data().join("pool/sha256");
            let object = pool.join(&hex[..2]).join(&hex);
            let mut damaged = bytes.to_vec();
            damaged[bytes.len() / 2] ^= 1;
            fs::write(&object, &damaged).unwrap();
            merging.run(&["a", "b"], &["--name", "m"]).fails_with(
                5,
                &format!(
                    "error: {state}/latest: object {hex} of {said} is missing from the pool or \
                     damaged\n\
                     hint: `chantal db check --repair` finds all damaged files, and gets them again \
                     where it can\n"
                ),
            );
            fs::write(&object, bytes).unwrap();
        }
        merging.run(&["a", "b"], &["--name", "m"]).succeeds();
    }
}

/// At moments that nobody chose: either there is a snapshot, whole, or there is none; the place
/// shows one state or the other, each with its own root, and the next run ends the work.
#[test]
fn killed_while_it_merges_and_switches() {
    let mut seed: u64 = 0x6d65;
    let (mut kills, mut ended) = (0, 0);
    for upstreams in pair(&[("hello", "1.0-1"), ("both", "1-1")], &[("both", "2-1")]) {
        let merging = Merging::of(&upstreams);
        let prod = merging.chantal.dir().join("www/prod");
        let to = prod.display().to_string();
        for name in ["one", "two"] {
            let strategy = if name == "one" {
                "rightmost"
            } else {
                "keep-all"
            };
            let merge = [
                "snapshot",
                "merge",
                "--source",
                "a",
                "--source",
                "b",
                "--name",
                name,
                "--strategy",
                strategy,
            ];
            let publish = ["publish", "--snapshot-name", name, "--to", &to];
            for command in [&merge[..], &publish] {
                for attempt in 1.. {
                    // Knuth's multiplier; the high bits are random enough.
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Longer each time: on a busy machine nothing would come to its end.
                    let delay = Duration::from_micros((seed >> 33) % (5_000 * attempt));
                    let mut child = merging.chantal.command(command);
                    let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
                    thread::sleep(delay);
                    child.kill().unwrap();
                    let output = child.wait_with_output().unwrap();
                    let code = output.status.code();
                    merging.chantal.run(&["snapshot", "list"]).succeeds();
                    if prod.exists() {
                        merging.is_whole(&prod);
                    }
                    match code {
                        None => kills += 1,
                        // It came too late to be killed, or a killed run had made the snapshot.
                        Some(code) => {
                            let said = String::from_utf8_lossy(&output.stderr);
                            assert!([0, 2].contains(&code), "{code}: {said}");
                            ended += 1;
                            break;
                        }
                    }
                }
            }
            merging.chantal.run(&["db", "cleanup"]).succeeds();
            // What a killed merge had not published yet.
            let publish = ["publish", "--snapshot-name", name];
            merging.chantal.run(&publish).succeeds();
            merging.is_whole(&merging.chantal.dir().join("www/a").join(name));
        }
        merging.is_whole(&prod);
        // Nobody continues what was made here.
        merging.chantal.run(&["db", "cleanup"]).succeeds();
        let partial = merging.chantal.data().join("pool/partial");
        assert_eq!(fs::read_dir(partial).unwrap().count(), 0);
    }
    assert!(kills > ended, "only {kills} kills came in time");
}

impl Merging {
    /// Every file that the root's list and the indexes promise is there, and signed by our key.
    fn is_whole(&self, tree: &Path) {
        let key = fs::read(self.chantal.config().join("keys/signing.pub.asc")).unwrap();
        let files = Tree::read(tree);
        let (signed, signature) = match self.kind {
            "apt" => ("dists/stable/InRelease", None),
            _ => ("repodata/repomd.xml", Some("repodata/repomd.xml.asc")),
        };
        let signature = signature.map(|path| files.bytes(path));
        if let Some(output) = gpgv(&dearmored(&key), files.bytes(signed), signature) {
            output.exits(0);
        }
        for path in listed(self.kind, &files) {
            assert!(
                files.find(&path).is_some(),
                "no {path} in {:?}",
                files.paths()
            );
        }
    }
}
