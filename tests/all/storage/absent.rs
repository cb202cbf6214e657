//! A place that is not there is not empty: its disk may not be mounted. Who makes a storage, where,
//! and what everyone else leaves alone.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::kit::chantal::{Chantal, NO_STORAGE};
use crate::kit::mirror::{Mirror, PUBLISH, SYNC};
use crate::kit::mount::Mount;
use crate::kit::server::{Fault, Server, Times};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Built, Package, Upstream};

const ABSENT: &str = "error: no storage in [dir]/data\n\
                      hint: is the file system mounted? `chantal init` creates a new storage\n";
const CHECK: [&str; 2] = ["config", "check"];

/// A repository `r`, never synced.
fn fresh(upstream: &Upstream) -> (Built, Server, Chantal) {
    let mirror = Mirror::of(upstream.clone());
    (mirror.built, mirror.server, mirror.chantal)
}

fn hello() -> Upstream {
    Upstream::rpm().package(Package::new("hello", "1.0-1"))
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn commands_that_change_something_make_no_storage() {
    let (_, server, chantal) = fresh(&hello());
    chantal.never_create();
    for make in [None, Some("data")] {
        if let Some(empty) = make {
            fs::create_dir(chantal.dir().join(empty)).unwrap();
        }
        let before = names(chantal.dir());
        for args in [
            &SYNC[..],
            &["repo", "sync", "--all", "--dry-run"],
            &["repo", "remove", "--repo-id", "other"],
            &PUBLISH,
            &["unpublish", "--repo-id", "r"],
            &["snapshot", "create", "--repo-id", "r", "--name", "a"],
            &["snapshot", "merge", "--source", "r", "--name", "a"],
            &["snapshot", "delete", "--name", "a"],
            &["db", "cleanup"],
            &["db", "cleanup", "--dry-run"],
            &["db", "migrate"],
        ] {
            chantal.run(args).says("").fails_with(5, ABSENT);
        }
        for args in [
            &["repo", "list"][..],
            &["repo", "show", "--repo-id", "r"],
            &["repo", "history", "--repo-id", "r"],
            &["snapshot", "list"],
            &["db", "stats"],
            &CHECK,
        ] {
            chantal.run(args).fails_with(0, NO_STORAGE);
        }
        assert!(chantal.run(&["repo", "list"]).stdout.contains("never"));
        assert_eq!(names(chantal.dir()), before);
        if make.is_some() {
            assert_eq!(names(&chantal.data()), [""; 0]);
        }
    }
    assert!(server.requests().is_empty());
    chantal
        .run(&["init"])
        .succeeds()
        .says("created storage [dir]/data with pool [dir]/data/pool\n");
    chantal.run(&SYNC).succeeds();
    chantal
        .run(&["init"])
        .succeeds()
        .says("storage [dir]/data already exists\n");
}

/// Whatever speaks against a first run stops it, and leaves nothing behind.
#[test]
fn storage_create_makes_none_where_a_disk_may_be_missing() {
    let empty =
        |name: &str| format!("[dir]/{name} is empty, like the mount point of an unmounted disk");
    for (global, made, obstacle) in [
        (
            "storage: {base_path: ../../data}",
            "data",
            "[dir]/data already exists".to_owned(),
        ),
        (
            "storage: {base_path: ../../data}",
            "data/other",
            "[dir]/data already exists".to_owned(),
        ),
        ("storage: {base_path: ../../mnt/data}", "mnt", empty("mnt")),
        (
            "storage: {base_path: ../../mnt/deep/data}",
            "mnt",
            empty("mnt"),
        ),
        // What this run itself made there does not count.
        (
            "storage: {base_path: ../../mnt/data}\nlogging: {file: ../../mnt/chantal.log}",
            "mnt",
            empty("mnt"),
        ),
        (
            "storage: {base_path: ../../mnt/data}\nlogging: {file: ../../mnt/log/chantal.log}",
            "mnt/log",
            empty("mnt"),
        ),
        (
            "storage: {base_path: ../../data, pool_path: ../../mnt/pool}",
            "mnt",
            empty("mnt"),
        ),
        (
            "storage: {base_path: ../../data, pool_path: ../../pool}",
            "pool",
            "[dir]/pool already exists".to_owned(),
        ),
        (
            "storage: {base_path: ../../data}\ndatabase: {path: ../../mnt/chantal.redb}",
            "mnt",
            empty("mnt"),
        ),
    ] {
        let (_, server, chantal) = fresh(&hello());
        chantal.global(global);
        fs::create_dir_all(chantal.dir().join(made)).unwrap();
        let before = Tree::read(chantal.dir());
        let base_path = if global.contains("mnt/deep") {
            "mnt/deep/data"
        } else if global.contains("mnt/data") {
            "mnt/data"
        } else {
            "data"
        };
        chantal.run(&SYNC).says("").fails_with(
            5,
            &format!(
                "error: no storage in [dir]/{base_path}; not created by storage.create: {obstacle}\n\
                 hint: is the file system mounted? `chantal init` creates a new storage\n"
            ),
        );
        for log in ["mnt/chantal.log", "mnt/log/chantal.log"] {
            drop(fs::remove_file(chantal.dir().join(log)));
        }
        Tree::read(chantal.dir()).assert_same(&before);
        if made != "data/other" {
            fs::create_dir_all(chantal.dir().join(made)).unwrap();
        }
        assert!(server.requests().is_empty());
        // Who knows better says so.
        chantal.run(&["init"]).exits(0);
        chantal.run(&SYNC).succeeds();
    }
}

/// A pool that was made before: its store is away.
#[test]
fn storage_create_takes_no_pool_over() {
    let (built, _server, chantal) = fresh(&hello());
    let global = "storage: {base_path: ../../base/data, pool_path: ../../pool}";
    chantal.global(global);
    chantal.run(&SYNC).succeeds();
    fs::rename(chantal.dir().join("base"), chantal.dir().join("away")).unwrap();
    chantal.run(&SYNC).says("").fails_with(
        5,
        "error: no storage in [dir]/base/data; not created by storage.create: \
         pool [dir]/pool already exists\n\
         hint: is the file system mounted? `chantal init` creates a new storage\n",
    );
    // The store's disk is away, not lost: what needs none still shows the configuration.
    let warning = NO_STORAGE.replace("[dir]/data", "[dir]/base/data");
    chantal.run(&["repo", "list"]).fails_with(0, &warning);
    chantal.run(&CHECK).fails_with(0, &warning);
    assert!(!chantal.dir().join("base").exists());
    fs::rename(chantal.dir().join("away"), chantal.dir().join("base")).unwrap();
    chantal.run(&SYNC).succeeds();
    chantal.published_tree("r").assert_same(&built.mirrored());
}

#[test]
fn storage_create_makes_a_storage_wherever_its_parts_lie() {
    for global in [
        "storage: {base_path: ../../data}",
        "storage: {base_path: ../../deep/er/data}",
        "storage: {base_path: ../../data, pool_path: ../../deep/pool}\ndatabase: {path: ../../db/chantal.redb}",
        "storage: {base_path: ../../data}\ndatabase: {path: ../../data/db/chantal.redb}",
    ] {
        let (built, _server, chantal) = fresh(&hello());
        chantal.global(global);
        chantal.run(&SYNC).succeeds();
        chantal.published_tree("r").assert_same(&built.mirrored());
        chantal.run(&SYNC).succeeds();
        let check = chantal.run(&CHECK).exits(0);
        let base_path = if global.contains("er/data") {
            "deep/er/data"
        } else {
            "data"
        };
        check.says_on_stderr(&format!(
            "warning: storage.create is set, but the storage [dir]/{base_path} already exists: remove the key, \
             so that a sync does not create a new storage while the disk is not mounted\n"
        ));
        let left = names(&chantal.dir().join(base_path));
        assert!(
            !left.iter().any(|name| name.contains("unfinished")),
            "{left:?}"
        );
        assert!(
            !names(chantal.dir())
                .iter()
                .any(|name| name.starts_with('.'))
        );
    }
}

/// At moments that nobody chose: whatever is left, the next first run makes the storage out of it.
#[test]
fn a_first_run_that_was_killed() {
    let mut seed: u64 = 0xf1257;
    let mut kills = 0;
    for round in 0..12 {
        let (built, _server, chantal) = fresh(&hello());
        let elsewhere = "storage: {base_path: ../../data, pool_path: ../../pool}\ndatabase: {path: ../../chantal.redb}\n";
        let inside = "storage: {base_path: ../../data}\n";
        chantal.global(if round % 2 == 0 { elsewhere } else { inside });
        let command = if round % 3 == 0 { &["init"][..] } else { &SYNC };
        for _ in 0..4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut child = chantal.command(command).spawn().unwrap();
            thread::sleep(Duration::from_micros((seed >> 33) % 30_000));
            child.kill().unwrap();
            kills += usize::from(child.wait().unwrap().code().is_none());
        }
        if round % 3 == 0 {
            chantal.run(&["init"]).exits(0);
        }
        chantal.run(&SYNC).exits(0);
        chantal.published_tree("r").assert_same(&built.mirrored());
        let left = names(chantal.dir());
        assert!(!left.contains(&".data.chantal-new".to_owned()), "{left:?}");
    }
    assert!(kills > 0, "no kill came in time");
}

