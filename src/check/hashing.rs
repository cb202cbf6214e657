//! Hashes files on all cores: objects of the pool, and copies of them in published trees.
//!
//! Large files come first, so that they do not keep one core busy at the end; the others follow in
//! the order of their inodes, which is about that of the disk. Memory does not grow with the size of
//! files.

use std::io::{self, Read as _};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::digest::{Algorithm, Hasher, ObjectId, ObjectRef};
use crate::interrupt::Interrupted;
use crate::pool::BUFFER;
use crate::progress::{Downloads, Progress};
use crate::regular_file;
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::ObjectRecord;
use crate::threads::lock;

use super::error::CheckError;
use super::finding::Damage;

/// Files from this size on come first.
const LARGE: u64 = 64 << 20;
/// How many good objects are recorded in one transaction, and how often.
const BATCH: usize = 8192;
const BATCH_INTERVAL: Duration = Duration::from_secs(30);

/// A file to hash.
pub struct HashJob {
    pub path: PathBuf,
    pub expected: ObjectRef,
    pub inode: u64,
    pub target: HashTarget,
}

/// What the file is.
pub enum HashTarget {
    Object {
        /// When it was verified last; `None` if the database does not know it.
        verified_at: Option<i64>,
    },
    /// A file of a published tree, by its number among the trees.
    Copy { tree: usize, file: String },
}

/// Files that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashTotals {
    pub files: u64,
    pub bytes: u64,
}

/// What hashing found.
pub struct Hashed {
    pub damaged: Vec<(HashJob, Damage)>,
    pub totals: HashTotals,
    /// Why it was not recorded that the good objects were verified.
    pub unrecorded: Option<StoreError>,
}

/// Hashes the files, and records the good objects. After an interruption those that were hashed are
/// recorded, too.
pub fn hash_all(
    storage: &Storage,
    mut jobs: Vec<HashJob>,
    workers: &rayon::ThreadPool,
    progress: &Progress,
) -> Result<Hashed, CheckError> {
    jobs.sort_unstable_by_key(|job| {
        let size = job.expected.size;
        (std::cmp::Reverse(size.max(LARGE)), job.inode)
    });
    let totals = HashTotals {
        files: jobs.len() as u64,
        bytes: jobs
            .iter()
            .fold(0, |sum, job| sum.saturating_add(job.expected.size)),
    };
    let bar = progress.downloads("check", totals.files, totals.bytes);
    let record = Recorder {
        storage,
        now: crate::time::now(),
        batch: Mutex::new((Vec::new(), Instant::now())),
        failed: Mutex::new(None),
    };
    let next = AtomicUsize::new(0);
    let results = workers.broadcast(|_| hash_some(&jobs, &next, &record, &bar));
    bar.finish();
    record.flush()?;
    let mut damaged = Vec::new();
    for result in results {
        damaged.extend(result?);
    }
    damaged.sort_unstable_by_key(|(place, _)| *place);
    let mut all: Vec<Option<HashJob>> = jobs.into_iter().map(Some).collect();
    let damaged = damaged.into_iter();
    let damaged = damaged.filter_map(|(place, damage)| Some((all[place].take()?, damage)));
    Ok(Hashed {
        damaged: damaged.collect(),
        totals,
        unrecorded: lock(&record.failed).take(),
    })
}

/// What one thread does: takes the next file until there is none.
fn hash_some(
    jobs: &[HashJob],
    next: &AtomicUsize,
    record: &Recorder<'_>,
    bar: &Downloads,
) -> Result<Vec<(usize, Damage)>, CheckError> {
    let mut buffer = vec![0; BUFFER];
    let mut damaged = Vec::new();
    loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let Some(job) = jobs.get(place) else {
            return Ok(damaged);
        };
        let interrupt = || record.storage.interrupt.check();
        match hash_file(job, &mut buffer, &interrupt, bar)? {
            Ok(()) => record.add(job)?,
            Err(damage) => damaged.push((place, damage)),
        }
        bar.file_done();
    }
}

/// The inner error is what was found.
fn hash_file(
    job: &HashJob,
    buffer: &mut [u8],
    interrupt: &dyn Fn() -> Result<(), Interrupted>,
    bar: &Downloads,
) -> Result<Result<(), Damage>, Interrupted> {
    interrupt()?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut length = 0;
    let mut file = match open(job) {
        Ok(file) => file,
        Err(error) => return Ok(Err(Damage::of_error(&error))),
    };
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                length += read as u64;
                bar.add(read as u64);
                if length >= LARGE {
                    interrupt()?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(Damage::of_error(&error))),
        }
    }
    Ok(Damage::compare(job.expected, hasher.finish().0, length))
}

fn open(job: &HashJob) -> io::Result<std::fs::File> {
    let file = regular_file::open(&job.path)?;
    if let Some(length) = NonZeroU64::new(job.expected.size)
        && job.expected.size > BUFFER as u64
    {
        // A larger read-ahead; a file system without it is read as well.
        let advice = rustix::fs::Advice::Sequential;
        let _ = rustix::fs::fadvise(&file, 0, Some(length), advice);
    }
    Ok(file)
}

/// Records when objects were verified, many in one transaction.
struct Recorder<'a> {
    storage: &'a Storage,
    now: i64,
    batch: Mutex<(Vec<(ObjectId, ObjectRecord)>, Instant)>,
    /// The first error: a full disk must not hide what is found.
    failed: Mutex<Option<StoreError>>,
}

impl Recorder<'_> {
    fn add(&self, job: &HashJob) -> Result<(), CheckError> {
        let HashTarget::Object { verified_at } = job.target else {
            return Ok(());
        };
        // Later than before also within the same second: the next part begins with others.
        let later = verified_at.map_or(self.now, |before| before.saturating_add(1));
        let record = ObjectRecord {
            size: job.expected.size,
            verified_at: self.now.max(later),
        };
        let full = {
            let mut batch = lock(&self.batch);
            let (objects, since) = &mut *batch;
            objects.push((job.expected.object, record));
            if objects.len() < BATCH && since.elapsed() < BATCH_INTERVAL {
                return Ok(());
            }
            *since = Instant::now();
            std::mem::take(objects)
        };
        self.write(&full)
    }

    fn flush(&self) -> Result<(), CheckError> {
        let rest = std::mem::take(&mut lock(&self.batch).0);
        self.write(&rest)
    }

    fn write(&self, objects: &[(ObjectId, ObjectRecord)]) -> Result<(), CheckError> {
        if objects.is_empty() || lock(&self.failed).is_some() {
            return Ok(());
        }
        let written = self.storage.write(|writer| {
            for (object, record) in objects {
                writer.put_object(*object, *record)?;
            }
            Ok(())
        });
        match written {
            Ok(()) => {}
            // Another run may be changing everything.
            Err(error @ StoreError::Lock(_)) => return Err(error.into()),
            Err(error) => _ = lock(&self.failed).get_or_insert(error),
        }
        Ok(())
    }
}
