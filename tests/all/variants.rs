//! Indexes that the upstream has in several forms: one bad form does not lose the index.

use std::fs;

use serde_json::Value;

use crate::clients::apt::OPTIONAL_TARGETS;
use crate::filters::unpacked;
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::clients::{Apt, Dnf};
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::server::{Fault, Server, Times};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Checksum, Codec, DebExtra, Package, Roots, Upstream, edit_root};

pub const PACKAGES: &str = "dists/stable/main/binary-amd64/Packages";

/// What clients of this architecture read, but sources.
const INDEXES: [&str; 5] = [
    "main/binary-amd64/Packages",
    "main/i18n/Translation-en",
    "main/Contents-amd64",
    "main/dep11/Components-amd64.yml",
    "main/cnf/Commands-amd64",
];

pub fn mirror_of(upstream: &Upstream, more: &str) -> Mirror {
    Mirror::of(upstream.clone()).defined(|repository| repository.more(more))
}

pub fn has(mirror: &Mirror, path: &str) -> bool {
    mirror.published().join(path).exists()
}

/// apt finds everything that it looks for.
pub fn apt_is_content(mirror: &Mirror) {
    let server = Server::start_dir(&mirror.published());
    let Some(apt) = Apt::find() else { return };
    apt.config(OPTIONAL_TARGETS);
    apt.source(Key::archive(), &format!("{}/ stable main", server.url()));
    apt.get(&["update"]).exits(0);
    apt.get(&["download", "hello"]).exits(0);
}

/// Without by-hash names, which are asked for first.
pub fn deb() -> Upstream {
    Upstream::deb()
        .package(Package::new("hello", "1.0-1"))
        .with_deb(|deb| {
            deb.extras.remove(&DebExtra::ByHash);
            deb.languages.push("en".to_owned());
            deb.extras.extend([
                DebExtra::Contents,
                DebExtra::Appstream,
                DebExtra::Cnf,
                DebExtra::Sources,
            ]);
        })
}

/// Whatever is wrong with one form of an index: the other one is enough, and what is wrong is told.
#[test]
fn one_bad_form_of_an_index_is_left_out() {
    for index in INDEXES.into_iter().chain(["main/source/Sources"]) {
        for (fault, reason) in [
            (Fault::Status(403), "access denied (HTTP status 403)"),
            (Fault::Status(406), "server returned HTTP status 406"),
            (Fault::Status(500), "server returned HTTP status 500"),
            (Fault::Html, "content does not match the metadata"),
        ] {
            let server = Server::start(deb().build().tree);
            let chantal = Chantal::new();
            chantal.hide_server(&server);
            let upstream = deb();
            let repository = Repository::of("r", &upstream, &server.url());
            chantal.repository(&repository.format("sources: true"));
            chantal.global("storage:\n  base_path: ../../data\ndownload:\n  retries: 0\n");
            let path = format!("dists/stable/{index}.xz");
            server.fault(&path, Times::Always, fault);
            let said = chantal
                .run(&["repo", "sync", "--repo-id", "r"])
                .exits(0)
                .stderr;
            let start = format!(
                "warning: r: {path} skipped (clients do not need it): [server]/{path}: {reason}"
            );
            assert!(
                said.starts_with(&start) && said.lines().count() == 1,
                "{said}"
            );
            let published = chantal.published("r");
            assert!(!published.join(&path).exists());
            assert!(published.join(format!("dists/stable/{index}.gz")).exists());
        }
    }
}

#[test]
fn clients_go_on_with_the_other_forms() {
    for bad in [".xz", ".gz"] {
        let mirror = mirror_of(&deb(), "");
        let path = format!("{PACKAGES}{bad}");
        mirror
            .server
            .fault(&path, Times::Always, Fault::Status(403));
        mirror.sync().exits(0);
        apt_is_content(&mirror);
        let show = ["repo", "show", "--repo-id", "r", "--format", "json"];
        let shown: Value =
            serde_json::from_str(&mirror.chantal.run(&show).exits(0).stdout).unwrap();
        assert!(
            shown["state"]["left_out"][&path]
                .as_str()
                .unwrap()
                .contains("403")
        );
        let history = ["repo", "history", "--repo-id", "r", "--format", "json"];
        let past: Value =
            serde_json::from_str(&mirror.chantal.run(&history).exits(0).stdout).unwrap();
        assert_eq!(past[0]["left_out"][0], path.as_str());
        // It is asked for again, also under the same root, but not before it is time to ask for
        // anything.
        let storage = "storage:\n  base_path: ../../data\n";
        mirror
            .chantal
            .global(&format!("{storage}cache:\n  ttl: 1h\n"));
        mirror.server.clear_log();
        mirror.sync().exits(0);
        assert!(mirror.server.requests().is_empty());
        mirror.chantal.global(storage);
        mirror.sync().exits(0).mentions(" skipped ");
        mirror.server.clear_faults();
        assert_eq!(mirror.sync().exits(0).stderr, "");
        assert!(has(&mirror, &path));
        assert!(mirror.sync().exits(0).stdout.contains("unchanged"));
    }
}

