//! The order of RPM versions: `epoch:version-release`.
//!
//! It is rpm's (`rpmio/rpmvercmp.c`, `rpmverParse` and `rpmverCmp` of `lib/rpmver.c`;
//! rpm-version(7) describes it), and a test asks librpm. Every text is ordered: versions are
//! untrusted input, and sorting must not fail.

use std::cmp::Ordering;

use crate::format::version::{compare_numbers, split_epoch, take_while};

/// Versions that are written differently can be equal: `1.0`, `1.00` and `1_0`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a_epoch, a_version, a_release) = split(a);
    let (b_epoch, b_version, b_release) = split(b);
    compare_parts(a_epoch.as_bytes(), b_epoch.as_bytes())
        .then_with(|| compare_parts(a_version.as_bytes(), b_version.as_bytes()))
        .then_with(|| match (a_release, b_release) {
            (Some(a), Some(b)) => compare_parts(a.as_bytes(), b.as_bytes()),
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
}

/// Epoch, version and release. A missing epoch is 0, a missing release is before every other.
fn split(full: &str) -> (&str, &str, Option<&str>) {
    let (epoch, rest) = match split_epoch(full) {
        ("", rest) => ("0", rest),
        given => given,
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// Numbers and words are compared with each other; other characters only separate them. `~` sorts
/// before the end, the end before `^`, that before words, words before numbers.
fn compare_parts(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        take_while(&mut a, is_separator);
        take_while(&mut b, is_separator);
        let order = rank(a.first()).cmp(&rank(b.first()));
        if order.is_ne() {
            return order;
        }
        let order = match rank(a.first()) {
            Rank::End => return Ordering::Equal,
            Rank::Tilde | Rank::Caret => {
                (a, b) = (&a[1..], &b[1..]);
                Ordering::Equal
            }
            Rank::Word => take_while(&mut a, |byte| byte.is_ascii_alphabetic())
                .cmp(take_while(&mut b, |byte| byte.is_ascii_alphabetic())),
            Rank::Number => compare_numbers(
                take_while(&mut a, |byte| byte.is_ascii_digit()),
                take_while(&mut b, |byte| byte.is_ascii_digit()),
            ),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The kinds of parts, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Tilde,
    End,
    Caret,
    Word,
    Number,
}

fn rank(first: Option<&u8>) -> Rank {
    match first {
        None => Rank::End,
        Some(b'~') => Rank::Tilde,
        Some(b'^') => Rank::Caret,
        Some(digit) if digit.is_ascii_digit() => Rank::Number,
        Some(_) => Rank::Word,
    }
}

fn is_separator(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric() && !matches!(byte, b'~' | b'^')
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
            "~",
            "",
            "-",
            "^",
            "1.0~rc1-1",
            "1.0~rc1^git1-1",
            "1.0",
            "1.0-1",
            "1.0-1.el9",
            "1.0-1.1.el9",
            "1.0-2",
            "1.0^20240101git-1",
            "1.0a-1",
            "1.0.rc1-1",
            "1.0.1-1",
            "1.2-1",
            "1.10-1",
            "9999999999999999999999-1",
            "1:0.1-1",
            "1:0.1-1-1",
            "10:0-1",
        ];
        let equal = [
            ("1.0", "1.00"),
            ("1.0", "1_0"),
            ("1.0", "1..0."),
            ("1.0-1", "1.0-01"),
            ("0:1", "1"),
            (":1", "1"),
            ("é1", "1"),
        ];
        check_order(compare, &ascending, &equal);
    }

    proptest! {
        #[test]
        fn it_is_an_order(texts in prop::array::uniform3("([01]{0,2}:)?[-~^+.:a-bZ019é]{0,6}")) {
            check_three(compare, texts.each_ref().map(String::as_str));
        }
    }
}
