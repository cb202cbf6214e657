//! Filters: what is left out is neither downloaded nor listed, and what is taken loses no byte of
//! what the upstream says of it.

use std::io::Read;

use crate::kit::chantal::Repository;
use crate::kit::mirror::Mirror;
use crate::kit::tree::Tree;
use crate::kit::upstream::{ArchitectureAll, Codec, DebExtra, Package, RpmExtra, Upstream};

/// A repository `r` with filters, or something else of its definition, synced and published.
fn filtered(upstream: &Upstream, more: &str) -> Mirror {
    let mirror = unsynced(upstream, more);
    mirror.sync().exits(0);
    mirror
}

fn unsynced(upstream: &Upstream, more: &str) -> Mirror {
    Mirror::of(upstream.clone()).defined(|repository| repository.more(more))
}

/// The names of the packages that are published, without their versions.
fn packages(mirror: &Mirror) -> Vec<String> {
    let tree = mirror.tree();
    let mut names: Vec<String> = tree
        .paths()
        .iter()
        .filter(|path| has_end(path, &[".deb", ".rpm"]))
        .map(|path| path.rsplit('/').next().unwrap())
        .map(|file| file.trim_end_matches(".deb").trim_end_matches(".rpm"))
        .map(str::to_owned)
        .collect();
    // `hello` before `hello-data` in both formats.
    names.sort_by_key(|name| name.replace('_', "-0"));
    names
}

/// The text of a published index.
fn text(mirror: &Mirror, end: &str) -> String {
    let tree = mirror.tree();
    let path = tree
        .paths()
        .into_iter()
        .find(|path| path.ends_with(end))
        .unwrap_or_else(|| panic!("no {end} in {:?}", tree.paths()));
    unpacked(path, tree.bytes(path))
}

fn has_end(path: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| path.ends_with(end))
}

/// The text of an index.
pub fn unpacked(path: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    if has_end(path, &[".gz"]) {
        flate2::read::MultiGzDecoder::new(bytes)
            .read_to_string(&mut text)
            .unwrap();
    } else if has_end(path, &[".xz"]) {
        lzma_rust2::XzReader::new(bytes, true)
            .read_to_string(&mut text)
            .unwrap();
    } else if has_end(path, &[".zst"]) {
        zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
    } else {
        text = String::from_utf8(bytes.to_vec()).unwrap();
    }
    text
}

fn mixed(upstream: Upstream) -> Upstream {
    upstream
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("hello-data", "2:2.5~rc1-3").independent())
        .package(Package::new("other", "1-1"))
        .package(Package::new("another", "1-1"))
}

#[test]
fn names_choose_what_is_downloaded_and_listed() {
    for upstream in Upstream::both().map(mixed) {
        let mirror = filtered(
            &upstream,
            "filters:\n  include: ['hello*', other]\n  exclude: ['*r']\n",
        );
        let names: Vec<String> = packages(&mirror)
            .iter()
            .map(|name| name.split(['_', '.']).next().unwrap().to_owned())
            .collect();
        let expected = match upstream.kind() {
            "apt" => ["hello", "hello-data"],
            _ => ["hello-1", "hello-data-2"],
        };
        assert_eq!(names, expected);
        let requests = mirror.server.request_lines();
        assert!(
            !requests
                .iter()
                .any(|line| line.contains("other_") || line.contains("other-1")),
            "{requests:?}"
        );
        // An upstream that did not change costs one request.
        mirror.server.clear_log();
        mirror.sync().succeeds();
        assert_eq!(mirror.server.request_lines().len(), 1);
    }
}

