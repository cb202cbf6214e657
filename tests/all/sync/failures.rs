//! What is wrong with single files is told together, and what nobody looked at is counted.

use super::mirror_of;
use crate::kit::mirror::Mirror;
use crate::kit::server::{Fault, Times};
use crate::kit::upstream::{Package, Upstream};

/// Of both formats, with so many packages `p10`, `p11`, ...
fn mirrors(packages: usize) -> impl Iterator<Item = Mirror> {
    Upstream::both().into_iter().map(move |mut upstream| {
        for number in 10..10 + packages {
            upstream.add(Package::new(&format!("p{number}"), "1-1"));
        }
        mirror_of(upstream)
    })
}

#[test]
fn a_corrupt_and_a_missing_package_are_both_named() {
    for mirror in mirrors(30) {
        let path = |name: &str| mirror.built.path_of(name);
        let (corrupt, missing) = (path("p12"), path("p31"));
        let fault = |path: &str, fault| mirror.server.fault(path, Times::Always, fault);
        fault(&corrupt, Fault::Html);
        fault(&missing, Fault::Status(404));
        let said = mirror.sync().exits(4).stderr;
        let mut lines = said.lines();
        assert_eq!(
            lines.next(),
            Some("error: r: 2 files are missing or failed verification")
        );
        for (name, path, what) in [
            ("p12", &corrupt, "content does not match the metadata"),
            ("p31", &missing, "not found"),
        ] {
            let line = lines.next().unwrap();
            assert!(
                line.starts_with(&format!("  package {name} 1-1 "))
                    && line.contains(&format!("{path}: {what}")),
                "{said}"
            );
        }
        assert_eq!(lines.count(), 1, "{said}");

        // Everything else came.
        mirror.server.clear_faults();
        mirror.server.clear_log();
        mirror.sync().succeeds();
        let asked = mirror.server.requests();
        let packages = asked.iter().filter(|request| {
            let name = request.path.rsplit('/').next().unwrap();
            name.starts_with('p') && name.contains("1-1")
        });
        assert_eq!(packages.count(), 2);
    }
}

#[test]
fn what_was_not_looked_at_is_counted() {
    for mirror in mirrors(40) {
        for number in 10..50 {
            let path = mirror.built.path_of(&format!("p{number}"));
            mirror
                .server
                .fault(&path, Times::Always, Fault::Status(404));
        }
        let said = mirror.sync().exits(4).stderr;
        let (first, rest) = said.split_once('\n').unwrap();
        let numbers: Vec<usize> = first
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [failed, unseen] = numbers[..] else {
            panic!("{said}");
        };
        assert!(failed >= 10, "{said}");
        assert_eq!(failed + unseen, 40, "{said}");
        let told = rest.lines().filter(|line| line.starts_with("  package p"));
        assert_eq!(told.count(), 10, "{said}");
    }
}

/// Of one sync: a package that is missing and one that is not signed, and an upstream that then
/// fails altogether.
#[test]
fn a_refused_package_a_missing_one_and_what_ended_the_run() {
    let mut upstream = Upstream::rpm();
    upstream.add(Package::new("unsigned", "1-1").signatures([]));
    upstream.add(Package::new("missing", "1-1"));
    upstream.add(Package::new("hello", "1-1"));
    let mirror = mirror_of(upstream);
    let fault = |name: &str, status| {
        let path = mirror.built.path_of(name);
        mirror
            .server
            .fault(&path, Times::Always, Fault::Status(status));
    };
    fault("missing", 404);
    fault("hello", 404);
    let said = mirror.sync().exits(4).stderr;
    assert!(
        said.starts_with("error: r: 3 files are missing or failed verification\n"),
        "{said}"
    );
    assert!(said.contains("the package is not signed"), "{said}");
    assert!(said.contains(": not found"), "{said}");

    // The one that is not signed is known by now.
    mirror.server.clear_faults();
    mirror.configure("download:\n  retries: 0\n");
    fault("hello", 503);
    let said = mirror.sync().exits(4).stderr;
    assert!(said.contains("the package is not signed"), "{said}");
    assert!(said.contains("HTTP status 503"), "{said}");
}
