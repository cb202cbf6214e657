//! What commands print: text for people and one JSON document for programs.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{both, hello, mirror_of};
use crate::kit::chantal::{Chantal, NO_STORAGE};
use crate::kit::clients::installed;
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::process::{self, Output};
use crate::kit::server::{Fault, Times};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

/// Times become `TIME` when they look like one, manifests `MANIFEST`: all else must be exact.
fn steady(value: &mut Value) {
    match value {
        Value::String(text) => {
            let is_time = text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok();
            let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_time {
                "TIME".clone_into(text);
            } else if is_digest {
                "MANIFEST".clone_into(text);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(steady),
        Value::Object(fields) => fields.values_mut().for_each(steady),
        _ => {}
    }
}

#[track_caller]
fn prints(chantal: &Chantal, args: &[&str], code: i32, expected: &Value) {
    let output = chantal
        .run(&[args, &["--format", "json"]].concat())
        .exits(code);
    let mut got = output.json();
    steady(&mut got);
    assert_eq!(got, *expected, "{args:?}");
}

/// Requests made and bytes that came with them, as the server saw it.
fn traffic(mirror: &Mirror) -> (usize, usize) {
    let requests = mirror.server.requests();
    let good = requests.iter().filter(|request| request.status == 200);
    let bytes = good.map(|request| mirror.built.tree.bytes(&request.path).len());
    (requests.len(), bytes.sum())
}

fn size(tree: &Tree) -> usize {
    tree.iter().map(|(_, bytes)| bytes.len()).sum()
}

#[test]
fn sync_in_words() {
    let signer = format!(
        "  verified by {} Archive <archive@example.org>\n",
        Key::archive().fingerprint()
    );
    for upstream in both() {
        let kind = upstream.kind();
        let mut mirror = mirror_of(upstream);
        let signer_of = |packages: &str| match kind {
            "rpm" => signer.replace("verified", &format!("{packages} verified")),
            _ => String::new(),
        };
        let (one, two) = (signer_of("1 package"), signer_of("2 packages"));
        let published = |files: usize, retained: &str| {
            format!("  published at [dir]/www/r/latest ({files} files{retained})\n")
        };
        let said = mirror.sync().succeeds().stdout;
        let (requests, bytes) = traffic(&mirror);
        let bytes = indicatif::HumanBytes(bytes as u64);
        let first =
            format!("r: 1 package (1 added, 0 removed), {requests} requests, {bytes} downloaded\n");
        let files = mirror.built.mirrored().len();
        assert_eq!(said, first + &signer + &one + &published(files, ""));

        mirror.next(|upstream| {
            upstream.remove("hello");
            upstream.add(Package::new("one", "1-1"));
            upstream.add(Package::new("two", "1-1"));
        });
        mirror.server.clear_log();
        let said = mirror.sync().succeeds().stdout;
        let (requests, bytes) = traffic(&mirror);
        let bytes = indicatif::HumanBytes(bytes as u64);
        let files = mirror.built.mirrored().len();
        let second = format!(
            "r: 2 packages (2 added, 1 removed), {requests} requests, {bytes} downloaded\n"
        );
        let retained = ", 1 earlier generation retained";
        assert_eq!(said, second + &signer + &two + &published(files, retained));

        // Quiet is silent as long as all is well, and says what is not.
        mirror.sync_with(&["-q"]).succeeds().says("");
        mirror.server.swap(Tree::new());
        let output = mirror.sync_with(&["-q"]).exits(4).says("");
        assert!(output.stderr.starts_with("error: r: "));
    }
}

/// What is said in JSON of the signatures inside one package that [`Key::archive`] signed: who
/// signed how many, and the same by fingerprint alone, as a map and as a list.
fn inside(kind: &str) -> (Value, Value, Value) {
    let fingerprint = Key::archive().fingerprint();
    if kind == "apt" {
        return (json!([]), json!({}), json!([]));
    }
    let signer = json!({
        "fingerprint": fingerprint, "user_id": "Archive <archive@example.org>", "packages": 1,
    });
    (
        json!([signer]),
        json!({ &fingerprint: 1 }),
        json!([fingerprint]),
    )
}

const FILE: &str = "[dir]/config/repos.d/r.yaml";
const TREE: &str = "[dir]/www/r/latest";
const SYNC: [&str; 4] = ["repo", "sync", "--repo-id", "r"];

#[test]
fn sync_and_publish_as_json() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        let chantal = &mirror.chantal;
        let files = mirror.built.mirrored().len();
        let output = mirror.sync_with(&["--format", "json"]).succeeds();
        let (requests, bytes) = traffic(&mirror);
        let mut got = output.json();
        steady(&mut got);
        let expected = json!([{
            "repository": "r", "outcome": "changed", "packages": 1, "packages_added": 1,
            "packages_removed": 0, "requests": requests, "bytes_downloaded": bytes,
            "manifest": "MANIFEST",
            "verified_by": [{
                "fingerprint": Key::archive().fingerprint(),
                "user_id": "Archive <archive@example.org>",
            }],
            "packages_verified_by": inside(mirror.upstream.kind()).0,
            "warnings": [], "error": null,
            "published": {
                "path": TREE, "changed": true, "files": files, "copied": 0, "earlier_generations": 0,
            },
        }]);
        assert_eq!(got, expected);
        let expected = json!([{
            "repository": "r", "outcome": "unchanged", "packages": 1, "packages_added": 0,
            "packages_removed": 0, "requests": 1, "bytes_downloaded": 0,
            "manifest": "MANIFEST", "verified_by": [], "packages_verified_by": [],
            "warnings": [], "error": null,
            "published": {
                "path": TREE, "changed": false, "files": 0, "copied": 0, "earlier_generations": 0,
            },
        }]);
        prints(chantal, &SYNC, 0, &expected);
        let expected = json!([{
            "repository": "r", "path": TREE, "changed": true, "files": files, "copied": 0,
            "earlier_generations": 0,
        }]);
        prints(chantal, &["publish", "--repo-id", "r"], 0, &expected);
    }
}

