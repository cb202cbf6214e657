//! `chantal init`: everything that has to be there before the first sync. What exists already is left alone.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::cli::Waiting;
use crate::commands::{Context, requester};
use crate::config::{self, EXAMPLE_APT, EXAMPLE_GLOBAL, EXAMPLE_RPM};
use crate::error::Error;
use crate::storage::{self, Storage};

#[derive(Serialize)]
struct Made {
    written: Vec<String>,
    storage: String,
    pool: String,
    /// False when the storage was there before.
    created: bool,
}

/// Before the configuration is read: writes one where there is none. `written` gets what was written, also when it fails.
pub fn write_examples(config_dir: &Path, written: &mut Vec<String>) -> Result<(), Error> {
    if config::is_present(config_dir)? {
        return Ok(());
    }
    for (directory, name, text) in [
        ("conf.d", "global.yaml", EXAMPLE_GLOBAL),
        ("repos.d", "example-apt.yaml", EXAMPLE_APT),
        ("repos.d", "example-rpm.yaml", EXAMPLE_RPM),
    ] {
        let directory = config_dir.join(directory);
        fs_err::create_dir_all(&directory)?;
        let path = directory.join(name);
        let mut file = match fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        // Half an example would stay for good: the next run writes none where there is a configuration.
        if let Err(error) = file.write_all(text.as_bytes()) {
            let _ = fs_err::remove_file(&path);
            return Err(error.into());
        }
        written.push(path.display().to_string());
    }
    Ok(())
}

/// Before anything is logged: what else runs makes no directories above the log file.
pub fn make_log_directory(config: &config::Config) -> Result<(), Error> {
    let file = config.logging.file.as_deref();
    if let Some(directory) = file.and_then(Path::parent) {
        fs_err::create_dir_all(directory)?;
    }
    Ok(())
}

/// `written` has what was written before.
pub fn init(
    context: &Context<'_>,
    waiting: &Waiting,
    written: &mut Vec<String>,
) -> Result<(), Error> {
    let Context { config, output, .. } = context;
    let requester = requester("init", waiting)?;
    let created = !storage::is_made(&config.storage).unwrap_or(false);
    let before = storage::half_made(&config.storage);
    let storage = Storage::init(&config.storage, &requester).inspect_err(|_| {
        let left = storage::half_made(&config.storage).into_iter();
        // What another run is making is not this one's.
        let own = left.filter(|path| !before.contains(path));
        written.extend(own.map(|path| path.display().to_string()));
    })?;
    let examples = written.clone();
    if created {
        written.push(config.storage.base_path.display().to_string());
    }
    fs_err::create_dir_all(config.storage.keyrings_path())?;
    let made = Made {
        written: examples,
        storage: config.storage.base_path.display().to_string(),
        pool: storage.pool.root().display().to_string(),
        created,
    };
    output.result(&made, |made| {
        let mut text = String::new();
        for path in &made.written {
            text += &format!("wrote {path}\n");
        }
        if made.created {
            text += &format!(
                "made the storage {} with its pool {}\n",
                made.storage, made.pool
            );
        } else {
            text += &format!("the storage {} is there already\n", made.storage);
        }
        if !made.written.is_empty() {
            text += "next: describe a repository in repos.d, then `chantal repo sync --all`\n";
        }
        text
    })?;
    Ok(())
}
