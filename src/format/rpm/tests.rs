//! Where the root is, and which architectures are selected.

use super::repomd::static_path;
use super::selection::{Rpm, Selection};
use crate::config::Filters;
use crate::format::interface::Selected;
use crate::format::root::{Companion, RootSource};

/// With sources.
fn selection(architectures: Option<&[&str]>) -> Selection {
    Selection {
        architectures: architectures.map(|names| names.iter().map(ToString::to_string).collect()),
        sources: true,
        filters: Filters::default(),
    }
}

#[test]
fn architectures_and_sources_are_chosen_apart() {
    let all = Rpm::new(selection(None));
    for architecture in ["x86_64", "ppc", "noarch", "src", "nosrc"] {
        assert!(all.selects(architecture));
    }
    let two = Rpm::new(selection(Some(&["aarch64", "x86_64"])));
    for architecture in ["x86_64", "i586", "noarch", "src"] {
        assert!(two.selects(architecture));
    }
    assert!(!Rpm::new(selection(Some(&["x86_64"]))).selects("ppc"));
    for wanted in [None, Some(&["x86_64"][..])] {
        let without_sources = Selection {
            sources: false,
            ..selection(wanted)
        };
        assert!(!Rpm::new(without_sources).selects("nosrc"));
    }
}

#[test]
fn the_root_stands_in_repodata() {
    let rpm = Rpm::new(selection(None));
    let [RootSource::Detached { path, signature }] = &rpm.roots()[..] else {
        panic!("one root with its signature beside it");
    };
    assert_eq!(path.as_str(), "repodata/repomd.xml");
    assert_eq!(signature.as_str(), "repodata/repomd.xml.asc");
    let key = static_path("repodata/repomd.xml.key");
    assert_eq!(
        rpm.companions(&rpm.roots()[0]),
        [Companion::Opaque { path: key }]
    );
}
