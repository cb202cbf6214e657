//! One run of the program, from the command line to the exit code.
//!
//! Errors are printed here, once: on standard error, and with `--format json` also as a JSON
//! document on standard output.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::commands::Context;
use crate::error::Error;
use crate::logging::Verbosity;
use crate::output::Output;
use crate::signing_key::ConfiguredKey;
use crate::{cli, commands, config, logging, panics, terminal};

/// Parses the command line and runs the command. The exit codes are those of [`crate::exit::Exit`].
pub fn run() -> ExitCode {
    panics::install_hook();
    run_with(std::env::args_os())
}

/// The same with other arguments; the first one is the name of the program.
pub fn run_with(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return reject_arguments(&error),
    };
    let mut problems = Vec::new();
    let mut errors = Vec::new();
    let mut written = Vec::new();
    let result = start(&cli, &mut problems, &mut written).map_err(|source| match written.len() {
        0 => source,
        _ => Error::InitFailed {
            written,
            source: Box::new(source),
        },
    });
    // Invalid repository definitions, without which the run continued.
    let broken =
        (!problems.is_empty()).then(|| Error::Config(config::ConfigError::Problems(problems)));
    match (result, broken) {
        // The errors in the file explain why the repository is not usable.
        (Err(Error::InvalidDefinition { .. }), Some(broken)) => {
            report(&cli, &broken);
            errors.push(broken);
        }
        (result, broken) => {
            if let Err(error) = result {
                report(&cli, &error);
                errors.push(error);
            }
            if let Some(broken) = broken {
                print_error(&broken);
                errors.push(broken);
            }
        }
    }
    match Error::most_severe(&errors) {
        None => ExitCode::SUCCESS,
        Some(exit) => ExitCode::from(u8::try_from(exit.code()).expect("exit codes are below 256")),
    }
}

/// Prints errors of the command line, or the requested information (`--help`, `--version`).
fn reject_arguments(error: &clap::Error) -> ExitCode {
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

fn print_error(error: &Error) {
    let message = terminal::escape_lines(&error.render());
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// Prints why the run failed. An error while printing must not change the exit code.
fn report(cli: &Cli, error: &Error) {
    print_error(error);
    // With several repositories, the errors are in the result, which was already printed.
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

/// Adds the errors of invalid files in `repos.d` to `problems`, and files that `init` created to
/// `written`.
fn start(
    cli: &Cli,
    problems: &mut Vec<config::Problem>,
    written: &mut Vec<String>,
) -> Result<(), Error> {
    let has_csv = matches!(cli.command, Command::Snapshot(cli::Snapshot::Diff(_)));
    if cli.format == cli::OutputFormat::Csv && !has_csv {
        return Err(Error::Usage(
            "--format csv is only supported by `snapshot diff`: use text or json".to_owned(),
        ));
    }
    let output = Output {
        format: cli.format,
        quiet: cli.quiet,
    };
    if let Command::Generate(cli::Generate::Man(arguments)) = &cli.command {
        return commands::generate::man(arguments);
    }
    if let Command::Media(media) = &cli.command
        && let Some(inspected) = inspect(media, output, cli)
    {
        return inspected;
    }
    if matches!(cli.command, Command::Init(_)) {
        config::write_examples(&cli.config_dir, written)?;
    }
    let mut loaded = config::load(&cli.config_dir)?;
    problems.append(&mut loaded.problems);
    if matches!(cli.command, Command::Init(_)) {
        commands::init::create_log_directory(&loaded.config)?;
    }
    let progress = logging::start(&loaded.config.logging, verbosity(cli))?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let config_dir = config::absolute(&cli.config_dir)?;
    let context = Context {
        config: &loaded.config,
        config_dir: &config_dir,
        output,
        progress,
        key: ConfiguredKey::new(loaded.config.signing.as_ref()),
    };
    let result = dispatch(&cli.command, &context, written);
    context.progress.clear();
    if let (Err(error), Some(_)) = (&result, &loaded.config.logging.file) {
        // The error is printed to standard error anyway; this adds it to the log file.
        log::error!("{error}");
    }
    result
}

/// Runs a command that needs neither a configuration nor a storage; `None` for others.
fn inspect(media: &cli::Media, output: Output, cli: &Cli) -> Option<Result<(), Error>> {
    if !matches!(
        media,
        cli::Media::Status(_) | cli::Media::List(_) | cli::Media::Verify(_)
    ) {
        return None;
    }
    let progress = match logging::start(&config::Logging::default(), verbosity(cli)) {
        Ok(progress) => progress,
        Err(error) => return Some(Err(error.into())),
    };
    match media {
        cli::Media::Status(arguments) => Some(commands::media::status(output, arguments)),
        cli::Media::List(arguments) => Some(commands::media::list(output, arguments)),
        cli::Media::Verify(arguments) => {
            Some(commands::media::verify(output, &progress, arguments))
        }
        _ => None,
    }
}

fn verbosity(cli: &Cli) -> Verbosity {
    match (cli.quiet, cli.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Configured,
        (false, times) => Verbosity::Verbose(times),
    }
}

fn dispatch(
    command: &Command,
    context: &Context<'_>,
    written: &mut Vec<String>,
) -> Result<(), Error> {
    match command {
        Command::Init(waiting) => commands::init::init(context, waiting, written),
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
        Command::Media(media) => run_media(media, context),
        Command::Db(cli::Db::Check(arguments)) => commands::db::check(context, arguments),
        Command::Db(cli::Db::Cleanup(arguments)) => commands::db::cleanup(context, arguments),
        Command::Db(cli::Db::Migrate(waiting)) => commands::db::migrate(context, waiting),
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

fn run_media(media: &cli::Media, context: &Context<'_>) -> Result<(), Error> {
    match media {
        cli::Media::Plan(arguments) => commands::media::plan(context, arguments),
        cli::Media::Export(arguments) => commands::media::export(context, arguments),
        cli::Media::Import(arguments) => commands::media::import(context, arguments),
        cli::Media::Receipt(arguments) => commands::media::receipt(context, arguments),
        cli::Media::Confirm(arguments) => commands::media::confirm(context, arguments),
        cli::Media::Lost(arguments) => commands::media::lost(context, arguments),
        cli::Media::Forget(arguments) => commands::media::forget(context, arguments),
        cli::Media::History => commands::media::history(context),
        cli::Media::Status(_) | cli::Media::Verify(_) | cli::Media::List(_) => {
            unreachable!("handled before the configuration is read")
        }
    }
}

#[cfg(test)]
mod tests;
