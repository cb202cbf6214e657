//! What a sound configuration becomes.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::names::RepoId;
use crate::rel_path::RelPath;

use super::*;

#[test]
fn an_empty_configuration_is_all_defaults() {
    let (
        _dir,
        LoadedConfig {
            config, warnings, ..
        },
    ) = loaded(&[
        ("conf.d/empty.yaml", ""),
        ("conf.d/comments.yaml", "# storage:\n#   base_path: /x\n"),
        (
            "conf.d/sections.yaml",
            "storage:\ndownload:\n  # workers: 3\n",
        ),
        ("conf.d/.hidden.yaml", "{"),
    ]);
    assert_eq!(warnings, Vec::<String>::new());
    assert!(config.repositories.is_empty());
    assert_defaults(&config);
}

fn assert_defaults(config: &Config) {
    assert_eq!(
        config.storage,
        StorageConfig {
            base_path: "/var/lib/chantal".into(),
            pool_path: "/var/lib/chantal/pool".into(),
            cache_path: "/var/lib/chantal/cache".into(),
            database_path: "/var/lib/chantal/chantal.redb".into(),
            create: false,
        }
    );
    assert_eq!(
        config.storage.keyrings_path(),
        Path::new("/var/lib/chantal/gpgkeys")
    );
    assert_eq!(
        config.download,
        Download {
            workers: 10,
            retries: 5,
            timeout: Duration::from_mins(5),
            bandwidth_limit: None,
        }
    );
    assert_eq!(
        config.logging,
        Logging {
            level: log::LevelFilter::Info,
            file: None,
            format: LogFormat::Text,
        }
    );
    assert_eq!(
        config.cache,
        Cache {
            enabled: true,
            ttl: Duration::ZERO,
            max_age: Duration::from_hours(24),
        }
    );
    assert_eq!(config.signing, None);
    assert_eq!(config.tls_ca_file, None);
}

#[test]
fn later_files_win_key_by_key_and_paths_are_relative_to_their_file() {
    let (
        dir,
        LoadedConfig {
            config, warnings, ..
        },
    ) = loaded(&[
        (
            "conf.d/10-site.yaml",
            "storage: {base_path: ../data, pool_path: /pool}\n\
             download: {workers: 3, retries: 0, timeout: 1m, bandwidth_limit: 100M}\n\
             logging: {level: WARN, file: ./log/../c.log, format: json}\n",
        ),
        (
            "conf.d/20-host.yaml",
            "database: {url: 'redb:///db/c.redb'}\n\
             download: {workers: 4}\n\
             cache: {enabled: false, ttl: 5m, max_age: 30d}\n\
             storage: {pool_path: null, create: true}\n\
             tls: {ca_file: ../ca.pem}\n",
        ),
        ("conf.d/readme.txt", "{"),
    ]);
    assert_eq!(warnings, Vec::<String>::new());
    let below = |path: &str| dir.path().join(path);
    assert_eq!(
        config.storage,
        StorageConfig {
            base_path: below("data"),
            pool_path: "/pool".into(),
            cache_path: below("data/cache"),
            database_path: "/db/c.redb".into(),
            create: true,
        }
    );
    assert_eq!(
        config.download,
        Download {
            workers: 4,
            retries: 0,
            timeout: Duration::from_mins(1),
            bandwidth_limit: NonZeroU64::new(12_500_000),
        }
    );
    assert_eq!(
        config.logging,
        Logging {
            level: log::LevelFilter::Warn,
            file: Some(below("conf.d/c.log")),
            format: LogFormat::Json,
        }
    );
    assert_eq!(
        config.cache,
        Cache {
            enabled: false,
            ttl: Duration::from_mins(5),
            max_age: Duration::from_hours(30 * 24),
        }
    );
    assert_eq!(config.tls_ca_file, Some(below("ca.pem")));
}

