//! Parses values of the configuration: durations, rates, sizes, lists.
//!
//! These run inside the deserializer, so that errors have a line and column. They read scalars as
//! text: for numbers, serde-saphyr would lose both the notation (`2.10`) and the position in the
//! file.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::filters::Dependencies;
use super::resolved::RootCheck;

pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    scalar(deserializer, parse_duration)
}

pub fn bandwidth<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<NonZeroU64>, D::Error> {
    scalar(deserializer, parse_bandwidth)
}

pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    scalar(deserializer, parse_size)
}

pub fn level<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<log::LevelFilter>, D::Error> {
    scalar(deserializer, |text| match text.parse() {
        Ok(level) if level != log::LevelFilter::Off => Ok(level),
        _ => Err(format!(
            "unknown value `{text}`, expected one of error, warn, info, debug, trace"
        )),
    })
}

pub fn repo_gpgcheck<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RootCheck>, D::Error> {
    scalar(deserializer, |text| match text {
        "true" => Ok(RootCheck::Required),
        "false" => Ok(RootCheck::Off),
        "auto" => Ok(RootCheck::Auto),
        _ => Err(format!(
            "unknown value `{text}`, expected one of true, false, auto"
        )),
    })
}

pub fn dependencies<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Dependencies>, D::Error> {
    scalar(deserializer, |text| match text {
        "true" => Ok(Dependencies::Required),
        "false" => Ok(Dependencies::LeftOut),
        "recommends" => Ok(Dependencies::Recommended),
        _ => Err(format!(
            "unknown value `{text}`, expected one of true, false, recommends"
        )),
    })
}

/// One string or a list of strings.
pub fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![text.to_owned()]))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = items.next_element()? {
                texts.push(text);
            }
            Ok(Some(texts))
        }
    }

    deserializer.deserialize_any(OneOrMany)
}

/// Parses a scalar with `parse`; null is `None`. Errors must be created with `custom`: other errors
/// of serde have the position of the key, not of the value.
fn scalar<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        None => Ok(None),
        Some(text) => parse(&text).map(Some).map_err(D::Error::custom),
    }
}

/// The number at the start of a text, and the unit after it.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A number of seconds, or a number with a unit: `30s`, `5m`, `24h`, `30d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    number_and_unit(text)
        .and_then(|(number, unit)| {
            let unit_secs = match unit {
                "" | "s" => 1,
                "m" => 60,
                "h" => 60 * 60,
                "d" => 24 * 60 * 60,
                _ => return None,
            };
            // Durations are compared with dates, so they must fit into i64 seconds.
            number
                .checked_mul(unit_secs)
                .filter(|secs| i64::try_from(*secs).is_ok())
        })
        .map(Duration::from_secs)
        .ok_or_else(|| {
            format!(
                "{text:?} is not a duration (seconds, or a number with a unit: 30s, 5m, 24h, 30d)"
            )
        })
}

/// In bytes per second. The units are those of networking: `M` is megabits, `MB` megabytes, both
/// powers of ten.
fn parse_bandwidth(text: &str) -> Result<NonZeroU64, String> {
    number_and_unit(text)
        .and_then(|(number, unit)| match unit {
            "K" => number.checked_mul(1000 / 8),
            "M" => number.checked_mul(1_000_000 / 8),
            "G" => number.checked_mul(1_000_000_000 / 8),
            "KB" => number.checked_mul(1000),
            "MB" => number.checked_mul(1_000_000),
            "GB" => number.checked_mul(1_000_000_000),
            _ => None,
        })
        .and_then(NonZeroU64::new)
        .ok_or_else(|| {
            format!(
                "{text:?} is not a bandwidth (100M is megabits per second, 10MB megabytes; also K, KB, G, GB)"
            )
        })
}

/// In bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    number_and_unit(text)
        .and_then(|(number, unit)| match unit {
            "" => Some(number),
            "KB" => number.checked_mul(1000),
            "MB" => number.checked_mul(1_000_000),
            "GB" => number.checked_mul(1_000_000_000),
            _ => None,
        })
        .ok_or_else(|| {
            format!("{text:?} is not a size (bytes, or a number with a unit: 10KB, 200MB, 2GB)")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, secs) in [
            ("0", Some(0)),
            ("300", Some(300)),
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("24h", Some(86_400)),
            ("30 d", Some(2_592_000)),
            ("", None),
            ("h", None),
            ("-1", None),
            ("1.5h", None),
            ("1w", None),
            ("1h30m", None),
            ("9223372036854775808", None),
            ("18446744073709551615d", None),
        ] {
            let got = parse_duration(text).ok();
            assert_eq!(got, secs.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn bandwidths_are_bytes_per_second() {
        for (text, bytes) in [
            ("100M", Some(12_500_000)),
            ("10MB", Some(10_000_000)),
            ("8K", Some(1000)),
            ("3 KB", Some(3000)),
            ("1G", Some(125_000_000)),
            ("2GB", Some(2_000_000_000)),
            ("0M", None),
            ("100", None),
            ("100m", None),
            ("100Mb", None),
            ("99999999999999999999M", None),
            ("18446744073709551615GB", None),
        ] {
            let got = parse_bandwidth(text).ok();
            assert_eq!(got.map(NonZeroU64::get), bytes, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("5", Some(5)),
            ("200MB", Some(200_000_000)),
            ("2M", None),
            ("x", None),
        ] {
            assert_eq!(parse_size(text).ok(), bytes, "{text}");
        }
    }
}
