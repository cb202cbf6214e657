//! The storage itself: damaged, another one's, from the future. What earlier ones wrote is in
//! `old_stores`.

mod absent;
pub mod damage;
mod damaged_objects;
mod lock;
mod odd_files;
mod ownership;
mod side_by_side;
mod threads;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use redb::{Database, ReadableTable as _, TableDefinition};

use crate::kit::chantal::Chantal;
use crate::kit::mirror::{Mirror, PUBLISH, SYNC};
use crate::kit::mount::Mount;
use crate::kit::tree::inodes;
use crate::kit::upstream::{Checksum, Package, Upstream};

const LIST: [&str; 2] = ["repo", "list"];
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// A repository `r`, synced once.
fn synced() -> Mirror {
    let upstream = Upstream::rpm().package(Package::new("hello", "1.0-1"));
    let mirror = Mirror::of(upstream).synced();
    mirror.server.clear_log();
    mirror
}

/// Every command that needs the storage ends so; nobody was asked for anything, and the published
/// tree stays.
#[track_caller]
fn all_fail(mirror: &Mirror, commands: &[&[&str]], code: i32, stderr: &str) {
    let before = inodes(&mirror.published());
    for args in commands {
        mirror.run(args).fails_with(code, stderr).says("");
    }
    assert_eq!(inodes(&mirror.published()), before);
    assert!(mirror.server.requests().is_empty());
}

#[track_caller]
fn works(mirror: &Mirror) {
    mirror.sync().succeeds();
    mirror.run(&PUBLISH).succeeds();
    mirror.is_published();
}

#[test]
fn a_pool_that_is_not_there() {
    let mirror = synced();
    let pool = mirror.chantal.data().join("pool");
    let aside = mirror.chantal.dir().join("unmounted");
    fs::rename(&pool, &aside).unwrap();
    let stderr = "error: pool [dir]/data/pool does not exist: is the file system mounted?\n\
                  hint: mount the file system of storage.pool_path, or correct the path\n";
    all_fail(&mirror, &[&SYNC, &PUBLISH, &["init"]], 5, stderr);
    // An empty mount point is no pool either.
    fs::create_dir(&pool).unwrap();
    all_fail(&mirror, &[&SYNC, &PUBLISH, &["init"]], 5, stderr);
    assert_eq!(fs::read_dir(&pool).unwrap().count(), 0);
    fs::remove_dir(&pool).unwrap();
    fs::rename(&aside, &pool).unwrap();
    works(&mirror);
}

#[test]
fn a_pool_of_another_store() {
    let mirror = synced();
    let other = synced();
    let path = |mirror: &Mirror| mirror.chantal.data().join("pool");
    let marker = |mirror: &Mirror| fs::read_to_string(path(mirror).join("CHANTAL-POOL")).unwrap();
    let id = |mirror: &Mirror| marker(mirror).lines().nth(1).unwrap().to_owned();
    let lines = marker(&other);
    let owner = lines.lines().nth(2).unwrap();
    let owner = owner.strip_prefix("store ").unwrap();
    let (own, foreign) = (id(&mirror), id(&other));
    assert_ne!(own, foreign);
    let aside = mirror.chantal.dir().join("aside");
    fs::rename(path(&mirror), &aside).unwrap();
    fs::rename(path(&other), path(&mirror)).unwrap();
    let stderr = format!(
        "error: pool [dir]/data/pool belongs to another database: expected ID {own}, got {foreign}\n\
         hint: if no other database uses this pool, take it over with `chantal pool take-over --from {owner}`\n"
    );
    all_fail(&mirror, &[&SYNC, &PUBLISH, &["init"]], 5, &stderr);
    fs::remove_dir_all(path(&mirror)).unwrap();
    fs::rename(&aside, path(&mirror)).unwrap();
    works(&mirror);
}

#[test]
fn a_pool_with_another_layout() {
    let mirror = synced();
    let marker = mirror.chantal.data().join("pool/CHANTAL-POOL");
    let good = fs::read_to_string(&marker).unwrap();
    let put = |text: &str| {
        fs::remove_file(&marker).unwrap();
        fs::write(&marker, text).unwrap();
    };
    put(&good.replace("layout 1", "layout 2"));
    let stderr = "error: [dir]/data/pool has an unsupported pool layout: expected \"chantal pool, layout 1\", \
                  got \"chantal pool, layout 2\"\n";
    all_fail(&mirror, &[&SYNC, &PUBLISH], 5, stderr);
    put(&good);
    works(&mirror);
}