#[test]
fn an_apt_repository() {
    let (
        dir,
        LoadedConfig {
            config, warnings, ..
        },
    ) = loaded(&[(
        "repos.d/any.yaml",
        "name: updates\n\
         type: apt\n\
         upstream: {url: https://deb.example.org/debian}\n\
         apt:\n\
         \x20 distribution: bookworm/updates\n\
         \x20 components: [updates/main, contrib, contrib]\n\
         \x20 architectures: arm64\n\
         \x20 udebs: true\n\
         \x20 languages: all\n\
         \x20 contents: true\n\
         \x20 gpgkey_file: [a.gpg, /b.gpg]\n\
         \x20 gpgkey_url: ../c.asc\n\
         publish: {latest_path: ../www, snapshots_path: /srv/s, auto: false, keep: 2d,\n\
         \x20         key_name: updates-archive-key.gpg}\n\
         download: {bandwidth_limit: 1MB}\n",
    )]);
    assert_eq!(warnings, Vec::<String>::new());
    assert!(config.repository(&RepoId::test("other")).is_none());
    let repository = config.repository(&RepoId::test("updates")).unwrap();
    let below = |path: &str| dir.path().join(path);
    assert_eq!(repository.file, below("repos.d/any.yaml"));
    assert!(repository.enabled);
    assert_eq!(
        repository.upstream.to_string(),
        "https://deb.example.org/debian/"
    );
    assert_eq!(repository.credentials, Credentials::None);
    assert_eq!(repository.bandwidth_limit, NonZeroU64::new(1_000_000));
    let FormatConfig::Apt(apt) = &repository.format else {
        panic!("{:?}", repository.format)
    };
    let Distribution::Suite(suite) = &apt.distribution else {
        panic!("{:?}", apt.distribution)
    };
    assert_eq!(suite.as_str(), "bookworm/updates");
    assert_eq!(apt.components, ["updates/main", "contrib"]);
    assert_eq!(apt.architectures, ["arm64"]);
    assert_eq!(
        (apt.sources, apt.udebs, apt.installer),
        (false, true, false)
    );
    assert_eq!(
        repository.trust,
        Trust {
            root: RootCheck::Required,
            packages: PackageCheck::Off,
            keys: vec![
                KeySource::File(below("repos.d/a.gpg")),
                KeySource::File("/b.gpg".into()),
                KeySource::File(below("c.asc")),
            ],
            fingerprints: Vec::new(),
            allow_weak_signatures: false,
        }
    );
    assert_eq!(
        repository.publish,
        Publish {
            latest_path: Some(below("www")),
            snapshots_path: Some("/srv/s".into()),
            auto: false,
            keep: Duration::from_hours(48),
            key_name: RelPath::parse("updates-archive-key").unwrap(),
        }
    );
}

#[test]
fn names_of_key_files() {
    let name = |text: &str| repository(text).publish.key_name.to_string();
    let longest = "x".repeat(255);
    for (given, of_rpm, of_apt) in [
        ("", "RPM-GPG-KEY-r", "r-archive-key"),
        ("KEY", "KEY", "KEY"),
        ("k.asc", "k.asc", "k"),
        ("k.gpg", "k.gpg", "k"),
        ("k.gpg.asc", "k.gpg.asc", "k.gpg"),
        ("k v1..2", "k v1..2", "k v1..2"),
        (&longest, &longest, &longest[4..]),
    ] {
        let publish = |given: &str| match given {
            "" => String::new(),
            given => format!(", publish: {{key_name: {given}}}"),
        };
        assert_eq!(name(&rpm(&publish(given))), of_rpm);
        let given = if given == longest { of_apt } else { given };
        assert_eq!(name(&apt(&publish(given))), of_apt);
    }
}

