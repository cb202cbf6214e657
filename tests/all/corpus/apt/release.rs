//! What Release says, under a good signature.

use super::{INDEX, LAST, PACKAGES, RELEASE, plain};
use crate::bad_input::forge::lines;
use crate::bad_input::{BROKEN, MID_UPDATE};
use crate::corpus::Client::{self, Agrees, CannotJudge, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::scene::date;
use crate::corpus::signers::{DAY, now};
use crate::corpus::{
    Case, DECLARED, FUTURE, LAGS, NOT_THERE, PATHS, REPORT, WENT_BACK, refused, run,
};

fn edited(
    name: &str,
    edit: impl Fn(&str) -> String + Send + Sync + 'static,
    expected: Expected,
    client: Client,
) -> Case {
    Case::content(
        name,
        plain,
        move |scene| scene.root(&edit),
        expected,
        client,
    )
}

fn malformed(why: &str) -> Expected {
    refused(4, format!("{RELEASE}: {why}"), BROKEN)
}

fn warned(why: &str) -> Expected {
    Expected::Warned(format!("warning: r: {RELEASE}: {why}\n"))
}

fn undated() -> Expected {
    refused(
        4,
        "the root says no date that can be read, and the last dated one that was synced is of [time]",
        UNDATED,
    )
}

fn dated(release: &str, second: i64) -> String {
    lines(release, |line| {
        if line.starts_with("Date:") {
            format!("Date: {}", date(second))
        } else {
            line.to_owned()
        }
    })
}

fn valid_until(release: &str, second: i64) -> String {
    release.replace("Date:", &format!("Valid-Until: {}\nDate:", date(second)))
}

/// Packages is not what Release declares.
fn other_index(got: &str) -> Expected {
    let what = format!("index {INDEX}: [server]/{PACKAGES} is not what was declared");
    refused(
        4,
        format!("{what}: expected {DECLARED}, got {got}"),
        MID_UPDATE,
    )
}

const EXPIRED: &str = "hint: somebody may be serving an old state; for an archive that no longer moves say \
                       `check_valid_until: false`; the last good state is untouched\n";
const UNDATED: &str = "hint: somebody may be serving an old state; if the upstream no longer writes dates that can be read, \
                       `check_date: false` takes its roots without them; the last good state is untouched\n";
const NEVER_SEEN: Client = CannotJudge("it has seen no newer one");

fn freshness() -> Vec<Case> {
    let now = i64::from(now());
    let day = i64::from(DAY);
    let off = |name, setting: &'static str, edit: fn(&str, i64) -> String, at| {
        Case::content(
            name,
            plain,
            move |scene| {
                scene.root(|text| edit(text, at));
                scene.says_above(setting);
            },
            Accepted,
            Differs("apt is not told so"),
        )
    };
    vec![
        edited(
            "Valid-Until is over",
            move |text| valid_until(text, now - 60),
            refused(4, "the root expired on [time] (Valid-Until)", EXPIRED),
            Agrees,
        ),
        off(
            "Valid-Until is over, and need not be checked",
            "check_valid_until: false\n",
            valid_until,
            now - 60,
        ),
        edited(
            "Valid-Until is to come",
            move |text| valid_until(text, now + day),
            Accepted,
            Agrees,
        ),
        edited(
            "Valid-Until is no date",
            |text| text.replace("Date:", "Valid-Until: soon\nDate:"),
            refused(
                4,
                "the root's Valid-Until is \"soon\", which is not a date",
                "hint: apt refuses it too: report it to the upstream; `check_valid_until: false` lets it pass; \
                 the last good state is untouched\n",
            ),
            Agrees,
        ),
        edited(
            "Date is to come",
            move |text| dated(text, now + day),
            refused(
                4,
                "the root is from the future: it is of [time], and now is [time]",
                FUTURE,
            ),
            Agrees,
        ),
        off(
            "Date is to come, and need not be checked",
            "check_date: false\n",
            dated,
            now + day,
        ),
        edited(
            "Date is no date",
            |text| {
                lines(text, |line| {
                    if line.starts_with("Date:") {
                        "Date: yesterday".to_owned()
                    } else {
                        line.to_owned()
                    }
                })
            },
            undated(),
            NEVER_SEEN,
        ),
        edited(
            "no Date",
            |text| {
                lines(text, |line| {
                    if line.starts_with("Date:") {
                        "Version: 1".to_owned()
                    } else {
                        line.to_owned()
                    }
                })
            },
            undated(),
            NEVER_SEEN,
        ),
        Case::content(
            "no Date, which need not be checked",
            plain,
            |scene| {
                scene.root(|text| text.replace("Date:", "X-Date:"));
                scene.says_above("check_date: false\n");
            },
            warned("it has no Date: syncs cannot tell an older one from a newer one"),
            Agrees,
        ),
        edited(
            "a Date in ISO 8601",
            move |text| {
                let time = jiff::Timestamp::from_second(now - day).unwrap();
                lines(text, |line| {
                    if line.starts_with("Date:") {
                        format!("Date: {time}")
                    } else {
                        line.to_owned()
                    }
                })
            },
            Accepted,
            Agrees,
        ),
        edited(
            "of an hour before the last one",
            move |text| dated(text, now - 30 * day - 3600),
            refused(
                3,
                "the upstream lags behind: its root is of [time], the last one that was synced of [time]",
                LAGS,
            ),
            NEVER_SEEN,
        ),
        edited(
            "of three days before the last one",
            move |text| dated(text, now - 33 * day),
            refused(
                4,
                "the upstream went back: its root is of [time], the last one that was synced of [time]",
                WENT_BACK,
            ),
            NEVER_SEEN,
        ),
        Case::content(
            "of the same time as the last one",
            plain,
            |scene| {
                let before = scene.before.as_ref().unwrap().text(RELEASE).to_owned();
                let old = before
                    .lines()
                    .find(|line| line.starts_with("Date:"))
                    .unwrap();
                scene.root(|text| {
                    lines(text, |line| {
                        if line.starts_with("Date:") {
                            old.to_owned()
                        } else {
                            line.to_owned()
                        }
                    })
                });
            },
            Accepted,
            NEVER_SEEN,
        ),
    ]
}

