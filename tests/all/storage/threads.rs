//! Machines that give no more threads, or only a few: fewer do the work, or the run says why it
//! cannot.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::kit::chantal::Chantal;
use crate::kit::mirror::beside;
use crate::kit::process::{Output, run};
use crate::kit::upstream::{Package, Upstream};

/// A user that nothing else runs as: the limit counts all of a user's threads, and root has none.
const USER: u32 = 612_734;

/// The command as [`USER`], with so many threads.
fn limited(command: &Command, threads: u32) -> Command {
    let mut limited = Command::new("setpriv");
    limited
        .args(["--reuid", &USER.to_string(), "--regid", &USER.to_string()])
        .args(["--clear-groups", "--inh-caps=-all", "--bounding-set=-all"])
        .args(["prlimit", &format!("--nproc={threads}")])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    limited
}

fn give_away(path: &Path) {
    chown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}

#[test]
fn every_command_with_every_number_of_threads() {
    let program = Path::new(env!("CARGO_BIN_EXE_chantal"));
    let chantal = Chantal::with_storage();
    let mut servers = Vec::new();
    for (name, upstream) in ["r", "s"].into_iter().zip(Upstream::both()) {
        let upstream = upstream
            .package(Package::new("hello", "1.0-1"))
            .package(Package::new("other", "1.0-1"));
        let filters = "filters: {exclude: [other]}\n";
        let (_, server) = beside(&chantal, name, &upstream, |repository| {
            repository.more(filters)
        });
        servers.push(server);
    }
    // A copy that another user may run.
    let copy = chantal.dir().join("chantal");
    fs::copy(program, &copy).unwrap();
    let command = |args: &[&str]| {
        let mut command = Command::new(&copy);
        command
            .arg("--config-dir")
            .arg(chantal.config())
            .args(args)
            .current_dir(chantal.dir());
        command
    };
    give_away(chantal.dir());
    let probe = limited(&command(&["repo", "list"]), 100).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: no other user can be taken here");
        return;
    }
    let sync = ["repo", "sync", "--all", "--refresh", "--workers", "3"];
    let mut refused = 0;
    for threads in 1..=13 {
        let name = format!("n{threads}");
        for args in [
            &sync[..],
            &["snapshot", "create", "--all", "--name", &name],
            &[
                "snapshot",
                "merge",
                "--source",
                "r",
                "--source",
                "r",
                "--name",
                &format!("m{threads}"),
            ],
            &["snapshot", "diff", "--from", "r", "--to", "r"],
            &["db", "cleanup"],
        ] {
            let output = run(limited(&command(args), threads));
            let output = Output::new(&format!("{threads} threads: {args:?}"), &output);
            match output.status.code() {
                Some(0) => {}
                // What comes of nothing having been synced yet.
                Some(2) if output.stderr.contains("unknown snapshot or state r") => {}
                Some(1) => {
                    let known = [
                        "cannot start thread",
                        "cannot start a thread",
                        "has never been synced",
                    ];
                    assert!(
                        known.iter().any(|part| output.stderr.contains(part)),
                        "{output:?}"
                    );
                    refused += 1;
                }
                _ => panic!("{output:?}"),
            }
            assert!(!output.stderr.contains("panicked"), "{output:?}");
        }
    }
    assert!(refused > 0);
    let output = run(limited(&command(&sync), 60));
    assert!(output.status.success(), "{output:?}");
}