/// The steps of a first run, each as a kill right after it leaves them.
#[test]
fn every_half_made_storage_is_finished() {
    let elsewhere = "storage: {base_path: ../../data, pool_path: ../../pool}\ndatabase: {path: ../../chantal.redb}\n";
    let (_, _server, made) = fresh(&hello());
    made.global(elsewhere);
    made.run(&["init"]).exits(0);
    let marker = fs::read(made.dir().join("pool/CHANTAL-POOL")).unwrap();
    let id = String::from_utf8(marker).unwrap();
    let line = |number: usize| id.lines().nth(number).unwrap();
    let note = format!(
        r#"{{"pool":"{}","store":"{}","generation":0,"adopting":null}}"#,
        line(1),
        line(2).strip_prefix("store ").unwrap()
    );
    // The store's lines come last.
    let marker = format!("{}\n{}\n", line(0), line(1));
    for step in 0..7 {
        let (built, _server, chantal) = fresh(&hello());
        chantal.global(elsewhere);
        let base = if step < 5 {
            ".data.chantal-new"
        } else {
            "data"
        };
        fs::create_dir(chantal.dir().join(base)).unwrap();
        if step >= 1 {
            chantal.write(&format!("{base}/chantal.lock"), "");
        }
        if step >= 2 {
            chantal.write(&format!("{base}/chantal.unfinished"), &note);
        }
        if step >= 3 {
            fs::create_dir_all(chantal.dir().join("pool/sha256")).unwrap();
            chantal.write("pool/.CHANTAL-POOL.new", "chantal");
        }
        if step >= 4 {
            fs::create_dir(chantal.dir().join("pool/partial")).unwrap();
            fs::remove_file(chantal.dir().join("pool/.CHANTAL-POOL.new")).unwrap();
            fs::write(chantal.dir().join("pool/CHANTAL-POOL"), &marker).unwrap();
        }
        if step == 6 {
            fs::copy(
                made.dir().join("chantal.redb"),
                chantal.dir().join("chantal.redb"),
            )
            .unwrap();
        }
        chantal.run(&SYNC).exits(0);
        chantal.published_tree("r").assert_same(&built.mirrored());
        assert!(!chantal.dir().join("data/chantal.unfinished").exists());
        assert!(!chantal.dir().join(".data.chantal-new").exists());
    }
}

