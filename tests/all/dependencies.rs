//! `filters.with_dependencies`: what the chosen packages need of the same repository comes with
//! them, and nothing else does.

use crate::kit::chantal::Repository;
use crate::kit::mirror::Mirror;
use crate::kit::upstream::{DebExtra, Package, Upstream};

/// The names and versions of the packages that a repository `r` with these filters publishes, and
/// what the sync said on stderr.
fn mirrored(
    upstream: &Upstream,
    filters: &str,
    define: impl FnOnce(Repository) -> Repository,
) -> (Vec<String>, String) {
    let filters = format!("filters:\n  {filters}\n");
    let mirror =
        Mirror::of(upstream.clone()).defined(|repository| define(repository.more(&filters)));
    let said = mirror.sync().exits(0);
    let tree = mirror.tree();
    let mut names: Vec<String> = tree
        .paths()
        .iter()
        .filter_map(|path| {
            let file = path.rsplit('/').next()?;
            let (file, end) = file.rsplit_once('.')?;
            match end {
                "deb" => Some(file.replace('_', "-").trim_end_matches("-amd64").to_owned()),
                "rpm" => Some(file.trim_end_matches(".x86_64").to_owned()),
                "dsc" => Some(format!("{}.src", file.replace('_', "-"))),
                _ => None,
            }
        })
        .collect();
    names.sort_unstable();
    (names, said.stderr)
}

/// As [`mirrored`], without a word on stderr.
fn taken(upstream: &Upstream, filters: &str) -> Vec<String> {
    let (names, said) = mirrored(upstream, filters, |repository| repository);
    assert_eq!(said, "", "{filters}");
    names
}

const CHOSEN: &str = "include: [chosen]\n  with_dependencies: true";

#[test]
fn what_is_needed_is_taken_with_what_that_needs() {
    for upstream in Upstream::both() {
        let upstream = upstream
            .package(Package::new("chosen", "1-1").needs("b").needs("c >= 2-1"))
            .package(Package::new("b", "1-1").needs("d = 1-1"))
            .package(Package::new("c", "1-1").needs("other"))
            .package(Package::new("c", "2-1"))
            .package(Package::new("c", "3-1"))
            .package(Package::new("d", "1-1").needs("chosen"))
            .package(Package::new("d", "2-1").needs("other"))
            .package(Package::new("other", "1-1").needs("chosen"));
        // A circle ends, the newest that fits is taken, and what fits not is not.
        let expected = ["b-1-1", "c-3-1", "chosen-1-1", "d-1-1"];
        assert_eq!(taken(&upstream, CHOSEN), expected);
        // What is needed comes in the version that is needed, however few are wished for.
        let newest = format!("{CHOSEN}\n  newest: 1");
        assert_eq!(taken(&upstream, &newest), expected);
        assert_eq!(taken(&upstream, "include: [chosen]"), ["chosen-1-1"]);
        let without = "include: [chosen]\n  with_dependencies: false";
        assert_eq!(taken(&upstream, without), ["chosen-1-1"]);
    }
}

#[test]
fn whatever_provides_it_is_taken() {
    for upstream in Upstream::both() {
        let upstream = upstream
            .package(
                Package::new("chosen", "1-1")
                    .needs("mta")
                    .needs("api = 2-1"),
            )
            .package(Package::new("exim", "1-1").provides("mta"))
            .package(
                Package::new("postfix", "1-1")
                    .provides("mta")
                    .provides("api = 1-1"),
            )
            .package(Package::new("v1", "2-1").provides("api = 1-1"))
            .package(Package::new("v2", "1-1").provides("api = 2-1"))
            .package(Package::new("other", "1-1").provides("mtb"));
        let expected = ["chosen-1-1", "exim-1-1", "postfix-1-1", "v2-1-1"];
        assert_eq!(taken(&upstream, CHOSEN), expected);
        // What it provides itself is there.
        let mut own = upstream;
        own.replace(Package::new("chosen", "1-1").needs("mta").provides("mta"));
        assert_eq!(taken(&own, CHOSEN), ["chosen-1-1"]);
    }
}

