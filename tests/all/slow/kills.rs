//! A hundred kills at random moments, beside apt and dnf that never stop asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::clients::{Apt, Dnf, Nginx};
use crate::kit::keys::Key;
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

const SYNC: [&str; 4] = ["repo", "sync", "--repo-id", "r"];
const KILLS: usize = 100;
/// Of a client; a round of dnf takes most of a second.
const ROUNDS: usize = 30;
const PACKAGES: usize = 40;

fn generation(upstream: &Upstream, number: usize) -> Upstream {
    let mut upstream = upstream.clone();
    // A minute each: there are hundreds, and none may be from the future.
    upstream.date += 60 * i64::try_from(number).unwrap();
    // A quarter of the packages changes from one generation to the next.
    upstream.packages = (0..PACKAGES)
        .map(|package| {
            let version = (number + package) / 4 + 1;
            Package::new(&format!("p{package:02}"), &format!("{version}.0-1"))
        })
        .collect();
    upstream
}

/// Asks a client again and again until it is told to stop; returns the rounds, each of which
/// succeeded.
fn loop_of(
    stop: &Arc<AtomicBool>,
    rounds: &Arc<AtomicUsize>,
    ask: impl Fn() + Send + 'static,
) -> thread::JoinHandle<()> {
    let (stop, rounds) = (Arc::clone(stop), Arc::clone(rounds));
    thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            ask();
            rounds.fetch_add(1, Ordering::SeqCst);
        }
    })
}

#[test]
#[ignore = "slow: .ci/slow"]
fn no_client_notices_a_hundred_kills() {
    for base in Upstream::both() {
        let server = Server::start(generation(&base, 0).build().tree);
        let chantal = Chantal::new();
        chantal.repository(&Repository::of("r", &base, &server.url()));
        chantal.run(&SYNC).succeeds();
        let nginx = Nginx::serve(&chantal.published("r")).expect("nginx is installed");
        let url = nginx.url();
        let (stop, rounds) = (Arc::default(), Arc::default());
        let client = if base.kind() == "apt" {
            let apt = Apt::find().expect("apt-get is installed");
            apt.source(Key::archive(), &format!("{url}/ stable main"));
            loop_of(&stop, &rounds, move || {
                apt.get(&["update"]).succeeds();
                apt.get(&["download", "p00", "p39"]).succeeds();
            })
        } else {
            let dnf = Dnf::find().expect("dnf is installed");
            dnf.repository("kit", &url, Some(&Key::archive().public_armored()));
            loop_of(&stop, &rounds, move || {
                dnf.run(&["--refresh", "makecache"]).exits(0);
                let found = dnf.run(&["repoquery", "p00", "p39"]).exits(0);
                assert_eq!(found.stdout.lines().count(), 2, "{found:?}");
            })
        };
        let (mut seed, mut killed, mut number) = (0x5eed_u64, 0, 0);
        let mut last = Tree::new();
        let mut length = Duration::from_millis(50);
        let start = Instant::now();
        while killed < KILLS || rounds.load(Ordering::SeqCst) < ROUNDS {
            assert!(
                start.elapsed() < Duration::from_hours(1),
                "it takes too long"
            );
            assert!(!client.is_finished(), "a client failed");
            number += 1;
            let built = generation(&base, number).build();
            server.swap(built.tree.clone());
            last = built.mirrored();
            // Knuth's multiplier; the high bits are random enough.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut child = chantal.command(&SYNC).spawn().unwrap();
            let micros = u64::try_from(length.as_micros()).unwrap();
            thread::sleep(Duration::from_micros((seed >> 33) % micros));
            child.kill().unwrap();
            if child.wait().unwrap().code().is_none() {
                killed += 1;
            }
            // One in five comes to its end, and says how long that takes.
            if number % 5 == 0 {
                let whole = Instant::now();
                chantal.run(&SYNC).succeeds();
                length = whole.elapsed() + whole.elapsed() / 4;
            }
            if number % 10 == 0 {
                chantal.run(&["db", "cleanup"]).succeeds();
            }
        }
        chantal.run(&SYNC).succeeds();
        let tree = Tree::read(&chantal.published("r"));
        for path in last.paths() {
            assert_eq!(tree.find(path), last.find(path), "{path}");
        }
        stop.store(true, Ordering::SeqCst);
        client.join().unwrap();
        println!(
            "{}: {killed} kills of {number} runs, {} rounds",
            base.kind(),
            rounds.load(Ordering::SeqCst)
        );
    }
}
