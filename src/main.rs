//! chantal mirrors RPM and APT repositories for networks that have no internet.
//!
//! # The way of the data
//!
//! ```text
//! config -> upstream (fetch, resume, verify) -> format (root, indexes, packages) -> plan -> pool -> manifest
//!        -> store (one transaction) -> publish (stage, exchange)
//! ```
//!
//! - [`sync`] takes one repository from its root to a new state. [`upstream`] brings bytes, [`openpgp`] says which of them may
//!   be believed, a [`format::Selected`] repository says what they refer to, [`pool`] keeps them.
//! - A state is a [`manifest`]: an immutable list of every published path. Everything after sync works on manifests, whatever
//!   the format.
//! - [`store`] is the one file that names manifests and objects. [`publish`] makes a directory tree look like a manifest. A
//!   [`snapshot`] is a further name for one. [`cleanup`] takes away what nothing names.
//! - Where the upstream's indexes name more than is wanted (filters, merges), a format writes new ones
//!   ([`format::Selected::regenerate`]) by streaming the old ones and copying the chosen packages' own bytes; [`indexes`] reads and
//!   stores them. The root over them is dated and signed when it is published, not before: it must be newer than what its place had.
//!
//! # Layers
//!
//! A module imports only from lower layers; `tests/all/layers.rs` holds the list and checks it.
//!
//! # Invariants
//!
//! - Verified before parsed: parsers take [`openpgp::Trusted`], or readers over bytes whose digest a trusted root vouches for.
//! - Whole before named: an object's name is given after its digest was checked, and the store names it after it is durable.
//! - One transaction makes a state; one rename makes a published tree. Killed anywhere, the old state and tree are intact.
//! - A place that is not there is not empty: a base path, store, pool or published tree that is missing may be on a disk that is not
//!   mounted, and nothing is made in its stead. A pool belongs to one store; a lock counts while its path names it.
//! - What is read from the store is checked first ([`store`]); a wait on the network ends with an interruption or its deadline
//!   ([`upstream`]).
//! - Published files are the upstream's own, byte for byte; beside them stand the trusted keys for clients, and nothing
//!   of the upstream's in their place. New indexes (see above) and a root that clients would find too old are ours, and signed so.
//! - No path from an upstream reaches a URL or the file system except as a [`rel_path::RelPath`].
//! - Credentials go to the host they were configured for and nowhere else.
//! - Memory does not grow with the size of an index's text.

mod cleanup;
mod cli;
mod commands;
mod config;
mod digest;
mod error;
mod exit;
mod format;
mod indexes;
mod interrupt;
mod logging;
mod manifest;
mod mounts;
mod openpgp;
mod output;
mod pool;
mod progress;
mod publish;
mod regular_file;
mod rel_path;
mod repo_format;
mod snapshot;
mod storage;
mod store;
mod sync;
mod terminal;
mod threads;
mod time;
mod upstream;

/// What fuzzing runs, here on the inputs that are kept.
#[cfg(test)]
#[path = "../tests/fuzz/src/targets/mod.rs"]
mod fuzz_targets;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use commands::Context;
use error::Error;
use logging::Verbosity;
use output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused_arguments(&error),
    };
    let mut problems = Vec::new();
    let mut errors = Vec::new();
    let mut written = Vec::new();
    let result = run(&cli, &mut problems, &mut written).map_err(|source| match written.len() {
        0 => source,
        _ => Error::HalfMade {
            written,
            source: Box::new(source),
        },
    });
    // Of repositories that the run had to do without.
    let broken =
        (!problems.is_empty()).then(|| Error::Config(config::ConfigError::Problems(problems)));
    match (result, broken) {
        // What is wrong with its file says it all.
        (Err(Error::Unusable { .. }), Some(broken)) => {
            report(&cli, &broken);
            errors.push(broken);
        }
        (result, broken) => {
            if let Err(error) = result {
                report(&cli, &error);
                errors.push(error);
            }
            if let Some(broken) = broken {
                say(&broken);
                errors.push(broken);
            }
        }
    }
    match Error::gravest(&errors) {
        None => ExitCode::SUCCESS,
        Some(exit) => ExitCode::from(u8::try_from(exit.code()).expect("exit codes are below 256")),
    }
}

