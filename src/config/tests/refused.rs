//! What is well formed and makes no sense: the exact words for it.

use super::*;

#[test]
fn global_settings_that_make_no_sense() {
    for (text, expected) in [
        (
            "download: {workers: 0}",
            "download.workers: must be between 1 and 256, got 0",
        ),
        (
            "download: {timeout: 0}",
            "download.timeout: must be at least 1 second",
        ),
        ("storage: {base_path: ''}", "storage.base_path: is empty"),
        (
            "storage: {base_path: ~/x}",
            "storage.base_path: `~` is not expanded: write the full path",
        ),
        (
            "logging: {file: '${HOME}/x'}",
            "logging.file: `${` is only expanded in secrets and in upstream.url",
        ),
        (
            "database: {url: 'postgresql://chantal:s3cret@db/chantal'}",
            "database.url: postgresql is not supported: the database is a local file, without a server\n\
             hint: set `database.path: PATH`, or omit it: the default is chantal.redb in storage.base_path",
        ),
        (
            "database: {url: 'redb://x'}",
            "database.url: does not have the form redb:///PATH\n\
             hint: set `database.path: PATH`, or omit it: the default is chantal.redb in storage.base_path",
        ),
        (
            "database: {url: '/x'}",
            "database.url: is not a valid URL\n\
             hint: set `database.path: PATH`, or omit it: the default is chantal.redb in storage.base_path",
        ),
        (
            "database: {url: 'redb:///x', path: /y}",
            "database.url: names a different file than database.path\n\
             hint: remove one of the two",
        ),
        (
            "signing: {passphrase_file: x}",
            "signing.passphrase_file: has no effect without signing.key_file",
        ),
        ("proxy: http://p:3128", "proxy: not supported yet"),
        ("metrics: {file: /x}", "metrics: not supported yet"),
        ("notify: [a]", "notify: not supported yet"),
    ] {
        assert_eq!(
            error(&[("conf.d/a.yaml", text)]),
            format!("DIR/conf.d/a.yaml: {expected}")
        );
    }
    // The defaults may be written down.
    loaded(&[(
        "conf.d/a.yaml",
        "media: {trusted_keys: [], hold: 30d}\nsigning: {key_file: null}\nproxy:\n",
    )]);
}

#[test]
fn a_storage_does_not_lie_in_itself() {
    for (text, expected) in [
        (
            "storage: {pool_path: /c, cache_path: /c}",
            "storage.cache_path: /c is the same path as storage.pool_path (/c)",
        ),
        (
            "storage: {pool_path: /a, cache_path: /a/b}",
            "storage.cache_path: /a/b is inside storage.pool_path (/a)",
        ),
        (
            "storage: {base_path: /a/b, pool_path: /a}",
            "storage.cache_path: /a/b/cache is inside storage.pool_path (/a)\n\n\
             DIR/conf.d: database.path: /a/b/chantal.redb is inside storage.pool_path (/a)",
        ),
    ] {
        assert_eq!(
            error(&[("conf.d/a.yaml", text)]),
            format!("DIR/conf.d: {expected}")
        );
    }
}

#[test]
fn repositories_that_make_no_sense() {
    for (text, expected) in [
        (
            "{}".to_owned(),
            "name: is missing\n\n\
             DIR/repos.d/r.yaml: upstream.url: is missing\n\n\
             DIR/repos.d/r.yaml: type: is missing: set it to rpm or apt",
        ),
        (
            "{name: a/b, type: rpm, rpm: {gpgcheck: false}, upstream: {url: x}}".to_owned(),
            "name: \"a/b\" contains '/'; only letters, digits, `.`, `_` and `-` are allowed",
        ),
        (
            "{name: -a, type: rpm, rpm: {gpgcheck: false}, upstream: {url: x}}".to_owned(),
            "name: \"-a\" starts with `-`",
        ),
        (
            apt(", rpm: {}"),
            "rpm: is not valid for a repository of type apt",
        ),
        (
            rpm(", apt: {}"),
            "apt: is not valid for a repository of type rpm",
        ),
        (
            "{name: r, type: rpm, rpm: {gpgcheck: false}, upstream: {url: ftp://h/}}".to_owned(),
            "upstream.url: scheme \"ftp\" is not supported (supported: http, https, file and plain paths)\n\
             hint: a URL must begin with https://, and a path that contains a colon with ./",
        ),
        (
            "{name: r, type: rpm, rpm: {gpgcheck: false}, upstream: {url: 'https://u:p@h/'}}"
                .to_owned(),
            "upstream.url: a URL must not contain credentials\n\
             hint: set them under `credentials`",
        ),
        (
            "{name: r, type: rpm, rpm: {gpgcheck: false}, upstream: {url: 'https://h/?${X}'}}"
                .to_owned(),
            "upstream.url: environment variable X is not set",
        ),
        (
            rpm(", publish: {latest_path: ''}"),
            "publish.latest_path: is empty",
        ),
        (
            rpm(", rpm: {gpgcheck: false, architectures: []}"),
            "rpm.architectures: is an empty list",
        ),
        (
            rpm(", rpm: {gpgcheck: false, architectures: [a b]}"),
            "rpm.architectures: \"a b\" is not a valid architecture name",
        ),
        (
            rpm(", rpm: {gpgcheck: false, architectures: [x86_64, src]}"),
            "rpm.architectures: \"src\" is not valid here\n\
             hint: use rpm.sources to select source packages",
        ),
        (
            "{name: r, type: apt, upstream: {url: x}}".to_owned(),
            "apt.gpgcheck: is true, but no keys are configured\n\
             hint: set apt.gpgkey_file or apt.gpgkey_url, or `apt.gpgcheck: false` to accept the upstream without verifying signatures\n\n\
             DIR/repos.d/r.yaml: apt.distribution: is missing\n\
             hint: set it to the directory below dists/, or to `./` for a flat repository",
        ),
    ] {
        assert_eq!(
            error(&[("repos.d/r.yaml", &text)]),
            format!("DIR/repos.d/r.yaml: {expected}"),
        );
    }
}

