//! The upstream changes while it is mirrored: the sync ends with the state of one moment, the new
//! one.

use std::sync::{Arc, Mutex};

use super::{both, hello, mirror_of};
use crate::kit::mirror::Mirror;
use crate::kit::upstream::{Built, FileNames, Package, Upstream};

/// At which request the upstream changes.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// After the root, before what stands beside it.
    RootAndSignature,
    RootAndIndex,
    IndexAndPackage,
}

impl Moment {
    fn paths(self, mirror: &Mirror) -> Vec<String> {
        let paths = mirror.built.tree.paths();
        let ending = |ends: &[&str]| {
            let mut paths = paths.clone();
            paths.retain(|path| ends.iter().any(|end| path.contains(end)));
            assert!(!paths.is_empty());
            paths.into_iter().map(str::to_owned).collect()
        };
        match self {
            Self::RootAndSignature => ending(&["stable/Release", "repomd.xml.asc"]),
            Self::RootAndIndex => ending(&["binary-amd64/", "primary.xml", "filelists", "other"]),
            Self::IndexAndPackage => vec![mirror.built.path_of("hello")],
        }
    }
}

/// Upstreams whose names change with their contents, and those whose do not.
fn upstreams() -> [Upstream; 4] {
    let [deb, rpm] = both();
    let in_place_deb = deb.clone().with_deb(|deb| deb.extras.clear());
    let in_place_rpm = rpm
        .clone()
        .with_rpm(|rpm| rpm.file_names = FileNames::Plain);
    [deb, rpm, in_place_deb, in_place_rpm]
}

fn next(upstream: &Upstream, package: Package) -> Built {
    let mut next = upstream.clone();
    next.bump_date();
    next.replace(package);
    next.build()
}

#[test]
fn an_upstream_that_changes_once_ends_with_its_new_state() {
    let moments = [
        Moment::RootAndSignature,
        Moment::RootAndIndex,
        Moment::IndexAndPackage,
    ];
    for moment in moments {
        // The package moves, or has other bytes under the same name.
        for package in [Package::new("hello", "1.0-2"), hello().file(b"rebuilt")] {
            for upstream in upstreams() {
                println!("{moment:?} {} {}", upstream.kind(), package.version);
                let mirror = mirror_of(upstream);
                let new = next(&mirror.upstream, package.clone());
                for path in moment.paths(&mirror) {
                    let (site, tree) = (mirror.server.site(), new.tree.clone());
                    mirror.server.on_request(&path, move || site.swap(tree));
                }
                mirror.sync().succeeds();
                mirror.tree().assert_same(&new.mirrored());
            }
        }
    }
}

#[test]
fn an_upstream_that_changes_forever_is_an_error() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        mirror.sync().succeeds();
        let before = mirror.tree();

        // Whenever a package is asked for, the next state has taken its place.
        let states = Arc::new(Mutex::new(Vec::new()));
        for number in 2..9 {
            let version = format!("1.0-{number}");
            let built = next(&mirror.upstream, Package::new("hello", &version));
            let (site, waiting) = (mirror.server.site(), states.clone());
            mirror.server.on_request(&built.path_of("hello"), move || {
                let next: Option<Built> = waiting.lock().unwrap().pop();
                site.swap(next.unwrap().tree);
            });
            states.lock().unwrap().insert(0, built);
        }
        let first = states.lock().unwrap().pop().unwrap();
        mirror.server.swap(first.tree);
        let (architecture, file) = match mirror.upstream.kind() {
            "apt" => ("amd64", "pool/main/h/hello/hello_1.0-5_amd64.deb"),
            _ => ("x86_64", "hello-1.0-5.x86_64.rpm"),
        };
        mirror.sync().says("").fails_with(
            3,
            &format!(
                "error: r: the upstream changed 4 times during the sync: \
                 package hello 1.0-5 ({architecture}): [server]/{file}: not found\n\
                 hint: the upstream may be in the middle of an update; try again later; the state of the last successful sync is unchanged\n"
            ),
        );
        mirror.tree().assert_same(&before);
    }
}

#[test]
fn a_signature_that_stays_wrong_is_refused_at_the_second_look() {
    let mirror = mirror_of(Upstream::rpm().package(hello()));
    let other = next(&mirror.upstream, Package::new("hello", "1.0-2"));
    let signature = "repodata/repomd.xml.asc";
    let bytes = other.tree.bytes(signature).to_vec();
    mirror.server.edit(|tree| tree.insert(signature, bytes));
    mirror.sync().exits(4);
    assert_eq!(mirror.server.requests_of("repodata/repomd.xml").len(), 2);
    assert_eq!(mirror.server.requests().len(), 3);
}
