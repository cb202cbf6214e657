//! Rows of the store in which a bit has flipped: every read notices, says which, and publishes
//! nothing of it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use redb::{Database, Key, ReadableTable as _, TableDefinition, Value};

use crate::kit::mirror::Mirror;
use crate::kit::process::Output;
use crate::kit::tree::{Tree, inodes};
use crate::kit::upstream::{Checksum, Package, Upstream};

pub type Json<K> = TableDefinition<'static, K, &'static [u8]>;

pub const REPOSITORIES: Json<&str> = TableDefinition::new("repository_to_record");
pub const SNAPSHOTS: Json<(&str, &str)> = TableDefinition::new("snapshot_to_record");
pub const TREES: Json<&[u8]> = TableDefinition::new("tree_to_record");
pub const SYNCS: Json<(&str, u64)> = TableDefinition::new("sync_to_record");
pub const VALIDATORS: Json<(&str, &[u8; 32], &str)> = TableDefinition::new("origin_to_validator");
pub const PACKAGES: Json<[u8; 64]> = TableDefinition::new("package_to_record");
pub const MANIFESTS: Json<&[u8; 32]> = TableDefinition::new("manifest_to_chunks");
pub const CHUNKS: Json<&[u8; 32]> = TableDefinition::new("chunk_to_entries");
pub const META: Json<&str> = TableDefinition::new("meta");
pub const OBJECTS: TableDefinition<&[u8; 32], [u8; 24]> =
    TableDefinition::new("object_to_checked_record");
pub const ALIASES: TableDefinition<&[u8], [u8; 40]> =
    TableDefinition::new("digest_to_checked_object");

const SYNC: &[&str] = &["repo", "sync", "--repo-id", "r"];
const REFRESH: &[&str] = &["repo", "sync", "--repo-id", "r", "--refresh"];
const PUBLISH: &[&str] = &["publish", "--repo-id", "r"];
const AGAIN: &[&str] = &["publish", "--snapshot-name", "a", "--to", "www/again"];
const NAME: &[&str] = &["snapshot", "create", "--repo-id", "r", "--name", "b"];
const SHOW: &[&str] = &["snapshot", "show", "--name", "a"];
const LIST: &[&str] = &["repo", "list"];
const HISTORY: &[&str] = &["repo", "history", "--repo-id", "r"];
const CLEANUP: &[&str] = &["db", "cleanup"];
const STATS: &[&str] = &["db", "stats"];
const ALL: [&[&str]; 10] = [
    LIST, HISTORY, SHOW, STATS, NAME, PUBLISH, AGAIN, SYNC, REFRESH, CLEANUP,
];

/// A repository `r` whose state is also the snapshot `a`, both published; and a copy of the store.
struct Scene {
    mirror: Mirror,
    mirrored: Tree,
    store: PathBuf,
    good: Vec<u8>,
    /// The pool's, of the same time.
    marker: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let upstream = Upstream::rpm()
            .package(Package::new("hello", "1.0-1"))
            .package(Package::new("other", "1.0-1"))
            .with_rpm(|rpm| rpm.checksum = Checksum::Sha512);
        let mirror = Mirror::of(upstream).synced();
        mirror.snapshot("a");
        let publish = ["publish", "--snapshot-name", "a", "--to", "www/a"];
        mirror.run(&publish).succeeds();
        let store = mirror.chantal.data().join("chantal.redb");
        Self {
            mirrored: mirror.built.mirrored(),
            good: fs::read(&store).unwrap(),
            marker: fs::read(mirror.chantal.data().join("pool/CHANTAL-POOL")).unwrap(),
            mirror,
            store,
        }
    }

    fn mend(&self) {
        drop(fs::remove_dir_all(
            self.mirror.chantal.dir().join("www/again"),
        ));
        self.put(&self.good);
    }

    /// Puts a store in place that is no older than the pool's marker says.
    fn put(&self, store: &[u8]) {
        fs::write(&self.store, store).unwrap();
        fs::write(
            self.mirror.chantal.data().join("pool/CHANTAL-POOL"),
            &self.marker,
        )
        .unwrap();
    }

    /// What is published was touched by nothing that failed, and is right wherever something was
    /// published anew.
    #[track_caller]
    fn nothing_wrong_is_published(&self, command: &[&str], output: &Output, before: &Trees) {
        if output.status.code() != Some(0) {
            assert_eq!(&self.trees(), before, "{command:?}: {output:?}");
        }
        for tree in ["www/r/latest", "www/a", "www/again"] {
            let path = self.mirror.chantal.dir().join(tree);
            if path.exists() {
                Tree::read(&path).assert_same(&self.mirrored);
            }
        }
    }

    fn trees(&self) -> Trees {
        ["www/r/latest", "www/a", "www/again"]
            .map(|tree| self.mirror.chantal.dir().join(tree))
            .map(|path| path.exists().then(|| format!("{:?}", inodes(&path))))
    }

    /// Damages the store and runs everything. The commands that must notice end with exit 5 and say
    /// where; no other says anything else.
    #[track_caller]
    fn check(&self, table: &str, noticed_by: &[&[&str]], damage: impl Fn(&Path) -> String) {
        for command in ALL {
            self.mend();
            let key = self.mirror.chantal.shown(&damage(&self.store));
            let before = self.trees();
            let output = self.mirror.chantal.run(command);
            self.nothing_wrong_is_published(command, &output, &before);
            let error =
                format!("database [dir]/data/chantal.redb is damaged: table {table}, key {key}: ");
            let must = noticed_by.contains(&command);
            match output.status.code() {
                Some(5) => {
                    assert!(
                        output.stderr.contains(&error),
                        "{table}: {command:?}: {output:?}"
                    );
                    assert!(
                        output.stderr.ends_with("hint: restore it from a backup\n"),
                        "{output:?}"
                    );
                }
                Some(0) => assert!(!must, "{table}, {key}: {command:?}: {output:?}"),
                _ => panic!("{table}, {key}: {command:?}: {output:?}"),
            }
        }
        self.mend();
    }
}

