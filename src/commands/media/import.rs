//! `chantal media import`.

use crate::cli::MediaImport;
use crate::commands::publish::describe as describe_tree;
use crate::commands::{Context, conclude, requester};
use crate::error::Error;
use crate::media::{
    self, CurrentState, Extent, ImportRequest, KnownTransfer, MediumKeys, TransferResult,
    UnsignedTransfer,
};
use crate::output::{bytes, count};
use crate::report::{ImportDetails, ImportResult, ImportedMedium, ImportedRepositoryResult};
use crate::storage::Storage;
use crate::terminal::escape;

use super::confirm::write_beside;

/// How many damaged objects the text lists; JSON has all of them.
const DAMAGED_SHOWN: usize = 20;

pub fn import(context: &Context<'_>, arguments: &MediaImport) -> Result<(), Error> {
    let requester = requester("media import", &arguments.waiting)?;
    let storage = Storage::open_to_import(context.config, &requester)?;
    let request = ImportRequest {
        storage: &storage,
        config: context.config,
        config_dir: context.config_dir,
        key: &context.key,
        progress: &context.progress,
        allowed: &arguments.allowed,
        number: arguments.transfer,
        medium_keys: if arguments.accept_keys {
            MediumKeys::Accept
        } else {
            MediumKeys::Refuse
        },
        current: if arguments.replace {
            CurrentState::Replace
        } else {
            CurrentState::Keep
        },
        known: if arguments.again {
            KnownTransfer::Repeat
        } else {
            KnownTransfer::Skip
        },
        unsigned: if arguments.allow_unsigned {
            UnsignedTransfer::Accept
        } else {
            UnsignedTransfer::Refuse
        },
        extent: if arguments.dry_run {
            Extent::Plan
        } else {
            Extent::Import
        },
    };
    let results = media::import(&request, &arguments.from)?;
    context.progress.clear();
    let result = ImportedMedium {
        dry_run: arguments.dry_run,
        transfers: results.iter().map(ImportResult::new).collect(),
    };
    context.output.result(&result, describe)?;
    let mut failures = Vec::new();
    if arguments.receipt && !arguments.dry_run {
        for TransferResult { folder, result } in &results {
            let Ok(imported) = result else {
                continue;
            };
            if imported.code.is_none() && imported.copied.damaged.is_empty() {
                // It would say that everything has arrived, and that later ones can build on it.
                log::warn!(
                    "transfer {} cannot be confirmed yet: no receipt",
                    imported.number
                );
                continue;
            }
            match write_beside(context, folder, imported) {
                Ok(path) => {
                    let text = format!("receipt written to {}", path.display());
                    context.output.step(&text)?;
                }
                Err(error) => failures.push(error),
            }
        }
    }
    failures.extend(results.into_iter().flat_map(errors));
    conclude(failures)
}

/// Everything that went wrong with a transfer.
fn errors(result: TransferResult) -> Vec<Error> {
    let imported = match result.result {
        Ok(imported) => imported,
        Err(error) => return vec![error.into()],
    };
    let mut errors = Vec::new();
    if !imported.copied.damaged.is_empty() {
        errors.push(Error::DamagedMedium {
            folder: result.folder,
            objects: imported.copied.damaged.len() as u64,
        });
    }
    for (repository, imported) in imported.repositories {
        if let Some(refusal) = imported.refused {
            errors.push(Error::NotImported {
                repository,
                refusal,
            });
        }
        let unpublished = imported.published.into_iter().filter_map(Result::err);
        errors.extend(unpublished.map(Error::from));
    }
    errors
}

fn describe(result: &ImportedMedium) -> String {
    let mut text = String::new();
    for transfer in &result.transfers {
        if let Some(imported) = &transfer.imported {
            text += &describe_transfer(imported, result.dry_run);
        }
    }
    text
}

fn describe_transfer(imported: &ImportDetails, dry_run: bool) -> String {
    let signed = match imported.signed_by.as_slice() {
        [] => "not signed".to_owned(),
        keys => format!("signed by {}", keys.join(", ")),
    };
    let mut text = format!(
        "transfer {} for {}, {signed}\n",
        imported.transfer, imported.destination
    );
    for warning in &imported.warnings {
        text += &format!("  warning: {}\n", escape(warning));
    }
    if imported.already_imported {
        text += match imported.repositories.as_slice() {
            [] => "  imported before: nothing to do\n",
            _ => "  imported before\n",
        };
    } else if dry_run {
        text += &format!(
            "  {}, {}\n",
            count(imported.objects, "file"),
            bytes(imported.bytes)
        );
    } else {
        text += &format!(
            "  {} ({}) verified, {} new here\n",
            count(imported.objects - imported.damaged.len() as u64, "file"),
            bytes(imported.bytes),
            count(imported.objects_copied, "file"),
        );
    }
    for damaged in imported.damaged.iter().take(DAMAGED_SHOWN) {
        text += &format!("  {}\n", escape(&damaged.what));
    }
    if let more @ 1.. = imported.damaged.len().saturating_sub(DAMAGED_SHOWN) {
        text += &format!("  and {more} more\n");
    }
    for repository in &imported.repositories {
        text += &describe_repository(repository, dry_run);
    }
    if let Some(code) = &imported.confirmation_code {
        text += &format!("confirm outside by typing: {code}\n");
    }
    text
}

fn describe_repository(repository: &ImportedRepositoryResult, dry_run: bool) -> String {
    let id = &repository.repository;
    if !repository.imported && !dry_run {
        return format!("  {id}: not imported\n");
    }
    let mut text = format!("  {id}: {}", count(repository.packages, "package"));
    if !repository.signed_by.is_empty() {
        text += &format!(
            ", upstream signature by {}",
            repository.signed_by.join(", ")
        );
    }
    text += "\n";
    if !repository.accepted_keys.is_empty() {
        let keys = repository.accepted_keys.join(", ");
        text += &format!("    keys accepted: {keys}\n");
    }
    let would = if dry_run { "would be " } else { "" };
    for name in &repository.snapshots_created {
        text += &format!("    {id}/{name} {would}created\n");
    }
    text += &match repository.latest {
        Some("replaced") => format!("    latest {would}replaced\n"),
        Some("older_transfer") => {
            "    latest kept: a later transfer was imported before\n".to_owned()
        }
        Some("older_root") => "    latest kept: its metadata is newer\n".to_owned(),
        _ => String::new(),
    };
    for tree in &repository.published {
        text += &format!("    {}\n", describe_tree(tree).replace('\n', "\n    "));
    }
    if repository.published.is_empty() && !dry_run {
        text += "    not published\n";
    }
    text
}
