//! `chantal media plan` and `chantal media export`.

use crate::cli::{ExportedStates, MediaExport, MediaPlan};
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::lock::Requester;
use crate::media::{self, BaseChoice, ExportRequest, ExportSelection, ReadBack};
use crate::output::{bytes, count};
use crate::report::ExportedTransfer;
use crate::storage::Storage;

pub fn plan(context: &Context<'_>, arguments: &MediaPlan) -> Result<(), Error> {
    let requester = requester("media plan", &crate::cli::WaitOptions { wait: None })?;
    show_plan(context, &arguments.states, &requester)
}

pub fn export(context: &Context<'_>, arguments: &MediaExport) -> Result<(), Error> {
    let requester = requester("media export", &arguments.waiting)?;
    if arguments.dry_run {
        return show_plan(context, &arguments.states, &requester);
    }
    let storage = Storage::open(&context.config.storage, &requester)?;
    let selection = selection(&arguments.states)?;
    let request = ExportRequest {
        allow_unsigned: arguments.allow_unsigned,
        read_back: if arguments.no_read_back {
            ReadBack::No
        } else {
            ReadBack::Yes
        },
        ..request(context, &storage, &arguments.states, &selection)
    };
    let outcome = media::export(&request, &arguments.to)?;
    context.progress.clear();
    let result = ExportedTransfer::from(&outcome);
    Ok(context.output.result(&result, describe)?)
}

fn show_plan(
    context: &Context<'_>,
    states: &ExportedStates,
    requester: &Requester,
) -> Result<(), Error> {
    let storage = Storage::open(&context.config.storage, requester)?;
    let selection = selection(states)?;
    let plan = media::plan_export(&request(context, &storage, states, &selection))?;
    let result = ExportedTransfer::planned(&plan);
    Ok(context.output.result(&result, describe)?)
}

fn selection(states: &ExportedStates) -> Result<ExportSelection, Error> {
    if states.snapshots.is_empty() && states.repo_ids.is_empty() && !states.all {
        let what = "nothing to export: use --snapshot, --repo-id or --all";
        return Err(Error::Usage(what.to_owned()));
    }
    Ok(ExportSelection {
        snapshots: states.snapshots.clone(),
        repositories: states.repo_ids.clone(),
        all: states.all,
    })
}

fn request<'a>(
    context: &'a Context<'a>,
    storage: &'a Storage,
    states: &'a ExportedStates,
    selection: &'a ExportSelection,
) -> ExportRequest<'a> {
    ExportRequest {
        storage,
        config: context.config,
        key: &context.key,
        progress: &context.progress,
        destination: &states.destination,
        selection,
        base: match states.base_last {
            Some(nth) => BaseChoice::AssumeLast(nth.get()),
            None if states.full => BaseChoice::Full,
            None => BaseChoice::Confirmed,
        },
        allow_unsigned: false,
        read_back: ReadBack::Yes,
    }
}

fn describe(result: &ExportedTransfer) -> String {
    let destination = &result.destination;
    let mut text = match result.builds_on {
        Some(base) => format!("{destination} has transfer {base}. Since then:\n"),
        None => format!("full transfer for {destination}:\n"),
    };
    for repository in &result.repositories {
        text += &format!(
            "  {} ({}): {}, {}\n",
            repository.repository,
            repository.states.join(", "),
            count(repository.packages, "package"),
            bytes(repository.bytes)
        );
    }
    text += &format!("{}, {}", count(result.objects, "file"), bytes(result.bytes));
    if result.builds_on.is_some() {
        text += &format!("; a full transfer would be {}", bytes(result.full_bytes));
    }
    text += "\n";
    let Some(written) = &result.written else {
        return text;
    };
    let signed = match &written.signed_by {
        Some(key) => format!("signed by {key}"),
        None => "not signed".to_owned(),
    };
    let built = match result.builds_on {
        Some(base) => format!("builds on {base}, "),
        None => String::new(),
    };
    text += &format!(
        "transfer {} written to {}: {built}{signed}\n",
        result.transfer,
        written.folder.display()
    );
    if written.resumed_objects > 0 {
        text += &format!(
            "{} of an interrupted export kept\n",
            count(written.resumed_objects, "file")
        );
    }
    text += match written.read_back {
        "from_medium" => "read back from the medium; it can be unmounted now\n",
        "not_proved" => {
            "read back; the file system does not show whether from the medium or from memory: \
             unmount it, mount it again and run `chantal media verify`\n"
        }
        _ => "not read back\n",
    };
    text
}
