//! The text of a repair.

use std::collections::BTreeMap;

use crate::output::{bytes, count};
use crate::report::{AffectedFile, ObjectFate, ObjectSource, RepairResult, UnrepairedObject};
use crate::terminal::escape;

/// Uses of an object that are listed individually.
const LISTED_MAX: usize = 10;

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
    for file in object.used_by.iter().take(LISTED_MAX) {
        text += &format!("  needed by {}\n", describe_use(file));
    }
    if let Some(more @ 1..) = object.used_by.len().checked_sub(LISTED_MAX) {
        text += &format!("  and {more} more\n");
    }
    for tree in &object.trees {
        text += &format!("  {} still has this file\n", tree.display());
    }
    text
}

fn describe_use(file: &AffectedFile) -> String {
    let owner = match (&file.snapshot, &file.tree) {
        (Some(snapshot), _) => format!("{}/{snapshot}", file.repository),
        (None, Some(tree)) => tree.display().to_string(),
        (None, None) => file.repository.to_string(),
    };
    match &file.package {
        Some(package) => format!("{owner}: package {}", escape(package)),
        None => format!("{owner}: {}", escape(file.path.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::digest::ObjectId;
    use crate::names::RepoId;
    use crate::rel_path::RelPath;
    use crate::report::{RepairedObject, RepairedTree};

    fn path(path: &str) -> RelPath {
        RelPath::parse(path).unwrap()
    }

    #[test]
    fn what_was_and_was_not_repaired_is_listed() {
        let object = ObjectId::of(b"x");
        let upstream = ObjectSource::Upstream {
            repository: RepoId::test("r"),
            path: path("p/x.rpm"),
        };
        let repaired = |from| RepairedObject {
            object,
            bytes: 1024,
            from,
        };
        let affected = |snapshot: Option<&str>, package: Option<&str>| AffectedFile {
            repository: RepoId::test("r"),
            snapshot: snapshot.map(str::to_owned),
            tree: None,
            path: path("p/x.rpm"),
            package: package.map(str::to_owned),
        };
        let result = RepairResult {
            repaired: vec![
                repaired(upstream.clone()),
                repaired(ObjectSource::TrustedKeys),
                repaired(upstream),
            ],
            not_repaired: vec![UnrepairedObject {
                object,
                bytes: 1,
                reasons: vec!["r: http://h/p/x.rpm: not found".to_owned()],
                fate: ObjectFate::PutAside,
                put_aside: Some(PathBuf::from("/pool/damaged/x")),
                trees: vec![PathBuf::from("/www/r")],
                used_by: vec![
                    affected(None, Some("x 1 noarch")),
                    affected(Some("s"), None),
                ],
            }],
            trees: vec![RepairedTree {
                path: PathBuf::from("/www/r"),
                files: 2,
                errors: vec!["the disk is full".to_owned()],
            }],
            requests: 2,
            bytes_downloaded: 2048,
        };
        assert!(!result.is_complete());
        assert_eq!(
            describe_repair(&result),
            format!(
                "repaired 3 objects (3.00 KiB): 1 from the trusted keys, 2 from the upstream of r; \
                 2 requests, 2.00 KiB downloaded\n\
                 replaced 2 files in /www/r\n\
                 not mended: /www/r: the disk is full\n\
                 not repaired: object {object} (1 B), moved to /pool/damaged/x\n\
                 \x20 r: http://h/p/x.rpm: not found\n\
                 \x20 needed by r: package x 1 noarch\n\
                 \x20 needed by r/s: p/x.rpm\n\
                 \x20 /www/r still has this file\n"
            )
        );
    }
}