/// A name that nobody uploads, on a server that does not say so.
#[test]
fn a_plain_name_that_is_refused_is_not_missed() {
    let upstream = deb().with_deb(|deb| deb.listed_only = vec![Codec::Plain]);
    for fault in [Fault::Status(403), Fault::Status(404), Fault::Html] {
        let mirror = mirror_of(&upstream, "");
        mirror.server.fault(PACKAGES, Times::Always, fault);
        mirror.sync().exits(0);
        apt_is_content(&mirror);
    }
}

#[test]
fn access_that_is_refused_to_every_form_is_an_error() {
    for status in [401, 403] {
        let mirror = mirror_of(&deb(), "");
        for end in [".xz", ".gz"] {
            let path = format!("{PACKAGES}{end}");
            mirror
                .server
                .fault(&path, Times::Always, Fault::Status(status));
        }
        let said = mirror.sync().exits(4).stderr;
        let start = format!("error: r: index main/binary-amd64/Packages: [server]/{PACKAGES}");
        let what = format!(": access denied (HTTP status {status})\nhint: ");
        assert!(said.starts_with(&start) && said.contains(&what), "{said}");
    }
    // Where one form is refused, whatever for, the other one is enough.
    let mirror = mirror_of(&deb(), "");
    let path = format!("{PACKAGES}.gz");
    mirror
        .server
        .fault(&path, Times::Always, Fault::Status(401));
    mirror
        .sync()
        .exits(0)
        .mentions("access denied (HTTP status 401)");
    // The most severe of several failures is reported.
    let mirror = mirror_of(&deb(), "");
    mirror
        .server
        .fault(&path, Times::Always, Fault::Status(403));
    mirror
        .server
        .fault(&format!("{PACKAGES}.xz"), Times::Always, Fault::Status(404));
    mirror
        .sync()
        .exits(4)
        .mentions("access denied (HTTP status 403)");
}

/// One content under several names is to be had from any of them.
#[test]
fn what_two_places_share_is_had_from_either() {
    // Lists without packages.
    let upstream = deb().with_deb(|deb| {
        let empty = ["contrib", "non-free"].map(str::to_owned);
        deb.components.extend(empty);
    });
    let lists = ["contrib", "non-free"]
        .map(|component| format!("dists/stable/{component}/source/Sources.gz"));
    let tree = upstream.build().tree;
    assert_eq!(tree.bytes(&lists[0]), tree.bytes(&lists[1]));
    for missing in &lists {
        let server = Server::start(tree.clone());
        let chantal = Chantal::new();
        let repository = Repository::of("r", &upstream, &server.url()).format("sources: true");
        chantal.repository(&repository);
        for end in ["", ".gz", ".xz"] {
            let path = missing.replace(".gz", end);
            server.fault(&path, Times::Always, Fault::Status(404));
        }
        assert_eq!(
            chantal
                .run(&["repo", "sync", "--repo-id", "r"])
                .exits(0)
                .stderr,
            ""
        );
    }
}

/// An upstream that has just changed gives other bytes too: then its new root counts.
#[test]
fn a_form_of_the_next_state_is_no_bad_one() {
    let mut upstream = deb();
    let mirror = mirror_of(&upstream, "");
    upstream.bump_date();
    upstream.add(Package::new("more", "1"));
    let next = upstream.build().tree;
    let path = format!("{PACKAGES}.gz");
    // All of it is there before the first answer for this file.
    let site = mirror.server.site();
    let tree = next.clone();
    mirror.server.on_request(&path, move || site.swap(tree));
    let said = mirror.sync().exits(0);
    assert_eq!(said.stderr, "");
    assert!(said.stdout.starts_with("r: 2 packages"), "{}", said.stdout);
    assert_eq!(
        fs::read(mirror.chantal.published("r").join(&path)).unwrap(),
        next.bytes(&path)
    );
}

/// With other bytes under this path, and a Release that declares them.
fn with_form(upstream: &Upstream, path: &str, bytes: &[u8]) -> Tree {
    let mut tree = upstream.build().tree;
    let name = path.strip_prefix("dists/stable/").unwrap();
    let entry = format!(" {name}");
    edit_root(&mut tree, |text| {
        let lines = text.lines().map(|line| {
            if line.ends_with(&entry) {
                format!(" {} {}{entry}\n", Checksum::Sha256.hex(bytes), bytes.len())
            } else {
                format!("{line}\n")
            }
        });
        lines.collect::<Vec<_>>().concat()
    });
    tree.insert(path, bytes.to_vec());
    tree
}

