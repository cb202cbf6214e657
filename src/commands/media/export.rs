//! `chantal media plan` and `chantal media export`.

use crate::cli::{ExportedStates, MediaExport, MediaPlan};
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::lock::Requester;
use crate::media::{
    self, BaseChoice, ExportRequest, ExportSelection, Incomplete, MediaError, ReadBack, receipt,
};
use crate::names::DestinationName;
use crate::output::{bytes, count};
use crate::report::{ExportedRepository, ExportedTransfer};
use crate::storage::Storage;
use crate::terminal::escape;
use crate::transfer::receipt::{Missing, Receipt};

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
    let meant = Meant::of(context, &storage, &arguments.states)?;
    if let Some(receipt) = &meant.receipt {
        media::confirm_receipt(&storage, receipt)?;
    }
    let request = ExportRequest {
        allow_unsigned: arguments.allow_unsigned,
        read_back: if arguments.no_read_back {
            ReadBack::No
        } else {
            ReadBack::Yes
        },
        ..meant.request(context, &storage)
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
    let meant = Meant::of(context, &storage, states)?;
    let plan = media::plan_export(&meant.request(context, &storage))?;
    let result = ExportedTransfer::planned(&plan);
    Ok(context.output.result(&result, describe)?)
}

/// What the arguments mean.
struct Meant {
    destination: DestinationName,
    selection: ExportSelection,
    base: BaseChoice,
    receipt: Option<Receipt>,
    incomplete: Option<Incomplete>,
}

impl Meant {
    fn of(
        context: &Context<'_>,
        storage: &Storage,
        states: &ExportedStates,
    ) -> Result<Self, Error> {
        let mut selection = ExportSelection {
            snapshots: states.snapshots.clone(),
            repositories: states.repo_ids.clone(),
            all: states.all,
        };
        let path = states.base.as_ref().or(states.repair.as_ref());
        let named = states.destination.as_ref();
        let receipt = path
            .map(|path| receipt::read(context.config, named, path))
            .transpose()?;
        let destination = match (named, &receipt) {
            (Some(named), Some(receipt)) if *named != receipt.destination => {
                return Err(MediaError::ReceiptOfOtherDestination {
                    expected: named.clone(),
                    found: receipt.destination.clone(),
                }
                .into());
            }
            (Some(named), _) => named.clone(),
            (None, Some(receipt)) => receipt.destination.clone(),
            (None, None) => return Err(Error::Usage("--for is missing".to_owned())),
        };
        let mut base = match states.base_last {
            Some(nth) => BaseChoice::AssumeLast(nth.get()),
            None if states.full => BaseChoice::Full,
            None => BaseChoice::Confirmed,
        };
        let mut incomplete = None;
        if let Some(receipt) = &receipt {
            let said = media::check_receipt(storage, receipt)?;
            if states.repair.is_some() {
                let Some((number, missing)) = said.incomplete.into_iter().next_back() else {
                    let what = "the receipt has no incomplete transfer: nothing to repair";
                    return Err(Error::Usage(what.to_owned()));
                };
                if selection.is_empty() {
                    selection = media::states_of(storage, &destination, number)?;
                }
                let missing = match missing {
                    Missing::Ranges(ranges) => Some(ranges),
                    Missing::All | Missing::Part(_) => None,
                };
                incomplete = Some(Incomplete { number, missing });
            } else {
                let newest = said.numbers.into_iter().max();
                base = BaseChoice::Transfer(newest.ok_or_else(|| {
                    Error::Usage("the receipt has no complete transfer to build on".to_owned())
                })?);
            }
        }
        if selection.is_empty() {
            let what = "nothing to export: use --snapshot, --repo-id or --all";
            return Err(Error::Usage(what.to_owned()));
        }
        Ok(Self {
            destination,
            selection,
            base,
            receipt,
            incomplete,
        })
    }

    fn request<'a>(&'a self, context: &'a Context<'a>, storage: &'a Storage) -> ExportRequest<'a> {
        ExportRequest {
            storage,
            config: context.config,
            key: &context.key,
            progress: &context.progress,
            destination: &self.destination,
            selection: &self.selection,
            base: self.base,
            incomplete: self.incomplete.as_ref(),
            allow_unsigned: false,
            read_back: ReadBack::Yes,
        }
    }
}

/// `, 31 advisories (4 critical, 12 important)`.
fn describe_advisories(repository: &ExportedRepository) -> String {
    if repository.advisories == 0 {
        return String::new();
    }
    let noun = if repository.advisories == 1 {
        "advisory"
    } else {
        "advisories"
    };
    let severities = repository.advisory_severities.iter();
    let severities = severities.map(|(severity, count)| format!("{count} {}", escape(severity)));
    let severities: Vec<String> = severities.collect();
    let mut text = format!(", {} {noun}", repository.advisories);
    if !severities.is_empty() {
        text += &format!(" ({})", severities.join(", "));
    }
    text
}

fn describe(result: &ExportedTransfer) -> String {
    let destination = &result.destination;
    let mut text = match result.builds_on {
        Some(base) => format!("{destination} has transfer {base}. Since then:\n"),
        None => format!("full transfer for {destination}:\n"),
    };
    for repository in &result.repositories {
        text += &format!(
            "  {} ({}): {}, {}{}\n",
            repository.repository,
            repository.states.join(", "),
            count(repository.packages, "package"),
            bytes(repository.bytes),
            describe_advisories(repository)
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
