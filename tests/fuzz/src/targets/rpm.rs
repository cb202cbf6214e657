//! What RPM repositories hold: repomd, primary, lists of deltas.

use super::{Verdict, check_path, read_index};
use crate::format::rpm::{Rpm, Selection};
use crate::format::{Format, IndexKind};
use crate::openpgp::Trusted;

fn rpm() -> Rpm {
    Rpm::new(Selection {
        architectures: None,
        sources: true,
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
    read_index(&rpm(), "primary", IndexKind::RpmPrimary, text)
}

pub fn deltas(text: &[u8]) -> Verdict {
    read_index(&rpm(), "prestodelta", IndexKind::RpmPrestodelta, text)
}
