//! Pipes, sockets and directories where files are expected: nothing waits for them, and what is
//! wrong is said.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::kit::keys::Key;
use crate::kit::mirror::{Mirror, SYNC};
use crate::kit::upstream::{Package, Upstream};

const CHECK: &[&str] = &["config", "check"];
const LIST: &[&str] = &["repo", "list"];
const CLEANUP: &[&str] = &["db", "cleanup"];

/// Everything that is no file and may have a file's name.
const KINDS: [&str; 3] = ["pipe", "socket", "directory"];

/// Puts it in the place of whatever is there.
fn put(kind: &str, path: &Path) -> Option<UnixListener> {
    let _ = fs::remove_file(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match kind {
        "pipe" => {
            let made = Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
            None
        }
        "socket" => Some(UnixListener::bind(path).unwrap()),
        _ => {
            fs::create_dir(path).unwrap();
            None
        }
    }
}

fn mirror_of() -> Mirror {
    let upstream = Upstream::deb().package(Package::new("hello", "1.0-1"));
    Mirror::of(upstream).with_storage()
}

/// Each command ends, so, and says what it is about.
#[track_caller]
fn all_say(mirror: &Mirror, commands: &[&[&str]], code: i32, path: &str, kind: &str) {
    for args in commands {
        let output = mirror.run(args).exits(code);
        let says = |text: &str| output.stderr.contains(text);
        let is_said = says("is not a regular file");
        assert!(
            says(path) && (is_said || kind == "directory" && says("Is a directory")),
            "{kind} at {path}, {args:?}: {output:?}"
        );
    }
}

#[test]
fn files_of_the_configuration() {
    for kind in KINDS {
        for file in ["conf.d/odd.yaml", "repos.d/odd.yaml"] {
            let mirror = mirror_of();
            let _kept = put(kind, &mirror.chantal.config().join(file));
            all_say(&mirror, &[LIST, CHECK, &SYNC, &["init"]], 2, file, kind);
        }
    }
}

#[test]
fn files_that_the_configuration_names() {
    for kind in KINDS {
        let mirror = mirror_of();
        let odd = mirror.chantal.config().join("odd");
        let _kept = put(kind, &odd);
        let plain = mirror.repository.clone();
        let with = |more: &str| plain.clone().more(more);
        mirror
            .chantal
            .repository(&plain.clone().format("gpgkey_file: ../odd"));
        all_say(&mirror, &[CHECK, &SYNC], 2, "config/odd", kind);
        for credentials in [
            "{type: basic, username: u, password_file: ../odd}",
            "{type: bearer, token_file: ../odd}",
        ] {
            mirror
                .chantal
                .repository(&with(&format!("credentials: {credentials}\n")));
            all_say(&mirror, &[&SYNC], 2, "config/odd", kind);
        }
        for (cert, key, ca) in [
            ("../odd", "../k", ""),
            ("../c", "../odd", ""),
            ("../c", "../k", ", ca_cert: ../odd"),
        ] {
            let (pem, secret) = certificate();
            mirror.chantal.write("config/c", &pem);
            mirror.chantal.write("config/k", &secret);
            let with = with(&format!(
                "credentials: {{type: client_cert, cert: {cert}, key: {key}{ca}}}\n"
            ));
            mirror.chantal.repository(&with.at("https://127.0.0.1:1"));
            all_say(&mirror, &[&SYNC], 2, "config/odd", kind);
        }
        mirror.chantal.repository(&plain);
        for global in [
            "tls: {ca_file: ../odd}",
            "signing: {key_file: ../odd}",
            "signing: {key_file: ../key.asc, passphrase_file: ../odd}",
        ] {
            mirror
                .chantal
                .write("config/key.asc", &Key::archive().public_armored());
            mirror.chantal.write("config/conf.d/odd.yaml", global);
            all_say(&mirror, &[CHECK], 2, "config/odd", kind);
        }
    }
}

fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn files_of_the_storage() {
    for kind in KINDS {
        for file in [
            "chantal.redb",
            "chantal.lock",
            "pool/CHANTAL-POOL",
            "chantal.unfinished",
        ] {
            let mirror = mirror_of();
            let _kept = put(kind, &mirror.chantal.data().join(file));
            for args in [&SYNC, CLEANUP, &["init"]] {
                let output = mirror.chantal.run(args);
                let code = output.status.code().unwrap();
                assert!(matches!(code, 1 | 5), "{kind}, {file}: {output:?}");
                assert!(output.stderr.contains(file), "{kind}, {file}: {output:?}");
            }
            assert!(mirror.server.requests().is_empty());
        }
    }
}

#[test]
fn objects_and_downloads_in_the_pool() {
    for kind in KINDS {
        let mirror = mirror_of();
        mirror.chantal.run(&SYNC).succeeds();
        let objects = mirror.chantal.data().join("pool/sha256");
        let mut kept = Vec::new();
        for directory in fs::read_dir(&objects).unwrap() {
            for object in fs::read_dir(directory.unwrap().path()).unwrap() {
                kept.push(put(kind, &object.unwrap().path()));
            }
        }
        // What is no file is not there, and has to make room for what is fetched again.
        let refresh = [&SYNC[..], &["--refresh"]].concat();
        let output = mirror.chantal.run(&refresh);
        assert!(
            matches!(output.status.code(), Some(0 | 1 | 5)),
            "{output:?}"
        );
        mirror.chantal.run(CLEANUP).exits(0);
    }
}

#[test]
fn the_log_file() {
    let mirror = mirror_of();
    mirror
        .chantal
        .write("config/conf.d/log.yaml", "logging: {file: ../../odd/log}");
    for kind in KINDS {
        let odd = mirror.chantal.dir().join("odd/log");
        let _kept = put(kind, &odd);
        let output = mirror.chantal.run(LIST).exits(1).says("");
        assert!(output.stderr.contains("[dir]/odd/log"), "{output:?}");
        fs::remove_file(&odd)
            .or_else(|_| fs::remove_dir(&odd))
            .unwrap();
    }
    std::os::unix::fs::symlink("/dev/null", mirror.chantal.dir().join("odd/log")).unwrap();
    mirror.chantal.run(LIST).succeeds();
}
