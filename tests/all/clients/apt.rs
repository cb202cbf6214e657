//! apt-get against published trees.

use super::{mirror_of, mirror_with, overtake};
use crate::clients::Web;
use crate::kit::clients::Apt;
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::server::{Fault, Server, Times};
use crate::kit::tree::Tree;
use crate::kit::upstream::{ArchitectureAll, Checksum, Codec, DebExtra, Package, Part, Upstream};
use crate::quickstart::Quickstart;

/// What apt-file, appstream and command-not-found put into apt's configuration.
pub const OPTIONAL_TARGETS: &str = r#"
Acquire::IndexTargets::deb::Contents-deb {
  MetaKey "$(COMPONENT)/Contents-$(ARCHITECTURE)";
  ShortDescription "Contents-$(ARCHITECTURE)";
  Description "Contents";
  flatMetaKey "Contents-$(ARCHITECTURE)";
  KeepCompressed "true";
};
Acquire::IndexTargets::deb::DEP-11 {
  MetaKey "$(COMPONENT)/dep11/Components-$(NATIVE_ARCHITECTURE).yml";
  ShortDescription "Components-$(NATIVE_ARCHITECTURE)";
  Description "DEP-11";
  KeepCompressed "true";
};
Acquire::IndexTargets::deb::DEP-11-icons {
  MetaKey "$(COMPONENT)/dep11/icons-48x48.tar";
  ShortDescription "icons-48x48";
  Description "icons";
  KeepCompressed "true";
  KeepCompressedAs "gz";
};
Acquire::IndexTargets::deb::CNF {
  MetaKey "$(COMPONENT)/cnf/Commands-$(NATIVE_ARCHITECTURE)";
  ShortDescription "Commands-$(NATIVE_ARCHITECTURE)";
  Description "Commands";
};
"#;

/// What apt has after an update and downloads.
struct Answers {
    /// Indexes by name, without the server's address.
    lists: Tree,
    downloads: Tree,
}

/// `None` without apt. `source` is what follows the address in sources.list; `packages` are
/// downloaded, and their sources if there are to be any.
fn ask(url: &str, source: &str, key: &[u8], packages: &[&str], parts: &[Part]) -> Option<Answers> {
    let apt = Apt::find()?;
    apt.config(OPTIONAL_TARGETS);
    apt.config("APT::Architectures { \"i386\"; };");
    apt.source_signed_by(key, "deb", &format!("{url}/ {source}"));
    if parts.contains(&Part::Sources) {
        apt.source_signed_by(key, "deb-src", &format!("{url}/ {source}"));
    }
    apt.get(&["update"]).succeeds();
    apt.get(&[&["download"], packages].concat()).succeeds();
    if parts.contains(&Part::Sources) {
        apt.get(&[&["source", "--download-only"], packages].concat())
            .exits(0);
    }
    let mut lists = Tree::new();
    for (name, bytes) in Tree::read(&apt.dir().join("state/lists")).iter() {
        lists.insert(name.split_once('_').map_or(name, |(_, rest)| rest), bytes);
    }
    Some(Answers {
        lists,
        downloads: Tree::read(&apt.downloads()),
    })
}

/// apt must get the same from the upstream and from both web servers over its mirror, and ask for
/// the same files.
fn compare(mirror: &Mirror, source: &str, packages: &[&str], parts: &[Part]) -> Option<Answers> {
    let key = Key::archive().public_binary();
    let direct = ask(&mirror.server.url(), source, &key, packages, parts)?;
    for web in Web::all(&mirror.published()) {
        let mirrored = ask(&web.url(), source, &key, packages, parts)?;
        mirrored.lists.assert_same(&direct.lists);
        mirrored.downloads.assert_same(&direct.downloads);
        if let Web::Kit(server) = web {
            assert_eq!(server.request_lines(), mirror.server.request_lines());
        }
    }
    Some(direct)
}