type Trees = [Option<String>; 3];

/// Flips a bit in the value of the first row, and says what its key is called.
pub fn flip_value<K: Key + 'static, V: Value + 'static>(
    table: TableDefinition<'static, K, V>,
    shown: impl Fn(&[u8]) -> String,
) -> impl Fn(&Path) -> String {
    move |store| {
        rewrite(store, table, |key, value| {
            let middle = value.len() / 2;
            value[middle] ^= 1;
            shown(key)
        })
    }
}

/// Moves the first row to a key that differs in one bit, and says what that is called.
pub fn flip_key<K: Key + 'static, V: Value + 'static>(
    table: TableDefinition<'static, K, V>,
    at: impl Fn(&[u8]) -> usize,
    shown: impl Fn(&[u8]) -> String,
) -> impl Fn(&Path) -> String {
    move |store| {
        rewrite(store, table, |key, _| {
            let place = at(key);
            key[place] ^= 2;
            shown(key)
        })
    }
}

fn rewrite<K: Key + 'static, V: Value + 'static>(
    store: &Path,
    table: TableDefinition<'static, K, V>,
    change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> String,
) -> String {
    let database = Database::open(store).unwrap();
    let transaction = database.begin_write().unwrap();
    let shown = {
        let mut rows = transaction.open_table(table).unwrap();
        let (mut key, mut value) = {
            let (key, value) = rows.first().unwrap().unwrap();
            (
                K::as_bytes(&key.value()).as_ref().to_vec(),
                V::as_bytes(&value.value()).as_ref().to_vec(),
            )
        };
        rows.remove(K::from_bytes(&key)).unwrap();
        let shown = change(&mut key, &mut value);
        rows.insert(K::from_bytes(&key), V::from_bytes(&value))
            .unwrap();
        shown
    };
    transaction.commit().unwrap();
    shown
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// As redb writes (&str, &str): a length, then both.
pub fn pair(bytes: &[u8]) -> String {
    let (first, second) = <(&str, &str) as Value>::from_bytes(bytes);
    format!("{first}/{second}")
}

fn of_origin(bytes: &[u8]) -> String {
    let (name, origin, path) = <(&str, &[u8; 32], &str) as Value>::from_bytes(bytes);
    format!("{name}/{}/{path}", hex(origin))
}

fn numbered(bytes: &[u8]) -> String {
    let (name, number) = <(&str, u64) as Value>::from_bytes(bytes);
    format!("{name}/{number}")
}

#[test]
fn values_of_what_users_named() {
    let scene = Scene::new();
    let uses_state = [LIST, STATS, NAME, PUBLISH, SYNC, REFRESH, CLEANUP];
    scene.check(
        "repository_to_record",
        &uses_state,
        flip_value(REPOSITORIES, text),
    );
    let uses_snapshots = [SHOW, AGAIN, NAME, STATS, CLEANUP];
    scene.check(
        "snapshot_to_record",
        &uses_snapshots[..2],
        flip_value(SNAPSHOTS, pair),
    );
    scene.check("tree_to_record", &[STATS, CLEANUP], flip_value(TREES, text));
    scene.check("sync_to_record", &[HISTORY], flip_value(SYNCS, numbered));
}

/// Found under another key, or not found under its own: no answer either.
#[test]
fn keys_of_what_users_named() {
    let scene = Scene::new();
    let last = |key: &[u8]| key.len() - 1;
    let uses_state = [LIST, STATS, NAME, PUBLISH, SYNC, REFRESH, CLEANUP];
    scene.check(
        "repository_to_record",
        &uses_state,
        flip_key(REPOSITORIES, last, text),
    );
    scene.check(
        "snapshot_to_record",
        &[SHOW, AGAIN, STATS, CLEANUP],
        flip_key(SNAPSHOTS, last, pair),
    );
    scene.check(
        "tree_to_record",
        &[STATS, CLEANUP],
        flip_key(TREES, last, text),
    );
    // Its name is before its number of eight bytes.
    let name = |key: &[u8]| key.len() - 9;
    scene.check(
        "sync_to_record",
        &[HISTORY],
        flip_key(SYNCS, name, numbered),
    );
}

#[test]
fn manifests_and_chunks() {
    let scene = Scene::new();
    let reads = [SHOW, PUBLISH, AGAIN, CLEANUP, STATS];
    scene.check("manifest_to_chunks", &reads, flip_value(MANIFESTS, hex));
    scene.check("chunk_to_entries", &reads, flip_value(CHUNKS, hex));
    // Named by what is asked for: the row that is there is nobody's.
    for table in [MANIFESTS, CHUNKS] {
        for command in [PUBLISH, AGAIN, CLEANUP] {
            scene.mend();
            let name = flip_key(table, |_| 3, hex)(&scene.store);
            let before = scene.trees();
            let output = scene.mirror.chantal.run(command).exits(5);
            scene.nothing_wrong_is_published(command, &output, &before);
            assert!(output.stderr.contains(": missing\n"), "{output:?}");
            assert!(!output.stderr.contains(&name), "{output:?}");
        }
    }
}

/// What only saves work: damaged it is an error; under another key it is work again.
#[test]
fn what_is_remembered() {
    let scene = Scene::new();
    scene.check(
        "origin_to_validator",
        &[SYNC],
        flip_value(VALIDATORS, of_origin),
    );
    scene.check(
        "object_to_checked_record",
        &[STATS],
        flip_value(OBJECTS, hex),
    );
    scene.check(
        "digest_to_checked_object",
        &[REFRESH, CLEANUP],
        flip_value(ALIASES, hex),
    );
    scene.check(
        "package_to_record",
        &[REFRESH, CLEANUP],
        flip_value(PACKAGES, hex),
    );
    let last = |key: &[u8]| key.len() - 1;
    scene.check(
        "object_to_checked_record",
        &[STATS],
        flip_key(OBJECTS, last, hex),
    );
    scene.check(
        "origin_to_validator",
        &[],
        flip_key(VALIDATORS, last, of_origin),
    );
    scene.check(
        "digest_to_checked_object",
        &[],
        flip_key(ALIASES, last, hex),
    );
    scene.check("package_to_record", &[], flip_key(PACKAGES, last, hex));
}

#[test]
fn what_the_store_says_of_itself() {
    let scene = Scene::new();
    let database = Database::open(&scene.store).unwrap();
    let transaction = database.begin_write().unwrap();
    let rows: Vec<(String, Vec<u8>)> = {
        let table = transaction.open_table(META).unwrap();
        let rows = table.iter().unwrap();
        rows.map(|row| row.unwrap())
            .map(|(key, value)| (key.value().to_owned(), value.value().to_vec()))
            .collect()
    };
    drop(transaction);
    drop(database);
    assert!(rows.len() >= 3);
    for (key, value) in rows {
        for place in 0..value.len() {
            scene.mend();
            let mut bad = value.clone();
            bad[place] ^= 1 << (place % 8);
            let database = Database::open(&scene.store).unwrap();
            let transaction = database.begin_write().unwrap();
            let mut table = transaction.open_table(META).unwrap();
            table.insert(&*key, &*bad).unwrap();
            drop(table);
            transaction.commit().unwrap();
            drop(database);
            let output = scene.mirror.chantal.run(SYNC).exits(5).says("");
            let error = "is damaged: table meta, key ";
            assert!(output.stderr.contains(error), "{key} {place}: {output:?}");
        }
    }
}

/// Wherever it is in the file: nothing wrong is published, and nothing ends otherwise than good or
/// with exit 5.
#[test]
fn bits_of_the_file() {
    let scene = Scene::new();
    let mut seed: u64 = 0xb175;
    let live: Vec<usize> = (4096..scene.good.len())
        .filter(|place| scene.good[*place] != 0)
        .collect();
    let mut noticed = 0;
    for round in 0..120 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = live[usize::try_from(seed >> 33).unwrap() % live.len()];
        let mut bad = scene.good.clone();
        bad[place] ^= 1 << (seed >> 29 & 7);
        scene.put(&bad);
        let before = scene.trees();
        // Publishing reads only what changes; a check reads every row.
        for command in [PUBLISH, AGAIN, SHOW, &["db", "check", "--quick"]] {
            let output = scene.mirror.chantal.run(command);
            scene.nothing_wrong_is_published(command, &output, &before);
            match output.status.code() {
                Some(0) => {}
                Some(5) => noticed += 1,
                _ => panic!("round {round}, byte {place}: {output:?}"),
            }
        }
    }
    assert!(noticed > 0);
}
