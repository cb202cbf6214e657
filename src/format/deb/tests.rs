//! Where the root is, and what a selection lacks.

use super::selection::{Apt, Selection};
use crate::config::Filters;
use crate::format::error::FormatError;
use crate::format::interface::Selected;
use crate::format::root::{Companion, RootSource};
use crate::rel_path::RelPath;

pub fn selection(distribution: &str) -> Selection {
    Selection {
        distribution: distribution.to_owned(),
        components: vec!["main".to_owned()],
        architectures: vec!["amd64".to_owned()],
        sources: false,
        udebs: false,
        installer: false,
        filters: Filters::default(),
    }
}

#[test]
fn release_stands_where_apt_looks_for_it() {
    for (distribution, place) in [
        ("bookworm", "dists/bookworm/"),
        ("buster/updates", "dists/buster/updates/"),
        ("./", ""),
        ("/", ""),
        ("stable/", "stable/"),
        ("./amd64/", "amd64/"),
    ] {
        let apt = Apt::new(selection(distribution)).unwrap();
        let path = |name: &str| RelPath::parse(&format!("{place}{name}")).unwrap();
        let roots = apt.roots();
        assert_eq!(
            roots,
            [
                RootSource::Inline {
                    path: path("InRelease")
                },
                RootSource::Detached {
                    path: path("Release"),
                    signature: path("Release.gpg")
                }
            ]
        );
        assert_eq!(
            apt.companions(&roots[0]),
            [Companion::SameRoot {
                path: path("Release"),
                signature: path("Release.gpg")
            }]
        );
        assert_eq!(apt.companions(&roots[1]), []);
    }
    let long = "x/".repeat(1498) + "x";
    for distribution in ["", "../../etc", "../x/", "/abs", &long, &format!("{long}/")] {
        assert!(
            matches!(
                Apt::new(selection(distribution)),
                Err(FormatError::Path { .. })
            ),
            "{distribution:?}"
        );
    }
}

#[test]
fn only_a_flat_repository_can_miss_an_architecture() {
    let seen = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let flat = Apt::new(selection("./")).unwrap();
    assert_eq!(flat.unmatched_architectures(&seen(&["i386"])), ["amd64"]);
    assert!(flat.unmatched_architectures(&seen(&["all"])).is_empty());
    let dists = Apt::new(selection("sid")).unwrap();
    assert!(dists.unmatched_architectures(&seen(&["i386"])).is_empty());
}
