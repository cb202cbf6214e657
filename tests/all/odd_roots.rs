//! Roots and indexes as scripts write them: what clients read over, and what is told of it.

use serde_json::Value;

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::clients::{Apt, Dnf, Nginx};
use crate::kit::mirror::Mirror;
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Roots, Upstream, edit_root};

const RELEASE: &str = "dists/stable/Release";

/// A mirror of a tree that is not what the upstream would have.
fn mirror_of(upstream: &Upstream, tree: Tree, more: &str) -> Mirror {
    let mirror = Mirror::of(upstream.clone()).defined(|repository| repository.more(more));
    mirror.server.swap(tree);
    mirror
}

/// What `repo show` says, as text and as JSON.
fn show(mirror: &Mirror) -> (String, Value) {
    let show = ["repo", "show", "--repo-id", "r"];
    let text = mirror.run(&show).exits(0).stdout;
    let json = [&show[..], &["--format", "json"]].concat();
    let json = mirror.run(&json).exits(0).stdout;
    (text, serde_json::from_str(&json).unwrap())
}

fn deb() -> Upstream {
    Upstream::deb()
        .package(Package::new("hello", "1.0-1"))
        .with_deb(|deb| deb.roots = Roots::InReleaseOnly)
}

/// The tree with another root, signed anew.
fn with_root(upstream: &Upstream, edit: impl Fn(&str) -> String) -> Tree {
    let mut tree = upstream.build().tree;
    edit_root(&mut tree, edit);
    tree
}

fn dated(text: &str, date: Option<&str>) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with("Date:"));
    if let Some(date) = date {
        lines.insert(0, format!("Date: {date}"));
    }
    lines.join("\n") + "\n"
}

#[test]
fn an_undated_root_is_taken_until_there_was_a_dated_one() {
    let mut upstream = deb();
    let garbage = with_root(&upstream, |text| dated(text, Some("yesterday")));
    let mirror = mirror_of(&upstream, garbage, "");
    let said = mirror.sync().exits(0).stderr;
    assert_eq!(
        said,
        format!("warning: r: {RELEASE}: invalid Date \"yesterday\", treated as missing\n")
    );
    let (text, json) = show(&mirror);
    let line = text
        .lines()
        .find(|line| line.starts_with("upstream date"))
        .unwrap();
    assert!(
        line.ends_with("none: a sync cannot detect an older version"),
        "{line}"
    );
    assert!(json["state"]["upstream_date"].is_null());
    // A dated one, and the undated one again.
    upstream.add(Package::new("more", "1"));
    mirror.server.swap(with_root(&upstream, str::to_owned));
    assert_eq!(mirror.sync().exits(0).stderr, "");
    upstream.remove("more");
    for date in [None, Some("yesterday"), Some("2024-05-09 10:00:00")] {
        mirror
            .server
            .swap(with_root(&upstream, |text| dated(text, date)));
        let said = mirror.sync().exits(4).stderr;
        assert!(
            said.starts_with(
                "error: r: the metadata has no valid date, but the last synced one with a date"
            ),
            "{said}"
        );
        assert!(
            said.contains("\nhint: ") && said.contains("`check_date: false`"),
            "{said}"
        );
    }
}

