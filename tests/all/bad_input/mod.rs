//! What goes wrong with upstreams, configurations and directories: the exact message, the
//! documented exit code, the last good state and its published tree untouched, and a good sync as
//! soon as the trouble is over.

mod broken;
mod configuration;
pub mod forge;
mod hostile;
mod targets;
mod trust;
mod unreachable;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use crate::kit::chantal::Repository;
use crate::kit::mirror::{Mirror, NO_RETRIES};
use crate::kit::tree::{Inode, inodes};
use crate::kit::upstream::{Checksum, Package, Upstream};

// What several kinds of trouble end with.
pub const BROKEN: &str = "hint: the upstream may be broken, or upstream.url may be wrong; \
                      the state of the last successful sync is unchanged\n";
pub const CHECK_KEY: &str = "hint: check gpgkey_file or gpgkey_url against the keys that the upstream announces; \
                         the state of the last successful sync is unchanged\n";
pub const MID_UPDATE: &str = "hint: the upstream may be in the middle of an update; the state of the last successful sync is unchanged\n";

/// A repository `r` that was synced once, and whose upstream has moved on since.
struct Scene {
    /// Its `built` is what the upstream has now; a test breaks the server's copy.
    mirror: Mirror,
    listed: String,
    published: BTreeMap<String, Inode>,
}

/// Its mirror's fields and methods are its own.
impl Deref for Scene {
    type Target = Mirror;

    fn deref(&self) -> &Mirror {
        &self.mirror
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Mirror {
        &mut self.mirror
    }
}

impl Scene {
    fn both() -> [Self; 2] {
        Upstream::both().map(Self::of)
    }

    /// Of the given shape, with packages `hello` and `data`.
    fn of(upstream: Upstream) -> Self {
        Self::with(upstream, |repository| repository)
    }

    /// The same, with something configured that is not by default.
    fn with(upstream: Upstream, configure: impl Fn(Repository) -> Repository) -> Self {
        let upstream = upstream
            .package(Package::new("hello", "1.0-1"))
            .package(Package::new("data", "1.0-1").independent());
        let mut mirror = Mirror::of(upstream)
            .configured(NO_RETRIES)
            .defined(configure)
            .synced();
        mirror.next(|upstream| upstream.replace(Package::new("hello", "2.0-1")));
        mirror.server.clear_log();
        let mut scene = Self {
            listed: String::new(),
            published: inodes(&mirror.published()),
            mirror,
        };
        scene.listed = scene.list();
        scene
    }

    fn is_deb(&self) -> bool {
        self.upstream.kind() == "apt"
    }

    /// One of the two, by format.
    fn pick<'a>(&self, deb: &'a str, rpm: &'a str) -> &'a str {
        if self.is_deb() { deb } else { rpm }
    }

    fn list(&self) -> String {
        let output = self.chantal.run(&["--format", "json", "repo", "list"]);
        output.succeeds().stdout
    }

    /// The sync ends so, and nothing of the last good one changed.
    #[track_caller]
    fn refused(&self, code: i32, stderr: &str) {
        self.sync().fails_with(code, stderr).says("");
        self.is_untouched();
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(self.list(), self.listed);
        assert_eq!(inodes(&self.mirror.published()), self.published);
    }

    /// The trouble is over: the next sync brings what the upstream has now.
    #[track_caller]
    fn recovers(&self) {
        self.server.clear_faults();
        self.server.release();
        self.server.swap(self.built.tree.clone());
        self.chantal.repository(&self.repository);
        self.sync().succeeds();
        self.shows_the_new_state();
    }

    /// Everything that the upstream has now; beside it only what the first state had.
    #[track_caller]
    fn shows_the_new_state(&self) {
        let mut tree = self.tree();
        let expected = self.built.mirrored();
        tree.retain(|path| expected.find(path).is_some() || !self.published.contains_key(path));
        tree.assert_same(&expected);
    }

    /// Puts other bytes in the place of a file that the server has.
    fn serve(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.server.edit(|tree| {
            tree.bytes(path);
            tree.insert(path, bytes);
        });
    }

    fn serve_nothing(&self, path: &str) {
        self.server.edit(|tree| tree.remove(path));
    }

    /// All names of the index that lists the packages, the one that is asked for first in front.
    fn index_paths(&self) -> Vec<String> {
        if !self.is_deb() {
            return vec![self.built.ending("primary.xml.gz")];
        }
        let mut paths = Vec::new();
        for name in ["Packages.xz", "Packages.gz"] {
            let path = self.built.ending(name);
            let hex = Checksum::Sha256.hex(self.built.tree.bytes(&path));
            let directory = path.strip_suffix(name).unwrap();
            paths.extend([format!("{directory}by-hash/SHA256/{hex}"), path]);
        }
        paths
    }

    fn index_name(&self) -> &'static str {
        self.pick("index main/binary-amd64/Packages", "index primary")
    }

    /// As messages name `hello`.
    fn package_name(&self) -> &'static str {
        self.pick(
            "package hello 2.0-1 (amd64)",
            "package hello 2.0-1 (x86_64)",
        )
    }
}

/// `sha256 <hex> (<n> bytes)`, as messages have it.
fn described(bytes: &[u8]) -> String {
    format!("{} ({} bytes)", digest(bytes), bytes.len())
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256 {}", Checksum::Sha256.hex(bytes))
}

/// As many bytes, and one of them another.
fn altered(bytes: &[u8]) -> Vec<u8> {
    let mut altered = bytes.to_vec();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    altered
}
