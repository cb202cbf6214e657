//! Downloads over a bad line, from odd servers, and of names that need escaping.

use super::{both, hello, mirror_of, noise};
use crate::kit::chantal::{Repository, Running};
use crate::kit::mirror::Mirror;
use crate::kit::server::{Fault, Framing, Ranges, Server, Times};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Codec, Package, RpmExtra, Upstream};

const SIZE: usize = 300_000;
const GOT: usize = 100_000;
const ONCE: Times = Times::First(1);

/// Both formats with one package `large` of [`SIZE`] bytes.
fn large() -> [Mirror; 2] {
    Upstream::both().map(|upstream| {
        let large = Package::new("large", "1-1").raw(&noise(SIZE));
        mirror_of(upstream.package(large))
    })
}

/// `Range` of each request for the package and the answer's status.
fn ranges(mirror: &Mirror) -> Vec<(Option<String>, u16)> {
    let requests = mirror.server.requests_of(&mirror.built.path_of("large"));
    let range = |header: &str| header.to_owned();
    requests
        .iter()
        .map(|request| (request.header("Range").map(range), request.status))
        .collect()
}

#[track_caller]
fn is_complete(mirror: &Mirror) {
    mirror.tree().assert_same(&mirror.built.mirrored());
    let partial = std::fs::read_dir(mirror.chantal.data().join("pool/partial")).unwrap();
    assert_eq!(partial.count(), 0);
}

#[test]
fn an_interrupted_download_is_continued_by_the_next_attempt() {
    for mirror in large() {
        mirror.configure("download:\n  retries: 1\n");
        let path = mirror.built.path_of("large");
        mirror.server.fault(&path, ONCE, Fault::Truncate(GOT));
        mirror.sync().succeeds();
        let range = format!("bytes={GOT}-");
        assert_eq!(ranges(&mirror), [(None, 200), (Some(range), 206)]);
        is_complete(&mirror);
    }
}

#[test]
fn nobody_waits_for_large_files_when_the_upstream_fails() {
    for upstream in Upstream::both() {
        let large = Package::new("large", "1-1").raw(&noise(3_000_000));
        let mirror = mirror_of(upstream.package(large).package(hello()));
        let (large, hello) = (mirror.built.path_of("large"), mirror.built.path_of("hello"));
        // The whole would take half a minute.
        mirror.configure("download:\n  retries: 0\n  bandwidth_limit: 100KB\n");
        let (site, begun) = (mirror.server.site(), large.clone());
        mirror
            .server
            .on_request(&hello, move || site.wait_for(&begun, 1));
        mirror
            .server
            .fault(&hello, Times::Always, Fault::Status(503));
        mirror.sync().exits(3).mentions("package hello");

        mirror.server.clear_faults();
        mirror.configure("");
        mirror.sync().succeeds();
        // It was asked for again: the first time it had not come to its end.
        assert_eq!(mirror.server.requests_of(&large).len(), 2);
        is_complete(&mirror);
    }
}

#[test]
fn an_interrupted_download_is_continued_by_the_next_run() {
    let range = || Some(format!("bytes={GOT}-"));
    for (serving, answers, retries) in [
        (Ranges::Honoured, vec![(range(), 206)], 0),
        (Ranges::Ignored, vec![(range(), 200)], 0),
        (Ranges::Refused, vec![(range(), 416), (None, 200)], 1),
    ] {
        for mirror in large() {
            let path = mirror.built.path_of("large");
            mirror.server.fault(&path, ONCE, Fault::Truncate(GOT));
            let message = match mirror.upstream.kind() {
                "apt" => "package large 1-1 (amd64)",
                _ => "package large 1-1 (x86_64)",
            };
            mirror.sync().fails_with(
                3,
                &format!(
                    "error: r: {message}: [server]/{path}: connection closed before the transfer was complete\n\
                     hint: try again later; the state of the last successful sync is unchanged\n"
                ),
            );
            assert!(!mirror.chantal.published("r").exists());

            mirror.configure(&format!("download:\n  retries: {retries}\n"));
            mirror.server.configure(|options| options.ranges = serving);
            mirror.server.clear_log();
            mirror.sync().succeeds();
            assert_eq!(ranges(&mirror), answers, "{serving:?}");
            is_complete(&mirror);
        }
    }
}

