//! The corpus: upstreams with one thing right or wrong, what chantal must say of each, and what the clients say of the same bytes.
//!
//! Every case starts from a good sync, unless it says otherwise. A refused one leaves that state and its published tree as
//! they were, and what it left of its files does not harm the next good sync; one that is accepted is published as it came.
//! gpgv judges the root's signature, rpmkeys that in a package, apt and dnf whether they get the package `hello` out of it.
//! `CORPUS=words cargo test corpus` runs the cases whose names have these words.
#![allow(
    clippy::too_many_lines,
    reason = "a table is as long as its cases are many"
)]

mod apt;
mod rpm;
mod scene;
mod signers;

use std::any::Any;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use scene::{Base, Scene};

use crate::bad_input::CHECK_KEY;
use crate::kit::upstream::Codec;

// What several refusals end with, beside those that bad_input has.
const CAN_BE_FORGED: &str = "hint: such a signature can be forged; `allow_weak_signatures: true` accepts it all the same; the last good state is untouched\n";
const NEEDS_SETTING: &str = "hint: an upstream without signatures needs `gpgcheck: false` (apt) or `repo_gpgcheck: false` (rpm); the last good state \
         is untouched\n";
const REPORT: &str = "hint: nothing of it can be mirrored safely: report it to the upstream; the last good state is untouched\n";
const CONTRADICTION: &str = "hint: the upstream's indexes contradict each other: report it there; the last good state is untouched\n";

const FUTURE: &str = "hint: check this machine's clock; if the upstream's is wrong, `check_date: false` lets it pass; \
                      the last good state is untouched\n";
const LAGS: &str = "hint: one of its servers may not be up to date yet: try again later; the last good state is untouched\n";
const WENT_BACK: &str = "hint: somebody may be serving an old state; if the upstream really went back, `--allow-rollback` follows \
                         it once; the last good state is untouched\n";
const BAD: &str = "the signature is bad: these bytes, or the signature, were changed";
const UNKNOWN: &str = "the key is not among the trusted keys";
const DECLARED: &str = "sha256 [digest] ([n] bytes)";
const NOT_THERE: &str =
    "hint: the upstream may be mid-update; try again later; the last good state is untouched\n";

/// A path as an upstream may write it, why it is refused, and where clients look for it.
const PATHS: [(&str, &str, Option<&str>); 9] = [
    (
        "../../etc/passwd",
        "path \"../../etc/passwd\" leaves the repository",
        Some("etc/passwd"),
    ),
    (
        "a/../../passwd",
        "path \"a/../../passwd\" leaves the repository",
        Some("passwd"),
    ),
    (
        "/../etc/passwd",
        "path \"../etc/passwd\" leaves the repository",
        Some("etc/passwd"),
    ),
    (
        "a\\..\\b",
        "path \"a\\\\..\\\\b\" contains a control character or a backslash",
        Some("a\\..\\b"),
    ),
    ("..", "path \"..\" leaves the repository", None),
    ("a/..", "the path is empty", None),
    (".", "the path is empty", None),
    (
        "ftp://evil/x",
        "path \"ftp://evil/x\" is a URL of its own",
        None,
    ),
    (
        "http://127.0.0.1:1/x",
        "path \"http://127.0.0.1:1/x\" is a URL of its own",
        None,
    ),
];
/// The same of a path that the clients of every index would ask for. Release may list what is not mirrored.
const HIDDEN: (&str, &str, Option<&str>) = (
    ".htaccess",
    "path \".htaccess\" has a name that begins with a dot: it would be hidden, or configure a web server",
    Some(".htaccess"),
);
const ANY_PATH: Client = Client::Differs("clients ask the server for any path");
const NO_PLACE: Client = Client::CannotJudge("no server of the test has a file there");

/// What chantal says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Accepted,
    /// Accepted with this on stderr.
    Warned(String),
    Refused {
        exit: i32,
        /// All of stderr behind the repository's name: see [`normal`].
        stderr: String,
    },
}

fn refused(exit: i32, message: impl AsRef<str>, hint: &str) -> Expected {
    let stderr = format!("error: r: {}\n{hint}", message.as_ref());
    Expected::Refused { exit, stderr }
}

/// No signature of that file counts, and these are the reasons.
fn not_trusted(file: &str, reasons: &[(&str, &str)]) -> Expected {
    no_good_signature(file, reasons, CHECK_KEY)
}

/// The same where the configuration could let it pass.
fn weak(file: &str, reasons: &[(&str, &str)]) -> Expected {
    no_good_signature(file, reasons, CAN_BE_FORGED)
}

/// A root with a good signature beside one that no client takes.
fn marred(file: &str, reasons: &[(&str, &str)]) -> Expected {
    const MARRED: &str =
        "has a good signature by a trusted key, but not all are, and clients refuse it";
    signatures(file, MARRED, reasons, CHECK_KEY)
}

fn no_good_signature(file: &str, reasons: &[(&str, &str)], hint: &str) -> Expected {
    signatures(
        file,
        "has no good signature by a trusted key",
        reasons,
        hint,
    )
}

fn signatures(file: &str, what: &str, reasons: &[(&str, &str)], hint: &str) -> Expected {
    let mut message = format!("[server]/{file} {what}");
    for (key, why) in reasons {
        message += &format!("\n  by {key}: {why}");
    }
    refused(4, message, hint)
}

fn warned(warning: &str) -> Expected {
    Expected::Warned(format!("warning: r: {warning}\n"))
}