/// What protects against older roots is not lost by one that says no date.
#[test]
fn the_newest_date_outlives_an_undated_root() {
    let upstream = deb();
    let new = jiff::Timestamp::from_second(upstream.date + 86_400)
        .unwrap()
        .to_string();
    let old = jiff::Timestamp::from_second(upstream.date - 10 * 86_400)
        .unwrap()
        .to_string();
    let mirror = mirror_of(
        &upstream,
        with_root(&upstream, |text| dated(text, Some(&new))),
        "check_date: false\n",
    );
    assert_eq!(mirror.sync().exits(0).stderr, "");
    for label in ["one", "two"] {
        let undated = with_root(&upstream, |text| {
            dated(text, None).replace("Label: Kit", &format!("Label: {label}"))
        });
        mirror.server.swap(undated);
        mirror.sync().exits(0).mentions("no Date: a sync");
        let (text, json) = show(&mirror);
        assert_eq!(json["state"]["newest_upstream_date"], new.as_str());
        assert!(
            text.contains(&format!("none (last known date: {new})")),
            "{text}"
        );
    }
    mirror
        .server
        .swap(with_root(&upstream, |text| dated(text, Some(&old))));
    mirror
        .sync()
        .exits(4)
        .mentions("upstream metadata is older than the last sync");
    mirror.server.swap(with_root(&upstream, |text| {
        dated(text, Some(&new)).replace("Label: Kit", "Label: x")
    }));
    mirror.sync().exits(0);
    assert!(
        show(&mirror).1["state"]
            .get("newest_upstream_date")
            .is_none()
    );
}

/// To apt a root without a date is older than any other: it would keep the one that it knows, and
/// not say so.
#[test]
fn an_undated_snapshot_gets_a_date_where_a_dated_state_was() {
    let mut upstream = deb();
    let undated = with_root(&upstream, |text| {
        let lines = text.lines().filter(|line| !line.starts_with("Date:"));
        lines.fold(String::new(), |text, line| text + line + "\n")
    });
    let mirror = mirror_of(&upstream, undated, "");
    let chantal = &mirror.chantal;
    mirror.sync().exits(0);
    let create = ["snapshot", "create", "--repo-id", "r", "--name", "undated"];
    chantal.run(&create).exits(0);
    upstream.add(Package::new("more", "1-1"));
    mirror.server.swap(upstream.build().tree);
    mirror.sync().exits(0);
    let place = chantal.dir().join("www/place");
    let to = place.to_str().unwrap().to_owned();
    let current = ["publish", "--repo-id", "r", "--to", &to];
    let snapshot = ["publish", "--snapshot-name", "r/undated", "--to", &to];
    chantal.run(&current).exits(0);
    let server = Server::start_dir(&place);
    let Some(apt) = Apt::find() else { return };
    let knows = |packages: &str| {
        let keys = std::fs::read(place.join("r-archive-key.gpg")).unwrap();
        apt.source_signed_by(&keys, "deb", &format!("{}/ stable main", server.url()));
        apt.get(&["update"]).exits(0);
        let mut names: Vec<String> = Vec::new();
        for name in ["hello", "more"] {
            let said = apt.get(&["download", "--print-uris", name]);
            if said.stdout.contains(".deb") {
                names.push(name.to_owned());
            }
        }
        assert_eq!(names.join(" "), packages);
    };
    knows("hello more");
    chantal
        .run(&snapshot)
        .exits(2)
        .mentions("this state has no date: apt ignores metadata that is older than what it has");
    chantal.run(&["config", "keygen"]).exits(0);
    chantal.run(&snapshot).exits(0);
    knows("hello");
    // Where nothing was before it is shown as it is.
    let other = chantal.dir().join("www/other");
    chantal
        .run(&[
            "publish",
            "--snapshot-name",
            "r/undated",
            "--to",
            other.to_str().unwrap(),
        ])
        .exits(0);
    let release = std::fs::read_to_string(other.join("dists/stable/InRelease")).unwrap();
    assert!(!release.contains("Date:"));
}

#[test]
fn an_undated_repomd_does_not_undo_a_dated_one() {
    let mut upstream = Upstream::rpm().package(Package::new("hello", "1.0-1"));
    let undated = |upstream: &Upstream| {
        with_root(upstream, |root| {
            root.replace("timestamp>", "x-timestamp>")
                .replace("revision>", "x-revision>")
        })
    };
    let mirror = mirror_of(&upstream, undated(&upstream), "");
    mirror
        .sync()
        .exits(0)
        .mentions("no timestamps: a sync cannot detect an older version");
    upstream.add(Package::new("more", "1-1"));
    mirror.server.swap(upstream.build().tree);
    assert_eq!(mirror.sync().exits(0).stderr, "");
    upstream.remove("more");
    mirror.server.swap(undated(&upstream));
    mirror
        .sync()
        .exits(4)
        .mentions("the metadata has no valid date");
}