#[test]
fn apt_sections_that_make_no_sense() {
    for (section, expected) in [
        (
            "distribution: ../x",
            "distribution: path \"../x\" is outside of the repository",
        ),
        (
            "distribution: a b",
            "distribution: \"a b\" contains whitespace",
        ),
        (
            "distribution: sid, components: []",
            "components: is an empty list",
        ),
        (
            "distribution: sid, components: main contrib",
            "components: \"main contrib\" is not a valid component name",
        ),
        (
            "distribution: sid, components: [../x]",
            "components: \"../x\" is not a valid component name",
        ),
        (
            "distribution: ./, components: [main]",
            "components: a flat repository has no components",
        ),
        (
            "distribution: sid, architectures: [amd64, source]",
            "architectures: \"source\" is not valid here\nhint: use apt.sources to select source packages",
        ),
        (
            "distribution: sid, languages: [en]",
            "languages: not supported yet",
        ),
        (
            "distribution: sid, contents: false",
            "contents: not supported yet",
        ),
        (
            "distribution: sid, appstream: false",
            "appstream: not supported yet",
        ),
        ("distribution: sid, cnf: false", "cnf: not supported yet"),
    ] {
        let text = format!(
            "{{name: r, type: apt, upstream: {{url: x}}, apt: {{gpgkey_file: k, {section}}}}}"
        );
        assert_eq!(
            error(&[("repos.d/r.yaml", &text)]),
            format!("DIR/repos.d/r.yaml: apt.{expected}")
        );
    }
}

#[test]
fn keys_that_make_no_sense() {
    for (section, expected) in [
        (
            "gpgcheck: true",
            "rpm.gpgcheck: is true, but no keys are configured\n\
             hint: set rpm.gpgkey_file or rpm.gpgkey_url, or `rpm.gpgcheck: false` to accept the packages without verifying signatures",
        ),
        (
            "repo_gpgcheck: true, gpgcheck: false",
            "rpm.repo_gpgcheck: is true, but no keys are configured\n\
             hint: set rpm.gpgkey_file or rpm.gpgkey_url, or `rpm.repo_gpgcheck: false` to accept the upstream without verifying signatures",
        ),
        (
            "gpgkey_url: http://h/key.asc",
            "rpm.gpgkey_url: http://h/key.asc could be tampered with in transit\n\
             hint: use https, or list the key in rpm.gpgkey_fingerprints",
        ),
        (
            "gpgkey_url: https://u:p@h/key.asc",
            "rpm.gpgkey_url: a URL must not contain credentials",
        ),
        (
            "gpgkey_url: ftp://h/key.asc",
            "rpm.gpgkey_url: scheme \"ftp\" is not supported (supported: http, https, file and plain paths)\n\
             hint: a URL must begin with https://, and a path that contains a colon with ./",
        ),
        (
            "gpgkey_file: k, gpgkey_fingerprints: [89ABCDEF01234567]",
            "rpm.gpgkey_fingerprints: \"89ABCDEF01234567\" is not a valid fingerprint \
             (expected 40 or 64 hexadecimal digits, spaces are allowed)",
        ),
        (
            "gpgkey_fingerprints: 0123456789abcdef0123456789abcdef01234567",
            "rpm.gpgkey_fingerprints: is set, but no keys are configured\n\
             hint: set rpm.gpgkey_file or rpm.gpgkey_url",
        ),
    ] {
        let text = rpm(&format!(", rpm: {{{section}}}"));
        assert_eq!(
            error(&[("repos.d/r.yaml", &text)]),
            format!("DIR/repos.d/r.yaml: {expected}")
        );
    }
}

