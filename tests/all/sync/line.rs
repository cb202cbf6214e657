//! Lines that only drip, break again and again, or say what HTTP does not allow.

use super::{both, hello, mirror_of, noise};
use crate::kit::mirror::Mirror;
use crate::kit::server::{Fault, RawAnswer, Times, Validators};
use crate::kit::upstream::{Package, Upstream};

const ALWAYS: Times = Times::Always;
const ONCE: Times = Times::First(1);
const LATER: &str = "hint: try again later; the state of the last successful sync is unchanged\n";

fn slow_body(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    answer.drip("x");
}

/// Every byte is of the framing, none of the body.
fn slow_chunk_extension(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;");
    answer.drip("x");
}

fn slow_trailers(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    answer.drip("x: y\r\n");
}

fn slow_error_page(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 404 Not Found\r\nContent-Length: 100000\r\n\r\n");
    answer.drip("x");
}

fn slow_redirect_page(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 100000\r\n\r\n");
    answer.drip("x");
}

/// Fifty bytes a second keep no transfer alive, wherever they are and of whatever they come.
#[test]
fn a_server_that_drips_is_given_up() {
    for mirror in both().map(Mirror::of) {
        mirror.configure("download:\n  retries: 0\n  timeout: 1\n");
        let root = mirror.upstream.root();
        let package = mirror.built.path_of("hello");
        let drips = [slow_body, slow_chunk_extension, slow_trailers];
        for path in [&root, &package] {
            for drip in drips {
                mirror.server.fault(path, ALWAYS, Fault::Raw(drip));
                let failed = mirror
                    .sync()
                    .exits(3)
                    .mentions("received within download.timeout\n");
                assert!(failed.stderr.ends_with(LATER), "{failed:?}");
                mirror.server.clear_faults();
            }
        }
        mirror.sync().succeeds();
    }
}

/// A page that nobody wants is not waited for: the answer's status is known.
#[test]
fn pages_that_drip_do_not_hold_up_a_sync() {
    let mirror = mirror_of(Upstream::deb().package(hello()));
    mirror
        .server
        .edit(|tree| tree.retain(|path| !path.ends_with("InRelease")));
    let inline = "dists/stable/InRelease";
    mirror
        .server
        .fault(inline, ALWAYS, Fault::Raw(slow_error_page));
    mirror.sync().succeeds();

    let mirror = mirror_of(Upstream::rpm().package(hello()));
    let package = mirror.built.path_of("hello");
    let bytes = mirror.built.tree.bytes(&package).to_vec();
    mirror.server.edit(|tree| tree.insert("elsewhere", bytes));
    mirror
        .server
        .fault(&package, ALWAYS, Fault::Raw(slow_redirect_page));
    mirror.sync().succeeds();
}

/// Keys too, which come from another server than the repository's.
#[test]
fn a_key_url_that_drips() {
    let mirror = mirror_of(Upstream::rpm().package(hello()));
    mirror.configure("download:\n  retries: 0\n  timeout: 1\n");
    mirror
        .server
        .fault("key.asc", ALWAYS, Fault::Raw(slow_body));
    let key = format!("gpgkey_url: {}/key.asc", mirror.server.url());
    let fingerprint = format!("gpgkey_fingerprints: [{}]", "0".repeat(40));
    mirror.chantal.repository(
        &mirror
            .usual()
            .unsigned()
            .format("repo_gpgcheck: true")
            .format(&key)
            .format(&fingerprint),
    );
    mirror
        .sync()
        .exits(3)
        .mentions("received within download.timeout\n");
}

/// Our own limit is far below what counts as a stall, and is none.
#[test]
fn waiting_for_our_own_limit_is_no_stall() {
    let body = noise(40_000);
    let mirror = mirror_of(Upstream::deb().package(Package::new("large", "1").raw(&body)));
    mirror.configure("download:\n  retries: 0\n  timeout: 1\n  bandwidth_limit: 15KB\n");
    mirror.sync().succeeds();
}

