//! Published is what the upstream has, byte for byte: every file that the selection needs and no
//! other.

use super::{hello, mirror_of};
use crate::kit::mirror::Mirror;
use crate::kit::upstream::{
    ArchitectureAll, Checksum, Codec, Deb, DebExtra, FileNames, Package, Part, Roots, RpmExtra,
    Upstream,
};

/// Packages of which every index has something to say.
fn packages(upstream: Upstream) -> Upstream {
    upstream
        .package(hello())
        .package(Package::new("data", "1:2.1~rc1-1").independent())
}

fn deb(change: impl FnOnce(&mut Deb)) -> Upstream {
    packages(Upstream::deb()).with_deb(change)
}

#[track_caller]
fn is_mirrored(what: &str, mirror: &Mirror, parts: &[Part]) {
    println!("{what}");
    mirror.sync().succeeds();
    let expected = mirror.built.mirrored_with(parts);
    mirror.tree().assert_same(&expected);
}

#[test]
fn apt_layouts() {
    let several = |deb: &mut Deb| {
        deb.components = vec!["main".to_owned(), "contrib".to_owned()];
        deb.architectures = vec!["amd64".to_owned(), "arm64".to_owned()];
    };
    for (what, upstream) in [
        ("default", deb(|_| {})),
        ("without by-hash", deb(|deb| deb.extras.clear())),
        (
            "binary-all beside",
            deb(|deb| deb.architecture_all = ArchitectureAll::InEachAndOwn),
        ),
        (
            "binary-all alone",
            deb(|deb| deb.architecture_all = ArchitectureAll::Own),
        ),
        (
            "components and architectures",
            deb(several)
                .package(Package::new("extra", "1").component("contrib"))
                .package(Package::new("arm", "1").architecture("arm64")),
        ),
        ("only data for two architectures", {
            let data = Package::new("data", "1").independent();
            Upstream::deb().package(data).with_deb(several)
        }),
        ("flat", deb(|deb| deb.flat = Some("./".to_owned()))),
        (
            "flat in a directory",
            deb(|deb| deb.flat = Some("some/dir/".to_owned())),
        ),
        (
            "suite with a slash",
            deb(|deb| deb.suite = "bookworm/updates".to_owned()),
        ),
        (
            "without InRelease",
            deb(|deb| deb.roots = Roots::DetachedOnly),
        ),
        (
            "InRelease alone",
            deb(|deb| deb.roots = Roots::InReleaseOnly),
        ),
        ("unsigned", deb(|_| {}).unsigned()),
        (
            "every codec",
            deb(|deb| {
                deb.compressions = vec![Codec::Plain, Codec::Gz, Codec::Xz, Codec::Bz2, Codec::Zst];
                deb.listed_only.clear();
            }),
        ),
        (
            "sha512 alone",
            deb(|deb| deb.checksums = vec![Checksum::Sha512]),
        ),
        (
            "two digests",
            deb(|deb| deb.checksums = vec![Checksum::Sha256, Checksum::Sha512]),
        ),
        ("no packages", Upstream::deb()),
    ] {
        is_mirrored(what, &mirror_of(upstream), &[]);
    }
    // One codec at a time: it is the one that is read.
    for codec in [Codec::Plain, Codec::Gz, Codec::Xz, Codec::Bz2, Codec::Zst] {
        let upstream = deb(|deb| {
            deb.compressions = vec![codec];
            deb.listed_only.clear();
        });
        is_mirrored(&format!("{codec:?}"), &mirror_of(upstream), &[]);
    }
}

#[test]
fn apt_by_hash_names_of_weak_digests_are_left_out() {
    // Clients ask by the strongest digest that Release has.
    let upstream = deb(|deb| deb.checksums = vec![Checksum::Sha1, Checksum::Sha256]);
    let mirror = mirror_of(upstream);
    mirror.sync().succeeds();
    let mut expected = mirror.built.mirrored();
    expected.retain(|path| !path.contains("/by-hash/SHA1/"));
    mirror.tree().assert_same(&expected);
}

#[test]
fn apt_extras() {
    let everything = || {
        deb(|deb| {
            deb.languages = vec!["en".to_owned(), "de".to_owned()];
            deb.extras = [
                DebExtra::ByHash,
                DebExtra::Contents,
                DebExtra::Appstream,
                DebExtra::Cnf,
                DebExtra::Sources,
                DebExtra::Udebs,
                DebExtra::Installer,
                DebExtra::Pdiff,
            ]
            .into();
        })
    };
    for (lines, parts) in [
        (&[][..], &[][..]),
        (&["sources: true"], &[Part::Sources]),
        (&["udebs: true"], &[Part::Udebs]),
        (&["installer: true"], &[Part::Installer]),
        (
            &["sources: true", "udebs: true", "installer: true"],
            &[Part::Sources, Part::Udebs, Part::Installer],
        ),
    ] {
        let mirror = mirror_of(everything()).defined(|repository| {
            lines
                .iter()
                .fold(repository, |repository, line| repository.format(line))
        });
        is_mirrored(&format!("{lines:?}"), &mirror, parts);
        let paths = mirror.tree();
        assert!(
            !paths.paths().iter().any(|path| path.contains(".diff/")),
            "no pdiff is mirrored"
        );
        assert!(
            paths
                .paths()
                .iter()
                .any(|path| path.ends_with("icons-48x48.tar.gz")),
            "the icons are"
        );
    }
}

