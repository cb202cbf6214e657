//! `snapshot diff`: what became of packages between two states, and why.

use std::fs;

use serde_json::json;

use crate::kit::chantal::{Chantal, NO_STORAGE, Repository};
use crate::kit::mirror::Mirror;
use crate::kit::process::Output;
use crate::kit::server::Server;
use crate::kit::upstream::{Checksum, Codec, DebExtra, Package, Roots, RpmExtra, Upstream};

/// A repository `r`, synced and not published.
fn synced(upstream: Upstream) -> Mirror {
    with(upstream, |repository| repository)
}

fn with(upstream: Upstream, change: fn(Repository) -> Repository) -> Mirror {
    Mirror::of(upstream)
        .defined(|repository| change(repository.unpublished()))
        .synced()
}

/// The next day's upstream, synced.
fn next(mirror: &mut Mirror, change: impl FnOnce(&mut Upstream)) {
    mirror.next(change);
    mirror.run(&["repo", "sync", "--all"]).succeeds();
}

fn diff(mirror: &Mirror, from: &str, to: &str, more: &[&str]) -> Output {
    let args = ["snapshot", "diff", "--from", from, "--to", to];
    mirror.run(&[&args[..], more].concat())
}

fn json_diff(mirror: &Mirror, from: &str, to: &str) -> serde_json::Value {
    diff(mirror, from, to, &["--format", "json"])
        .succeeds()
        .json()
}

fn raw(name: &str, version: &str, size: usize) -> Package {
    Package::new(name, version)
        .independent()
        .raw(format!("{name:x<size$}").as_bytes())
}

/// One of each change. Of `many`, three versions and then two others of four.
fn changed(upstream: Upstream) -> Mirror {
    let upstream = [
        raw("down", "1:0.5-1", 40),
        raw("gone", "1-1", 7),
        raw("many", "1-1", 10),
        raw("many", "2-1", 11),
        raw("many", "9-1", 19),
        raw("rebuilt", "1-1", 20),
        raw("same", "1-1", 30),
        raw("up", "1.0~rc1-1", 2000),
    ]
    .into_iter()
    .fold(upstream, Upstream::package);
    let mut mirror = synced(upstream);
    mirror.snapshot("old");
    next(&mut mirror, |upstream| {
        upstream.remove("gone");
        upstream.replace(raw("down", "2.0-1", 41));
        upstream.replace(raw("rebuilt", "1-1", 25));
        upstream.replace(raw("up", "1.0-1", 4048));
        upstream.replace(raw("many", "9-1", 19));
        upstream.add(raw("many", "10-1", 12));
        upstream.add(raw("many", "8-1", 13));
        upstream.add(raw("came", "1-1", 5));
    });
    mirror.snapshot("new");
    mirror
}

const TABLE: &str = "\
CHANGE      PACKAGE  ARCHITECTURE  FROM       TO     SIZE
added       came     all           -          1-1    +5 B
downgraded  down     all           1:0.5-1    2.0-1  +1 B
removed     gone     all           1-1        -      -7 B
removed     many     all           1-1        -      -10 B
added       many     all           -          8-1    +13 B
upgraded    many     all           2-1        10-1   +1 B
rebuilt     rebuilt  all           1-1        1-1    +5 B
upgraded    up       all           1.0~rc1-1  1.0-1  +2.00 KiB
";

const CSV: &str = "\
change,name,architecture,from,to,bytes_added,bytes_removed,source,advisories,cves\r
added,came,all,,1-1,5,0,SOURCE,,\r
downgraded,down,all,1:0.5-1,2.0-1,41,40,SOURCE,,\r
removed,gone,all,1-1,,0,7,SOURCE,,\r
removed,many,all,1-1,,0,10,SOURCE,,\r
added,many,all,,8-1,13,0,SOURCE,,\r
upgraded,many,all,2-1,10-1,12,11,SOURCE,,\r
rebuilt,rebuilt,all,1-1,1-1,25,20,SOURCE,,\r
upgraded,up,all,1.0~rc1-1,1.0-1,4048,2000,SOURCE,,\r
";

