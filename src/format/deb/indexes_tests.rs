//! What is chosen from Release files as archives write them.

use super::super::selection::{Apt, Selection};
use super::super::tests::selection;
use super::*;
use crate::format::interface::Selected;
use crate::openpgp::Trusted;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn release(fields: &str, names: &[&str]) -> Vec<u8> {
    let line = |(size, name): (usize, &&str)| format!(" {DIGEST} {size} {name}\n");
    let lines: Vec<String> = names.iter().enumerate().map(line).collect();
    let date = "Date: Thu, 09 May 2024 10:00:00 UTC";
    format!("{date}\n{fields}SHA256:\n{}", lines.concat()).into_bytes()
}

fn open(
    selection: Selection,
    fields: &str,
    names: &[&str],
) -> Result<(Vec<Index>, Vec<String>), String> {
    let root = Trusted::unsigned(release(fields, names));
    let root = Apt::new(selection).unwrap().open_root(&root);
    root.map(|root| (root.indexes, root.warnings))
        .map_err(|error| error.to_string())
}

fn names(indexes: &[Index]) -> Vec<&str> {
    indexes.iter().map(|index| index.name.as_str()).collect()
}

/// A cross-section of what Debian and Ubuntu list.
const LISTED: [&str; 38] = [
    "Contents-amd64.gz",
    "Contents-i386.gz",
    "contrib/binary-amd64/Packages.xz",
    "main/Contents-all.gz",
    "main/Contents-amd64",
    "main/Contents-amd64.diff/Index",
    "main/Contents-amd64.gz",
    "main/Contents-source.gz",
    "main/Contents-udeb-amd64.gz",
    "main/binary-all/Packages.xz",
    "main/binary-all/Release",
    "main/binary-amd64/Packages",
    "main/binary-amd64/Packages.bz2",
    "main/binary-amd64/Packages.diff/Index",
    "main/binary-amd64/Packages.gz",
    "main/binary-amd64/Packages.lzma",
    "main/binary-amd64/Packages.xz",
    "main/binary-amd64/Packages.zst",
    "main/binary-amd64/Release",
    "main/binary-i386/Packages.xz",
    "main/cnf/Commands-amd64.xz",
    "main/cnf/Commands-i386.xz",
    "main/debian-installer/binary-amd64/Packages.xz",
    "main/debian-installer/binary-amd64/Release",
    "main/dep11/CID-Index-amd64.json.gz",
    "main/dep11/Components-amd64.yml.gz",
    "main/dep11/Components-i386.yml.gz",
    "main/dep11/icons-128x128@2.tar.gz",
    "main/i18n/Translation-de.bz2",
    "main/i18n/Translation-en.bz2",
    "main/i18n/Translation-en.diff/Index",
    "main/installer-amd64/20230607+deb12u15/images/SHA256SUMS",
    "main/installer-amd64/current/images/MD5SUMS",
    "main/installer-amd64/current/images/SHA256SUMS",
    "main/installer-i386/current/images/SHA256SUMS",
    "main/source/Release",
    "main/source/Sources.xz",
    "main/source/Sources.diff/Index",
];

const FIELDS: &str =
    "Components: main contrib\nArchitectures: all amd64 i386\nAcquire-By-Hash: yes\n";

#[test]
fn chooses_what_clients_of_the_selection_ask_for() {
    let (indexes, warnings) = open(selection("sid"), FIELDS, &LISTED).unwrap();
    let base = [
        "Contents-amd64",
        "main/Contents-all",
        "main/Contents-amd64",
        "main/binary-all/Packages",
        "main/binary-all/Release",
        "main/binary-amd64/Packages",
        "main/binary-amd64/Packages.lzma",
        "main/binary-amd64/Release",
        "main/cnf/Commands-amd64",
        "main/dep11/CID-Index-amd64.json",
        "main/dep11/Components-amd64.yml",
        "main/dep11/icons-128x128@2.tar",
        "main/i18n/Translation-de",
        "main/i18n/Translation-en",
    ];
    assert_eq!(names(&indexes), base);
    assert_eq!(warnings, Vec::<String>::new());

    let everything = Selection {
        sources: true,
        udebs: true,
        installer: true,
        ..selection("sid")
    };
    let (indexes, _) = open(everything, FIELDS, &LISTED).unwrap();
    let more: Vec<&str> = names(&indexes)
        .into_iter()
        .filter(|name| !base.contains(name))
        .collect();
    assert_eq!(
        more,
        [
            "main/Contents-source",
            "main/Contents-udeb-amd64",
            "main/debian-installer/binary-amd64/Packages",
            "main/debian-installer/binary-amd64/Release",
            "main/installer-amd64/20230607+deb12u15/images/SHA256SUMS",
            "main/installer-amd64/current/images/SHA256SUMS",
            "main/source/Release",
            "main/source/Sources",
        ]
    );
}