#[test]
fn what_was_kept_of_an_interrupted_download_counts_only_if_it_fits() {
    for mirror in large() {
        let path = mirror.built.path_of("large");
        mirror.server.fault(&path, ONCE, Fault::Truncate(GOT));
        mirror.sync().exits(3);
        let partial = mirror.chantal.data().join("pool/partial");
        let [partial] = &std::fs::read_dir(partial).unwrap().collect::<Vec<_>>()[..] else {
            panic!("one file is kept");
        };
        let partial = partial.as_ref().unwrap().path();
        // A power cut can leave zeros: the whole is wrong then, and fetched again from the start.
        std::fs::write(&partial, vec![0; GOT]).unwrap();
        mirror.server.clear_log();
        mirror.sync().succeeds();
        let range = format!("bytes={GOT}-");
        assert_eq!(ranges(&mirror), [(Some(range), 206), (None, 200)]);
        is_complete(&mirror);
    }
}

#[test]
fn a_stalled_download_is_continued() {
    let [mirror, _] = large();
    mirror.configure("download:\n  retries: 1\n  timeout: 1\n");
    let path = mirror.built.path_of("large");
    mirror.server.fault(&path, ONCE, Fault::Stall(GOT));
    mirror.sync().succeeds();
    let range = format!("bytes={GOT}-");
    assert_eq!(ranges(&mirror), [(None, 200), (Some(range), 206)]);
    is_complete(&mirror);
}

#[test]
fn passing_trouble_is_overcome() {
    let now = Some(0);
    let troubles = [
        (Fault::Unavailable { retry_after: now }, 503),
        (Fault::Status(500), 500),
        (Fault::Status(429), 429),
        (Fault::Drop, 0),
        (Fault::Truncate(7), 200),
    ];
    let mut mirrors = Vec::new();
    for (fault, status) in troubles {
        for upstream in both() {
            let mirror = mirror_of(upstream);
            mirror.configure("download:\n  retries: 1\n");
            // The root and a package: both ways of reading a body.
            let paths = [mirror.upstream.root(), mirror.built.path_of("hello")];
            for path in &paths {
                mirror.server.fault(path, ONCE, fault.clone());
            }
            mirrors.push((mirror, paths, status));
        }
    }
    // All at once: most of their time is pauses between two attempts.
    let args = ["repo", "sync", "--repo-id", "r"];
    let runs: Vec<Running<'_>> = mirrors
        .iter()
        .map(|(mirror, ..)| mirror.chantal.spawn(&args))
        .collect();
    for (run, (mirror, paths, status)) in runs.into_iter().zip(&mirrors) {
        run.wait().succeeds();
        for path in paths {
            let requests = mirror.server.requests_of(path);
            let statuses: Vec<u16> = requests.iter().map(|r| r.status).collect();
            assert_eq!((statuses.len(), statuses[0]), (2, *status), "{path}");
        }
        is_complete(mirror);
    }
}

#[test]
fn chunked_answers_and_stored_gzip_arrive_as_they_are() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        mirror.server.configure(|options| {
            options.framing = Framing::Chunked;
            options.gzip_header = true;
        });
        mirror.sync().succeeds();
        is_complete(&mirror);
        for request in mirror.server.requests() {
            let accepted = request.header("Accept-Encoding");
            assert_eq!(accepted, Some("identity"), "{}", request.path);
        }
    }
}

#[test]
fn connections_are_kept_or_not_as_the_server_likes() {
    for keep_alive in [true, false] {
        for upstream in both() {
            let mirror = mirror_of(upstream);
            mirror.configure("download:\n  workers: 1\n");
            mirror
                .server
                .configure(|options| options.keep_alive = keep_alive);
            mirror.sync().succeeds();
            is_complete(&mirror);
            let expected = if keep_alive {
                1
            } else {
                mirror.server.requests().len()
            };
            assert_eq!(mirror.server.connections(), expected);
        }
    }
}

#[test]
fn redirects_are_followed() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        let other = Server::start(mirror.built.tree.clone());
        let (root, package) = (mirror.upstream.root(), mirror.built.path_of("hello"));
        let elsewhere = format!("{}/{package}", other.url());
        let moved = "moved/root".to_owned();
        let bytes = mirror.built.tree.bytes(&root).to_vec();
        mirror.server.edit(|tree| tree.insert(&moved, bytes));
        for (path, target) in [(&root, format!("/{moved}")), (&package, elsewhere)] {
            mirror
                .server
                .fault(path, Times::Always, Fault::Redirect(target));
        }
        mirror.sync().succeeds();
        is_complete(&mirror);
        assert_eq!(mirror.server.requests_of(&moved).len(), 1);
        assert_eq!(other.request_lines(), [format!("GET {package} 200")]);
    }
}

