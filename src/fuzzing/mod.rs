//! The fuzzing targets: one function for each parser, which reads like a sync does and checks the
//! result.
//!
//! A parser may refuse any input. It must not panic, hang, allocate memory for sizes that are only
//! declared, or return values that its types exclude: these functions assert that. `.ci/fuzz` runs
//! them with libFuzzer (`tests/fuzz` has its programs); `replay` runs them with all files of
//! `fixtures/fuzz` in every `cargo test`.

mod apt;
mod configuration;
mod http;
mod index_text;
mod manifests;
mod paths;
mod regenerate;
mod rpm;
mod signatures;
mod transfers;

#[cfg(test)]
mod replay;
#[cfg(fuzzing)]
pub mod seeds;

use std::io::{BufRead, BufReader};

use crate::format::{FormatError, Index, IndexKind, Open, Presence, Reference, Selected, Variant};
use crate::rel_path::RelPath;

/// The result for an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
}

impl Verdict {
    fn of<T, E>(result: &Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Accepted,
            Err(_) => Self::Refused,
        }
    }
}

pub type Target = fn(&[u8]) -> Verdict;

/// All targets by name, which is also the name of the directory in `fixtures/fuzz`.
pub const TARGETS: [(&str, Target); 27] = [
    ("openpgp-armor", signatures::armor),
    ("openpgp-keyring", signatures::keyring),
    ("openpgp-secret-key", signatures::secret_key),
    ("openpgp-inline", signatures::inline),
    ("openpgp-detached", signatures::detached),
    ("deb-release", apt::release),
    ("deb-packages", apt::packages),
    ("deb-sources", apt::sources),
    ("deb-installer-sums", apt::installer_sums),
    ("deb-regenerate", regenerate::deb),
    ("rpm-regenerate", regenerate::rpm),
    ("rpm-repomd", rpm::repomd),
    ("rpm-primary", rpm::primary),
    ("rpm-deltas", rpm::deltas),
    ("rpm-updateinfo", rpm::updateinfo),
    ("rpm-package", rpm::package),
    ("index-gzip", index_text::gzip),
    ("index-xz", index_text::xz),
    ("index-bzip2", index_text::bzip2),
    ("index-zstd", index_text::zstd),
    ("rel-path", paths::rel_path),
    ("manifest", manifests::manifest),
    ("confirmation-code", transfers::code),
    ("receipt", transfers::receipt),
    ("medium-manifest", transfers::manifest),
    ("configuration", configuration::load),
    ("http-answer", http::answer),
];

/// Checks a path against the guarantees of [`RelPath`], independently of its code.
fn check_path(path: &RelPath) {
    let text = path.as_str();
    assert!(!text.is_empty() && text.len() <= 3000, "{text:?}");
    for component in text.split('/') {
        assert!(
            !matches!(component, "" | "." | "..") && component.len() <= 255,
            "{text:?}"
        );
    }
    assert!(!text.contains(['\\', '\0', '\n', '\u{1b}']), "{text:?}");
    assert_eq!(RelPath::parse(text).as_ref(), Ok(path));
}

/// Reads an index of this kind like a sync, and again in small pieces: the position of read
/// boundaries must not matter.
fn read_index(selected: &dyn Selected, name: &str, kind: IndexKind, text: &[u8]) -> Verdict {
    let index = Index {
        name: name.to_owned(),
        kind,
        variants: vec![Variant {
            also: None,
            path: RelPath::parse("dists/stable/index").expect("a plain path"),
            by_hash: Vec::new(),
            digest: crate::digest::ObjectId::of(text).digest(),
            size: None,
            compression: crate::format::compression::Compression::Plain,
            open: Open::default(),
        }],
        presence: Presence::AnyVariant,
    };
    let whole = references(selected, &index, &mut { text });
    let size = text.len() % 61 + 1;
    let pieces = references(selected, &index, &mut BufReader::with_capacity(size, text));
    // If there are several errors, the first one may differ.
    assert_eq!(
        whole.as_ref().ok(),
        pieces.as_ref().ok(),
        "in pieces of {size} bytes: {:?}, {:?}",
        whole.as_ref().err(),
        pieces.as_ref().err()
    );
    for reference in whole.iter().flatten() {
        check_path(&reference.path);
        for word in reference
            .package
            .iter()
            .flat_map(|package| [&package.name, &package.version, &package.architecture])
        {
            assert!(!word.is_empty() && !word.contains(char::is_control));
        }
    }
    Verdict::of(&whole)
}

fn references(
    selected: &dyn Selected,
    index: &Index,
    text: &mut dyn BufRead,
) -> Result<Vec<Reference>, String> {
    let mut all = Vec::new();
    selected
        .read_index(index, text, &mut |reference| {
            all.push(reference);
            Ok(())
        })
        .map_err(|error: FormatError| error.to_string())?;
    Ok(all)
}