#[test]
fn recommendations_are_taken_where_they_are_wished_for() {
    for upstream in Upstream::both() {
        let upstream = upstream
            .package(Package::new("chosen", "1-1").needs("b"))
            .package(
                Package::new("b", "1-1")
                    .recommends("c")
                    .recommends("nowhere"),
            )
            .package(Package::new("c", "1-1"))
            .package(Package::new("d", "1-1"));
        assert_eq!(taken(&upstream, CHOSEN), ["b-1-1", "chosen-1-1"]);
        let recommends = "include: [chosen]\n  with_dependencies: recommends";
        assert_eq!(
            taken(&upstream, recommends),
            ["b-1-1", "c-1-1", "chosen-1-1"]
        );
    }
}

/// What filters say no to stays out, and the user is told once what is missing.
#[test]
fn what_is_not_there_or_left_out_is_said() {
    for upstream in Upstream::both() {
        let mut upstream = upstream
            .package(
                Package::new("chosen", "1-1")
                    .needs("b")
                    .needs("big")
                    .needs("gone >= 2"),
            )
            .package(Package::new("b", "1-1"))
            .package(Package::new("big", "1-1").raw(&[b'x'; 9000]))
            .package(Package::new("gone", "1-1"));
        let version = match upstream.kind() {
            "apt" => "gone (>= 2)",
            _ => "gone >= 2",
        };
        let filters = format!("{CHOSEN}\n  exclude: [b]\n  max_size: 8000");
        let (names, said) = mirrored(&upstream, &filters, |repository| repository);
        assert_eq!(names, ["chosen-1-1"]);
        let expected = format!(
            "warning: r: 3 dependencies of the selected packages are not in this repository, or excluded: b, big, {version}\n"
        );
        assert_eq!(said, expected);
        let mut needy = Package::new("chosen", "1-1");
        for number in 1..=9 {
            needy = needy.needs(&format!("x{number}"));
        }
        upstream.replace(needy.needs(&"y".repeat(100)));
        let (_, said) = mirrored(&upstream, CHOSEN, |repository| repository);
        assert_eq!(
            said,
            "warning: r: 10 dependencies of the selected packages are not in this repository, or excluded: \
             x1, x2, x3, x4, x5 and 5 more\n"
        );
        upstream.replace(Package::new("chosen", "1-1").needs(&"y".repeat(100)));
        let (_, said) = mirrored(&upstream, CHOSEN, |repository| repository);
        let expected = format!(
            "warning: r: 1 dependency of the selected packages is not in this repository, or excluded: {}...\n",
            "y".repeat(80)
        );
        assert_eq!(said, expected);
    }
}

#[test]
fn apt_follows_alternatives_and_crosses_architectures_where_it_may() {
    let upstream = Upstream::deb()
        .package(
            Package::new("chosen", "1")
                .needs("a | b (>= 2) | nowhere")
                .needs("tool")
                .needs("python3:any")
                .field("Pre-Depends: pre"),
        )
        .package(Package::new("a", "1"))
        .package(Package::new("b", "1"))
        .package(Package::new("pre", "1").independent().needs("lib"))
        .package(Package::new("lib", "1"))
        .package(Package::new("lib", "1").architecture("i386"))
        .package(
            Package::new("tool", "1")
                .architecture("i386")
                .field("Multi-Arch: foreign"),
        )
        .package(
            Package::new("python3", "1")
                .architecture("i386")
                .field("Multi-Arch: allowed"),
        )
        .with_deb(|deb| deb.architectures = vec!["amd64".to_owned(), "i386".to_owned()]);
    let (names, said) = mirrored(&upstream, CHOSEN, |repository| {
        repository.format("architectures: [amd64, i386]")
    });
    assert_eq!(said, "");
    let expected = [
        "a-1",
        "chosen-1",
        "lib-1",
        "lib-1-i386",
        "pre-1-all",
        "python3-1-i386",
        "tool-1-i386",
    ];
    assert_eq!(names, expected);
    // The other architecture is not mirrored: it meets nothing.
    let (names, said) = mirrored(&upstream, CHOSEN, |repository| {
        repository.format("architectures: [amd64]")
    });
    assert_eq!(names, ["a-1", "chosen-1", "lib-1", "pre-1-all"]);
    let missing = "not in this repository, or excluded: python3:any, tool\n";
    assert!(said.ends_with(missing), "{said}");
}

