//! The scene of most tests: an upstream, a server that has it, and a chantal that mirrors it as the
//! repository `r`.
//!
//! [`Mirror::of`] is the usual one, not synced yet; the methods that take and give `self` make it
//! another one. What a scene of one test file has beside this is in that file.

use std::path::PathBuf;

use serde_json::Value;

use super::chantal::{Chantal, Repository};
use super::process::Output;
use super::server::Server;
use super::tree::Tree;
use super::upstream::{Built, Upstream};

pub const SYNC: [&str; 4] = ["repo", "sync", "--repo-id", "r"];
pub const PUBLISH: [&str; 3] = ["publish", "--repo-id", "r"];

/// Nothing is tried twice: retrying has tests of its own.
pub const NO_RETRIES: &str = "download:\n  retries: 0\n";
/// And one download comes after the other, so that it is known which ones were done.
pub const ONE_BY_ONE: &str = "download:\n  retries: 0\n  workers: 1\n";

/// Outputs show `[server]` in place of the server's address.
pub struct Mirror {
    pub upstream: Upstream,
    /// The upstream as it was built last.
    pub built: Built,
    pub server: Server,
    pub chantal: Chantal,
    /// The definition of `r`.
    pub repository: Repository,
}

impl Mirror {
    /// With everything as it is by default.
    pub fn of(upstream: Upstream) -> Self {
        let built = upstream.build();
        Self::of_built(upstream, built)
    }

    /// The same where the upstream was built before.
    pub fn of_built(upstream: Upstream, built: Built) -> Self {
        let server = Server::start(built.tree.clone());
        let chantal = Chantal::new();
        chantal.hide_server(&server);
        let repository = Repository::of("r", &upstream, &server.url());
        chantal.repository(&repository);
        Self {
            upstream,
            built,
            server,
            chantal,
            repository,
        }
    }

    /// With another definition of `r`.
    pub fn defined(mut self, change: impl FnOnce(Repository) -> Repository) -> Self {
        self.define(change);
        self
    }

    /// With global settings beside the storage's.
    pub fn configured(self, yaml: &str) -> Self {
        self.configure(yaml);
        self
    }

    /// With a storage that `init` made, as it is on a machine that keeps it.
    pub fn with_storage(self) -> Self {
        self.chantal.never_create();
        self.run(&["init"]).exits(0);
        self
    }

    /// Synced without a word on stderr.
    pub fn synced(self) -> Self {
        self.sync().succeeds();
        self
    }

    /// Makes another definition of `r` out of the usual one.
    pub fn define(&mut self, change: impl FnOnce(Repository) -> Repository) {
        self.repository = change(self.usual());
        self.chantal.repository(&self.repository);
    }

    pub fn configure(&self, yaml: &str) {
        let storage = "storage:\n  base_path: ../../data\n";
        self.chantal.global(&format!("{storage}{yaml}"));
    }

    /// `r` as it is by default.
    pub fn usual(&self) -> Repository {
        Repository::of("r", &self.upstream, &self.server.url())
    }

    /// Makes the next day's upstream; the server has it from then on.
    pub fn next(&mut self, change: impl FnOnce(&mut Upstream)) {
        self.upstream.bump_date();
        change(&mut self.upstream);
        self.serve();
    }

    /// Builds the upstream as it is described now, for the server.
    pub fn serve(&mut self) {
        self.built = self.upstream.build();
        self.server.swap(self.built.tree.clone());
    }

    #[must_use = "nothing is asserted yet"]
    pub fn run(&self, args: &[&str]) -> Output {
        self.chantal.run(args)
    }

    #[must_use = "nothing is asserted yet"]
    pub fn sync(&self) -> Output {
        self.run(&SYNC)
    }

    #[must_use = "nothing is asserted yet"]
    pub fn sync_with(&self, more: &[&str]) -> Output {
        self.run(&[&SYNC[..], more].concat())
    }

    /// What a command says with `--format json`, and nothing on stderr.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let args = [&["--format", "json"], args].concat();
        self.run(&args).succeeds().json()
    }

    #[track_caller]
    pub fn snapshot(&self, name: &str) {
        let create = ["snapshot", "create", "--repo-id", "r", "--name", name];
        self.run(&create).succeeds();
    }

    /// Where `r` is published.
    pub fn published(&self) -> PathBuf {
        self.chantal.published("r")
    }

    /// What is published of `r`.
    pub fn tree(&self) -> Tree {
        self.chantal.published_tree("r")
    }

    /// A path below the directory of all published trees.
    pub fn www(&self, path: &str) -> PathBuf {
        self.chantal.dir().join("www").join(path)
    }

    /// The upstream is published, with the keys, and nothing else.
    #[track_caller]
    pub fn is_published(&self) {
        self.tree()
            .assert_same(&self.built.mirrored_by(&self.repository));
    }
}

/// Defines a further repository, of an upstream on a server of its own.
pub fn beside(
    chantal: &Chantal,
    name: &str,
    upstream: &Upstream,
    define: impl FnOnce(Repository) -> Repository,
) -> (Built, Server) {
    let built = upstream.build();
    let server = Server::start(built.tree.clone());
    chantal.repository(&define(Repository::of(name, upstream, &server.url())));
    (built, server)
}
