//! Responses of servers: statuses, redirects, ranges, validators. A server in this process sends
//! the input verbatim.
//!
//! The first byte of an input selects the request: a small file, the same with validators, the rest
//! of a download.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::Verdict;
use crate::config;
use crate::digest::ObjectId;
use crate::interrupt::Interrupt;
use crate::lock::{Locks, Mode, Requester, Wait};
use crate::names::RepoId;
use crate::pool::{Begin, Pool};
use crate::progress::Progress;
use crate::rel_path::RelPath;
use crate::upstream::{Expected, Small, Upstream, Validators};

/// The file to download, and the part that an earlier attempt received.
const FILE: &[u8] = b"the content of a package\n";
const BROUGHT: usize = 5;
const POOL_ID: &str = "pool";

/// The response to every request.
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A repository on the server, with the directory of its pool.
static REPOSITORY: LazyLock<(config::Config, tempfile::TempDir)> = LazyLock::new(|| {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::Builder::new()
        .name("server".to_owned())
        .spawn(move || listener.incoming().flatten().for_each(serve))
        .expect("a thread is started");
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (file, text) in [
        (
            "conf.d/a.yaml",
            "download: {retries: 0, timeout: 5}\n".to_owned(),
        ),
        (
            "repos.d/a.yaml",
            format!(
                "name: a\ntype: rpm\nrpm: {{gpgcheck: false, repo_gpgcheck: false}}\n\
                 upstream: {{url: 'http://127.0.0.1:{port}/'}}\n"
            ),
        ),
    ] {
        let path = directory.path().join(file);
        fs_err::create_dir_all(path.parent().expect("it lies in a folder")).expect("it is made");
        fs_err::write(path, text).expect("a file is written");
    }
    let config = config::load(directory.path())
        .expect("good settings")
        .config;
    Pool::create(&directory.path().join("pool"), POOL_ID).expect("a new pool");
    (config, directory)
});

/// Clients may close the connection.
fn serve(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        request.push(byte[0]);
    }
    let answer = ANSWER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let _ = stream.write_all(&answer);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

pub fn answer(input: &[u8]) -> Verdict {
    // One request at a time, because there is only one response. The replay may run in parallel.
    static RUNNING: Mutex<()> = Mutex::new(());
    let _running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((kind, answer)) = input.split_first() else {
        return Verdict::Refused;
    };
    if leaves_server(answer) {
        return Verdict::Refused;
    }
    let (config, directory) = &*REPOSITORY;
    // A new client: otherwise the result depends on whether the last one noticed that its
    // connections were closed.
    let upstream = &Upstream::open(config, &config.repositories[0], None, &Interrupt::default())
        .expect("no credentials are needed");
    answer.clone_into(&mut ANSWER.lock().unwrap_or_else(PoisonError::into_inner));
    let path = RelPath::parse("repodata/a+b.rpm").expect("a plain path");
    let validators = Validators {
        etag: Some("\"1\"".to_owned()),
        last_modified: Some("Mon, 01 Jan 2024 00:00:00 GMT".to_owned()),
    };
    match kind {
        b'0' => small(upstream, &path, None),
        b'1' => small(upstream, &path, Some(&validators)),
        _ => download(upstream, &path, &directory.path().join("pool")),
    }
}

fn small(upstream: &Upstream, path: &RelPath, known: Option<&Validators>) -> Verdict {
    match upstream.small(path, known) {
        Ok(Small::Body { validators, .. }) => {
            // Validators are sent in later requests.
            for value in [validators.etag, validators.last_modified].iter().flatten() {
                assert!(!value.contains(['\r', '\n', '\0']), "{value:?}");
            }
            Verdict::Accepted
        }
        Ok(Small::NotModified) => {
            assert!(known.is_some(), "nothing was known");
            Verdict::Accepted
        }
        Ok(Small::Missing) => Verdict::Accepted,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Verdict::Refused
        }
    }
}

fn download(upstream: &Upstream, path: &RelPath, pool: &Path) -> Verdict {
    let object = ObjectId::of(FILE);
    // A new pool, because a pool remembers its downloads.
    let pool = Pool::open(pool, POOL_ID).expect("it was made before");
    let requester = Requester {
        command: "fuzz",
        wait: Wait::No,
        interrupt: Interrupt::default(),
    };
    let locks = Locks::acquire(pool.root(), Mode::Shared, &requester).expect("it is shared");
    let repository = RepoId::parse("a").expect("it is a good name");
    let begun = pool.begin(&locks, object.digest(), &repository, &Interrupt::default());
    let Begin::Download(mut incoming) = begun.expect("a partial file") else {
        panic!("not downloaded yet");
    };
    incoming.restart().expect("the file is emptied");
    incoming
        .write(&FILE[..BROUGHT])
        .expect("the file is written");
    let expected = Expected {
        digest: object.digest(),
        size: Some(FILE.len() as u64),
    };
    let active = Progress::Lines.downloads("a", 1, 1).file("a", None);
    match upstream.download(path, expected, incoming, &active) {
        Ok(stored) => {
            assert_eq!((stored.object, stored.size), (object, FILE.len() as u64));
            fs_err::remove_file(pool.object_path(object)).expect("it was stored");
            Verdict::Accepted
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Verdict::Refused
        }
    }
}

/// Fuzzing only sends requests to the server above: a redirect that may lead to another host is
/// skipped.
fn leaves_server(answer: &[u8]) -> bool {
    let lower = answer.to_ascii_lowercase();
    let names_target = |line: &&[u8]| line.windows(8).any(|word| word == b"location");
    lower
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(names_target)
        .any(|line| {
            let value = line
                .splitn(2, |byte| *byte == b':')
                .nth(1)
                .unwrap_or_default();
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" /._-?=%".contains(byte);
            !value.iter().all(is_plain) || value.windows(2).any(|pair| pair == b"//")
        })
}
