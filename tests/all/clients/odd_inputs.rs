//! Inputs that are odd and that clients take: what chantal writes from them, clients take as well.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::mirror_of;
use crate::clients::apt::OPTIONAL_TARGETS;
use crate::filters::unpacked;
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::clients::{Apt, Dnf};
use crate::kit::server::Server;
use crate::kit::upstream::{DebExtra, Package, RpmExtra, Upstream};

/// As on disks from before UTF-8: `Müller` in Latin-1.
const LATIN_1: &[u8] = b"M\xfcller";

fn rpm() -> Upstream {
    Upstream::rpm()
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("modular", "1-1.module"))
        .package(Package::new("other", "1-1"))
        .with_rpm(|rpm| {
            rpm.extras = [RpmExtra::Updateinfo, RpmExtra::Modules, RpmExtra::Comps].into();
        })
}

fn stream(name: &str, package: &str) -> String {
    format!(
        "document: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: \"1\"\n  version: 1\n  context: c0ffee\n  \
         arch: x86_64\n  summary: s\n  description: d\n  license:\n    module: [MIT]\n  artifacts:\n    rpms:\n    \
         - {package}-0:1-1.module.x86_64\n"
    )
}

/// Every way to write two documents that libmodulemd takes, as it takes them itself.
fn ways_to_write(one: &str, two: &str) -> Vec<String> {
    vec![
        format!("---\n{one}...\n---\n{two}...\n"),
        format!("# by hand\n\n---\n{one}---\n{two}"),
        format!("{one}...\n# next\n---\n{two}...\n# end\n"),
        format!("--- # one\n{one}...\n--- # two\n{two}# end\n"),
        format!("%YAML 1.2\n---\n{one}...\n%YAML 1.2\n---\n{two}...\n"),
        format!("%TAG !k! tag:example.org,2026:\n---\n{one}...\n---\n{two}"),
        format!("\u{feff}---\n{one}...\n---\n{two}...\n"),
        format!("# by hand\n---\n{one}...\n\n# next\n\n---\n{two}...\n\n# end")
            .replace('\n', "\r\n"),
    ]
}

/// dnf at a tree that chantal signed. `None` where there is no dnf.
fn dnf_at(published: &Path) -> Option<(Dnf, Server)> {
    let dnf = Dnf::find()?;
    let server = Server::start_dir(published);
    let url = server.url();
    let key = format!("{url}/RPM-GPG-KEY-r-mirror");
    dnf.repository_with_key_at("kit", &url, Some(&key));
    dnf.run(&["makecache"]).exits(0);
    Some((dnf, server))
}

/// Filtered, and signed by a key of its own.
fn filtered(upstream: &Upstream) -> Chantal {
    let server = Server::start(upstream.build().tree);
    let chantal = Chantal::new();
    let repository = Repository::of("r", upstream, &server.url());
    chantal.repository(&repository.more("filters:\n  exclude: [other]\n"));
    chantal.run(&["config", "keygen"]).exits(0);
    chantal.run(&["repo", "sync", "--all"]).exits(0);
    chantal
}

#[test]
fn dnf_reads_modules_however_their_documents_are_parted() {
    let (one, two) = (stream("kit", "modular"), stream("gone", "nothing"));
    for text in ways_to_write(&one, &two) {
        let chantal = filtered(&rpm().change("modules", "", text.clone()));
        let Some((dnf, _server)) = dnf_at(&chantal.published("r")) else {
            return;
        };
        let listed = dnf.run(&["module", "list"]).exits(0).stdout;
        assert!(listed.contains("kit"), "{text}: {listed}");
        assert!(!listed.contains("gone"), "{text}: {listed}");
    }
}

#[test]
fn dnf_reads_merged_modules() {
    let (one, two) = (stream("kit", "modular"), stream("more", "modular"));
    for text in ways_to_write(&one, &two) {
        let mirror = mirror_of(&rpm().change("modules", "", text.clone()));
        let chantal = &mirror.chantal;
        chantal.run(&["config", "keygen"]).exits(0);
        for name in ["a", "b"] {
            chantal
                .run(&["snapshot", "create", "--repo-id", "r", "--name", name])
                .succeeds();
        }
        chantal
            .run(&[
                "snapshot", "merge", "--source", "r/a", "--source", "r/b", "--name", "m",
            ])
            .succeeds();
        let place = chantal.dir().join("www/merged");
        chantal
            .run(&[
                "publish",
                "--snapshot-name",
                "r/m",
                "--to",
                place.to_str().unwrap(),
            ])
            .succeeds();
        let Some((dnf, _server)) = dnf_at(&place) else {
            return;
        };
        let listed = dnf.run(&["module", "list"]).exits(0).stdout;
        assert!(
            listed.contains("kit") && listed.contains("more"),
            "{text}: {listed}"
        );
    }
}

