//! Indexes that only describe packages and that no client can read: filters and merges do without
//! them, and say so.

use serde_json::Value;

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::mirror::{Mirror, SYNC};
use crate::kit::process::Output;
use crate::kit::server::Server;
use crate::kit::upstream::{DebExtra, Package, RpmExtra, Upstream};

const TYPO: &str =
    "not well-formed XML: ill-formed document: expected `</severity>`, but `</severty>` was found";

fn rpm() -> Upstream {
    Upstream::rpm()
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("other", "1-1"))
        .with_rpm(|rpm| {
            rpm.extras = [
                RpmExtra::Updateinfo,
                RpmExtra::Modules,
                RpmExtra::Comps,
                RpmExtra::Prestodelta,
            ]
            .into();
        })
}

fn deb() -> Upstream {
    Upstream::deb()
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("other", "1"))
        .with_deb(|deb| {
            deb.extras.extend([DebExtra::Contents, DebExtra::Appstream]);
            deb.languages.push("en".to_owned());
        })
}

fn sync(chantal: &Chantal) -> Output {
    chantal.run(&SYNC)
}

fn json(chantal: &Chantal, args: &[&str]) -> Value {
    let args = [&["--format", "json"], args].concat();
    chantal.run(&args).exits(0).json()
}

fn mirror_of(upstream: &Upstream, more: &str) -> Mirror {
    Mirror::of(upstream.clone()).defined(|repository| repository.more(more))
}

#[test]
fn a_filter_does_without_advisories_that_cannot_be_read() {
    let upstream = rpm().change("updateinfo", "</severity>", "</severty>");
    let mirror = mirror_of(&upstream, "filters:\n  exclude: [other]\n");
    let chantal = &mirror.chantal;
    let warning = format!(
        "warning: r: updateinfo skipped in the new metadata (clients cannot read it): {TYPO}\n"
    );
    assert_eq!(sync(chantal).exits(0).stderr, warning);
    let tree = chantal.published_tree("r");
    assert!(!tree.paths().iter().any(|path| path.contains("updateinfo")));
    assert!(!tree.text("repodata/repomd.xml").contains("updateinfo"));
    let show = ["repo", "show", "--repo-id", "r"];
    let said = chantal.run(&show).exits(0).stdout;
    let line = said
        .lines()
        .find(|line| line.starts_with("skipped"))
        .unwrap();
    assert!(line.ends_with(&format!("updateinfo ({TYPO})")), "{line}");
    let shown: Value = json(chantal, &show);
    assert_eq!(shown["state"]["left_out"]["updateinfo"], TYPO);
    let history = ["repo", "history", "--repo-id", "r"];
    let said = chantal.run(&history).exits(0).stdout;
    assert!(
        said.trim_end().ends_with("changed, skipped: updateinfo"),
        "{said}"
    );
    let past: Value = json(chantal, &history);
    assert_eq!(past[0]["left_out"][0], "updateinfo");
    chantal
        .run(&["snapshot", "create", "--repo-id", "r", "--name", "s"])
        .exits(0);
    let shown: Value = json(chantal, &["snapshot", "show", "--name", "r/s"]);
    assert_eq!(shown["left_out"]["updateinfo"], TYPO);
}

/// What is written anew from a good upstream has all of it again.
#[test]
fn an_index_comes_back_when_it_is_mended() {
    let upstream = rpm().change("updateinfo", "</severity>", "</severty>");
    let mirror = mirror_of(&upstream, "filters:\n  exclude: [other]\n");
    let (chantal, server) = (&mirror.chantal, &mirror.server);
    sync(chantal).exits(0);
    let mut upstream = rpm();
    upstream.bump_date();
    server.swap(upstream.build().tree);
    assert_eq!(sync(chantal).exits(0).stderr, "");
    assert!(
        chantal
            .published_tree("r")
            .text("repodata/repomd.xml")
            .contains("updateinfo")
    );
    let shown: Value = json(chantal, &["repo", "show", "--repo-id", "r"]);
    assert!(shown["state"].get("left_out").is_none());
}

/// Unfiltered is byte for byte: clients find what the upstream has.
#[test]
fn a_verbatim_mirror_has_it_as_it_is() {
    let upstream = rpm().change("updateinfo", "</severity>", "</severty>");
    let mirror = mirror_of(&upstream, "");
    let chantal = &mirror.chantal;
    assert_eq!(sync(chantal).exits(0).stderr, "");
    let tree = chantal.published_tree("r");
    assert!(tree.paths().iter().any(|path| path.contains("updateinfo")));
}

