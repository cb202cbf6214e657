//! Generates a root in place of the manifest's own: dated and signed when it is published.
//!
//! This is needed if indexes were generated (the selection leaves packages out), and if clients
//! know a newer root than the one to be published: apt would silently keep the newer one. The
//! result is a manifest of its own, which the record of the tree refers to.

use super::error::PublishError;
use super::request::{OlderRootPolicy, PreparedRequest, RootChoice};
use super::tree::LockedTree;
use crate::digest::ObjectId;
use crate::format::{Format, RootSource, ValidUntil};
use crate::manifest::{self, Built, Entry, Role};
use crate::openpgp::{Keyring, SigningKey};
use crate::rel_path::RelPath;
use crate::state::read_root;
use crate::storage::Storage;
use crate::store::records::TreeRecord;

/// The root of a tree, and its manifest.
pub struct ChosenRoot {
    /// The requested manifest, or a stored one with a generated root.
    pub manifest: ObjectId,
    pub generated: GeneratedRoot,
    /// The date of the root, if clients compare dates.
    pub date: Option<i64>,
}

/// Whether a root was generated for publishing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GeneratedRoot {
    /// The tree has the root of the requested manifest.
    #[default]
    None,
    Unsigned,
    /// With the fingerprint of the key.
    SignedBy(String),
}

/// Decides which root a tree gets, and generates it if necessary. `record` is that of the tree,
/// `newest` the newest root date that its clients may know.
pub fn choose_root(
    tree: &LockedTree<'_>,
    prepared: &PreparedRequest<'_>,
    record: Option<&TreeRecord>,
    newest: Option<i64>,
) -> Result<ChosenRoot, PublishError> {
    let request = &prepared.request;
    let has_generated_root = record.is_some_and(|record| record.source.is_some());
    let verbatim = |date| ChosenRoot {
        manifest: request.manifest,
        generated: GeneratedRoot::None,
        date,
    };
    let (generator, valid_until) = match request.root {
        RootChoice::Verbatim { date } => return Ok(verbatim(date)),
        RootChoice::Upstream {
            date,
            generator,
            older,
        } => match newest {
            // To clients, a root without a date is older than any other.
            Some(newest)
                if generator.format.compares_dates()
                    && date.is_none_or(|date| date < newest)
                    && (has_generated_root || older == OlderRootPolicy::Redate) =>
            {
                if prepared.key.is_none() {
                    let path = request.tree.to_owned();
                    return Err(PublishError::RootTooOld { path, newest, date });
                }
                (generator, ValidUntil::IsDropped)
            }
            // A root without a date has its own warning.
            Some(newest)
                if generator.format.compares_dates()
                    && date.is_some_and(|date| date < newest)
                    && record.is_none_or(|record| record.manifest != Some(request.manifest)) =>
            {
                log::warn!(
                    "{}: clients that have its metadata of {} ignore it until the upstream's is newer",
                    request.tree.display(),
                    crate::time::utc(newest)
                );
                return Ok(verbatim(date));
            }
            _ => return Ok(verbatim(date)),
        },
        // Snapshots are used after that date.
        RootChoice::Generated(generator) if request.snapshot.is_some() => {
            (generator, ValidUntil::IsDropped)
        }
        RootChoice::Generated(generator) => (generator, ValidUntil::Stays),
    };
    let signer = RootSigner {
        format: generator.format,
        key: prepared.key,
        key_name: generator.key_name,
    };
    let newer = newest.map_or(i64::MIN, |newest| newest.saturating_add(1));
    let date = tree.now.max(newer);
    let built = generate_root(tree.storage, request.manifest, signer, date, valid_until)?;
    // Nothing refers to it until the tree is recorded. If a cleanup removes it before that, the
    // next run generates it again.
    tree.storage
        .write(|writer| writer.put_made(&built, tree.now))?;
    Ok(ChosenRoot {
        manifest: built.id,
        generated: match prepared.key {
            Some(key) => GeneratedRoot::SignedBy(key.fingerprint()),
            None => GeneratedRoot::Unsigned,
        },
        date: generator.format.compares_dates().then_some(date),
    })
}

