//! Earlier generations of a tree: how long their files are retained, and the newest root date that
//! clients may know.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use fs_err as fs;

use super::error::PublishError;
use super::foreign_files::ExtraFiles;
use super::request::PreparedRequest;
use super::tree::LockedTree;
use crate::digest::ObjectId;
use crate::pool::SMALL_MAX;
use crate::state::root_source;
use crate::store::records::{Generation, TreeRecord};

/// Dates further in the future were set by a wrong clock: clients reject such roots, and later
/// roots must not need dates in the future because of them.
const CLOCK_SKEW_SECS: i64 = 24 * 3600;

/// The generations whose files are retained: always the last one, older ones until they expire.
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

/// `index` 0 is the newest earlier generation.
fn is_kept(index: usize, generation: &Generation, keep: Duration, now: i64) -> bool {
    let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    index == 0 || now.saturating_sub(generation.replaced_at) < keep
}

/// The manifests whose files the next publishing removes, because their generation has expired or
/// an interrupted run has left them, except those that the tree still shows or retains as another
/// generation.
pub fn expired_generations(tree: &TreeRecord, keep: Duration, now: i64) -> BTreeSet<ObjectId> {
    let earlier = tree.earlier.iter();
    let earlier = earlier.filter(|generation| Some(generation.manifest) != tree.manifest);
    let (kept, expired): (Vec<_>, Vec<_>) = earlier
        .enumerate()
        .partition(|(index, generation)| is_kept(*index, generation, keep, now));
    let mut expired: BTreeSet<ObjectId> = manifests(expired).collect();
    expired.extend(&tree.unfinished);
    for manifest in manifests(kept).chain(tree.manifest) {
        expired.remove(&manifest);
    }
    expired
}

fn manifests(generations: Vec<(usize, &Generation)>) -> impl Iterator<Item = ObjectId> {
    generations
        .into_iter()
        .map(|(_, generation)| generation.manifest)
}

/// A generation that was replaced while the clock was ahead would be retained until that date: its
/// retention starts now instead. Returns whether there was one.
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

/// The newest root date that clients of the tree may know, for formats whose clients compare dates.
pub fn newest_root_date(
    tree: &LockedTree<'_>,
    prepared: &PreparedRequest<'_>,
    record: Option<&TreeRecord>,
    extra_files: ExtraFiles,
) -> Result<Option<i64>, PublishError> {
    let recorded = record.and_then(|record| record.newest_root_date);
    let newest = match extra_files {
        ExtraFiles::None => recorded,
        // The store does not record the last root that was published there.
        ExtraFiles::PoolFiles => recorded.max(published_root_date(tree, prepared)?),
    };
    let limit = tree.now.saturating_add(CLOCK_SKEW_SECS);
    Ok(newest.filter(|newest| *newest <= limit))
}

/// The date of the root file in the tree. `None` if it cannot be read.
fn published_root_date(
    tree: &LockedTree<'_>,
    prepared: &PreparedRequest<'_>,
) -> Result<Option<i64>, PublishError> {
    let Some(format) = prepared.format() else {
        return Ok(None);
    };
    let Some(source) = root_source(&tree.storage.store, prepared.request.manifest, format)? else {
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
            manifest: manifest.map(|digit| generation(digit, 0).manifest),
            earlier,
            ..TreeRecord::new(RepoId::test("r"))
        }
    }

    #[test]
    fn replacement_times_in_the_future_are_corrected() {
        let keep = Duration::from_secs(100);
        let earlier = vec![generation("1", 90), generation("2", 2_208_988_800)];
        let mut record = tree(None, earlier);
        assert!(correct_times(&mut record, 95));
        assert!(!correct_times(&mut record, 95));
        assert_eq!(record.earlier[1].replaced_at, 95);
        assert!(expired_generations(&record, keep, 194).is_empty());
        assert_eq!(expired_generations(&record, keep, 195).len(), 1);
    }

    /// A run that was killed after the exchange leaves such records.
    #[test]
    fn a_generation_that_is_published_again_has_not_expired() {
        let (keep, now) = (Duration::ZERO, 100);
        let expired = |shown, digits: [&str; 3]| {
            let earlier = digits.map(|digit| generation(digit, 1)).to_vec();
            expired_generations(&tree(Some(shown), earlier), keep, now)
        };
        let set = |digit| BTreeSet::from([generation(digit, 0).manifest]);
        assert_eq!(expired("1", ["2", "1", "3"]), set("3"));
        // The first of the others is the last generation before the current one.
        assert_eq!(expired("1", ["1", "2", "3"]), set("3"));
        assert_eq!(expired("1", ["2", "3", "2"]), set("3"));
    }
}
