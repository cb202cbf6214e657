//! Two runs that want the same, or not.

use super::*;

fn requester(command: &'static str) -> Requester {
    Requester {
        command,
        // See `Requester::test`; many of these tests wait in vain.
        wait: Wait::UpTo(Duration::from_millis(300)),
        ..Requester::test()
    }
}

fn acquire(directory: &Path, mode: Mode, command: &'static str) -> Result<Locks, LockError> {
    Locks::acquire(directory, mode, &requester(command))
}

#[track_caller]
fn is_busy<T: std::fmt::Debug>(result: Result<T, LockError>, command: &str) {
    let error = result.unwrap_err();
    let LockError::Busy { holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(holder.as_ref().unwrap().command, command, "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()));
}

#[test]
fn the_second_one_learns_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (Mode::Exclusive, Mode::Exclusive),
        (Mode::Exclusive, Mode::Shared),
        (Mode::Shared, Mode::Exclusive),
    ];
    for (first, second) in cases {
        let holder = acquire(dir.path(), first, "repo sync").unwrap();
        is_busy(acquire(dir.path(), second, "publish"), "repo sync");
        drop(holder);
        acquire(dir.path(), second, "publish").unwrap();
    }
}

#[test]
fn those_that_share_a_storage_part_its_repositories_and_trees() {
    let dir = tempfile::tempdir().unwrap();
    let one = acquire(dir.path(), Mode::Shared, "repo sync").unwrap();
    let other = acquire(dir.path(), Mode::Shared, "publish").unwrap();
    let held = one.repository(&RepoId::test("a")).unwrap();
    is_busy(other.repository(&RepoId::test("a")), "repo sync");
    drop(other.repository(&RepoId::test("b")).unwrap());
    drop(held);
    drop(other.repository(&RepoId::test("a")).unwrap());

    let held = one.tree(Path::new("/srv/a")).unwrap();
    is_busy(other.tree(Path::new("/srv/a")), "repo sync");
    drop(other.tree(Path::new("/srv/b")).unwrap());
    // Whoever needs the storage alone learns of one of them.
    let alone = acquire(dir.path(), Mode::Exclusive, "db cleanup");
    let sharers = ["repo sync", "publish"];
    assert!(
        matches!(&alone, Err(LockError::Busy { holder: Some(holder), .. }) if sharers.contains(&holder.command.as_str())),
        "{alone:?}"
    );
    drop(held);
    drop((one, other));
    let alone = acquire(dir.path(), Mode::Exclusive, "db cleanup").unwrap();
    alone.remove_unused().unwrap();
    let left = std::fs::read_dir(dir.path().join(DIRECTORY)).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_run_that_waits_gets_the_lock_when_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let first = acquire(dir.path(), Mode::Exclusive, "db cleanup").unwrap();
    let patient = Requester {
        wait: Wait::Always,
        ..requester("repo sync")
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| Locks::acquire(dir.path(), Mode::Shared, &patient));
        drop(first);
        second.join().unwrap().unwrap().check().unwrap();
    });
    let _first = acquire(dir.path(), Mode::Exclusive, "db cleanup").unwrap();
    patient.interrupt.stop_part();
    let interrupted = Locks::acquire(dir.path(), Mode::Shared, &patient).unwrap_err();
    assert!(matches!(interrupted, LockError::Interrupted(_)));
}

