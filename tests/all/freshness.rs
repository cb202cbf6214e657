//! Roots with good signatures that are not of now: expired, from the future, older than what was synced.

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::keys::Key;
use crate::kit::process::Output;
use crate::kit::server::Server;
use crate::kit::upstream::{Package, Upstream};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const LAG: i64 = 2 * DAY;

/// A repository `r`, synced once.
struct Scene {
    upstream: Upstream,
    server: Server,
    chantal: Chantal,
}

impl Scene {
    fn of(upstream: Upstream) -> Self {
        let upstream = upstream.package(Package::new("hello", "1.0-1"));
        let server = Server::start(upstream.build().tree);
        let scene = Self {
            upstream,
            server,
            chantal: Chantal::new(),
        };
        scene.chantal.hide_server(&scene.server);
        scene.configure("");
        scene.sync(&[]).succeeds();
        scene
    }

    fn configure(&self, more: &str) {
        let repository = Repository::of("r", &self.upstream, &self.server.url());
        self.chantal.repository(&repository.more(more));
    }

    #[must_use = "nothing is asserted yet"]
    fn sync(&self, more: &[&str]) -> Output {
        let mut arguments = vec!["repo", "sync", "--repo-id", "r"];
        arguments.extend(more);
        self.chantal.run(&arguments)
    }

    /// From now on the upstream shows a state of that time, with a package of that name.
    fn serve(&mut self, date: i64, package: &str) {
        self.upstream.date = date;
        self.upstream.add(Package::new(package, "1.0-1"));
        self.server.swap(self.upstream.build().tree);
    }

    fn packages(&self) -> u64 {
        let listed = self
            .chantal
            .run(&["repo", "list", "--format", "json"])
            .json();
        listed[0]["packages"].as_u64().unwrap()
    }
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
    let mut scene = Scene::of(Upstream::deb().with_deb(|deb| deb.valid_until = Some(until)));
    let untouched = "the last good state is untouched\n";
    let message = format!(
        "error: r: the root expired on {} (Valid-Until)\nhint: somebody may be serving an old state; for an archive that no \
         longer moves say `check_valid_until: false`; {untouched}",
        utc(until)
    );
    while now() <= until {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    scene.sync(&[]).fails_with(4, &message);
    let date = scene.upstream.date;
    scene.serve(date + DAY, "late");
    scene.sync(&[]).fails_with(4, &message);
    assert_eq!(scene.packages(), 1);

    scene.configure("check_valid_until: false\n");
    scene.sync(&[]).succeeds();
    assert_eq!(scene.packages(), 2);
}

#[test]
fn an_older_state_is_never_applied() {
    for upstream in Upstream::both() {
        let mut scene = Scene::of(upstream);
        let known = scene.upstream.date;

        // A server that is a few hours behind: worth a retry.
        scene.serve(known - 47 * HOUR, "yesterday");
        scene
            .sync(&[])
            .exits(3)
            .mentions("the upstream lags behind: its root is of")
            .mentions(&utc(known));
        // Further back is a matter for a person.
        scene.serve(known - 3 * DAY, "long-ago");
        scene
            .sync(&[])
            .exits(4)
            .mentions("the upstream went back: its root is of")
            .mentions("--allow-rollback");
        // What the configuration derives anew is judged too.
        scene.sync(&["--refresh"]).exits(4).mentions("went back");
        assert_eq!(scene.packages(), 1);

        scene.sync(&["--allow-rollback"]).succeeds();
        assert_eq!(scene.packages(), 3);
        // That is the state to be newer than now.
        scene.serve(known - 2 * DAY, "newer-than-that");
        scene.sync(&[]).succeeds();
        assert_eq!(scene.packages(), 4);
    }
}

#[test]
fn a_state_that_was_synced_before_is_a_lagging_server_however_old() {
    for upstream in Upstream::both() {
        let mut scene = Scene::of(upstream);
        let first = scene.upstream.build().tree;
        let date = scene.upstream.date;
        scene.server.swap(first.clone());
        scene.sync(&["--refresh"]).succeeds();
        scene.serve(date + 20 * DAY, "new");
        scene.sync(&[]).succeeds();
        scene.server.swap(first);
        scene.sync(&[]).exits(3).mentions("lags behind");
        assert_eq!(scene.packages(), 2);
    }
}

#[test]
fn another_upstream_may_be_older() {
    for upstream in Upstream::both() {
        let mut scene = Scene::of(upstream);
        let date = scene.upstream.date;
        scene.serve(date - 20 * DAY, "elsewhere");
        let elsewhere = Server::start(scene.upstream.build().tree);
        let repository = Repository::of("r", &scene.upstream, &elsewhere.url());
        scene.chantal.repository(&repository);
        scene.sync(&[]).succeeds();
        assert_eq!(scene.packages(), 2);
    }
}

/// Dates that nobody's clock shows: no sync and nothing that shows the state afterwards stumbles over them.
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
        let mut scene = Scene::of(upstream);
        scene.configure("check_date: false\n");
        for (known, found) in cases {
            scene.serve(known, "known");
            scene.sync(&["--allow-rollback"]).succeeds();
            scene.serve(found, "found");
            let code = match known.saturating_sub(found) {
                ..=0 => 0,
                1..LAG => 3,
                LAG.. => 4,
            };
            scene.sync(&[]).exits(code);
            let show = ["repo", "show", "--repo-id", "r"];
            scene.chantal.run(&show).succeeds();
        }
        // The clock decides where it is asked.
        scene.configure("");
        scene.serve(last, "judged");
        let said = scene.sync(&["--allow-rollback"]).exits(4);
        said.mentions("from the future");
    }
    for (until, code) in [(first, 4), (-1, 4), (last, 0)] {
        let mut scene = Scene::of(Upstream::deb());
        scene.upstream.deb_mut().valid_until = Some(until);
        scene.serve(scene.upstream.date + DAY, "until");
        scene.sync(&[]).exits(code);
    }
}

#[test]
fn any_revision_is_compared() {
    let mut scene = Scene::of(Upstream::rpm());
    for (revision, code) in [("18446744073709551615", 0), ("0", 3), ("-1", 0)] {
        scene.serve(scene.upstream.date, &format!("with{revision}"));
        scene.server.edit(|tree| {
            let date = scene.upstream.date;
            let text = tree.text("repodata/repomd.xml").replace(
                &format!("<revision>{date}<"),
                &format!("<revision>{revision}<"),
            );
            let signature = Key::archive().sign(text.as_bytes());
            tree.insert("repodata/repomd.xml.asc", signature);
            tree.insert("repodata/repomd.xml", text);
        });
        scene.sync(&[]).exits(code);
    }
}

#[test]
fn the_age_of_a_state_is_shown() {
    let scene = Scene::of(Upstream::rpm());
    let shown = scene
        .chantal
        .run(&["repo", "show", "--repo-id", "r"])
        .exits(0);
    // The kit's upstreams are a month old.
    shown.mentions(" (30 days ago)");
}
