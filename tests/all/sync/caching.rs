//! An upstream that did not change costs one request, and nothing on disk moves.

use super::{both, hello, mirror_of};
use crate::kit::mirror::Mirror;
use crate::kit::server::Validators;
use crate::kit::tree::inodes;
use crate::kit::upstream::{Package, Roots, Upstream};

/// Syncs again: what is said and asked, and that pool and published tree are as they were.
#[track_caller]
fn nothing_changes(mirror: &Mirror, args: &[&str], requests: &[&str]) {
    let places = [
        mirror.chantal.data().join("pool"),
        mirror.chantal.published("r"),
    ];
    let before = places.each_ref().map(|place| inodes(place));
    mirror.server.clear_log();
    let said = mirror.sync_with(args).succeeds().stdout;
    let plural = if requests.len() == 1 { "" } else { "s" };
    let start = format!(
        "r: unchanged, 1 package, {} request{plural}, ",
        requests.len()
    );
    assert!(said.starts_with(&start), "{said}");
    let mut expected: Vec<String> = requests
        .iter()
        .map(|request| request.replace("ROOT", &mirror.upstream.root()))
        .map(|request| request.replace("BY_HASH", &plain_by_hash(mirror)))
        .collect();
    expected.sort();
    assert_eq!(mirror.server.request_lines(), expected);
    assert_eq!(places.each_ref().map(|place| inodes(place)), before);
}

/// Where a plain Packages would be if the upstream had one.
fn plain_by_hash(mirror: &Mirror) -> String {
    let asked = mirror.server.requests();
    let asked = asked
        .iter()
        .find(|r| r.path.contains("/by-hash/") && r.status == 404);
    asked.map_or(String::new(), |request| request.path.clone())
}

#[test]
fn a_second_sync_is_one_conditional_request() {
    for (validators, answer) in [
        (Validators::Both, "GET ROOT 304"),
        (Validators::EtagOnly, "GET ROOT 304"),
        (Validators::LastModifiedOnly, "GET ROOT 304"),
        // The whole root comes; its bytes say the same.
        (Validators::None, "GET ROOT 200"),
    ] {
        for upstream in both() {
            let mirror = mirror_of(upstream);
            mirror
                .server
                .configure(|options| options.validators = validators);
            mirror.sync().succeeds();
            nothing_changes(&mirror, &[], &[answer]);
            nothing_changes(&mirror, &[], &[answer]);
            // What holds is what the last good state was made of, whatever came between.
            mirror
                .server
                .configure(|options| options.validators = Validators::None);
            nothing_changes(&mirror, &[], &["GET ROOT 200"]);
        }
    }
}

#[test]
fn an_unchanged_sync_says_so() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        mirror.sync().succeeds();
        let unchanged = "r: unchanged, 1 package, 1 request, 0 B downloaded\n";
        mirror.sync().succeeds().says(unchanged);
    }
}

#[test]
fn without_in_release_there_are_two_requests() {
    let upstream = Upstream::deb()
        .package(hello())
        .with_deb(|deb| deb.roots = Roots::DetachedOnly);
    let mirror = mirror_of(upstream);
    mirror.sync().succeeds();
    let requests = ["GET dists/stable/InRelease 404", "GET ROOT 304"];
    nothing_changes(&mirror, &[], &requests);
}

#[test]
fn the_cache_can_be_turned_off_and_aged() {
    for settings in ["enabled: false", "max_age: 0"] {
        for upstream in both() {
            let mirror = mirror_of(upstream);
            mirror.sync().succeeds();
            nothing_changes(&mirror, &[], &["GET ROOT 304"]);
            mirror.configure(&format!("cache:\n  {settings}\n"));
            nothing_changes(&mirror, &[], &["GET ROOT 200"]);
            let root = &mirror.server.requests()[0];
            for header in ["If-None-Match", "If-Modified-Since"] {
                assert_eq!(root.header(header), None, "{settings}");
            }
        }
    }
}

#[test]
fn within_the_ttl_nobody_is_asked() {
    for upstream in both() {
        let mut mirror = mirror_of(upstream);
        mirror.configure("cache:\n  ttl: 1h\n");
        mirror.sync().succeeds();
        nothing_changes(&mirror, &[], &[]);
        mirror.next(|upstream| upstream.add(Package::new("new", "1-1")));
        nothing_changes(&mirror, &[], &[]);

        mirror.sync_with(&["--refresh"]).succeeds();
        assert!(mirror.tree().find(&mirror.built.path_of("new")).is_some());
    }
}

#[test]
fn refresh_derives_the_state_anew_from_what_is_there() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        mirror.sync().succeeds();
        let beside: &[&str] = match mirror.upstream.kind() {
            "apt" => &[
                "GET ROOT 200",
                "GET dists/stable/Release 200",
                "GET dists/stable/Release.gpg 200",
                // Release lists it and nobody had it: by now somebody may.
                "GET dists/stable/main/binary-amd64/Packages 404",
                "GET BY_HASH 404",
            ],
            _ => &[
                "GET ROOT 200",
                "GET repodata/repomd.xml.asc 200",
                "GET repodata/repomd.xml.key 404",
            ],
        };
        nothing_changes(&mirror, &["--refresh"], beside);
    }
}

#[test]
fn another_selection_or_key_makes_a_full_sync() {
    let upstream = Upstream::deb()
        .package(hello())
        .package(Package::new("extra", "1").component("contrib"))
        .with_deb(|deb| deb.components = vec!["main".to_owned(), "contrib".to_owned()]);
    let mirror = mirror_of(upstream).defined(|repository| repository.format("components: [main]"));
    mirror.sync().succeeds();
    let extra = mirror.built.path_of("extra");
    assert_eq!(mirror.tree().find(&extra), None);

    mirror.chantal.repository(&mirror.usual());
    mirror.server.clear_log();
    mirror.sync().succeeds();
    mirror.tree().assert_same(&mirror.built.mirrored());
    let requests = mirror.server.request_lines();
    assert!(
        requests.contains(&"GET dists/stable/InRelease 200".to_owned()),
        "{requests:?}"
    );
    assert!(!requests.contains(&format!("GET {} 200", mirror.built.path_of("hello"))));

    mirror.chantal.repository(&mirror.usual().unsigned());
    mirror.server.clear_log();
    mirror.sync().succeeds();
    let requests = mirror.server.request_lines();
    assert!(
        requests.contains(&"GET dists/stable/InRelease 200".to_owned()),
        "{requests:?}"
    );
}
