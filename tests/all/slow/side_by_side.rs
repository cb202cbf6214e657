//! Runs that work at the same time on one storage, and are killed at random moments.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Of each kind of run.
const RUNS: usize = 60;
const PACKAGES: usize = 20;

/// Half of the packages are those of every repository.
fn upstream(name: &str, generation: usize) -> Upstream {
    let mut upstream = Upstream::rpm();
    upstream.date += 60 * i64::try_from(generation).unwrap();
    upstream.packages = (0..PACKAGES)
        .map(|number| {
            let version = format!("{}.0-1", (generation + number) / 5 + 1);
            if number % 2 == 0 {
                let body = format!("common {number} {version}\n").repeat(500);
                Package::new(&format!("common{number:02}"), &version).raw(body.as_bytes())
            } else {
                Package::new(&format!("{name}{number:02}"), &version)
            }
        })
        .collect();
    upstream
}

/// Runs all of these one after the other. Every third is killed somewhere; the others succeed,
/// whatever the rest does meanwhile.
fn work_off(commands: Vec<Command>, mut seed: u64) -> usize {
    let mut killed = 0;
    let mut length = Duration::from_millis(200);
    for (number, mut command) in commands.into_iter().enumerate() {
        let start = Instant::now();
        if number % 3 != 0 {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{command:?}: {output:?}");
            length = start.elapsed();
            continue;
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let micros = u64::try_from(length.as_micros()).unwrap().max(1000);
        let mut child = command.spawn().unwrap();
        thread::sleep(Duration::from_micros((seed >> 33) % micros));
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
    }
    killed
}

#[test]
#[ignore = "slow: .ci/slow"]
fn kills_of_some_harm_none_of_the_others() {
    let chantal = Chantal::new();
    let servers = NAMES.map(|name| {
        let server = Server::start(upstream(name, 0).build().tree);
        let repository = Repository::of(name, &upstream(name, 0), &server.url());
        chantal.repository(&repository);
        server
    });
    chantal.run(&["repo", "sync", "--all"]).succeeds();
    let mut queues: Vec<Vec<Command>> = Vec::new();
    for name in NAMES {
        let sync = ["repo", "sync", "--repo-id", name, "--refresh", "--wait"];
        queues.push((0..RUNS).map(|_| chantal.command(&sync)).collect());
    }
    let others: [&[&str]; 4] = [
        &["db", "cleanup", "--wait"],
        &["publish", "--all", "--wait"],
        &["repo", "sync", "--all", "--dry-run"],
        &["repo", "list"],
    ];
    queues.push(
        (0..RUNS)
            .map(|run| chantal.command(others[run % 4]))
            .collect(),
    );
    let killed: usize = thread::scope(|scope| {
        let runs: Vec<_> = queues
            .into_iter()
            .zip(0x5eed..)
            .map(|(queue, seed)| scope.spawn(move || work_off(queue, seed)))
            .collect();
        // The upstreams change all the time.
        for generation in 1.. {
            if runs.iter().all(thread::ScopedJoinHandle::is_finished) {
                break;
            }
            for (name, server) in NAMES.iter().zip(&servers) {
                server.swap(upstream(name, generation).build().tree);
            }
            thread::sleep(Duration::from_millis(200));
        }
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert!(killed > RUNS / 2, "only {killed} were killed");
    let last: Vec<Tree> = NAMES
        .iter()
        .zip(&servers)
        .map(|(name, server)| {
            let built = upstream(name, 10_000).build();
            server.swap(built.tree.clone());
            built.mirrored_as(name)
        })
        .collect();
    chantal.run(&["repo", "sync", "--all"]).succeeds();
    chantal.run(&["db", "cleanup"]).succeeds();
    for (name, expected) in NAMES.iter().zip(&last) {
        let published = chantal.published_tree(name);
        for (path, bytes) in expected.iter() {
            assert!(
                published.find(path).is_some_and(|there| *there == *bytes),
                "{name}: {path}"
            );
        }
        let refresh = ["repo", "sync", "--repo-id", name, "--refresh"];
        chantal.run(&refresh).succeeds();
    }
    println!("{killed} kills beside {} runs", RUNS * 4);
}