#[test]
fn what_only_describes_packages_never_stops_a_filter() {
    let long = format!("{}\thello\n", "x".repeat(5 << 20));
    for (upstream, name) in [
        (rpm().change("updateinfo", "fixed", "a & b"), "updateinfo"),
        (rpm().change("updateinfo", "fixed", "&nbsp;"), "updateinfo"),
        (
            rpm().change("updateinfo", "status=\"stable\"", "status=stable"),
            "updateinfo",
        ),
        (
            rpm().change("updateinfo", "from=\"", "from=\"<"),
            "updateinfo",
        ),
        (
            rpm().change("updateinfo", "version=\"1\"", "version=\"&#1;\""),
            "updateinfo",
        ),
        (rpm().change("updateinfo", "fixed", "a\u{1}b"), "updateinfo"),
        (
            rpm().change("updateinfo", "fixed", "<!-- a -- b -->"),
            "updateinfo",
        ),
        (rpm().change("updateinfo", "</updates>", ""), "updateinfo"),
        (rpm().change("updateinfo", "", ""), "updateinfo"),
        (rpm().change("updateinfo", "", "<html/>"), "updateinfo"),
        (rpm().change("other", "</package>", "</pkg>"), "other"),
        (
            rpm().change("filelists", "<file>", "<file type=dir>"),
            "filelists",
        ),
        (
            rpm().change("filelists", "<file>", "<file type=\"a\" type=\"b\">"),
            "filelists",
        ),
        (rpm().change("group", "</group>", "</grp>"), "group"),
        (rpm().change("group", "<id>kit</id>", ""), "group"),
        (rpm().change("group", "Kit", b"K\xefT".to_vec()), "group"),
        (
            deb().change("Contents-amd64", "", long),
            "main/Contents-amd64",
        ),
        (
            deb().change("Translation-en", "Package: hello\n", ""),
            "main/i18n/Translation-en",
        ),
    ] {
        let mirror = mirror_of(&upstream, "filters:\n  exclude: [other]\n");
        let chantal = &mirror.chantal;
        let said = sync(chantal).exits(0).stderr;
        let start = format!("warning: r: {name} skipped in the new metadata");
        // Of groups both forms are.
        let forms = if name == "group" { 2 } else { 1 };
        assert!(
            said.starts_with(&start) && said.lines().count() == forms,
            "{said}"
        );
        let tree = chantal.published_tree("r");
        let end = name.rsplit('/').next().unwrap();
        let end = if end == "group" { "comps" } else { end };
        assert!(
            !tree.paths().iter().any(|path| path.contains(end)),
            "{name}"
        );
    }
}

/// Clients decode what an index declares.
#[test]
fn what_is_declared_to_be_latin_1_is_read() {
    const UTF_8: &str = "encoding=\"UTF-8\"";
    let declared = |upstream: Upstream, index| {
        upstream.change(index, UTF_8, UTF_8.replace("UTF-8", "ISO-8859-1"))
    };
    let upstream = declared(declared(rpm(), "updateinfo"), "primary").change(
        "updateinfo",
        "fixed",
        b"M\xfcller".to_vec(),
    );
    for more in ["", "filters:\n  exclude: [other]\n"] {
        let mirror = mirror_of(&upstream, more);
        let chantal = &mirror.chantal;
        assert_eq!(sync(chantal).exits(0).stderr, "");
        let tree = chantal.published_tree("r");
        let paths = tree.paths();
        let path = paths
            .iter()
            .find(|path| path.contains("updateinfo"))
            .unwrap();
        if more.is_empty() {
            continue;
        }
        let text = crate::filters::unpacked(path, tree.bytes(path));
        assert!(
            text.contains("M\u{fc}ller") && text.contains(UTF_8),
            "{text}"
        );
    }
}

