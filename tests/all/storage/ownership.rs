//! A pool belongs to one store: whatever else is put over it, deletes nothing that it does not
//! know.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::kit::chantal::Repository;
use crate::kit::mirror::{Mirror, PUBLISH, SYNC};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

const CLEANUP: [&str; 2] = ["db", "cleanup"];
const FORGET: [&str; 3] = ["db", "cleanup", "--forget-unknown"];
const WRITERS: [&[&str]; 6] = [
    &SYNC,
    &PUBLISH,
    &["snapshot", "create", "--repo-id", "r", "--name", "a"],
    &CLEANUP,
    &["db", "migrate"],
    &["init"],
];

/// A repository `r` with the pool where it is wanted, and no storage yet.
fn new_party(package: &str, pool: Option<&Path>) -> Mirror {
    let mirror = Mirror::of(Upstream::rpm().package(Package::new(package, "1.0-1")));
    mirror.chantal.never_create();
    if let Some(pool) = pool {
        mirror.chantal.hide(&pool.display().to_string(), "[pool]");
        mirror.chantal.use_pool(pool);
    }
    mirror
}

/// With a storage, and synced.
fn used_party(package: &str, pool: Option<&Path>) -> Mirror {
    let mirror = new_party(package, pool);
    mirror.run(&["init"]).exits(0);
    mirror.synced()
}

/// The upstream has something else from now on.
fn change(mirror: &mut Mirror, package: &str) {
    mirror.next(|upstream| upstream.packages = vec![Package::new(package, "1.0-1")]);
}

fn marker(mirror: &Mirror) -> PathBuf {
    mirror.chantal.data().join("pool/CHANTAL-POOL")
}

fn store(mirror: &Mirror) -> PathBuf {
    mirror.chantal.data().join("chantal.redb")
}

#[track_caller]
fn is_whole(mirror: &Mirror) {
    mirror.run(&PUBLISH).exits(0);
    mirror.is_published();
}

/// The line of a marker that begins with a name.
fn line(marker: &Path, name: &str) -> String {
    let text = fs::read_to_string(marker).unwrap();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
    values.next().unwrap().trim().to_owned()
}

/// Replaces it.
fn put_line(marker: &Path, name: &str, value: &str) {
    let text = fs::read_to_string(marker).unwrap();
    let old = format!("{name} {}", line(marker, name));
    let text = text.replace(&old, &format!("{name} {value}"));
    fs::remove_file(marker).unwrap();
    fs::write(marker, text).unwrap();
}