#[test]
fn configuration_list_and_details_as_json() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        let (chantal, kind) = (&mirror.chantal, mirror.upstream.kind());
        let fingerprint = Key::archive().fingerprint();
        let expected = json!({
            "base_path": "[dir]/data",
            "signing_key": null,
            "repositories": [{
                "repository": "r", "type": kind, "enabled": true, "upstream": "[server]/",
                "file": FILE,
            }],
        });
        prints(chantal, &["config", "check"], 0, &expected);

        mirror.sync().succeeds();
        let bytes = size(&mirror.built.mirrored());
        let package_signatures = (kind == "rpm").then_some("required");
        let packages_verified = (kind == "rpm").then_some(true);
        let expected = json!([{
            "repository": "r", "type": kind, "enabled": true, "upstream": "[server]/",
            "root_signature": "required", "package_signatures": package_signatures,
            "packages_verified": packages_verified, "packages": 1, "bytes": bytes, "synced_at": "TIME",
            "checked_at": "TIME", "manifest": "MANIFEST", "signed_by": [fingerprint],
        }]);
        prints(chantal, &["repo", "list"], 0, &expected);
        let expected = json!({
            "repository": "r", "type": kind, "enabled": true, "file": FILE,
            "upstream": "[server]/", "root_signature": "required",
            "package_signatures": package_signatures,
            "key_sources": ["[dir]/config/repos.d/r.asc"],
            "keys": [{
                "fingerprint": fingerprint, "user_id": "Archive <archive@example.org>",
                "created": "TIME", "expires": null, "problem": null, "signing_subkeys": [],
            }],
            "latest_path": TREE, "auto_publish": true,
            "state": {
                "manifest": "MANIFEST", "packages": 1, "bytes": bytes, "upstream_date": "TIME",
                "upstream_valid_until": null, "synced_at": "TIME", "checked_at": "TIME",
                "signed_by": [fingerprint], "packages_signed_by": inside(kind).1,
                "packages_verified": packages_verified,
            },
            "published": [{
                "path": TREE, "published_at": "TIME", "current": true, "earlier_generations": 0,
            }],
        });
        prints(chantal, &["repo", "show", "--repo-id", "r"], 0, &expected);
        let show = ["repo", "show", "--repo-id", "r", "--format", "json"];
        let date = chantal.run(&show).json()["state"]["upstream_date"].clone();
        let date: jiff::Timestamp = date.as_str().unwrap().parse().unwrap();
        assert_eq!(date.as_second(), mirror.upstream.date);
    }
}