#[test]
fn sources_follow_what_is_needed() {
    let upstream = Upstream::deb()
        .package(Package::new("chosen", "1-1").needs("b"))
        .package(Package::new("b", "1-1"))
        .package(Package::new("other", "1-1"))
        .with_deb(|deb| deb.extras.extend([DebExtra::Sources]));
    let (names, _) = mirrored(&upstream, CHOSEN, |repository| {
        repository.format("sources: true")
    });
    assert_eq!(
        names,
        ["b-1-1", "b-1-1.src", "chosen-1-1", "chosen-1-1.src"]
    );
    let upstream = Upstream::rpm()
        .package(Package::new("chosen", "1-1").needs("b"))
        .package(Package::new("b", "1-1"))
        .package(Package::new("b", "1-1").architecture("src"))
        .package(Package::new("other", "1-1").architecture("src"));
    assert_eq!(
        taken(&upstream, CHOSEN),
        ["b-1-1", "b-1-1.src", "chosen-1-1"]
    );
}

#[test]
fn rpm_follows_files_rich_dependencies_and_other_architectures() {
    let upstream = Upstream::rpm()
        .package(
            Package::new("chosen", "1-1")
                .needs("/usr/bin/x")
                .needs("/usr/share/deep")
                .needs("(lib >= 1 with lib < 2)")
                .needs("(r1 or r2)")
                .needs("(conditional if condition)")
                .needs("only-32")
                .needs("rpmlib(CompressedFileNames) <= 3.0.4-1")
                .needs("config(chosen) = 1-1")
                .provides("config(chosen) = 1-1"),
        )
        .package(Package::new("x", "1-1").with_relations(|r| r.files.push("/usr/bin/x".to_owned())))
        .package(
            Package::new("deep", "1-1")
                .needs("/usr/share/deeper")
                .with_relations(|r| r.further_files.push("/usr/share/deep".to_owned())),
        )
        .package(
            Package::new("deeper", "1-1")
                .with_relations(|r| r.further_files.push("/usr/share/deeper".to_owned())),
        )
        .package(Package::new("lib", "0.9-1"))
        .package(Package::new("lib", "1.5-1"))
        .package(Package::new("lib", "2-1"))
        .package(Package::new("lib", "1.6-1").architecture("i686"))
        .package(Package::new("r1", "1-1"))
        .package(Package::new("r2", "1-1"))
        .package(Package::new("conditional", "1-1"))
        .package(Package::new("condition", "1-1"))
        .package(
            Package::new("only-32", "1-1")
                .architecture("i686")
                .needs("noarch"),
        )
        .package(
            Package::new("noarch", "1-1")
                .architecture("noarch")
                .needs("both"),
        )
        .package(Package::new("both", "1-1"))
        .package(Package::new("both", "1-1").architecture("i686"));
    let everywhere = [
        "both-1-1",
        "chosen-1-1",
        "conditional-1-1",
        "deep-1-1",
        "deeper-1-1",
        "lib-1.5-1",
        "noarch-1-1.noarch",
        "only-32-1-1.i686",
        "r1-1-1",
        "r2-1-1",
        "x-1-1",
    ];
    let (names, said) = mirrored(&upstream, CHOSEN, |repository| {
        repository.format("architectures: [x86_64]")
    });
    assert_eq!(
        (said.as_str(), &names[..]),
        ("", &everywhere.map(str::to_owned)[..])
    );
    // Without a word of machines, some may be of 32 bits.
    let names = taken(&upstream, CHOSEN);
    assert!(names.contains(&"both-1-1.i686".to_owned()), "{names:?}");
}