fn objects(pool: &Path) -> BTreeSet<PathBuf> {
    let directories = fs::read_dir(pool.join("sha256")).unwrap();
    directories
        .flat_map(|directory| fs::read_dir(directory.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

/// As if all objects had come a while ago.
fn age(pool: &Path) {
    for object in objects(pool) {
        let hour_ago = SystemTime::now() - Duration::from_hours(1);
        let file = fs::File::open(object).unwrap();
        file.set_modified(hour_ago).unwrap();
    }
}

/// As if they came in an hour.
fn rejuvenate(objects: impl IntoIterator<Item = PathBuf>) {
    for object in objects {
        let soon = SystemTime::now() + Duration::from_hours(1);
        fs::File::open(object).unwrap().set_modified(soon).unwrap();
    }
}

#[test]
fn neither_of_two_stores_deletes_what_the_other_needs() {
    let first = used_party("first", None);
    let pool = first.chantal.data().join("pool");
    age(&pool);
    let before = objects(&pool);
    let (id, used) = (
        line(&marker(&first), "store"),
        line(&marker(&first), "last used"),
    );
    let host = line(&marker(&first), "host");
    let at = store(&first);

    // A new one beside it.
    let second = new_party("second", Some(&pool));
    let nothing = Tree::read(second.chantal.dir());
    second.chantal.run(&["init"]).says("").fails_with(
        5,
        &format!(
            "error: pool [pool] belongs to an existing database: {id}, {} on {host}, last used {used}\n\
             hint: set storage.pool_path to another directory; if that database is no longer used, run `chantal pool take-over --from {id}`\n",
            at.display()
        ),
    );
    Tree::read(second.chantal.dir()).assert_same(&nothing);

    // One that had a pool of its own.
    second.chantal.use_pool(&second.chantal.dir().join("own"));
    second.chantal.run(&["init"]).exits(0);
    second.chantal.run(&SYNC).succeeds();
    second.chantal.use_pool(&pool);
    for command in WRITERS {
        let output = second.chantal.run(command).exits(5).says("");
        let expected = "error: pool [pool] belongs to another database: expected ID ";
        assert!(output.stderr.starts_with(expected), "{output:?}");
        let hint = format!(
            "\nhint: if no other database uses this pool, take it over with `chantal pool take-over --from {id}`\n"
        );
        assert!(output.stderr.ends_with(&hint), "{output:?}");
    }
    assert_eq!(objects(&pool), before);

    take_over(&first, &second, &before);
}

fn take_over(first: &Mirror, second: &Mirror, before: &BTreeSet<PathBuf>) {
    let pool = first.chantal.data().join("pool");
    let id = line(&marker(first), "store");
    second
        .chantal
        .run(&["pool", "take-over", "--from", "0123"])
        .says("")
        .fails_with(
            2,
            &format!(
                "error: pool [pool] belongs to database {id}, not to 0123\n\
                 hint: use the ID from the error message of the command that failed\n"
            ),
        );
    let output = second.chantal.run(&["pool", "take-over", "--from", &id]);
    let output = output.succeeds();
    let own = line(&marker(first), "store");
    assert_ne!(own, id);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(
        lines[0].starts_with(&format!("from database {id}, ")),
        "{output:?}"
    );
    assert!(
        lines[1].starts_with(&format!("to database {own}, ")),
        "{output:?}"
    );
    for line in &lines[..2] {
        assert!(line.contains(", last used 20"), "{output:?}");
    }
    assert_eq!(
        lines[2],
        format!(
            "pool [pool] now belongs to database {own}; its objects are kept until `chantal db cleanup --forget-unknown`"
        )
    );

    // The former one is refused, and can still be looked at.
    for command in WRITERS {
        let output = first.chantal.run(command).exits(5).says("");
        let expected = format!("belongs to another database: {own}, ");
        assert!(output.stderr.contains(&expected), "{output:?}");
        let hint = format!("`chantal pool take-over --from {own}`\n");
        assert!(output.stderr.ends_with(&hint), "{output:?}");
    }
    first.chantal.run(&["repo", "list"]).succeeds();

    // The new one removes nothing of what it does not know.
    let refresh = ["repo", "sync", "--repo-id", "r", "--refresh"];
    second.chantal.run(&refresh).exits(0);
    for dry_run in [true, false] {
        let args = [&CLEANUP[..], if dry_run { &["--dry-run"] } else { &[] }].concat();
        let output = second.chantal.run(&args).succeeds();
        let said = ") kept that the database does not know: in the pool since before 20";
        assert!(output.stdout.contains(said), "{output:?}");
        assert!(objects(&pool).is_superset(before));
    }

    // And back: each in its turn, and nothing is lost.
    let back = ["--format", "json", "pool", "take-over", "--from", &own];
    let taken = first.chantal.run(&back).succeeds().json();
    assert_eq!(taken["from"]["store"], *own);
    assert_eq!(taken["to"]["store"], *id);
    assert!(taken["to"]["last_used"].is_string());
    first.chantal.run(&CLEANUP).succeeds();
    is_whole(first);
    second.chantal.run(&SYNC).exits(5);
}

/// Straight onto the pool: the storage is made for it.
#[test]
fn a_new_store_takes_a_pool_over() {
    let first = used_party("first", None);
    let pool = first.chantal.data().join("pool");
    let before = objects(&pool);
    let second = new_party("second", Some(&pool));
    let id = line(&marker(&first), "store");
    let output = second
        .chantal
        .run(&["pool", "take-over", "--from", &id])
        .succeeds();
    assert!(output.stdout.contains(", last used never\n"), "{output:?}");
    second.chantal.run(&SYNC).succeeds();
    second.chantal.run(&CLEANUP).succeeds();
    assert!(objects(&pool).is_superset(&before));
    first.chantal.run(&CLEANUP).exits(5);
    is_whole(&second);
}

#[test]
fn a_lost_store() {
    let mut party = used_party("first", None);
    let pool = party.chantal.data().join("pool");
    party
        .chantal
        .run(&["snapshot", "create", "--repo-id", "r", "--name", "a"])
        .succeeds();
    age(&pool);
    let old = objects(&pool);
    fs::remove_file(store(&party)).unwrap();
    fs::remove_dir_all(party.chantal.dir().join("www")).unwrap();
    party.chantal.run(&["init"]).exits(0);

    // It does not know the snapshot, and no sync brings it back.
    change(&mut party, "second");
    party.chantal.run(&SYNC).succeeds();
    rejuvenate(objects(&pool).difference(&old).cloned());
    change(&mut party, "third");
    party.chantal.run(&SYNC).succeeds();
    let second_and_third = objects(&pool);
    let say = |args: &[&str]| party.chantal.run(args).succeeds().stdout;
    // All but the keys, which every state has: for clients, and as the keyring.
    let unknown = format!("{} objects (", old.len() - 2);
    let dry_run = say(&["db", "cleanup", "--dry-run"]);
    assert!(dry_run.contains(&unknown), "{dry_run}");
    let stats = say(&["db", "stats"]);
    let held = format!("in the pool      {} objects, ", second_and_third.len());
    let unknown_held = format!("\nunknown          {} objects, ", old.len() - 2);
    for expected in [
        &held,
        &unknown_held,
        "\nnot needed       0 objects, ",
        " (`chantal db cleanup --forget-unknown` removes them)\n",
    ] {
        assert!(stats.contains(expected), "{stats}");
    }
    assert_eq!(objects(&pool), second_and_third);

    // Nothing keeps the second state but the tree's earlier generation.
    fs::remove_dir_all(party.chantal.dir().join("www")).unwrap();
    let unpublish = ["unpublish", "--repo-id", "r", "--forget-absent"];
    party.chantal.run(&unpublish).succeeds();
    for _ in 0..2 {
        let said = say(&CLEANUP);
        assert!(said.contains(&unknown), "{said}");
        assert!(objects(&pool).is_superset(&old));
    }
    let json = ["--format", "json", "db", "cleanup", "--dry-run"];
    let cleaned = party.chantal.run(&json).succeeds().json();
    assert_eq!(cleaned["objects_unknown"], old.len() - 2);
    let forget = [&FORGET[..], &["--dry-run"]].concat();
    assert!(!say(&forget).contains("does not know"));
    assert!(objects(&pool).is_superset(&old));
    let stats = |key: &str| {
        let stats = party.chantal.run(&["--format", "json", "db", "stats"]);
        stats.succeeds().json()[key].as_u64().unwrap()
    };
    assert_eq!(stats("unknown_objects"), old.len() as u64 - 2);
    let (held, goes) = (stats("pool_bytes"), stats("unknown_bytes"));
    say(&FORGET);
    assert_eq!(objects(&pool).intersection(&old).count(), 2);
    assert!(!say(&CLEANUP).contains("does not know"));
    assert!(!say(&["db", "stats"]).contains("unknown"));
    assert_eq!(stats("pool_bytes"), held - goes);
}

#[test]
fn a_store_that_came_out_of_a_backup() {
    let mut party = new_party("first", None);
    let repository = Repository::of("r", &party.upstream, &party.server.url());
    party.chantal.repository(&repository.unpublished());
    party.chantal.run(&["init"]).exits(0);
    party.chantal.run(&SYNC).succeeds();
    let backup = fs::read(store(&party)).unwrap();
    change(&mut party, "second");
    party.chantal.run(&SYNC).succeeds();
    party.chantal.run(&CLEANUP).succeeds();
    // Two states and a deletion.
    assert_eq!(line(&marker(&party), "generation"), "3");

    fs::write(store(&party), backup).unwrap();
    let pool = party.chantal.data().join("pool");
    let before = objects(&pool);
    let id = line(&marker(&party), "store");
    let why = "database [dir]/data/chantal.redb is older than its pool (generation 1, pool generation 3): it was restored from a backup";
    let warning = format!(
        "warning: {why}; `db cleanup` is refused until `chantal pool take-over --from {id}` has been run\n"
    );
    for args in [&CLEANUP[..], &FORGET, &["db", "cleanup", "--dry-run"]] {
        party.chantal.run(args).says("").fails_with(
            5,
            &format!(
                "{warning}error: {why}\nhint: if no other database uses this pool, take it over with \
                 `chantal pool take-over --from {id}`\n"
            ),
        );
    }
    assert_eq!(objects(&pool), before);
    party.chantal.run(&SYNC).fails_with(0, &warning);
    let publish = ["publish", "--repo-id", "r", "--to", "www/r/latest"];
    party.chantal.run(&publish).fails_with(0, &warning);

    let take_over = ["pool", "take-over", "--from", &id];
    party.chantal.run(&take_over).succeeds();
    assert_ne!(line(&marker(&party), "store"), id);
    party.chantal.run(&SYNC).succeeds();
    party.chantal.run(&CLEANUP).succeeds();
    assert_eq!(objects(&pool).intersection(&before).count(), before.len());
    party.chantal.run(&FORGET).succeeds();
    let published = party.chantal.published_tree("r");
    published.assert_same(&party.built.mirrored());
}

#[test]
fn a_store_that_was_moved_or_copied() {
    let party = used_party("first", None);
    let pool = party.chantal.data().join("pool");
    let before = objects(&pool);
    let id = line(&marker(&party), "store");
    let copy = new_party("first", Some(&pool));
    fs::create_dir(copy.chantal.data()).unwrap();
    fs::copy(store(&party), store(&copy)).unwrap();
    let output = copy.chantal.run(&CLEANUP).exits(5).says("");
    let expected = "was moved or copied: its pool was last used by ";
    assert!(output.stderr.contains(expected), "{output:?}");
    assert_eq!(objects(&pool), before);
    let output = copy.chantal.run(&["db", "migrate"]).exits(0);
    assert!(output.stderr.is_empty(), "{output:?}");
    copy.chantal
        .run(&PUBLISH)
        .exits(0)
        .mentions("was moved or copied");
    // It did not put itself in the place of the owner.
    party.chantal.run(&SYNC).succeeds();
    party.chantal.run(&CLEANUP).succeeds();

    copy.chantal
        .run(&["pool", "take-over", "--from", &id])
        .succeeds();
    copy.chantal.run(&CLEANUP).succeeds();
    party.chantal.run(&CLEANUP).exits(5);
    assert_eq!(objects(&pool), before);

    // The same on another host.
    let host = line(&marker(&party), "host");
    put_line(&marker(&party), "host", "elsewhere");
    copy.chantal
        .run(&CLEANUP)
        .exits(5)
        .mentions(" on elsewhere\n");
    put_line(&marker(&party), "host", &host);
    copy.chantal.run(&CLEANUP).succeeds();
}

/// Killed after the store was written and before the marker: it is the owner that is ahead.
#[test]
fn a_marker_that_is_behind() {
    let mut party = used_party("first", None);
    change(&mut party, "second");
    party.chantal.run(&SYNC).succeeds();
    party.chantal.run(&["unpublish", "--repo-id", "r"]).exits(0);
    party.chantal.run(&CLEANUP).succeeds();
    put_line(&marker(&party), "generation", "0");
    party.chantal.run(&CLEANUP).succeeds();
    assert_eq!(line(&marker(&party), "generation"), "3");

    // Where nothing is removed, nothing is raised.
    party.chantal.run(&CLEANUP).succeeds();
    assert_eq!(line(&marker(&party), "generation"), "3");
}

/// Nothing was removed since the backup, and yet it does not know what was synced and named since.
#[test]
fn a_backup_from_before_a_sync_removes_nothing() {
    let mut party = used_party("first", None);
    let backup = fs::read(store(&party)).unwrap();
    change(&mut party, "second");
    party.chantal.run(&SYNC).succeeds();
    let newer = fs::read(store(&party)).unwrap();
    let pool = party.chantal.data().join("pool");
    let before = objects(&pool);
    fs::write(store(&party), backup).unwrap();
    party
        .chantal
        .run(&CLEANUP)
        .exits(5)
        .mentions("it was restored from a backup");
    assert_eq!(objects(&pool), before);
    fs::write(store(&party), newer).unwrap();
    party.chantal.run(&SYNC).succeeds();
    party.chantal.run(&CLEANUP).succeeds();
}

/// Whoever makes a lost marker again cannot say whether the store came out of a backup.
#[test]
fn a_marker_that_was_made_again_by_hand() {
    let mut party = used_party("first", None);
    let backup = fs::read(store(&party)).unwrap();
    change(&mut party, "second");
    party.chantal.run(&SYNC).succeeds();
    let pool = party.chantal.data().join("pool");
    let before = objects(&pool);
    fs::write(store(&party), backup).unwrap();
    let text = fs::read_to_string(marker(&party)).unwrap();
    let two: Vec<&str> = text.lines().take(2).collect();
    fs::write(marker(&party), two.join("\n") + "\n").unwrap();
    let said = party.chantal.run(&CLEANUP).succeeds();
    said.mentions(" kept that the database does not know: ");
    assert_eq!(objects(&pool), before);
}

/// Of a chantal that noted no store.
#[test]
fn a_marker_without_a_store() {
    let party = used_party("first", None);
    let good = fs::read_to_string(marker(&party)).unwrap();
    let plain: String = good.split_inclusive('\n').take(2).collect();
    let put = |text: &str| {
        fs::remove_file(marker(&party)).unwrap();
        fs::write(marker(&party), text).unwrap();
    };
    put(&plain);
    party.chantal.run(&["repo", "list"]).succeeds();
    assert_eq!(fs::read_to_string(marker(&party)).unwrap(), plain);
    party.chantal.run(&SYNC).succeeds();
    let noted = fs::read_to_string(marker(&party)).unwrap();
    assert_eq!(noted.lines().count(), good.lines().count());
    assert_eq!(noted.lines().nth(2), good.lines().nth(2));

    for (name, value) in [("generation", "many"), ("last used", "yesterday")] {
        put(&noted);
        put_line(&marker(&party), name, value);
        let error = format!(
            "error: pool marker [dir]/data/pool/CHANTAL-POOL: line \"{name}\" is missing or invalid\n"
        );
        for args in [&SYNC[..], &CLEANUP] {
            party.chantal.run(args).says("").fails_with(5, &error);
        }
    }
}