#[test]
fn variants_stand_in_reading_order_with_their_by_hash_paths() {
    let (indexes, _) = open(selection("sid"), FIELDS, &LISTED).unwrap();
    let packages = indexes
        .iter()
        .find(|index| index.name == "main/binary-amd64/Packages")
        .unwrap();
    assert_eq!(packages.kind, IndexKind::Packages);
    assert_eq!(packages.presence, Presence::AnyVariant);
    let paths: Vec<&str> = packages
        .variants
        .iter()
        .map(|variant| variant.path.as_str())
        .collect();
    assert_eq!(
        paths,
        ["zst", "xz", "gz", "bz2", ""].map(|suffix| {
            let path = format!("dists/sid/main/binary-amd64/Packages.{suffix}");
            path.trim_end_matches('.').to_owned()
        })
    );
    let plain = packages.variants.last().unwrap();
    assert_eq!(packages.variants[0].open.size, plain.size);
    assert_eq!(packages.variants[0].open.digest, Some(plain.digest));
    assert_eq!(plain.open.digest, Some(plain.digest));
    assert_eq!(
        plain.by_hash[0].as_str(),
        format!("dists/sid/main/binary-amd64/by-hash/SHA256/{DIGEST}")
    );
    let release = indexes
        .iter()
        .find(|index| index.name == "main/binary-amd64/Release")
        .unwrap();
    assert_eq!(release.presence, Presence::Optional);

    let (indexes, _) = open(selection("sid"), "", &LISTED).unwrap();
    assert!(
        indexes
            .iter()
            .all(|index| index.variants[0].by_hash.is_empty())
    );
    assert!(!names(&indexes).contains(&"main/binary-all/Packages"));
}

#[test]
fn binary_all_may_be_absent_where_clients_do_not_ask_for_it() {
    let presence = |more: &str| {
        let (indexes, _) = open(selection("sid"), &format!("{FIELDS}{more}"), &LISTED).unwrap();
        let all = indexes
            .iter()
            .find(|index| index.name == "main/binary-all/Packages");
        all.unwrap().presence
    };
    assert_eq!(presence(""), Presence::AnyVariant);
    assert_eq!(
        presence("No-Support-for-Architecture-all: Packages\n"),
        Presence::Optional
    );
}

#[test]
fn components_match_on_their_last_segment() {
    let security = "Components: updates/main updates/contrib\nArchitectures: amd64\n";
    let listed = [
        "main/binary-amd64/Packages.xz",
        "contrib/binary-amd64/Packages.xz",
    ];
    for wanted in ["main", "updates/main"] {
        let selection = Selection {
            components: vec![wanted.to_owned()],
            ..selection("bookworm-security")
        };
        let (indexes, _) = open(selection, security, &listed).unwrap();
        assert_eq!(names(&indexes), ["main/binary-amd64/Packages"], "{wanted}");
    }
    let deep = "Components: a/main\nArchitectures: amd64\n";
    let (indexes, _) = open(selection("x/y"), deep, &["a/main/binary-amd64/Packages"]).unwrap();
    assert_eq!(
        indexes[0].variants[0].path.as_str(),
        "dists/x/y/a/main/binary-amd64/Packages"
    );
    let two = "Components: a/main b/main\nArchitectures: amd64\n";
    let listed = [
        "a/main/binary-amd64/Packages",
        "b/main/binary-amd64/Packages",
    ];
    assert_eq!(
        open(selection("x"), two, &listed).unwrap_err(),
        "component \"main\" not found in dists/x/Release, available: a/main, b/main"
    );
}

