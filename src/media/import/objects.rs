//! Copies the carried objects that are new here into the pool, hashed while they are copied.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::sync::Mutex;

use rayon::prelude::*;

use crate::digest::{ObjectId, ObjectRef};
use crate::kill_points;
use crate::media::error::MediaError;
use crate::pool::BUFFER;
use crate::progress::Progress;
use crate::storage::Storage;
use crate::threads::{self, lock};
use crate::transfer::{Folder, ListedObject, ObjectError};

/// As for exports.
const THREADS: usize = 4;

/// The carried objects after the copy.
#[derive(Debug, Default)]
pub struct Copied {
    pub objects: u64,
    pub bytes: u64,
    /// By number in the object list.
    pub damaged: BTreeMap<u64, (ObjectId, ObjectError)>,
}

pub fn copy_objects(
    storage: &Storage,
    progress: &Progress,
    folder: &Folder,
    new: &[ListedObject],
) -> Result<Copied, MediaError> {
    let workers = threads::pool("import", THREADS)?;
    let sizes = new.iter().map(|object| object.content.size);
    let bytes = sizes.fold(0, u64::saturating_add);
    let shown = progress.downloads("importing", new.len() as u64, bytes);
    let copied = Mutex::new(Copied::default());
    let result = workers.install(|| {
        new.par_iter().try_for_each(|object| {
            storage.interrupt.check()?;
            let content = object.content;
            kill_points::reach("import an object");
            let outcome = copy(storage, folder, content)?;
            let mut copied = lock(&copied);
            match outcome {
                Ok(()) => {
                    copied.objects += 1;
                    copied.bytes = copied.bytes.saturating_add(content.size);
                }
                Err(error) => {
                    let damaged = (content.object, error);
                    copied.damaged.insert(object.number, damaged);
                }
            }
            drop(copied);
            shown.add(content.size);
            Ok::<_, MediaError>(())
        })
    });
    shown.finish();
    result?;
    Ok(copied
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// The inner error is about the medium, the outer one about the pool.
fn copy(
    storage: &Storage,
    folder: &Folder,
    content: ObjectRef,
) -> Result<Result<(), ObjectError>, MediaError> {
    let object = content.object;
    let mut from = match folder.object(content) {
        Ok(reader) => reader,
        Err(error) => return Ok(Err(error)),
    };
    let mut to = storage.pool.create_object(&storage.locks)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => to.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Ok(Err(ObjectError::Unreadable { object, source })),
        }
    }
    let got = to.object();
    if got != object {
        return Ok(Err(ObjectError::Digest { object, got }));
    }
    to.finish()?;
    Ok(Ok(()))
}
