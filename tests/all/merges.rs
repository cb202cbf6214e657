//! Merges: one snapshot out of several, of one or several repositories.

mod refused;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use serde_json::json;

use crate::filters::unpacked;
use crate::kit::chantal::Chantal;
use crate::kit::clients::{Apt, Dnf, gpgv};
use crate::kit::mirror::beside;
use crate::kit::process::Output;
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Checksum, DebExtra, Package, RpmExtra, Upstream, edit_root};

/// Two repositories `a` and `b`, synced; merges are published.
struct Merging {
    chantal: Chantal,
    kind: &'static str,
    servers: Vec<Server>,
}

impl Merging {
    fn of(upstreams: &[Upstream; 2]) -> Self {
        let chantal = Chantal::new();
        let kind = upstreams[0].kind();
        let mut servers = Vec::new();
        for (name, upstream) in ["a", "b"].into_iter().zip(upstreams) {
            let places = format!("publish:\n  snapshots_path: ../../www/{name}\n");
            let (_, server) = beside(&chantal, name, upstream, |repository| {
                repository.unpublished().more(&places)
            });
            servers.push(server);
        }
        chantal.run(&["repo", "sync", "--all"]).exits(0);
        chantal.run(&["config", "keygen"]).exits(0);
        Self {
            chantal,
            kind,
            servers,
        }
    }

    fn run(&self, sources: &[&str], more: &[&str]) -> Output {
        let mut args = vec!["snapshot", "merge"];
        for source in sources {
            args.extend(["--source", source]);
        }
        self.chantal.run(&[&args[..], more].concat())
    }

    /// Merges `a` and `b` and gives the published tree.
    fn merged(&self, strategy: &str) -> Tree {
        let name = format!("by-{strategy}");
        self.run(&["a", "b"], &["--name", &name, "--strategy", strategy])
            .succeeds();
        self.tree(&format!("a/{name}"))
    }

    fn tree(&self, path: &str) -> Tree {
        Tree::read(&self.chantal.dir().join("www").join(path))
    }
}