#[test]
fn credentials_that_make_no_sense() {
    for (written, expected) in [
        (
            "username: u",
            "credentials.username: requires credentials.type basic, but the type is none",
        ),
        (
            "type: bearer, token: t, password_file: p",
            "credentials.password_file: requires credentials.type basic, but the type is bearer",
        ),
        (
            "type: basic, password: p",
            "credentials.username: is missing",
        ),
        (
            "type: basic, username: 'a:b', password: p",
            "credentials.username: cannot contain `:` or control characters",
        ),
        (
            "type: basic, username: u",
            "credentials.password: is missing: set one of password, password_file and password_command",
        ),
        (
            "type: basic, username: u, password: p, password_file: f",
            "credentials.password: only one of password, password_file and password_command can be set",
        ),
        (
            "type: bearer, token: '${X}'",
            "credentials.token: environment variable X is not set",
        ),
        (
            "type: bearer, token: '${X'",
            "credentials.token: `${` is not followed by a variable name and `}` \
             (write `$${` for a literal `${`)",
        ),
        ("type: bearer, token: ''", "credentials.token: is empty"),
        (
            "type: bearer, token: \"a\\nb\"",
            "credentials.token: contains a control character",
        ),
        (
            "type: header, name: 'X: y', value: v",
            "credentials.name: \"X: y\" is not a valid header name",
        ),
        (
            "type: header, name: X",
            "credentials.value: is missing: set one of value and value_file",
        ),
        ("type: client_cert, cert: c", "credentials.key: is missing"),
        (
            "type: subscription_manager",
            "credentials.type: subscription_manager: not supported yet",
        ),
    ] {
        let text = rpm(&format!(", credentials: {{{written}}}"));
        assert_eq!(
            error(&[("repos.d/r.yaml", &text)]),
            format!("DIR/repos.d/r.yaml: {expected}")
        );
    }
    for (url, expected) in [
        ("../x", "credentials cannot be used with a local upstream"),
        (
            "http://h/",
            "a client certificate requires an https upstream",
        ),
    ] {
        let text = format!(
            "{{name: r, type: rpm, rpm: {{gpgcheck: false}}, upstream: {{url: {url}}}, \
             credentials: {{type: client_cert, cert: c, key: k}}}}"
        );
        assert_eq!(
            error(&[("repos.d/r.yaml", &text)]),
            format!("DIR/repos.d/r.yaml: credentials.type: {expected}")
        );
    }
}

#[test]
fn filters_that_mean_nothing_are_refused() {
    for (filters, expected) in [
        (
            "include: ['!a']",
            "filters.include: contains a pattern that starts with `!`",
        ),
        (
            "exclude: ['[a']",
            "filters.exclude: \"[a\" is not a valid pattern: invalid range pattern",
        ),
        (
            "exclude: ['']",
            "filters.exclude: \"\" is not a valid pattern",
        ),
        ("newest: 0", "filters.newest: must be at least 1"),
        (
            "sections: [libs]",
            "filters.sections: is not valid for a repository of type rpm",
        ),
    ] {
        let said = error(&[("repos.d/r.yaml", &rpm(&format!(", filters: {{{filters}}}")))]);
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(first, format!("DIR/repos.d/r.yaml: {expected}"), "{said}");
    }
}

#[test]
fn features_that_do_not_exist_yet_are_refused_by_name() {
    for (more, key) in [
        (", proxy: {url: x}", "proxy"),
        (
            ", rpm: {gpgcheck: false, on_bad_package: skip}",
            "rpm.on_bad_package: skip",
        ),
    ] {
        assert_eq!(
            error(&[("repos.d/r.yaml", &rpm(more))]),
            format!("DIR/repos.d/r.yaml: {key}: not supported yet")
        );
    }
    for key in ["mirrors", "mirrorlist", "metalink"] {
        let text = format!(
            "{{name: r, type: rpm, rpm: {{gpgcheck: false}}, upstream: {{url: https://h/, {key}: https://m/}}}}"
        );
        assert_eq!(
            error(&[("repos.d/r.yaml", &text)]),
            format!("DIR/repos.d/r.yaml: upstream.{key}: not supported yet")
        );
    }
    // The defaults may be written down.
    repository(&rpm(
        ", check_valid_until: true, check_date: true, allow_weak_signatures: false, proxy: null, \
         filters: {include: [], with_dependencies: false}, publish: {key_name: RPM-GPG-KEY-r}",
    ));
}

