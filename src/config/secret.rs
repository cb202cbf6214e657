//! Secrets of the configuration. Only [`Secret::expose`] returns the text of a [`Secret`]; it never
//! appears in a message or log.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

/// Looks up an environment variable; a parameter because a test cannot set one safely.
pub type Environment = dyn Fn(&str) -> Option<String>;

/// A password, a token or the value of a header.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The source of a secret. Files are read and commands are run when the secret is used, not when
/// the configuration is loaded: `repo list` needs no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    Inline(Secret),
    File(PathBuf),
    /// For `/bin/sh -c`; its output is the secret.
    Command(String),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExpandError {
    #[error("environment variable {0} is not set")]
    Unset(String),
    // Does not contain the text, which is part of a secret.
    #[error("`${{` is not followed by a variable name and `}}` (write `$${{` for a literal `${{`)")]
    Malformed,
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the text contains the whole secret and no environment variable.
    pub fn is_literal(&self) -> bool {
        self.expand(&|_| None).is_ok()
    }

    /// Replaces `${NAME}` by that environment variable and `$${` by `${`. The value of a variable
    /// is not expanded again.
    pub fn expand(&self, environment: &Environment) -> Result<Self, ExpandError> {
        let mut expanded = String::new();
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str("${");
                rest = after;
                continue;
            }
            expanded.push_str(before);
            let (name, after) = after.split_once('}').ok_or(ExpandError::Malformed)?;
            if !is_variable_name(name) {
                return Err(ExpandError::Malformed);
            }
            expanded
                .push_str(&environment(name).ok_or_else(|| ExpandError::Unset(name.to_owned()))?);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(Self(expanded))
    }
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_variables_are_put_in() {
        let environment = |name: &str| (name == "TOKEN_1").then(|| "a$b${c}".to_owned());
        for (written, expanded) in [
            ("plain $ text $5", Ok("plain $ text $5")),
            ("${TOKEN_1}", Ok("a$b${c}")),
            (
                "Bearer ${TOKEN_1}, ${TOKEN_1}!",
                Ok("Bearer a$b${c}, a$b${c}!"),
            ),
            ("$${TOKEN_1}", Ok("${TOKEN_1}")),
            ("${OTHER}", Err(ExpandError::Unset("OTHER".to_owned()))),
            ("${TOKEN_1", Err(ExpandError::Malformed)),
            ("${}", Err(ExpandError::Malformed)),
            ("${1A}", Err(ExpandError::Malformed)),
            ("${A B}", Err(ExpandError::Malformed)),
        ] {
            let got = Secret::new(written).expand(&environment);
            assert_eq!(
                got.as_ref().map(Secret::expose),
                expanded.as_ref().copied(),
                "{written}"
            );
        }
    }

    #[test]
    fn it_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[hidden] [hidden]");
        assert_eq!(
            format!("{:?}", SecretSource::Inline(secret)),
            "Inline([hidden])"
        );
    }
}
