//! `chantal config`.

use serde::Serialize;

use super::{Context, conclude};
use crate::config::FormatConfig;
use crate::error::Error;
use crate::output::table;
use crate::{sync, upstream};

#[derive(Serialize)]
struct Checked {
    base_path: String,
    repositories: Vec<CheckedRepository>,
}

#[derive(Serialize)]
struct CheckedRepository {
    repository: String,
    #[serde(rename = "type")]
    format: &'static str,
    enabled: bool,
    upstream: String,
    file: String,
}

/// Whoever gets here has a configuration that was read without an error; warnings were logged. What is left are the files
/// that it names: keys and certificates. Secrets are not asked for.
pub fn check(context: &Context<'_>) -> Result<(), Error> {
    let mut errors = Vec::new();
    if let Err(error) = upstream::authorities(context.config) {
        errors.push(Error::Usage(error.to_string()));
    }
    for repository in &context.config.repositories {
        if let Err(source) = sync::keys_at_hand(context.config, repository)
            && repository.enabled
        {
            errors.push(Error::Sync {
                repository: repository.id.to_string(),
                source: source.into(),
            });
        }
    }
    if !errors.is_empty() {
        return conclude(errors);
    }
    let checked = Checked {
        base_path: context.config.storage.base_path.display().to_string(),
        repositories: context
            .config
            .repositories
            .iter()
            .map(|repository| CheckedRepository {
                repository: repository.id.to_string(),
                format: format_name(&repository.format),
                enabled: repository.enabled,
                upstream: repository.upstream.to_string(),
                file: repository.file.display().to_string(),
            })
            .collect(),
    };
    context.output.result(&checked, |checked| {
        let rows: Vec<Vec<String>> = checked
            .repositories
            .iter()
            .map(|repository| {
                vec![
                    repository.repository.clone(),
                    repository.format.to_owned(),
                    if repository.enabled { "yes" } else { "no" }.to_owned(),
                    repository.upstream.clone(),
                ]
            })
            .collect();
        let mut text = String::new();
        if !rows.is_empty() {
            text = table(&["REPOSITORY", "TYPE", "ENABLED", "UPSTREAM"], &rows);
        }
        let repositories = rows.len() as u64;
        let noun = if repositories == 1 {
            "repository"
        } else {
            "repositories"
        };
        text + &format!(
            "the configuration is good: {repositories} {noun}, storage {}",
            checked.base_path
        )
    })?;
    Ok(())
}

pub fn format_name(format: &FormatConfig) -> &'static str {
    match format {
        FormatConfig::Apt(_) => "apt",
        FormatConfig::Rpm(_) => "rpm",
    }
}