#[test]
fn a_store_that_is_gone() {
    let mirror = synced();
    let store = mirror.chantal.data().join("chantal.redb");
    let aside = mirror.chantal.dir().join("backup.redb");
    fs::rename(&store, &aside).unwrap();
    all_fail(
        &mirror,
        &[&SYNC, &PUBLISH, &LIST],
        5,
        "error: pool [dir]/data/pool contains objects, but its database [dir]/data/chantal.redb does not exist\n\
         hint: is its file system mounted? if the database is lost, restore it from a backup; `chantal init` creates an empty database for this pool, without any states or snapshots\n",
    );
    fs::rename(&aside, &store).unwrap();
    works(&mirror);
}

#[test]
fn a_store_that_is_damaged() {
    let mirror = synced();
    let store = mirror.chantal.data().join("chantal.redb");
    let good = fs::read(&store).unwrap();
    let mut spoiled = good.clone();
    let (start, end) = (4096, spoiled.len());
    spoiled[start..end].fill(0xa5);
    for (bytes, what) in [
        (b"hello, I am a text file".repeat(1000), "not a redb file"),
        (Vec::new(), "not a redb file"),
        (good[..good.len() / 2].to_vec(), "the file is truncated"),
        // redb panics over this one.
        (spoiled, "inconsistent pages"),
    ] {
        fs::write(&store, bytes).unwrap();
        for args in [&SYNC[..], &PUBLISH, &LIST] {
            let output = mirror.chantal.run(args).exits(5).says("");
            let error = format!(
                "error: database [dir]/data/chantal.redb is damaged: {what}\nhint: restore it from a backup\n"
            );
            assert_eq!(output.stderr, error);
        }
        assert!(mirror.server.requests().is_empty());
    }
    fs::write(&store, good).unwrap();
    works(&mirror);
}

/// As a chantal with that version would have written it.
fn set_version(store: &Path, version: u32) {
    let database = Database::open(store).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut meta = transaction.open_table(META).unwrap();
    let bytes = version.to_le_bytes();
    meta.insert("schema", bytes.as_slice()).unwrap();
    if version < 3 {
        meta.remove("schema-check").unwrap();
        // Rows had no checks then.
        let pool = meta.get("pool").unwrap().unwrap().value()[8..].to_vec();
        meta.insert("pool", pool.as_slice()).unwrap();
    } else {
        // The names of table and key with their lengths, and the value.
        let length = |text: &str| (text.len() as u64).to_le_bytes();
        let checked = [
            &length("meta")[..],
            b"meta",
            &length("schema"),
            b"schema",
            &bytes,
        ];
        let hex = Checksum::Sha256.hex(&checked.concat());
        let check = (0..8).map(|at| u8::from_str_radix(&hex[at * 2..][..2], 16).unwrap());
        let row: Vec<u8> = check.chain(bytes).collect();
        meta.insert("schema-check", row.as_slice()).unwrap();
    }
    drop(meta);
    transaction.commit().unwrap();
}

#[test]
fn a_store_of_a_newer_chantal() {
    let mirror = synced();
    let store = mirror.chantal.data().join("chantal.redb");
    set_version(&store, 1000);
    all_fail(
        &mirror,
        &[&SYNC, &PUBLISH, &LIST, &["init"]],
        5,
        "error: database [dir]/data/chantal.redb has schema version 1000, but this version of chantal \
         supports only versions up to 6\nhint: use the version of chantal that wrote it, or a later one\n",
    );
    set_version(&store, 6);
    works(&mirror);
}

/// There never was one. It stands for a version that later ones do not read any more without
/// migrating it.
#[test]
fn a_store_that_is_too_old_to_be_read() {
    let mirror = synced();
    let store = mirror.chantal.data().join("chantal.redb");
    let good = fs::read(&store).unwrap();
    set_version(&store, 0);
    all_fail(
        &mirror,
        &[&LIST, &["snapshot", "list"], &["db", "stats"]],
        5,
        "error: database [dir]/data/chantal.redb has schema version 0 and must be migrated to version 6 first\n\
         hint: run `chantal db migrate`\n",
    );
    all_fail(
        &mirror,
        &[&["db", "migrate"], &SYNC],
        5,
        "error: database [dir]/data/chantal.redb is damaged: unknown schema version 0\n\
         hint: restore it from a backup\n",
    );
    fs::write(&store, good).unwrap();
    works(&mirror);
}