#[test]
fn flat_apt_repositories() {
    for (distribution, dir) in [("./", None), ("/", None), ("stable/x/", Some("stable/x"))] {
        let repository = repository(&format!(
            "{{name: r, type: apt, upstream: {{url: ../pkgs}}, \
             apt: {{distribution: {distribution}, gpgcheck: false}}}}"
        ));
        assert_eq!(repository.trust.root, RootCheck::Off);
        let FormatConfig::Apt(apt) = repository.format else {
            panic!("{distribution}")
        };
        let Distribution::Flat(flat) = apt.distribution else {
            panic!("{distribution}")
        };
        assert_eq!(flat.as_ref().map(RelPath::as_str), dir);
        assert_eq!(apt.components, Vec::<String>::new());
        assert_eq!(apt.architectures, ["amd64"]);
    }
}

#[test]
fn an_rpm_repository() {
    let plain = repository(&rpm(", enabled: false, rpm: {gpgkey_file: k}"));
    assert!(!plain.enabled);
    assert_eq!(
        plain.format,
        FormatConfig::Rpm(Rpm {
            architectures: None,
            sources: true,
        })
    );
    assert_eq!(plain.trust.root, RootCheck::Auto);
    assert_eq!(plain.trust.packages, PackageCheck::Required);
    assert_eq!(
        plain.publish,
        Publish {
            latest_path: None,
            snapshots_path: None,
            auto: true,
            keep: Duration::from_hours(24),
            key_name: RelPath::parse("RPM-GPG-KEY-r").unwrap(),
        }
    );

    let full = repository(&rpm(
        ", rpm: {repo_gpgcheck: true, gpgcheck: false, sources: false, \
         architectures: [x86_64, aarch64], gpgkey_url: http://h/k?T=1, \
         gpgkey_fingerprints: 0123 4567 89ab cdef 0123 4567 89ab cdef 0123 4567}",
    ));
    assert_eq!(full.trust.root, RootCheck::Required);
    assert_eq!(full.trust.packages, PackageCheck::Off);
    assert_eq!(full.trust.keys[0].to_string(), "http://h/k?[hidden]");
    assert_eq!(
        full.trust.fingerprints[0].as_str(),
        "0123456789ABCDEF0123456789ABCDEF01234567"
    );
    assert_eq!(
        full.format,
        FormatConfig::Rpm(Rpm {
            architectures: Some(vec!["x86_64".to_owned(), "aarch64".to_owned()]),
            sources: false,
        })
    );
    let off = repository(&rpm(", rpm: {repo_gpgcheck: false, gpgcheck: false}"));
    assert_eq!(off.trust.root, RootCheck::Off);
}

#[test]
fn credentials_of_every_type() {
    let inline = |text: &str| SecretSource::Inline(Secret::new(text));
    for (written, expected) in [
        ("type: none", Credentials::None),
        (
            "type: basic, username: u, password: 'a${TOKEN}'",
            Credentials::Basic {
                username: "u".to_owned(),
                password: inline("as3cret"),
            },
        ),
        (
            "type: basic, username: u, password_file: /p",
            Credentials::Basic {
                username: "u".to_owned(),
                password: SecretSource::File("/p".into()),
            },
        ),
        (
            "type: basic, username: u, password_command: 'pass show x'",
            Credentials::Basic {
                username: "u".to_owned(),
                password: SecretSource::Command("pass show x".to_owned()),
            },
        ),
        (
            "type: bearer, token: 12_0",
            Credentials::Bearer {
                token: inline("12_0"),
            },
        ),
        (
            "type: header, name: X-Key, value: 'k ${TOKEN}'",
            Credentials::Header {
                name: "X-Key".to_owned(),
                value: inline("k s3cret"),
            },
        ),
        (
            "type: client_cert, cert: /c, key: /k, ca_cert: /a",
            Credentials::ClientCert {
                cert: "/c".into(),
                key: "/k".into(),
                ca_cert: Some("/a".into()),
            },
        ),
    ] {
        let repository = repository(&rpm(&format!(", credentials: {{{written}}}")));
        assert_eq!(repository.credentials, expected, "{written}");
    }
}

