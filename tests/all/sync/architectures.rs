//! `rpm.architectures` and `rpm.sources`: verbatim where they exclude nothing, refused where they would exclude something.

use super::{Mirror, hello};
use crate::kit::tree::inodes;
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
        let mirror = Mirror::configured(with(others), |repository| {
            lines
                .iter()
                .fold(repository, |repository, line| repository.format(line))
        });
        mirror.sync().succeeds();
        mirror.published().assert_same(&mirror.built.mirrored());
    }
}

#[test]
fn a_selection_that_would_exclude_something_is_refused() {
    for (line, excluded, setting) in [
        ("architectures: [x86_64]", "aarch64", "rpm.architectures"),
        ("sources: false", "src", "rpm.sources"),
    ] {
        let message = format!(
            "error: r: p-{excluded}-2:1.0-1 ({excluded}) is outside {setting}: a filtered repository cannot be published yet\n\
             hint: widen {setting} so that it excludes nothing, or leave it out\n"
        );
        let mut mirror = Mirror::configured(with(&[]), |repository| repository.format(line));
        mirror.sync().succeeds();
        let before = inodes(&mirror.chantal.published("r"));

        mirror.change(|upstream| {
            upstream.add(Package::new(&format!("p-{excluded}"), "2:1.0-1").architecture(excluded));
        });
        mirror.sync().fails_with(2, &message).says("");
        assert_eq!(inodes(&mirror.chantal.published("r")), before);
        assert_eq!(
            mirror
                .server
                .requests_of(&mirror.built.path_of(&format!("p-{excluded}"))),
            []
        );
        let list = mirror.chantal.run(&["repo", "list", "--format", "json"]);
        assert_eq!(list.json()[0]["packages"], 1);

        // The setting changes over a state that was made without it.
        mirror.chantal.repository(&mirror.repository());
        mirror.sync().succeeds();
        mirror.chantal.repository(&mirror.repository().format(line));
        let before = inodes(&mirror.chantal.published("r"));
        mirror.sync().fails_with(2, &message).says("");
        assert_eq!(inodes(&mirror.chantal.published("r")), before);
    }
}

#[test]
fn an_architecture_that_matches_nothing_is_a_warning() {
    let mirror = Mirror::configured(with(&["noarch"]), |repository| {
        repository.format("architectures: [x86_64, aarch64]")
    });
    mirror.sync().fails_with(
        0,
        "warning: r: architecture \"aarch64\" is wished for, but no package has it\n",
    );
    mirror.published().assert_same(&mirror.built.mirrored());

    let flat = Upstream::deb()
        .package(hello())
        .with_deb(|deb| deb.flat = Some("./".to_owned()));
    let mirror = Mirror::configured(flat, |repository| {
        repository.format("architectures: [amd64, arm64]")
    });
    mirror.sync().fails_with(
        0,
        "warning: r: architecture \"arm64\" is wished for, but no package has it\n",
    );
}
