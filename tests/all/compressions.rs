//! Indexes in compressions that are not read, and with bytes behind their compressed ones.

use std::io::Write as _;

use crate::filters::unpacked;
use crate::kit::clients::Dnf;
use crate::kit::server::Server;
use crate::kit::upstream::{Checksum, Codec, Package, Roots, Upstream, edit_root};
use crate::variants::{PACKAGES, apt_is_content, deb, has, mirror_of};

/// Nobody needs it to be read, or everybody does without.
#[test]
fn an_index_that_only_describes_may_be_in_any_compression() {
    let upstream = deb().with_deb(|deb| deb.roots = Roots::InReleaseOnly);
    let mut tree = upstream.build().tree;
    let plain = "dists/stable/main/Contents-amd64";
    let gz = format!("{plain}.gz");
    let text = unpacked(&gz, tree.bytes(&gz));
    let options = lzma_rust2::LzmaOptions::with_preset(1);
    let mut packer = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).unwrap();
    packer.write_all(text.as_bytes()).unwrap();
    let lzma = packer.finish().unwrap();
    let entry = format!(
        " {} {} main/Contents-amd64.lzma\n",
        Checksum::Sha256.hex(&lzma),
        lzma.len()
    );
    edit_root(&mut tree, |text| {
        let lines = text.lines().filter_map(|line| match line {
            line if line.ends_with("Contents-amd64.xz") => None,
            line if line.ends_with("Contents-amd64.gz") => Some(entry.clone()),
            line => Some(format!("{line}\n")),
        });
        lines.collect::<Vec<_>>().concat()
    });
    tree.retain(|path| !path.starts_with(plain));
    tree.insert(&format!("{plain}.lzma"), lzma);
    for more in ["", "filters:\n  include: [hello]\n"] {
        let mirror = mirror_of(&upstream, more);
        mirror.server.swap(tree.clone());
        mirror.sync().exits(0);
        assert_eq!(has(&mirror, &format!("{plain}.lzma")), more.is_empty());
        if more.is_empty() {
            apt_is_content(&mirror);
        }
    }

    let upstream = Upstream::rpm()
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("other", "1-1"));
    let mut tree = upstream.build().tree;
    let gz = tree
        .paths()
        .iter()
        .find(|path| path.ends_with("filelists.xml.gz"))
        .unwrap()
        .to_string();
    let lz4 = gz.replace(".gz", ".lz4");
    edit_root(&mut tree, |root| root.replace(&gz, &lz4));
    let bytes = tree.bytes(&gz).to_vec();
    tree.insert(&lz4, bytes);
    for more in ["", "filters:\n  include: [hello]\n"] {
        let mirror = mirror_of(&upstream, more);
        mirror.server.swap(tree.clone());
        let said = mirror.sync().exits(0).stderr;
        assert_eq!(has(&mirror, &lz4), more.is_empty());
        assert_eq!(
            said.contains("filelists skipped in the new metadata (clients cannot read it): .lz4 is not supported"),
            !more.is_empty(),
            "{said}"
        );
    }
}

#[test]
fn a_compression_that_is_not_read_is_named() {
    for listed in [vec![], vec![Codec::Plain]] {
        let upstream = deb().with_deb(|deb| deb.listed_only.clone_from(&listed));
        let mut tree = upstream.build().tree;
        for (end, other) in [(".xz", ".lzma"), (".gz", ".lz4")] {
            let [old, new] = [end, other].map(|end| format!("Packages{end}"));
            edit_root(&mut tree, |text| text.replace(&old, &new));
            let bytes = tree.bytes(&format!("{PACKAGES}{end}")).to_vec();
            tree.insert(&format!("{PACKAGES}{other}"), bytes);
        }
        let mirror = mirror_of(&upstream, "");
        mirror.server.swap(tree);
        let file = if listed.is_empty() {
            "dists/stable/Release"
        } else {
            "the root"
        };
        assert_eq!(
            mirror.sync().exits(4).stderr,
            format!(
                "error: r: {file}: main/binary-amd64/Packages is only available as .lz4, .lzma, which is not supported \
                 (supported: gz, xz, bz2, zst, uncompressed)\nhint: ask the upstream to provide the index in a supported compression format; the state of the last successful sync is unchanged\n"
            )
        );
    }
    let upstream = Upstream::rpm().package(Package::new("hello", "1.0-1"));
    for end in [".lzma", ".lz4", ".zck"] {
        let mut tree = upstream.build().tree;
        edit_root(&mut tree, |root| {
            root.replace("-primary.xml.gz", &format!("-primary.xml{end}"))
        });
        let mirror = mirror_of(&upstream, "");
        mirror.server.swap(tree);
        mirror.sync().exits(4).mentions(&format!(
            "primary is only available as {end}, which is not supported"
        ));
    }
}

/// As tapes and tools that write whole blocks leave them.
#[test]
fn zeros_behind_an_index_are_padding() {
    for zeros in [1, 17, 512, 70_000] {
        for codec in [Codec::Gz, Codec::Bz2] {
            let upstream = deb().with_deb(|deb| {
                deb.compressions = vec![codec];
                deb.padding = zeros;
            });
            for more in ["", "filters:\n  include: [hello]\n"] {
                let mirror = mirror_of(&upstream, more);
                assert_eq!(
                    mirror.sync().exits(0).stderr,
                    "",
                    "{codec:?} {zeros} {more}"
                );
                if more.is_empty() {
                    apt_is_content(&mirror);
                }
            }
        }
        let upstream = Upstream::rpm()
            .package(Package::new("hello", "1.0-1"))
            .with_rpm(|rpm| rpm.padding = zeros);
        for more in ["", "filters:\n  include: [hello]\n"] {
            let mirror = mirror_of(&upstream, more);
            assert_eq!(mirror.sync().exits(0).stderr, "");
            let server = Server::start_dir(&mirror.chantal.published("r"));
            let Some(dnf) = Dnf::find() else { return };
            dnf.repository("kit", &server.url(), None);
            dnf.run(&["repoquery", "--queryformat", "%{name}"])
                .exits(0)
                .mentions("hello");
        }
    }
}