/// The parameters of a generated root, with the key that was read.
#[derive(Clone, Copy)]
struct RootSigner<'a> {
    format: &'static dyn Format,
    /// `None` for an unsigned root.
    key: Option<&'a SigningKey>,
    key_name: &'a RelPath,
}

/// A copy of a manifest with a generated root.
fn generate_root(
    storage: &Storage,
    manifest: ObjectId,
    signer: RootSigner<'_>,
    date: i64,
    valid_until: ValidUntil,
) -> Result<Built, PublishError> {
    let mut entries = storage.read(|reader| reader.entries(manifest))?;
    let root = read_root(&storage.pool, manifest, entries.iter(), signer.format)?;
    let text = root.text().map_err(PublishError::Root)?;
    let dated = signer.format.dated(&text, date, valid_until);
    let plain = signer.format.plain(&root.source);
    signer
        .format
        .read_back(&plain, &dated)
        .map_err(PublishError::Root)?;
    let mut files = signed(dated, &root.source, signer, date)?;
    if let Some(key) = signer.key {
        files.extend(key_files(storage, &entries, key, signer)?);
    }
    entries.retain(|entry| {
        entry.role != Role::Root && !files.iter().any(|(path, _, _)| *path == entry.path)
    });
    for (path, bytes, role) in files {
        let stored = storage.pool.add(&storage.locks, &bytes)?;
        if role == Role::Root {
            // Two roots stored within a second would have the same Last-Modified, and clients would
            // not download the second one.
            set_modified(storage, stored.object, date)?;
        }
        entries.push(Entry {
            path,
            object: stored.object,
            size: stored.size,
            role,
            package: None,
        });
    }
    storage.pool.flush()?;
    Ok(manifest::build(entries)?)
}

fn set_modified(storage: &Storage, object: ObjectId, time: i64) -> Result<(), PublishError> {
    let since = std::time::Duration::from_secs(u64::try_from(time).unwrap_or(0));
    let file = storage.pool.open_object(object)?;
    Ok(file
        .file()
        .set_modified(std::time::SystemTime::UNIX_EPOCH + since)?)
}

fn read_key(storage: &Storage, entry: &Entry) -> Result<Vec<u8>, PublishError> {
    let bytes = storage.pool.read_small(entry.object)?;
    bytes.ok_or_else(|| PublishError::ObjectMissing {
        path: entry.path.to_string(),
        object: entry.object,
    })
}

type File = (RelPath, Vec<u8>, Role);

/// The files of the root. Without a key they have no signature.
fn signed(
    root: Vec<u8>,
    source: &RootSource,
    signer: RootSigner<'_>,
    date: i64,
) -> Result<Vec<File>, PublishError> {
    let mut files = Vec::new();
    if let Some(key) = signer.key {
        for form in signer.format.forms(source) {
            let (path, bytes) = match form {
                RootSource::Inline { path } => (path, key.sign_inline(&root, date)?),
                RootSource::Detached { signature, .. } => {
                    (signature, key.sign_detached(&root, date)?)
                }
            };
            files.push((path, bytes, Role::Root));
        }
    }
    files.push((signer.format.plain(source), root, Role::Root));
    Ok(files)
}

/// The files of the signing key, at the paths where clients of the format expect keys.
fn key_files(
    storage: &Storage,
    entries: &[Entry],
    key: &SigningKey,
    signer: RootSigner<'_>,
) -> Result<Vec<File>, PublishError> {
    let mut files = Vec::new();
    for file in signer.format.own_keys(signer.key_name) {
        let there = entries.iter().find(|entry| entry.path == file.path);
        let mut keyring = key.public();
        match there {
            Some(entry) if entry.role == Role::Key && file.is_shared => {
                // Clients of this tree may trust the upstream's key, and continue to work with
                // either.
                let trusted = Keyring::parse(&read_key(storage, entry)?, entry.path.as_str());
                if let Ok(trusted) = trusted {
                    keyring.extend(trusted);
                }
            }
            Some(entry) if entry.role != Role::Key => {
                return Err(PublishError::KeyPathTaken {
                    path: entry.path.clone(),
                });
            }
            _ => {}
        }
        let bytes = if file.is_binary {
            keyring.to_binary()
        } else {
            keyring.to_armored().into_bytes()
        };
        files.push((file.path, bytes, Role::Key));
    }
    Ok(files)
}