/// File names of packages, sorted.
fn packages(tree: &Tree) -> Vec<String> {
    let mut names: Vec<String> = tree
        .paths()
        .into_iter()
        .filter(|path| [".deb", ".rpm"].iter().any(|end| path.ends_with(end)))
        .map(|path| path.rsplit('/').next().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn pair(a: &[(&str, &str)], b: &[(&str, &str)]) -> [[Upstream; 2]; 2] {
    let with = |upstream: Upstream, packages: &[(&str, &str)]| {
        packages.iter().fold(upstream, |upstream, (name, version)| {
            upstream.package(Package::new(name, version))
        })
    };
    [
        [with(Upstream::deb(), a), with(Upstream::deb(), b)],
        [with(Upstream::rpm(), a), with(Upstream::rpm(), b)],
    ]
}

#[test]
fn each_strategy_takes_what_it_says() {
    let a = [
        ("hello", "2.0-1"),
        ("hello", "1.9-1"),
        ("only-a", "1-1"),
        ("same", "1-1"),
    ];
    let b = [("hello", "1.10-1"), ("only-b", "1-1"), ("same", "1-1")];
    for upstreams in pair(&a, &b) {
        let merging = Merging::of(&upstreams);
        let file = |name: &str, version: &str| match merging.kind {
            "apt" => format!("{name}_{version}_amd64.deb"),
            _ => format!("{name}-{version}.x86_64.rpm"),
        };
        let others = [
            file("only-a", "1-1"),
            file("only-b", "1-1"),
            file("same", "1-1"),
        ];
        for (strategy, hello) in [
            ("rightmost", &["1.10-1"][..]),
            ("latest", &["2.0-1"]),
            ("keep-all", &["1.10-1", "1.9-1", "2.0-1"]),
        ] {
            let tree = merging.merged(strategy);
            let versions = hello.iter().map(|version| file("hello", version));
            let mut expected: Vec<String> = versions.chain(others.iter().cloned()).collect();
            expected.sort();
            assert_eq!(packages(&tree), expected, "{strategy}");
        }
    }
}

/// A path that two packages have is given to the first, and the second gets one of its own: neither
/// is lost.
#[test]
fn one_path_with_two_contents_is_two_packages() {
    for kind in ["apt", "rpm"] {
        let upstream = |content: &[u8], version: &str| {
            let (upstream, path) = match kind {
                "apt" => (Upstream::deb(), "pool/p/p.deb"),
                _ => (Upstream::rpm(), "Packages/p.rpm"),
            };
            upstream.package(Package::new("p", version).file(content).at(path))
        };
        let merging = Merging::of(&[upstream(b"one", "1-1"), upstream(b"two", "2-1")]);
        let tree = merging.merged("keep-all");
        let paths: Vec<&str> = tree
            .paths()
            .into_iter()
            .filter(|path| path.ends_with("p.deb") || path.ends_with("p.rpm"))
            .collect();
        assert_eq!(paths.len(), 2, "{paths:?}");
        assert_ne!(tree.bytes(paths[0]), tree.bytes(paths[1]));
        let own = paths.iter().find(|path| path.split('/').count() == 3);
        assert!(kind == "apt" || own.is_some(), "{paths:?}");
        let prod = merging.chantal.dir().join("www/a/by-keep-all");
        let server = Server::start_dir(&prod);
        if kind == "apt" {
            let Some(apt) = Apt::find() else { continue };
            let key = fs::read(prod.join("a-archive-key.gpg")).unwrap();
            apt.source_signed_by(&key, "deb", &format!("{}/ stable main", server.url()));
            apt.get(&["update"]).succeeds();
            for version in ["1-1", "2-1"] {
                apt.get(&["download", &format!("p={version}")]).exits(0);
            }
        } else {
            let Some(dnf) = Dnf::find() else { continue };
            let key = format!("{}/RPM-GPG-KEY-a-mirror", server.url());
            dnf.repository_with_key_at("kit", &server.url(), Some(&key));
            for version in ["p-1-1", "p-2-1"] {
                if let Some(output) = dnf.download(&[version]) {
                    output.exits(0);
                }
            }
        }
    }
}

#[test]
fn clients_install_from_a_merge() {
    let a = [("hello", "1.0-1"), ("both", "1-1")];
    let b = [("other", "1-1"), ("both", "2-1")];
    let [deb, rpm] = pair(&a, &b);
    let deb = deb.map(|upstream| {
        upstream.with_deb(|deb| {
            deb.languages.push("en".to_owned());
            deb.extras.extend([
                DebExtra::Contents,
                DebExtra::Appstream,
                DebExtra::Cnf,
                DebExtra::Sources,
            ]);
        })
    });
    let merging = Merging::of(&deb);
    let names = [
        "--suite",
        "prod",
        "--codename",
        "stable",
        "--label",
        "Merged",
    ];
    merging
        .run(&["a", "b"], &[&["--name", "m"], &names[..]].concat())
        .succeeds();
    let tree = merging.tree("a/m");
    let release = tree.text("dists/stable/Release");
    assert!(
        release.starts_with("Label: Merged\nSuite: prod\nCodename: stable\n"),
        "{release}"
    );
    let prod = merging.chantal.dir().join("www/a/m");
    let server = Server::start_dir(&prod);
    if let Some(apt) = Apt::find() {
        let key = fs::read(prod.join("a-archive-key.gpg")).unwrap();
        apt.config(crate::clients::apt::OPTIONAL_TARGETS);
        apt.source_signed_by(&key, "deb", &format!("{}/ stable main", server.url()));
        apt.get(&["update"]).succeeds();
        for package in ["hello", "other", "both=2-1"] {
            apt.get(&["download", package]).exits(0);
        }
        apt.get(&["download", "both=1-1"]).exits(100);
    }

    let rpm = rpm.map(|upstream| {
        upstream.with_rpm(|rpm| {
            rpm.extras = [
                RpmExtra::Updateinfo,
                RpmExtra::Modules,
                RpmExtra::Comps,
                RpmExtra::UnknownTypes,
            ]
            .into();
        })
    });
    let merging = Merging::of(&rpm);
    merging.run(&["a", "b"], &["--name", "m"]).succeeds();
    let server = Server::start_dir(&merging.chantal.dir().join("www/a/m"));
    if let Some(dnf) = Dnf::find() {
        let key = format!("{}/RPM-GPG-KEY-a-mirror", server.url());
        dnf.repository_with_key_at("kit", &server.url(), Some(&key));
        dnf.run(&["makecache"]).exits(0);
        let query = ["repoquery", "--queryformat", "%{name}-%{version}"];
        let said = dnf.run(&query).exits(0).stdout;
        let mut lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["both-2", "hello-1.0", "other-1"]);
        dnf.run(&["group", "info", "kit"]).exits(0);
        let security = dnf.run(&["repoquery", "--security"]).exits(0).stdout;
        assert!(
            security.contains("both-0:2-1") && security.contains("hello"),
            "{security}"
        );
        if let Some(output) = dnf.download(&["hello", "other", "both"]) {
            output.exits(0);
        }
    }
}

/// libsolv ends without a word where a byte is not UTF-8: what the other source says stands behind
/// it.
#[test]
fn a_byte_of_one_source_does_not_end_the_other() {
    let [_, [one, other]] = pair(&[("hello", "1.0-1")], &[("other", "1-1")]);
    let file = b"<file>/srv/M\xfcller</file></package>";
    let one = one.change("filelists", "</package>", file.to_vec());
    let merging = Merging::of(&[one, other]);
    let tree = merging.merged("keep-all");
    let path = tree
        .paths()
        .into_iter()
        .find(|path| path.contains("filelists"))
        .unwrap()
        .to_owned();
    let text = unpacked(&path, tree.bytes(&path));
    assert!(text.contains("/srv/M\u{fc}ller"), "{text}");
}

/// `group_gz` is `group` in another form, and an upstream may have only one of them.
#[test]
fn groups_of_every_source_are_merged_whatever_form_they_have() {
    let [_, [one, other]] = pair(&[("hello", "1.0-1")], &[("other", "1-1")]);
    let with_group = |upstream: Upstream, id: &str| {
        let upstream = upstream.with_rpm(|rpm| rpm.extras = [RpmExtra::Comps].into());
        upstream.change("group", "<id>kit</id>", format!("<id>{id}</id>"))
    };
    let rpm = [with_group(one, "first"), with_group(other, "second")];
    for (which, form) in [(0, "group"), (1, "group"), (0, "group_gz"), (1, "group_gz")] {
        let merging = Merging::of(&rpm);
        let element = |form: &str| format!("<data type=\"{form}\">");
        merging.servers[which].edit(|tree| {
            edit_root(tree, |root| {
                let (before, rest) = root.split_once(&element(form)).unwrap();
                let (_, after) = rest.split_once("</data>").unwrap();
                format!("{before}{after}")
            });
        });
        merging.chantal.run(&["repo", "sync", "--all"]).exits(0);
        merging.run(&["a", "b"], &["--name", "m"]).succeeds();
        let tree = merging.tree("a/m");
        let comps = tree
            .paths()
            .into_iter()
            .find(|path| path.ends_with("-comps.xml"));
        let comps = tree.text(comps.unwrap());
        for id in ["first", "second"] {
            let id = format!("<id>{id}</id>");
            assert!(comps.contains(&id), "{which} {form}: {comps}");
        }
    }
}

/// A merge is a snapshot like any other.
#[test]
fn a_merge_is_listed_shown_compared_and_merged_again() {
    for upstreams in pair(
        &[("hello", "1.0-1")],
        &[("hello", "2.0-1"), ("other", "1-1")],
    ) {
        let merging = Merging::of(&upstreams);
        let chantal = &merging.chantal;
        merging
            .run(
                &["a", "b"],
                &[
                    "--name",
                    "m",
                    "--repo-id",
                    "b",
                    "--description",
                    "both",
                    "--no-publish",
                ],
            )
            .succeeds();
        let shown = chantal
            .run(&["--format", "json", "snapshot", "show", "--name", "b/m"])
            .json();
        assert_eq!(shown["merged_from"], json!(["a/latest", "b/latest"]));
        assert_eq!(shown["description"], "both");
        assert_eq!(shown["packages"], 2);
        let diff = [
            "--format", "json", "snapshot", "diff", "--from", "a", "--to", "b/m",
        ];
        let said = chantal.run(&diff).exits(0).stdout;
        assert!(
            said.contains("upgraded") && said.contains("other"),
            "{said}"
        );
        // Its package counts as its own last source did.
        merging
            .run(&["b/m", "a"], &["--name", "again", "--strategy", "latest"])
            .succeeds();
        let tree = merging.tree("b/again");
        assert_eq!(packages(&tree).len(), 2);
        assert!(
            packages(&tree)[0].contains("2.0-1"),
            "{:?}",
            packages(&tree)
        );
        // What it names stays when its sources go on and cleanup has run.
        chantal.run(&["db", "cleanup"]).succeeds();
        chantal
            .run(&["publish", "--snapshot-name", "b/m"])
            .succeeds();
        chantal
            .run(&["snapshot", "delete", "--name", "b/m", "--name", "b/again"])
            .succeeds();
    }
}

#[test]
fn equal_sources_give_equal_indexes() {
    for upstreams in pair(&[("hello", "1.0-1")], &[("other", "1-1")]) {
        let merging = Merging::of(&upstreams);
        for name in ["one", "two"] {
            merging
                .run(&["a", "b"], &["--name", name, "--no-publish"])
                .succeeds();
        }
        let diff = merging
            .chantal
            .run(&["snapshot", "list", "--format", "json"])
            .json();
        assert_eq!(diff[0]["manifest"], diff[1]["manifest"]);
    }
}

fn dearmored(key: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(key).unwrap();
    let (_, body) = text.split_once("\n\n").unwrap();
    let lines = body
        .lines()
        .take_while(|line| !line.starts_with(['=', '-']));
    let base64: String = lines.collect();
    base64::engine::general_purpose::STANDARD
        .decode(base64)
        .unwrap()
}

/// Indexes that the root names, and packages that the indexes name.
fn listed(kind: &str, files: &Tree) -> Vec<String> {
    let unpack = |path: &str| {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(files.bytes(path))
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    let mut all = Vec::new();
    if kind == "apt" {
        let release = files.text("dists/stable/Release");
        let names = release.lines().filter_map(|line| line.strip_prefix(' '));
        let names = names.filter_map(|line| line.split(' ').nth(2));
        let packed = names.filter(|name| [".gz", ".xz"].iter().any(|end| name.ends_with(end)));
        all.extend(packed.map(|name| format!("dists/stable/{name}")));
        let packages = unpack("dists/stable/main/binary-amd64/Packages.gz");
        let paths = packages
            .lines()
            .filter_map(|line| line.strip_prefix("Filename: "));
        all.extend(paths.map(str::to_owned));
    } else {
        let hrefs = |text: &str| -> Vec<String> {
            text.split("<location href=\"")
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap().to_owned())
                .collect()
        };
        all.extend(hrefs(files.text("repodata/repomd.xml")));
        let primary = all
            .iter()
            .find(|path| path.contains("primary"))
            .unwrap()
            .clone();
        all.extend(hrefs(&unpack(&primary)));
    }
    assert!(all.len() > 3, "{all:?}");
    all
}