#[test]
fn dnf_reads_bytes_that_are_not_utf_8() {
    let upstream = rpm()
        .change(
            "filelists",
            "</package>",
            [b"<file>/srv/", LATIN_1, b"</file></package>"].concat(),
        )
        .change(
            "other",
            "</package>",
            [
                b"<changelog author=\"",
                LATIN_1,
                b"\" date=\"1\">- ",
                LATIN_1,
                b"</changelog></package>",
            ]
            .concat(),
        )
        .change("updateinfo", "fixed", LATIN_1);
    let chantal = filtered(&upstream);
    let tree = chantal.published_tree("r");
    for index in ["filelists", "other", "updateinfo"] {
        let end = format!("-{index}.xml.gz");
        let path = tree.paths().into_iter().find(|path| path.ends_with(&end));
        let mut text = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(tree.bytes(path.unwrap()));
        decoder.read_to_end(&mut text).unwrap();
        let is_carried = text.windows(LATIN_1.len()).any(|bytes| bytes == LATIN_1);
        assert!(is_carried, "{index}");
    }
    // dnf says the same of them here and there, be it little.
    let there = Server::start(upstream.build().tree);
    let Some((dnf, _server)) = dnf_at(&chantal.published("r")) else {
        return;
    };
    let other = Dnf::find().unwrap();
    other.repository("kit", &there.url(), None);
    for query in [
        &["repoquery", "--queryformat", "%{name}", "hello"][..],
        &["repoquery", "--list", "hello"],
        &["repoquery", "--changelog", "hello"],
        &["updateinfo", "list", "--all"],
    ] {
        let mirrored = dnf.run(query).exits(0).stdout;
        assert_eq!(mirrored, other.run(query).exits(0).stdout, "{query:?}");
    }
}

/// What only describes packages is left out when no reader can take it, and dnf goes on without it.
#[test]
fn dnf_does_without_an_index_that_is_left_out() {
    for (index, old, new) in [
        // A typo in an advisory.
        ("updateinfo", "</severity>", "</severty>"),
        ("updateinfo", "fixed", "a & b"),
        ("updateinfo", "status=\"stable\"", "status=stable"),
        ("updateinfo", "from=\"", "from=\"a & b <"),
        ("updateinfo", "fixed", "a\u{1b}[0m"),
        ("updateinfo", "fixed", "&nbsp;"),
        (
            "other",
            "</package>",
            "<changelog author=\"a\" date=\"1\">&#27;</changelog></package>",
        ),
    ] {
        let chantal = filtered(&rpm().change(index, old, new));
        let Some((dnf, _server)) = dnf_at(&chantal.published("r")) else {
            return;
        };
        dnf.run(&["repoquery"]).exits(0).mentions("hello");
        dnf.run(&["updateinfo", "list"]).exits(0);
        if let Some(output) = dnf.download(&["hello"]) {
            output.exits(0);
        }
    }
}

#[test]
fn apt_reads_what_is_written_from_odd_components() {
    let header = "File: DEP-11\nVersion: \"1.0\"\nOrigin: kit\n";
    let component = "Type: generic\nID: org.example.hello\nPackage: hello\nName:\n  C: Hello\n";
    for text in ways_to_write(header, component) {
        let upstream = Upstream::deb()
            .package(Package::new("hello", "1.0-1"))
            .package(Package::new("other", "1"))
            .with_deb(|deb| {
                deb.extras.extend([DebExtra::Appstream, DebExtra::Contents]);
            })
            .change("Components-amd64.yml", "", text.clone());
        let chantal = filtered(&upstream);
        let tree = chantal.published_tree("r");
        let path = tree
            .paths()
            .into_iter()
            .find(|path| path.ends_with("Components-amd64.yml.gz"))
            .unwrap()
            .to_owned();
        let written = unpacked(&path, tree.bytes(&path)).replace('\r', "");
        // The border may say more than `---`.
        let of_none = ["---", "%", "...", "# end"];
        let is_inside = |line: &&str| !of_none.iter().any(|start| line.starts_with(start));
        let lines: Vec<&str> = written.lines().filter(is_inside).collect();
        let expected = format!("{header}{component}");
        assert_eq!(lines, expected.lines().collect::<Vec<_>>(), "{text}");
        let server = Server::start_dir(&chantal.published("r"));
        let Some(apt) = Apt::find() else { return };
        apt.config(OPTIONAL_TARGETS);
        let key = fs::read(chantal.published("r").join("r-archive-key.gpg")).unwrap();
        apt.source_signed_by(&key, "deb", &format!("{}/ stable main", server.url()));
        apt.get(&["update"]).succeeds();
    }
}
