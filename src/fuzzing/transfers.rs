//! What comes back from an importer: confirmation codes, which a person typed,
//! and receipts.

use super::Verdict;
use crate::transfer::code::ConfirmationCode;
use crate::transfer::receipt::{Receipt, SIZE_MAX, WRITTEN_MAX};

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