#[test]
fn failures_and_history_as_json() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        let (chantal, root) = (&mirror.chantal, mirror.upstream.root());
        let history = ["repo", "history", "--repo-id", "r"];
        prints(chantal, &history, 0, &json!([]));
        mirror.sync().succeeds();
        let (requests, bytes) = traffic(&mirror);
        mirror.sync().succeeds();
        mirror
            .server
            .fault(&root, Times::Always, Fault::Status(500));
        let error =
            format!("cannot fetch the metadata: [server]/{root}: server returned HTTP status 500");
        let expected = json!([{
            "repository": "r", "outcome": "failed", "packages": 0, "packages_added": 0,
            "packages_removed": 0, "requests": 1, "bytes_downloaded": 0, "manifest": null,
            "verified_by": [], "packages_verified_by": [], "warnings": [], "error": format!("r: {error}"),
            "published": null, "exit_code": 3, "hint": "try again later; the state of the last successful sync is unchanged",
        }]);
        prints(chantal, &SYNC, 3, &expected);

        let past = |outcome: &str, added: usize, requests: usize, bytes: usize| {
            json!({
                "started": "TIME", "finished": "TIME", "outcome": outcome, "error": null,
                "packages": 1, "packages_added": added, "packages_removed": 0,
                "requests": requests, "bytes_downloaded": bytes, "manifest": "MANIFEST",
                "signed_by": [Key::archive().fingerprint()],
                "packages_signed_by": inside(mirror.upstream.kind()).2,
            })
        };
        let mut failed = past("failed", 0, 1, 0);
        failed["signed_by"] = json!([]);
        failed["packages_signed_by"] = json!([]);
        failed["error"] = error.into();
        let changed = past("changed", 1, requests, bytes);
        let all = json!([failed, past("unchanged", 0, 1, 0), changed]);
        prints(chantal, &history, 0, &all);
        let one = [&history[..], &["--limit", "1"]].concat();
        prints(chantal, &one, 0, &json!([failed]));
        let none = [&history[..], &["--limit", "0"]].concat();
        chantal.run(&none).exits(2);
    }
}