#[test]
fn a_line_that_breaks_again_and_again_gets_a_file_through() {
    for upstream in Upstream::both() {
        let large = Package::new("large", "1-1").raw(&noise(100_000));
        let mirror = mirror_of(upstream.package(large));
        mirror.configure("download:\n  retries: 1\n");
        let path = mirror.built.path_of("large");
        mirror.server.fault(&path, ALWAYS, Fault::Truncate(10_000));
        mirror.sync().succeeds();
        let requests = mirror.server.requests_of(&path);
        assert_eq!(requests.len(), 10);
        let etag = requests[1].header("if-range").unwrap();
        for (number, request) in requests.iter().enumerate().skip(1) {
            let range = format!("bytes={}-", number * 10_000);
            assert_eq!(request.header("range"), Some(range.as_str()));
            assert_eq!(request.header("if-range"), Some(etag));
        }
        mirror.tree().assert_same(&mirror.built.mirrored());
    }
}

/// No attempt begins where the one before ended: that is no progress.
#[test]
fn a_line_that_breaks_and_begins_anew_is_given_up() {
    let mirror =
        mirror_of(Upstream::rpm().package(Package::new("large", "1").raw(&noise(100_000))));
    mirror.configure("download:\n  retries: 1\n");
    mirror
        .server
        .configure(|options| options.ranges = crate::kit::server::Ranges::Ignored);
    let path = mirror.built.path_of("large");
    mirror.server.fault(&path, ALWAYS, Fault::Truncate(10_000));
    mirror
        .sync()
        .exits(3)
        .mentions("connection closed before the transfer was complete");
    // The first one brought something.
    assert_eq!(mirror.server.requests_of(&path).len(), 3);
}

/// The next run asks for the rest only if the file is still the same.
#[test]
fn a_later_run_goes_on_by_if_range() {
    for upstream in Upstream::both() {
        let large = Package::new("large", "1-1").raw(&noise(100_000));
        let mirror = mirror_of(upstream.package(large));
        let path = mirror.built.path_of("large");
        mirror.server.fault(&path, ONCE, Fault::Truncate(10_000));
        mirror.sync().exits(3);
        mirror.server.clear_log();
        // Other bytes have another ETag: the server sends everything, which is what they are
        // refused by.
        mirror.server.fault(&path, ONCE, Fault::WrongBytes);
        mirror.sync().exits(4);
        let first = mirror.server.requests_of(&path).remove(0);
        assert_eq!(
            (first.header("range"), first.status),
            (Some("bytes=10000-"), 200)
        );
        assert!(first.header("if-range").is_some());
        mirror.sync().succeeds();
        mirror.tree().assert_same(&mirror.built.mirrored());
    }
}

/// Without validators a part of other bytes is found out by the digest, and the whole is asked for
/// once more.
#[test]
fn a_part_of_other_bytes_is_tried_afresh() {
    for upstream in Upstream::both() {
        let large = Package::new("large", "1-1").raw(&noise(100_000));
        let mirror = mirror_of(upstream.package(large));
        mirror.configure("download:\n  retries: 1\n");
        mirror
            .server
            .configure(|options| options.validators = Validators::None);
        let path = mirror.built.path_of("large");
        mirror.server.fault(&path, ONCE, Fault::Truncate(10_000));
        mirror.server.fault(&path, ONCE, Fault::WrongBytes);
        mirror.sync().succeeds();
        let asked: Vec<_> = mirror
            .server
            .requests_of(&path)
            .iter()
            .map(|request| request.status)
            .collect();
        assert_eq!(asked, [200, 206, 200]);
        mirror.tree().assert_same(&mirror.built.mirrored());
        assert_eq!(
            std::fs::read_dir(mirror.chantal.data().join("pool/partial"))
                .unwrap()
                .count(),
            0
        );
    }
}

/// What is in `partial/` needs no room any more.
#[test]
fn a_dry_run_counts_what_is_there_already() {
    let mirror =
        mirror_of(Upstream::deb().package(Package::new("large", "1").raw(&noise(100_000))));
    let bytes = || {
        let planned = mirror
            .sync_with(&["--dry-run", "--format", "json"])
            .succeeds()
            .json();
        planned[0]["bytes"].as_u64().unwrap()
    };
    let all = bytes();
    let path = mirror.built.path_of("large");
    mirror.server.fault(&path, ONCE, Fault::Truncate(10_000));
    mirror.sync().exits(3);
    assert_eq!(bytes(), all - 10_000);
}