/// What only describes packages is read where it is filtered: from another form, if the first one
/// cannot be.
#[test]
fn a_filter_reads_another_form() {
    let upstream = deb().with_deb(|deb| {
        deb.roots = Roots::InReleaseOnly;
        deb.listed_only = vec![Codec::Plain];
        deb.compressions = vec![Codec::Gz, Codec::Xz];
    });
    for index in INDEXES {
        let good = mirror_of(&upstream, "filters:\n  include: [hello]\n");
        good.sync().exits(0);
        let path = format!("dists/stable/{index}.xz");
        let wanted = fs::read(good.chantal.published("r").join(&path)).unwrap();
        let mirror = mirror_of(&upstream, "filters:\n  include: [hello]\n");
        for end in [".gz", ".xz"] {
            let bad = format!("dists/stable/{index}{end}");
            mirror
                .server
                .swap(with_form(&upstream, &bad, b"no such stream"));
            mirror.sync().exits(0);
            assert_eq!(
                fs::read(mirror.chantal.published("r").join(&path)).unwrap(),
                wanted,
                "{bad}"
            );
        }
    }
}

/// apt holds a file against every digest that Release lists of it.
#[test]
fn every_digest_of_an_index_must_hold() {
    let upstream = deb().with_deb(|deb| {
        deb.roots = Roots::InReleaseOnly;
        deb.listed_only = vec![Codec::Plain];
    });
    let good = upstream.build().tree;
    let plain = "main/binary-amd64/Packages";
    // With a list of SHA-512, of which those of some files are others'.
    let with_sha512 = |wrong: &[&str]| {
        let mut tree = good.clone();
        let names = [".gz", ".xz"].map(|end| format!("{plain}{end}"));
        let mut list = "SHA512:\n".to_owned();
        for name in names.iter().map(String::as_str).chain([plain]) {
            let path = format!("dists/stable/{name}");
            let bytes = if name == plain {
                let gz = format!("{path}.gz");
                unpacked(&gz, good.bytes(&gz)).into_bytes()
            } else {
                good.bytes(&path).to_vec()
            };
            let other = wrong.contains(&name);
            let hex = if other {
                "0".repeat(128)
            } else {
                Checksum::Sha512.hex(&bytes)
            };
            list += &format!(" {hex} {} {name}\n", bytes.len());
        }
        edit_root(&mut tree, |text| {
            text.replace("SHA256:\n", &format!("{list}SHA256:\n"))
        });
        tree
    };
    let (gz, xz) = (format!("{plain}.gz"), format!("{plain}.xz"));
    for (wrong, is_taken) in [
        (&[][..], true),
        (&[xz.as_str()], true),
        (&[gz.as_str(), &xz], false),
        (&[plain], false),
    ] {
        let mirror = mirror_of(&upstream, "");
        mirror.sync().exits(0);
        let before = mirror.chantal.published_tree("r");
        mirror.server.swap(with_sha512(wrong));
        if is_taken {
            mirror.sync().exits(0);
            assert_eq!(
                has(&mirror, &format!("dists/stable/{xz}")),
                wrong.is_empty()
            );
            apt_is_content(&mirror);
            // What is known to hold is not read again.
            assert!(mirror.sync().exits(0).stdout.contains("unchanged"));
        } else {
            mirror.sync().exits(4).mentions(" sha512 ");
            mirror.chantal.published_tree("r").assert_same(&before);
        }
    }
}

/// The digest is right, and what is inside is not.
#[test]
fn a_form_with_other_content_is_left_out() {
    for end in [".xz", ".gz"] {
        let codec = if end == ".xz" { Codec::Xz } else { Codec::Gz };
        for bad in [
            codec.compress(b"Package: other\n"),
            b"no such stream".to_vec(),
        ] {
            // Only the preferred form is read.
            let upstream = deb().with_deb(|deb| {
                deb.roots = Roots::InReleaseOnly;
                deb.listed_only = vec![Codec::Plain];
                deb.compressions = if end == ".xz" {
                    vec![Codec::Xz, Codec::Gz]
                } else {
                    vec![Codec::Gz, Codec::Bz2]
                };
            });
            let path = format!("{PACKAGES}{end}");
            let tree = with_form(&upstream, &path, &bad);
            for more in ["", "filters:\n  include: [hello]\n"] {
                let server = Server::start(tree.clone());
                let chantal = Chantal::new();
                let repository = Repository::of("r", &upstream, &server.url());
                chantal.repository(&repository.more(more));
                let said = chantal.run(&["repo", "sync", "--repo-id", "r"]).exits(0);
                assert!(said.stdout.starts_with("r: 1 package"), "{}", said.stdout);
                said.mentions(&format!("{path} skipped"));
                if more.is_empty() {
                    assert!(!chantal.published("r").join(&path).exists());
                }
            }
        }
    }
}

