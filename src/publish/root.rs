//! A root of our own in place of the one that a manifest has: dated and signed when it is published.
//!
//! It is needed where indexes are not the upstream's (the selection leaves packages out), and where clients know a newer root
//! than the one that is to be shown: apt would silently keep what it has. The result is a manifest of its own, which the tree's
//! record names.

use std::io::Read;

use super::{Context, Older, Own, OwnRoot, PublishError, Request, Root};
use crate::digest::ObjectId;
use crate::format::{Format, RootSource, ValidUntil, root_text};
use crate::manifest::{self, Built, Entry, Role};
use crate::openpgp::{Keyring, SigningKey};
use crate::rel_path::RelPath;
use crate::store::records::TreeRecord;

/// Roots are fetched whole into memory, and are no larger than that.
pub const ROOT_LIMIT: u64 = 64 << 20;

/// What is shown in place of what was asked for.
pub struct Shown {
    /// What was asked for, or a manifest with a root of our own, which is in the store.
    pub manifest: ObjectId,
    pub own: OwnRoot,
    /// Of the root, where clients compare it.
    pub date: Option<i64>,
}

/// Decides which root a tree gets, and makes it if it is ours. `record` is what is known of the tree, `newest` the date of the
/// newest root that its clients may know.
pub fn to_show(
    context: Context<'_>,
    request: &Request<'_>,
    record: Option<&TreeRecord>,
    newest: Option<i64>,
) -> Result<Shown, PublishError> {
    let is_ours = record.is_some_and(|record| record.source.is_some());
    let as_it_is = |date| Shown {
        manifest: request.manifest,
        own: OwnRoot::None,
        date,
    };
    let (own, valid_until) = match request.root {
        Root::AsItIs { date } => return Ok(as_it_is(date)),
        Root::Upstreams { date, own, older } => match newest {
            // One without a date is older than any other to clients.
            Some(newest)
                if own.format.compares_dates()
                    && date.is_none_or(|date| date < newest)
                    && (is_ours || older == Older::IsRedated) =>
            {
                if own.key.is_none() {
                    let path = request.tree.to_owned();
                    return Err(PublishError::Older { path, newest, date });
                }
                (own, ValidUntil::IsDropped)
            }
            _ => return Ok(as_it_is(date)),
        },
        // A snapshot is meant to outlive it.
        Root::Ours(own) if request.snapshot.is_some() => (own, ValidUntil::IsDropped),
        Root::Ours(own) => (own, ValidUntil::Stays),
    };
    let newer = newest.map_or(i64::MIN, |newest| newest.saturating_add(1));
    let date = context.now.max(newer);
    let built = replaced(context, request.manifest, own, date, valid_until)?;
    // What names it is recorded when it is published; until then a cleanup would only make the next run do this again.
    context
        .storage
        .write(|writer| writer.put_made(&built, context.now))?;
    Ok(Shown {
        manifest: built.id,
        own: match own.key {
            Some(key) => OwnRoot::SignedBy(key.fingerprint()),
            None => OwnRoot::Unsigned,
        },
        date: own.format.compares_dates().then_some(date),
    })
}

/// What a manifest lists, with another root.
fn replaced(
    context: Context<'_>,
    manifest: ObjectId,
    own: Own<'_>,
    date: i64,
    valid_until: ValidUntil,
) -> Result<Built, PublishError> {
    let mut entries = Vec::new();
    context.storage.read(|reader| {
        reader.each_entry(manifest, &mut |entry| {
            entries.push(entry);
            Ok(())
        })
    })?;
    let source = among(&entries, own.format).ok_or(PublishError::NoRoot { manifest })?;
    let found = entries.iter().find(|entry| entry.path == *source.path());
    let bytes = found.map(|entry| read(context, entry)).transpose()?;
    let text = root_text(&source, &bytes.unwrap_or_default()).map_err(PublishError::Root)?;
    let dated = own.format.dated(&text, date, valid_until);
    let plain = own.format.plain(&source);
    own.format
        .read_back(&plain, &dated)
        .map_err(PublishError::Root)?;
    let mut files = signed(dated, &source, own, date)?;
    if let Some(key) = own.key {
        files.extend(key_files(context, &entries, key, own)?);
    }
    entries.retain(|entry| {
        entry.role != Role::Root && !files.iter().any(|(path, _, _)| *path == entry.path)
    });
    for (path, bytes, role) in files {
        let stored = context.storage.pool.add(&context.storage.locks, &bytes)?;
        if role == Role::Root {
            // Two roots of one second would have one Last-Modified, and the second be taken for the first.
            set_modified(context, stored.object, date)?;
        }
        entries.push(Entry {
            path,
            object: stored.object,
            size: stored.size,
            role,
            package: None,
        });
    }
    context.storage.pool.flush()?;
    Ok(manifest::build(entries)?)
}

