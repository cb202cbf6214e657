//! Waits of half a minute that no setting shortens.

use std::time::{Duration, Instant};

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::server::{Fault, RawAnswer, Server, Times};
use crate::kit::upstream::{Package, Upstream};

fn slow_header(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 200 OK\r\nX-Slow: ");
    answer.drip("x");
}

fn slow_redirects(answer: &mut RawAnswer<'_>) {
    std::thread::sleep(Duration::from_secs(8));
    answer.send("HTTP/1.1 302 Found\r\nLocation: again\r\nContent-Length: 0\r\n\r\n");
}

/// With the usual patience of five minutes.
#[test]
#[ignore = "slow: .ci/slow"]
fn headers_and_redirects_have_half_a_minute() {
    for (fault, why) in [
        (
            Fault::Raw(slow_header),
            ": no complete response header within 30 seconds\n",
        ),
        (
            Fault::Raw(slow_redirects),
            ": redirects took more than 30 seconds\n",
        ),
    ] {
        let upstream = Upstream::rpm().package(Package::new("hello", "1.0-1"));
        let server = Server::start(upstream.build().tree);
        let chantal = Chantal::new();
        chantal
            .global("storage:\n  base_path: ../../data\n  create: true\ndownload:\n  retries: 0\n");
        chantal.repository(&Repository::of("r", &upstream, &server.url()));
        for path in [upstream.root(), "repodata/again".to_owned()] {
            server.fault(&path, Times::Always, fault.clone());
        }
        let start = Instant::now();
        chantal
            .run(&["repo", "sync", "--repo-id", "r"])
            .exits(3)
            .mentions(why);
        let took = start.elapsed();
        assert!((25..60).contains(&took.as_secs()), "{took:?}");
    }
}