fn lists() -> Vec<Case> {
    let list = |change: fn(&str, &str, &str) -> String| {
        move |text: &str| {
            lines(text, |line| {
                match line.strip_suffix(" main/binary-amd64/Packages") {
                    Some(start) => {
                        let (digest, size) = start.trim().split_once(' ').unwrap();
                        change(digest, size.trim(), "main/binary-amd64/Packages")
                    }
                    None => line.to_owned(),
                }
            })
        }
    };
    let no_digest = || {
        refused(
            4,
            format!(
                "{RELEASE}: its list of files has no digest that can be trusted (sha256, sha384 or sha512; rpm also sha1)"
            ),
            REPORT,
        )
    };
    let not_listed = || malformed("it lists no Packages for this selection");
    let mut cases = vec![
        edited(
            "MD5 alone",
            |text| text.replace("SHA256:", "MD5Sum:"),
            no_digest(),
            Agrees,
        ),
        edited(
            "SHA-1 alone",
            |text| text.replace("SHA256:", "SHA1:"),
            no_digest(),
            Agrees,
        ),
        edited(
            "no list at all",
            |text| text[..text.find("SHA256:").unwrap()].to_owned(),
            no_digest(),
            Agrees,
        ),
        edited(
            "an empty list",
            |text| text[..text.find("SHA256:").unwrap() + 8].to_owned(),
            not_listed(),
            Agrees,
        ),
        edited(
            "two lists",
            |text| format!("{text}SHA256:\n"),
            malformed("line 11: a stanza has the field SHA256 twice"),
            Agrees,
        ),
        edited(
            "two stanzas",
            |text| text.replace("SHA256:", "\nSHA256:"),
            no_digest(),
            Agrees,
        ),
        edited(
            "two stanzas, the second one without meaning",
            |text| format!("{text}\nOrigin: Kit\n"),
            malformed("it has more than one stanza"),
            Differs("apt reads the first one"),
        ),
        edited(
            "two Components, the same",
            |text| text.replace("Components: main\n", "Components: main\nComponents: main\n"),
            Accepted,
            Agrees,
        ),
        edited(
            "two Dates",
            |text| text.replace("Date:", "Date: Thu, 01 Jan 2026 00:00:00 UTC\nDate:"),
            malformed("line 7: a stanza has the field Date twice"),
            Differs(LAST),
        ),
        edited(
            "a list in a folded field",
            |text| text.replace("Label: Kit\n", "Label: Kit\n SHA256:\n  00 0 x\n"),
            Accepted,
            Agrees,
        ),
        edited(
            "a digest that is too short",
            list(|digest, size, name| format!(" {} {size} {name}", &digest[2..])),
            malformed("SHA256: a sha256 digest has 64 hexadecimal digits, got 62"),
            Agrees,
        ),
        edited(
            "a digest that is no number",
            list(|_, size, name| format!(" {} {size} {name}", "xy".repeat(32))),
            malformed(&format!(
                "SHA256: \"{}\" is not a hexadecimal number",
                "xy".repeat(32)
            )),
            Agrees,
        ),
        edited(
            "another digest",
            list(|_, size, name| format!(" {} {size} {name}", "0".repeat(64))),
            other_index(DECLARED),
            Agrees,
        ),
        edited(
            "a negative size",
            list(|digest, size, name| format!(" {digest} -{size} {name}")),
            malformed("SHA256: \"main/binary-amd64/Packages\" has the size \"-491\""),
            Agrees,
        ),
        edited(
            "a size beyond all numbers",
            list(|digest, _, name| format!(" {digest} 18446744073709551616 {name}")),
            malformed("SHA256: \"main/binary-amd64/Packages\" has the size \"[n]\""),
            Agrees,
        ),
        edited(
            "the largest size",
            list(|digest, _, name| format!(" {digest} 18446744073709551615 {name}")),
            other_index("[n] bytes"),
            Agrees,
        ),
        edited(
            "the largest size, of every index",
            |text| {
                lines(text, |line| match line.rsplit_once(" main/") {
                    Some((start, name)) => {
                        let digest = start.split_whitespace().next().unwrap();
                        format!(" {digest} 18446744073709551615 main/{name}")
                    }
                    None => line.to_owned(),
                })
            },
            other_index("[n] bytes"),
            Agrees,
        ),
        edited(
            "a larger size",
            list(|digest, size, name| format!(" {digest} 1{size} {name}")),
            other_index("[n] bytes"),
            Agrees,
        ),
        edited(
            "a smaller size",
            list(|digest, _, name| format!(" {digest} 7 {name}")),
            other_index("[n] bytes or more"),
            Agrees,
        ),
        edited(
            "a size that is a word",
            list(|digest, _, name| format!(" {digest} many {name}")),
            malformed("SHA256: \"main/binary-amd64/Packages\" has the size \"many\""),
            Agrees,
        ),
        edited(
            "a line without a name",
            list(|digest, size, _| format!(" {digest} {size}")),
            malformed("SHA256: a line has no name"),
            Agrees,
        ),
        edited(
            "a file twice",
            list(|digest, size, name| format!(" {digest} {size} {name}\n {digest} {size} {name}")),
            Accepted,
            Agrees,
        ),
        edited(
            "a file with two contents",
            list(|digest, size, name| {
                format!(" {digest} {size} {name}\n {} {size} {name}", "0".repeat(64))
            }),
            warned(
                "main/binary-amd64/Packages: SHA256 has other content for it than a line before, which counts",
            ),
            Agrees,
        ),
        edited(
            "by-hash is promised and not there",
            |text| text.replace("SHA256:", "Acquire-By-Hash: yes\nSHA256:"),
            Accepted,
            Agrees,
        ),
        edited(
            "without the component",
            |text| text.replace("Components: main", "Components: other"),
            Accepted,
            Agrees,
        ),
        edited(
            "without the architecture",
            |text| text.replace("Architectures: amd64", "Architectures: i386"),
            Accepted,
            Agrees,
        ),
        edited(
            "a terminal's escape sequence",
            |text| text.replace("Label: Kit", "Label: \u{1b}]0;owned\u{7}"),
            Accepted,
            Agrees,
        ),
        edited(
            "a page for people",
            |_| "<html></html>\n".to_owned(),
            malformed("line 1: a line is neither a field nor folded"),
            Agrees,
        ),
        edited(
            "nothing at all",
            |_| "\n".to_owned(),
            malformed("it is empty"),
            Agrees,
        ),
        Case::content(
            "Packages is not there",
            plain,
            |scene| scene.tree.remove(PACKAGES),
            refused(
                4,
                format!(
                    "main/binary-amd64/Packages: the root lists it, but the upstream has none of its variants: [server]/{PACKAGES}"
                ),
                NOT_THERE,
            ),
            Agrees,
        ),
    ];
    // apt looks only at the names that it wants.
    for (path, _, _) in PATHS {
        cases.push(edited(
            &format!("a file at {path}"),
            move |text| text.replace("main/binary-amd64/Release", path),
            warned("SHA256 lists 1 files whose paths cannot be mirrored"),
            Agrees,
        ));
    }
    for (name, line) in [
        ("a line that is no field", "Origin: Kit\nby hand\n"),
        (
            "lines that are no fields, folded ones below",
            "Origin: Kit\nby hand\n and folded\n",
        ),
    ] {
        cases.push(edited(
            name,
            move |text| text.replace("Origin: Kit\n", line),
            warned("line 2 is neither a field nor folded: clients read over it and the field \"Label\" behind it"),
            Agrees,
        ));
    }
    cases.push(edited(
        "a folded line before everything",
        |text| format!(" folded\n{text}"),
        warned("line 1 is folded below no field: clients read over it"),
        Agrees,
    ));
    for list in ["SHA512", "MD5Sum"] {
        cases.push(edited(
            &format!("itself, half-written, in {list} too"),
            move |text| {
                let own = |size| {
                    format!(
                        " {} {size} Release\n",
                        "0".repeat(if list == "SHA512" { 128 } else { 32 })
                    )
                };
                let digest = "0".repeat(64);
                text.replace(
                    "SHA256:\n",
                    &format!("{list}:\n{}SHA256:\n {digest} 7 Release\n", own(3)),
                )
            },
            Accepted,
            Agrees,
        ));
    }
    cases
}

#[test]
fn how_old_a_release_is() {
    run(&freshness());
}

#[test]
fn what_a_release_lists() {
    run(&lists());
}