#[test]
fn what_release_lacks_is_an_error_or_a_warning() {
    let wish = |component: &str, architecture: &str| Selection {
        components: vec![component.to_owned()],
        architectures: vec![architecture.to_owned()],
        ..selection("sid")
    };
    let listed = ["main/binary-amd64/Packages.xz"];
    let fields = "Components: main empty\nArchitectures: amd64 arm64\n";
    assert_eq!(
        open(wish("non-free", "amd64"), fields, &listed).unwrap_err(),
        "component \"non-free\" not found in dists/sid/Release, available: empty, main"
    );
    assert_eq!(
        open(wish("main", "s390x"), fields, &listed).unwrap_err(),
        "architecture \"s390x\" not found in dists/sid/Release, available: amd64, arm64"
    );
    assert_eq!(
        open(wish("main", "arm64"), fields, &listed).unwrap_err(),
        "dists/sid/Release: no Packages listed for this selection"
    );
    let both = Selection {
        components: vec!["main".to_owned(), "empty".to_owned()],
        architectures: vec!["amd64".to_owned(), "arm64".to_owned()],
        ..selection("sid")
    };
    let (_, warnings) = open(both, fields, &listed).unwrap();
    assert_eq!(
        warnings,
        [
            "dists/sid/Release: component \"empty\" is declared, but none of its files are listed",
            "dists/sid/Release: main/binary-arm64/Packages not listed",
        ]
    );
}

#[test]
fn a_flat_repository_has_neither_components_nor_architectures() {
    let listed = [
        "Packages.gz",
        "Sources.gz",
        "Contents-i386.gz",
        "Contents-i386.diff/Index",
        "Packages.diff/Index",
        "Translation-en.xz",
        "tool_1.0_amd64.deb",
    ];
    let (indexes, warnings) =
        open(selection("stable/"), "Acquire-By-Hash: yes\n", &listed).unwrap();
    assert_eq!(
        names(&indexes),
        ["Contents-i386", "Packages", "Translation-en"]
    );
    assert_eq!(warnings, Vec::<String>::new());
    let packages = &indexes[1].variants;
    assert_eq!(packages.len(), 1);
    assert_eq!(packages[0].path.as_str(), "stable/Packages.gz");
    assert_eq!(packages[0].open, Open::default());
    assert_eq!(
        packages[0].by_hash[0].as_str(),
        format!("stable/by-hash/SHA256/{DIGEST}")
    );

    let with_sources = Selection {
        sources: true,
        ..selection("./")
    };
    let (indexes, _) = open(with_sources, "", &listed).unwrap();
    assert_eq!(indexes[2].name, "Sources");
    assert_eq!(indexes[2].kind, IndexKind::Sources);
    assert_eq!(indexes[1].variants[0].path.as_str(), "Packages.gz");
}

/// Of a suite that is to come.
#[test]
fn a_release_that_lists_no_packages_is_an_empty_suite() {
    let empty = "no Packages listed: the suite is empty";
    for (suite, fields, listed) in [
        ("sid", "", &["main/Contents-amd64.gz"][..]),
        ("sid", FIELDS, &["main/binary-amd64/Release"]),
        ("./", "", &["x.deb"]),
    ] {
        let (indexes, warnings) = open(selection(suite), fields, listed).unwrap();
        assert!(indexes.iter().all(|index| !index.kind.names_files()));
        let last = warnings.last().map(String::as_str).unwrap_or_default();
        assert!(last.ends_with(empty), "{warnings:?}");
    }
    // What it says it has counts all the same.
    let other = "Components: contrib\nArchitectures: amd64\n";
    assert_eq!(
        open(selection("sid"), other, &["contrib/Contents-amd64.gz"]).unwrap_err(),
        "component \"main\" not found in dists/sid/Release, available: contrib"
    );
    let other = "Components: main\nArchitectures: arm64\n";
    assert_eq!(
        open(selection("sid"), other, &[]).unwrap_err(),
        "architecture \"amd64\" not found in dists/sid/Release, available: arm64"
    );
    // Lists of others, or under names that are not read, make it no placeholder.
    for listed in [
        "main/binary-arm64/Packages.gz",
        "main/binary-amd64/Packages.lzma",
    ] {
        let fields = "Components: main\nArchitectures: amd64 arm64\n";
        assert!(
            open(selection("sid"), fields, &[listed]).is_err(),
            "{listed}"
        );
    }
}

