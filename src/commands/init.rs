//! `chantal init`: creates everything that the first sync needs. Existing files are not changed.

use std::path::Path;

use crate::cli::WaitOptions;
use crate::commands::{Context, requester};
use crate::config::Config;
use crate::error::Error;
use crate::report::InitializedStorage;
use crate::storage::{self, Storage};

/// Called before the first log line: other commands do not create parents of the log file.
pub fn create_log_directory(config: &Config) -> Result<(), Error> {
    let file = config.logging.file.as_deref();
    if let Some(directory) = file.and_then(Path::parent) {
        fs_err::create_dir_all(directory)?;
    }
    Ok(())
}

/// `written` contains the files that were created before.
pub fn init(
    context: &Context<'_>,
    waiting: &WaitOptions,
    written: &mut Vec<String>,
) -> Result<(), Error> {
    let Context { config, output, .. } = context;
    let requester = requester("init", waiting)?;
    let created = !storage::is_made(&config.storage).unwrap_or(false);
    let before = storage::half_made(&config.storage);
    let storage = Storage::init(&config.storage, &requester).inspect_err(|_| {
        let left = storage::half_made(&config.storage).into_iter();
        // Not the files that another run is creating.
        let own = left.filter(|path| !before.contains(path));
        written.extend(own.map(|path| path.display().to_string()));
    })?;
    let examples = written.clone();
    if created {
        written.push(config.storage.base_path.display().to_string());
    }
    fs_err::create_dir_all(config.storage.keyrings_path())?;
    let made = InitializedStorage {
        written: examples,
        storage: config.storage.base_path.clone(),
        pool: storage.pool.root().to_owned(),
        created,
    };
    output.result(&made, |made| {
        let mut text = String::new();
        for path in &made.written {
            text += &format!("wrote {path}\n");
        }
        if made.created {
            text += &format!(
                "created storage {} with pool {}\n",
                made.storage.display(),
                made.pool.display()
            );
        } else {
            let path = made.storage.display();
            text += &format!("storage {path} already exists\n");
        }
        if !made.written.is_empty() {
            text += "next: define a repository in repos.d, then run `chantal repo sync --all`\n";
        }
        text
    })?;
    Ok(())
}