/// The second of two first runs is busy or finds the storage; never does it say that there is none.
#[test]
fn first_runs_at_the_same_time() {
    let (mut busy, mut done) = (0, 0);
    for round in 0..6 {
        let (_, _server, chantal) = fresh(&hello());
        let commands = [
            &SYNC[..],
            &SYNC,
            if round % 2 == 0 { &SYNC } else { &["init"] },
        ];
        let runs: Vec<_> = commands
            .map(|args| chantal.spawn(args))
            .into_iter()
            .collect();
        for run in runs {
            let output = run.wait();
            match output.status.code() {
                Some(0) => done += 1,
                Some(6) => {
                    busy += 1;
                    let holders = [
                        "data is locked by another process: `repo sync`, process ",
                        "repository r is locked by another process: `repo sync`, process ",
                        "data is locked by another process: `init`, process ",
                    ];
                    let is_named = |holder: &&str| output.stderr.contains(holder);
                    assert!(holders.iter().any(is_named), "{output:?}");
                }
                _ => panic!("{output:?}"),
            }
        }
        chantal.run(&SYNC).exits(0);
    }
    assert!(busy > 0 && done > 0, "{busy} {done}");
}

/// A command that makes no storage meets the run that does.
#[test]
fn a_storage_that_is_being_made_is_busy() {
    let (_, _server, chantal) = fresh(&hello());
    let staging = chantal.dir().join(".data.chantal-new");
    fs::create_dir(&staging).unwrap();
    let pid = std::process::id();
    let text = format!(r#"{{"pid":{pid},"command":"repo sync","since":0}}"#);
    fs::write(staging.join("chantal.lock"), text).unwrap();
    let file = fs::File::open(staging.join("chantal.lock")).unwrap();
    file.lock().unwrap();
    for args in [&SYNC[..], &PUBLISH, &["init"]] {
        chantal.run(args).says("").fails_with(
            6,
            &format!(
                "error: [dir]/data is locked by another process: `repo sync`, process {pid}, since 1970-01-01T00:00:00Z\n\
                 hint: wait until it has finished, or use --wait\n"
            ),
        );
    }
}

const AWAY: &str = "pool [dir]/data/pool no longer exists: is the file system mounted?";

/// As `umount -l` and a USB disk that is pulled do it.
#[test]
fn a_pool_that_leaves_while_a_sync_runs() {
    for upstream in Upstream::both() {
        for when in ["root", "package"] {
            let upstream = upstream
                .clone()
                .package(Package::new("hello", "1.0-1"))
                .package(Package::new("other", "1.0-1"));
            let (built, server, chantal) = fresh(&upstream);
            chantal.run(&["init"]).exits(0);
            let (pool, aside) = (chantal.data().join("pool"), chantal.dir().join("away"));
            let (from, to) = (pool.clone(), aside.clone());
            let path = match when {
                "root" => upstream.root().clone(),
                _ => built.path_of("hello"),
            };
            server.on_request(&path, move || {
                fs::rename(&from, to).unwrap();
                fs::create_dir(from).unwrap();
            });
            let output = chantal.run(&SYNC).exits(5).says("");
            assert!(output.stderr.contains(AWAY), "{when}: {output:?}");
            assert_eq!(names(&pool), [""; 0], "{when}");
            assert!(!chantal.published("r").exists());
            // No advice to make a pool of what is there.
            chantal.run(&SYNC).fails_with(
                5,
                "error: pool [dir]/data/pool does not exist: is the file system mounted?\n\
                 hint: mount the file system of storage.pool_path, or correct the path\n",
            );
            assert_eq!(names(&pool), [""; 0], "{when}");
            fs::remove_dir(&pool).unwrap();
            fs::rename(&aside, &pool).unwrap();
            chantal.run(&SYNC).exits(0);
            chantal.published_tree("r").assert_same(&built.mirrored());
        }
    }
}

/// The same with a file system that is really taken away.
#[test]
fn a_pool_that_is_unmounted_while_a_sync_runs() {
    let upstream = hello();
    let (built, server, chantal) = fresh(&upstream);
    let disk = chantal.dir().join("disk");
    let Some(mount) = Mount::new(&disk, "8m") else {
        println!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    chantal.global("storage: {base_path: ../../data, pool_path: ../../disk}");
    chantal.run(&["init"]).exits(0);
    server.fault(&built.path_of("hello"), Times::First(1), Fault::Stall(10));
    let sync = chantal.spawn(&SYNC);
    server.wait_for(&built.path_of("hello"), 1);
    drop(mount);
    server.release();
    let output = sync.wait().exits(5).says("");
    assert!(
        output.stderr.contains("pool [dir]/disk no longer exists"),
        "{output:?}"
    );
    assert_eq!(names(&disk), [""; 0]);
    let state = chantal.run(&["repo", "list"]).succeeds().stdout;
    assert!(state.contains("never"), "{state}");
}

/// The store lies elsewhere, and the base path's disk is away: not even a lock file is made on its
/// mount point.
#[test]
fn a_base_path_whose_store_lies_elsewhere() {
    let (built, _server, chantal) = fresh(&hello());
    chantal.global(
        "storage: {base_path: ../../data, pool_path: ../../pool}\ndatabase: {path: ../../chantal.redb}",
    );
    chantal.run(&SYNC).succeeds();
    let aside = chantal.dir().join("away");
    fs::rename(chantal.data(), &aside).unwrap();
    for mount_point in [false, true] {
        if mount_point {
            fs::create_dir(chantal.data()).unwrap();
        }
        for args in [&SYNC[..], &PUBLISH, &["db", "cleanup"]] {
            chantal.run(args).says("").fails_with(
                5,
                "error: [dir]/data is missing or empty, but its database [dir]/chantal.redb exists\n\
                 hint: is the file system of storage.base_path mounted? `chantal init` creates the directory again\n",
            );
        }
        chantal.run(&["repo", "list"]).succeeds();
    }
    assert_eq!(names(&chantal.data()), [""; 0]);
    fs::remove_dir(chantal.data()).unwrap();
    fs::rename(&aside, chantal.data()).unwrap();
    chantal.run(&SYNC).succeeds();
    chantal.published_tree("r").assert_same(&built.mirrored());
}

/// The log's disk is away too: nothing is made there, and what is to be said is said elsewhere.
#[test]
fn a_log_file_below_a_disk_that_is_away() {
    let chantal = Chantal::new();
    chantal.never_create();
    for file in ["mnt/chantal/log/chantal.log", "data/log/chantal.log"] {
        chantal.global(&format!(
            "storage: {{base_path: ../../data}}\nlogging: {{file: ../../{file}}}"
        ));
        let warning = format!(
            "warning: the directory of logging.file [dir]/{file} does not exist: is the file system mounted? \
             `chantal init` creates it; this run logs to standard error\n"
        );
        chantal
            .run(&["repo", "list"])
            .fails_with(0, &format!("{warning}{NO_STORAGE}"));
        assert!(!chantal.data().exists());
        assert!(!chantal.dir().join("mnt/chantal").exists());
        fs::create_dir_all(chantal.dir().join("mnt")).unwrap();
    }
    // An empty mount point stays empty.
    chantal.global("storage: {base_path: ../../data}\nlogging: {file: ../../mnt/log/chantal.log}");
    chantal.run(&["repo", "list"]).exits(0);
    assert_eq!(names(&chantal.dir().join("mnt")), [""; 0]);
    chantal.run(&["init"]).succeeds();
    assert!(chantal.dir().join("mnt/log/chantal.log").exists());
    chantal.run(&["repo", "list"]).succeeds();
}

/// Advice to write a marker is for a directory that has objects; anything less may be a mount
/// point.
#[test]
fn a_pool_without_its_marker() {
    let scene = super::synced();
    let marker = scene.chantal.data().join("pool/CHANTAL-POOL");
    let text = fs::read_to_string(&marker).unwrap();
    fs::remove_file(&marker).unwrap();
    let id = text.lines().nth(1).unwrap();
    scene.chantal.run(&SYNC).fails_with(
        5,
        &format!(
            "error: [dir]/data/pool has no pool marker (CHANTAL-POOL): it is the wrong directory, or the file was lost\n\
             hint: if this is the right directory, create the file CHANTAL-POOL in it with these two lines: \"chantal pool, layout 1\" and \
             \"{id}\"\n"
        ),
    );
    fs::write(&marker, text).unwrap();
    scene.chantal.run(&SYNC).succeeds();

    // What is no object does not count.
    let pool = scene.chantal.data().join("pool");
    fs::rename(&pool, scene.chantal.dir().join("away")).unwrap();
    for empty in ["pool/partial", "pool/sha256/ab", "pool/sha256/ab/readme"] {
        fs::create_dir_all(scene.chantal.data().join(empty)).unwrap();
        scene.chantal.run(&SYNC).fails_with(
            5,
            "error: pool [dir]/data/pool does not exist: is the file system mounted?\n\
             hint: mount the file system of storage.pool_path, or correct the path\n",
        );
    }
}

/// What this machine's fstab says counts, also where the parent is not empty.
#[test]
fn a_file_system_of_fstab_that_is_not_mounted() {
    const ELSEWHERE: &str = "mount --bind \"$0\" /etc/fstab && \"$@\"";
    let (_, _server, chantal) = fresh(&hello());
    chantal.write("mnt/lost+found/x", "");
    chantal.global("storage: {base_path: ../../mnt/deep/data}");
    let mnt = chantal.dir().join("mnt");
    let fstab = format!("/dev/sdz1 {} ext4 defaults 0 2\n", mnt.display());
    let fstab = chantal.write("fstab", &fstab);
    let inner = chantal.command(&SYNC);
    let mut sync = std::process::Command::new("unshare");
    sync.args(["-rm", "sh", "-c", ELSEWHERE])
        .arg(fstab)
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(chantal.dir());
    let Ok(output) = sync.output() else {
        return println!("skipped: there is no unshare");
    };
    let stderr = chantal.shown(&String::from_utf8(output.stderr).unwrap());
    if !Path::new("/etc/fstab").exists() || stderr.contains("unshare:") || stderr.contains("mount:")
    {
        return println!("skipped: no name space of its own: {stderr}");
    }
    assert_eq!(
        stderr,
        "error: no storage in [dir]/mnt/deep/data; not created by storage.create: \
         /etc/fstab lists a file system for [dir]/mnt, but it is not mounted\n\
         hint: is the file system mounted? `chantal init` creates a new storage\n"
    );
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(names(&mnt), ["lost+found"]);
    chantal.run(&SYNC).succeeds();
}