fn no_content(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 204 No Content\r\n\r\n");
}

fn not_modified(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 304 Not Modified\r\n\r\n");
}

/// Answers that nobody asked for are errors in plain words.
#[test]
fn answers_that_do_not_fit() {
    for mirror in both().map(Mirror::of) {
        for path in [mirror.upstream.root(), mirror.built.path_of("hello")] {
            for (fault, status) in [
                (no_content as fn(&mut RawAnswer<'_>), 204),
                (not_modified, 304),
            ] {
                mirror.server.fault(&path, ALWAYS, Fault::Raw(fault));
                let failed = mirror.sync().exits(4);
                assert!(
                    failed
                        .stderr
                        .contains(&format!("/{path}: server returned HTTP status {status}\n")),
                    "{failed:?}"
                );
                mirror.server.clear_faults();
            }
        }
        mirror.sync().succeeds();
    }
}

#[test]
fn a_server_that_says_continue_for_ever() {
    let mirror = mirror_of(Upstream::rpm().package(hello()));
    mirror.configure("download:\n  retries: 0\n  timeout: 1\n");
    let root = mirror.upstream.root();
    // One is allowed, whatever it is for.
    mirror.server.fault(
        &root,
        ONCE,
        Fault::Raw(|answer| {
            answer.send(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            );
        }),
    );
    mirror
        .sync()
        .exits(4)
        .mentions("error: r: no repository found: ");
    mirror.server.fault(
        &root,
        ALWAYS,
        Fault::Raw(|answer| while answer.send("HTTP/1.1 100 Continue\r\n\r\n") {}),
    );
    mirror
        .sync()
        .exits(3)
        .mentions(&format!("[server]/{root}: "));
}

/// A root that is replaced within the second of its answer: neither time nor an `ETag` that is made
/// of it tells.
#[test]
fn a_root_that_changes_within_a_second_is_noticed() {
    for validators in [Validators::LastModifiedOnly, Validators::Both] {
        for later in [-1, 0, 1] {
            for mut mirror in both().map(Mirror::of) {
                let second = 1_700_000_000;
                mirror.server.configure(|options| {
                    options.validators = validators;
                    options.modified = Some((second, later));
                });
                mirror.sync().succeeds();
                mirror.server.clear_log();
                mirror.next(|upstream| upstream.add(Package::new("second", "1")));
                mirror.sync().succeeds();
                let first = mirror.server.requests().remove(0);
                assert_eq!(first.header("if-modified-since"), None);
                assert_eq!(first.header("if-none-match"), None);
                assert!(
                    mirror
                        .tree()
                        .find(&mirror.built.path_of("second"))
                        .is_some()
                );
            }
        }
    }
    // Two seconds later it is recognised again.
    let mirror = mirror_of(Upstream::rpm().package(hello()));
    mirror
        .server
        .configure(|options| options.modified = Some((1_700_000_000, 2)));
    mirror.sync().succeeds();
    mirror.server.clear_log();
    mirror.sync().succeeds();
    assert_eq!(
        mirror.server.request_lines(),
        ["GET repodata/repomd.xml 304"]
    );
}

/// It was too new to be recognised by anything when it came; the next answer about it says more.
#[test]
fn a_root_that_was_too_new_is_recognised_later() {
    for mirror in both().map(Mirror::of) {
        let root = mirror.upstream.root();
        for (later, status) in [(0, 200), (60, 200), (120, 304), (180, 304)] {
            mirror
                .server
                .configure(|options| options.modified = Some((1_700_000_000, later)));
            mirror.server.clear_log();
            mirror.sync().succeeds();
            let first = mirror.server.requests_of(&root).remove(0);
            assert_eq!(first.status, status, "{later} s later");
        }
    }
}
