//! Real clients against what chantal published: they must not notice that it is a mirror.
//!
//! A client is asked the same against the upstream and against the published tree, behind the kit's server and behind
//! nginx, and its answers are compared. What it refuses shows that these tests can fail.

pub mod apt;
mod dependencies;
mod dnf;
mod keys;
mod odd_inputs;
mod regenerated;
mod signatures;

use std::path::{Path, PathBuf};

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::clients::Nginx;
use crate::kit::server::Server;
use crate::kit::upstream::{Built, Upstream};

/// An upstream and what chantal made of it.
struct Mirror {
    chantal: Chantal,
    upstream: Server,
    built: Built,
}

impl Mirror {
    fn of(upstream: &Upstream) -> Self {
        Self::with(upstream, |repository| repository)
    }

    fn with(upstream: &Upstream, define: impl FnOnce(Repository) -> Repository) -> Self {
        let built = upstream.build();
        let server = Server::start(built.tree.clone());
        let chantal = Chantal::new();
        chantal.repository(&define(Repository::of("r", upstream, &server.url())));
        chantal.run(&["repo", "sync", "--all"]).succeeds();
        server.clear_log();
        Self {
            chantal,
            upstream: server,
            built,
        }
    }

    fn published(&self) -> PathBuf {
        self.chantal.published("r")
    }

    /// From now on the upstream is in this state; syncs and publishes it before `served` answers the next request of
    /// `path`, as if a client that has the old root were slow.
    fn overtakes(&self, next: &Upstream, served: &Server, path: &str) {
        self.upstream.swap(next.build().tree);
        let mut sync = self.chantal.command(&["repo", "sync", "--all"]);
        served.on_request(path, move || {
            let output = sync.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        });
    }
}

/// A web server for a published tree.
enum Web {
    Kit(Server),
    Nginx(Nginx),
}

impl Web {
    /// The kit's server, and nginx where it is installed.
    fn all(published: &Path) -> Vec<Self> {
        let nginx = Nginx::serve(published).map(Self::Nginx);
        let kit = Self::Kit(Server::start_dir(published));
        [kit].into_iter().chain(nginx).collect()
    }

    fn url(&self) -> String {
        match self {
            Self::Kit(server) => server.url(),
            Self::Nginx(nginx) => nginx.url(),
        }
    }
}
