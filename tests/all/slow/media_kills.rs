//! Exports and imports that are killed a hundred times at random moments: what is on a medium says
//! that it is incomplete or is good, and what is in a storage is whole.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::kit::air_gap::{AirGap, transfer_folder};
use crate::kit::chantal::Chantal;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Built, Package, Upstream};

const KILLS: usize = 100;
const PACKAGES: usize = 300;
const SIZE: usize = 100_000;

/// The packages of a generation; half of them change from one to the next.
fn packages(generation: usize) -> Vec<Package> {
    let package = |number: usize| {
        let version = usize::midpoint(generation, number) + 1;
        let body = format!("body {number} of version {version}\n");
        let body = body.repeat(SIZE / body.len());
        Package::new(&format!("p{number:03}"), &format!("{version}.0-1")).raw(body.as_bytes())
    };
    (0..PACKAGES).map(package).collect()
}

fn gap(mut upstream: Upstream) -> AirGap {
    upstream.packages = packages(0);
    AirGap::of(upstream)
}

/// Syncs the next generation.
fn move_on(gap: &mut AirGap, generation: usize) {
    let upstream = &mut gap.exporter.upstream;
    // A minute each: none may be from the future.
    upstream.date += 60;
    upstream.packages = packages(generation);
    gap.exporter.serve();
    gap.exporter.sync().succeeds();
}

/// Kills runs at random moments of the time that a whole one takes.
struct Killer {
    seed: u64,
    length: Duration,
    killed: usize,
}

impl Killer {
    fn new() -> Self {
        Self {
            seed: 0x5eed,
            length: Duration::from_millis(500),
            killed: 0,
        }
    }

    /// Whether the run was killed before its end.
    fn kill(&mut self, chantal: &Chantal, args: &[&str]) -> bool {
        // Knuth's multiplier; the high bits are random enough.
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let micros = u64::try_from(self.length.as_micros()).unwrap();
        let mut child = chantal.command(args).spawn().unwrap();
        thread::sleep(Duration::from_micros((self.seed >> 33) % micros));
        child.kill().unwrap();
        let is_killed = child.wait().unwrap().code().is_none();
        self.killed += usize::from(is_killed);
        is_killed
    }

    /// Runs to the end; the next kills come within the time that this took.
    #[track_caller]
    fn complete<T>(&mut self, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        self.length = start.elapsed();
        result
    }
}

#[track_caller]
fn is_known(chantal: &Chantal) {
    chantal.run(&["db", "check", "--quick"]).succeeds();
}

#[test]
#[ignore = "slow: .ci/slow"]
fn a_hundred_kills_of_exports() {
    for upstream in Upstream::both() {
        let mut gap = gap(upstream);
        let mut killer = Killer::new();
        let (mut generation, mut kept) = (0, 0);
        let medium = gap.medium("medium");
        while killer.killed < KILLS {
            let export = AirGap::export_arguments(&medium);
            for _ in 0..4 {
                killer.kill(&gap.exporter.chantal, &export);
                let folder = transfer_folder(&medium);
                if let Some(folder) = folder
                    && !folder.join("INCOMPLETE").exists()
                {
                    gap.verify(&medium).succeeds();
                    fs::remove_dir_all(folder).unwrap();
                }
                is_known(&gap.exporter.chantal);
            }
            let exported = killer.complete(|| gap.export(&medium));
            kept += exported["resumed_objects"].as_u64().unwrap();
            let folder = transfer_folder(&medium).unwrap();
            gap.verify(&medium).succeeds().mentions(": all verified\n");
            if killer.killed.is_multiple_of(3) {
                let imported = gap.import(&medium);
                gap.is_current();
                gap.confirm(&imported);
                generation += 1;
                move_on(&mut gap, generation);
            }
            fs::remove_dir_all(folder).unwrap();
        }
        gap.export(&medium);
        gap.import(&medium);
        gap.is_current();
        gap.is_intact();
        // Otherwise no kill came in the middle.
        assert!(kept > 0);
        let kind = gap.exporter.upstream.kind();
        println!("{kind}: {KILLS} kills of exports, {kept} objects kept, {generation} imported");
    }
}

/// A client sees one of two generations, with all of its files.
#[track_caller]
fn shows_one_of(published: &Path, root: &str, generations: [&Built; 2]) {
    let tree = Tree::read(published);
    let found = tree.bytes(root);
    let generations = generations.map(Built::mirrored);
    let shown = generations
        .iter()
        .position(|files| files.bytes(root) == found);
    let shown = shown.expect("the root is one of the two");
    let (files, others) = (&generations[shown], &generations[1 - shown]);
    for (path, bytes) in files.iter() {
        let found = tree.find(path);
        // A file without its digest in its path may be the other generation's.
        let is_right =
            found.as_deref() == Some(bytes) || (found.is_some() && found == others.find(path));
        assert!(is_right, "{path}");
    }
}

#[test]
#[ignore = "slow: .ci/slow"]
fn a_hundred_kills_of_imports() {
    for upstream in Upstream::both() {
        let mut gap = gap(upstream);
        let root = gap.exporter.upstream.root();
        let mut killer = Killer::new();
        let (mut generation, mut known) = (0, 0);
        let first = gap.medium("first");
        gap.export(&first);
        let imported = killer.complete(|| gap.import(&first));
        gap.confirm(&imported);
        let medium = gap.medium("medium");
        while killer.killed < KILLS {
            let old = gap.exporter.built.clone();
            generation += 1;
            move_on(&mut gap, generation);
            gap.export(&medium);
            let import = AirGap::import_arguments(&medium);
            for _ in 0..5 {
                killer.kill(&gap.importer, &import);
                is_known(&gap.importer);
                let generations = [&old, &gap.exporter.built];
                shows_one_of(&gap.importer.published("r"), &root, generations);
            }
            let imported = killer.complete(|| gap.import(&medium));
            known += usize::from(imported["transfers"][0]["already_imported"] == true);
            gap.is_current();
            gap.confirm(&imported);
            fs::remove_dir_all(transfer_folder(&medium).unwrap()).unwrap();
        }
        gap.is_intact();
        let kind = gap.exporter.upstream.kind();
        println!(
            "{kind}: {KILLS} kills of imports of {generation} transfers, {known} had been imported"
        );
    }
}