#[test]
fn every_kind_of_change_is_told() {
    for upstream in Upstream::both() {
        let is_apt = upstream.kind() == "apt";
        let mirror = changed(upstream);
        let counts = "2 added, 2 removed, 2 upgraded, 1 downgraded, 1 rebuilt: +2.01 KiB \
                      (4.05 KiB added, 2.04 KiB removed)\n";
        let text = if is_apt {
            format!(
                "{TABLE}\n\
                 SOURCE   FROM       TO     PACKAGES\n\
                 came     -          1-1    1\n\
                 down     1:0.5-1    2.0-1  1\n\
                 gone     1-1        -      1\n\
                 many     2-1        10-1   3\n\
                 rebuilt  1-1        1-1    1\n\
                 up       1.0~rc1-1  1.0-1  1\n\
                 \n{counts}Source packages: 6\n"
            )
        } else {
            // The architecture is a column of its own.
            let table = TABLE.replace(" all   ", " noarch");
            format!("{table}\n{counts}Advisories: 0 new (0 for changed packages), 0 withdrawn\n")
        };
        diff(&mirror, "old", "new", &[]).succeeds().says(&text);
        diff(&mirror, "r/old", "r", &[]).succeeds().says(&text);
        diff(&mirror, "r/old", "r/latest", &[])
            .succeeds()
            .says(&text);

        let csv: String = CSV
            .split_inclusive('\n')
            .map(|line| {
                let name = line.split(',').nth(1).unwrap();
                if is_apt {
                    line.replace("SOURCE", name)
                } else {
                    line.replace("SOURCE", "").replace(",all,", ",noarch,")
                }
            })
            .collect();
        diff(&mirror, "old", "new", &["--format", "csv"])
            .succeeds()
            .says(&csv);

        let told = json_diff(&mirror, "old", "new");
        assert_eq!(told["type"], mirror.upstream.kind());
        assert_eq!(told["from"]["snapshot"], "old");
        assert_eq!(told["to"]["packages"], 8);
        assert_eq!(told["packages"].as_array().unwrap().len(), 8);
        let up = &told["packages"][7];
        assert_eq!(
            [&up["change"], &up["from"], &up["to"], &up["bytes_added"]],
            [
                &json!("upgraded"),
                &json!("1.0~rc1-1"),
                &json!("1.0-1"),
                &json!(4048)
            ]
        );
        assert_eq!(told["advisories"].is_null(), is_apt);
        assert_eq!(told["sources"].is_null(), !is_apt);

        // The other way round what came goes.
        let back = json_diff(&mirror, "new", "old");
        for (one, other) in [
            ("added", "removed"),
            ("upgraded", "downgraded"),
            ("rebuilt", "rebuilt"),
            ("bytes_added", "bytes_removed"),
        ] {
            assert_eq!(told["summary"][one], back["summary"][other], "{one}");
        }
    }
}

#[test]
fn a_summary_has_numbers_only() {
    let [apt, rpm] = Upstream::both().map(changed);
    diff(&apt, "old", "new", &["--summary"]).succeeds().says(
        "added            2\n\
         removed          2\n\
         upgraded         2\n\
         downgraded       1\n\
         rebuilt          1\n\
         bytes added      4.05 KiB\n\
         bytes removed    2.04 KiB\n\
         source packages  6\n",
    );
    diff(&rpm, "old", "new", &["--summary", "--format", "csv"])
        .succeeds()
        .says(
            "what,number\r\nadded,2\r\nremoved,2\r\nupgraded,2\r\ndowngraded,1\r\nrebuilt,1\r\n\
             bytes added,4144\r\nbytes removed,2088\r\nnew advisories,0\r\ntheir CVEs,0\r\n\
             new advisories for unchanged packages,0\r\nwithdrawn advisories,0\r\n",
        );
    let told = diff(&apt, "old", "new", &["--summary", "--format", "json"])
        .succeeds()
        .json();
    assert_eq!(told["summary"]["upgraded"], 2);
    assert_eq!(told["summary"]["identical"], false);
    for list in ["packages", "sources", "advisories"] {
        assert!(told[list].is_null(), "{told}");
    }
}

#[test]
fn where_no_package_differs_that_is_said() {
    for upstream in Upstream::both() {
        let mut mirror = synced(upstream.package(raw("hello", "1.0-1", 10)));
        mirror.snapshot("old");
        let csv = |mirror: &Mirror| diff(mirror, "old", "r", &["--format", "csv"]).succeeds();
        diff(&mirror, "old", "r", &[])
            .succeeds()
            .says("no differences\n");
        assert_eq!(json_diff(&mirror, "old", "r")["summary"]["identical"], true);
        next(&mut mirror, |_| {});
        diff(&mirror, "old", "r", &[])
            .succeeds()
            .says("no packages differ, but other files do\n");
        assert_eq!(csv(&mirror).stdout.lines().count(), 1);
    }
}

