//! Built upstreams in front of real clients: what apt and dnf refuse is no upstream.

use std::fs;
use std::path::Path;

use crate::kit::clients::{Apt, Dnf, Nginx, client, gpgv, installed, rpmkeys};
use crate::kit::keys::{Key, clear_sign};
use crate::kit::server::Server;
use crate::kit::tree::{Tree, inodes};
use crate::kit::upstream::{
    ArchitectureAll, Checksum, Codec, DebExtra, Digests, FileNames, Package, Part, Roots, RpmExtra,
    RpmSignature, Tampered, Upstream,
};

fn three_packages(upstream: Upstream) -> Upstream {
    upstream
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("data", "2:2.5~rc1-3").independent())
        .package(Package::new("raw", "1-1").raw(b"not a package"))
}

const ALL_DEB_EXTRAS: [DebExtra; 8] = [
    DebExtra::ByHash,
    DebExtra::Contents,
    DebExtra::Appstream,
    DebExtra::Cnf,
    DebExtra::Sources,
    DebExtra::Udebs,
    DebExtra::Installer,
    DebExtra::Pdiff,
];

/// `apt-get update`, then a package for this and one for all architectures.
fn judged_by_apt(upstream: &Upstream, suite_and_components: &str) {
    let Some(apt) = Apt::find() else { return };
    let server = Server::start(upstream.build().tree);
    let rest = format!("{}/ {suite_and_components}", server.url());
    apt.source(Key::archive(), &rest);
    apt.get(&["update"]).succeeds();
    apt.get(&["download", "hello", "data"]).succeeds();
    let shown = apt.cache(&["show", "data"]).succeeds();
    assert!(shown.stdout.contains("Version: 2:2.5~rc1-3"));

    for file in fs::read_dir(apt.downloads()).unwrap() {
        let path = file.unwrap().path().display().to_string();
        client("dpkg-deb", &["--info", &path], apt.dir()).succeeds();
        let name = if path.contains("hello") {
            "hello"
        } else {
            "data"
        };
        client("dpkg-deb", &["--contents", &path], apt.dir())
            .succeeds()
            .mentions(&format!("./usr/share/doc/{name}/content"));
    }
    assert_eq!(fs::read_dir(apt.downloads()).unwrap().count(), 2);
}

#[test]
fn apt_accepts_the_default_layout() {
    judged_by_apt(&three_packages(Upstream::deb()), "stable main");
}

#[test]
fn apt_accepts_everything_at_once() {
    for all in [
        ArchitectureAll::InEach,
        ArchitectureAll::InEachAndOwn,
        ArchitectureAll::Own,
    ] {
        let upstream = three_packages(Upstream::deb())
            .package(Package::new("other", "1").component("contrib"))
            .package(Package::new("foreign", "1").architecture("i386"))
            .with_deb(|deb| {
                deb.components.push("contrib".to_owned());
                deb.architectures.push("i386".to_owned());
                deb.architecture_all = all;
                deb.compressions = vec![Codec::Xz, Codec::Bz2, Codec::Zst, Codec::Plain];
                deb.listed_only = vec![Codec::Gz];
                deb.checksums = vec![Checksum::Sha1, Checksum::Sha256, Checksum::Sha512];
                deb.valid_until = Some(jiff::Timestamp::now().as_second() + 3600);
                deb.languages.push("en".to_owned());
                deb.fields.push("Version: 12".to_owned());
                deb.extras = ALL_DEB_EXTRAS.into();
            });
        judged_by_apt(&upstream, "stable main contrib");
    }
}

#[test]
fn apt_accepts_flat_and_nested_suites() {
    for (flat, suite) in [("./", "./"), ("some/dir/", "some/dir/")] {
        let flat = three_packages(Upstream::deb()).with_deb(|deb| deb.flat = Some(flat.to_owned()));
        judged_by_apt(&flat, suite);
    }
    let nested = three_packages(Upstream::deb()).with_deb(|deb| {
        deb.suite = "stable/updates".to_owned();
        deb.codename = "stable-security".to_owned();
        deb.component_prefix = "updates/".to_owned();
        deb.roots = Roots::DetachedOnly;
        deb.extras.clear();
    });
    judged_by_apt(&nested, "stable/updates main");
}

#[test]
fn apt_fetches_sources() {
    let Some(apt) = Apt::find() else { return };
    let upstream =
        three_packages(Upstream::deb()).with_deb(|deb| deb.extras.extend([DebExtra::Sources]));
    let server = Server::start(upstream.build().tree);
    let rest = format!("{}/ stable main", server.url());
    apt.source_signed_by(&Key::archive().public_binary(), "deb-src", &rest);
    apt.get(&["update"]).succeeds();
    apt.get(&["source", "--download-only", "hello"]).exits(0);
    assert!(apt.downloads().join("hello_1.0-1.tar.gz").exists());
}