#[test]
fn a_signing_key_and_its_passphrase_may_be_set_in_two_files() {
    let (
        dir,
        LoadedConfig {
            config, warnings, ..
        },
    ) = loaded(&[
        ("conf.d/a.yaml", "signing: {passphrase_file: ../secret/p}"),
        ("conf.d/signing.yaml", "signing: {key_file: ../keys/k.asc}"),
    ]);
    assert_eq!(warnings, Vec::<String>::new());
    let expected = Signing {
        key_file: dir.path().join("keys/k.asc"),
        passphrase_file: Some(dir.path().join("secret/p")),
    };
    assert_eq!(config.signing, Some(expected));
}

#[test]
fn what_works_but_should_be_known_is_a_warning() {
    for (files, expected) in [
        (
            &[("conf.d/a.yaml", "database: {pool_size: 5}")][..],
            "DIR/conf.d/a.yaml: database.pool_size: has no effect: the database is a local file without connections",
        ),
        (
            &[("conf.d/a.yml", "{")],
            "DIR/conf.d/a.yml: ignored: the file name must end in .yaml",
        ),
        (
            &[(
                "repos.d/r.yaml",
                "{name: r, type: rpm, rpm: {gpgcheck: false}, upstream: {url: http://h/}, \
                 credentials: {type: bearer, token: t}}",
            )],
            "DIR/repos.d/r.yaml: credentials.type: the upstream uses plain http: \
             the credentials could be intercepted in transit",
        ),
        (
            &[
                ("conf.d/a.yaml", "download: {bandwidth_limit: 1MB}"),
                ("repos.d/r.yaml", &rpm(", download: {bandwidth_limit: 9M}")),
            ],
            "DIR/repos.d/r.yaml: download.bandwidth_limit: has no effect: \
             the global limit is lower",
        ),
    ] {
        assert_eq!(warnings(files), [expected]);
    }
}

#[test]
fn secrets_in_files_that_others_can_read() {
    let with = |url: &str, token: &str| {
        format!(
            "{{name: r, type: rpm, rpm: {{gpgcheck: false}}, upstream: {{url: '{url}'}}, \
             credentials: {{type: bearer, {token}}}}}"
        )
    };
    let warned = |text: String, mode: u32| {
        let dir = write(&[("repos.d/r.yaml", &text)]);
        let file = dir.path().join("repos.d/r.yaml");
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let loaded = load_with(dir.path(), &environment).unwrap();
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        let warnings = loaded.warnings.iter();
        warnings.map(|text| without(&dir, text)).collect::<Vec<_>>()
    };
    let about = |key: &str| {
        let what = match key {
            "upstream.url" => "may contain a secret in its query",
            _ => "is a secret",
        };
        format!(
            "DIR/repos.d/r.yaml: {key}: {what}, but other users can read the file (mode 0644): run `chmod 600` on it"
        )
    };
    let (plain, query) = ("https://h/", "https://h/?k3y=v");
    for (url, token, keys) in [
        (plain, "token: t", &["credentials.token"][..]),
        (query, "token: t", &["upstream.url", "credentials.token"]),
        (plain, "token: '${TOKEN}'", &[]),
        (plain, "token_file: /nonexistent", &[]),
    ] {
        let expected: Vec<String> = keys.iter().map(|key| about(key)).collect();
        assert_eq!(warned(with(url, token), 0o644), expected, "{url} {token}");
        assert!(warned(with(url, token), 0o600).is_empty());
    }
}

#[test]
fn the_examples_load_and_say_the_defaults() {
    let (
        _dir,
        LoadedConfig {
            config, warnings, ..
        },
    ) = loaded(&[
        ("conf.d/global.yaml", EXAMPLE_GLOBAL),
        ("repos.d/example-debian.yaml", EXAMPLE_APT),
        ("repos.d/example-epel.yaml", EXAMPLE_RPM),
    ]);
    assert_eq!(warnings, Vec::<String>::new());
    assert_defaults(&config);
    let mut names = Vec::new();
    for repository in &config.repositories {
        assert!(!repository.enabled);
        assert!(repository.publish.auto);
        assert_eq!(repository.publish.keep, Duration::from_hours(24));
        assert_eq!(repository.bandwidth_limit, None);
        let published = PathBuf::from(format!("/srv/www/{}", repository.id));
        assert_eq!(repository.publish.latest_path, Some(published));
        names.push(repository.id.as_str());
    }
    assert_eq!(names, ["example-debian", "example-epel9"]);
}