/// Otherwise overlapping syncs would keep a cleanup waiting forever.
#[test]
fn runs_that_wait_are_served_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let patient = |command| requester(command).with_wait(Wait::Always);
    let wait_until = |is_so: &dyn Fn() -> bool| {
        while !is_so() {
            std::thread::sleep(PAUSE);
        }
    };
    let is_waiting = || {
        let turn = dir.path().join(DIRECTORY).join("turn.lock");
        matches!(LockFile::probe(&turn, Mode::Shared), Ok(Probe::Held(_)))
    };
    let first = acquire(dir.path(), Mode::Shared, "repo sync").unwrap();
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let run = |mode, command: &'static str| {
            let locks = Locks::acquire(dir.path(), mode, &patient(command)).unwrap();
            order.lock().unwrap().push(command);
            drop(locks);
        };
        scope.spawn(move || run(Mode::Exclusive, "db cleanup"));
        wait_until(&is_waiting);
        scope.spawn(move || run(Mode::Shared, "repo sync"));
        // A run without `--wait`, or whose time is over, does not need the turn.
        for wait in [Wait::No, Wait::UpTo(Duration::ZERO), Wait::UpTo(PAUSE)] {
            let publish = requester("publish").with_wait(wait);
            drop(Locks::acquire(dir.path(), Mode::Shared, &publish).unwrap());
        }
        // Long enough for the second sync to overtake the cleanup, if it could.
        std::thread::sleep(4 * LONG_PAUSE);
        assert_eq!(order.lock().unwrap().as_slice(), [""; 0]);
        drop(first);
    });
    assert_eq!(order.into_inner().unwrap(), ["db cleanup", "repo sync"]);
}

#[test]
fn a_lock_file_that_was_removed_or_replaced_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let lost = |locks: &Locks| matches!(locks.check(), Err(LockError::Lost { .. }));
    let locks = acquire(dir.path(), Mode::Exclusive, "repo sync").unwrap();
    locks.check().unwrap();
    std::fs::remove_file(dir.path().join(NAME)).unwrap();
    assert!(lost(&locks));
    let second = acquire(dir.path(), Mode::Exclusive, "db cleanup").unwrap();
    assert!(lost(&locks));
    second.check().unwrap();
    drop((locks, second));

    let locks = acquire(dir.path(), Mode::Shared, "repo sync").unwrap();
    for name in ["repository-a", "tree"] {
        let guard = if name == "tree" {
            locks.tree(Path::new("/srv")).unwrap()
        } else {
            locks.repository(&RepoId::test("a")).unwrap()
        };
        locks.check().unwrap();
        let files = std::fs::read_dir(dir.path().join(DIRECTORY)).unwrap();
        for file in files.map(|file| file.unwrap()) {
            if file.file_name().to_str().unwrap().starts_with(name) {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
        assert!(lost(&locks));
        drop(guard);
        locks.check().unwrap();
    }
    let run = format!("run-{}-", std::process::id());
    for file in std::fs::read_dir(dir.path().join(DIRECTORY)).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_str().unwrap().starts_with(&run) {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    assert!(lost(&locks));
}

#[test]
fn what_a_dead_holder_wrote_is_not_taken_for_the_next_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    let dead = r#"{"pid":4194305,"command":"publish","since":0}"#;
    let _first = acquire(dir.path(), Mode::Exclusive, "repo sync").unwrap();
    std::fs::write(&path, dead).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(PAUSE);
            let living = serde_json::to_vec(&requester("repo sync").holder()).unwrap();
            std::fs::write(&path, living).unwrap();
        });
        is_busy(acquire(dir.path(), Mode::Exclusive, "publish"), "repo sync");
    });
}

#[test]
fn a_pipe_is_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    // Not `mkfifo` in a process of its own: until it is executed, a new process shares the locks of
    // other tests.
    let (path, mode) = (dir.path().join(NAME), rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = acquire(dir.path(), Mode::Exclusive, "publish").unwrap_err();
    assert!(matches!(error, LockError::NotAFile { .. }), "{error}");
}

#[test]
fn a_directory_is_no_lock_and_a_file_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(NAME)).unwrap();
    let error = acquire(dir.path(), Mode::Exclusive, "publish").unwrap_err();
    assert!(matches!(error, LockError::NotAFile { .. }), "{error}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(DIRECTORY), "").unwrap();
    let error = acquire(dir.path(), Mode::Shared, "publish").unwrap_err();
    assert!(matches!(error, LockError::NotADirectory { .. }), "{error}");
}

/// Its path would never name the file that is locked.
#[test]
fn a_link_is_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    std::fs::write(&elsewhere, "").unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.path().join(NAME)).unwrap();
    for mode in [Mode::Exclusive, Mode::Shared] {
        let error = acquire(dir.path(), mode, "publish").unwrap_err();
        assert!(matches!(error, LockError::NotAFile { .. }), "{error}");
    }
}
