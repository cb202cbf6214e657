//! The order of RPM versions: `epoch:version-release`.
//!
//! It is rpm's (`rpmio/rpmvercmp.c`, `rpmverParse` and `rpmverCmp` of `lib/rpmver.c`; rpm-version(7) describes it), and a
//! test asks librpm. It has a place for whatever is written: these versions come from strangers, and sorting must not fail.

use std::cmp::Ordering;

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
    let (epoch, rest) = match full.split_once(':') {
        Some(("", rest)) => ("0", rest),
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
        _ => ("0", full),
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// Numbers and words, each with its like; what else stands there only parts them. `~` sorts before the end, the end before
/// `^`, that before words, words before numbers.
fn compare_parts(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        take(&mut a, is_separator);
        take(&mut b, is_separator);
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
            Rank::Word => take(&mut a, |byte| byte.is_ascii_alphabetic())
                .cmp(take(&mut b, |byte| byte.is_ascii_alphabetic())),
            Rank::Number => compare_numbers(
                take(&mut a, |byte| byte.is_ascii_digit()),
                take(&mut b, |byte| byte.is_ascii_digit()),
            ),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// What a part begins with, in order.
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

/// Of any length.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (without_zeros(a), without_zeros(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

/// Takes the bytes at the start that are so.
fn take<'a>(rest: &mut &'a [u8], is_so: impl Fn(u8) -> bool) -> &'a [u8] {
    let end = rest.iter().take_while(|byte| is_so(**byte)).count();
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        for (place, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), place.cmp(&other), "{a:?} {b:?}");
            }
        }
        for (a, b) in [
            ("1.0", "1.00"),
            ("1.0", "1_0"),
            ("1.0", "1..0."),
            ("1.0-1", "1.0-01"),
            ("0:1", "1"),
            (":1", "1"),
            ("é1", "1"),
        ] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a:?} {b:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_an_order(texts in prop::array::uniform3("([01]{0,2}:)?[-~^+.:a-bZ019é]{0,6}")) {
            let [a, b, c] = texts.each_ref().map(String::as_str);
            prop_assert_eq!(compare(a, a), Ordering::Equal);
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            if compare(a, b) == compare(b, c) {
                prop_assert_eq!(compare(a, c), compare(a, b));
            }
            // Equal ones are interchangeable.
            if compare(a, b).is_eq() {
                prop_assert_eq!(compare(a, c), compare(b, c));
            }
        }
    }
}
