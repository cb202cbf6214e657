//! `chantal generate`.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::{Cli, GenerateMan};
use crate::error::Error;

/// Writes `chantal.1` and a page for every subcommand.
pub fn man(arguments: &GenerateMan) -> Result<(), Error> {
    let mut command = Cli::command();
    // Adds `--help` and the full names of subcommands, as the parser would.
    command.build();
    write_pages(&command, &arguments.to)
}

fn write_pages(command: &clap::Command, directory: &Path) -> Result<(), Error> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name.clone())
        .date("")
        .render(&mut page)?;
    fs_err::write(directory.join(format!("{name}.1")), page)?;
    for subcommand in command.get_subcommands() {
        if subcommand.get_name() != "help" {
            write_pages(subcommand, directory)?;
        }
    }
    Ok(())
}
