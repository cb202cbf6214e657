//! `chantal generate`.
//!
//! The manual pages are generated from the definition of the command line: its commands, options
//! and texts. Only what the parser has no place for is written here. The output is reproducible: no
//! date, nothing specific to the machine.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::cli::{Cli, GenerateMan};
use crate::error::Error;

/// The files of chantal, with the default paths.
const FILES: [(&str, &str); 6] = [
    (
        "/etc/chantal/conf.d/*.yaml",
        "Global configuration, read in the order of the file names. Keys in later files override the same keys in earlier \
         files. --config-dir sets another directory than /etc/chantal.",
    ),
    (
        "/etc/chantal/repos.d/*.yaml",
        "Repository definitions, one for each file. Relative paths in configuration files are relative to the file that \
         contains them.",
    ),
    (
        "/var/lib/chantal",
        "The storage (storage.base_path), which contains the following files.",
    ),
    (
        "/var/lib/chantal/chantal.redb",
        "The database (database.path): states and history of the repositories, snapshots, published trees.",
    ),
    (
        "/var/lib/chantal/pool",
        "The pool (storage.pool_path): every mirrored file, stored once under its SHA-256 digest. Published files are hard \
         links into the pool.",
    ),
    (
        "/var/lib/chantal/gpgkeys/NAME.asc",
        "The trusted keys of repository NAME that were fetched from a gpgkey_url.",
    ),
];

/// Writes `chantal.1` and a page for every subcommand.
pub fn man(arguments: &GenerateMan) -> Result<(), Error> {
    // Without this, `help` would get a second page for every command.
    let mut command = Cli::command().disable_help_subcommand(true);
    // Adds `--help` and the full names of subcommands, as the parser does.
    command.build();
    let source = format!("{} {}", command.get_name(), env!("CARGO_PKG_VERSION"));
    let mut pages = Vec::new();
    collect(&command, &[], &source, &mut pages)?;
    for (name, text) in pages {
        fs_err::write(arguments.to.join(format!("{name}.1")), text)?;
    }
    Ok(())
}

/// The page of `command` and its subcommands. `parents` starts with chantal itself.
fn collect(
    command: &Command,
    parents: &[&Command],
    source: &str,
    pages: &mut Vec<(String, String)>,
) -> Result<(), Error> {
    pages.push((name_of(command), page(command, parents, source)?));
    let parents = [parents, &[command]].concat();
    for subcommand in command.get_subcommands() {
        collect(subcommand, &parents, source, pages)?;
    }
    Ok(())
}

/// `chantal-repo-sync`.
fn name_of(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name());
    name.to_owned()
}

fn page(command: &Command, parents: &[&Command], source: &str) -> Result<String, Error> {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let command_as_shown = command
        .clone()
        .override_usage(usage)
        .subcommand_help_heading("COMMANDS");
    let man = Man::new(command_as_shown);
    let mut sections = Vec::new();
    man.render_name_section(&mut sections)?;
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut sections)?;
    }
    let sections = String::from_utf8(sections).expect("the sections are UTF-8");

    let mut own = Roff::new();
    if let Some(help) = command.get_after_long_help() {
        after_help(&mut own, &help.to_string());
    } else {
        own.control("SH", ["EXIT STATUS"]);
        own.text([
            roman("0 on success. The other exit codes are listed in "),
            bold("chantal"),
            roman("(1)."),
        ]);
    }
    if parents.is_empty() {
        own.control("SH", ["FILES"]);
        for (path, text) in FILES {
            own.control("TP", []);
            own.text([italic(path)]);
            own.text([roman(text)]);
        }
    }
    own.control("SH", ["SEE ALSO"]);
    see_also(&mut own, command, parents);

    // clap_mangen omits an empty date, and the source would take its position.
    let name = hyphens(&name_of(command));
    let header = format!(".TH \"{name}\" \"1\" \"\" \"{source}\" \"chantal manual\"\n");
    Ok(header + &fonts(&plain(&sections)) + &own.to_roff())
}

/// Formats the text after `--help`: a heading with a colon, entries (`  4    refused: ...`) and
/// paragraphs.
fn after_help(roff: &mut Roff, text: &str) {
    for line in text.lines() {
        if let Some(heading) = line.strip_suffix(':') {
            roff.control("SH", [heading.to_uppercase().as_str()]);
        } else if let Some((term, meaning)) = line
            .strip_prefix("  ")
            .and_then(|entry| entry.split_once("  "))
        {
            roff.control("TP", ["5"]);
            roff.text([bold(term)]);
            roff.text([roman(meaning.trim_start())]);
        } else if line.is_empty() {
            roff.control("PP", []);
        } else {
            roff.text([roman(line)]);
        }
    }
}

/// The parents, siblings and subcommands; the main page lists all commands.
fn see_also(roff: &mut Roff, command: &Command, parents: &[&Command]) {
    let mut names: Vec<String> = parents.iter().copied().map(name_of).collect();
    match parents {
        [] => all_below(command, &mut names),
        [.., parent] if parents.len() > 1 => {
            names.extend(parent.get_subcommands().map(name_of));
        }
        _ => names.extend(command.get_subcommands().map(name_of)),
    }
    names.retain(|name| *name != name_of(command));
    let last = names.len().saturating_sub(1);
    for (place, name) in names.iter().enumerate() {
        let comma = if place == last { "" } else { "," };
        roff.control("BR", [hyphens(name).as_str(), &format!("(1){comma}")]);
    }
}

fn all_below(command: &Command, names: &mut Vec<String>) {
    for subcommand in command.get_subcommands() {
        names.push(name_of(subcommand));
        all_below(subcommand, names);
    }
}

/// Escapes hyphens, so that they are not printed as typographic ones.
fn hyphens(name: &str) -> String {
    name.replace('-', "\\-")
}

/// Removes the definition of an apostrophe at the start of each section, and spaces at line ends.
fn plain(sections: &str) -> String {
    let mut text = String::new();
    for line in sections.lines() {
        if !line.starts_with(".ie \\n(.g") && !line.starts_with(".el .ds Aq") {
            let line = line.trim_end().replace("\\*(Aq", "\\(aq");
            writeln!(text, "{line}").expect("writing to a string cannot fail");
        }
    }
    text
}

/// Formats `` `latest_path` `` in bold, but not in NAME, which other programs parse.
fn fonts(page: &str) -> String {
    let mut text = String::new();
    let mut in_name = false;
    for line in page.split_inclusive('\n') {
        if line.starts_with(".SH") {
            in_name = line.trim_end() == ".SH NAME";
        }
        for (place, part) in line.split('`').enumerate() {
            match place % 2 {
                0 => text.push_str(part),
                _ if in_name => text.push_str(part),
                _ => write!(text, "\\fB{part}\\fR").expect("writing to a string cannot fail"),
            }
        }
    }
    text
}
