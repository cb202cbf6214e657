//! What comes back from an importer: confirmation codes, which a person typed.

use super::Verdict;
use crate::transfer::code::ConfirmationCode;

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
