//! What repomd.xml says, under a good signature.

use super::{PRIMARY, REPOMD, plain};
use crate::bad_input::{BROKEN, MID_UPDATE};
use crate::corpus::Client::{self, Agrees, CannotJudge, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::signers::now;
use crate::corpus::{
    ANY_PATH, BadPath, Case, DECLARED, FUTURE, HIDDEN, LAGS, NO_PLACE, NOT_THERE, REPORT,
    WENT_BACK, refused, warned,
};
use crate::kit::upstream::Checksum;

fn edited(edit: impl Fn(&str) -> String + 'static, expected: Expected, client: Client) -> Case {
    Case::content(plain, move |scene| scene.root(&edit), expected, client)
}

fn malformed(why: &str) -> Expected {
    refused(4, format!("{REPOMD}: {why}"), BROKEN)
}

fn other_primary(got: &str) -> Expected {
    let what = format!("index primary: [server]/{PRIMARY}: content does not match the metadata");
    refused(
        4,
        format!("{what}: expected {DECLARED}, got {got}"),
        MID_UPDATE,
    )
}

fn every_index_is_other() -> String {
    ["primary", "filelists", "other"].iter().fold(
        "3 files are missing or failed verification".to_owned(),
        |text, name| {
            text + &format!(
                "\n  index {name}: [server]/repodata/{name}.xml: content does not match the metadata: expected {DECLARED}, got [n] bytes"
            )
        },
    )
}

/// Every element of that name with this content.
fn with(text: &str, element: &str, content: &str) -> String {
    let (start, end) = (format!("<{element}>"), format!("</{element}>"));
    let mut parts = text.split(&start);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| {
        let rest = &part[part.find(&end).unwrap()..];
        format!("{text}{start}{content}{rest}")
    })
}

/// The data element of primary.
fn primary(text: &str) -> &str {
    let start = text.find("<data type=\"primary\"").unwrap();
    &text[start..start + text[start..].find("</data>").unwrap() + 7]
}

fn change_primary(text: &str, change: impl Fn(&str) -> String) -> String {
    let old = primary(text);
    text.replace(old, &change(old))
}

fn aged(text: &str, date: i64, revision: &str) -> String {
    with(
        &with(text, "timestamp", &date.to_string()),
        "revision",
        revision,
    )
}

const NEVER_SEEN: Client = CannotJudge("dnf compares nothing with what it saw before");

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// So many seconds from now.
fn after(seconds: i64) -> i64 {
    i64::from(now()) + seconds
}

/// So many seconds after the last one that was synced, as the kit dates it.
fn since_last(seconds: i64) -> i64 {
    after(seconds - 30 * DAY)
}

fn back() -> Expected {
    refused(
        4,
        "upstream metadata is older than the last sync: from [time] (revision [n]), the last synced one from [time] (revision [n])",
        WENT_BACK,
    )
}

cases!(
    from_the_future = edited(
        move |text| aged(text, after(DAY), &(after(DAY)).to_string()),
        refused(
            4,
            "the metadata is dated in the future: [time] (the current time is [time])",
            FUTURE,
        ),
        Differs("dnf does not look at the time"),
    ),
    from_the_future_and_need_not_be_checked = Case::content(
        plain,
        move |scene| {
            scene.root(|text| aged(text, after(DAY), "1"));
            scene.says_above("check_date: false\n");
        },
        Accepted,
        Agrees,
    ),
    of_an_hour_before_the_last_one = edited(
        move |text| aged(text, since_last(-HOUR), &(since_last(-HOUR)).to_string()),
        refused(
            3,
            "the upstream lags behind: its metadata is from [time] (revision [n]), the last synced one from [time] (revision [n])",
            LAGS,
        ),
        NEVER_SEEN,
    ),
    of_three_days_before_the_last_one = edited(
        move |text| aged(
            text,
            since_last(-3 * DAY),
            &(since_last(-3 * DAY)).to_string()
        ),
        back(),
        NEVER_SEEN,
    ),
    of_three_days_before_the_last_one_with_a_higher_revision = edited(
        move |text| aged(text, since_last(-3 * DAY), &now().to_string()),
        back(),
        NEVER_SEEN,
    ),
    a_revision_that_is_no_number =
        edited(|text| with(text, "revision", "42.3-rc"), Accepted, Agrees),
    no_revision = edited(|text| with(text, "revision", ""), Accepted, Agrees),
    no_timestamp = edited(|text| text.replace("timestamp", "time"), Accepted, Agrees),
    a_timestamp_that_is_no_number =
        edited(|text| with(text, "timestamp", "soon"), Accepted, Agrees),
    a_timestamp_beyond_all_numbers = edited(
        |text| with(text, "timestamp", "99999999999999999999"),
        Accepted,
        Agrees,
    ),
    a_negative_timestamp = edited(|text| with(text, "timestamp", "-1"), back(), NEVER_SEEN),
);

