//! Roots with good signatures that are not of now: expired, from the future, older than what was
//! synced.

use crate::kit::chantal::Repository;
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::server::Server;
use crate::kit::upstream::{Package, Upstream};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const LAG: i64 = 2 * DAY;

/// A repository `r`, synced once.
fn synced(upstream: Upstream) -> Mirror {
    Mirror::of(upstream.package(Package::new("hello", "1.0-1"))).synced()
}

fn configure(mirror: &mut Mirror, more: &str) {
    mirror.define(|repository| repository.more(more));
}

/// From now on the upstream shows a state of that time, with a package of that name.
fn serve(mirror: &mut Mirror, date: i64, package: &str) {
    mirror.upstream.date = date;
    mirror.upstream.add(Package::new(package, "1.0-1"));
    mirror.serve();
}

fn packages(mirror: &Mirror) -> u64 {
    let listed = mirror.run(&["repo", "list", "--format", "json"]).json();
    listed[0]["packages"].as_u64().unwrap()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn utc(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap();
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[test]
fn an_expired_release_is_refused_also_when_it_is_the_one_that_was_synced() {
    let until = now() + 2;
    let mut mirror = synced(Upstream::deb().with_deb(|deb| deb.valid_until = Some(until)));
    let unchanged = "the state of the last successful sync is unchanged\n";
    let message = format!(
        "error: r: the metadata expired on {} (Valid-Until)\nhint: this may be an outdated mirror or a replay attack; for an archive that is no longer updated, set `check_valid_until: false`; {unchanged}",
        utc(until)
    );
    while now() <= until {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    mirror.sync().fails_with(4, &message);
    let date = mirror.upstream.date;
    serve(&mut mirror, date + DAY, "late");
    mirror.sync().fails_with(4, &message);
    assert_eq!(packages(&mirror), 1);

    configure(&mut mirror, "check_valid_until: false\n");
    mirror.sync().succeeds();
    assert_eq!(packages(&mirror), 2);
}

#[test]
fn an_older_state_is_never_applied() {
    for upstream in Upstream::both() {
        let mut mirror = synced(upstream);
        let known = mirror.upstream.date;

        // A server that is a few hours behind: worth a retry.
        serve(&mut mirror, known - 47 * HOUR, "yesterday");
        mirror
            .sync()
            .exits(3)
            .mentions("the upstream lags behind: its metadata is from")
            .mentions(&utc(known));
        // Further back is a matter for a person.
        serve(&mut mirror, known - 3 * DAY, "long-ago");
        mirror
            .sync()
            .exits(4)
            .mentions("upstream metadata is older than the last sync: from")
            .mentions("--allow-rollback");
        // What the configuration derives anew is judged too.
        mirror
            .sync_with(&["--refresh"])
            .exits(4)
            .mentions("older than the last sync");
        assert_eq!(packages(&mirror), 1);

        let rolled_back = mirror.sync_with(&["--allow-rollback"]).exits(0);
        // dnf takes any repomd.xml; apt ignores an older Release.
        let is_warned = rolled_back.stderr.contains(&format!(
            "warning: [dir]/www/r/latest: clients that have its metadata of {} ignore it",
            utc(known)
        ));
        assert_eq!(
            is_warned,
            mirror.upstream.kind() == "apt",
            "{rolled_back:?}"
        );
        assert_eq!(packages(&mirror), 3);
        // That is the state to be newer than now.
        serve(&mut mirror, known - 2 * DAY, "newer-than-that");
        mirror.sync().exits(0);
        assert_eq!(packages(&mirror), 4);
    }
}

#[test]
fn a_state_that_was_synced_before_is_a_lagging_server_however_old() {
    for upstream in Upstream::both() {
        let mut mirror = synced(upstream);
        let first = mirror.upstream.build().tree;
        let date = mirror.upstream.date;
        mirror.server.swap(first.clone());
        mirror.sync_with(&["--refresh"]).succeeds();
        serve(&mut mirror, date + 20 * DAY, "new");
        mirror.sync().succeeds();
        mirror.server.swap(first);
        mirror.sync().exits(3).mentions("lags behind");
        assert_eq!(packages(&mirror), 2);
    }
}

#[test]
fn another_upstream_may_be_older() {
    for upstream in Upstream::both() {
        let mut mirror = synced(upstream);
        let date = mirror.upstream.date;
        serve(&mut mirror, date - 20 * DAY, "elsewhere");
        let elsewhere = Server::start(mirror.upstream.build().tree);
        let repository = Repository::of("r", &mirror.upstream, &elsewhere.url());
        mirror.chantal.repository(&repository);
        mirror.sync().exits(0);
        assert_eq!(packages(&mirror), 2);
    }
}

/// Dates that nobody's clock shows: no sync and nothing that shows the state afterwards stumbles
/// over them.
#[test]
fn the_ends_of_time_are_judged_like_any_date() {
    let second = |time: &str| time.parse::<jiff::Timestamp>().unwrap().as_second();
    let first = second("0001-01-01T00:00:00Z");
    let last = second("9999-12-30T22:00:00Z");
    let dates = [(first, last), (last, first), (-1, 0), (0, -1)];
    let beyond = [
        (i64::MAX, i64::MIN),
        (i64::MIN, i64::MAX),
        (0, i64::MIN),
        (i64::MAX, -1),
    ];
    for (upstream, cases) in [
        (Upstream::deb(), dates.to_vec()),
        (Upstream::rpm(), [dates, beyond].concat()),
    ] {
        let mut mirror = synced(upstream);
        configure(&mut mirror, "check_date: false\n");
        for (known, found) in cases {
            serve(&mut mirror, known, "known");
            mirror.sync_with(&["--allow-rollback"]).exits(0);
            serve(&mut mirror, found, "found");
            let code = match known.saturating_sub(found) {
                ..=0 => 0,
                1..LAG => 3,
                LAG.. => 4,
            };
            mirror.sync().exits(code);
            let show = ["repo", "show", "--repo-id", "r"];
            mirror.chantal.run(&show).succeeds();
        }
        // The clock decides where it is asked.
        configure(&mut mirror, "");
        serve(&mut mirror, last, "judged");
        let said = mirror.sync_with(&["--allow-rollback"]).exits(4);
        said.mentions("in the future");
    }
    for (until, code) in [(first, 4), (-1, 4), (last, 0)] {
        let mut mirror = synced(Upstream::deb());
        mirror.upstream.deb_mut().valid_until = Some(until);
        let date = mirror.upstream.date + DAY;
        serve(&mut mirror, date, "until");
        mirror.sync().exits(code);
    }
}

#[test]
fn any_revision_is_compared() {
    let mut mirror = synced(Upstream::rpm());
    for (revision, code) in [("18446744073709551615", 0), ("0", 3), ("-1", 0)] {
        let date = mirror.upstream.date;
        serve(&mut mirror, date, &format!("with{revision}"));
        mirror.server.edit(|tree| {
            let date = mirror.upstream.date;
            let text = tree.text("repodata/repomd.xml").replace(
                &format!("<revision>{date}<"),
                &format!("<revision>{revision}<"),
            );
            let signature = Key::archive().sign(text.as_bytes());
            tree.insert("repodata/repomd.xml.asc", signature);
            tree.insert("repodata/repomd.xml", text);
        });
        mirror.sync().exits(code);
    }
}

#[test]
fn the_age_of_a_state_is_shown() {
    let mirror = synced(Upstream::rpm());
    let shown = mirror
        .chantal
        .run(&["repo", "show", "--repo-id", "r"])
        .exits(0);
    // The kit's upstreams are a month old.
    shown.mentions(" (30 days ago)");
}
