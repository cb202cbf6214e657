//! `chantal db check --repair`: the repair after the check, and its text.

use std::collections::BTreeMap;
use std::path::Path;

use crate::check::{self, CheckOutcome, DamagedObject, Depth, Scope, TreeFinding};
use crate::commands::Context;
use crate::error::Error;
use crate::lock::{LockError, Requester};
use crate::output::{bytes, count};
use crate::rel_path::RelPath;
use crate::repair::{self, DamagedTreeFile, Fate, RepairContext, RepairOutcome};
use crate::report::{ObjectFate, ObjectSource, RepairResult, UnrepairedObject};
use crate::storage::{Storage, StorageError};
use crate::terminal::escape;
use crate::threads;
use crate::upstream::Limiter;

use super::findings::{Remaining, describe_affected};

/// Repairs what a check has found. Returns what was done, and which findings remain.
pub fn repair_findings(
    context: &Context<'_>,
    storage: Storage,
    requester: &Requester,
    scope: &Scope,
    found: &CheckOutcome,
) -> Result<(RepairResult, Remaining), Error> {
    let config = context.config;
    let workers = threads::pool("download", config.download.workers)?;
    let limiter = Limiter::shared(config.download.bandwidth_limit);
    let repair_context = RepairContext {
        config,
        key: &context.key,
        storage: &storage,
        workers: &workers,
        progress: &context.progress,
        limiter: limiter.as_ref(),
    };
    let files: Vec<DamagedTreeFile> = found.trees.iter().filter_map(mendable).collect();
    let forgotten_roots = repair::forget_roots(&storage, found)?;
    let damaged = found.damaged.iter();
    let damaged = damaged.filter(|damaged| !repair::is_of_roots_only(damaged));
    let damaged: Vec<DamagedObject> = damaged.cloned().collect();
    let mut outcome = repair::repair(repair_context, &damaged, &files)?;
    outcome.forgotten_roots = forgotten_roots;
    // The shared lock is released before the exclusive one is taken.
    drop(storage);
    if outcome.unrepaired.iter().any(|one| one.fate == Fate::Kept) {
        put_aside(context, requester, &mut outcome)?;
    }
    let storage = Storage::open(&config.storage, requester)?;
    let after = check::check(&storage, config, scope, Depth::Quick, &context.progress)?;
    let remaining = Remaining::of_repair(&outcome, &after);
    Ok((RepairResult::from(&outcome), remaining))
}

/// A file that can be replaced by its object.
fn mendable(finding: &TreeFinding) -> Option<DamagedTreeFile> {
    if !finding.damage.is_of_a_file() {
        return None;
    }
    let path = finding.path.as_deref().and_then(Path::to_str)?;
    Some(DamagedTreeFile {
        tree: finding.tree.clone(),
        path: RelPath::parse(path).ok()?,
    })
}