/// Stanzas and elements are the upstream's own, byte for byte.
#[test]
fn what_is_taken_of_apt_is_copied_byte_for_byte() {
    let deb = mixed(Upstream::deb()).with_deb(|deb| {
        deb.languages.push("en".to_owned());
        deb.extras.extend([
            DebExtra::Contents,
            DebExtra::Appstream,
            DebExtra::Cnf,
            DebExtra::Sources,
        ]);
    });
    let mirror = Mirror::of(deb.clone()).defined(|repository| {
        repository
            .more("filters:\n  exclude: [other]\n")
            .format("sources: true")
    });
    mirror.sync().exits(0);
    for (name, separator) in [
        ("main/binary-amd64/Packages.xz", "\n\n"),
        ("main/source/Sources.xz", "\n\n"),
        ("main/i18n/Translation-en.xz", "\n\n"),
        ("main/Contents-amd64.gz", "\n"),
        ("main/dep11/Components-amd64.yml.gz", "---\n"),
        ("main/cnf/Commands-amd64.xz", "\n\n"),
    ] {
        let upstreams = format!("dists/stable/{name}");
        let before = unpacked(name, mirror.built.tree.bytes(&upstreams));
        let after = text(&mirror, &upstreams);
        assert!(before.contains("other"), "{name}: {before}");
        let about_other = |part: &&str| {
            part.lines()
                .any(|line| line.ends_with(" other") || line.ends_with("  doc/other"))
        };
        // A file of several packages stays for the others.
        let before = before.replace(",doc/other", "");
        let expected: Vec<&str> = before
            .split(separator)
            .filter(|part| !about_other(part))
            .collect();
        let parts: Vec<&str> = after.split(separator).collect();
        let ended = |parts: Vec<&str>| parts.join(separator).trim_end().to_owned();
        assert_eq!(ended(parts), ended(expected), "{name}");
    }
}

#[test]
fn what_is_taken_of_rpm_is_copied_byte_for_byte() {
    let rpm = mixed(Upstream::rpm()).with_rpm(|rpm| {
        rpm.extras = [
            RpmExtra::Updateinfo,
            RpmExtra::Comps,
            RpmExtra::UnknownTypes,
        ]
        .into();
    });
    let mirror = filtered(&rpm, "filters:\n  exclude: [other]\n");
    for (name, tag) in [
        ("primary", "</package>\n"),
        ("filelists", "</package>\n"),
        ("other", "</package>\n"),
        ("updateinfo", "</update>\n"),
    ] {
        let end = format!("-{name}.xml.gz");
        let path = mirror.built.ending(&end);
        let before = unpacked(&path, mirror.built.tree.bytes(&path));
        let after = text(&mirror, &end);
        let whole = |part: &str| part.trim_end().ends_with(tag.trim_end());
        let elements: Vec<&str> = after
            .split_inclusive(tag)
            .filter(|part| whole(part))
            .collect();
        assert_eq!(elements.len(), 3, "{name}: {after}");
        for element in elements {
            // The first one has the root's start tag before it.
            let start = format!("<{}", &tag[2..tag.len() - 2]);
            let element = &element[element.find(&start).unwrap()..];
            assert!(before.contains(element.trim_end()), "{name}: {element}");
        }
        let root = after.lines().nth(1).unwrap();
        let counted = before
            .lines()
            .nth(1)
            .unwrap()
            .replace("packages=\"4\"", "packages=\"3\"");
        assert_eq!(root, counted.split_inclusive('>').next().unwrap());
    }
    for carried in ["comps.xml", "comps.xml.gz", "productid", "kit-data.txt.gz"] {
        let path = mirror.built.ending(carried);
        assert_eq!(mirror.tree().bytes(&path), mirror.built.tree.bytes(&path));
    }
}

/// Whoever signs a filtered repository signs it always: what clients have to trust must not change
/// with the upstream.
#[test]
fn a_filter_that_leaves_nothing_out_has_our_root_too() {
    for upstream in Upstream::both().map(mixed) {
        let filters = "filters:\n  exclude: [nothing-has-this-name]\n";
        let mirror = unsynced(&upstream, filters);
        mirror.chantal.run(&["config", "keygen"]).exits(0);
        let said = mirror.sync().succeeds().stdout;
        assert!(said.contains("\n  signed with "), "{said}");
        assert_eq!(packages(&mirror).len(), 4);
        let root = upstream.root();
        assert_ne!(mirror.tree().bytes(&root), mirror.built.tree.bytes(&root));
    }
}