#[test]
fn apt_refuses_what_another_key_signed() {
    let Some(apt) = Apt::find() else { return };
    let upstream = three_packages(Upstream::deb()).signed_by(Key::stranger());
    let server = Server::start(upstream.build().tree);
    apt.source(Key::archive(), &format!("{}/ stable main", server.url()));
    apt.get(&["update"]).exits(100).mentions("NO_PUBKEY");
}

#[test]
fn gpgv_accepts_every_kind_of_signature() {
    let (key, keyring) = (Key::archive(), Key::archive().public_binary());
    let text = "Origin: Kit\n- dashed\nFrom here\n\nend\n";
    let good = format!(
        "Good signature from \"{}\"",
        "Archive <archive@example.org>"
    );
    for output in [
        gpgv(&keyring, key.clear_sign(text).as_bytes(), None),
        gpgv(
            &keyring,
            text.as_bytes(),
            Some(key.sign(text.as_bytes()).as_bytes()),
        ),
    ] {
        let Some(output) = output else { return };
        output.exits(0).mentions(&good).mentions(&key.fingerprint());
    }
    let both = clear_sign(&[key, Key::stranger()], text);
    let rings = [keyring.clone(), Key::stranger().public_binary()].concat();
    let output = gpgv(&rings, both.as_bytes(), None).unwrap().exits(0);
    assert_eq!(output.stderr.matches("Good signature").count(), 2);
    let tampered = key.clear_sign(text).replace("Origin: Kit", "Origin: Kid");
    gpgv(&keyring, tampered.as_bytes(), None).unwrap().exits(1);
}

#[test]
fn gpg_reads_exported_secret_keys() {
    if !installed("gpg") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("key"), Key::archive().secret_armored()).unwrap();
    let args = ["--homedir", ".", "--show-keys", "--with-colons", "key"];
    client("gpg", &args, dir.path())
        .exits(0)
        .mentions(&format!("fpr:::::::::{}:", Key::archive().fingerprint()));
}

const CHECK_PACKAGES: &str = "--setopt=kit.gpgcheck=1";

/// `makecache` with the signature checked, a query, a download, and rpm on what was downloaded.
fn judged_by_dnf(upstream: &Upstream) {
    let Some(dnf) = Dnf::find() else { return };
    let server = Server::start(upstream.build().tree);
    dnf.repository("kit", &server.url(), Some(&Key::archive().public_armored()));
    dnf.run(&["makecache"]).exits(0);
    let query = [
        "repoquery",
        "--queryformat",
        "%{name}-%{epoch}:%{version}-%{release}.%{arch}",
    ];
    let found = dnf.run(&query).exits(0).stdout;
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "data-2:2.5~rc1-3.noarch",
            "hello-0:1.0-1.x86_64",
            "raw-0:1-1.x86_64"
        ]
    );
    let Some(output) = dnf.download(&[CHECK_PACKAGES, "hello", "data"]) else {
        return;
    };
    output.exits(0);
    assert_eq!(fs::read_dir(dnf.downloads()).unwrap().count(), 2);
    for file in fs::read_dir(dnf.downloads()).unwrap() {
        let path = file.unwrap().path().display().to_string();
        judged_by_rpm(&path, dnf.dir());
    }
}

fn judged_by_rpm(path: &str, dir: &Path) {
    let Some(output) = rpmkeys(Key::archive(), &fs::read(dir.join(path)).unwrap()) else {
        return;
    };
    output.exits(0);
    client("rpm", &["-qp", "--list", path], dir)
        .exits(0)
        .mentions("/content\n");
}

#[test]
fn dnf_accepts_the_default_layout() {
    judged_by_dnf(&three_packages(Upstream::rpm()));
}

#[test]
fn dnf_accepts_everything_at_once() {
    for (compression, checksum, file_names) in [
        (Codec::Zst, Checksum::Sha512, FileNames::WithDigest),
        (Codec::Xz, Checksum::Sha1, FileNames::Plain),
        (Codec::Bz2, Checksum::Sha384, FileNames::Plain),
        (Codec::Plain, Checksum::Sha256, FileNames::WithDigest),
    ] {
        let upstream = three_packages(Upstream::rpm()).with_rpm(|rpm| {
            rpm.compression = compression;
            rpm.checksum = checksum;
            rpm.package_checksum = checksum;
            rpm.file_names = file_names;
            rpm.location = "Packages/k/".to_owned();
            rpm.extras = [
                RpmExtra::Updateinfo,
                RpmExtra::Modules,
                RpmExtra::Comps,
                RpmExtra::Prestodelta,
                RpmExtra::UnknownTypes,
                RpmExtra::Key,
            ]
            .into();
        });
        judged_by_dnf(&upstream);
    }
}

