//! Media: the stream of a packed manifest, which is compressed here so that inputs are plain. And
//! what comes back from an importer: confirmation codes, which a person typed, and receipts.

use std::collections::HashSet;
use std::path::Path;

use super::{Verdict, check_path};
use crate::transfer::code::ConfirmationCode;
use crate::transfer::receipt::{Receipt, SIZE_MAX, WRITTEN_MAX};
use crate::transfer::{Item, ManifestReader, TransferError};

pub fn manifest(input: &[u8]) -> Verdict {
    let compressed = zstd::encode_all(input, 1).expect("memory can be compressed");
    let read = || {
        let mut reader = ManifestReader::new(Path::new("/medium"), compressed.as_slice())?;
        let mut listed = HashSet::new();
        while let Some(item) = reader.next()? {
            let objects = match item {
                Item::Manifest { .. } | Item::Chunk { content: None, .. } => continue,
                Item::Chunk {
                    content: Some(chunk),
                    ..
                } => {
                    for entry in &chunk.entries {
                        check_path(&entry.path);
                    }
                    chunk.objects
                }
                Item::Further(object) => vec![object],
            };
            for object in objects {
                assert!(
                    listed.insert(object.content.object),
                    "an object is listed once"
                );
                assert_eq!(object.number, listed.len() as u64);
            }
        }
        Ok::<_, TransferError>(())
    };
    Verdict::of(&read())
}

pub fn code(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else {
        return Verdict::Refused;
    };
    let code = ConfirmationCode::parse(text);
    if let Ok(code) = code {
        assert!(code.number() > 0);
        let canonical = code.to_string();
        assert_eq!(ConfirmationCode::parse(&canonical), Ok(code));
        assert!(canonical.len() <= 33, "{canonical}");
    }
    Verdict::of(&code)
}

pub fn receipt(input: &[u8]) -> Verdict {
    let receipt = Receipt::parse(input);
    if let Ok(receipt) = &receipt {
        assert!(input.len() <= SIZE_MAX);
        match receipt.encode() {
            Ok(text) if input.len() <= WRITTEN_MAX => {
                assert!(text.len() <= input.len(), "a receipt has one text");
                assert_eq!(Receipt::parse(text.as_bytes()).as_ref(), Ok(receipt));
            }
            // There may be no room for all ranges, or for all transfers.
            Ok(text) => assert!(text.len() <= WRITTEN_MAX),
            Err(error) => assert!(input.len() > WRITTEN_MAX, "{error}"),
        }
    }
    Verdict::of(&receipt)
}
