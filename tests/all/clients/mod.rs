//! Real clients against what chantal published: they must not notice that it is a mirror.
//!
//! A client is asked the same against the upstream and against the published tree, behind the kit's
//! server and behind nginx, and its answers are compared. What it refuses shows that these tests
//! can fail.

pub mod apt;
mod dependencies;
mod dnf;
mod keys;
mod odd_inputs;
mod regenerated;
mod signatures;

use std::path::Path;

use crate::kit::chantal::Repository;
use crate::kit::clients::Nginx;
use crate::kit::mirror::{Mirror, SYNC};
use crate::kit::server::Server;
use crate::kit::upstream::Upstream;

/// Mirrored and published.
fn mirror_of(upstream: &Upstream) -> Mirror {
    mirror_with(upstream, |repository| repository)
}

fn mirror_with(upstream: &Upstream, define: impl FnOnce(Repository) -> Repository) -> Mirror {
    let mirror = Mirror::of(upstream.clone()).defined(define).synced();
    mirror.server.clear_log();
    mirror
}

/// From now on the upstream is in this state; syncs and publishes it before `served` answers the
/// next request of `path`, as if a client that has the old root were slow.
fn overtake(mirror: &Mirror, next: &Upstream, served: &Server, path: &str) {
    mirror.server.swap(next.build().tree);
    let mut sync = mirror.chantal.command(&SYNC);
    served.on_request(path, move || {
        let output = sync.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    });
}

/// A web server for a published tree.
pub enum Web {
    Kit(Server),
    Nginx(Nginx),
}

impl Web {
    /// The kit's server, and nginx where it is installed.
    pub fn all(published: &Path) -> Vec<Self> {
        let nginx = Nginx::serve(published).map(Self::Nginx);
        let kit = Self::Kit(Server::start_dir(published));
        [kit].into_iter().chain(nginx).collect()
    }

    pub fn url(&self) -> String {
        match self {
            Self::Kit(server) => server.url(),
            Self::Nginx(nginx) => nginx.url(),
        }
    }
}