#[test]
fn what_the_examples_have_commented_out_is_valid_too() {
    for (name, text) in [("d", EXAMPLE_APT), ("e", EXAMPLE_RPM)] {
        // Settings begin with a key of lower case and a colon; prose does not.
        let is_setting = |rest: &str| {
            rest.trim_start()
                .split_once(':')
                .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        };
        let uncommented: String = text
            .lines()
            .map(|line| match line.trim_start().strip_prefix("# ") {
                Some(rest) if is_setting(rest) => format!("{}\n", line.replacen("# ", "", 1)),
                _ => format!("{line}\n"),
            })
            .collect();
        assert!(uncommented.contains("\ncredentials:\n"));
        let repository = repository(&uncommented);
        assert_ne!(repository.credentials, Credentials::None, "{name}");
    }
}

/// Every key of the documentation's tables, so that none is missing in `written`.
const EVERY_GLOBAL_KEY: &str = "
storage: {base_path: /b, pool_path: /p, cache_path: /c, create: true}
database: {path: /d, url: 'redb:///d', pool_size: 5}
download: {workers: 1, retries: 1, timeout: 1, bandwidth_limit: 1M}
logging: {level: debug, file: /l, format: json}
cache: {enabled: false, ttl: 1s, max_age: 1h}
signing: {key_file: /k, passphrase_file: /p}
media: {destination: d, trusted_keys: [/k], publish_root: /r, hold: 1d, destinations: {e: {key_file: /k}}}
proxy: {url: http://p}
tls: {ca_file: /ca}
metrics: {file: /m}
notify: {command: /n}
";

const EVERY_REPOSITORY_KEY: &str = "
name: n
type: rpm
enabled: true
upstream: {url: https://h/, mirrors: [https://m/], mirrorlist: https://l/, metalink: https://x/, media: true}
credentials: {type: basic, username: u, password: p, password_file: f, password_command: c,
  token: t, token_file: f, token_command: c, name: n, value: v, value_file: f, cert: c, key: k, ca_cert: a}
rpm: {gpgcheck: true, repo_gpgcheck: auto, gpgkey_url: [a, b], gpgkey_file: c, gpgkey_fingerprints: [d],
  on_bad_package: fail, architectures: [x86_64], sources: false}
apt: {gpgcheck: true, gpgkey_url: a, gpgkey_file: [b], gpgkey_fingerprints: c, distribution: sid,
  components: [main], architectures: [amd64], sources: true, udebs: true, installer: true,
  languages: [en], contents: false, appstream: false, cnf: false}
allow_weak_signatures: true
check_valid_until: false
check_date: false
filters: {include: [a], exclude: [b], source_packages: [h], architectures: [c], sections: [d], priorities: [e], groups: [f],
  modules: [g], newest: 2, max_size: 1GB, with_dependencies: true}
publish: {latest_path: /l, snapshots_path: /s, auto: false, keep: 1h, key_name: k}
download: {bandwidth_limit: 1MB}
proxy: none
";

#[test]
fn every_documented_key_is_known() {
    let dir = write(&[
        ("global.yaml", EVERY_GLOBAL_KEY),
        ("repository.yaml", EVERY_REPOSITORY_KEY),
    ]);
    let global: written::Global = parse::file(&dir.path().join("global.yaml")).unwrap();
    let repository: written::Repository = parse::file(&dir.path().join("repository.yaml")).unwrap();
    // Everything is set: what the struct has and the text lacks would show as None.
    for parsed in [format!("{global:?}"), format!("{repository:?}")] {
        assert!(!parsed.contains(": None"), "{parsed}");
    }
}
