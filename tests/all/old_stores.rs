//! Stores that earlier chantals wrote: they are read as they are, and migrated before anything is
//! written, whatever kills that.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};

use crate::kit::chantal::Chantal;
use crate::kit::keys::Key;
use crate::kit::mount::Mount;
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::Checksum;

const LIST: [&str; 2] = ["repo", "list"];
const MIGRATE: [&str; 2] = ["db", "migrate"];
const MIGRATED: &str = "warning: database [dir]/data/chantal.redb was migrated from schema version 1 to 6; \
                        backup: [dir]/data/chantal.redb.schema-1.bak\n";
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path)
}

/// The store of the first chantal and its pool, in a place of their own; see
/// `fixtures/store-v1/make.sh`.
fn of_version_1() -> Chantal {
    let chantal = Chantal::new();
    let mut store = Tree::read(&fixture("store-v1"));
    store.remove("make.sh");
    store.write_to(&chantal.data());
    fs::create_dir(chantal.data().join("pool/partial")).unwrap();
    chantal.write("config/repos.d/key.asc", &Key::archive().public_armored());
    for (kind, more) in [
        ("apt", "  distribution: stable\n"),
        ("rpm", "  gpgcheck: false\n"),
    ] {
        let yaml = format!(
            "name: tiny-{kind}\ntype: {kind}\nupstream:\n  url: http://127.0.0.1:1/{kind}\n{kind}:\n{more}  \
             gpgkey_file: key.asc\npublish:\n  latest_path: ../../www/tiny-{kind}\n"
        );
        chantal.write(&format!("config/repos.d/tiny-{kind}.yaml"), &yaml);
    }
    chantal.global("storage:\n  base_path: ../../data\ndownload:\n  retries: 0\n");
    chantal
}

/// The store of the last chantal that wrote version 1; see `fixtures/store-v1-last/make.sh`.
fn of_version_1_at_its_end() -> Chantal {
    let chantal = of_version_1();
    let objects = fixture("store-v1-last/pool");
    Tree::read(&objects).write_to(&chantal.data().join("pool"));
    fs::write(store(&chantal), unpacked("store-v1-last/chantal.redb.gz")).unwrap();
    let keys = fs::read_to_string(fixture("openpgp/packages.asc")).unwrap();
    chantal.write("config/repos.d/packages.asc", &keys);
    chantal.write(
        "config/repos.d/signed.yaml",
        "name: signed\ntype: rpm\nupstream:\n  url: /tmp/chantal-store/signed\nrpm:\n  gpgkey_file: packages.asc\n\
         publish:\n  latest_path: ../../www/signed\n",
    );
    chantal
}

/// The store of the last chantal that wrote version 2; see `fixtures/store-v2-last/make.sh`.
fn of_version_2_at_its_end() -> Chantal {
    let chantal = of_version_1_at_its_end();
    let objects = fixture("store-v2-last/pool");
    Tree::read(&objects).write_to(&chantal.data().join("pool"));
    fs::write(store(&chantal), unpacked("store-v2-last/chantal.redb.gz")).unwrap();
    chantal.write(
        "config/repos.d/chosen.yaml",
        "name: chosen\ntype: rpm\nupstream:\n  url: /tmp/chantal-store/signed\nrpm:\n  gpgkey_file: packages.asc\n\
         filters:\n  exclude: [none-such]\npublish:\n  latest_path: ../../www/chosen\n",
    );
    chantal
}

/// The store of the last chantal that wrote version 3; see `fixtures/store-v3-last/make.sh`.
fn of_version_3_at_its_end() -> Chantal {
    let chantal = of_version_2_at_its_end();
    let objects = fixture("store-v3-last/pool");
    Tree::read(&objects).write_to(&chantal.data().join("pool"));
    fs::write(store(&chantal), unpacked("store-v3-last/chantal.redb.gz")).unwrap();
    chantal.write(
        "config/repos.d/served.yaml",
        "name: served\ntype: apt\nupstream:\n  url: http://127.0.0.1:8765/apt\napt:\n  distribution: stable\n  \
         gpgkey_file: key.asc\nfilters:\n  exclude: [none-such]\npublish:\n  latest_path: ../../www/served\n",
    );
    chantal
}