fn among(entries: &[Entry], format: &dyn Format) -> Option<RootSource> {
    let roots = entries.iter().filter(|entry| entry.role == Role::Root);
    format.root_among(&mut roots.map(|entry| &entry.path))
}

/// Where a manifest has its root.
pub fn source(
    context: Context<'_>,
    manifest: ObjectId,
    format: &dyn Format,
) -> Result<Option<RootSource>, PublishError> {
    let mut roots = Vec::new();
    context.storage.read(|reader| {
        reader.each_entry(manifest, &mut |entry| {
            if entry.role == Role::Root {
                roots.push(entry);
            }
            Ok(())
        })
    })?;
    Ok(among(&roots, format))
}

fn set_modified(context: Context<'_>, object: ObjectId, time: i64) -> Result<(), PublishError> {
    let since = std::time::Duration::from_secs(u64::try_from(time).unwrap_or(0));
    let file = context.storage.pool.open_object(object)?;
    Ok(file
        .file()
        .set_modified(std::time::SystemTime::UNIX_EPOCH + since)?)
}

fn read(context: Context<'_>, entry: &Entry) -> Result<Vec<u8>, PublishError> {
    let mut bytes = Vec::new();
    let file = context.storage.pool.open_object(entry.object)?;
    file.take(ROOT_LIMIT).read_to_end(&mut bytes)?;
    if ObjectId::of(&bytes) != entry.object {
        return Err(PublishError::ObjectMissing {
            path: entry.path.to_string(),
            object: entry.object,
        });
    }
    Ok(bytes)
}

type File = (RelPath, Vec<u8>, Role);

/// The root's files. Without a key they say nothing of who made them.
fn signed(
    root: Vec<u8>,
    source: &RootSource,
    own: Own<'_>,
    date: i64,
) -> Result<Vec<File>, PublishError> {
    let mut files = Vec::new();
    if let Some(key) = own.key {
        for form in own.format.forms(source) {
            let (path, bytes) = match form {
                RootSource::Inline { path } => (path, key.sign_inline(&root, date)?),
                RootSource::Detached { signature, .. } => {
                    (signature, key.sign_detached(&root, date)?)
                }
            };
            files.push((path, bytes, Role::Root));
        }
    }
    files.push((own.format.plain(source), root, Role::Root));
    Ok(files)
}

/// Our key, where clients of the format look for keys.
fn key_files(
    context: Context<'_>,
    entries: &[Entry],
    key: &SigningKey,
    own: Own<'_>,
) -> Result<Vec<File>, PublishError> {
    let mut files = Vec::new();
    for file in own.format.own_keys(own.key_name) {
        let there = entries.iter().find(|entry| entry.path == file.path);
        let mut keyring = key.public();
        match there {
            Some(entry) if entry.role == Role::Key && file.is_shared => {
                // Clients of this place may know the upstream's key, and go on with either.
                let trusted = Keyring::parse(&read(context, entry)?, entry.path.as_str());
                if let Ok(trusted) = trusted {
                    keyring.extend(trusted);
                }
            }
            Some(entry) if entry.role != Role::Key => {
                return Err(PublishError::KeyPlace {
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
