//! `with_dependencies` against what clients say that packages need.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::mirror_with;
use crate::kit::clients::{Apt, Dnf};
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::server::Server;
use crate::kit::upstream::{Package, Upstream};

const SIZE: u32 = 200;
const CHOSEN: [&str; 3] = ["p3", "p77", "p150"];

/// Numbers that look random and are the same each time.
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % limit
    }
}

/// Packages that need each other by name, version, alternatives, and virtual names.
fn made_up(mut upstream: Upstream) -> Upstream {
    let mut numbers = Numbers(7);
    for number in 0..SIZE {
        let mut package = Package::new(&format!("p{number}"), "2-1");
        if number % 5 == 0 {
            package = package.independent();
        }
        if number % 10 == 9 {
            package = package.provides(&format!("v{}", numbers.below(8)));
        }
        // Few, so that the chosen ones do not need everything.
        let count = if CHOSEN.contains(&package.name.as_str()) {
            3
        } else {
            numbers.below(3)
        };
        for _ in 0..count {
            let (one, other) = (numbers.below(SIZE), numbers.below(SIZE));
            let need = match (numbers.below(6), upstream.kind()) {
                (0, _) => format!("p{one} >= 1-1"),
                (1, _) => format!("p{one} = 2-1"),
                (2, _) => format!("v{}", numbers.below(8)),
                (3, "apt") => format!("p{one} | p{other}"),
                (3, _) => format!("(p{one} or p{other})"),
                _ => format!("p{one}"),
            };
            package = package.needs(&need);
        }
        if numbers.below(4) == 0 {
            package = package.recommends(&format!("p{}", numbers.below(SIZE)));
        }
        upstream.add(package);
    }
    upstream
}

fn mirror_of_chosen(upstream: &Upstream, with_dependencies: &str) -> Mirror {
    let mut filters = format!("filters:\n  with_dependencies: {with_dependencies}\n  include:\n");
    for name in CHOSEN {
        writeln!(filters, "  - {name}").unwrap();
    }
    let mirror = mirror_with(upstream, |repository| repository.more(&filters));
    mirror.chantal.run(&["config", "keygen"]).exits(0);
    mirror
        .chantal
        .run(&["publish", "--repo-id", "r"])
        .succeeds();
    mirror
}

/// The names of the packages that are published.
fn published(mirror: &Mirror) -> BTreeSet<String> {
    let tree = mirror.chantal.published_tree("r");
    let names = tree.paths().into_iter().filter_map(|path| {
        let file = path.rsplit('/').next()?;
        let end = file.rsplit('.').next()?;
        let name = file.split(['_', '-']).next()?;
        matches!(end, "deb" | "rpm").then(|| name.to_owned())
    });
    names.collect()
}

fn is_package(name: &str) -> bool {
    let number = name.strip_prefix('p');
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

#[test]
fn what_is_mirrored_is_what_apt_cache_lists() {
    let upstream = made_up(Upstream::deb());
    for with_dependencies in ["true", "recommends"] {
        let Some(apt) = Apt::find() else { return };
        let mirror = mirror_of_chosen(&upstream, with_dependencies);
        apt.source(
            Key::archive(),
            &format!("{} stable main", mirror.server.url()),
        );
        apt.get(&["update"]).succeeds();
        let mut args = vec!["depends", "--recurse", "--no-suggests", "--no-conflicts"];
        args.extend(["--no-breaks", "--no-replaces", "--no-enhances"]);
        if with_dependencies == "true" {
            args.push("--no-recommends");
        }
        args.extend(CHOSEN);
        let listed = apt.cache(&args).exits(0).stdout;
        let listed: BTreeSet<String> = listed
            .split_whitespace()
            .filter(|word| is_package(word))
            .map(str::to_owned)
            .collect();
        let published = published(&mirror);
        assert!((20..150).contains(&published.len()), "{published:?}");
        assert_eq!(published, listed);

        // And apt installs each of them from the mirror alone.
        let client = Apt::find().unwrap();
        let web = Server::start_dir(&mirror.published());
        let key = std::fs::read(mirror.published().join("r-archive-key.gpg")).unwrap();
        client.source_signed_by(&key, "deb", &format!("{} stable main", web.url()));
        client.get(&["update"]).succeeds();
        for name in &published {
            client.get(&["install", "--simulate", name]).exits(0);
        }
    }
}

#[test]
fn what_is_mirrored_is_what_dnf_lists() {
    let upstream = made_up(Upstream::rpm());
    let Some(dnf) = Dnf::find() else { return };
    let mirror = mirror_of_chosen(&upstream, "true");
    dnf.repository("kit", &mirror.server.url(), None);
    let mut args = vec!["repoquery", "--requires", "--resolve", "--recursive"];
    args.extend(["--queryformat", "%{name}\\n"]);
    args.extend(CHOSEN);
    let listed = dnf.run(&args).exits(0).stdout;
    let mut listed: BTreeSet<String> = listed
        .split_whitespace()
        .filter(|word| is_package(word))
        .map(str::to_owned)
        .collect();
    // dnf lists what is needed, not who needs it.
    listed.extend(CHOSEN.map(str::to_owned));
    let published = published(&mirror);
    assert!((20..150).contains(&published.len()), "{published:?}");
    assert_eq!(published, listed);

    let client = Dnf::find().unwrap();
    let web = Server::start_dir(&mirror.published());
    client.repository("kit", &web.url(), None);
    let names: Vec<&str> = published.iter().map(String::as_str).collect();
    if let Some(output) = client.download(&names) {
        output.exits(0);
    }
}