#[test]
fn dnf_refuses_what_another_key_signed() {
    let Some(dnf) = Dnf::find() else { return };
    let upstream = three_packages(Upstream::rpm()).signed_by(Key::stranger());
    let server = Server::start(upstream.build().tree);
    dnf.repository("kit", &server.url(), Some(&Key::archive().public_armored()));
    dnf.run(&["makecache"]).exits(1).mentions("GPG");
}

#[test]
fn dnf_refuses_packages_that_are_unsigned_or_changed() {
    let unsigned = Package::new("hello", "1-1").signatures([]);
    let stranger = unsigned
        .clone()
        .signatures([RpmSignature::by(Key::stranger())]);
    let changed = Package::new("hello", "1-1").tampered(Tampered::Header(Digests::Renewed));
    for package in [unsigned, stranger, changed] {
        let Some(dnf) = Dnf::find() else { return };
        let server = Server::start(Upstream::rpm().package(package).build().tree);
        dnf.repository("kit", &server.url(), Some(&Key::archive().public_armored()));
        let Some(output) = dnf.download(&["hello"]) else {
            return;
        };
        output.exits(0);
        let output = dnf.download(&[CHECK_PACKAGES, "hello"]).unwrap();
        output.exits(1).mentions("GPG");
    }
}

#[test]
fn rpm_reads_source_packages() {
    let upstream = Upstream::rpm().package(Package::new("hello", "1.0-1").architecture("src"));
    let built = upstream.build();
    let dir = tempfile::tempdir().unwrap();
    built.tree.write_to(dir.path());
    judged_by_rpm(&built.path_of("hello"), dir.path());
}

#[test]
fn what_is_mirrored_follows_the_configuration() {
    let upstream =
        three_packages(Upstream::deb()).with_deb(|deb| deb.extras = ALL_DEB_EXTRAS.into());
    let built = upstream.build();
    let has = |tree: &Tree, part: &str| tree.paths().iter().any(|path| path.contains(part));
    let all = built.mirrored_with(&[Part::Sources, Part::Udebs, Part::Installer]);
    for part in [
        ".dsc",
        "source/Sources.xz",
        ".udeb",
        "mini.iso",
        "SHA256SUMS",
    ] {
        assert!(has(&all, part) && !has(&built.mirrored(), part), "{part}");
    }
    for part in ["Packages.diff", "README"] {
        assert!(has(&built.tree, part) && !has(&all, part), "{part}");
    }
    for part in [
        "Contents-amd64.gz",
        "icons-48x48.tar.gz",
        "Commands-amd64",
        "by-hash",
    ] {
        assert!(has(&built.mirrored(), part), "{part}");
    }
}

#[test]
fn the_same_description_makes_the_same_unsigned_files() {
    for upstream in Upstream::both() {
        let mut upstream = three_packages(upstream).unsigned();
        let before = upstream.build().tree;
        before.assert_same(&upstream.build().tree);
        upstream.bump_date();
        let root = match upstream.kind() {
            "apt" => "dists/stable/Release".to_owned(),
            _ => upstream.root(),
        };
        assert_ne!(before.text(&root), upstream.build().tree.text(&root));
        upstream.replace(Package::new("hello", "1.1-1"));
        upstream.remove("raw");
        assert_eq!(
            upstream.build().path_of("hello").matches("1.1-1").count(),
            1
        );
    }
}

#[test]
fn hostile_paths_are_listed_and_not_written() {
    for upstream in Upstream::both() {
        let hostile = Package::new("evil", "1-1").at("../../etc/cron.d/evil");
        let built = upstream.package(hostile).build();
        assert!(!built.tree.paths().iter().any(|path| path.contains("evil")));
    }
}

#[test]
fn ten_thousand_cheap_packages_take_seconds() {
    let start = std::time::Instant::now();
    for mut upstream in Upstream::both() {
        for number in 0..10_000_u32 {
            let package = Package::new(&format!("package-{number}"), "1-1");
            upstream.add(package.raw(&number.to_be_bytes()));
        }
        assert!(upstream.build().tree.len() > 10_000);
    }
    let took = start.elapsed();
    assert!(took.as_secs() < 30, "{took:?}");
}

#[test]
fn nginx_serves_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let built = three_packages(Upstream::deb()).build();
    built.tree.write_to(dir.path());
    let before = inodes(dir.path());
    let Some(nginx) = Nginx::serve(dir.path()) else {
        return;
    };
    let url = format!("{}/dists/stable/Release", nginx.url());
    let mut response = ureq::get(url).call().unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    assert_eq!(text, built.tree.text("dists/stable/Release"));
    assert_eq!(inodes(dir.path()), before);
    Tree::read(dir.path()).assert_same(&built.tree);
}
