//! The indexes of a root, read from the pool. They were verified when they were downloaded, and
//! their text is compared with the root again.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::sync::{Mutex, MutexGuard};

use crate::digest::{Digest, ObjectId, ObjectRef};
use crate::format::{self, FormatError, Index, Indexes, Variant};
use crate::pool::{BUFFER, Pool};
use crate::rel_path::RelPath;
use crate::threads::lock;

/// The indexes of a root whose files are in the pool.
pub struct PooledIndexes<'a> {
    pub pool: &'a Pool,
    pub all: Vec<Index>,
    /// The existing files, by the digest in the root.
    pub objects: HashMap<Digest, ObjectRef>,
    /// Existing variants that are not read because another one is.
    set_aside: Mutex<HashSet<Digest>>,
}

impl<'a> PooledIndexes<'a> {
    pub fn new(pool: &'a Pool, all: Vec<Index>, objects: HashMap<Digest, ObjectRef>) -> Self {
        Self {
            pool,
            all,
            objects,
            set_aside: Mutex::default(),
        }
    }

    /// The files that are read, one for each index, with their paths in the root.
    pub fn read_ones(&self) -> Vec<(RelPath, ObjectRef)> {
        let read = self.all.iter().filter_map(|index| self.to_read(index)[0]);
        read.map(|(variant, packed)| (variant.path.clone(), packed))
            .collect()
    }

    fn lock_set_aside(&self) -> MutexGuard<'_, HashSet<Digest>> {
        lock(&self.set_aside)
    }

    /// The variant of an index that is read, and the next one if that cannot be read.
    fn to_read<'i>(&self, index: &'i Index) -> [Option<(&'i Variant, ObjectRef)>; 2] {
        let set_aside = self.lock_set_aside();
        let present = self.present(index).into_iter();
        let mut left = present.filter(|(variant, _)| !set_aside.contains(&variant.digest));
        [left.next(), left.next()]
    }
}

impl Indexes for PooledIndexes<'_> {
    fn all(&self) -> &[Index] {
        &self.all
    }

    fn present<'i>(&self, index: &'i Index) -> Vec<(&'i Variant, ObjectRef)> {
        let variants = index.variants.iter();
        variants
            .filter_map(|variant| Some((variant, *self.objects.get(&variant.digest)?)))
            .collect()
    }

    fn set_aside(&self, index: &Index) -> bool {
        let [Some((variant, _)), Some(_)] = self.to_read(index) else {
            return false;
        };
        self.lock_set_aside().insert(variant.digest)
    }

    fn read(
        &self,
        index: &Index,
        work: &mut dyn FnMut(&mut dyn BufRead) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let [Some((variant, packed)), _] = self.to_read(index) else {
            return Ok(());
        };
        read_stored(self.pool, index, variant, packed.object, |text| work(text))
    }
}

/// Passes the text of a stored variant of an index to `read`, whose result is used only if the file
/// is undamaged and the text matches the root.
pub fn read_stored<T, E: From<FormatError>>(
    pool: &Pool,
    index: &Index,
    variant: &Variant,
    object: ObjectId,
    read: impl FnOnce(&mut dyn BufRead) -> Result<T, E>,
) -> Result<T, E> {
    let read = pool.read_intact(object, |file| {
        let file = BufReader::with_capacity(BUFFER, file);
        format::read_text(&index.name, variant, file, read)
    });
    match read {
        Ok(Some(result)) => result,
        Ok(None) => Err(FormatError::ObjectDamaged {
            path: variant.path.clone(),
            object,
        }
        .into()),
        Err(source) => Err(FormatError::Read {
            file: index.name.clone(),
            source,
        }
        .into()),
    }
}
