//! Objects and downloads: stored whole under their names, resumed, and refused if they are wrong.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use fs_err as fs;

use crate::digest::{Algorithm, Digest, Hasher, ObjectId};
use crate::interrupt::Interrupt;
use crate::lock::{Locks, Mode, Requester};
use crate::names::RepoId;

use super::{Begin, Incoming, Pool, PoolError};

const ID: &str = "0123";

fn pool() -> (tempfile::TempDir, Pool) {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::create(&dir.path().join("pool"), ID).unwrap();
    (dir, pool)
}

fn locks() -> Locks {
    let dir = tempfile::tempdir().unwrap();
    Locks::acquire(dir.path(), Mode::Exclusive, &Requester::test()).unwrap()
}

fn incoming(pool: &Pool, expected: Digest) -> Box<Incoming<'_>> {
    match pool
        .begin(
            &locks(),
            expected,
            &RepoId::test("r"),
            &Interrupt::default(),
        )
        .unwrap()
    {
        Begin::Download(incoming) => incoming,
        Begin::Present(stored) => panic!("already there: {stored:?}"),
        Begin::Interrupted(_) => unreachable!("not interrupted"),
    }
}

#[test]
fn an_object_appears_whole_and_read_only() {
    let (_dir, pool) = pool();
    let stored = pool.add(&locks(), b"hello").unwrap();
    let path = pool.object_path(stored.object);
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    assert_eq!(pool.size_of(stored.object).unwrap(), Some(5));
    assert_eq!(
        fs::read_dir(pool.root().join("partial")).unwrap().count(),
        0
    );
}

#[test]
fn an_interrupted_download_goes_on() {
    let (_dir, pool) = pool();
    let expected = ObjectId::of(b"hello").digest();
    let mut first = incoming(&pool, expected);
    first.write(b"hel").unwrap();
    drop(first);

    let mut second = incoming(&pool, expected);
    assert_eq!(second.length(), 3);
    second.write(b"lo").unwrap();
    assert_eq!(second.commit().unwrap().unwrap().size, 5);
    assert!(matches!(
        pool.begin(
            &locks(),
            expected,
            &RepoId::test("r"),
            &Interrupt::default()
        )
        .unwrap(),
        Begin::Present(_)
    ));
}

#[test]
fn an_interruption_ends_the_wait_for_another_thread() {
    let (_dir, pool) = pool();
    let expected = ObjectId::of(b"hello").digest();
    let first = incoming(&pool, expected);
    let interrupt = Interrupt::default().part();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let begun = pool
                .begin(&locks(), expected, &RepoId::test("r"), &interrupt)
                .unwrap();
            matches!(begun, Begin::Interrupted(_))
        });
        std::thread::sleep(Duration::from_millis(20));
        interrupt.stop_part();
        assert!(waiting.join().unwrap());
    });
    drop(first);
}

#[test]
fn a_second_copy_does_not_replace_a_good_first_one() {
    let (_dir, pool) = pool();
    let stored = pool.add(&locks(), b"hello").unwrap();
    let path = pool.object_path(stored.object);
    let inode = || fs::metadata(&path).unwrap().ino();
    let first = inode();
    let again = |digest: Digest| {
        let pool = Pool::open(pool.root(), ID).unwrap();
        let mut file = incoming(&pool, digest);
        file.write(b"hello").unwrap();
        assert_eq!(file.commit().unwrap().unwrap(), stored);
    };
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(b"hello");
    let sha512 = hasher.finish().1;
    for digest in [stored.object.digest(), sha512] {
        again(digest);
        assert_eq!(inode(), first);
    }
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"hellO").unwrap();
    again(sha512);
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(
        fs::read_dir(pool.root().join("partial")).unwrap().count(),
        0
    );
}

#[test]
fn wrong_bytes_get_no_name() {
    let (_dir, pool) = pool();
    let expected = Digest::parse(Algorithm::Sha512, &"0".repeat(128)).unwrap();
    let mut file = incoming(&pool, expected);
    file.write(b"hello").unwrap();
    let mismatch = file.commit().unwrap().unwrap_err();
    assert_eq!(
        (mismatch.length, mismatch.got.algorithm()),
        (5, Algorithm::Sha512)
    );
    assert_eq!(
        fs::read_dir(pool.root().join("partial")).unwrap().count(),
        0
    );
    assert_eq!(fs::read_dir(pool.root().join("sha256")).unwrap().count(), 0);
}

#[test]
fn a_damaged_object_is_not_adopted() {
    let (_dir, pool) = pool();
    let stored = pool.add(&locks(), b"hello").unwrap();
    assert_eq!(pool.adopt(stored.object).unwrap(), Some(stored));
    let path = pool.object_path(stored.object);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"hellO").unwrap();
    assert_eq!(pool.adopt(stored.object).unwrap(), None);
    assert_eq!(pool.adopt(ObjectId::of(b"absent")).unwrap(), None);
}

#[test]
fn empty_directories_that_a_backup_dropped_come_back() {
    let (_dir, pool) = pool();
    fs::remove_dir(pool.root().join("partial")).unwrap();
    let pool = Pool::open(pool.root(), ID).unwrap();
    pool.add(&locks(), b"hello").unwrap();
}

#[test]
fn a_foreign_or_absent_pool_is_refused() {
    let (dir, pool) = pool();
    assert!(matches!(
        Pool::open(pool.root(), "other"),
        Err(PoolError::Foreign { .. })
    ));
    assert!(matches!(
        Pool::open(&dir.path().join("nowhere"), ID),
        Err(PoolError::Absent { .. })
    ));
    fs::write(dir.path().join("family-photo.jpg"), b"").unwrap();
    assert!(matches!(
        Pool::create(dir.path(), ID),
        Err(PoolError::Occupied { .. })
    ));
}

/// A process that has downloaded an object does not rely on that if it is damaged or lost by now.
#[test]
fn what_was_lost_after_its_download_is_downloaded_again() {
    let (_dir, pool) = pool();
    let download = || {
        let mut incoming = incoming(&pool, ObjectId::of(b"hello").digest());
        incoming.write(b"hello").unwrap();
        incoming.commit().unwrap().unwrap()
    };
    let stored = download();
    let path = pool.object_path(stored.object);
    fs::remove_file(&path).unwrap();
    download();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"hellO").unwrap();
    assert_eq!(pool.adopt(stored.object).unwrap(), None);
    download();
    assert!(pool.is_intact(stored.object).unwrap());
}