/// A suite that is to come: clients find it, and nothing in it.
#[test]
fn a_suite_without_packages_is_empty() {
    let upstream = deb();
    let placeholder = |left_out: &[&str]| {
        with_root(&upstream, |text| {
            let is_left_out = |line: &&str| left_out.iter().any(|word| line.contains(word));
            let lines = text.lines().filter(|line| !is_left_out(line));
            lines.fold(String::new(), |text, line| text + line + "\n")
        })
    };
    let (named, nameless) = (
        placeholder(&["/Packages"]),
        placeholder(&["/Packages", "Components:", "Architectures:"]),
    );
    let filters = "filters:\n  exclude: [x]\n";
    for (placeholder, more) in [
        (&named, ""),
        (&named, filters),
        (&nameless, ""),
        (&nameless, filters),
    ] {
        let mirror = mirror_of(&upstream, placeholder.clone(), more);
        mirror.chantal.run(&["config", "keygen"]).exits(0);
        let said = mirror.sync().exits(0);
        assert!(
            said.stderr
                .contains("no Packages listed: the suite is empty")
        );
        assert!(said.stdout.starts_with("r: 0 packages"), "{}", said.stdout);
        // With filters the root is ours, and no client takes one that lists nothing.
        let published = mirror.chantal.published("r");
        let server = Server::start_dir(&published);
        let Some(apt) = Apt::find() else { return };
        let keys = std::fs::read(published.join("r-archive-key.gpg")).unwrap();
        let source = format!("{}/ stable main", server.url());
        apt.source_signed_by(&keys, "deb", &source);
        let updated = apt.get(&["update"]).exits(0);
        if !more.is_empty() {
            updated.says_on_stderr("");
        }
        // It fills.
        let mut filled = deb();
        filled.bump_date();
        mirror.server.swap(filled.build().tree);
        let said = mirror.sync().exits(0).stdout;
        assert!(said.starts_with("r: 1 package"), "{said}");
    }
}

/// One exit code for whatever the upstream does not have.
#[test]
fn a_wrong_suite_component_or_architecture_is_refused() {
    let upstream = deb();
    for (line, words) in [
        ("distribution: unstable", "no repository found"),
        (
            "components: [mian]",
            "component \"mian\" not found in dists/stable/Release, available: main",
        ),
        (
            "architectures: [arm64]",
            "architecture \"arm64\" not found in dists/stable/Release, available: amd64",
        ),
    ] {
        let server = Server::start(upstream.build().tree);
        let chantal = Chantal::new();
        let repository = Repository::of("r", &upstream, &server.url()).format(line);
        chantal.repository(&repository);
        chantal
            .run(&["repo", "sync", "--repo-id", "r"])
            .exits(4)
            .mentions(words);
    }
}

#[test]
fn apt_gets_packages_from_under_a_slash() {
    for more in ["", "filters:\n  include: [hello]\n"] {
        let upstream = deb()
            .with_deb(|deb| {
                deb.extras.insert(crate::kit::upstream::DebExtra::Sources);
            })
            .change("Packages", "Filename: pool", "Filename: //pool")
            .change("Sources", "Directory: pool", "Directory: /pool");
        let server = Server::start(upstream.build().tree);
        let chantal = Chantal::new();
        let repository = Repository::of("r", &upstream, &server.url()).format("sources: true");
        chantal.repository(&repository.more(more));
        chantal.run(&["config", "keygen"]).exits(0);
        chantal.run(&["repo", "sync", "--repo-id", "r"]).exits(0);
        // apt asks for two slashes, which web servers take for one.
        let Some(server) = Nginx::serve(&chantal.published("r")) else {
            return;
        };
        let Some(apt) = Apt::find() else { return };
        let keys = std::fs::read(chantal.published("r").join("r-archive-key.gpg")).unwrap();
        let source = format!("{} stable main", server.url());
        apt.source_signed_by(&keys, "deb", &source);
        apt.source_signed_by(&keys, "deb-src", &source);
        apt.get(&["update"]).exits(0);
        apt.get(&["download", "hello"]).exits(0);
        apt.get(&["source", "--download-only", "hello"]).exits(0);
    }
}

