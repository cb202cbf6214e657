//! What Release says, under a good signature.

use super::{INDEX, LAST, PACKAGES, RELEASE, plain};
use crate::bad_input::forge::lines;
use crate::bad_input::{BROKEN, MID_UPDATE};
use crate::corpus::Client::{self, Agrees, CannotJudge, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::scene::date;
use crate::corpus::signers::now;
use crate::corpus::{BadPath, Case, DECLARED, FUTURE, LAGS, NOT_THERE, REPORT, WENT_BACK, refused};

fn edited(edit: impl Fn(&str) -> String + 'static, expected: Expected, client: Client) -> Case {
    Case::content(plain, move |scene| scene.root(&edit), expected, client)
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
        "the metadata has no valid date, but the last synced one with a date is from [time]",
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
    let what = format!("index {INDEX}: [server]/{PACKAGES}: content does not match the metadata");
    refused(
        4,
        format!("{what}: expected {DECLARED}, got {got}"),
        MID_UPDATE,
    )
}

const EXPIRED: &str = "hint: this may be an outdated mirror or a replay attack; for an archive that is no longer updated, set `check_valid_until: false`; the state of the last successful sync is unchanged\n";
const UNDATED: &str = "hint: this may be an outdated mirror or a replay attack; if the upstream no longer provides valid dates, `check_date: false` accepts its metadata without them; the state of the last successful sync is unchanged\n";
const NEVER_SEEN: Client = CannotJudge("it has seen no newer one");

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// So many seconds from now.
fn after(seconds: i64) -> i64 {
    i64::from(now()) + seconds
}

/// Accepted with a setting, whatever apt says.
fn off(setting: &'static str, edit: fn(&str, i64) -> String, at: i64) -> Case {
    Case::content(
        plain,
        move |scene| {
            scene.root(|text| edit(text, at));
            scene.says_above(setting);
        },
        Accepted,
        Differs("apt is not told so"),
    )
}

cases!(
    valid_until_is_over = edited(
        move |text| valid_until(text, after(-60)),
        refused(4, "the metadata expired on [time] (Valid-Until)", EXPIRED),
        Agrees,
    ),
    valid_until_is_over_and_need_not_be_checked =
        off("check_valid_until: false\n", valid_until, after(-60)),
    valid_until_is_to_come = edited(move |text| valid_until(text, after(DAY)), Accepted, Agrees),
    valid_until_is_no_date = edited(
        |text| text.replace("Date:", "Valid-Until: soon\nDate:"),
        refused(
            4,
            "the metadata has an invalid Valid-Until: \"soon\"",
            "hint: apt rejects it, too: report this to the upstream; `check_valid_until: false` ignores it; \
                 the state of the last successful sync is unchanged\n",
        ),
        Agrees,
    ),
    date_is_to_come = edited(
        move |text| dated(text, after(DAY)),
        refused(
            4,
            "the metadata is dated in the future: [time] (the current time is [time])",
            FUTURE,
        ),
        Agrees,
    ),
    date_is_to_come_and_need_not_be_checked = off("check_date: false\n", dated, after(DAY)),
    date_is_no_date = edited(
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
    no_date = edited(
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
    no_date_which_need_not_be_checked = Case::content(
        plain,
        |scene| {
            scene.root(|text| text.replace("Date:", "X-Date:"));
            scene.says_above("check_date: false\n");
        },
        warned("no Date: a sync cannot detect an older version"),
        Agrees,
    ),
    a_date_in_iso_8601 = edited(
        move |text| {
            let time = jiff::Timestamp::from_second(after(-DAY)).unwrap();
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
    of_an_hour_before_the_last_one = edited(
        move |text| dated(text, after(-30 * DAY - HOUR)),
        refused(
            3,
            "the upstream lags behind: its metadata is from [time], the last synced one from [time]",
            LAGS,
        ),
        NEVER_SEEN,
    ),
    of_three_days_before_the_last_one = edited(
        move |text| dated(text, after(-33 * DAY)),
        refused(
            4,
            "upstream metadata is older than the last sync: from [time], the last synced one from [time]",
            WENT_BACK,
        ),
        NEVER_SEEN,
    ),
    of_the_same_time_as_the_last_one = Case::content(
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
);

/// Another line for Packages, made of its digest, size and name.
fn list(change: fn(&str, &str, &str) -> String) -> impl Fn(&str) -> String {
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
}

fn no_digest() -> Expected {
    refused(
        4,
        format!(
            "{RELEASE}: the file list has no strong digest (sha256, sha384 or sha512; for rpm also sha1)"
        ),
        REPORT,
    )
}

fn not_listed() -> Expected {
    malformed("no Packages listed for this selection")
}

cases!(
    md5_alone = edited(
        |text| text.replace("SHA256:", "MD5Sum:"),
        no_digest(),
        Agrees,
    ),
    sha_1_alone = edited(|text| text.replace("SHA256:", "SHA1:"), no_digest(), Agrees),
    no_list_at_all = edited(
        |text| text[..text.find("SHA256:").unwrap()].to_owned(),
        no_digest(),
        Agrees,
    ),
    an_empty_list = edited(
        |text| text[..text.find("SHA256:").unwrap() + 8].to_owned(),
        not_listed(),
        Agrees,
    ),
    two_lists = edited(
        |text| format!("{text}SHA256:\n"),
        malformed("line 11: duplicate field SHA256 in a stanza"),
        Agrees,
    ),
    two_stanzas = edited(
        |text| text.replace("SHA256:", "\nSHA256:"),
        no_digest(),
        Agrees,
    ),
    two_stanzas_the_second_one_without_meaning = edited(
        |text| format!("{text}\nOrigin: Kit\n"),
        malformed("more than one stanza"),
        Differs("apt reads the first one"),
    ),
    two_components_the_same = edited(
        |text| text.replace("Components: main\n", "Components: main\nComponents: main\n"),
        Accepted,
        Agrees,
    ),
    two_dates = edited(
        |text| text.replace("Date:", "Date: Thu, 01 Jan 2026 00:00:00 UTC\nDate:"),
        malformed("line 7: duplicate field Date in a stanza"),
        Differs(LAST),
    ),
    a_list_in_a_folded_field = edited(
        |text| text.replace("Label: Kit\n", "Label: Kit\n SHA256:\n  00 0 x\n"),
        Accepted,
        Agrees,
    ),
    a_digest_that_is_too_short = edited(
        list(|digest, size, name| format!(" {} {size} {name}", &digest[2..])),
        malformed("SHA256: a sha256 digest has 64 hexadecimal digits, got 62"),
        Agrees,
    ),
    a_digest_that_is_no_number = edited(
        list(|_, size, name| format!(" {} {size} {name}", "xy".repeat(32))),
        malformed(&format!(
            "SHA256: \"{}\" is not a hexadecimal number",
            "xy".repeat(32)
        )),
        Agrees,
    ),
    another_digest = edited(
        list(|_, size, name| format!(" {} {size} {name}", "0".repeat(64))),
        other_index(DECLARED),
        Agrees,
    ),
    a_negative_size = edited(
        list(|digest, size, name| format!(" {digest} -{size} {name}")),
        malformed("SHA256: \"main/binary-amd64/Packages\" has the invalid size \"-491\""),
        Agrees,
    ),
    a_size_beyond_all_numbers = edited(
        list(|digest, _, name| format!(" {digest} 18446744073709551616 {name}")),
        malformed("SHA256: \"main/binary-amd64/Packages\" has the invalid size \"[n]\""),
        Agrees,
    ),
    the_largest_size = edited(
        list(|digest, _, name| format!(" {digest} 18446744073709551615 {name}")),
        other_index("[n] bytes"),
        Agrees,
    ),
    the_largest_size_of_every_index = edited(
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
    a_larger_size = edited(
        list(|digest, size, name| format!(" {digest} 1{size} {name}")),
        other_index("[n] bytes"),
        Agrees,
    ),
    a_smaller_size = edited(
        list(|digest, _, name| format!(" {digest} 7 {name}")),
        other_index("[n] bytes or more"),
        Agrees,
    ),
    a_size_that_is_a_word = edited(
        list(|digest, _, name| format!(" {digest} many {name}")),
        malformed("SHA256: \"main/binary-amd64/Packages\" has the invalid size \"many\""),
        Agrees,
    ),
    a_line_without_a_name = edited(
        list(|digest, size, _| format!(" {digest} {size}")),
        malformed("SHA256: a line without a file name"),
        Agrees,
    ),
    a_file_twice = edited(
        list(|digest, size, name| format!(" {digest} {size} {name}\n {digest} {size} {name}")),
        Accepted,
        Agrees,
    ),
    a_file_with_two_contents = edited(
        list(|digest, size, name| {
            format!(" {digest} {size} {name}\n {} {size} {name}", "0".repeat(64))
        }),
        warned("main/binary-amd64/Packages: SHA256 contradicts an earlier line, which is used",),
        Agrees,
    ),
    by_hash_is_promised_and_not_there = edited(
        |text| text.replace("SHA256:", "Acquire-By-Hash: yes\nSHA256:"),
        Accepted,
        Agrees,
    ),
    without_the_component = edited(
        |text| text.replace("Components: main", "Components: other"),
        Accepted,
        Agrees,
    ),
    without_the_architecture = edited(
        |text| text.replace("Architectures: amd64", "Architectures: i386"),
        Accepted,
        Agrees,
    ),
    a_terminals_escape_sequence = edited(
        |text| text.replace("Label: Kit", "Label: \u{1b}]0;owned\u{7}"),
        Accepted,
        Agrees,
    ),
    a_page_for_people = edited(
        |_| "<html></html>\n".to_owned(),
        malformed("line 1: invalid line: neither a field nor a continuation line"),
        Agrees,
    ),
    nothing_at_all = edited(|_| "\n".to_owned(), malformed("empty file"), Agrees),
    packages_is_not_there = Case::content(
        plain,
        |scene| scene.tree.remove(PACKAGES),
        refused(
            4,
            format!(
                "main/binary-amd64/Packages: listed in the metadata, but no variant exists on the upstream: [server]/{PACKAGES}"
            ),
            NOT_THERE,
        ),
        Agrees,
    ),
);

/// apt looks only at the names that it wants.
fn file_at((path, _, _): BadPath) -> Case {
    edited(
        move |text| text.replace("main/binary-amd64/Release", path),
        warned("SHA256 lists 1 files with unsafe paths"),
        Agrees,
    )
}

path_cases!(a_file_at = file_at);

/// Something in line 2 that is no field.
fn no_field(lines: &'static str) -> Case {
    edited(
        move |text| text.replace("Origin: Kit\n", lines),
        warned(
            "line 2 is neither a field nor a continuation line: clients ignore it and the field \"Label\" after it",
        ),
        Agrees,
    )
}

/// Release itself, half-written, in a list and in that of SHA256.
fn itself(list: &'static str, digits: usize) -> Case {
    edited(
        move |text| {
            let own = format!(" {} 3 Release\n", "0".repeat(digits));
            let digest = "0".repeat(64);
            text.replace(
                "SHA256:\n",
                &format!("{list}:\n{own}SHA256:\n {digest} 7 Release\n"),
            )
        },
        Accepted,
        Agrees,
    )
}

cases!(
    a_line_that_is_no_field = no_field("Origin: Kit\nby hand\n"),
    lines_that_are_no_fields_folded_ones_below = no_field("Origin: Kit\nby hand\n and folded\n"),
    a_folded_line_before_everything = edited(
        |text| format!(" folded\n{text}"),
        warned("line 1 is a continuation line without a field, which clients ignore"),
        Agrees,
    ),
    itself_half_written_in_sha512_too = itself("SHA512", 128),
    itself_half_written_in_md5sum_too = itself("MD5Sum", 32),
);
