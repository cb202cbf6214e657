//! Earlier generations of a tree: how long their files stay, and how new the roots were that
//! clients may have seen.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use fs_err as fs;

use super::error::PublishError;
use super::foreign_files::ExtraFiles;
use super::request::PreparedRequest;
use super::root;
use super::tree::LockedTree;
use crate::digest::ObjectId;
use crate::pool::SMALL_MAX;
use crate::store::records::{Generation, TreeRecord};

/// Roots from further ahead of the clock were made under a clock that was wrong: clients refuse
/// them, and whatever comes after them should not have to be from the future too.
const CLOCK_SKEW_SECS: i64 = 24 * 3600;

/// The generations whose files stay reachable: the last one always, older ones while their time
/// lasts.
pub fn kept_generations(
    record: Option<&TreeRecord>,
    next: ObjectId,
    keep: Duration,
    now: i64,
) -> Vec<Generation> {
    let Some(record) = record else {
        return Vec::new();
    };
    let mut all = record.earlier.clone();
    if let Some(shown) = record.manifest
        && shown != next
    {
        all.insert(
            0,
            Generation {
                manifest: shown,
                replaced_at: now,
            },
        );
    }
    all.retain(|generation| generation.manifest != next);
    let mut index = 0;
    all.retain(|generation| {
        index += 1;
        is_kept(index - 1, generation, keep, now)
    });
    all
}

/// `index` counts from the newest earlier generation.
fn is_kept(index: usize, generation: &Generation, keep: Duration, now: i64) -> bool {
    let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    index == 0 || now.saturating_sub(generation.replaced_at) < keep
}

/// The manifests of a tree's earlier generations that the next publishing removes. One that it shows
/// as well, or has as a generation that stays, is none of them.
pub fn expired_generations(tree: &TreeRecord, keep: Duration, now: i64) -> BTreeSet<ObjectId> {
    let earlier = tree.earlier.iter();
    let earlier = earlier.filter(|generation| Some(generation.manifest) != tree.manifest);
    let (kept, expired): (Vec<_>, Vec<_>) = earlier
        .enumerate()
        .partition(|(index, generation)| is_kept(*index, generation, keep, now));
    let mut expired: BTreeSet<ObjectId> = manifests(expired).collect();
    for manifest in manifests(kept) {
        expired.remove(&manifest);
    }
    expired
}

fn manifests(generations: Vec<(usize, &Generation)>) -> impl Iterator<Item = ObjectId> {
    generations
        .into_iter()
        .map(|(_, generation)| generation.manifest)
}

/// A generation that was replaced while the clock was ahead would stay until that day: its time
/// begins when that is seen. Returns whether there was one.
pub fn correct_times(record: &mut TreeRecord, now: i64) -> bool {
    let mut is_changed = false;
    for generation in &mut record.earlier {
        if generation.replaced_at > now {
            generation.replaced_at = now;
            is_changed = true;
        }
    }
    is_changed
}

/// The newest date of a root that clients of the tree may know, where they compare dates.
pub fn newest_root_date(
    tree: &LockedTree<'_>,
    prepared: &PreparedRequest<'_>,
    record: Option<&TreeRecord>,
    extra_files: ExtraFiles,
) -> Result<Option<i64>, PublishError> {
    let recorded = record.and_then(|record| record.newest_root_date);
    let newest = match extra_files {
        ExtraFiles::None => recorded,
        // The store does not remember what was published there last.
        ExtraFiles::PoolFiles => recorded.max(published_root_date(tree, prepared)?),
    };
    let limit = tree.now.saturating_add(CLOCK_SKEW_SECS);
    Ok(newest.filter(|newest| *newest <= limit))
}

/// The date of the root that lies in the tree where the manifest has its own. One that cannot be
/// read has none.
fn published_root_date(
    tree: &LockedTree<'_>,
    prepared: &PreparedRequest<'_>,
) -> Result<Option<i64>, PublishError> {
    let Some(format) = prepared.format() else {
        return Ok(None);
    };
    let Some(source) = root::source(tree.storage, prepared.request.manifest, format)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = fs::File::open(source.path().below(tree.path))
        .and_then(|file| file.take(SMALL_MAX).read_to_end(&mut bytes));
    Ok(read.ok().and_then(|_| format.date_of(&source, &bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::RepoId;

    fn generation(digit: &str, replaced_at: i64) -> Generation {
        Generation {
            manifest: digit.repeat(64).parse().unwrap(),
            replaced_at,
        }
    }

    fn tree(manifest: Option<&str>, earlier: Vec<Generation>) -> TreeRecord {
        TreeRecord {
            repository: RepoId::test("r"),
            snapshot: None,
            newest_root_date: None,
            source: None,
            root_key: None,
            manifest: manifest.map(|digit| generation(digit, 0).manifest),
            directory: None,
            wanted: true,
            published_at: 0,
            earlier,
            staging: None,
            leftover: None,
        }
    }

    #[test]
    fn what_was_replaced_in_the_future_stays_no_longer_than_the_rest() {
        let keep = Duration::from_secs(100);
        let earlier = vec![generation("1", 90), generation("2", 2_208_988_800)];
        let mut record = tree(None, earlier);
        assert!(correct_times(&mut record, 95));
        assert!(!correct_times(&mut record, 95));
        assert_eq!(record.earlier[1].replaced_at, 95);
        assert!(expired_generations(&record, keep, 194).is_empty());
        assert_eq!(expired_generations(&record, keep, 195).len(), 1);
    }

    /// A run that was killed behind its exchange leaves such records.
    #[test]
    fn what_is_shown_again_has_not_expired() {
        let (keep, now) = (Duration::ZERO, 100);
        let expired = |shown, digits: [&str; 3]| {
            let earlier = digits.map(|digit| generation(digit, 1)).to_vec();
            expired_generations(&tree(Some(shown), earlier), keep, now)
        };
        let set = |digit| BTreeSet::from([generation(digit, 0).manifest]);
        assert_eq!(expired("1", ["2", "1", "3"]), set("3"));
        // The first of the others is the last generation before it.
        assert_eq!(expired("1", ["1", "2", "3"]), set("3"));
        assert_eq!(expired("1", ["2", "3", "2"]), set("3"));
    }
}
