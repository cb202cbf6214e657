//! Equal bytes are downloaded once and stored once, wherever they are named.

use std::os::unix::fs::MetadataExt as _;

use super::{hello, noise};
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::mirror::beside;
use crate::kit::server::Server;
use crate::kit::upstream::{Built, Checksum, Package, Upstream};

/// Two repositories `a` and `b` on servers of their own.
struct Pair {
    chantal: Chantal,
    a: (Built, Server),
    b: (Built, Server),
}

impl Pair {
    fn of(a: &Upstream, b: &Upstream) -> Self {
        let chantal = Chantal::new();
        let [a, b] = [("a", a), ("b", b)]
            .map(|(name, upstream)| beside(&chantal, name, upstream, |repository| repository));
        Self { chantal, a, b }
    }

    /// How often the package `hello` was asked for.
    fn requests_of_hello(&self) -> [usize; 2] {
        [&self.a, &self.b].map(|(built, server)| server.requests_of(&built.path_of("hello")).len())
    }

    #[track_caller]
    fn is_published(&self) {
        let [a, b] = [("a", &self.a), ("b", &self.b)].map(|(name, (built, _))| {
            let published = self.chantal.published(name);
            self.chantal
                .published_tree(name)
                .assert_same(&built.mirrored_as(name));
            let path = published.join(built.path_of("hello"));
            std::fs::metadata(path).unwrap().ino()
        });
        assert_eq!(a, b, "stored once");
    }
}

/// Each format, and the other one with a file of the same bytes.
fn pairs(body: &[u8]) -> [(Upstream, Upstream); 3] {
    let [deb, rpm] = Upstream::both().map(|upstream| upstream.package(hello().raw(body)));
    let elsewhere = |upstream: &Upstream, path: &str| {
        let mut upstream = upstream.clone();
        upstream.replace(hello().raw(body).at(path));
        upstream
    };
    [
        (deb.clone(), elsewhere(&deb, "pool/other/hello.deb")),
        (rpm.clone(), elsewhere(&rpm, "Packages/hello.rpm")),
        (deb, rpm),
    ]
}

#[test]
fn what_another_repository_has_is_not_asked_for() {
    for (a, b) in pairs(b"shared") {
        let pair = Pair::of(&a, &b);
        for name in ["a", "b"] {
            let run = pair.chantal.run(&["repo", "sync", "--repo-id", name]);
            run.succeeds();
        }
        assert_eq!(pair.requests_of_hello(), [1, 0]);
        pair.is_published();
    }
}

#[test]
fn what_another_repository_is_fetching_is_waited_for() {
    for (a, b) in pairs(&noise(200_000)) {
        let pair = Pair::of(&a, &b);
        // Whoever is asked first answers only when the other's root was asked for too.
        for ((built, server), (_, other), root) in
            [(&pair.a, &pair.b, b.root()), (&pair.b, &pair.a, a.root())]
        {
            let other = other.site();
            let path = built.path_of("hello");
            server.on_request(&path, move || other.wait_for(&root, 1));
        }
        pair.chantal
            .run(&["repo", "sync", "--all", "--workers", "2"])
            .succeeds();
        let [a, b] = pair.requests_of_hello();
        assert_eq!(a + b, 1);
        pair.is_published();
    }
}

#[test]
fn a_digest_counts_everywhere_unless_it_is_weak() {
    for (checksum, requests) in [
        (Checksum::Sha1, [1, 1]),
        (Checksum::Sha256, [1, 0]),
        (Checksum::Sha384, [1, 0]),
        (Checksum::Sha512, [1, 0]),
    ] {
        let upstream = Upstream::rpm()
            .package(hello())
            .with_rpm(|rpm| rpm.package_checksum = checksum);
        let pair = Pair::of(&upstream, &upstream);
        let sync = || {
            pair.chantal.run(&["repo", "sync", "--all"]).succeeds();
        };
        sync();
        assert_eq!(pair.requests_of_hello(), requests, "{checksum:?}");
        pair.is_published();

        // Within a repository every digest counts.
        for ((_, server), day) in [(&pair.a, 1), (&pair.b, 2)] {
            let mut next = upstream.clone();
            next.date += day * 86_400;
            server.swap(next.build().tree);
        }
        sync();
        assert_eq!(pair.requests_of_hello(), requests, "{checksum:?}");
    }
}

#[test]
fn one_content_under_two_paths_is_published_twice() {
    for upstream in Upstream::both() {
        let upstream = upstream
            .package(hello().raw(b"same").at("one/hello"))
            .package(Package::new("copy", "1-1").raw(b"same").at("two/copy"));
        let built = upstream.build();
        let server = Server::start(built.tree.clone());
        let chantal = Chantal::new();
        chantal.repository(&Repository::of("r", &upstream, &server.url()));
        chantal.run(&["repo", "sync", "--repo-id", "r"]).succeeds();
        chantal.published_tree("r").assert_same(&built.mirrored());
        let packages = [built.path_of("hello"), built.path_of("copy")];
        let requests = packages.iter().map(|path| server.requests_of(path).len());
        assert_eq!(requests.sum::<usize>(), 1);
    }
}