#[test]
fn every_target_and_sources_are_as_from_the_upstream() {
    for all in [ArchitectureAll::InEachAndOwn, ArchitectureAll::Own] {
        let upstream = Upstream::deb()
            .package(Package::new("hello", "1.0-1").field("Phased-Update-Percentage: 10"))
            .package(Package::new("data", "2:2.5~rc1-3").independent())
            .package(Package::new("other", "1").component("contrib"))
            .package(Package::new("foreign", "1").architecture("i386"))
            .package(
                Package::new("both", "1")
                    .architecture("i386")
                    .component("contrib"),
            )
            .with_deb(|deb| {
                deb.components.push("contrib".to_owned());
                deb.architectures.push("i386".to_owned());
                deb.architecture_all = all;
                deb.checksums = vec![Checksum::Sha256, Checksum::Sha512];
                deb.languages.push("en".to_owned());
                deb.extras.extend([
                    DebExtra::Contents,
                    DebExtra::Appstream,
                    DebExtra::Cnf,
                    DebExtra::Sources,
                ]);
                if all == ArchitectureAll::Own {
                    // Then indexes are asked for by their own names.
                    deb.extras.remove(&DebExtra::ByHash);
                }
            });
        let mirror = mirror_with(&upstream, |repository| repository.format("sources: true"));
        let packages = ["hello", "data", "other", "foreign:i386"];
        let sources = "stable main contrib";
        let Some(answers) = compare(&mirror, sources, &packages, &[Part::Sources]) else {
            return;
        };
        let lists = answers.lists.paths();
        for target in [
            "binary-amd64_Packages",
            "binary-i386_Packages",
            "Contents-amd64",
            "dep11_Components-amd64.yml",
            "dep11_icons-48x48.tar",
            "cnf_Commands-amd64",
            "i18n_Translation-en",
            "source_Sources",
        ] {
            for component in ["main", "contrib"] {
                let start = format!("dists_stable_{component}_{target}");
                assert!(
                    lists.iter().any(|path| path.starts_with(&start)),
                    "no {start} in {lists:#?}"
                );
            }
        }
        // A package each, and the two files of its source.
        assert_eq!(
            answers.downloads.len(),
            12,
            "{:#?}",
            answers.downloads.paths()
        );
    }
}

#[test]
fn indexes_are_asked_for_by_hash() {
    let mirror = mirror_of(&Upstream::deb().package(Package::new("hello", "1")));
    let server = Server::start_dir(&mirror.published());
    let Some(apt) = Apt::find() else { return };
    apt.source(Key::archive(), &format!("{}/ stable main", server.url()));
    apt.get(&["update"]).succeeds();
    let index = by_hash(&mirror.built.tree, "Packages.xz");
    assert_eq!(
        server.request_lines(),
        [
            "GET dists/stable/InRelease 200".to_owned(),
            format!("GET {index} 200"),
        ]
    );
}

/// The path of an index of main for amd64 that apt asks for.
fn by_hash(tree: &Tree, index: &str) -> String {
    let directory = "dists/stable/main/binary-amd64/";
    let bytes = tree.bytes(&format!("{directory}{index}"));
    let start = format!("{directory}by-hash/SHA256/");
    let mut copies = tree.iter();
    let (path, _) = copies
        .find(|(path, copy)| path.starts_with(&start) && *copy == bytes)
        .unwrap();
    path.to_owned()
}

#[test]
fn flat_repositories_and_nested_suites() {
    for (flat, sources) in [("./", "./"), ("some/dir/", "some/dir/")] {
        let upstream = Upstream::deb()
            .package(Package::new("hello", "1.0-1"))
            .with_deb(|deb| deb.flat = Some(flat.to_owned()));
        compare(&mirror_of(&upstream), sources, &["hello"], &[]);
    }
    let nested = Upstream::deb()
        .package(Package::new("hello", "1.0-1"))
        .with_deb(|deb| {
            deb.suite = "stable/updates".to_owned();
            deb.codename = "stable-security".to_owned();
            deb.component_prefix = "updates/".to_owned();
            deb.compressions = vec![Codec::Gz];
            deb.extras.clear();
        });
    compare(&mirror_of(&nested), "stable/updates main", &["hello"], &[]);
}