#[test]
fn apt_components_of_a_security_archive_are_written_either_way() {
    for written in ["main", "updates/main"] {
        let upstream = deb(|deb| {
            deb.suite = "bookworm-security".to_owned();
            deb.component_prefix = "updates/".to_owned();
        });
        let mirror = mirror_of(upstream)
            .defined(|repository| repository.format(&format!("components: [{written}]")));
        is_mirrored(written, &mirror, &[]);
    }
}

#[test]
fn apt_mirrors_the_chosen_components_and_architectures_only() {
    let upstream = Upstream::deb()
        .package(hello())
        .package(Package::new("arm", "1").architecture("arm64"))
        .package(Package::new("extra", "1").component("contrib"))
        .with_deb(|deb| {
            deb.components = vec!["main".to_owned(), "contrib".to_owned()];
            deb.architectures = vec!["amd64".to_owned(), "arm64".to_owned()];
        });
    let mirror = mirror_of(upstream).defined(|repository| {
        repository
            .format("components: [main]")
            .format("architectures: [amd64]")
    });
    mirror.sync().succeeds();
    let mut expected = mirror.built.mirrored();
    expected.retain(|path| !path.contains("contrib") && !path.contains("arm"));
    mirror.tree().assert_same(&expected);
    let requests = mirror.server.request_lines();
    assert!(
        !requests
            .iter()
            .any(|line| line.contains("contrib") || line.contains("arm"))
    );
}

#[test]
fn rpm_layouts() {
    let all = [
        RpmExtra::Updateinfo,
        RpmExtra::Modules,
        RpmExtra::Comps,
        RpmExtra::Prestodelta,
        RpmExtra::UnknownTypes,
        RpmExtra::Key,
    ];
    let rpm = || packages(Upstream::rpm());
    for (what, upstream) in [
        ("default", rpm()),
        ("all extras", rpm().with_rpm(|rpm| rpm.extras = all.into())),
        (
            "plain names",
            rpm().with_rpm(|rpm| rpm.file_names = FileNames::Plain),
        ),
        (
            "packages in a directory",
            rpm().with_rpm(|rpm| rpm.location = "Packages/h/".to_owned()),
        ),
        ("unsigned", rpm().unsigned()),
        ("no packages", Upstream::rpm()),
        (
            "several architectures and sources",
            rpm()
                .package(Package::new("old", "1-1").architecture("i686"))
                .package(Package::new("arm", "1-1").architecture("aarch64"))
                .package(hello().architecture("src")),
        ),
    ] {
        is_mirrored(what, &mirror_of(upstream), &[]);
    }
}

#[test]
fn rpm_codecs_and_checksums() {
    let all = [
        RpmExtra::Updateinfo,
        RpmExtra::Prestodelta,
        RpmExtra::UnknownTypes,
    ];
    for (codec, checksum) in [
        (Codec::Plain, Checksum::Sha256),
        (Codec::Gz, Checksum::Sha1),
        (Codec::Xz, Checksum::Sha256),
        (Codec::Bz2, Checksum::Sha384),
        (Codec::Zst, Checksum::Sha512),
    ] {
        let upstream = packages(Upstream::rpm()).with_rpm(|rpm| {
            rpm.compression = codec;
            rpm.checksum = checksum;
            rpm.package_checksum = checksum;
            rpm.extras = all.into();
        });
        is_mirrored(
            &format!("{codec:?} {checksum:?}"),
            &mirror_of(upstream),
            &[],
        );
    }
}

#[test]
fn the_next_state_has_what_the_upstream_has_then() {
    for upstream in Upstream::both() {
        let mut mirror = mirror_of(packages(upstream));
        mirror.sync().succeeds();
        let before = mirror.built.clone();
        mirror.next(|upstream| {
            upstream.remove("data");
            upstream.replace(Package::new("hello", "1.0-2"));
            upstream.add(Package::new("new", "1-1"));
        });
        mirror.server.clear_log();
        mirror.sync().succeeds();

        // Indexes and packages of the generation before stay for clients that hold its root.
        let mut expected = before.mirrored();
        let roots = [
            "InRelease",
            "Release",
            "Release.gpg",
            "repomd.xml",
            "repomd.xml.asc",
        ];
        expected.retain(|path| !roots.iter().any(|root| path.ends_with(&format!("/{root}"))));
        expected.merge("", &mirror.built.mirrored());
        mirror.tree().assert_same(&expected);
        let asked: Vec<String> = mirror.server.request_lines();
        for gone in [before.path_of("data"), before.path_of("hello")] {
            assert!(!asked.contains(&format!("GET {gone} 200")), "{asked:#?}");
        }
    }
}
