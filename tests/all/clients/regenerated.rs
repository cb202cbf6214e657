//! Clients of what chantal made itself: new indexes over a choice of packages, and roots with
//! another date.

use std::fs;
use std::path::PathBuf;

use super::{mirror_of, mirror_with};
use crate::clients::Web;
use crate::clients::apt::OPTIONAL_TARGETS;
use crate::kit::clients::{Apt, Dnf, python};
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::server::Server;
use crate::kit::upstream::{Codec, DebExtra, Package, RpmExtra, Upstream};

const FILTERS: &str = "filters:\n  exclude: [other]\n";

/// Filtered, and signed by a key of its own.
fn filtered(upstream: &Upstream) -> Mirror {
    let mirror = mirror_with(upstream, |repository| repository.more(FILTERS));
    mirror.chantal.run(&["config", "keygen"]).exits(0);
    mirror
        .chantal
        .run(&["publish", "--repo-id", "r"])
        .succeeds();
    mirror
}

/// What our key is, armored.
fn own_key(mirror: &Mirror) -> Vec<u8> {
    fs::read(mirror.chantal.config().join("keys/signing.pub.asc")).unwrap()
}

/// Replaces one file of a published tree by itself with another byte in the middle.
fn change_a_byte(mirror: &Mirror, path: &str) {
    let path = mirror.published().join(path);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] = if bytes[middle] == b'0' { b'1' } else { b'0' };
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}

#[test]
fn apt_installs_from_a_filtered_repository() {
    let upstream = Upstream::deb()
        .package(Package::new("hello", "1.0-1").field("Depends: data"))
        .package(Package::new("data", "2:2.5~rc1-3").independent())
        .package(Package::new("other", "1"))
        .with_deb(|deb| {
            deb.languages.push("en".to_owned());
            deb.extras.extend([
                DebExtra::Contents,
                DebExtra::Appstream,
                DebExtra::Cnf,
                DebExtra::Sources,
            ]);
        });
    let mirror = mirror_with(&upstream, |repository| {
        repository.more(FILTERS).format("sources: true")
    });
    mirror.chantal.run(&["config", "keygen"]).exits(0);
    mirror
        .chantal
        .run(&["publish", "--repo-id", "r"])
        .succeeds();
    // One keyring that is published has the key that signed, and so has the file of keygen.
    let published = fs::read(mirror.published().join("r-archive-key.gpg")).unwrap();
    for key in [published, own_key(&mirror)] {
        for web in Web::all(&mirror.published()) {
            let Some(apt) = Apt::find() else { return };
            apt.config(OPTIONAL_TARGETS);
            let source = format!("{}/ stable main", web.url());
            apt.source_signed_by(&key, "deb", &source);
            apt.source_signed_by(&key, "deb-src", &source);
            apt.get(&["update"]).succeeds();
            apt.get(&["install", "--yes", "--download-only", "hello"])
                .exits(0);
            let cache = fs::read_dir(apt.dir().join("cache/archives")).unwrap();
            let names: Vec<_> = cache.map(|file| file.unwrap().file_name()).collect();
            let debs = names.iter().filter(|name| {
                let name = name.to_str().unwrap();
                name.starts_with("hello_") || name.starts_with("data_")
            });
            assert_eq!(debs.count(), 2, "{names:?}");
            apt.get(&["source", "--download-only", "hello"]).exits(0);
            apt.get(&["download", "other"])
                .exits(100)
                .mentions("Unable to locate package other");
            // The upstream's key says nothing of what we made.
            let stranger = Apt::find().unwrap();
            stranger.source(Key::archive(), &source);
            stranger.get(&["update"]).exits(100).mentions("NO_PUBKEY");
        }
    }
    change_a_byte(&mirror, "dists/stable/InRelease");
    let server = Server::start_dir(&mirror.published());
    let Some(apt) = Apt::find() else { return };
    let source = format!("{}/ stable main", server.url());
    apt.source_signed_by(&own_key(&mirror), "deb", &source);
    apt.get(&["update"]).exits(100);
}

#[test]
fn dnf_installs_from_a_filtered_repository() {
    for compression in [Codec::Gz, Codec::Zst] {
        let upstream = Upstream::rpm()
            .package(Package::new("hello", "1.0-1"))
            .package(Package::new("grouped", "2:2.5~rc1-3").independent())
            .package(Package::new("modular", "1-1.module"))
            .package(Package::new("other", "1-1"))
            .with_rpm(|rpm| {
                rpm.compression = compression;
                rpm.extras = [
                    RpmExtra::Updateinfo,
                    RpmExtra::Modules,
                    RpmExtra::Comps,
                    RpmExtra::Prestodelta,
                    RpmExtra::UnknownTypes,
                ]
                .into();
            });
        let mirror = filtered(&upstream);
        for web in Web::all(&mirror.published()) {
            let Some(dnf) = Dnf::find() else { return };
            let url = web.url();
            let key = format!("{url}/RPM-GPG-KEY-r-mirror");
            dnf.repository_with_key_at("kit", &url, Some(&key));
            dnf.run(&["makecache"]).exits(0);
            let listed = dnf.run(&["repoquery", "--queryformat", "%{name} %{files}"]);
            let listed = listed.exits(0).stdout;
            let mut names: Vec<&str> = listed
                .lines()
                .filter_map(|line| line.split(' ').next())
                .filter(|name| !name.is_empty() && !name.starts_with('/'))
                .collect();
            names.sort_unstable();
            // dnf hides a module's package from an update unless its stream is on, and this one is
            // the default.
            assert_eq!(names, ["grouped", "hello", "modular"]);
            let advisories = dnf.run(&["repoquery", "--security"]).exits(0).stdout;
            assert!(advisories.contains("hello") && !advisories.contains("other"));
            dnf.run(&["group", "info", "kit"])
                .exits(0)
                .mentions("grouped");
            dnf.run(&["module", "list"]).exits(0).mentions("2.10");
            if let Some(output) = dnf.download(&["hello", "grouped"]) {
                output.exits(0);
            }
        }
        change_a_byte(&mirror, "repodata/repomd.xml");
        let server = Server::start_dir(&mirror.published());
        let Some(dnf) = Dnf::find() else { return };
        let url = server.url();
        let key = format!("{url}/RPM-GPG-KEY-r-mirror");
        dnf.repository_with_key_at("kit", &url, Some(&key));
        dnf.run(&["makecache"]).exits(1);
    }
}

