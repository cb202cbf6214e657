//! What repomd.xml says, under a good signature.

use super::{PRIMARY, REPOMD, plain};
use crate::bad_input::{BROKEN, MID_UPDATE};
use crate::corpus::Client::{self, Agrees, CannotJudge, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::signers::{DAY, now};
use crate::corpus::{
    ANY_PATH, Case, DECLARED, FUTURE, HIDDEN, LAGS, NO_PLACE, NOT_THERE, PATHS, REPORT, WENT_BACK,
    refused, run, warned,
};
use crate::kit::upstream::Checksum;

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
    refused(4, format!("{REPOMD}: {why}"), BROKEN)
}

fn other_primary(got: &str) -> Expected {
    let what = format!("index primary: [server]/{PRIMARY} is not what was declared");
    refused(
        4,
        format!("{what}: expected {DECLARED}, got {got}"),
        MID_UPDATE,
    )
}

fn every_index_is_other() -> String {
    ["primary", "filelists", "other"].iter().fold(
        "3 files cannot be had, or are refused".to_owned(),
        |text, name| {
            text + &format!(
                "\n  index {name}: [server]/repodata/{name}.xml is not what was declared: expected {DECLARED}, got [n] bytes"
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

fn freshness() -> Vec<Case> {
    let now = i64::from(now());
    let day = i64::from(DAY);
    // Yesterday's, as the kit dates it.
    let known = now - 30 * day;
    let back = || {
        refused(
            4,
            "the upstream went back: its root is of [time] (revision [n]), the last one that was synced of [time] (revision [n])",
            WENT_BACK,
        )
    };
    vec![
        edited(
            "from the future",
            move |text| aged(text, now + day, &(now + day).to_string()),
            refused(
                4,
                "the root is from the future: it is of [time], and now is [time]",
                FUTURE,
            ),
            Differs("dnf does not look at the time"),
        ),
        Case::content(
            "from the future, and need not be checked",
            plain,
            move |scene| {
                scene.root(|text| aged(text, now + day, "1"));
                scene.says_above("check_date: false\n");
            },
            Accepted,
            Agrees,
        ),
        edited(
            "of an hour before the last one",
            move |text| aged(text, known - 3600, &(known - 3600).to_string()),
            refused(
                3,
                "the upstream lags behind: its root is of [time] (revision [n]), the last one that was synced of [time] (revision [n])",
                LAGS,
            ),
            NEVER_SEEN,
        ),
        edited(
            "of three days before the last one",
            move |text| aged(text, known - 3 * day, &(known - 3 * day).to_string()),
            back(),
            NEVER_SEEN,
        ),
        edited(
            "of three days before the last one, with a higher revision",
            move |text| aged(text, known - 3 * day, &now.to_string()),
            back(),
            NEVER_SEEN,
        ),
        edited(
            "a revision that is no number",
            |text| with(text, "revision", "42.3-rc"),
            Accepted,
            Agrees,
        ),
        edited(
            "no revision",
            |text| with(text, "revision", ""),
            Accepted,
            Agrees,
        ),
        edited(
            "no timestamp",
            |text| text.replace("timestamp", "time"),
            Accepted,
            Agrees,
        ),
        edited(
            "a timestamp that is no number",
            |text| with(text, "timestamp", "soon"),
            Accepted,
            Agrees,
        ),
        edited(
            "a timestamp beyond all numbers",
            |text| with(text, "timestamp", "99999999999999999999"),
            Accepted,
            Agrees,
        ),
        edited(
            "a negative timestamp",
            |text| with(text, "timestamp", "-1"),
            back(),
            NEVER_SEEN,
        ),
    ]
}

fn files() -> Vec<Case> {
    let of = |name: &str, change: fn(&str) -> String, expected, client| {
        edited(
            name,
            move |text| change_primary(text, change),
            expected,
            client,
        )
    };
    let no_digest = || {
        refused(
            4,
            format!(
                "{REPOMD}: primary has no digest that can be trusted (sha256, sha384 or sha512; rpm also sha1)"
            ),
            REPORT,
        )
    };
    let mut cases = vec![
        of(
            "MD5",
            |data| data.replace("type=\"sha256\"", "type=\"md5\""),
            no_digest(),
            Agrees,
        ),
        of(
            "an unknown checksum",
            |data| data.replace("type=\"sha256\"", "type=\"crc\""),
            no_digest(),
            Agrees,
        ),
        of(
            "no checksum",
            |data| data.replace("checksum", "sum"),
            no_digest(),
            Differs("dnf takes a file without one"),
        ),
        of(
            "two checksums",
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
        of(
            "two locations",
            |data| data.replace("<location", "<location href=\"x\"/><location"),
            malformed("an element has two <location>"),
            Differs("dnf takes the last one"),
        ),
        of(
            "two sizes",
            |data| data.replace("<size>", "<size>7</size><size>"),
            malformed("an element has two <size>"),
            Differs("dnf takes the last one"),
        ),
        of(
            "a checksum that is too short",
            |data| data.replacen("sha256\">", "sha256\">0", 1),
            malformed("primary: a sha256 digest has 64 hexadecimal digits, got 65"),
            Agrees,
        ),
        of(
            "another checksum",
            |data| {
                let at = data.find("sha256\">").unwrap() + 8;
                format!("{}{}{}", &data[..at], "0".repeat(64), &data[at + 64..])
            },
            other_primary(DECLARED),
            Agrees,
        ),
        of(
            "a smaller size",
            |data| with(data, "size", "7"),
            other_primary("[n] bytes or more"),
            Differs("dnf looks at the checksum alone"),
        ),
        of(
            "the largest size",
            |data| with(data, "size", "18446744073709551615"),
            other_primary("[n] bytes"),
            Differs("dnf looks at the checksum alone"),
        ),
        edited(
            "the largest size, of every index",
            |text| with(text, "size", "18446744073709551615"),
            refused(4, every_index_is_other(), MID_UPDATE),
            Differs("dnf looks at the checksum alone"),
        ),
        of(
            "a larger size",
            |data| data.replace("<size>", "<size>1"),
            other_primary("[n] bytes"),
            Differs("dnf looks at the checksum alone"),
        ),
        of(
            "a size beyond all numbers",
            |data| with(data, "size", "18446744073709551616"),
            malformed("primary: the size is \"[n]\""),
            Differs("dnf looks at the checksum alone"),
        ),
        of(
            "a negative size",
            |data| with(data, "size", "-1"),
            malformed("primary: the size is \"-1\""),
            Differs("dnf looks at the checksum alone"),
        ),
        of(
            "a size that is a word",
            |data| with(data, "size", "many"),
            malformed("primary: the size is \"many\""),
            Differs("dnf looks at the checksum alone"),
        ),
        of(
            "no size",
            |data| data.replace("size>", "length>"),
            Accepted,
            Agrees,
        ),
        of(
            "no location",
            |data| data.replace("<location", "<place"),
            malformed("primary has no location"),
            Agrees,
        ),
        of(
            "xml:base",
            |data| data.replace("<location", "<location xml:base=\"http://127.0.0.1:1/\""),
            refused(
                4,
                format!(
                    "{REPOMD}: primary names a path that cannot be mirrored: path \"http://127.0.0.1:1/\" is a URL of its own"
                ),
                REPORT,
            ),
            Agrees,
        ),
        of(
            "no primary",
            |_| String::new(),
            malformed("it names no primary"),
            Agrees,
        ),
        of(
            "no type",
            |data| data.replace("type=\"primary\"", "kind=\"primary\""),
            malformed("a data element has the type \"\""),
            Agrees,
        ),
        of(
            "an escape sequence in a type",
            |data| format!("{data}{}", data.replace("\"primary\"", "\"&#27;[2J\"")),
            malformed("a data element has the type \"\\u{1b}[2J\""),
            Agrees,
        ),
        of("primary twice", |data| data.repeat(2), Accepted, Agrees),
        of(
            "primary twice, with two checksums",
            |data| {
                let at = data.find("sha256\">").unwrap() + 8;
                format!(
                    "{data}{}{}{}",
                    &data[..at],
                    "0".repeat(64),
                    &data[at + 64..]
                )
            },
            malformed("repodata/primary.xml is named twice, with different checksums"),
            Agrees,
        ),
        Case::content(
            "two primaries",
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
                "{REPOMD}: primary is named more than once, all of them are mirrored"
            )),
            Agrees,
        ),
        edited(
            "a DOCTYPE",
            |text| text.replacen("?>\n", "?>\n<!DOCTYPE x [<!ENTITY a \"aaaa\">]>\n", 1),
            malformed("it has a DOCTYPE"),
            Differs("dnf reads it"),
        ),
        edited(
            "an entity",
            |text| with(text, "revision", "&a;"),
            malformed("it has the unknown entity &a;"),
            Agrees,
        ),
        edited(
            "another root element",
            |text| {
                text.replace("<repomd", "<metadata")
                    .replace("</repomd", "</metadata")
            },
            malformed("expected one <repomd>, got <metadata>"),
            Agrees,
        ),
        edited(
            "cut",
            |text| text[..text.len() / 2].to_owned(),
            malformed("it ends inside of an element"),
            Agrees,
        ),
        edited(
            "something behind",
            |text| format!("{text}<repomd/>"),
            malformed("expected one <repomd>, got <repomd>"),
            Agrees,
        ),
        edited(
            "tags that do not match",
            |text| text.replacen("</data>", "</date>", 1),
            malformed(
                "not well-formed XML: ill-formed document: expected `</data>`, but `</date>` was found",
            ),
            Agrees,
        ),
        edited(
            "a page",
            |_| "<html></html>\n".to_owned(),
            malformed("expected one <repomd>, got <html>"),
            Agrees,
        ),
        edited(
            "no XML",
            |_| "hello\n".to_owned(),
            malformed("it has no <repomd>"),
            Agrees,
        ),
        edited(
            "nothing at all",
            |_| String::new(),
            malformed("it has no <repomd>"),
            Agrees,
        ),
        edited(
            "UTF-16",
            |text| text.replace("UTF-8", "UTF-16"),
            malformed("it declares the encoding UTF-16, only UTF-8 and ISO-8859-1 are read"),
            Agrees,
        ),
        Case::content(
            "a package among the metadata",
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
                "extra is metadata, but its file is named like a package: zopaque-1-1.noarch.rpm",
            ),
            Differs("dnf does not ask for it"),
        ),
        Case::content(
            "primary is not there",
            plain,
            |scene| scene.tree.remove(PRIMARY),
            refused(
                4,
                format!(
                    "primary: the root lists it, but the upstream has none of its variants: [server]/{PRIMARY}"
                ),
                NOT_THERE,
            ),
            Agrees,
        ),
    ];
    for (path, why, place) in PATHS.into_iter().chain([HIDDEN]) {
        cases.push(Case::content(
            &format!("primary at {path}"),
            plain,
            move |scene| {
                scene.copy(PRIMARY, path, place);
                scene.root(|text| text.replace(PRIMARY, path));
            },
            refused(
                4,
                format!("{REPOMD}: primary names a path that cannot be mirrored: {why}"),
                REPORT,
            ),
            match place {
                // librepo wants it below the repository, and says so with an assertion.
                Some(_) if path.contains('/') => Agrees,
                Some(_) => ANY_PATH,
                None => NO_PLACE,
            },
        ));
    }
    cases
}

#[test]
fn how_old_a_repomd_is() {
    run(&freshness());
}

#[test]
fn what_a_repomd_names() {
    run(&files());
}