#[test]
fn states_are_named_without_doubt() {
    let mirror = changed(Upstream::rpm());
    let diff = |from: &str, to: &str| diff(&mirror, from, to, &[]);
    diff("old", "nowhere").fails_with(
        2,
        "error: unknown snapshot or state nowhere (known: r/latest, r/new, r/old)\n",
    );
    diff("x/latest", "old").fails_with(
        2,
        "error: unknown snapshot or state x/latest (known: r/latest, r/new, r/old)\n",
    );
    let stderr = diff("latest", "old").exits(2).stderr;
    assert!(
        stderr.contains("`latest` is reserved for the latest state of a repository"),
        "{stderr}"
    );
    // A snapshot may be called like a repository.
    mirror.snapshot("r");
    diff("r", "old").fails_with(2, "error: r is ambiguous: r/latest, r/r\n");
    diff("r/r", "r/latest").succeeds().says("no differences\n");

    let other = Upstream::deb().package(raw("hello", "1.0-1", 10));
    let server = Server::start(other.build().tree);
    mirror
        .chantal
        .repository(&Repository::of("a", &other, &server.url()).unpublished());
    mirror.run(&["repo", "sync", "--all"]).succeeds();
    diff("old", "a").fails_with(
        2,
        "error: cannot compare r/old (rpm) with a/latest (apt): different types\n",
    );
}

#[test]
fn nothing_else_has_csv() {
    let chantal = Chantal::new();
    for command in [&["repo", "list"][..], &["snapshot", "list"], &["init"]] {
        chantal
            .run(&[&["--format", "csv"], command].concat())
            .fails_with(
                2,
                "error: --format csv is only supported by `snapshot diff`: use text or json\n",
            );
    }
    assert!(!chantal.data().exists());
    chantal
        .run(&["snapshot", "diff", "--from", "a", "--to", "b"])
        .fails_with(
            2,
            &format!("{NO_STORAGE}error: unknown snapshot or state a\n"),
        );
}

/// What is compared was stored: the configuration may say otherwise now, or nothing.
#[test]
fn a_definition_that_is_gone_is_not_missed() {
    for upstream in Upstream::both() {
        let mirror = changed(upstream);
        let before = diff(&mirror, "old", "new", &[]).succeeds().stdout;
        fs::remove_file(mirror.chantal.config().join("repos.d/r.yaml")).unwrap();
        diff(&mirror, "old", "new", &[]).succeeds().says(&before);
    }
}

/// Two selections of one root: its indexes are the same, and still not all of them are on both
/// sides.
#[test]
fn repositories_of_one_upstream_can_be_compared() {
    let upstream = Upstream::deb()
        .with_deb(|deb| deb.components = vec!["main".to_owned(), "extra".to_owned()])
        .package(raw("hello", "1.0-1", 10))
        .package(
            raw("more", "1.0-1", 10)
                .component("extra")
                .field("Source: src"),
        );
    let mirror = with(upstream, |repository| {
        repository.format("components: [main]")
    });
    mirror
        .chantal
        .repository(&Repository::of("all", &mirror.upstream, &mirror.server.url()).unpublished());
    mirror.run(&["repo", "sync", "--all"]).succeeds();
    let told = json_diff(&mirror, "r", "all");
    assert_eq!(told["packages"].as_array().unwrap().len(), 1);
    assert_eq!(told["packages"][0]["source"], "src");
    assert_eq!(json_diff(&mirror, "all", "r")["summary"]["removed"], 1);
}

fn advisory(id: &str, more: &str, packages: &[(&str, &str)]) -> String {
    let packages: Vec<String> = packages
        .iter()
        .map(|(name, version)| {
            format!("<package name=\"{name}\" epoch=\"0\" version=\"{version}\" release=\"1\" arch=\"noarch\"/>")
        })
        .collect();
    format!(
        "<update type=\"security\"><id>{id}</id>{more}<pkglist><collection>{}</collection></pkglist></update>\n",
        packages.concat()
    )
}

fn cve(id: &str) -> String {
    format!("<reference type=\"cve\" id=\"{id}\"/>")
}