#[test]
fn a_contradiction_counts_where_the_file_is_needed() {
    let open = |lines: &str| {
        let text = format!(
            "Date: Thu, 09 May 2024 10:00:00 UTC\n{FIELDS}SHA256:\n {DIGEST} 5 main/binary-amd64/Packages.gz\n{lines}"
        );
        let root = Apt::new(selection("sid"))
            .unwrap()
            .open_root(&Trusted::unsigned(text.into_bytes()));
        root.map(|root| (root.indexes, root.warnings))
            .map_err(|error| error.to_string())
    };
    let strong = "ab".repeat(64);
    for unneeded in [
        format!(" {DIGEST} 1 Release\nSHA512:\n {strong} 2 Release\n"),
        " abcd 1 Release\n".to_owned(),
        format!(" {DIGEST} -1 contrib/binary-amd64/Packages\n"),
        // Only where it is there.
        " abcd 1 main/binary-amd64/Release\n".to_owned(),
    ] {
        let (indexes, warnings) = open(&unneeded).unwrap();
        assert_eq!(
            names(&indexes),
            ["main/binary-amd64/Packages"],
            "{unneeded}"
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    let (_, warnings) = open(&format!(" {DIGEST} 1 ../../x\n {DIGEST} 1 /\n")).unwrap();
    assert_eq!(
        warnings,
        ["dists/sid/Release: SHA256 lists 2 files with unsafe paths"]
    );
    // As in apt, the first line counts, and of sizes that of the strongest list.
    let (plain, other) = ("main/binary-amd64/Packages", "cd".repeat(32));
    for (lines, field, kept) in [
        (
            format!(" {DIGEST} 1 {plain}\nSHA512:\n {strong} 2 {plain}\n"),
            "SHA256",
            (DIGEST, 2),
        ),
        (
            format!(" {DIGEST} 1 {plain}\n {other} 1 {plain}\n"),
            "SHA256",
            (DIGEST, 1),
        ),
        (
            format!(" {other} 3 {plain}\n {DIGEST} 1 {plain}\n"),
            "SHA256",
            (other.as_str(), 3),
        ),
    ] {
        let (indexes, warnings) = open(&lines).unwrap();
        let variant = indexes[0]
            .variants
            .iter()
            .find(|v| v.path.as_str().ends_with("/Packages"));
        let variant = variant.unwrap();
        assert_eq!(
            (variant.digest.hex().as_str(), variant.size),
            (kept.0, Some(kept.1))
        );
        assert_eq!(indexes[0].variants.len(), 2);
        assert_eq!(indexes[0].variants[0].open.size, Some(kept.1));
        assert_eq!(
            warnings,
            [format!(
                "dists/sid/Release: {plain}: {field} contradicts an earlier line, which is used"
            )]
        );
    }
    // What cannot be read at all is no reason to do without another variant.
    let (indexes, warnings) = open(&format!(" abcd 1 {plain}\n")).unwrap();
    assert_eq!(indexes[0].variants.len(), 1);
    assert_eq!(indexes[0].variants[0].open, Open::default());
    assert_eq!(warnings.len(), 1);
    // Where there is none, nothing else does.
    for needed in [
        format!(" abcd 6 {plain}.gz\n"),
        " abcd 1 main/i18n/Translation-en\n".to_owned(),
    ] {
        assert!(open(&needed).is_err(), "{needed}");
    }
}

#[test]
fn a_path_that_grows_too_long_is_an_error() {
    let long = format!("main/i18n/Translation-{}", "x/".repeat(1480));
    let listed = ["main/binary-amd64/Packages", long.trim_end_matches('/')];
    assert!(
        open(selection("sid"), FIELDS, &listed).is_ok(),
        "no client asks for it"
    );
    let deep = format!("{}main/binary-amd64/Packages", "x/".repeat(1480));
    let error = open(
        Selection {
            components: vec![format!("{}main", "x/".repeat(1480))],
            ..selection("sid")
        },
        FIELDS,
        &[&deep],
    );
    assert!(error.unwrap_err().contains("too long for file systems"));
}
