//! `rpm.architectures` and `rpm.sources`: verbatim where they exclude nothing, new metadata where
//! they exclude something.

use super::{hello, mirror_of};
use crate::kit::upstream::{Package, Upstream};

/// One package for `x86_64` and one each for these.
fn with(architectures: &[&str]) -> Upstream {
    architectures.iter().fold(
        Upstream::rpm().package(hello()),
        |upstream, architecture| {
            let package = Package::new(&format!("p-{architecture}"), "2:1.0-1");
            upstream.package(package.architecture(architecture))
        },
    )
}

#[test]
fn a_selection_that_excludes_nothing_stays_verbatim() {
    for (lines, others) in [
        (
            &["architectures: [x86_64]"][..],
            &["i686", "noarch", "src"][..],
        ),
        (
            &["architectures: [x86_64, aarch64]"],
            &["aarch64", "noarch"],
        ),
        (&["sources: false"], &["i686", "aarch64", "noarch"]),
        (&["architectures: [x86_64]", "sources: false"], &["noarch"]),
    ] {
        let mirror = mirror_of(with(others)).defined(|repository| {
            lines
                .iter()
                .fold(repository, |repository, line| repository.format(line))
        });
        mirror.sync().succeeds();
        mirror.tree().assert_same(&mirror.built.mirrored());
    }
}

/// Then new metadata is written: the upstream's lists more than what is there.
#[test]
fn a_selection_that_excludes_something_makes_new_metadata() {
    for (line, excluded) in [
        ("architectures: [x86_64]", "aarch64"),
        ("sources: false", "src"),
    ] {
        let mut mirror = mirror_of(with(&[])).defined(|repository| repository.format(line));
        mirror.sync().succeeds();
        mirror.tree().assert_same(&mirror.built.mirrored());

        mirror.next(|upstream| {
            upstream.add(Package::new(&format!("p-{excluded}"), "2:1.0-1").architecture(excluded));
        });
        mirror
            .sync()
            .succeeds()
            .mentions("unsigned (no signing.key_file configured)");
        let path = mirror.built.path_of(&format!("p-{excluded}"));
        assert_eq!(mirror.server.requests_of(&path), []);
        assert!(mirror.tree().find(&path).is_none());
        let list = mirror.chantal.run(&["repo", "list", "--format", "json"]);
        assert_eq!(list.json()[0]["packages"], 1);

        // The setting goes and comes over a state that was made without it.
        mirror.chantal.repository(&mirror.usual());
        mirror.sync().succeeds();
        assert!(mirror.tree().find(&path).is_some());
        mirror.chantal.repository(&mirror.usual().format(line));
        mirror.sync().succeeds();
        let list = mirror.chantal.run(&["repo", "list", "--format", "json"]);
        assert_eq!(list.json()[0]["packages"], 1);
    }
}

#[test]
fn an_architecture_that_matches_nothing_is_a_warning() {
    let mirror = mirror_of(with(&["noarch"]))
        .defined(|repository| repository.format("architectures: [x86_64, aarch64]"));
    mirror.sync().fails_with(
        0,
        "warning: r: architecture \"aarch64\" is configured, but no package has it\n",
    );
    mirror.tree().assert_same(&mirror.built.mirrored());

    let flat = Upstream::deb()
        .package(hello())
        .with_deb(|deb| deb.flat = Some("./".to_owned()));
    let mirror =
        mirror_of(flat).defined(|repository| repository.format("architectures: [amd64, arm64]"));
    mirror.sync().fails_with(
        0,
        "warning: r: architecture \"arm64\" is configured, but no package has it\n",
    );
}