/// S3 without the right to list says 403 of an `InRelease` that is not there.
#[test]
fn an_inrelease_that_is_refused_may_be_absent() {
    let upstream = Upstream::deb()
        .package(Package::new("hello", "1.0-1"))
        .with_deb(|deb| deb.roots = Roots::DetachedOnly);
    let mirror = mirror_of(&upstream, "");
    let root = "dists/stable/InRelease";
    mirror.server.fault(root, Times::Always, Fault::Status(403));
    assert_eq!(mirror.sync().exits(0).stderr, "");
    apt_is_content(&mirror);
    mirror
        .server
        .fault("dists/stable/Release", Times::Always, Fault::Status(404));
    mirror.server.edit(|_| {});
    let said = mirror
        .chantal
        .run(&["repo", "sync", "--repo-id", "r", "--refresh"])
        .exits(4)
        .stderr;
    assert!(
        said.starts_with(
            "error: r: cannot fetch the metadata: [server]/dists/stable/InRelease: access denied (HTTP status 403)"
        ),
        "{said}"
    );
    drop(mirror.upstream);
}

/// The database and zchunk forms repeat the lists for other clients.
#[test]
fn a_twin_of_a_list_may_be_missing() {
    let upstream = Upstream::rpm().package(Package::new("hello", "1.0-1"));
    for fault in [None, Some(Fault::Status(403)), Some(Fault::Html)] {
        let mut tree = upstream.build().tree;
        let element = |kind: &str, href: &str| {
            format!(
                "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><location href=\"{href}\"/><size>4</size></data>\n</repomd>",
                Checksum::Sha256.hex(b"none")
            )
        };
        let path = "repodata/primary.sqlite.bz2";
        edit_root(&mut tree, |root| {
            root.replace("</repomd>", &element("primary_db", path))
        });
        let mirror = mirror_of(&upstream, "");
        mirror.server.swap(tree.clone());
        if let Some(fault) = &fault {
            mirror
                .server
                .edit(|tree| tree.insert(path, b"none".to_vec()));
            mirror.server.fault(path, Times::Always, fault.clone());
        }
        mirror.sync().exits(0);
        assert!(!has(&mirror, path));
        let server = Server::start_dir(&mirror.chantal.published("r"));
        if let Some(dnf) = Dnf::find() {
            dnf.repository("kit", &server.url(), None);
            dnf.run(&["repoquery"]).exits(0).mentions("hello");
        }
        // Of what nothing else repeats.
        edit_root(&mut tree, |root| {
            root.replace("primary_db", "other-thing_db")
        });
        let mirror = mirror_of(&upstream, "");
        mirror.server.swap(tree);
        mirror.sync().exits(4);
    }
}

/// apt 2.6 does not take it, whatever gpgv says of it.
#[test]
fn a_binary_signature_is_told_of() {
    let upstream = Upstream::deb()
        .package(Package::new("hello", "1.0-1"))
        .with_deb(|deb| deb.roots = Roots::DetachedOnly);
    let mirror = mirror_of(&upstream, "");
    let signature = "dists/stable/Release.gpg";
    let armored = upstream.build().tree.bytes(signature).to_vec();
    let text = String::from_utf8(armored).unwrap();
    let body: String = text
        .lines()
        .skip_while(|line| !line.is_empty())
        .take_while(|line| !line.starts_with(['=', '-']))
        .collect();
    let binary = base64(&body);
    mirror.server.edit(|tree| tree.insert(signature, binary));
    assert_eq!(
        mirror.sync().exits(0).stderr,
        "warning: r: [server]/dists/stable/Release.gpg is not armored, which apt 2.6 requires\n"
    );
    let server = Server::start_dir(&mirror.chantal.published("r"));
    let Some(apt) = Apt::find() else { return };
    apt.source(Key::archive(), &format!("{}/ stable main", server.url()));
    let version = apt.get(&["--version"]).exits(0).stdout;
    if version.starts_with("apt 2.") {
        apt.get(&["update"]).exits(100);
    }
    assert!(fs::metadata(mirror.chantal.published("r").join(signature)).is_ok());
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0_u32;
    let mut count = 0;
    let mut bytes = Vec::new();
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let Some(value) = DIGITS.iter().position(|known| *known == digit) else {
            continue;
        };
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}
