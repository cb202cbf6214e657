//! What a good sync does, seen from outside: requests made, files published, words said.

mod architectures;
mod caching;
mod certificates;
mod credentials;
mod deduplication;
mod downloads;
mod failures;
mod interrupted;
mod key_files;
mod key_urls;
mod keys;
mod line;
mod logging;
mod moving;
mod packages;
mod results;
mod several;
mod verbatim;

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::process::Output;
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Built, Package, Upstream};

/// One repository `r`, a server with its upstream, and a chantal that mirrors it and does not try twice.
struct Mirror {
    upstream: Upstream,
    built: Built,
    server: Server,
    chantal: Chantal,
}

impl Mirror {
    fn of(upstream: Upstream) -> Self {
        Self::configured(upstream, |repository| repository)
    }

    /// With the definition that `change` makes of the usual one.
    fn configured(upstream: Upstream, change: impl FnOnce(Repository) -> Repository) -> Self {
        let built = upstream.build();
        let server = Server::start(built.tree.clone());
        let mirror = Self {
            chantal: Chantal::new(),
            upstream,
            built,
            server,
        };
        mirror.chantal.hide_server(&mirror.server);
        mirror.global("download:\n  retries: 0\n");
        let repository = Repository::of("r", &mirror.upstream, &mirror.server.url());
        mirror.chantal.repository(&change(repository));
        mirror
    }

    /// Global settings beside the storage's.
    fn global(&self, yaml: &str) {
        self.chantal
            .global(&format!("storage:\n  base_path: ../../data\n{yaml}"));
    }

    fn repository(&self) -> Repository {
        Repository::of("r", &self.upstream, &self.server.url())
    }

    #[must_use = "nothing is asserted yet"]
    fn sync(&self) -> Output {
        self.sync_with(&[])
    }

    #[must_use = "nothing is asserted yet"]
    fn sync_with(&self, more: &[&str]) -> Output {
        let mut args = vec!["repo", "sync", "--repo-id", "r"];
        args.extend(more);
        self.chantal.run(&args)
    }

    fn published(&self) -> Tree {
        self.chantal.published_tree("r")
    }

    /// The next day's upstream; what it serves is built anew.
    fn change(&mut self, change: impl FnOnce(&mut Upstream)) {
        self.upstream.bump_date();
        change(&mut self.upstream);
        self.built = self.upstream.build();
        self.server.swap(self.built.tree.clone());
    }
}

fn hello() -> Package {
    Package::new("hello", "1.0-1")
}

/// Both formats, each with one package `hello`.
fn both() -> [Upstream; 2] {
    Upstream::both().map(|upstream| upstream.package(hello()))
}

/// Bytes that no compression and no repetition makes smaller or ambiguous.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_be_bytes()[0]
        })
        .collect()
}
