//! Logging with the configured level, file and format, without disturbing progress bars.
//!
//! If the directory of the log file does not exist, its disk may not be mounted: then this logs to
//! standard error.

use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use env_logger::{Builder, Target, WriteStyle};
use fs_err::os::unix::fs::OpenOptionsExt as _;
use indicatif::MultiProgress;
use log::{Level, LevelFilter, Record};

use crate::config::{LogFormat, Logging};
use crate::progress::Progress;
use crate::terminal::{escape_json, escape_lines};

/// Overrides the configured level from the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    Quiet,
    AsConfigured,
    Verbose(u8),
}

/// Initializes the logger of the process, and returns where progress is shown.
pub fn start(logging: &Logging, verbosity: Verbosity) -> io::Result<Progress> {
    let bars =
        (verbosity != Verbosity::Quiet && io::stderr().is_terminal()).then(MultiProgress::new);
    let mut builder = Builder::new();
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::Error,
        Verbosity::AsConfigured => logging.level,
        Verbosity::Verbose(1) => logging.level.max(LevelFilter::Debug),
        Verbosity::Verbose(_) => LevelFilter::Trace,
    };
    // Messages of libraries are shown only at the highest verbosity.
    let libraries = match verbosity {
        Verbosity::Verbose(2..) => LevelFilter::Trace,
        _ => level.min(LevelFilter::Warn),
    };
    builder
        .filter_level(libraries)
        // It logs the packets that it reads, which are not trusted.
        .filter_module("pgp", LevelFilter::Off)
        // They log URLs with tokens, and all sent data including credentials. chantal logs requests
        // itself.
        .filter_module("ureq", LevelFilter::Off)
        .filter_module("ureq_proto", LevelFilter::Off)
        .filter_module(env!("CARGO_CRATE_NAME"), level)
        .write_style(WriteStyle::Never);
    let mut missing = None;
    let sink: Box<dyn Write + Send> = match &logging.file {
        Some(path) => {
            create_directory(path)?;
            let opened = open(path);
            match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing = Some(path);
                    Box::new(Stderr(bars.clone()))
                }
                opened => Box::new(opened?),
            }
        }
        None => Box::new(Stderr(bars.clone())),
    };
    builder.target(Target::Pipe(sink));
    let timestamps = if logging.file.is_some() && missing.is_none() {
        Timestamps::Shown
    } else {
        Timestamps::Hidden
    };
    match logging.format {
        LogFormat::Text => builder.format(move |out, record| write_text(out, record, timestamps)),
        LogFormat::Json => builder.format(write_json),
    };
    builder.init();
    if let Some(path) = missing {
        log::warn!(
            "the directory of logging.file {} does not exist: is the file system mounted? \
             `chantal init` creates it; this run logs to standard error",
            path.display()
        );
    }
    Ok(bars.map_or(Progress::Lines, Progress::Bars))
}

/// Opens the log file. A pipe would block the run if nothing reads it; character devices
/// (`/dev/null`, a terminal) are accepted.
fn open(path: &Path) -> io::Result<fs_err::File> {
    let file = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() {
        return Ok(file);
    }
    let why = format!("logging.file {} is not a regular file", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Creates the parent directory of the log file, but no more: nothing is created below the mount
/// point of a disk that is not mounted.
fn create_directory(file: &Path) -> io::Result<()> {
    let Some((directory, above)) = file.parent().and_then(|own| Some((own, own.parent()?))) else {
        return Ok(());
    };
    if directory.exists() || !above.is_dir() || fs_err::read_dir(above)?.next().is_none() {
        return Ok(());
    }
    match fs_err::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Whether a line of text starts with its time, which is useful in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timestamps {
    Shown,
    Hidden,
}

fn write_text(out: &mut impl Write, record: &Record<'_>, timestamps: Timestamps) -> io::Result<()> {
    if timestamps == Timestamps::Shown {
        write!(
            out,
            "{} ",
            jiff::Timestamp::now()
                .round(jiff::Unit::Second)
                .unwrap_or_default()
        )?;
    }
    let prefix = match record.level() {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info => "",
        Level::Debug | Level::Trace => "debug: ",
    };
    writeln!(out, "{prefix}{}", escape_lines(&record.args().to_string()))
}

fn write_json(out: &mut env_logger::fmt::Formatter, record: &Record<'_>) -> io::Result<()> {
    let line = serde_json::json!({
        "time": jiff::Timestamp::now().to_string(),
        "level": record.level().as_str().to_lowercase(),
        "module": record.target(),
        "message": record.args().to_string(),
    });
    writeln!(out, "{}", escape_json(&line.to_string()))
}

/// Standard error; the progress bars are hidden while a line is written.
struct Stderr(Option<MultiProgress>);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(bars) => bars.suspend(|| io::stderr().write_all(bytes))?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
