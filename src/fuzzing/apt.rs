//! Files of APT repositories: Release, Packages, Sources, checksums of installer images.

use super::{Verdict, check_path, read_index};
use crate::config::Filters;
use crate::format::deb::{Apt, Selection};
use crate::format::{IndexKind, Selected};
use crate::openpgp::Trusted;

fn apt(distribution: &str) -> Apt {
    Apt::new(Selection {
        distribution: distribution.to_owned(),
        components: vec!["main".to_owned()],
        architectures: vec!["amd64".to_owned()],
        sources: true,
        udebs: true,
        installer: true,
        filters: Filters::default(),
    })
    .expect("a plain distribution")
}

/// Parses the text as a suite and as a flat repository.
pub fn release(text: &[u8]) -> Verdict {
    let mut verdict = Verdict::Refused;
    for (distribution, directory) in [("stable", "dists/stable/"), ("flat/", "flat/")] {
        let Ok(root) = apt(distribution).open_root(&Trusted::unsigned(text.to_vec())) else {
            continue;
        };
        verdict = Verdict::Accepted;
        assert!(!root.indexes.is_empty() || !root.warnings.is_empty());
        for index in &root.indexes {
            assert!(!index.variants.is_empty(), "{}", index.name);
            for variant in &index.variants {
                for path in std::iter::once(&variant.path).chain(&variant.by_hash) {
                    check_path(path);
                    assert!(path.as_str().starts_with(directory), "{path}");
                }
            }
        }
    }
    verdict
}

pub fn packages(text: &[u8]) -> Verdict {
    read_index(&apt("stable"), "Packages", IndexKind::Packages, text)
}

pub fn sources(text: &[u8]) -> Verdict {
    read_index(&apt("stable"), "Sources", IndexKind::Sources, text)
}

pub fn installer_sums(text: &[u8]) -> Verdict {
    read_index(&apt("stable"), "SHA256SUMS", IndexKind::OtherFiles, text)
}
