//! Files of RPM repositories: repomd, primary, lists of deltas, packages.

use std::io::{BufRead, BufReader, Read};
use std::sync::LazyLock;

use super::signatures::NOW;
use super::{Verdict, check_path, read_index};
use crate::config::Filters;
use crate::format::AdvisoryRecord;
use crate::format::rpm::updateinfo;
use crate::format::rpm::{Rpm, Selection};
use crate::format::{IndexKind, Selected};
use crate::openpgp::{HashedSignature, Keyring, Trusted};

fn rpm() -> Rpm {
    Rpm::new(Selection {
        architectures: None,
        sources: true,
        filters: Filters::default(),
    })
}

pub fn repomd(text: &[u8]) -> Verdict {
    let root = rpm().open_root(&Trusted::unsigned(text.to_vec()));
    for index in root.iter().flat_map(|root| &root.indexes) {
        assert_eq!(index.variants.len(), 1, "{}", index.name);
        check_path(&index.variants[0].path);
    }
    Verdict::of(&root)
}

pub fn primary(text: &[u8]) -> Verdict {
    read_index(&rpm(), "primary", IndexKind::Packages, text)
}

pub fn deltas(text: &[u8]) -> Verdict {
    read_index(&rpm(), "prestodelta", IndexKind::OtherFiles, text)
}

/// Advisories are not parsed before by a sync.
pub fn updateinfo(text: &[u8]) -> Verdict {
    let whole = advisories(&mut { text });
    let size = text.len() % 61 + 1;
    let pieces = advisories(&mut BufReader::with_capacity(size, text));
    assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok());
    for advisory in whole.iter().flatten() {
        assert!(!advisory.id.is_empty());
    }
    Verdict::of(&whole)
}

fn advisories(text: &mut dyn BufRead) -> Result<Vec<AdvisoryRecord>, String> {
    let mut all = Vec::new();
    updateinfo::read("updateinfo", text, &mut |advisory| {
        all.push(advisory);
        Ok(())
    })
    .map_err(|error| error.to_string())?;
    Ok(all)
}

/// The keys of the packages in `fixtures/openpgp`.
static KEYS: LazyLock<Keyring> = LazyLock::new(|| {
    let keys = include_bytes!("../../fixtures/openpgp/packages.asc");
    Keyring::parse(keys, "packages.asc").expect("a good keyring")
});

/// The package before it was signed.
const PACKAGE: &[u8] =
    include_bytes!("../../fixtures/upstream/rpm/Packages/tiny-data-2.1-1.noarch.rpm");
const LEAD_LENGTH: usize = 96;

/// Header and payload: the signed part.
fn signed_part(package: &[u8]) -> &[u8] {
    let number = |at| {
        let bytes = package[at..].first_chunk().expect("a whole package");
        u32::from_be_bytes(*bytes) as usize
    };
    let (entries, data) = (number(LEAD_LENGTH + 8), number(LEAD_LENGTH + 12));
    let length = 16 + 16 * entries + data;
    &package[LEAD_LENGTH + length.next_multiple_of(8)..]
}

/// A package, verified as when it enters the pool.
pub fn package(bytes: &[u8]) -> Verdict {
    let signatures = package_signatures(&mut { bytes });
    let size = bytes.len() % 251 + 1;
    let pieces = package_signatures(&mut BufReader::with_capacity(size, bytes));
    assert_eq!(
        signatures.as_ref().map(|passed| format!("{passed:?}")),
        pieces.as_ref().map(|passed| format!("{passed:?}")),
        "in pieces of {size} bytes"
    );
    let Ok(signatures) = signatures else {
        return Verdict::Refused;
    };
    let Ok(signers) = KEYS.verify_hashed(&signatures, "package", NOW) else {
        return Verdict::Refused;
    };
    assert!(!signers.is_empty());
    assert!(
        bytes.ends_with(signed_part(PACKAGE)),
        "this package is unsigned"
    );
    Verdict::Accepted
}

fn package_signatures(package: &mut dyn Read) -> Result<Vec<HashedSignature>, String> {
    let inside = rpm().format().read_package_header(package);
    inside
        .map(|inside| inside.signatures)
        .map_err(|error| error.to_string())
}