/// Says what is wrong with the command line, or what it asks to know (`--help`, `--version`).
fn refused_arguments(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let wants_json = arguments.iter().any(|one| one == "--format=json")
        || arguments.windows(2).any(|two| two == ["--format", "json"]);
    let _ = error.print();
    if error.use_stderr() && wants_json {
        let rendered = error.render().to_string();
        let what = rendered.trim().trim_start_matches("error: ");
        let document = serde_json::json!({
            "error": what,
            "hint": "`chantal --help` lists the commands and options",
            "exit_code": error.exit_code(),
        });
        let document = terminal::escape_json(&format!("{document:#}"));
        let _ = writeln!(std::io::stdout(), "{document}");
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn say(error: &Error) {
    let message = terminal::escape_lines(&error.render());
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// Says why the run failed. That nobody can hear it must not change the exit code.
fn report(cli: &Cli, error: &Error) {
    say(error);
    // With several repositories, the result was printed and has their errors.
    if cli.format == cli::OutputFormat::Json && !matches!(error, Error::Several { .. }) {
        let mut document = serde_json::json!({
            "error": error.to_string(),
            "hint": error.hint(),
            "exit_code": error.exit().code(),
        });
        let parts = error.parts();
        if parts.len() > 1 {
            let parts = parts.iter();
            document["errors"] = parts
                .map(|(what, hint)| serde_json::json!({"error": what, "hint": hint}))
                .collect();
        }
        let document = terminal::escape_json(&format!("{document:#}"));
        let _ = writeln!(std::io::stdout(), "{document}");
    }
}

/// `problems` gets what is wrong with files of `repos.d` that the run does without, `written` what `init` has made so far.
fn run(
    cli: &Cli,
    problems: &mut Vec<config::Problem>,
    written: &mut Vec<String>,
) -> Result<(), Error> {
    let has_csv = matches!(cli.command, Command::Snapshot(cli::Snapshot::Diff(_)));
    if cli.format == cli::OutputFormat::Csv && !has_csv {
        return Err(Error::Usage(
            "--format csv is for `snapshot diff` only: take text or json".to_owned(),
        ));
    }
    let output = Output {
        format: cli.format,
        quiet: cli.quiet,
    };
    if let Command::Generate(cli::Generate::Man(arguments)) = &cli.command {
        return commands::generate::man(arguments);
    }
    if matches!(cli.command, Command::Init) {
        commands::init::write_examples(&cli.config_dir, written)?;
    }
    let mut loaded = config::load(&cli.config_dir)?;
    problems.append(&mut loaded.problems);
    let verbosity = match (cli.quiet, cli.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::AsConfigured,
        (false, times) => Verbosity::Verbose(times),
    };
    if matches!(cli.command, Command::Init) {
        commands::init::make_log_directory(&loaded.config)?;
    }
    let progress = logging::start(&loaded.config.logging, verbosity)?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let config_dir = config::absolute(&cli.config_dir)?;
    let context = Context {
        config: &loaded.config,
        config_dir: &config_dir,
        output,
        progress,
        key: std::sync::OnceLock::new(),
    };
    let result = dispatch(&cli.command, &context, written);
    context.progress.clear();
    if let (Err(error), Some(_)) = (&result, &loaded.config.logging.file) {
        // Standard error has it anyway; whoever reads the log file finds why the run ended there too.
        log::error!("{error}");
    }
    result
}

fn dispatch(
    command: &Command,
    context: &Context<'_>,
    written: &mut Vec<String>,
) -> Result<(), Error> {
    match command {
        Command::Init => commands::init::init(context.config, context.output, written),
        Command::Repo(cli::Repo::Sync(arguments)) => commands::repo::sync(context, arguments),
        Command::Repo(cli::Repo::List) => commands::repo::list(context),
        Command::Repo(cli::Repo::Show(arguments)) => commands::repo::show(context, arguments),
        Command::Repo(cli::Repo::Trust(arguments)) => commands::repo::trust(context, arguments),
        Command::Repo(cli::Repo::Remove(arguments)) => commands::repo::remove(context, arguments),
        Command::Repo(cli::Repo::History(arguments)) => commands::repo::history(context, arguments),
        Command::Snapshot(cli::Snapshot::Create(arguments)) => {
            commands::snapshot::create(context, arguments)
        }
        Command::Snapshot(cli::Snapshot::List(arguments)) => {
            commands::snapshot::list(context, arguments)
        }
        Command::Snapshot(cli::Snapshot::Show(arguments)) => {
            commands::snapshot::show(context, arguments)
        }
        Command::Snapshot(cli::Snapshot::Diff(arguments)) => {
            commands::snapshot::diff(context, arguments)
        }
        Command::Snapshot(cli::Snapshot::Merge(arguments)) => {
            commands::snapshot::merge(context, arguments)
        }
        Command::Snapshot(cli::Snapshot::Delete(arguments)) => {
            commands::snapshot::delete(context, arguments)
        }
        Command::Publish(arguments) => commands::publish::publish(context, arguments),
        Command::Unpublish(arguments) => commands::publish::unpublish(context, arguments),
        Command::Db(cli::Db::Cleanup(arguments)) => commands::db::cleanup(context, arguments),
        Command::Db(cli::Db::Migrate) => commands::db::migrate(context),
        Command::Db(cli::Db::Stats) => commands::db::stats(context),
        Command::Pool(cli::Pool::TakeOver(arguments)) => {
            commands::pool::take_over(context, arguments)
        }
        Command::Config(cli::Config::Check) => commands::config::check(context),
        Command::Config(cli::Config::Keygen(arguments)) => {
            commands::config::keygen(context, arguments)
        }
        Command::Generate(cli::Generate::Man(_)) => {
            unreachable!("handled before the configuration is read")
        }
    }
}