#[test]
fn the_quickstart_is_as_its_upstream() {
    let quickstart = Quickstart::new();
    quickstart.sync().exits(0);
    let key = quickstart.key().into_bytes();
    let packages = ["tiny-hello", "tiny-data"];
    let upstream = Server::start_dir(&quickstart.upstream("apt"));
    let Some(direct) = ask(&upstream.url(), "stable main", &key, &packages, &[]) else {
        return;
    };
    for web in Web::all(&quickstart.published("apt")) {
        let mirrored = ask(&web.url(), "stable main", &key, &packages, &[]).unwrap();
        mirrored.lists.assert_same(&direct.lists);
        mirrored.downloads.assert_same(&direct.downloads);
    }
    assert_eq!(direct.downloads.len(), 2);
}

#[test]
fn a_client_with_the_root_before_finishes() {
    let mut upstream = Upstream::deb().package(Package::new("hello", "1.0-1"));
    let mirror = mirror_of(&upstream);
    let server = Server::start_dir(&mirror.published());
    let Some(apt) = Apt::find() else { return };
    apt.source(Key::archive(), &format!("{}/ stable main", server.url()));

    upstream.replace(Package::new("hello", "1.1-1"));
    upstream.bump_date();
    let old = &mirror.built;
    let index = by_hash(&old.tree, "Packages.xz");
    overtake(&mirror, &upstream, &server, &index);
    apt.get(&["update"]).succeeds();
    // The tree had been exchanged before the index was answered.
    let new = mirror.chantal.published_tree("r");
    let root = "dists/stable/InRelease";
    assert_ne!(new.bytes(root), old.tree.bytes(root));

    // And its packages are still there, from the lists that apt has.
    apt.get(&["download", "hello"]).succeeds();
    let path = old.path_of("hello");
    let name = path.rsplit_once('/').unwrap().1;
    let downloads = Tree::read(&apt.downloads());
    assert_eq!(downloads.paths(), [name]);
    assert_eq!(downloads.bytes(name), old.tree.bytes(&path));

    apt.get(&["update"]).succeeds();
    apt.get(&["download", "hello"]).succeeds();
    let downloads = Tree::read(&apt.downloads());
    assert_eq!(downloads.len(), 2, "{:?}", downloads.paths());
}

#[test]
fn tampered_files_are_refused() {
    let mirror = mirror_of(&Upstream::deb().package(Package::new("hello", "1.0-1")));
    let tree = &mirror.built.tree;
    for (path, command, complaint) in [
        ("dists/stable/InRelease", "update", "is not signed"),
        (&by_hash(tree, "Packages.xz"), "update", "Hash Sum mismatch"),
        (
            &mirror.built.path_of("hello"),
            "download",
            "Hash Sum mismatch",
        ),
    ] {
        let server = Server::start_dir(&mirror.published());
        let Some(apt) = Apt::find() else { return };
        apt.source(Key::archive(), &format!("{}/ stable main", server.url()));
        if command == "download" {
            apt.get(&["update"]).succeeds();
        }
        server.fault(path, Times::Always, Fault::WrongBytes);
        let arguments: &[&str] = match command {
            "download" => &["download", "hello"],
            _ => &["update"],
        };
        apt.get(arguments).exits(100).mentions(complaint);
        // What apt refused it keeps under a name of its own.
        let mut downloads = Tree::read(&apt.downloads());
        downloads.retain(|path| !path.ends_with(".FAILED"));
        assert_eq!(downloads.paths(), [""; 0]);
    }
}
