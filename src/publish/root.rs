//! A root of our own in place of the one that a manifest has: dated and signed when it is
//! published.
//!
//! It is needed where indexes are not the upstream's (the selection leaves packages out), and where
//! clients know a newer root than the one that is to be shown: apt would silently keep what it has.
//! The result is a manifest of its own, which the tree's record names.

use super::error::PublishError;
use super::request::{OlderRootPolicy, PreparedRequest, RootChoice};
use super::tree::LockedTree;
use crate::digest::ObjectId;
use crate::format::{Format, RootSource, ValidUntil, root_text};
use crate::manifest::{self, Built, Entry, Role};
use crate::openpgp::{Keyring, SigningKey};
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::records::TreeRecord;

/// The root that a tree gets, in the manifest that it is of.
pub struct ChosenRoot {
    /// What was asked for, or a manifest with a root of our own, which is in the store.
    pub manifest: ObjectId,
    pub generated: GeneratedRoot,
    /// Of the root, where clients compare it.
    pub date: Option<i64>,
}

/// A root that was made when it was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GeneratedRoot {
    /// The tree shows the manifest's.
    #[default]
    None,
    Unsigned,
    /// The fingerprint of the key.
    SignedBy(String),
}

/// Decides which root a tree gets, and makes it if it is ours. `record` is what is known of the
/// tree, `newest` the date of the newest root that its clients may know.
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
            // One without a date is older than any other to clients.
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
            _ => return Ok(verbatim(date)),
        },
        // A snapshot is meant to outlive it.
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
    // What names it is recorded when it is published; until then a cleanup would only make the next
    // run do this again.
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

/// What a root of ours is made with.
#[derive(Clone, Copy)]
struct RootSigner<'a> {
    format: &'static dyn Format,
    /// `None` leaves it unsigned.
    key: Option<&'a SigningKey>,
    key_name: &'a RelPath,
}

/// What a manifest lists, with another root.
fn generate_root(
    storage: &Storage,
    manifest: ObjectId,
    signer: RootSigner<'_>,
    date: i64,
    valid_until: ValidUntil,
) -> Result<Built, PublishError> {
    let mut entries = storage.read(|reader| reader.entries(manifest))?;
    let source = root_among(&entries, signer.format).ok_or(PublishError::NoRoot { manifest })?;
    let found = entries.iter().find(|entry| entry.path == *source.path());
    let bytes = found.map(|entry| read(storage, entry)).transpose()?;
    let text = root_text(&source, &bytes.unwrap_or_default()).map_err(PublishError::Root)?;
    let dated = signer.format.dated(&text, date, valid_until);
    let plain = signer.format.plain(&source);
    signer
        .format
        .read_back(&plain, &dated)
        .map_err(PublishError::Root)?;
    let mut files = signed(dated, &source, signer, date)?;
    if let Some(key) = signer.key {
        files.extend(key_files(storage, &entries, key, signer)?);
    }
    entries.retain(|entry| {
        entry.role != Role::Root && !files.iter().any(|(path, _, _)| *path == entry.path)
    });
    for (path, bytes, role) in files {
        let stored = storage.pool.add(&storage.locks, &bytes)?;
        if role == Role::Root {
            // Two roots of one second would have one Last-Modified, and the second be taken for the
            // first.
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

fn root_among(entries: &[Entry], format: &dyn Format) -> Option<RootSource> {
    let roots = entries.iter().filter(|entry| entry.role == Role::Root);
    format.root_among(&mut roots.map(|entry| &entry.path))
}

/// Where a manifest has its root.
pub fn source(
    storage: &Storage,
    manifest: ObjectId,
    format: &dyn Format,
) -> Result<Option<RootSource>, PublishError> {
    let mut roots = Vec::new();
    storage.read(|reader| {
        reader.each_entry(manifest, &mut |entry| {
            if entry.role == Role::Root {
                roots.push(entry);
            }
            Ok(())
        })
    })?;
    Ok(root_among(&roots, format))
}

fn set_modified(storage: &Storage, object: ObjectId, time: i64) -> Result<(), PublishError> {
    let since = std::time::Duration::from_secs(u64::try_from(time).unwrap_or(0));
    let file = storage.pool.open_object(object)?;
    Ok(file
        .file()
        .set_modified(std::time::SystemTime::UNIX_EPOCH + since)?)
}

fn read(storage: &Storage, entry: &Entry) -> Result<Vec<u8>, PublishError> {
    let bytes = storage.pool.read_small(entry.object)?;
    bytes.ok_or_else(|| PublishError::ObjectMissing {
        path: entry.path.to_string(),
        object: entry.object,
    })
}

type File = (RelPath, Vec<u8>, Role);

/// The root's files. Without a key they say nothing of who made them.
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

/// Our key, where clients of the format look for keys.
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
                // Clients of this place may know the upstream's key, and go on with either.
                let trusted = Keyring::parse(&read(storage, entry)?, entry.path.as_str());
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