/// The upstream's own root is older than the one that we made: apt would ignore it until the
/// upstream has a newer one.
#[test]
fn without_its_filters_a_repository_does_not_freeze_its_clients() {
    let date = |tree: &Tree| {
        let release = tree.text("dists/stable/Release");
        let line = release
            .lines()
            .find(|line| line.starts_with("Date: "))
            .unwrap();
        jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(line[6..].replace("UTC", "+0000"))
            .unwrap()
    };
    for has_key in [true, false] {
        let upstream = mixed(Upstream::deb());
        let mirror = unsynced(&upstream, "filters:\n  exclude: [other]\n");
        if has_key {
            mirror.chantal.run(&["config", "keygen"]).exits(0);
        }
        mirror.sync().succeeds();
        let before = mirror.tree();
        let repository = Repository::of("r", &upstream, &mirror.server.url());
        mirror.chantal.repository(&repository);
        if has_key {
            let said = mirror.sync().succeeds().stdout;
            assert!(said.contains("\n  signed with "), "{said}");
            assert!(date(&mirror.tree()) > date(&before));
            assert_eq!(packages(&mirror).len(), 4);
            // And that is what it stays, as long as the upstream has nothing newer.
            let said = mirror.sync().succeeds().stdout;
            assert!(said.starts_with("r: unchanged"), "{said}");
        } else {
            let stderr = mirror.sync().exits(2).stderr;
            assert!(
                stderr.contains("apt ignores metadata that is older"),
                "{stderr}"
            );
            mirror.tree().assert_same(&before);
        }
    }
    // dnf takes what is there.
    let upstream = mixed(Upstream::rpm());
    let mirror = filtered(&upstream, "filters:\n  exclude: [other]\n");
    mirror
        .chantal
        .repository(&Repository::of("r", &upstream, &mirror.server.url()));
    mirror.sync().succeeds();
    let root = upstream.root();
    assert_eq!(mirror.tree().bytes(&root), mirror.built.tree.bytes(&root));
}

#[test]
fn the_newest_versions_are_kept() {
    for upstream in Upstream::both() {
        let mut upstream = upstream;
        for version in ["1.9-1", "1.10-1", "1.10~rc1-1", "1:0.1-1"] {
            let path = version.replace([':', '~'], "_");
            let path = match upstream.kind() {
                "apt" => format!("pool/p_{path}_amd64.deb"),
                _ => format!("p-{path}.x86_64.rpm"),
            };
            upstream.add(Package::new("p", version).at(&path));
        }
        let mirror = filtered(&upstream, "filters:\n  newest: 2\n");
        let packages = self::packages(&mirror);
        assert_eq!(packages.len(), 2, "{packages:?}");
        for version in ["1.10-1", "1_0.1-1"] {
            let is_there = packages.iter().any(|name| name.contains(version));
            assert!(is_there, "{packages:?}");
        }
    }
}

#[test]
fn apt_is_filtered_by_section_priority_source_and_size() {
    let upstream = Upstream::deb()
        .package(
            Package::new("a", "1")
                .field("Section: non-free/libs")
                .field("Priority: optional"),
        )
        .package(
            Package::new("b", "1")
                .field("Section: libs")
                .field("Priority: required"),
        )
        .package(
            Package::new("c", "1")
                .field("Section: games")
                .field("Source: csrc (1.0)"),
        )
        .package(Package::new("d", "1").raw(&[b'x'; 5000]))
        .with_deb(|deb| {
            deb.architecture_all = ArchitectureAll::InEachAndOwn;
        });
    for (filters, expected) in [
        ("sections: [libs]", &["a", "b"][..]),
        ("sections: ['non-free/*']", &["a"]),
        ("sections: ['!libs']", &["c", "d"]),
        ("priorities: [required]", &["b"]),
        ("source_packages: [csrc]", &["c"]),
        ("source_packages: [csrc]\n  include: [a]", &["a", "c"]),
        ("max_size: 4000", &["a", "b", "c"]),
    ] {
        let mirror = filtered(&upstream, &format!("filters:\n  {filters}\n"));
        let names: Vec<String> = packages(&mirror)
            .iter()
            .map(|name| name.split('_').next().unwrap().to_owned())
            .collect();
        assert_eq!(names, expected, "{filters}");
    }
}

#[test]
fn rpm_is_filtered_by_group_module_and_architecture() {
    let upstream = Upstream::rpm()
        .package(Package::new("grouped", "1-1"))
        .package(Package::new("modular", "1-1.module"))
        .package(Package::new("modular", "2-1"))
        .package(Package::new("p", "1-1").architecture("i686"))
        .package(Package::new("p", "1-1").architecture("src"))
        .with_rpm(|rpm| {
            rpm.extras = [RpmExtra::Comps, RpmExtra::Modules, RpmExtra::Updateinfo].into();
        });
    for (filters, expected) in [
        ("filters:\n  groups: [kit]\n", &["grouped-1-1.x86_64"][..]),
        (
            "filters:\n  modules: ['kit:2.10']\n",
            &["modular-1-1.module.x86_64"],
        ),
        (
            "filters:\n  modules: ['!kit']\n  exclude: [p]\n",
            &["grouped-1-1.x86_64", "modular-2-1.x86_64"],
        ),
        // Streams are no updates of each other.
        (
            "filters:\n  newest: 1\n  include: [modular]\n",
            &["modular-1-1.module.x86_64", "modular-2-1.x86_64"],
        ),
        (
            "filters:\n  architectures: [i686]\n",
            &["p-1-1.i686", "p-1-1.src"],
        ),
    ] {
        let mirror = filtered(&upstream, filters);
        assert_eq!(packages(&mirror), expected, "{filters}");
        let modules = text(&mirror, "-modules.yaml.gz");
        let has_modular = expected.iter().any(|name| name.contains(".module"));
        assert_eq!(
            modules.contains("stream: \"2.10\""),
            has_modular,
            "{modules}"
        );
    }
    for (line, expected) in [
        ("sources: false", vec!["p-1-1.i686"]),
        ("architectures: [aarch64]", vec!["p-1-1.src"]),
    ] {
        let mirror = Mirror::of(upstream.clone())
            .defined(|repository| repository.more("filters:\n  include: [p]\n").format(line));
        mirror.sync().exits(0);
        assert_eq!(packages(&mirror), expected, "{line}");
    }
}