#[test]
fn dnf_gets_packages_from_under_a_slash() {
    for more in ["", "filters:\n  include: [hello]\n"] {
        let upstream = Upstream::rpm()
            .package(Package::new("hello", "1.0-1"))
            .change("primary", "href=\"hello", "href=\"/hello");
        let unknown =
            upstream
                .clone()
                .change("primary", "<size package=\"", "<size package=\"0\" was=\"");
        for upstream in [upstream, unknown] {
            let server = Server::start(upstream.build().tree);
            let chantal = Chantal::new();
            let repository = Repository::of("r", &upstream, &server.url());
            chantal.repository(&repository.more(more));
            chantal.run(&["config", "keygen"]).exits(0);
            chantal.run(&["repo", "sync", "--repo-id", "r"]).exits(0);
            let server = Server::start_dir(&chantal.published("r"));
            let Some(dnf) = Dnf::find() else { return };
            dnf.repository("kit", &server.url(), None);
            if let Some(output) = dnf.download(&["hello"]) {
                output.exits(0);
            }
        }
    }
}

/// Two source packages that were made from one tarball, of which each stanza may know another
/// digest.
#[test]
fn source_packages_may_share_a_tarball() {
    let stanza = |name: &str, sums: &str| {
        format!("Package: {name}\nVersion: 1\nArchitecture: any\nDirectory: pool/shared\n{sums}\n")
    };
    let tarball = b"a tarball\n";
    let sha256 = format!(
        "Checksums-Sha256:\n {} {} shared.tar.gz\n",
        sha256(tarball),
        tarball.len()
    );
    let other = format!(
        "Checksums-Sha512:\n {} {} shared.tar.gz\n",
        sha512(tarball),
        tarball.len()
    );
    for second in [&sha256, &other] {
        let upstream = deb()
            .with_deb(|deb| {
                deb.extras.insert(crate::kit::upstream::DebExtra::Sources);
            })
            .change(
                "Sources",
                "",
                stanza("one", &sha256) + &stanza("two", second),
            );
        let mut tree = upstream.build().tree;
        tree.insert("pool/shared/shared.tar.gz", tarball.to_vec());
        let server = Server::start(tree);
        let chantal = Chantal::new();
        let repository = Repository::of("r", &upstream, &server.url()).format("sources: true");
        chantal.repository(&repository);
        chantal.run(&["repo", "sync", "--repo-id", "r"]).exits(0);
        let published = chantal.published("r").join("pool/shared/shared.tar.gz");
        assert_eq!(std::fs::read(published).unwrap(), tarball);
    }
    // Another tarball under that name is a contradiction.
    let wrong = sha256.replace(&self::sha256(tarball), &self::sha256(b"another"));
    let upstream = deb()
        .with_deb(|deb| {
            deb.extras.insert(crate::kit::upstream::DebExtra::Sources);
        })
        .change(
            "Sources",
            "",
            stanza("one", &sha256) + &stanza("two", &wrong),
        );
    let server = Server::start(upstream.build().tree);
    let chantal = Chantal::new();
    let repository = Repository::of("r", &upstream, &server.url()).format("sources: true");
    chantal.repository(&repository);
    chantal.run(&["repo", "sync", "--repo-id", "r"]).exits(4);
}

fn sha256(bytes: &[u8]) -> String {
    crate::kit::upstream::Checksum::Sha256.hex(bytes)
}

fn sha512(bytes: &[u8]) -> String {
    crate::kit::upstream::Checksum::Sha512.hex(bytes)
}
