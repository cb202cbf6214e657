//! New indexes, stored in the pool.
//!
//! While a text is written, one thread per codec compresses it: only a few pieces of it are in
//! memory. Each file is then decompressed from the pool and compared with what was written, and one
//! of them is read by its format.

use std::io::{self, BufReader, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::digest::{Algorithm, Hasher, ObjectRef};
use crate::format::compression::{Compression, Encoder, IndexText};
use crate::format::{FormatError, Open, ReadBack, Sink, Work, Written};
use crate::pool::{BUFFER, Pool};
use crate::storage::Storage;
use crate::threads;

/// Stores new indexes in the pool.
pub struct PoolSink<'a> {
    pub storage: &'a Storage,
    /// The objects stored so far.
    pub stored: Vec<ObjectRef>,
}

/// Size of a piece for the compression threads, and how many pieces may be queued for each.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

impl Sink for PoolSink<'_> {
    fn store(
        &mut self,
        codecs: &[Compression],
        work: Work<'_>,
        read_back: ReadBack<'_>,
    ) -> Result<Written, FormatError> {
        let Storage { pool, locks, .. } = self.storage;
        let written = thread::scope(|scope| {
            let mut senders = Vec::new();
            let mut packers = Vec::new();
            for &codec in codecs {
                let (sender, pieces) = sync_channel::<std::sync::Arc<[u8]>>(WAITING);
                senders.push(sender);
                let pack = move || -> io::Result<ObjectRef> {
                    let mut encoder = Encoder::new(codec, pool.create_object(locks)?)?;
                    for piece in pieces {
                        encoder.write_all(&piece)?;
                    }
                    encoder.finish()?.finish()
                };
                let packer = threads::start(scope, &format!("pack{}", codec.suffix()), pack);
                packers.push((codec, packer.map_err(unwritable)?));
            }
            let mut pieces = Pieces {
                senders,
                hasher: Hasher::new(Algorithm::Sha256),
                size: 0,
                piece: Vec::with_capacity(PIECE),
            };
            let worked = work(&mut pieces).and_then(|()| pieces.hand_over().map_err(unwritable));
            let open = ObjectRef {
                object: pieces.hasher.clone().finish().0,
                size: pieces.size,
            };
            // The threads end when all senders are dropped.
            drop(pieces);
            let mut packed = Vec::new();
            let mut failed = None;
            for (codec, packer) in packers {
                match packer.join() {
                    Ok(Ok(stored)) => packed.push((codec, stored)),
                    // The error of the thread is the cause of the failed send.
                    Ok(Err(error)) => failed = Some(unwritable(error)),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            match failed {
                Some(failed) => Err(failed),
                None => worked.map(|()| Written { open, packed }),
            }
        })?;
        self.compare(&written, read_back)
            .map_err(FormatError::into_read_back_error)?;
        let packed = written.packed.iter();
        self.stored.extend(packed.map(|(_, packed)| *packed));
        Ok(written)
    }
}

impl PoolSink<'_> {
    /// Decompresses every written file, each in its own thread; the first one is parsed as well.
    fn compare(&self, written: &Written, read_back: ReadBack<'_>) -> Result<(), FormatError> {
        let pool = &self.storage.pool;
        let Some((&first, others)) = written.packed.split_first() else {
            return Ok(());
        };
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for &packed in others {
                let unpack = move || read_stored(pool, packed, written.open, &mut |_| Ok(()));
                let name = format!("unpack{}", packed.0.suffix());
                threads.push(threads::start(scope, &name, unpack).map_err(unwritable)?);
            }
            let mut read = read_stored(pool, first, written.open, read_back);
            for thread in threads {
                match thread.join() {
                    Ok(other) => read = read.and(other),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            read
        })
    }
}

/// Passes the text of a stored file to `read`; fails if the text does not match `open`.
fn read_stored(
    pool: &Pool,
    (codec, packed): (Compression, ObjectRef),
    open: ObjectRef,
    read: ReadBack<'_>,
) -> Result<(), FormatError> {
    let failed = |source: io::Error| FormatError::Read {
        file: NEW_INDEX.to_owned(),
        source,
    };
    let file = pool.open_object(packed.object).map_err(failed)?;
    let declared = Open {
        also: None,
        digest: Some(open.object.digest()),
        size: Some(open.size),
    };
    let file = BufReader::with_capacity(BUFFER, file);
    let mut text = IndexText::open(codec, declared, file).map_err(failed)?;
    read(&mut text)?;
    text.verify().map_err(|error| FormatError::ReadBack {
        file: NEW_INDEX.to_owned(),
        what: error.to_string(),
    })
}

