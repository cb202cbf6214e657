//! The order of Debian versions: `epoch:version-revision`.
//!
//! It is dpkg's (`lib/dpkg/version.c`; deb-version(7) describes it), and a test asks dpkg. Versions
//! that dpkg rejects are ordered as well: they are untrusted input, and sorting must not fail.

use std::cmp::Ordering;

use crate::format::version::{compare_numbers, split_epoch, take_while};

/// Versions that are written differently can be equal: `1.0`, `1.00` and `1.0-0`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_epoch, a_version, a_revision) = split(a);
    let (b_epoch, b_version, b_revision) = split(b);
    compare_numbers(a_epoch.as_bytes(), b_epoch.as_bytes())
        .then_with(|| compare_parts(a_version.as_bytes(), b_version.as_bytes()))
        .then_with(|| compare_parts(a_revision.as_bytes(), b_revision.as_bytes()))
}

/// Epoch, version and revision; an empty one counts as 0. Text before the first `:` that is not a
/// number is not an epoch.
fn split(full: &str) -> (&str, &str, &str) {
    let (epoch, rest) = split_epoch(full);
    let (version, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, version, revision)
}

/// Compares non-digits and numbers alternately.
fn compare_parts(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (a_text, b_text) = (
            take_while(&mut a, |byte| !byte.is_ascii_digit()),
            take_while(&mut b, |byte| !byte.is_ascii_digit()),
        );
        for place in 0..a_text.len().max(b_text.len()) {
            let order = weight(a_text.get(place)).cmp(&weight(b_text.get(place)));
            if order.is_ne() {
                return order;
            }
        }
        let order = compare_numbers(
            take_while(&mut a, |byte| byte.is_ascii_digit()),
            take_while(&mut b, |byte| byte.is_ascii_digit()),
        );
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::version::checks::{check_order, check_three};

    #[test]
    fn orders_as_the_manual_says() {
        let ascending = [
            "~~",
            "~~a",
            "~",
            "",
            "1.0~rc1",
            "1.0",
            "1.0-1~bpo12+1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0a",
            "1.0+dfsg",
            "1.0-1-1",
            "1.2.3",
            "1.10",
            "1.10^",
            "9999999999999999999999",
            "1:0.1",
            "1:0.1:2",
            "10:0",
        ];
        let equal = [
            ("1.0", "1.00"),
            ("1.0", "1.0-0"),
            ("0:1", "1"),
            ("00001:1", "1:1"),
            ("1.a", "1.a0"),
        ];
        check_order(compare, &ascending, &equal);
    }

    #[test]
    fn what_dpkg_refuses_has_a_place() {
        // An epoch that is no number is a part of the version.
        assert_eq!(compare("a:1", "2"), Ordering::Greater);
        assert_eq!(compare(":1", "1"), Ordering::Equal);
        assert_eq!(compare("é", "z"), Ordering::Greater);
        assert_eq!(compare("1-", "1"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn it_is_an_order(texts in prop::array::uniform3("([01]{0,2}:)?[-~^+.:a-bZ019é]{0,6}")) {
            check_three(compare, texts.each_ref().map(String::as_str));
        }
    }
}