/// Another data element of primary.
fn of(change: fn(&str) -> String, expected: Expected, client: Client) -> Case {
    edited(move |text| change_primary(text, change), expected, client)
}

fn no_digest() -> Expected {
    refused(
        4,
        format!(
            "{REPOMD}: primary has no strong digest (sha256, sha384 or sha512; for rpm also sha1)"
        ),
        REPORT,
    )
}

cases!(
    md5 = of(
        |data| data.replace("type=\"sha256\"", "type=\"md5\""),
        no_digest(),
        Agrees,
    ),
    an_unknown_checksum = of(
        |data| data.replace("type=\"sha256\"", "type=\"crc\""),
        no_digest(),
        Agrees,
    ),
    no_checksum = of(
        |data| data.replace("checksum", "sum"),
        no_digest(),
        Differs("dnf takes a file without one"),
    ),
    two_checksums = of(
        |data| {
            data.replacen(
                "<checksum",
                "<checksum type=\"sha256\">00</checksum><checksum",
                1,
            )
        },
        malformed("an element has two <checksum>"),
        Agrees,
    ),
    two_locations = of(
        |data| data.replace("<location", "<location href=\"x\"/><location"),
        malformed("an element has two <location>"),
        Differs("dnf takes the last one"),
    ),
    two_sizes = of(
        |data| data.replace("<size>", "<size>7</size><size>"),
        malformed("an element has two <size>"),
        Differs("dnf takes the last one"),
    ),
    a_checksum_that_is_too_short = of(
        |data| data.replacen("sha256\">", "sha256\">0", 1),
        malformed("primary: a sha256 digest has 64 hexadecimal digits, got 65"),
        Agrees,
    ),
    another_checksum = of(
        |data| {
            let at = data.find("sha256\">").unwrap() + 8;
            format!("{}{}{}", &data[..at], "0".repeat(64), &data[at + 64..])
        },
        other_primary(DECLARED),
        Agrees,
    ),
    a_smaller_size = of(
        |data| with(data, "size", "7"),
        other_primary("[n] bytes or more"),
        Differs("dnf looks at the checksum alone"),
    ),
    the_largest_size = of(
        |data| with(data, "size", "18446744073709551615"),
        other_primary("[n] bytes"),
        Differs("dnf looks at the checksum alone"),
    ),
    the_largest_size_of_every_index = edited(
        |text| with(text, "size", "18446744073709551615"),
        refused(4, every_index_is_other(), MID_UPDATE),
        Differs("dnf looks at the checksum alone"),
    ),
    a_larger_size = of(
        |data| data.replace("<size>", "<size>1"),
        other_primary("[n] bytes"),
        Differs("dnf looks at the checksum alone"),
    ),
    a_size_beyond_all_numbers = of(
        |data| with(data, "size", "18446744073709551616"),
        malformed("primary: invalid size \"[n]\""),
        Differs("dnf looks at the checksum alone"),
    ),
    a_negative_size = of(
        |data| with(data, "size", "-1"),
        malformed("primary: invalid size \"-1\""),
        Differs("dnf looks at the checksum alone"),
    ),
    a_size_that_is_a_word = of(
        |data| with(data, "size", "many"),
        malformed("primary: invalid size \"many\""),
        Differs("dnf looks at the checksum alone"),
    ),
    no_size = of(|data| data.replace("size>", "length>"), Accepted, Agrees),
    no_location = of(
        |data| data.replace("<location", "<place"),
        malformed("primary has no location"),
        Agrees,
    ),
    xml_base = of(
        |data| data.replace("<location", "<location xml:base=\"http://127.0.0.1:1/\""),
        refused(
            4,
            format!("{REPOMD}: primary has an unsafe path: path \"http://127.0.0.1:1/\" is a URL"),
            REPORT,
        ),
        Agrees,
    ),
    no_primary = of(|_| String::new(), malformed("primary is missing"), Agrees),
    no_type = of(
        |data| data.replace("type=\"primary\"", "kind=\"primary\""),
        malformed("a data element has the invalid type \"\""),
        Agrees,
    ),
    an_escape_sequence_in_a_type = of(
        |data| format!("{data}{}", data.replace("\"primary\"", "\"&#27;[2J\"")),
        malformed("a data element has the invalid type \"\\u{1b}[2J\""),
        Agrees,
    ),
    primary_twice = of(|data| data.repeat(2), Accepted, Agrees),
    primary_twice_with_two_checksums = of(
        |data| {
            let at = data.find("sha256\">").unwrap() + 8;
            format!(
                "{data}{}{}{}",
                &data[..at],
                "0".repeat(64),
                &data[at + 64..]
            )
        },
        malformed("repodata/primary.xml is listed twice with different checksums"),
        Agrees,
    ),
    two_primaries = Case::content(
        plain,
        |scene| {
            let bytes = scene.tree.bytes(PRIMARY).to_vec();
            scene.tree.insert("repodata/second.xml", bytes);
            scene.root(|text| {
                change_primary(text, |data| {
                    format!("{data}{}", data.replace("primary.xml", "second.xml"))
                })
            });
        },
        warned(&format!(
            "{REPOMD}: primary is listed more than once: all of them are mirrored"
        )),
        Agrees,
    ),
    a_doctype = edited(
        |text| text.replacen("?>\n", "?>\n<!DOCTYPE x [<!ENTITY a \"aaaa\">]>\n", 1),
        malformed("DOCTYPE is not allowed"),
        Differs("dnf reads it"),
    ),
    an_entity = edited(
        |text| with(text, "revision", "&a;"),
        malformed("unknown entity &a;"),
        Agrees,
    ),
    another_root_element = edited(
        |text| {
            text.replace("<repomd", "<metadata")
                .replace("</repomd", "</metadata")
        },
        malformed("expected one <repomd>, got <metadata>"),
        Agrees,
    ),
    cut = edited(
        |text| text[..text.len() / 2].to_owned(),
        malformed("truncated inside an element"),
        Agrees,
    ),
    something_behind = edited(
        |text| format!("{text}<repomd/>"),
        malformed("expected one <repomd>, got <repomd>"),
        Agrees,
    ),
    tags_that_do_not_match = edited(
        |text| text.replacen("</data>", "</date>", 1),
        malformed(
            "not well-formed XML: ill-formed document: expected `</data>`, but `</date>` was found",
        ),
        Agrees,
    ),
    a_page = edited(
        |_| "<html></html>\n".to_owned(),
        malformed("expected one <repomd>, got <html>"),
        Agrees,
    ),
    no_xml = edited(
        |_| "hello\n".to_owned(),
        malformed("no <repomd> element"),
        Agrees,
    ),
    nothing_at_all = edited(|_| String::new(), malformed("no <repomd> element"), Agrees),
    utf16 = edited(
        |text| text.replace("UTF-8", "UTF-16"),
        malformed("encoding UTF-16 is not supported (supported: UTF-8 and ISO-8859-1)"),
        Agrees,
    ),
    a_package_among_the_metadata = Case::content(
        plain,
        |scene| {
            let package = scene.tree.bytes(&scene.package()).to_vec();
            let digest = Checksum::Sha256.hex(&package);
            scene.tree.insert("zopaque-1-1.noarch.rpm", package);
            scene.root(|text| {
                let data = format!(
                    "<data type=\"extra\"><checksum type=\"sha256\">{digest}</checksum>\
                         <location href=\"zopaque-1-1.noarch.rpm\"/></data></repomd>"
                );
                text.replace("</repomd>", &data)
            });
        },
        malformed(
            "extra is metadata, but its file has the name of a package: zopaque-1-1.noarch.rpm",
        ),
        Differs("dnf does not ask for it"),
    ),
    primary_is_not_there = Case::content(
        plain,
        |scene| scene.tree.remove(PRIMARY),
        refused(
            4,
            format!(
                "primary: listed in the metadata, but no variant exists on the upstream: [server]/{PRIMARY}"
            ),
            NOT_THERE,
        ),
        Agrees,
    ),
);

fn primary_at((path, why, place): BadPath) -> Case {
    Case::content(
        plain,
        move |scene| {
            scene.copy(PRIMARY, path, place);
            scene.root(|text| text.replace(PRIMARY, path));
        },
        refused(
            4,
            format!("{REPOMD}: primary has an unsafe path: {why}"),
            REPORT,
        ),
        match place {
            // librepo wants it below the repository, and says so with an assertion.
            Some(_) if path.contains('/') => Agrees,
            Some(_) => ANY_PATH,
            None => NO_PLACE,
        },
    )
}

path_cases!(a_primary_at = primary_at);
cases!(a_primary_at_a_hidden_path = primary_at(HIDDEN));