#[test]
fn key_files_need_plain_names() {
    let hint =
        "hint: the key files are at the top of the published tree, and must not be hidden files";
    let path = "contains a control character or a backslash";
    let refused = |repository: &str, what: &str| {
        assert_eq!(
            error(&[("repos.d/r.yaml", repository)]),
            format!("DIR/repos.d/r.yaml: publish.key_name: {what}")
        );
    };
    for format in [apt, rpm] {
        for name in ["", ".", "..", ".key", "keys/k", "/k", "../k", ".gpg.gpg"] {
            let what = format!("{name:?} is not a valid file name\n{hint}");
            refused(
                &format(&format!(", publish: {{key_name: '{name}'}}")),
                &what,
            );
        }
        for name in ["a\\nb", "a\\e[2J", "a\\\\b"] {
            let what = format!("path \"{}\" {path}", name.replace("\\e", "\\u{1b}"));
            refused(
                &format(&format!(", publish: {{key_name: \"{name}\"}}")),
                &what,
            );
        }
    }
    // Nothing is left of it without its ending; for rpm it is hidden.
    let what = format!("\".asc\" is not a valid file name\n{hint}");
    refused(&apt(", publish: {key_name: .asc}"), &what);
    refused(&rpm(", publish: {key_name: .asc}"), &what);
    let start = "x".repeat(60);
    let what = format!("path {start:?}... is too long for file systems (limit 255 bytes)");
    for (repository, length) in [
        (apt as fn(&str) -> String, 252),
        (rpm as fn(&str) -> String, 256),
    ] {
        let name = "x".repeat(length);
        refused(
            &repository(&format!(", publish: {{key_name: {name}}}")),
            &what,
        );
    }
}

#[test]
fn published_trees_share_their_place_with_nothing() {
    let base = ("conf.d/a.yaml", "storage: {base_path: /data}");
    for (latest, expected) in [
        ("/data", "/data contains storage.pool_path (/data/pool)"),
        ("/", "/ contains storage.pool_path (/data/pool)"),
        (
            "/data/pool",
            "/data/pool is the same path as storage.pool_path (/data/pool)",
        ),
        (
            "/data/cache/x",
            "/data/cache/x is inside storage.cache_path (/data/cache)",
        ),
        (
            "/data/gpgkeys",
            "/data/gpgkeys is the same path as the keyring directory (/data/gpgkeys)",
        ),
        (
            ".",
            "DIR/repos.d is the same path as the configuration directory (DIR/repos.d)",
        ),
        (
            "..",
            "DIR contains the configuration directory (DIR/conf.d)",
        ),
        ("/up/x", "/up/x is inside upstream.url (/up)"),
    ] {
        let text = format!(
            "{{name: r, type: rpm, rpm: {{gpgcheck: false}}, upstream: {{url: /up}}, publish: {{latest_path: {latest}}}}}"
        );
        assert_eq!(
            error(&[base, ("repos.d/r.yaml", &text)]),
            format!("DIR/repos.d/r.yaml: publish.latest_path: {expected}")
        );
    }
    // A base that lies in a tree although all that is kept there was moved elsewhere.
    let moved = (
        "conf.d/a.yaml",
        "{storage: {base_path: /data, pool_path: /p, cache_path: /c}, database: {path: /d}}",
    );
    assert_eq!(
        error(&[
            moved,
            ("repos.d/r.yaml", &rpm(", publish: {latest_path: /data}"))
        ]),
        "DIR/repos.d/r.yaml: publish.latest_path: /data contains the keyring directory (/data/gpgkeys)"
    );
    // Beside what is kept in the base there is room.
    loaded(&[
        base,
        (
            "repos.d/r.yaml",
            &rpm(", publish: {latest_path: /data/www}"),
        ),
    ]);

    assert_eq!(
        error(&[
            (
                "repos.d/a.yaml",
                "{name: a, type: rpm, rpm: {gpgcheck: false}, upstream: {url: https://h/}, \
                 publish: {latest_path: /w/a, snapshots_path: /w/a/s}}"
            ),
            (
                "repos.d/b.yaml",
                "{name: b, type: rpm, rpm: {gpgcheck: false}, upstream: {url: https://h/}, enabled: false, \
                 publish: {latest_path: /w}}"
            ),
            // A name that merely begins alike is another place.
            (
                "repos.d/c.yaml",
                "{name: a, type: rpm, rpm: {gpgcheck: false}, upstream: {url: https://h/}, publish: {latest_path: /wa}}"
            ),
        ]),
        "DIR/repos.d/c.yaml: name: a is already used in DIR/repos.d/a.yaml\n\n\
         DIR/repos.d/a.yaml: publish.snapshots_path: /w/a/s is inside publish.latest_path of a (/w/a)\n\n\
         DIR/repos.d/b.yaml: publish.latest_path: /w contains publish.latest_path of a (/w/a)"
    );
}