/// Every time in a text as `TIME`, and columns that depend on it pulled together.
fn words(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line.split_ascii_whitespace().map(|word| {
            let end = word.trim_start_matches('(').trim_end_matches([',', ')']);
            match end.parse::<jiff::Timestamp>() {
                Ok(_) => word.replace(end, "TIME"),
                Err(_) => word.to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ") + "\n"
    });
    lines.collect()
}

#[test]
fn lists_and_details_in_words() {
    let mirror = mirror_of(Upstream::deb().package(hello()));
    let chantal = &mirror.chantal;
    chantal.never_create();
    chantal.run(&["init"]).exits(0);
    let run = |args: &[&str]| words(&chantal.run(args).succeeds().stdout);
    let list = ["repo", "list"];
    let show = ["repo", "show", "--repo-id", "r"];
    let history = ["repo", "history", "--repo-id", "r"];
    assert_eq!(
        chantal.run(&list).succeeds().stdout,
        "REPOSITORY  TYPE  ENABLED  ROOT  GPGCHECK  PACKAGES  SIZE  SYNCED\n\
         r           apt   yes      -     -         -         -     never\n"
    );
    chantal
        .run(&history)
        .succeeds()
        .says("r has never been synced\n");
    chantal.run(&["config", "check"]).succeeds().says(
        "REPOSITORY  TYPE  ENABLED  UPSTREAM\n\
         r           apt   yes      [server]/\n\
         configuration OK: 1 repository, storage [dir]/data\n",
    );
    let fingerprint = Key::archive().fingerprint();
    let above = format!(
        "repository r\ntype apt\nenabled yes\ndefined in [dir]/config/repos.d/r.yaml\n\
         upstream [server]/\nroot signature required\nkeys from [dir]/config/repos.d/r.asc\n\
         key {fingerprint} Archive <archive@example.org>\n"
    );
    let never = "state never synced\nlatest_path [dir]/www/r/latest\n";
    assert_eq!(run(&show), format!("{above}{never}"));

    mirror.sync().succeeds();
    let (requests, downloaded) = traffic(&mirror);
    let downloaded = indicatif::HumanBytes(downloaded as u64);
    let size = indicatif::HumanBytes(size(&mirror.built.mirrored()) as u64);
    assert_eq!(
        run(&list),
        format!(
            "REPOSITORY TYPE ENABLED ROOT GPGCHECK PACKAGES SIZE SYNCED\nr apt yes signed - 1 {size} TIME\n"
        )
    );
    let shown = run(&show);
    let (state, manifest) = shown.split_once("manifest ").unwrap();
    assert_eq!(
        state,
        format!(
            "{above}packages 1\nsize {size}\nupstream date TIME (30 days ago)\nsynced TIME\nchecked TIME\n\
             signed by {fingerprint}\n"
        )
    );
    let (_, rest) = manifest.split_once('\n').unwrap();
    assert_eq!(
        rest,
        "latest_path [dir]/www/r/latest\npublished [dir]/www/r/latest (current, TIME)\n"
    );
    mirror.server.swap(Tree::new());
    mirror.sync().exits(4);
    assert_eq!(
        run(&history),
        format!(
            "STARTED PACKAGES CHANGE REQUESTS DOWNLOADED RESULT\n\
             TIME 1 +0 -0 2 0 B failed: no repository found: none of \
             [server]/dists/stable/InRelease, [server]/dists/stable/Release exists\n\
             TIME 1 +1 -0 {requests} {downloaded} changed\n"
        )
    );
}

#[test]
fn other_words_for_other_repositories() {
    let mirror = mirror_of(Upstream::rpm().package(hello()).unsigned());
    mirror.sync().succeeds();
    let off = mirror.chantal.run(&["repo", "list"]).succeeds().stdout;
    assert!(off.contains("not checked"), "{off}");
    let auto = mirror.usual().format("repo_gpgcheck: auto");
    mirror.chantal.repository(&auto);
    let auto = mirror.chantal.run(&["repo", "list"]).succeeds().stdout;
    assert!(auto.contains("unsigned"), "{auto}");
    let chantal = Chantal::with_storage();
    chantal
        .run(&["repo", "list"])
        .succeeds()
        .says("no repositories configured\n");
    chantal
        .run(&["config", "check"])
        .succeeds()
        .says("configuration OK: 0 repositories, storage [dir]/data\n");
}

#[test]
fn init_overwrites_nothing() {
    let chantal = Chantal::new();
    chantal
        .run(&["init"])
        .succeeds()
        .says("created storage [dir]/data with pool [dir]/data/pool\n");
    // The lock's file names its last holder.
    let everything = || {
        let mut tree = Tree::read(chantal.dir());
        tree.remove("data/chantal.lock");
        tree
    };
    let before = everything();
    let config = Tree::read(&chantal.config());
    assert_eq!(
        config.paths(),
        ["conf.d/create.yaml", "conf.d/global.yaml"],
        "no examples"
    );
    let again = "storage [dir]/data already exists\n";
    chantal.run(&["init"]).succeeds().says(again);
    let expected = json!({
        "written": [], "storage": "[dir]/data", "pool": "[dir]/data/pool", "created": false,
    });
    prints(&chantal, &["init"], 0, &expected);
    everything().assert_same(&before);
}

/// The examples name the machine's own storage, so this runs where /var/lib is another one.
#[test]
fn init_without_a_configuration_writes_examples_that_are_good() {
    const ELSEWHERE: &str = "mount -t tmpfs none /var/lib && \"$@\" && \"$@\"";
    let chantal = Chantal::new();
    fs::remove_dir_all(chantal.config()).unwrap();
    let elsewhere = |program: &str, args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", ELSEWHERE, "sh", program]);
        command.args(args);
        Output::new("unshare", &process::run(command))
    };
    if !installed("unshare") {
        return;
    }
    let possible = elsewhere("true", &[]);
    if !possible.status.success() {
        println!("skipped: no name space of its own: {}", possible.stderr);
        return;
    }
    let config = chantal.config().display().to_string();
    let chantal_program = env!("CARGO_BIN_EXE_chantal");
    let said = elsewhere(chantal_program, &["--config-dir", &config, "init"]).succeeds();
    assert_eq!(
        chantal.shown(&said.stdout),
        "wrote [dir]/config/conf.d/global.yaml\n\
         wrote [dir]/config/repos.d/example-apt.yaml\n\
         wrote [dir]/config/repos.d/example-rpm.yaml\n\
         created storage /var/lib/chantal with pool /var/lib/chantal/pool\n\
         next: define a repository in repos.d, then run `chantal repo sync --all`\n\
         storage /var/lib/chantal already exists\n"
    );
    let check = chantal.run(&["config", "check"]).exits(0);
    check
        .says_on_stderr(&NO_STORAGE.replace("[dir]/data", "/var/lib/chantal"))
        .says(
            "REPOSITORY      TYPE  ENABLED  UPSTREAM\n\
         example-debian  apt   no       https://deb.example.org/debian/\n\
         example-epel9   rpm   no       https://rpm.example.org/epel/9/Everything/x86_64/\n\
         configuration OK: 2 repositories, storage /var/lib/chantal\n",
        );
}