/// What a client makes of the same bytes, compared with chantal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Agrees,
    /// It accepts what chantal refuses, or the other way round, for this reason.
    Differs(&'static str),
    /// It is not asked, for this reason.
    CannotJudge(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// What is refused for it is refused before anything else is asked for.
    Signature,
    /// Files may be there already, or half of them.
    Content,
}

/// A row of a table.
struct Case {
    name: String,
    is_about: About,
    base: fn() -> &'static Base,
    change: Box<dyn Fn(&mut Scene) + Send + Sync>,
    expected: Expected,
    /// gpgv, or rpmkeys for the signature in a package.
    verifier: Client,
    /// apt or dnf.
    client: Client,
}

impl Case {
    /// About the signature of the root.
    fn signature(
        name: &str,
        base: fn() -> &'static Base,
        change: impl Fn(&mut Scene) + Send + Sync + 'static,
        expected: Expected,
        [verifier, client]: [Client; 2],
    ) -> Self {
        Self {
            name: name.to_owned(),
            is_about: About::Signature,
            base,
            change: Box::new(change),
            expected,
            verifier,
            client,
        }
    }

    /// About what a good signature vouches for.
    fn content(
        name: &str,
        base: fn() -> &'static Base,
        change: impl Fn(&mut Scene) + Send + Sync + 'static,
        expected: Expected,
        client: Client,
    ) -> Self {
        let verifier = match expected {
            Expected::Refused { .. } => Client::Differs("the signature is good"),
            Expected::Accepted | Expected::Warned(_) => Client::Agrees,
        };
        Self {
            is_about: About::Content,
            ..Self::signature(name, base, change, expected, [verifier, client])
        }
    }

    fn check(&self) -> Result<(), String> {
        let mut scene = Scene::new((self.base)());
        (self.change)(&mut scene);
        let mirror = scene.mirror();
        let mut wrong = Vec::new();
        wrong.extend(mirror.judge(&self.expected).err());
        let accepted = !matches!(self.expected, Expected::Refused { .. });
        for (program, expected, judge) in [
            (
                "gpgv or rpmkeys",
                self.verifier,
                Scene::verifier_accepts as fn(_, _) -> _,
            ),
            ("the client", self.client, Scene::client_accepts),
        ] {
            let wanted = match expected {
                Client::Agrees => accepted,
                Client::Differs(_) => !accepted,
                Client::CannotJudge(_) => continue,
            };
            match judge(&scene, &mirror) {
                // It is not installed.
                None => {}
                Some((accepts, _)) if accepts == wanted => {}
                Some((_, said)) => wrong.push(format!("{program} is not {expected:?}: {said}")),
            }
        }
        if !accepted && self.is_about == About::Content {
            wrong.extend(mirror.recovers().err());
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
    }
}

/// Ten megabytes that begin like an index, in ten kilobytes.
fn bomb(start: &[u8]) -> Vec<u8> {
    let mut open = start.to_vec();
    open.resize(10 << 20, b'a');
    Codec::Gz.compress(&open)
}

/// As many bytes, and one of them another.
fn altered(bytes: &[u8]) -> Vec<u8> {
    let mut altered = bytes.to_vec();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    altered
}

/// Checks every case and reports all that fail.
fn run(cases: &[Case]) {
    let only = std::env::var("CORPUS").unwrap_or_default();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let worker = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !case.name.contains(&only) {
                continue;
            }
            let result = catch_unwind(AssertUnwindSafe(|| case.check()));
            if let Err(why) = result.unwrap_or_else(|panic| Err(message(&*panic))) {
                let name = &case.name;
                failures
                    .lock()
                    .unwrap()
                    .push(format!("=== {name}\n{why}\n"));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, NonZero::get) {
            scope.spawn(worker);
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} cases\n{}",
        failures.len(),
        cases.len(),
        failures.concat()
    );
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let literal = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or(literal).unwrap_or_else(|| "it panics".to_owned())
}

/// A message without what another run, or another package, has otherwise: digests, sizes and times.
fn normal(text: &str) -> String {
    let mut normal = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = run_of(rest, |c| c.is_ascii_digit());
        let hex = run_of(rest, |c| matches!(c, '0'..='9' | 'a'..='f'));
        let behind = &rest[digits..];
        let (length, shown) = if [32, 40, 64, 96, 128].contains(&hex) {
            (hex, "[digest]")
        } else if digits == 4 && is_time(rest) {
            (TIME.len(), "[time]")
        } else if digits >= 10 || digits > 0 && behind.starts_with(" bytes") {
            (digits, "[n]")
        } else if digits > 0 {
            (digits, &rest[..digits])
        } else {
            let word = run_of(rest, |c| c.is_ascii_alphanumeric()).max(first.len_utf8());
            (word, &rest[..word])
        };
        normal.push_str(shown);
        rest = &rest[length..];
    }
    normal
}

const TIME: &str = "0000-00-00 00:00:00 UTC";

fn is_time(text: &str) -> bool {
    text.len() >= TIME.len()
        && text
            .bytes()
            .zip(TIME.bytes())
            .all(|(byte, pattern)| match pattern {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
}

fn run_of(text: &str, is_in: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_in(c)).unwrap_or(text.len())
}

#[test]
fn messages_are_compared_without_what_changes() {
    assert_eq!(
        normal(&format!(
            "[a]: sha256 {} (12 bytes) of 2024-01-02 03:04:05 UTC, line 7 of 12bytes",
            "0a".repeat(32)
        )),
        "[a]: sha256 [digest] ([n] bytes) of [time], line 7 of 12bytes"
    );
}