#[test]
fn names_are_escaped() {
    let names = [
        ("g++-libs_1%3a2~rc1.x", "g%2B%2B-libs_1%253a2~rc1.x"),
        ("with blank.x", "with%20blank.x"),
        ("grün.x", "gr%C3%BCn.x"),
        ("a#b?c.x", "a%23b%3Fc.x"),
        ("x^1=y,z@w.x", "x%5E1=y,z@w.x"),
    ];
    for upstream in Upstream::both() {
        let upstream = names
            .iter()
            .enumerate()
            .fold(upstream, |upstream, (number, (name, _))| {
                let package = Package::new(&format!("p{number}"), "1-1");
                upstream.package(package.at(&format!("dir/{name}")))
            });
        let mirror = mirror_of(upstream);
        mirror.sync().succeeds();
        is_complete(&mirror);
        let requests = mirror.server.requests();
        let targets: Vec<&str> = requests.iter().map(|r| r.target.as_str()).collect();
        for (_, escaped) in names {
            let target = format!("/dir/{escaped}");
            assert!(
                targets.contains(&target.as_str()),
                "{target} in {targets:#?}"
            );
        }
    }
}

#[test]
fn the_base_url_keeps_its_path_and_query() {
    for (written, prefix, query) in [
        ("/sub", "sub/", ""),
        ("/sub/", "sub/", ""),
        ("/a%20b/c", "a b/c/", ""),
        ("/suse/?token=a/b&c", "suse/", "?token=a/b&c"),
    ] {
        for upstream in both() {
            let mut mirror = mirror_of(upstream);
            let mut tree = Tree::new();
            tree.merge(prefix, &mirror.built.tree);
            mirror.server.swap(tree);
            let url = mirror.server.url() + written;
            let definition = Repository::of("r", &mirror.upstream, &url);
            mirror.chantal.repository(&definition);
            mirror.sync().succeeds();
            is_complete(&mirror);
            for request in mirror.server.requests() {
                assert!(request.target.ends_with(query), "{}", request.target);
            }
            mirror.next(|_| {});
        }
    }
}

#[test]
fn by_hash_is_asked_first_and_the_name_after_it() {
    let mirror = mirror_of(Upstream::deb().package(hello()));
    mirror.sync().succeeds();
    let named = |mirror: &Mirror| {
        let mut lines = mirror.server.request_lines();
        lines.retain(|line| line.contains("Packages."));
        lines
    };
    assert_eq!(named(&mirror), <[String; 0]>::default());

    // Announced, but not there, or there with other bytes.
    let by_hash = |path: &str| path.contains("/by-hash/");
    for wrong in [false, true] {
        let mirror = mirror_of(Upstream::deb().package(hello()));
        for path in mirror
            .built
            .tree
            .paths()
            .into_iter()
            .filter(|path| by_hash(path))
        {
            if wrong {
                mirror.server.fault(path, Times::Always, Fault::WrongBytes);
            } else {
                mirror.server.edit(|tree| tree.remove(path));
            }
        }
        mirror.sync().succeeds();
        is_complete(&mirror);
        let directory = "dists/stable/main/binary-amd64";
        assert_eq!(
            named(&mirror),
            [
                format!("GET {directory}/Packages.gz 200"),
                format!("GET {directory}/Packages.xz 200")
            ]
        );
    }
}

#[test]
fn a_compression_that_the_server_lacks_is_left_out() {
    let codecs = [Codec::Plain, Codec::Gz, Codec::Xz, Codec::Bz2, Codec::Zst];
    for present in codecs {
        let mirror = mirror_of(Upstream::deb().package(hello()).with_deb(|deb| {
            deb.compressions = vec![present];
            deb.listed_only = codecs
                .into_iter()
                .filter(|codec| *codec != present)
                .collect();
        }));
        mirror.sync().succeeds();
        is_complete(&mirror);
    }
}

#[test]
fn files_of_one_name_are_fetched_by_their_digest() {
    // Plain names of metadata and packages in one directory.
    let upstream = Upstream::rpm().package(hello()).with_rpm(|rpm| {
        rpm.extras = [RpmExtra::Comps, RpmExtra::Prestodelta].into();
        rpm.compression = Codec::Zst;
    });
    let mirror = mirror_of(upstream);
    mirror.sync().succeeds();
    is_complete(&mirror);
}