/// Other runs may keep the exclusive lock from this one: what was repaired is reported anyway.
fn put_aside(
    context: &Context<'_>,
    requester: &Requester,
    outcome: &mut RepairOutcome,
) -> Result<(), Error> {
    match Storage::open_alone(&context.config.storage, requester) {
        Ok(storage) => Ok(repair::put_aside(&storage, outcome)?),
        Err(StorageError::Lock(error @ LockError::Busy { .. })) => {
            log::warn!("damaged objects are not put aside: {error}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// What was repaired, and what could not be, by object.
pub fn describe_repair(result: &RepairResult) -> String {
    let mut text = String::new();
    if !result.repaired.is_empty() {
        let total = result
            .repaired
            .iter()
            .fold(0, |sum: u64, one| sum.saturating_add(one.bytes));
        text += &format!(
            "repaired {} ({}): {}; {}, {} downloaded\n",
            count(result.repaired.len() as u64, "object"),
            bytes(total),
            sources(result),
            count(result.requests, "request"),
            bytes(result.bytes_downloaded),
        );
    }
    for tree in &result.trees {
        if tree.files > 0 {
            text += &format!(
                "replaced {} in {}\n",
                count(tree.files, "file"),
                tree.path.display()
            );
        }
        for error in &tree.errors {
            text += &format!("not mended: {}: {}\n", tree.path.display(), escape(error));
        }
    }
    if let roots @ 1.. = result.forgotten_roots {
        text += &format!(
            "forgot {} that no published tree shows: the next `chantal publish` generates a new \
             one\n",
            count(roots, "generated root"),
        );
    }
    for object in &result.not_repaired {
        text += &describe_unrepaired(object);
    }
    text
}

/// `2 from the upstream of r, 1 from published trees`
fn sources(result: &RepairResult) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for object in &result.repaired {
        let source = match &object.from {
            ObjectSource::Pool => "replaced by another run".to_owned(),
            ObjectSource::PublishedTree { .. } => "from published trees".to_owned(),
            ObjectSource::PartialDownload => "from complete downloads".to_owned(),
            ObjectSource::TrustedKeys => "from the trusted keys".to_owned(),
            ObjectSource::Generated => "generated again".to_owned(),
            ObjectSource::Upstream { repository, .. } => {
                format!("from the upstream of {repository}")
            }
        };
        *counts.entry(source).or_default() += 1;
    }
    let counts = counts
        .iter()
        .map(|(source, count)| format!("{count} {source}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn describe_unrepaired(object: &UnrepairedObject) -> String {
    let fate = match (object.fate, &object.put_aside) {
        (ObjectFate::PutAside, Some(path)) => format!(", moved to {}", path.display()),
        (ObjectFate::Missing, _) => ", which is missing".to_owned(),
        (ObjectFate::Kept | ObjectFate::PutAside, _) => String::new(),
    };
    let mut text = format!(
        "not repaired: object {} ({}){fate}\n",
        object.object,
        bytes(object.bytes)
    );
    for reason in &object.reasons {
        text += &format!("  {}\n", escape(reason));
    }
    describe_affected(&object.used_by, &mut text);
    for tree in &object.trees {
        text += &format!("  published in {}\n", tree.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::check::{Damage, ObjectUse, Owner};
    use crate::digest::ObjectId;
    use crate::manifest::{Package, Role};
    use crate::names::{RepoId, SnapshotName};
    use crate::publish::PublishError;
    use crate::repair::{MendedTree, RepairSource, Repaired, Unrepaired};

    fn damaged(owners: Vec<Owner>) -> DamagedObject {
        let uses = owners.into_iter().map(|owner| ObjectUse {
            repository: RepoId::test("r"),
            package: (owner == Owner::State).then(|| Package {
                name: "x".to_owned(),
                version: "1".to_owned(),
                architecture: "noarch".to_owned(),
            }),
            owner,
            path: RelPath::parse("p/x.rpm").unwrap(),
            role: Role::Package,
        });
        DamagedObject {
            object: ObjectId::of(b"x"),
            size: 1024,
            damage: Damage::Missing,
            uses: uses.collect(),
        }
    }

    #[test]
    fn what_was_and_was_not_repaired_is_listed() {
        let upstream = RepairSource::Upstream {
            repository: RepoId::test("r"),
            path: RelPath::parse("p/x.rpm").unwrap(),
        };
        let repaired = |source| Repaired {
            damaged: damaged(Vec::new()),
            source,
        };
        let snapshot = SnapshotName::parse("s").unwrap();
        let tree = PathBuf::from("/www/r");
        let outcome = RepairOutcome {
            repaired: vec![
                repaired(upstream.clone()),
                repaired(RepairSource::Keys),
                repaired(upstream),
            ],
            unrepaired: vec![Unrepaired {
                damaged: damaged(vec![Owner::State, Owner::Snapshot(snapshot)]),
                reasons: vec!["r: http://h/p/x.rpm: not found".to_owned()],
                fate: Fate::PutAside(PathBuf::from("/pool/damaged/x")),
                trees: [tree.clone()].into(),
            }],
            trees: vec![MendedTree {
                path: tree.clone(),
                files: 2,
                errors: vec![PublishError::NotPublished { path: tree }],
            }],
            forgotten_roots: 1,
            requests: 2,
            bytes_downloaded: 2048,
        };
        let object = ObjectId::of(b"x");
        assert_eq!(
            describe_repair(&RepairResult::from(&outcome)),
            format!(
                "repaired 3 objects (3.00 KiB): 1 from the trusted keys, 2 from the upstream of r; \
                 2 requests, 2.00 KiB downloaded\n\
                 replaced 2 files in /www/r\n\
                 not mended: /www/r: /www/r is not a published tree of this storage\n\
                 forgot 1 generated root that no published tree shows: the next `chantal publish` \
                 generates a new one\n\
                 not repaired: object {object} (1.00 KiB), moved to /pool/damaged/x\n\
                 \x20 r: http://h/p/x.rpm: not found\n\
                 \x20 affects: r: p/x.rpm in snapshot s\n\
                 \x20 affects: r: x 1 noarch (p/x.rpm) in the current state\n\
                 \x20 published in /www/r\n"
            )
        );
    }
}