#[test]
fn a_filter_that_takes_nothing_is_refused_and_loses_nothing() {
    for upstream in Upstream::both().map(mixed) {
        let mirror = filtered(&upstream, "");
        let before = mirror.tree();
        let repository = Repository::of("r", &upstream, &mirror.server.url());
        mirror
            .chantal
            .repository(&repository.more("filters:\n  include: [helo]\n"));
        mirror.sync().fails_with(
            2,
            "error: r: no package matches the filters\n\
             hint: relax the filters, or check them for typos; the state of the last successful sync is unchanged\n",
        );
        mirror.tree().assert_same(&before);
    }
}

/// The result is the same, whenever and wherever it is made, but for the date and the signature of
/// the root.
#[test]
fn equal_input_gives_equal_indexes() {
    for upstream in Upstream::both().map(mixed) {
        let filters = "filters:\n  exclude: [other]\n";
        let [one, two] = [(); 2].map(|()| filtered(&upstream, filters).tree());
        let indexes = |tree: &Tree| {
            let mut tree = tree.clone();
            tree.retain(|path| !path.ends_with("Release"));
            tree
        };
        indexes(&one).assert_same(&indexes(&two));
        assert!(indexes(&one).len() >= 6);
    }
}

#[test]
fn without_a_key_the_command_says_what_clients_must_set() {
    for upstream in Upstream::both().map(mixed) {
        let mirror = unsynced(&upstream, "filters:\n  exclude: [other]\n");
        let said = mirror.sync().succeeds().stdout;
        let setting = match upstream.kind() {
            "apt" => "`Trusted: yes`",
            _ => "`repo_gpgcheck=0`",
        };
        let line = format!(
            "  unsigned (no signing.key_file configured): clients reject it without {setting}\n"
        );
        assert!(said.ends_with(&line), "{said}");
        let tree = mirror.tree();
        for signature in [
            "InRelease",
            "Release.gpg",
            "repomd.xml.asc",
            "repomd.xml.key",
        ] {
            assert!(!tree.paths().iter().any(|path| path.ends_with(signature)));
        }
    }
}

/// The deltas between packages and the lists in other forms are not rewritten.
#[test]
fn what_would_contradict_the_selection_is_left_out() {
    let upstream = mixed(Upstream::rpm()).with_rpm(|rpm| {
        rpm.compression = Codec::Zst;
        rpm.extras = [RpmExtra::Prestodelta, RpmExtra::Key].into();
    });
    let mirror = filtered(&upstream, "filters:\n  exclude: [other]\n");
    let tree = mirror.tree();
    let left: Vec<&str> = tree
        .paths()
        .into_iter()
        .filter(|path| path.contains("drpm") || path.contains("presto") || has_end(path, &[".key"]))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(
        tree.paths()
            .iter()
            .any(|path| path.ends_with("-primary.xml.zst"))
    );
}

/// Its tree has a root of ours in front, which the state does not have: it is the state's all the
/// same.
#[test]
fn a_filtered_tree_shows_the_current_state() {
    for upstream in Upstream::both() {
        let mirror = filtered(&mixed(upstream), "filters: {include: [hello]}\n");
        let show = ["repo", "show", "--repo-id", "r"];
        let json = [&["--format", "json"], &show[..]].concat();
        let shown = mirror.chantal.run(&json).succeeds().json();
        assert_eq!(shown["published"][0]["current"], true);
        let shown = mirror.chantal.run(&show).succeeds();
        shown.mentions("[dir]/www/r/latest (current, ");
    }
}
