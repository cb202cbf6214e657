//! The store: what is written is read back, also by others, and damage is an error.

use super::super::records::{HistoryRecord, ObjectRecord, ValidatorRecord};
use super::*;
use crate::digest::{Algorithm, Digest, ObjectId};
use crate::exit::Exit;
use crate::lock::{Mode, Requester};
use crate::names::RepoId;

fn store() -> (tempfile::TempDir, Store, Locks) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("chantal.redb"), "pool-1").unwrap();
    let lock = Locks::acquire(dir.path(), Mode::Exclusive, &Requester::test()).unwrap();
    (dir, store, lock)
}

#[test]
fn what_is_written_is_read_back() {
    let (_dir, store, lock) = store();
    let object = ObjectId::of(b"x");
    let (here, there) = (RepoId::test("here"), RepoId::test("there"));
    let sha1 = Digest::parse(Algorithm::Sha1, &"1".repeat(40)).unwrap();
    let sha512 = Digest::parse(Algorithm::Sha512, &"5".repeat(128)).unwrap();
    store
        .write(&lock, |writer| {
            writer.put_object(
                object,
                ObjectRecord {
                    size: 1,
                    verified_at: 7,
                },
            )?;
            writer.put_alias(&sha1, &here, object)?;
            writer.put_alias(&sha512, &here, object)
        })
        .unwrap();
    store
        .read(|reader| {
            assert_eq!(reader.pool_id()?, "pool-1");
            assert_eq!(reader.object(object)?.unwrap().size, 1);
            assert_eq!(reader.object_with(&sha1, &here)?, Some(object));
            // SHA-1 can be forged: another repository's word for it does not count.
            assert_eq!(reader.object_with(&sha1, &there)?, None);
            assert_eq!(reader.object_with(&sha512, &there)?, Some(object));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_failed_transaction_changes_nothing() {
    let (_dir, store, lock) = store();
    let object = ObjectId::of(b"x");
    let record = ObjectRecord {
        size: 1,
        verified_at: 7,
    };
    store
        .write(&lock, |writer| {
            writer.put_object(object, record)?;
            Err::<(), _>(TransactionError::Damaged("on purpose".to_owned()))
        })
        .unwrap_err();
    let found = store.read(|reader| reader.object(object)).unwrap();
    assert_eq!(found, None);
}

#[test]
fn nothing_is_written_under_a_lock_that_is_not_held_any_more() {
    let object = ObjectId::of(b"x");
    let record = ObjectRecord {
        size: 1,
        verified_at: 7,
    };
    // Before the transaction, and while it is under way.
    for early in [true, false] {
        let (dir, store, lock) = store();
        let remove = || fs_err::remove_file(dir.path().join("chantal.lock")).unwrap();
        if early {
            remove();
        }
        let written = store.write(&lock, |writer| {
            writer.put_object(object, record)?;
            if !early {
                remove();
            }
            Ok(())
        });
        assert!(matches!(written, Err(StoreError::Lock(_))), "{written:?}");
        let found = store.read(|reader| reader.object(object)).unwrap();
        assert_eq!(found, None);
        let error = store.compact(&lock).unwrap_err();
        assert!(matches!(error, StoreError::Lock(_)), "{error}");
    }
}

#[test]
fn history_is_newest_first_and_bounded() {
    let (_dir, store, lock) = store();
    let (a, b) = (RepoId::test("a"), RepoId::test("b"));
    store
        .write(&lock, |writer| {
            for started in 0..tables::HISTORY_LIMIT + 5 {
                writer.add_history(
                    &a,
                    &HistoryRecord {
                        started: i64::try_from(started).unwrap(),
                        ..HistoryRecord::default()
                    },
                )?;
            }
            writer.add_history(&b, &HistoryRecord::default())
        })
        .unwrap();
    let history = store.read(|reader| reader.history(&a, usize::MAX)).unwrap();
    assert_eq!(history.len() as u64, tables::HISTORY_LIMIT);
    assert_eq!(history[0].started, 1004);
}

#[test]
fn a_removed_repository_takes_nothing_of_others_with_it() {
    let (_dir, store, lock) = store();
    let object = ObjectId::of(b"x");
    let digest = |digit: &str| Digest::parse(Algorithm::Sha1, &digit.repeat(40)).unwrap();
    let digests = [digest("0"), digest("f")];
    let names = ["a", "a.b", "ab", "A"].map(RepoId::test);
    let origin = ObjectId::of(b"http://h/");
    let validator = ValidatorRecord {
        etag: None,
        last_modified: None,
        stored_at: 1,
    };
    store
        .write(&lock, |writer| {
            for name in &names {
                for digest in &digests {
                    writer.put_alias(digest, name, object)?;
                }
                writer.add_history(name, &HistoryRecord::default())?;
                writer.add_history(name, &HistoryRecord::default())?;
                let validators = [("root".to_owned(), validator.clone())];
                writer.put_validators(name, origin, &validators.into())?;
            }
            writer.remove_repository(&names[0])
        })
        .unwrap();
    store
        .read(|reader| {
            for name in &names {
                let is_there = *name != names[0];
                for digest in &digests {
                    let found = reader.object_with(digest, name)?;
                    assert_eq!(found.is_some(), is_there, "{name}");
                }
                let syncs = reader.history(name, usize::MAX)?.len();
                assert_eq!(syncs, if is_there { 2 } else { 0 }, "{name}");
                let validator = reader.validator(name, origin, "root")?;
                assert_eq!(validator.is_some(), is_there, "{name}");
            }
            let known: Vec<RepoId> = reader.known_repositories()?.into_iter().collect();
            assert_eq!(known, ["A", "a.b", "ab"].map(RepoId::test));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_file_that_is_no_store_is_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chantal.redb");
    fs_err::write(&path, "hello, I am a text file".repeat(500)).unwrap();
    let error = Store::open(&path).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(matches!(
        Store::open(&dir.path().join("absent")),
        Err(StoreError::Absent { .. })
    ));
}

/// Damage is reported as damage also where the file looks as if its writer had been killed: that
/// waiting or a writable disk would help must not be said then.
#[test]
fn damage_beside_a_killed_writer_is_damage() {
    let (dir, store, lock) = store();
    let id = RepoId::test("r");
    let copy = dir.path().join("copy.redb");
    store
        .write(&lock, |writer| {
            writer.add_history(&id, &HistoryRecord::default())
        })
        .unwrap();
    // While a transaction is open the file is as a killed writer leaves it.
    store
        .write(&lock, |writer| {
            writer.add_history(&id, &HistoryRecord::default())?;
            std::fs::copy(&store.path, &copy).unwrap();
            Ok(())
        })
        .unwrap();
    let good = std::fs::read(&copy).unwrap();
    let header = 0..512;
    let live = (512..good.len()).filter(|place| good[*place] != 0);
    let mut damaged = 0;
    for place in header.chain(live.step_by(7)) {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        std::fs::write(&copy, &bad).unwrap();
        let read = Store::open(&copy).and_then(|store| store.read(|reader| reader.history(&id, 9)));
        if let Err(error) = read {
            assert_eq!(error.exit(), Exit::Damaged, "byte {place}: {error}");
            damaged += 1;
        }
    }
    assert!(damaged > 0);
}