/// The store of the last chantal that wrote version 4; see `fixtures/store-v4-last/make.sh`.
fn of_version_4_at_its_end() -> Chantal {
    let chantal = of_version_3_at_its_end();
    let objects = fixture("store-v4-last/pool");
    Tree::read(&objects).write_to(&chantal.data().join("pool"));
    fs::write(store(&chantal), unpacked("store-v4-last/chantal.redb.gz")).unwrap();
    chantal
}

/// The store of the last chantal that wrote version 5; see `fixtures/store-v5-last/make.sh`.
fn of_version_5_at_its_end() -> Chantal {
    let chantal = of_version_4_at_its_end();
    let objects = fixture("store-v5-last/pool");
    Tree::read(&objects).write_to(&chantal.data().join("pool"));
    fs::write(store(&chantal), unpacked("store-v5-last/chantal.redb.gz")).unwrap();
    chantal
}

/// The last ones of each version, and the version.
pub fn last_ones() -> [(u32, fn() -> Chantal); 5] {
    [
        (1, of_version_1_at_its_end),
        (2, of_version_2_at_its_end),
        (3, of_version_3_at_its_end),
        (4, of_version_4_at_its_end),
        (5, of_version_5_at_its_end),
    ]
}

fn unpacked(path: &str) -> Vec<u8> {
    let packed = fs::File::open(fixture(path)).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn store(chantal: &Chantal) -> PathBuf {
    chantal.data().join("chantal.redb")
}

/// Of a store's file.
fn version(store: &Path) -> u32 {
    let database = Database::open(store).unwrap();
    let transaction = database.begin_read().unwrap();
    let meta = transaction.open_table(META).unwrap();
    let version = meta.get("schema").unwrap().unwrap();
    u32::from_le_bytes(version.value().try_into().unwrap())
}

/// Names in the data directory that begin with the store's.
fn beside(chantal: &Chantal) -> Vec<String> {
    let entries = fs::read_dir(chantal.data()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("chantal.redb"))
        .collect();
    names.sort();
    names
}

const BOTH: [&str; 2] = ["chantal.redb", "chantal.redb.schema-1.bak"];

#[test]
fn a_store_of_version_1_is_read() {
    const SIGNER: &str = "9D1F70AB8A02D54CF23639496D399708060D69B4";
    let chantal = of_version_1();
    chantal.run(&LIST).succeeds().says(
        "REPOSITORY  TYPE  ENABLED  ROOT    GPGCHECK  PACKAGES  SIZE       SYNCED\n\
         tiny-apt    apt   yes      signed  -         2         6.22 KiB   2026-11-23T07:16:37Z\n\
         tiny-rpm    rpm   yes      signed  no        2         15.91 KiB  2026-11-23T07:16:37Z\n",
    );
    let show = ["--format", "json", "repo", "show", "--repo-id", "tiny-apt"];
    let shown = chantal.run(&show).succeeds().json();
    assert_eq!(shown["state"]["signed_by"][0], SIGNER);
    assert_eq!(
        shown["published"][0]["path"],
        "/tmp/chantal-store/www/tiny-apt"
    );
    chantal
        .run(&["repo", "history", "--repo-id", "tiny-rpm"])
        .succeeds()
        .says(
            "STARTED               PACKAGES  CHANGE  REQUESTS  DOWNLOADED  RESULT\n\
         2026-11-23T07:16:37Z  2         +0 -0   1         0 B         failed: the root: \
         http://127.0.0.1:8765/rpm/repodata/repomd.xml: Connection refused (os error 111)\n\
         2026-11-23T07:16:37Z  2         +0 -0   1         0 B         unchanged\n\
         2026-11-23T07:16:37Z  2         +2 -0   9         15.91 KiB   changed\n",
        );
    assert_eq!(beside(&chantal), ["chantal.redb"]);
    assert_eq!(version(&store(&chantal)), 1, "reading changes nothing");
    let publish = chantal.run(&["publish", "--all"]).exits(0);
    publish.says_on_stderr(MIGRATED).says(
        "tiny-apt: published at [dir]/www/tiny-apt (9 files)\n\
         tiny-rpm: published at [dir]/www/tiny-rpm (8 files)\n",
    );
    // What is named by its digest has it; the others are told here.
    let published = |kind: &str| {
        let tree = Tree::read(&chantal.dir().join(format!("www/tiny-{kind}")));
        let mut lines = String::new();
        for (path, bytes) in tree.iter() {
            let by_digest =
                [Checksum::Sha256, Checksum::Sha512].map(|checksum| checksum.hex(bytes));
            if !by_digest.iter().any(|hex| path.contains(hex)) {
                writeln!(lines, "{} {path}", &by_digest[0][..8]).unwrap();
            }
        }
        (tree.len(), lines)
    };
    let (files, lines) = published("apt");
    assert_eq!(files, 9);
    assert_eq!(
        lines,
        "5369987b dists/stable/InRelease\n\
         daaa9d85 dists/stable/main/binary-amd64/Packages.gz\n\
         3b475198 dists/stable/main/binary-amd64/Packages.xz\n\
         397196ef pool/main/t/tiny-data/tiny-data_2.1-1_all.deb\n\
         813c2739 pool/main/t/tiny-hello/tiny-hello_1.0-1_amd64.deb\n"
    );
    let (files, lines) = published("rpm");
    assert_eq!(files, 8);
    assert_eq!(
        lines,
        "52f12df3 Packages/tiny-data-2.1-1.noarch.rpm\n\
         d620f417 Packages/tiny-hello-1.0-1.x86_64.rpm\n\
         4d812263 repodata/repomd.xml\n\
         d45df626 repodata/repomd.xml.asc\n"
    );
}

/// The first sync after an upgrade writes into it.
#[test]
fn a_store_of_version_1_is_written() {
    let chantal = of_version_1();
    let root = "http://127.0.0.1:1/rpm/repodata/repomd.xml";
    let error =
        format!("tiny-rpm: cannot fetch the metadata: {root}: Connection refused (os error 111)");
    chantal
        .run(&["repo", "sync", "--repo-id", "tiny-rpm"])
        .fails_with(
            3,
            &format!("{MIGRATED}error: {error}\nhint: try again later; the state of the last successful sync is unchanged\n"),
        );
    let history = [
        "--format",
        "json",
        "repo",
        "history",
        "--repo-id",
        "tiny-rpm",
    ];
    let history = chantal.run(&history).succeeds().json();
    assert_eq!(history.as_array().unwrap().len(), 4);
    assert_eq!(
        history[0]["error"],
        error.strip_prefix("tiny-rpm: ").unwrap()
    );
    assert_eq!(history[0]["packages"], 2);
}

/// A state whose manifest is of an earlier version stays what it is while the upstream does. Its
/// indexes are new ones: where a codec writes other bytes some day, this needs the store of a later
/// chantal.
#[test]
fn a_manifest_of_version_1_is_not_replaced_without_a_change() {
    let chantal = of_version_3_at_its_end();
    let server = Server::start_dir(&fixture("upstream/apt"));
    chantal.hide_server(&server);
    let path = chantal.config().join("repos.d/served.yaml");
    let yaml = fs::read_to_string(&path).unwrap();
    let yaml = yaml.replace("http://127.0.0.1:8765/apt", &server.url());
    fs::write(&path, yaml).unwrap();
    let key = fs::read_to_string(fixture("upstream/key.asc")).unwrap();
    chantal.write("config/repos.d/key.asc", &key);
    let manifest = || {
        let show = ["--format", "json", "repo", "show", "--repo-id", "served"];
        let shown = chantal.run(&show).succeeds().json();
        shown["state"]["manifest"].as_str().unwrap().to_owned()
    };
    let before = manifest();
    let sync = ["repo", "sync", "--repo-id", "served", "--refresh"];
    let synced = chantal.run(&sync).exits(0);
    assert!(synced.stdout.contains("served: unchanged"), "{synced:?}");
    assert_eq!(manifest(), before);
    assert_eq!(version(&store(&chantal)), 6);
}

/// Everything that is listed, shown and counted.
fn everything(chantal: &Chantal) -> String {
    let mut said = String::new();
    for args in [
        &LIST[..],
        &["repo", "show", "--repo-id", "tiny-apt"],
        &["repo", "show", "--repo-id", "signed"],
        &["repo", "history", "--repo-id", "tiny-rpm"],
        &["snapshot", "list"],
        &["snapshot", "show", "--name", "tiny-apt/tested"],
    ] {
        // Not as text: that says how long ago things were.
        let args = [&["--format", "json"], args].concat();
        said += &chantal.run(&args).succeeds().stdout;
    }
    let mut stats = chantal.run(&["--format", "json", "db", "stats"]).json();
    // Not of the files: what the pool holds is no matter of the store.
    for key in ["store", "pool", "unneeded", "unknown"] {
        let stats = stats.as_object_mut().unwrap();
        stats.remove(&format!("{key}_bytes"));
        stats.remove(&format!("{key}_objects"));
    }
    said + &stats.to_string()
}

#[test]
fn migrating_keeps_everything() {
    for (from, made) in last_ones() {
        let chantal = made();
        let before = everything(&chantal);
        assert!(before.contains("tested"), "{before}");
        assert_eq!(version(&store(&chantal)), from, "reading changes nothing");
        let bytes = fs::read(store(&chantal)).unwrap();

        chantal.run(&MIGRATE).succeeds().says(&format!(
            "migrated database [dir]/data/chantal.redb from schema version {from} to 6\n\
             backup: [dir]/data/chantal.redb.schema-{from}.bak\n"
        ));
        assert_eq!(everything(&chantal), before);
        let backup = format!("chantal.redb.schema-{from}.bak");
        assert_eq!(beside(&chantal), ["chantal.redb", &backup]);
        let backup = chantal.data().join(backup);
        assert!(fs::read(&backup).unwrap() == bytes);
        assert_eq!(version(&store(&chantal)), 6);

        let current = "database [dir]/data/chantal.redb already has the current schema version 6\n";
        chantal.run(&MIGRATE).succeeds().says(current);
        let json = [&["--format", "json"], &MIGRATE[..]].concat();
        assert_eq!(
            chantal.run(&json).succeeds().json(),
            serde_json::json!({
                "store": "[dir]/data/chantal.redb",
                "from": 6, "to": 6, "backup": null,
            })
        );
        is_used_like_any_other(&chantal, from);
        // The pool is its own: not another one's, and not another one of a second migration.
        let marker = fs::read_to_string(chantal.data().join("pool/CHANTAL-POOL")).unwrap();
        let lines: Vec<&str> = marker.lines().collect();
        assert_eq!(lines[2], format!("store {}", lines[1]));

        // Back to the older one: the copy takes the store's place.
        fs::copy(&backup, store(&chantal)).unwrap();
        assert_eq!(everything(&chantal), before);
    }
}

/// What a run would do to an earlier store is told without migrating it.
#[test]
fn dry_runs_leave_an_earlier_store_as_it_is() {
    for (from, made) in last_ones() {
        let chantal = made();
        let bytes = fs::read(store(&chantal)).unwrap();
        let cleanup = ["db", "cleanup", "--dry-run"];
        let forecast = chantal.run(&cleanup).succeeds().stdout;
        let sync = ["repo", "sync", "--repo-id", "tiny-apt", "--dry-run"];
        // Its upstream is not there: that it is asked is all that counts.
        chantal.run(&sync).exits(3);
        assert!(fs::read(store(&chantal)).unwrap() == bytes, "{from}");
        assert_eq!(beside(&chantal), ["chantal.redb"]);

        let done = chantal.run(&["db", "cleanup"]).exits(0).stdout;
        let removed = done.lines().next().unwrap();
        let would_be = forecast.lines().next().unwrap();
        assert_eq!(
            would_be,
            removed.replacen("removed", "would remove", 1),
            "{from}"
        );
    }
}

fn is_used_like_any_other(chantal: &Chantal, from: u32) {
    let snapshot = ["publish", "--snapshot-name", "tiny-apt/tested", "--to"];
    chantal
        .run(&[&snapshot[..], &["prod"]].concat())
        .succeeds()
        .says("tiny-apt/tested: published at [dir]/prod (9 files)\n");
    // The stores since version 4 have another filter.
    let served = if from < 4 { 9 } else { 8 };
    for (repository, since, files) in [("signed", 1, 6), ("chosen", 2, 6), ("served", 3, served)] {
        if from < since {
            continue;
        }
        chantal
            .run(&["publish", "--repo-id", repository])
            .exits(0)
            .mentions(&format!(
                "{repository}: published at [dir]/www/{repository} ({files} files)\n"
            ));
    }
    let create = ["snapshot", "create", "--all", "--name", "next"];
    chantal.run(&create).exits(0);
    chantal.run(&["db", "cleanup"]).succeeds();
}

/// What is damaged is not sealed as if it were good.
#[test]
fn damage_is_not_migrated() {
    const REPOSITORIES: TableDefinition<&str, &[u8]> = TableDefinition::new("repository_to_record");
    const SNAPSHOTS: TableDefinition<(&str, &str), &[u8]> =
        TableDefinition::new("snapshot_to_record");
    const SYNCS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("sync_to_record");
    const CHUNKS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("chunk_to_entries");
    type Damage = fn(&WriteTransaction);
    let damages: [(&str, Damage); 5] = [
        ("chunk_to_entries, key ", |transaction| {
            let mut rows = transaction.open_table(CHUNKS).unwrap();
            let (key, mut value) = {
                let (key, value) = rows.first().unwrap().unwrap();
                (*key.value(), value.value().to_vec())
            };
            value[20] ^= 1;
            rows.insert(&key, &*value).unwrap();
        }),
        ("snapshot_to_record, key ", |transaction| {
            let mut rows = transaction.open_table(SNAPSHOTS).unwrap();
            rows.insert(("chosen", "tested"), &b"{"[..]).unwrap();
        }),
        // Keys that cannot be names.
        (
            "repository_to_record, key ch/sen: invalid key: repository \"ch/sen\" contains '/'",
            |transaction| {
                let mut rows = transaction.open_table(REPOSITORIES).unwrap();
                let value = rows.remove("chosen").unwrap().unwrap().value().to_vec();
                rows.insert("ch/sen", &*value).unwrap();
            },
        ),
        (
            "snapshot_to_record, key chosen/.ested: invalid key: snapshot \".ested\" starts with `.`",
            |transaction| {
                let mut rows = transaction.open_table(SNAPSHOTS).unwrap();
                let key = ("chosen", "tested");
                let value = rows.remove(key).unwrap().unwrap().value().to_vec();
                rows.insert(("chosen", ".ested"), &*value).unwrap();
            },
        ),
        (
            "sync_to_record, key -hosen/1: invalid key: repository \"-hosen\" starts with `-`",
            |transaction| {
                let mut rows = transaction.open_table(SYNCS).unwrap();
                let key = ("chosen", 1);
                let value = rows.remove(key).unwrap().unwrap().value().to_vec();
                rows.insert(("-hosen", 1), &*value).unwrap();
            },
        ),
    ];
    for (place, damage) in damages {
        let chantal = of_version_2_at_its_end();
        let database = Database::open(store(&chantal)).unwrap();
        let transaction = database.begin_write().unwrap();
        damage(&transaction);
        transaction.commit().unwrap();
        drop(database);
        let error = format!("error: database [dir]/data/chantal.redb is damaged: table {place}");
        for args in [&MIGRATE[..], &["publish", "--all"]] {
            let output = chantal.run(args).exits(5).says("");
            assert!(output.stderr.starts_with(&error), "{output:?}");
        }
        assert_eq!(version(&store(&chantal)), 2);
        assert_eq!(beside(&chantal), ["chantal.redb"]);
        assert!(!chantal.dir().join("www").exists());
    }
}

#[test]
fn nothing_to_migrate() {
    let chantal = Chantal::new();
    chantal.run(&MIGRATE).says("").fails_with(
        5,
        "error: no storage in [dir]/data\n\
         hint: is the file system mounted? `chantal init` creates a new storage\n",
    );
    assert!(!chantal.data().exists());
    chantal.run(&["init"]).exits(0);
    assert_eq!(version(&store(&chantal)), 6);
    chantal
        .run(&MIGRATE)
        .succeeds()
        .says("database [dir]/data/chantal.redb already has the current schema version 6\n");
    assert_eq!(beside(&chantal), ["chantal.redb"]);
}

/// What is missing of the storage is noticed before anything is changed.
#[test]
fn a_store_without_its_pool_is_not_migrated() {
    let chantal = of_version_1();
    let pool = chantal.data().join("pool");
    fs::rename(&pool, chantal.dir().join("away")).unwrap();
    chantal.run(&MIGRATE).exits(5);
    assert_eq!(beside(&chantal), ["chantal.redb"]);
    assert_eq!(version(&store(&chantal)), 1);
}

/// A run was killed after the copy, or while it was made.
#[test]
fn a_copy_that_is_there_is_used_again() {
    let chantal = of_version_1();
    fs::copy(store(&chantal), chantal.data().join(BOTH[1])).unwrap();
    chantal.run(&MIGRATE).succeeds();
    assert_eq!(beside(&chantal), BOTH);

    let chantal = of_version_1();
    let bytes = fs::read(store(&chantal)).unwrap();
    let unfinished = chantal.data().join("chantal.redb.schema-1.bak.new");
    fs::write(&unfinished, &bytes[..1000]).unwrap();
    chantal.run(&MIGRATE).succeeds();
    assert_eq!(beside(&chantal), BOTH);
    assert_eq!(fs::read(chantal.data().join(BOTH[1])).unwrap(), bytes);
}

/// Somebody went back to the older chantal for a while.
#[test]
fn an_earlier_copy_is_never_overwritten() {
    let chantal = of_version_1();
    let bytes = fs::read(store(&chantal)).unwrap();
    let first = chantal.write("data/chantal.redb.schema-1.bak", "of last year");
    for _ in 0..2 {
        fs::write(store(&chantal), &bytes).unwrap();
        chantal.run(&MIGRATE).succeeds().says(
            "migrated database [dir]/data/chantal.redb from schema version 1 to 6\n\
             backup: [dir]/data/chantal.redb.schema-1.2.bak\n",
        );
    }
    assert_eq!(fs::read_to_string(&first).unwrap(), "of last year");
    let second = chantal.data().join("chantal.redb.schema-1.2.bak");
    assert_eq!(fs::read(second).unwrap(), bytes);
    assert_eq!(beside(&chantal).len(), 3);
}

/// Whatever fails, and however often: the store stays what it was, and its copies do not fill the
/// disk.
#[test]
fn a_migration_that_fails() {
    const WRONG: TableDefinition<u64, u64> = TableDefinition::new("snapshot_to_record");
    let chantal = of_version_1();
    let database = Database::open(store(&chantal)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(WRONG).unwrap();
    transaction.commit().unwrap();
    drop(database);
    for _ in 0..5 {
        chantal.run(&MIGRATE).exits(5).says("");
        assert_eq!(version(&store(&chantal)), 1);
    }
    assert_eq!(beside(&chantal), ["chantal.redb"]);
    chantal.run(&LIST).succeeds();
    // A copy that was there before is nobody's to take away.
    let copy = chantal.data().join(BOTH[1]);
    fs::copy(store(&chantal), &copy).unwrap();
    chantal.run(&MIGRATE).exits(5).says("");
    assert_eq!(beside(&chantal), BOTH);
}

#[test]
fn no_room_for_a_copy() {
    let chantal = of_version_1();
    let place = chantal.dir().join("small");
    let Some(_mount) = Mount::new(&place, "256k") else {
        println!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    fs::copy(store(&chantal), place.join("chantal.redb")).unwrap();
    chantal
        .global("storage:\n  base_path: ../../data\ndatabase:\n  path: ../../small/chantal.redb\n");
    let ballast = place.join("ballast");
    fs::write(&ballast, vec![0; 100 * 1024]).unwrap();
    for args in [&MIGRATE[..], &["publish", "--all"]] {
        chantal.run(args).exits(1).says("").mentions(
            "error: not enough disk space to back up database [dir]/small/chantal.redb before the migration: 94208 bytes needed, ",
        );
    }
    chantal.run(&LIST).succeeds();
    assert!(!place.join("chantal.redb.schema-1.bak").exists());
    fs::remove_file(&ballast).unwrap();
    chantal.run(&MIGRATE).succeeds();
}

/// At moments that nobody chose: the store has one version or the other, and the next run goes on.
#[test]
fn killed_while_it_migrates() {
    let mut seed: u64 = 0x5eed;
    let expected = last_ones().map(|(_, made)| everything(&made()));
    let mut kills = 0;
    for round in 0..12 {
        let of_it = round % expected.len();
        let (from, made) = last_ones()[of_it];
        let expected = &expected[of_it];
        let chantal = made();
        let bytes = fs::read(store(&chantal)).unwrap();
        for _ in 0..4 {
            // Knuth's multiplier; the high bits are random enough.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let delay = Duration::from_micros((seed >> 33) % 20_000);
            let mut child = chantal.command(&MIGRATE).spawn().unwrap();
            thread::sleep(delay);
            child.kill().unwrap();
            kills += usize::from(child.wait().unwrap().code().is_none());
            assert_eq!(&everything(&chantal), expected, "round {round}");
        }
        chantal.run(&MIGRATE).succeeds();
        assert_eq!(&everything(&chantal), expected, "round {round}");
        assert_eq!(version(&store(&chantal)), 6);
        let backup = chantal
            .data()
            .join(format!("chantal.redb.schema-{from}.bak"));
        assert!(!backup.with_extension("bak.new").exists());
        // The first copy was made before anything was opened for writing.
        assert_eq!(fs::read(backup).unwrap(), bytes);
    }
    assert!(kills > 0, "no kill came in time");
}
