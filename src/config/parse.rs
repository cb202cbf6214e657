//! Parses a file into the [`written`](super::written) types; errors with line, column and the key
//! that was probably meant.

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_yaml::{Error, MessageFormatter, UserMessageFormatter};

use super::error::{Place, Problem};
use crate::regular_file;

/// Far larger than any handwritten file.
const SIZE_LIMIT: u64 = 1 << 20;

/// A file that is empty or contains only comments sets nothing.
pub fn file<T: DeserializeOwned + Default>(file: &Path) -> Result<T, Problem> {
    let mut text = String::new();
    regular_file::open(file)
        .and_then(|open| open.take(SIZE_LIMIT + 1).read_to_string(&mut text))
        .map_err(|err| Problem::unreadable(file, &err))?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(Problem {
            file: file.to_owned(),
            place: Place::File,
            what: format!("is larger than {SIZE_LIMIT} bytes"),
            hint: None,
        });
    }
    let options = serde_yaml::options! {
        with_snippet: false,
        // `yes`, `no`, `on` and `off` are strings.
        strict_booleans: true,
    };
    serde_yaml::from_str_with_options::<Option<T>>(&text, options)
        .map(Option::unwrap_or_default)
        .map_err(|err| problem(file, &text, &err))
}

fn problem(file: &Path, text: &str, err: &Error) -> Problem {
    let place = match err.location() {
        Some(location) => Place::Line {
            line: location.line(),
            column: location.column(),
            excerpt: excerpt(text, location.line()),
        },
        None => Place::File,
    };
    let (what, hint) = message(err);
    Problem {
        file: file.to_owned(),
        place,
        what,
        hint,
    }
}

/// Replaces the terms of Rust in the parser's messages by those of YAML.
fn message(err: &Error) -> (String, Option<String>) {
    match err.without_snippet() {
        Error::SerdeUnknownField {
            field, expected, ..
        } => (
            format!("unknown key `{field}`"),
            Some(match nearest(field, expected) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("valid keys: {}", expected.join(", ")),
            }),
        ),
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => (
            format!(
                "unknown value `{variant}`, expected one of {}",
                expected.join(", ")
            ),
            nearest(variant, expected).map(|meant| format!("did you mean `{meant}`?")),
        ),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("duplicate key `{key}`"), None)
        }
        Error::SerdeInvalidType {
            unexpected,
            expected,
            ..
        } => (format!("expected {expected}, got {unexpected}"), None),
        Error::InvalidScalar { ty, .. } if ty.starts_with('u') => {
            ("expected a non-negative integer".to_owned(), None)
        }
        Error::InvalidScalar { ty: "boolean", .. } | Error::InvalidBooleanStrict { .. } => {
            ("expected true or false".to_owned(), None)
        }
        Error::Unexpected { expected, .. } => (
            match *expected {
                "mapping start" => "expected keys with values (`key: value`)".to_owned(),
                "string scalar" => "expected a string".to_owned(),
                other => format!("expected {other}"),
            },
            None,
        ),
        other => (
            UserMessageFormatter.format_message(other).into_owned(),
            None,
        ),
    }
}

/// The line of an error, if it is safe to show.
fn excerpt(text: &str, line: u64) -> Option<String> {
    if contains_secret(text) {
        return None;
    }
    let index = usize::try_from(line.checked_sub(1)?).ok()?;
    let line = text.lines().nth(index)?;
    // Tabs are replaced by one space, so that the caret below is in the right place; other control
    // characters must not reach a terminal.
    Some(
        line.chars()
            .map(|c| match c {
                '\t' => ' ',
                c if c.is_control() => '\u{fffd}',
                c => c,
            })
            .collect(),
    )
}

/// Whether a file seems to contain a secret: the line of an error may contain it.
fn contains_secret(text: &str) -> bool {
    let text = text.to_lowercase();
    let has_secret_key = ["password", "passphrase", "token", "value", "command"]
        .iter()
        .any(|key| {
            text.match_indices(key).any(|(at, _)| {
                text[at + key.len()..]
                    .trim_start_matches(['"', '\'', ' ', '\t'])
                    .starts_with(':')
            })
        });
    let has_secret_url = text
        .split_whitespace()
        .filter_map(|word| word.split_once("://"))
        .any(|(_, rest)| rest.contains(['@', '?']));
    has_secret_key || has_secret_url
}

/// The candidate that is most similar to a mistyped word.
fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().replace('-', "_").chars().collect();
    // A word that long is not a typo, and the cost of the distance is the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.len() / 3).max(1);
    candidates
        .iter()
        .map(|candidate| (distance(&word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The edit distance: insertions, deletions, replacements and swaps of adjacent characters.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 0..from.len() {
        let mut row = vec![i + 1];
        for j in 0..to.len() {
            let replaced = last[j] + usize::from(from[i] != to[j]);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_finds_what_was_meant() {
        const KEYS: &[&str] = &[
            "base_path",
            "pool_path",
            "cache_path",
            "url",
            "gpgcheck",
            "repo_gpgcheck",
        ];
        for (word, meant) in [
            ("base_pth", Some("base_path")),
            ("base-path", Some("base_path")),
            ("PoolPath", Some("pool_path")),
            ("ulr", Some("url")),
            ("uri", Some("url")),
            ("gpg_check", Some("gpgcheck")),
            ("mirrors", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(nearest(word, KEYS), meant, "{word}");
        }
    }

    #[test]
    fn a_file_with_a_secret_is_not_quoted() {
        for text in [
            "credentials: {password: x}",
            "\"Token\" : x",
            "value: x",
            "url: https://u:p@h/",
            "url: https://h/?token",
        ] {
            assert!(contains_secret(text), "{text}");
        }
        for text in [
            "credentials: {password_file: x}",
            "# the token of the day\nurl: https://h/",
            "name: a@b?",
        ] {
            assert!(!contains_secret(text), "{text}");
        }
    }
}