#[test]
fn new_advisories_about_what_changed_are_shown() {
    let known = advisory("KNOWN", "", &[("up", "2")]);
    let mut upstream = Upstream::rpm().package(raw("up", "1-1", 10));
    upstream = upstream.package(raw("stays", "1-1", 11));
    let upstream = upstream.with_rpm(|rpm| {
        rpm.extras.insert(RpmExtra::Updateinfo);
        rpm.advisories = Some(known.clone() + &advisory("GONE", "", &[("up", "1")]));
    });
    let mut mirror = synced(upstream);
    mirror.snapshot("old");
    next(&mut mirror, |upstream| {
        upstream.replace(raw("up", "3-1", 10));
        upstream.add(raw("came", "1-1", 10));
        let two = format!(
            "<title>a, \"b\" \u{202e}</title><severity>Important</severity><references>{}{}<reference type=\"bugzilla\" id=\"7\"/></references>",
            cve("CVE-2026-2"),
            cve("CVE-2026-1")
        );
        let many: Vec<String> = (1..=5).map(|n| cve(&format!("CVE-2026-{n}"))).collect();
        let many = format!("<references>{}</references>", many.concat());
        upstream.rpm_mut().advisories = Some(
            [
                known.clone(),
                // The version in between is not there any more: its fix is.
                advisory("BETWEEN", &two, &[("up", "2"), ("else", "3")]),
                advisory("EXACT", &many, &[("up", "3"), ("came", "1")]),
                advisory("BEFORE", "", &[("up", "1")]),
                advisory("LATER", "", &[("up", "4")]),
                advisory("STAYS", "", &[("stays", "1")]),
                advisory("EXACT", "", &[("up", "3")]),
            ]
            .concat(),
        );
    });
    diff(&mirror, "old", "r", &[]).succeeds().says(
        "CHANGE    PACKAGE  ARCHITECTURE  FROM  TO   SIZE\n\
         added     came     noarch        -     1-1  +10 B\n\
         upgraded  up       noarch        1-1   3-1  0 B\n\
         \n\
         ADVISORY  TYPE      SEVERITY   CVES                               TITLE\n\
         BETWEEN   security  Important  CVE-2026-1, CVE-2026-2             a, \"b\" \\u{202e}\n\
         EXACT     security  -          CVE-2026-1, CVE-2026-2 and 3 more\n\
         \n\
         1 added, 0 removed, 1 upgraded, 0 downgraded, 0 rebuilt: +10 B (10 B added, 0 B removed)\n\
         Advisories: 5 new (2 for changed packages), 1 withdrawn\n",
    );
    let told = json_diff(&mirror, "old", "r");
    assert_eq!(
        told["advisories"],
        json!([
            {
                "id": "BETWEEN", "type": "security", "severity": "Important",
                "title": "a, \"b\" \u{202e}", "cves": ["CVE-2026-1", "CVE-2026-2"],
                "packages": ["up"],
            },
            {
                "id": "EXACT", "type": "security", "severity": null, "title": "",
                "cves": ["CVE-2026-1", "CVE-2026-2", "CVE-2026-3", "CVE-2026-4", "CVE-2026-5"],
                "packages": ["came", "up"],
            },
        ])
    );
    assert_eq!(
        told["summary"]["advisories"],
        json!({"new": 2, "cves": 5, "unrelated": 3, "gone": 1})
    );
    assert_eq!(
        told["packages"][1]["advisories"],
        json!(["BETWEEN", "EXACT"])
    );
    let csv = diff(&mirror, "old", "r", &["--format", "csv"]).succeeds();
    assert!(
        csv.stdout.ends_with(
            "upgraded,up,noarch,1-1,3-1,0,0,,BETWEEN EXACT,\
             CVE-2026-1 CVE-2026-2 CVE-2026-3 CVE-2026-4 CVE-2026-5\r\n"
        ),
        "{}",
        csv.stdout
    );
}

/// No sync reads advisories.
#[test]
fn advisories_that_cannot_be_read_hide_no_package() {
    let upstream = Upstream::rpm().package(raw("up", "1-1", 10));
    let upstream = upstream.with_rpm(|rpm| rpm.extras = [RpmExtra::Updateinfo].into());
    let mut mirror = synced(upstream);
    mirror.snapshot("old");
    next(&mut mirror, |upstream| {
        upstream.replace(raw("up", "2-1", 10));
        upstream.rpm_mut().advisories = Some("<update/>".to_owned());
    });
    let diff = diff(&mirror, "old", "r", &[]).exits(0);
    assert!(diff.stdout.contains("upgraded  up"), "{}", diff.stdout);
    assert_eq!(
        diff.stderr,
        "warning: updateinfo: an update has an ID of 0 bytes\n"
    );
}

