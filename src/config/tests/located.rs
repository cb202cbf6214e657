//! Files that cannot be read or parsed: where it says so, and what it never shows.

use std::time::Duration;

use crate::names::RepoId;

use super::*;

#[test]
fn nothing_secret_is_ever_shown() {
    let (_dir, LoadedConfig { config, .. }) = loaded(&[(
        "repos.d/r.yaml",
        "{name: r, type: rpm, rpm: {gpgcheck: false}, upstream: {url: 'https://h/x?${TOKEN}'}, \
         credentials: {type: bearer, token: '${TOKEN}'}}",
    )]);
    let UpstreamUrl::Http(url) = &config.repositories[0].upstream else {
        panic!("not a path")
    };
    assert_eq!(url.as_url().as_str(), "https://h/x/?s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));

    // The caret would stand in, or below, a line that holds a secret.
    for text in [
        "credentials: {password: s3cret, usrname: u}\n",
        "credentials:\n  token: \"s3cret\n  type: bearer\n",
        "upstream: {url: 'https://h/?s3cret', mirors: []}\n",
        "upstream: {url: 'https://u:s3cret@h/'}\nname: r\ntype: rpm\n",
        "credentials: {password_command: echo s3cret, usrname: u}\n",
        "credentials: {type: bearer, token: 's3cret${X'}\nname: r\ntype: rpm\nrpm: {gpgcheck: false}\nupstream: {url: https://h/}\n",
    ] {
        let message = error(&[("repos.d/r.yaml", text)]);
        assert!(!message.contains("s3cret"), "{message}");
        assert_ne!(message, "no error");
    }
}

#[test]
fn what_is_not_yaml_of_the_right_shape_is_shown() {
    let text = "tls:\n\n\n\n\n\n\n\n\n  ca_fil: x\n";
    assert_eq!(
        error(&[("conf.d/a.yaml", text)]),
        [
            "DIR/conf.d/a.yaml:10:3: unknown key `ca_fil`",
            "  10 |   ca_fil: x",
            "     |   ^",
            "hint: did you mean `ca_file`?",
        ]
        .join("\n")
    );
}

#[test]
fn what_is_not_yaml_of_the_right_shape_is_located() {
    for (text, expected) in [
        (
            "storage:\n  base_pth: /x\n",
            "2:3: unknown key `base_pth`\nhint: did you mean `base_path`?",
        ),
        (
            "tls: {colour: 1}\n",
            "1:7: unknown key `colour`\nhint: valid keys: ca_file",
        ),
        (
            "logging: {format: jason}\n",
            "1:19: unknown value `jason`, expected one of text, json\nhint: did you mean `json`?",
        ),
        (
            "logging: {level: off}\n",
            "1:18: unknown value `off`, expected one of error, warn, info, debug, trace",
        ),
        (
            "download:\n  workers: -1\n",
            "2:12: expected a non-negative integer",
        ),
        ("cache: {enabled: yes}\n", "1:18: expected true or false"),
        (
            "cache: {ttl: 5 minutes}\n",
            "1:14: \"5 minutes\" is not a duration \
             (seconds, or a number with a unit: 30s, 5m, 24h, 30d)",
        ),
        (
            "download: {bandwidth_limit: 100}\n",
            "1:29: \"100\" is not a bandwidth \
             (100M is megabits per second, 10MB megabytes; also K, KB, G, GB)",
        ),
        ("storage: {base_path: [a]}\n", "1:22: expected a string"),
        (
            "storage: /x\n",
            "1:10: expected keys with values (`key: value`)",
        ),
        ("- a\n", "1:1: expected keys with values (`key: value`)"),
        (
            "media:\n  trusted_keys: {a: b}\n",
            "2:17: expected a string or a list of strings, got map",
        ),
        (
            "tls:\n  ca_file: /a\n  ca_file: /b\n",
            "3:3: duplicate key `ca_file`",
        ),
        ("tls: {ca_file: \"x\n\n", "1:16: unclosed quote"),
        ("tls: {ca_file: x\n", "1:6: unclosed bracket '{'"),
        (
            "tls: {}\n---\ncache: {}\n",
            "3:1: only single YAML document expected but multiple found",
        ),
    ] {
        let message = error(&[("conf.d/a.yaml", text)]);
        let (_, rest) = message.split_once("a.yaml:").unwrap();
        let lines: Vec<_> = rest.lines().filter(|line| !line.contains(" | ")).collect();
        assert_eq!(lines.join("\n"), expected);
    }
}

#[test]
fn repo_gpgcheck_is_one_of_three() {
    assert_eq!(
        error(&[("repos.d/r.yaml", "rpm: {repo_gpgcheck: yes}\n")])
            .lines()
            .next(),
        Some("DIR/repos.d/r.yaml:1:22: unknown value `yes`, expected one of true, false, auto")
    );
}

#[test]
fn dependencies_are_one_of_three() {
    assert_eq!(
        error(&[("repos.d/r.yaml", "filters: {with_dependencies: all}\n")])
            .lines()
            .next(),
        Some(
            "DIR/repos.d/r.yaml:1:30: unknown value `all`, expected one of true, false, recommends"
        )
    );
}

#[test]
fn problems_of_all_files_are_reported_together() {
    assert_eq!(
        error(&[
            ("conf.d/a.yaml", "cache: {ttl: x}\n"),
            ("conf.d/b.yaml", "{download: {workers: 0}, proxy: x}"),
            ("repos.d/a.yaml", "nam: a\n"),
            (
                "repos.d/b.yaml",
                "{name: b, type: rpm, rpm: {gpgcheck: false}}"
            ),
        ]),
        "DIR/conf.d/a.yaml:1:14: \"x\" is not a duration (seconds, or a number with a unit: 30s, 5m, 24h, 30d)\n  \
           1 | cache: {ttl: x}\n    \
             |              ^\n\n\
         DIR/conf.d/b.yaml: proxy: not supported yet\n\n\
         DIR/conf.d/b.yaml: download.workers: must be between 1 and 256, got 0\n\n\
         DIR/repos.d/a.yaml:1:1: unknown key `nam`\n  \
           1 | nam: a\n    \
             | ^\n\
         hint: did you mean `name`?\n\n\
         DIR/repos.d/b.yaml: upstream.url: is missing"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let missing = Path::new("/nonexistent/chantal");
    assert_eq!(
        load(missing).unwrap_err().to_string(),
        "configuration directory /nonexistent/chantal does not exist"
    );
    assert_eq!(
        error(&[("conf.d", "a file")]),
        "DIR/conf.d: cannot be read: Not a directory (os error 20)"
    );
    assert_eq!(
        error(&[("conf.d/a.yaml/x", "")]),
        "DIR/conf.d/a.yaml: cannot be read: Is a directory (os error 21)"
    );
    assert_eq!(
        error(&[("conf.d/a.yaml", &"#".repeat((1 << 20) + 1))]),
        "DIR/conf.d/a.yaml: is larger than 1048576 bytes"
    );
    let dir = write(&[("conf.d/a.yaml", "")]);
    std::fs::write(dir.path().join("conf.d/a.yaml"), b"name: \xff\n").unwrap();
    let err = load(dir.path()).unwrap_err().to_string();
    assert_eq!(
        without(&dir, &err),
        "DIR/conf.d/a.yaml: cannot be read: stream did not contain valid UTF-8"
    );
}

/// How long the earlier generations of its repository stay is something that only the file says.
#[test]
fn what_a_broken_file_may_say_is_not_assumed() {
    let one = ("repos.d/one.yaml", apt(", publish: {keep: 5s}"));
    let keep = |files: Files<'_>, name: &str| {
        let dir = write(files);
        let loaded = load_with(dir.path(), &environment).unwrap();
        loaded.config.keep(&RepoId::test(name))
    };
    let (one, broken) = ((one.0, one.1.as_str()), ("repos.d/other.yaml", "name: [\n"));
    assert_eq!(keep(&[one], "r"), Duration::from_secs(5));
    assert_eq!(keep(&[one], "gone"), Duration::from_hours(24));
    assert_eq!(keep(&[one, broken], "r"), Duration::from_secs(5));
    assert_eq!(keep(&[one, broken], "gone"), Duration::MAX);
}
