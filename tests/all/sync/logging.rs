//! Where diagnosis goes, how much of it and in which form.

use std::fs;

use serde_json::Value;

use super::{both, hello, mirror_of};
use crate::kit::mirror::Mirror;
use crate::kit::upstream::Upstream;

/// Signed, and no key to see it with: a warning at every sync that changes something.
const WARNING: &str =
    "r: [server]/repodata/repomd.xml.asc exists, but no key is configured to verify it";

fn warning() -> Mirror {
    mirror_of(Upstream::rpm().package(hello()))
        .defined(|repository| repository.unsigned().format("repo_gpgcheck: auto"))
}

fn log(mirror: &Mirror) -> String {
    let log = fs::read_to_string(mirror.chantal.dir().join("logs/chantal.log")).unwrap();
    mirror.chantal.shown(&log)
}

#[test]
fn to_stderr_as_much_as_is_wanted() {
    let warned = format!("warning: {WARNING}\n");
    for (level, options, expected) in [
        ("info", &[][..], &warned[..]),
        ("warn", &[], &warned),
        ("error", &[], ""),
        ("info", &["-q"], ""),
    ] {
        let mirror = warning();
        mirror.configure(&format!("logging:\n  level: {level}\n"));
        mirror.sync_with(options).fails_with(0, expected);
    }
    for upstream in both() {
        let mirror = mirror_of(upstream);
        mirror.sync().succeeds();
        let request = format!("debug: GET [server]/{} -> 304\n", mirror.upstream.root());
        mirror.sync_with(&["-v"]).fails_with(0, &request);
        mirror.configure("logging:\n  level: debug\n");
        mirror.sync().fails_with(0, &request);
    }
}

#[test]
fn to_a_file_as_text() {
    let mirror = warning();
    mirror.configure("logging:\n  file: ../../logs/chantal.log\n");
    mirror.sync().succeeds();
    mirror.sync_with(&["-v"]).succeeds();
    let log = log(&mirror);
    let lines: Vec<&str> = log
        .lines()
        .map(|line| {
            let (time, text) = line.split_once(' ').unwrap();
            time.parse::<jiff::Timestamp>().unwrap();
            text
        })
        .collect();
    let expected = [
        format!("warning: {WARNING}"),
        "debug: GET [server]/repodata/repomd.xml -> 304".to_owned(),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_file_says_why_a_run_failed() {
    let mirror = warning();
    mirror.configure("logging:\n  file: ../../logs/chantal.log\n");
    let path = mirror.upstream.root();
    mirror.server.edit(|tree| tree.remove(&path));
    let error = format!("error: r: no repository found: none of [server]/{path} exists\n");
    let hint = "hint: check upstream.url, and for APT also apt.distribution\n";
    mirror.sync().fails_with(4, &format!("{error}{hint}"));
    assert!(log(&mirror).ends_with(&error), "{}", log(&mirror));
}

#[test]
fn as_json_lines() {
    for place in ["", "  file: ../../logs/chantal.log\n"] {
        let mirror = warning();
        mirror.configure(&format!(
            "logging:\n  level: debug\n  format: json\n{place}"
        ));
        let output = mirror.sync().exits(0);
        let text = match place {
            "" => output.stderr,
            _ => log(&mirror),
        };
        let records: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        let all: Vec<&str> = records
            .iter()
            .map(|r| r["level"].as_str().unwrap())
            .collect();
        assert_eq!(all.iter().filter(|level| **level == "warn").count(), 1);
        assert_eq!(all.len(), 1 + mirror.server.requests().len());
        for record in &records {
            let fields: Vec<&String> = record.as_object().unwrap().keys().collect();
            assert_eq!(fields, ["level", "message", "module", "time"]);
            record["time"]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .unwrap();
            assert!(record["module"].as_str().unwrap().starts_with("chantal"));
            if record["level"] == "warn" {
                assert_eq!(record["message"], WARNING);
            }
        }
    }
}