#[test]
fn source_packages_behind_the_changed_ones() {
    let flat = |upstream: Upstream| upstream.with_deb(|deb| deb.flat = Some("./".to_owned()));
    let layouts: [fn(Upstream) -> Upstream; 4] = [
        |upstream| upstream,
        |upstream| upstream.with_deb(|deb| deb.roots = Roots::DetachedOnly),
        |upstream| {
            upstream.with_deb(|deb| {
                deb.compressions = vec![Codec::Xz];
                "deep/suite".clone_into(&mut deb.suite);
                deb.components = vec!["updates/main".to_owned()];
            })
        },
        flat,
    ];
    for layout in layouts {
        let built_from =
            |package: Package, source: &str| package.field(&format!("Source: {source}"));
        let upstream = layout(Upstream::deb())
            .package(built_from(raw("a-bin", "1.0-1+b1", 10), "a (1.0-1)"))
            .package(built_from(raw("a-lib", "5:1-1", 10), "a (1.0-1)"))
            .package(raw("own", "1-1", 10));
        let mut mirror = synced(upstream);
        mirror.snapshot("old");
        next(&mut mirror, |upstream| {
            upstream.replace(built_from(raw("a-bin", "1.0-1+b2", 11), "a (1.0-1)"));
            upstream.replace(built_from(raw("a-lib", "5:2-1", 12), "a (1.0-2)"));
            upstream.replace(raw("own", "2-1", 13));
            upstream.add(built_from(raw("b-bin", "3-1", 14), "b"));
        });
        let told = json_diff(&mirror, "old", "r");
        assert_eq!(
            told["sources"],
            json!([
                {"name": "a", "from": "1.0-1", "to": "1.0-2", "packages": 2},
                {"name": "b", "from": null, "to": "3-1", "packages": 1},
                {"name": "own", "from": "1-1", "to": "2-1", "packages": 1},
            ])
        );
        let sources: Vec<&str> = told["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["source"].as_str().unwrap())
            .collect();
        assert_eq!(sources, ["a", "a", "b", "own"]);
    }
}

#[test]
fn a_source_package_is_one_however_many_files_it_has() {
    let upstream = Upstream::deb().package(raw("hello", "1.0-1", 10));
    let upstream = upstream.with_deb(|deb| deb.extras = [DebExtra::Sources].into());
    let mut mirror = with(upstream, |repository| repository.format("sources: true"));
    mirror.snapshot("old");
    next(&mut mirror, |upstream| {
        upstream.replace(raw("hello", "1.0-2", 10));
    });
    let told = json_diff(&mirror, "old", "r");
    let rows: Vec<[&str; 3]> = told["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["change", "architecture", "source"].map(|key| row[key].as_str().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            ["upgraded", "all", "hello"],
            ["upgraded", "source", "hello"]
        ]
    );
    assert_eq!(
        told["sources"],
        json!([{"name": "hello", "from": "1.0-1", "to": "1.0-2", "packages": 2}])
    );
    // The archive inside is the same: only the description counts.
    let dsc = |version: &str| format!("Format: 3.0 (native)\nSource: hello\nVersion: {version}\n");
    assert_eq!(
        [
            &told["packages"][1]["bytes_added"],
            &told["packages"][1]["bytes_removed"]
        ],
        [&json!(dsc("1.0-2").len()), &json!(dsc("1.0-1").len())]
    );
}

/// Of several variants the one that is quick to unpack is read, and held against what the root
/// declares.
#[test]
fn only_the_index_that_is_meant_is_read() {
    let upstream = Upstream::deb().package(raw("hello", "1.0-1", 10));
    let mut mirror = synced(upstream);
    mirror.snapshot("old");
    next(&mut mirror, |upstream| {
        upstream.replace(raw("hello", "2.0-1", 10));
    });
    let before = diff(&mirror, "old", "r", &[]).succeeds().stdout;
    let built = mirror.upstream.build();
    let object = |end: &str| {
        let hex = Checksum::Sha256.hex(built.tree.bytes(&built.ending(end)));
        let pool = mirror.chantal.data().join("pool/sha256");
        pool.join(&hex[..2]).join(hex)
    };
    fs::remove_file(object("Packages.xz")).unwrap();
    diff(&mirror, "old", "r", &[]).succeeds().says(&before);

    let gz = object("Packages.gz");
    fs::remove_file(&gz).unwrap();
    fs::write(&gz, Codec::Gz.compress(b"Package: hello\n")).unwrap();
    let stderr = diff(&mirror, "old", "r", &[]).exits(5).stderr;
    let gz = gz.file_name().unwrap().to_str().unwrap();
    let path = built.ending("Packages.gz");
    let expected = format!("error: object {gz} of {path} is missing from the pool or damaged\n");
    assert!(stderr.starts_with(&expected), "{stderr}");
}

#[test]
fn an_index_that_the_pool_lost_is_said() {
    for upstream in Upstream::both() {
        let mirror = changed(upstream);
        let pool = mirror.chantal.data().join("pool/sha256");
        fs::remove_dir_all(&pool).unwrap();
        fs::create_dir(&pool).unwrap();
        let stderr = diff(&mirror, "old", "new", &[]).exits(5).stderr;
        assert!(
            stderr.contains("is missing from the pool or damaged"),
            "{stderr}"
        );
    }
}