/// `createrepo_c`'s own reader loads every list of a regenerated repository, and finds the same
/// packages in each.
#[test]
fn createrepo_c_reads_a_filtered_repository() {
    let upstream = Upstream::rpm()
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("data", "2:2.5~rc1-3").independent())
        .package(Package::new("other", "1-1"))
        .with_rpm(|rpm| rpm.extras = [RpmExtra::Updateinfo].into());
    let mirror = filtered(&upstream);
    let script = r#"
import createrepo_c as cr
md = cr.Metadata()
md.locate_and_load_xml(".")
for key in sorted(md.keys()):
    p = md.get(key)
    print(p.name, p.epoch, p.version, p.release, p.arch, len(p.files), len(p.changelogs))
for record in cr.Repomd("repodata/repomd.xml").records:
    if record.type == "updateinfo":
        updates = cr.UpdateInfo(record.location_href).updates
        print(sorted(package.name for u in updates for c in u.collections for package in c.packages))
"#;
    let upstream = tempfile::tempdir().unwrap();
    mirror.built.tree.write_to(upstream.path());
    let Some(before) = python("createrepo_c", script, upstream.path()) else {
        return;
    };
    let after = python("createrepo_c", script, &mirror.published()).unwrap();
    let lines = |said: &str| {
        let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = before.exits(0).stdout.replace(", 'other'", "");
    let mut expected = lines(&before);
    assert_eq!(expected.len(), 4, "{before}");
    expected.retain(|line| !line.starts_with("other "));
    assert_eq!(lines(&after.exits(0).stdout), expected);
}

/// Production goes back to the state that worked: apt takes it, although it is older than what it
/// knows.
#[test]
fn apt_follows_a_place_back_to_an_older_snapshot() {
    let mut upstream = Upstream::deb().package(Package::new("hello", "1.0-1"));
    let mirror = mirror_of(&upstream);
    let snapshot = |name: &str| {
        let create = ["snapshot", "create", "--repo-id", "r", "--name", name];
        mirror.chantal.run(&create).succeeds();
    };
    snapshot("one");
    upstream.bump_date();
    upstream.replace(Package::new("hello", "2.0-1"));
    mirror.server.swap(upstream.build().tree);
    mirror.chantal.run(&["repo", "sync", "--all"]).succeeds();
    snapshot("two");
    mirror.chantal.run(&["config", "keygen"]).exits(0);
    let prod: PathBuf = mirror.chantal.dir().join("www/prod");
    let to = prod.display().to_string();
    let publish = |name: &str| {
        let publish = ["publish", "--snapshot-name", name, "--to", &to];
        mirror.chantal.run(&publish).succeeds().stdout
    };
    publish("two");
    let Some(apt) = Apt::find() else { return };
    let server = Server::start_dir(&prod);
    // Clients of a place that goes back know both keys.
    let keys = [
        Key::archive().public_armored().into_bytes(),
        own_key(&mirror),
    ];
    let source = format!("{}/ stable main", server.url());
    apt.source_signed_by(&keys.concat(), "deb", &source);
    let candidate = || {
        apt.get(&["update"]).succeeds();
        let policy = apt.cache(&["policy", "hello"]).exits(0).stdout;
        let line = policy.lines().find(|line| line.contains("Candidate:"));
        line.unwrap().trim().to_owned()
    };
    assert_eq!(candidate(), "Candidate: 2.0-1");
    let said = publish("one");
    assert!(said.contains("\n  signed with "), "{said}");
    assert_eq!(candidate(), "Candidate: 1.0-1");
    // What is byte for byte the upstream's is older now than what the place had.
    let said = publish("two");
    assert!(said.contains("\n  signed with "), "{said}");
    assert_eq!(candidate(), "Candidate: 2.0-1");
    // The keyring that is published there has both keys, and the snapshot's own place is as it was.
    let published = fs::read(prod.join("r-archive-key.gpg")).unwrap();
    let other = Apt::find().unwrap();
    other.source_signed_by(&published, "deb", &source);
    other.get(&["update"]).succeeds();
}