/// Where a client would be shown other packages without it, nothing is left out.
#[test]
fn what_says_which_packages_there_are_is_refused() {
    let filter = "filters:\n  exclude: [other]\n";
    for (upstream, more, name) in [
        (rpm().change("modules", "", "---\n- a\n"), filter, "modules"),
        (
            rpm().change("modules", "", b"a: M\xfcller\n".to_vec()),
            filter,
            "modules",
        ),
        (
            rpm().change("primary", "<packager/>", "<packager>a\u{1b}</packager>"),
            filter,
            "primary",
        ),
        (
            rpm().change(
                "primary",
                "<packager/>",
                b"<packager>M\xfcller</packager>".to_vec(),
            ),
            filter,
            "primary",
        ),
        // What a filter reads must be readable.
        (
            rpm().change("group", "</group>", "</grp>"),
            "filters:\n  groups: [kit]\n",
            "group",
        ),
    ] {
        let mirror = mirror_of(&upstream, more);
        let chantal = &mirror.chantal;
        let said = sync(chantal).exits(4).stderr;
        assert!(said.starts_with(&format!("error: r: {name}: ")), "{said}");
        assert!(!chantal.published("r").exists());
    }
}

#[test]
fn deltas_that_cannot_be_read_do_not_stop_a_filter() {
    let upstream = rpm().change("prestodelta", "<size>", "<size>x");
    let mirror = mirror_of(&upstream, "filters:\n  exclude: [other]\n");
    let chantal = &mirror.chantal;
    assert_eq!(sync(chantal).exits(0).stderr, "");
}

#[test]
fn a_merge_keeps_what_it_can_read() {
    let good = rpm();
    let bad = rpm().change("updateinfo", "</severity>", "</severty>");
    let (one, other) = (
        Server::start(good.build().tree),
        Server::start(bad.build().tree),
    );
    let chantal = Chantal::new();
    chantal.repository(&Repository::of("good", &good, &one.url()));
    chantal.repository(&Repository::of("bad", &bad, &other.url()));
    chantal.run(&["config", "keygen"]).exits(0);
    chantal.run(&["repo", "sync", "--all"]).exits(0);
    chantal
        .run(&["snapshot", "create", "--all", "--name", "s"])
        .exits(0);
    for (sources, is_there) in [
        (["good/s", "bad/s"], true),
        (["bad/s", "bad/latest"], false),
    ] {
        let name = if is_there { "some" } else { "none" };
        let merge = [
            "snapshot", "merge", "--source", sources[0], "--source", sources[1], "--name", name,
        ];
        let said = chantal.run(&merge).exits(0).stderr;
        let repository = sources[0].split('/').next().unwrap();
        let expected: Vec<String> = sources
            .iter()
            .filter(|source| source.starts_with("bad"))
            .map(|source| {
                format!("warning: {repository}/{name}: updateinfo of {source} skipped in the new metadata (clients cannot read it): {TYPO}")
            })
            .collect();
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_by_key(|line| !line.contains("bad/s"));
        assert_eq!(lines, expected);
        let place = chantal.dir().join(format!("www/{name}"));
        let to = place.display().to_string();
        let full = format!("{repository}/{name}");
        chantal
            .run(&["publish", "--snapshot-name", &full, "--to", &to])
            .exits(0);
        let root = std::fs::read_to_string(place.join("repodata/repomd.xml")).unwrap();
        assert_eq!(root.contains("updateinfo"), is_there);
    }
}

/// A pool that was damaged is no reason to do without something.
#[test]
fn damaged_objects_are_not_left_out() {
    let upstream = rpm();
    let mirror = mirror_of(&upstream, "");
    let chantal = &mirror.chantal;
    chantal.run(&["config", "keygen"]).exits(0);
    sync(chantal).exits(0);
    chantal
        .run(&["snapshot", "create", "--repo-id", "r", "--name", "s"])
        .exits(0);
    let tree = chantal.published("r");
    let paths = chantal.published_tree("r");
    let path = paths
        .paths()
        .into_iter()
        .find(|path| path.contains("updateinfo"))
        .unwrap();
    let path = tree.join(path);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // The published file and the pool's are one.
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&path, permissions).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let merge = [
        "snapshot", "merge", "--source", "r/s", "--source", "r/latest", "--name", "m",
    ];
    let said = chantal.run(&merge).exits(5).stderr;
    let name = path.file_name().unwrap().to_str().unwrap();
    let damaged = format!(" of repodata/{name} is missing from the pool or damaged\n");
    assert!(
        said.starts_with("error: object ") && said.contains(&damaged),
        "{said}"
    );
}
