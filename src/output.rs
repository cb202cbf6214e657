//! Prints all results to standard output: text, one JSON document, or one CSV table.
//!
//! Text from upstreams is escaped before it reaches a terminal. JSON is escaped with its own escape
//! sequences, including characters that JSON does not require to be escaped but that control a
//! terminal ([`escape_json`]). CSV is only quoted: it is for programs.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::cli::OutputFormat;
use crate::regular_file::named;
use crate::terminal::{escape, escape_json};

/// The format of the results.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub format: OutputFormat,
    /// Print only errors, and lists that were requested.
    pub quiet: bool,
}

impl Output {
    /// Prints a result as JSON or text; `text` is only called if needed.
    pub fn result<T: Serialize>(self, data: &T, text: impl FnOnce(&T) -> String) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => {
                let text =
                    serde_json::to_string_pretty(data).expect("results have only string keys");
                print(&escape_json(&text))
            }
            // Commands without a table refuse CSV before they start.
            OutputFormat::Text | OutputFormat::Csv => match text(data).trim_end_matches('\n') {
                // No results: the errors say why.
                "" => Ok(()),
                text => print(text),
            },
        }
    }

    /// Prints a result that is also available as CSV with a header row; `rows` is only called for
    /// CSV.
    pub fn result_or_rows<T: Serialize>(
        self,
        data: &T,
        text: impl FnOnce(&T) -> String,
        rows: impl FnOnce(&T) -> Vec<Vec<String>>,
    ) -> io::Result<()> {
        match self.format {
            OutputFormat::Csv => print_raw(&csv(&rows(data))),
            OutputFormat::Text | OutputFormat::Json => self.result(data, text),
        }
    }

    pub fn is_json(self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Prints a progress message of a longer command in text format; in JSON it is part of the
    /// result.
    pub fn step(self, text: &str) -> io::Result<()> {
        if self.quiet || self.format != OutputFormat::Text {
            return Ok(());
        }
        print(text)
    }
}

fn print(text: &str) -> io::Result<()> {
    // If everything failed, print nothing, not even an empty line.
    if text.is_empty() {
        return Ok(());
    }
    print_raw(&format!("{text}\n"))
}

fn print_raw(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        // `chantal repo list | head`: the reader may stop early.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(named(Path::new("standard output"))),
    }
}

/// Formats rows as aligned columns; cells are escaped.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings
        .iter()
        .map(|heading| heading.chars().count())
        .collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| escape(cell).into_owned()).collect())
        .collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let headings: Vec<String> = headings
        .iter()
        .map(|heading| (*heading).to_owned())
        .collect();
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Formats rows as in RFC 4180: lines end in CRLF, and cells with special characters are quoted.
fn csv(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for row in rows {
        for (place, cell) in row.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            if cell.contains(['"', ',', '\r', '\n']) {
                text.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
            } else {
                text.push_str(cell);
            }
        }
        text.push_str("\r\n");
    }
    text
}

/// Formats names and values, one pair per line.
pub fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        text.push_str(&format!("{name:width$}  {}\n", escape(value)));
    }
    text
}

/// `1 package`, `2 packages`.
pub fn count(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

pub fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::is_unsafe;

    #[test]
    fn json_means_the_same_in_its_own_escapes() {
        let strings = [
            "\u{9b}2J",
            "gpj\u{202e}.exe",
            "\u{7f}\u{1b}\t\n",
            "Grüße, 世界 😀",
            "\u{2066}\u{61c}\\\"",
        ];
        let document = serde_json::to_string_pretty(&strings).unwrap();
        let escaped = escape_json(&document);
        assert!(!escaped.chars().any(|char| is_unsafe(char) && char != '\n'));
        let again: Vec<String> = serde_json::from_str(&escaped).unwrap();
        assert_eq!(again, strings);
        assert!(escaped.contains("\\u202e.exe") && escaped.contains("Grüße, 世界 😀"));
    }

    #[test]
    fn csv_is_quoted_where_it_must_be() {
        let rows = [
            vec!["a b".to_owned(), "=1;x".to_owned(), String::new()],
            vec!["a,b".to_owned(), "say \"x\"".to_owned(), "1\n2".to_owned()],
        ];
        assert_eq!(
            csv(&rows),
            "a b,=1;x,\r\n\"a,b\",\"say \"\"x\"\"\",\"1\n2\"\r\n"
        );
    }

    #[test]
    fn columns_line_up_and_cells_are_escaped() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["lön\u{1b}g".to_owned(), "22".to_owned()],
        ];
        assert_eq!(
            table(&["NAME", "N"], &rows),
            "NAME        N\na           1\nlön\\u{1b}g  22\n"
        );
    }
}