/// The configuration says what the next sync does; what is there was made by an earlier one.
#[test]
fn packages_that_were_not_verified_are_shown_as_such() {
    let mirror = mirror_of(Upstream::rpm().package(hello()));
    let (chantal, checked) = (&mirror.chantal, mirror.usual());
    let shows = |column: &str, signed: Option<&str>, verified: bool| {
        let list = chantal.run(&["repo", "list"]).succeeds().stdout;
        assert!(list.contains(&format!("  {column}  ")), "{list}");
        let show = ["repo", "show", "--repo-id", "r"];
        let said = chantal.run(&show).succeeds().stdout;
        let line = said
            .lines()
            .find(|line| line.starts_with("packages signed"));
        let by = format!("1 by {}", Key::archive().fingerprint());
        assert!(line.unwrap().ends_with(signed.unwrap_or(&by)), "{said}");
        let show = [&show[..], &["--format", "json"]].concat();
        let state = &chantal.run(&show).json()["state"];
        assert_eq!(state["packages_verified"], verified);
    };
    let publish = ["publish", "--repo-id", "r"];

    chantal.repository(&checked.clone().format("gpgcheck: false"));
    mirror.sync().succeeds();
    shows("no     ", Some("not verified"), false);
    let snapshot = ["snapshot", "create", "--repo-id", "r", "--name", "early"];
    chantal.run(&snapshot).succeeds();
    chantal.run(&publish).succeeds();

    chantal.repository(&checked);
    shows(
        "not yet ",
        Some("not verified yet: the next sync verifies them"),
        false,
    );
    let warning =
        "warning: r: package signatures were not verified: it was synced without gpgcheck\n";
    chantal.run(&publish).fails_with(0, warning);
    let to = chantal.dir().join("www/early").display().to_string();
    let early = ["publish", "--snapshot-name", "r/early", "--to", &to];
    let warning = warning.replace(" r:", " r/early:");
    chantal.run(&early).fails_with(0, &warning);

    // The same files come out of it.
    let said = mirror.sync().succeeds().stdout;
    assert!(said.starts_with("r: unchanged, 1 package, "), "{said}");
    let history = ["repo", "history", "--repo-id", "r", "--format", "json"];
    let past = chantal.run(&history).json();
    assert_eq!(past[0]["outcome"], "unchanged");
    assert_eq!(past[1]["outcome"], "changed");
    shows("yes    ", None, true);
    chantal.run(&publish).succeeds();
}
