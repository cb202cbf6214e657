//! Errors in a configuration, as users see them.

use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("configuration directory {} does not exist", .0.display())]
    NoDirectory(PathBuf),
    /// Never empty.
    #[error("{}", paragraphs(.0))]
    Problems(Vec<Problem>),
}

/// One problem to correct.
#[derive(Debug)]
pub struct Problem {
    /// The path as given to `load`.
    pub file: PathBuf,
    pub place: Place,
    pub what: String,
    pub hint: Option<String>,
}

/// The position of a problem in its file.
#[derive(Debug)]
pub enum Place {
    File,
    /// The full key: `upstream.url`.
    Key(String),
    /// Counted from 1, columns in characters; `excerpt` is the line, if it is safe to show.
    Line {
        line: u64,
        column: u64,
        excerpt: Option<String>,
    },
}

impl Problem {
    pub(super) fn unreadable(path: &Path, err: &std::io::Error) -> Self {
        Self {
            file: path.to_owned(),
            place: Place::File,
            what: format!("cannot be read: {err}"),
            hint: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match &self.place {
            Place::File => write!(f, ": {}", self.what)?,
            Place::Key(key) => write!(f, ": {key}: {}", self.what)?,
            Place::Line {
                line,
                column,
                excerpt,
            } => {
                write!(f, ":{line}:{column}: {}", self.what)?;
                if let Some(excerpt) = excerpt {
                    let number = line.to_string();
                    let margin = number.len();
                    let indent = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
                    write!(f, "\n  {number} | {excerpt}")?;
                    write!(f, "\n  {:margin$} | {:indent$}^", "", "")?;
                }
            }
        }
        Ok(())
    }
}

fn paragraphs(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n\n")
}