#[test]
fn a_pool_path_that_holds_something_else() {
    let chantal = Chantal::new();
    chantal.global("storage:\n  base_path: ../../data\n  pool_path: ../../photos\n");
    chantal.write("photos/1.jpg", "family");
    chantal.run(&["init"]).says("").fails_with(
        2,
        "error: [dir]/photos is not empty, and not a pool\n\
         \x20 created before the error, and kept: [dir]/.data.chantal-new\n\
         hint: set storage.pool_path to an empty or new directory\n",
    );
    assert_eq!(
        fs::read_dir(chantal.dir().join("photos")).unwrap().count(),
        1
    );
}

/// What vanished from the pool is fetched again; what is damaged there is noticed by its size.
#[test]
fn objects_that_are_gone_or_cut_short() {
    let mirror = synced();
    let package = mirror.built.path_of("hello");
    let object = || {
        let hex = Checksum::Sha256.hex(mirror.built.tree.bytes(&package));
        mirror
            .chantal
            .data()
            .join(format!("pool/sha256/{}/{hex}", &hex[..2]))
    };
    let hex = object().file_name().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(object()).unwrap();
    mirror.chantal.run(&PUBLISH).says("").fails_with(
        5,
        &format!(
            "error: r: object {hex} of {package} is missing from the pool or damaged\n\
             hint: `chantal db check --repair` finds all damaged files, and gets them again where it can\n"
        ),
    );
    mirror
        .chantal
        .published_tree("r")
        .assert_same(&mirror.built.mirrored());
    let refresh = ["repo", "sync", "--repo-id", "r", "--refresh"];
    let missing = format!("warning: object {hex} is missing or damaged: getting it again\n");
    let damaged = format!(
        "warning: [dir]/data/pool/sha256/{}/{hex} is damaged (its sha256 is {}): getting it again\n",
        &hex[..2],
        Checksum::Sha256.hex(b"short"),
    );
    for (damage, warnings) in [(None, missing.clone()), (Some("short"), missing + &damaged)] {
        if object().exists() {
            fs::remove_file(object()).unwrap();
        }
        if let Some(bytes) = damage {
            fs::write(object(), bytes).unwrap();
        }
        let output = mirror.chantal.run(&refresh).exits(0);
        output.says_on_stderr(&warnings);
        assert_eq!(
            fs::read(object()).unwrap(),
            mirror.built.tree.bytes(&package)
        );
        works(&mirror);
    }
}

/// The damaged file and the published one are one: what is fetched again must be published again
/// too.
#[test]
fn a_refresh_mends_the_published_tree() {
    let mirror = synced();
    let published = mirror
        .chantal
        .published("r")
        .join(mirror.built.path_of("hello"));
    fs::set_permissions(&published, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&published, "short").unwrap();
    mirror.chantal.run(&PUBLISH).exits(5).mentions("or damaged");
    let refresh = ["repo", "sync", "--repo-id", "r", "--refresh"];
    mirror.chantal.run(&refresh).exits(0);
    mirror
        .chantal
        .published_tree("r")
        .assert_same(&mirror.built.mirrored());
}

/// A file system that is full is no damage: with room again everything goes on.
#[test]
fn a_full_file_system_is_no_damage() {
    let mirror = synced();
    let place = mirror.chantal.dir().join("small");
    let Some(mount) = Mount::new(&place, "8m") else {
        println!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    mirror
        .chantal
        .global("storage:\n  base_path: ../../small/data\ndownload:\n  retries: 0\n");
    mirror.chantal.run(&["init"]).exits(0);
    fs::remove_dir_all(mirror.chantal.published("r")).unwrap();
    mirror.chantal.run(&SYNC).exits(0);
    let ballast = place.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    drop(file);
    let refresh = ["repo", "sync", "--repo-id", "r", "--refresh"];
    mirror
        .chantal
        .run(&refresh)
        .exits(1)
        .mentions("free up disk space; existing data is unchanged\n");
    fs::remove_file(&ballast).unwrap();
    mirror.chantal.run(&LIST).exits(0);
    mirror.chantal.run(&refresh).exits(0);
    drop(mount);
}
