//! The committed upstreams of the quickstart.

use std::fs;
use std::path::PathBuf;

use crate::kit::clients::{Apt, Dnf};
use crate::kit::server::Server;
use crate::kit::tree::Tree;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

#[test]
fn apt_accepts_the_quickstart_upstream() {
    let Some(apt) = Apt::find() else { return };
    let server = Server::start_dir(&fixtures().join("upstream/apt"));
    let key = fs::read(fixtures().join("upstream/key.asc")).unwrap();
    apt.source_signed_by(&key, "deb", &format!("{} stable main", server.url()));
    apt.get(&["update"]).succeeds();
    apt.get(&["download", "tiny-hello", "tiny-data"]).succeeds();
}

#[test]
fn dnf_accepts_the_quickstart_upstream() {
    let Some(dnf) = Dnf::find() else { return };
    let server = Server::start_dir(&fixtures().join("upstream/rpm"));
    let key = fs::read_to_string(fixtures().join("upstream/key.asc")).unwrap();
    dnf.repository("tiny", &server.url(), Some(&key));
    dnf.run(&["makecache"]).exits(0);
    dnf.run(&["repoquery", "--advisory=TINY-2024-1"])
        .exits(0)
        .says("tiny-hello-0:1.0-1.x86_64\n");
    if let Some(output) = dnf.download(&["tiny-hello", "tiny-data"]) {
        output.exits(0);
    }
}

#[test]
fn the_fixtures_are_small() {
    let all = Tree::read(&fixtures());
    let mut upstreams = all.clone();
    // A stored store is as large as its database is, and inputs of parsers become more.
    let others = ["store-v", "fuzz/", "openpgp/"];
    upstreams.retain(|path| !others.iter().any(|other| path.starts_with(other)));
    let bytes: usize = upstreams.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 100_000, "{bytes} bytes");
    for (path, bytes) in all.iter().filter(|(path, _)| path.starts_with("fuzz/")) {
        assert!(bytes.len() < 10_000, "{path} has {} bytes", bytes.len());
    }
}
