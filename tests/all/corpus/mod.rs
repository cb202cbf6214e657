//! The corpus: upstreams with one thing right or wrong, what chantal must say of each, and what the
//! clients say of the same bytes.
//!
//! Every case starts from a good sync, unless it says otherwise. A refused one leaves that state
//! and its published tree as they were, and what it left of its files does not harm the next good
//! sync; one that is accepted is published as it came. gpgv judges the root's signature, rpmkeys
//! that in a package, apt and dnf whether they get the package `hello` out of it.
//!
//! Each case is a test of its own: `cargo test corpus::signatures::sha_1`.

/// Makes a test of each case.
macro_rules! cases {
    ($($name:ident = $case:expr),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                $case.check();
            }
        )+
    };
}

/// Makes a test of each path that no upstream may write, by a function that makes a case of a
/// [`BadPath`].
macro_rules! path_cases {
    ($module:ident = $case:ident) => {
        mod $module {
            use super::$case as case;

            cases!(
                two_levels_up = case((
                    "../../etc/passwd",
                    "path \"../../etc/passwd\" is outside of the repository",
                    Some("etc/passwd"),
                )),
                one_level_up = case((
                    "a/../../passwd",
                    "path \"a/../../passwd\" is outside of the repository",
                    Some("passwd"),
                )),
                an_absolute_path_that_goes_up = case((
                    "/../etc/passwd",
                    "path \"../etc/passwd\" is outside of the repository",
                    Some("etc/passwd"),
                )),
                backslashes = case((
                    "a\\..\\b",
                    "path \"a\\\\..\\\\b\" contains a control character or a backslash",
                    Some("a\\..\\b"),
                )),
                the_parent = case(("..", "path \"..\" is outside of the repository", None)),
                a_path_that_folds_to_nothing = case(("a/..", "the path is empty", None)),
                a_dot = case((".", "the path is empty", None)),
                an_ftp_url = case(("ftp://evil/x", "path \"ftp://evil/x\" is a URL", None,)),
                an_http_url = case((
                    "http://127.0.0.1:1/x",
                    "path \"http://127.0.0.1:1/x\" is a URL",
                    None,
                )),
            );
        }
    };
}

mod apt;
mod rpm;
mod scene;
mod signatures;
mod signers;

use scene::{Base, Scene};

use crate::bad_input::CHECK_KEY;
use crate::kit::upstream::Codec;

// What several refusals end with, beside those that bad_input has.
const CAN_BE_FORGED: &str = "hint: such signatures can be forged; `allow_weak_signatures: true` accepts them anyway; the state of the last successful sync is unchanged\n";
const NEEDS_SETTING: &str = "hint: if the upstream does not sign its metadata, set `gpgcheck: false` (apt) or `repo_gpgcheck: false` (rpm); the state of the last successful sync is unchanged\n";
const REPORT: &str = "hint: the repository cannot be mirrored safely: report this to the upstream; the state of the last successful sync is unchanged\n";
const CONTRADICTION: &str = "hint: the indexes of the upstream contradict each other: report this to the upstream; the state of the last successful sync is unchanged\n";

const FUTURE: &str = "hint: check the clock of this machine; if the clock of the upstream is wrong, `check_date: false` accepts its dates; \
                      the state of the last successful sync is unchanged\n";
const LAGS: &str = "hint: one of its servers may not be up to date yet; try again later; the state of the last successful sync is unchanged\n";
const WENT_BACK: &str = "hint: this may be an outdated mirror or a replay attack; if the upstream really went back to an older state, `--allow-rollback` accepts it once; the state of the last successful sync is unchanged\n";
const BAD: &str = "bad signature: the file or the signature was modified";
const UNKNOWN: &str = "the key is not among the trusted keys";
const DECLARED: &str = "sha256 [digest] ([n] bytes)";
const NOT_THERE: &str = "hint: the upstream may be in the middle of an update; try again later; the state of the last successful sync is unchanged\n";

/// A path as an upstream may write it, why it is refused, and where clients look for it.
type BadPath = (&'static str, &'static str, Option<&'static str>);
/// One that the clients of every index would ask for. Release may list what is not mirrored.
const HIDDEN: BadPath = (
    ".htaccess",
    "path \".htaccess\" contains a hidden file name (beginning with a dot)",
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
        "has a good signature by a trusted key, but also signatures that clients reject";
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
    is_about: About,
    base: fn() -> &'static Base,
    change: Box<dyn Fn(&mut Scene)>,
    expected: Expected,
    /// gpgv, or rpmkeys for the signature in a package.
    verifier: Client,
    /// apt or dnf.
    client: Client,
}

impl Case {
    /// About the signature of the root.
    fn signature(
        base: fn() -> &'static Base,
        change: impl Fn(&mut Scene) + 'static,
        expected: Expected,
        [verifier, client]: [Client; 2],
    ) -> Self {
        Self {
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
        base: fn() -> &'static Base,
        change: impl Fn(&mut Scene) + 'static,
        expected: Expected,
        client: Client,
    ) -> Self {
        let verifier = match expected {
            Expected::Refused { .. } => Client::Differs("the signature is good"),
            Expected::Accepted | Expected::Warned(_) => Client::Agrees,
        };
        Self {
            is_about: About::Content,
            ..Self::signature(base, change, expected, [verifier, client])
        }
    }

    /// Other bytes of the gzip variant of the index at this path, and so declared.
    fn packed(
        base: fn() -> &'static Base,
        index: &'static str,
        edit: fn(&[u8]) -> Vec<u8>,
        expected: Expected,
        client: Client,
    ) -> Self {
        let change = move |scene: &mut Scene| {
            let path = format!("{index}.gz");
            let open = scene.opened(&path);
            let bytes = edit(scene.tree.bytes(&path));
            scene.pack(&path, &bytes, &open);
        };
        Self::content(base, change, expected, client)
    }

    /// Fails with everything that is wrong.
    #[track_caller]
    fn check(&self) {
        let mut scene = Scene::new((self.base)());
        (self.change)(&mut scene);
        let trial = scene.trial();
        let mut wrong = Vec::new();
        wrong.extend(trial.judge(&self.expected).err());
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
            match judge(&scene, &trial) {
                // It is not installed.
                None => {}
                Some((accepts, _)) if accepts == wanted => {}
                Some((_, said)) => wrong.push(format!("{program} is not {expected:?}: {said}")),
            }
        }
        if !accepted && self.is_about == About::Content {
            wrong.extend(trial.recovers().err());
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// A message without what another run, or another package, has otherwise: digests, sizes and times.
fn normal(text: &str) -> String {
    let mut normal = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = run_of(rest, |c| c.is_ascii_digit());
        let hex = run_of(rest, |c| matches!(c, '0'..='9' | 'a'..='f'));
        let behind = &rest[digits..];
        let size = size_in_units(rest);
        let (length, shown) = if size > 0 {
            (size, "[size]")
        } else if [32, 40, 64, 96, 128].contains(&hex) {
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

/// The length of a size in units at the start of the text, as `16.00 EiB`.
fn size_in_units(text: &str) -> usize {
    let number = run_of(text, |c| c.is_ascii_digit() || c == '.');
    let unit = text[number..].strip_prefix(' ').unwrap_or_default();
    let unit = &unit[..run_of(unit, |c| c.is_ascii_alphanumeric())];
    if number > 0 && (unit == "B" || unit.len() == 3 && unit.ends_with("iB")) {
        number + 1 + unit.len()
    } else {
        0
    }
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