const NEW_INDEX: &str = "a new index";

fn unwritable(source: io::Error) -> FormatError {
    FormatError::Write {
        file: NEW_INDEX.to_owned(),
        source: threads::explain(source),
    }
}

/// Hashes the text and passes it to the compression threads.
struct Pieces {
    senders: Vec<SyncSender<std::sync::Arc<[u8]>>>,
    hasher: Hasher,
    size: u64,
    piece: Vec<u8>,
}

impl Pieces {
    fn hand_over(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.hasher.update(&self.piece);
        self.size += self.piece.len() as u64;
        let piece: std::sync::Arc<[u8]> = self.piece.as_slice().into();
        self.piece.clear();
        for sender in &self.senders {
            sender
                .send(piece.clone())
                .map_err(|_| io::Error::other("compression failed"))?;
        }
        Ok(())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ObjectId;
    use crate::format::compression::IndexText;

    const CODECS: [Compression; 3] = [Compression::Gzip, Compression::Xz, Compression::Zstd];

    #[test]
    fn what_is_stored_is_read_again_and_equal_texts_are_equal_files() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::test(&dir.path().join("storage"));
        let pool = &storage.pool;
        let text = "Package: hello\nVersion: 1\n\n".repeat(30_000);
        let store = || {
            let mut sink = PoolSink {
                storage: &storage,
                stored: Vec::new(),
            };
            let mut write = |out: &mut dyn Write| {
                for piece in text.as_bytes().chunks(777) {
                    out.write_all(piece).map_err(unwritable)?;
                }
                Ok(())
            };
            let mut read = String::new();
            let written = sink.store(&CODECS, &mut write, &mut |input| {
                input.read_to_string(&mut read).unwrap();
                Ok(())
            });
            assert!(read == text);
            (written.unwrap(), sink.stored)
        };
        let (written, stored) = store();
        assert_eq!(written.open.object, ObjectId::of(text.as_bytes()));
        assert_eq!(written.open.size, text.len() as u64);
        for (codec, packed) in &written.packed {
            let file = BufReader::new(pool.open_object(packed.object).unwrap());
            let mut read = IndexText::open(*codec, crate::format::Open::default(), file).unwrap();
            let mut content = String::new();
            io::Read::read_to_string(&mut read, &mut content).unwrap();
            assert!(content == text, "{codec:?}");
            assert!(packed.size < written.open.size / 10);
        }
        assert_eq!(store().1, stored);
        assert!(pool.partials().unwrap().is_empty());
    }

    #[test]
    fn an_error_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::test(&dir.path().join("storage"));
        let mut sink = PoolSink {
            storage: &storage,
            stored: Vec::new(),
        };
        let mut write = |out: &mut dyn Write| {
            out.write_all(&vec![b'x'; 1 << 20]).map_err(unwritable)?;
            Err(unwritable(io::Error::other("on purpose")))
        };
        let failed = sink.store(&CODECS, &mut write, &mut |_| Ok(()));
        assert_eq!(
            failed.unwrap_err().to_string(),
            "cannot write a new index: on purpose"
        );
        let mut write = |out: &mut dyn Write| out.write_all(b"Package").map_err(unwritable);
        let failed = sink.store(&CODECS, &mut write, &mut |_| {
            Err(FormatError::Malformed {
                file: "Packages".to_owned(),
                what: "it ends inside of a field".to_owned(),
            })
        });
        assert_eq!(
            failed.unwrap_err().to_string(),
            "Packages: verification of the written file failed: it ends inside of a field"
        );
        assert!(sink.stored.is_empty());
    }

    #[test]
    fn what_is_stored_must_be_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::test(&dir.path().join("storage"));
        let pool = &storage.pool;
        let of = |bytes: &[u8]| pool.add(&storage.locks, bytes).unwrap();
        let read = |codec, bytes: &[u8]| {
            let packed = (codec, of(bytes));
            read_stored(pool, packed, of(b"text"), &mut |_| Ok(()))
        };
        assert!(read(Compression::Plain, b"text").is_ok());
        for (codec, bytes) in [
            (Compression::Plain, &b"test"[..]),
            (Compression::Plain, b"tex"),
            (Compression::Plain, b"texts"),
            (Compression::Gzip, b"text"),
        ] {
            let error = read(codec, bytes).unwrap_err().into_read_back_error();
            assert!(
                matches!(error, FormatError::ReadBack { .. }),
                "{bytes:?}: {error}"
            );
        }
    }
}
