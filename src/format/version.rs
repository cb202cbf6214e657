//! Common parts of version comparison in Debian and RPM.
//!
//! This file and those of the two formats import nothing else: a test compares them with dpkg and
//! librpm.

use std::cmp::Ordering;

/// Compares numbers of any length; an empty one is 0.
pub fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (without_zeros(a), without_zeros(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

/// Splits off the matching bytes at the start.
pub fn take_while<'a>(rest: &mut &'a [u8], matches: impl Fn(u8) -> bool) -> &'a [u8] {
    let end = rest.iter().take_while(|byte| matches(**byte)).count();
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

/// Splits `EPOCH:REST`. Without a number before the first `:`, all of it is the rest.
pub fn split_epoch(full: &str) -> (&str, &str) {
    match full.split_once(':') {
        Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
        _ => ("", full),
    }
}

/// Test functions for version comparison.
#[cfg(test)]
pub mod checks {
    use super::*;

    /// Versions in ascending order, and others that are equal.
    pub fn check_order(
        compare: fn(&str, &str) -> Ordering,
        ascending: &[&str],
        equal: &[(&str, &str)],
    ) {
        for (place, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), place.cmp(&other), "{a:?} {b:?}");
            }
        }
        for (a, b) in equal {
            assert_eq!(compare(a, b), Ordering::Equal, "{a:?} {b:?}");
        }
    }

    /// That it is an order of these three.
    pub fn check_three(compare: fn(&str, &str) -> Ordering, [a, b, c]: [&str; 3]) {
        assert_eq!(compare(a, a), Ordering::Equal);
        assert_eq!(compare(a, b), compare(b, a).reverse());
        if compare(a, b) == compare(b, c) {
            assert_eq!(compare(a, c), compare(a, b));
        }
        // Equal ones are interchangeable.
        if compare(a, b).is_eq() {
            assert_eq!(compare(a, c), compare(b, c));
        }
    }
}
