//! Generates a root in place of the manifest's own: dated and signed when it is published.
//!
//! This is needed if indexes were generated (the selection leaves packages out), and if clients
//! know a newer root than the one to be published: apt would silently keep the newer one. The
//! result is a manifest of its own, which the record of the tree refers to.
//!
//! For generated indexes it is generated once and stored ([`super::stored_root`]), so that all
//! places of a state have the same bytes. It is generated again for a place whose clients would
//! consider the stored one too old, for another key, if the stored one is damaged, and with
//! [`PublishMode::RecreateMissing`].

use super::error::PublishError;
use super::request::{OlderRootPolicy, PreparedRequest, PublishMode, RootChoice};
use super::root_files::{RootSigner, key_files, root_files};
use super::stored_root::{Place, find_stored};
use super::tree::LockedTree;
use crate::digest::ObjectId;
use crate::format::{Format, ValidUntil};
use crate::manifest::{self, Built, Entry, Role};
use crate::openpgp::SigningKey;
use crate::state::read_root;
use crate::storage::Storage;
use crate::store::records::{GeneratedRootKey, GeneratedRootRecord, RootValidity, TreeRecord};

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
        RootChoice::Generated(generator) => (generator, valid_until(request.root_validity())),
    };
    let place = Place {
        shown: record.and_then(|record| record.manifest),
        newest,
        now: tree.now,
    };
    if let Some((key, root)) = &prepared.imported {
        if place.accepts_imported(root) {
            return Ok(chosen(generator.format, root, key.clone()));
        }
        // Clients of this place have seen a newer root: only our own can be newer than that.
        if prepared.key.is_none() {
            return Err(PublishError::RootTooOld {
                path: request.tree.to_owned(),
                newest: newest.unwrap_or(root.date),
                date: Some(root.date),
            });
        }
    }
    let signer = RootSigner {
        format: generator.format,
        key: prepared.key,
        key_name: generator.key_name,
    };
    let wanted = WantedRoot {
        manifest: request.manifest,
        validity: match valid_until {
            ValidUntil::Stays => RootValidity::Kept,
            ValidUntil::IsDropped => RootValidity::Dropped,
        },
        // A root with another date than the upstream's belongs to the place that needs that date.
        is_stored: matches!(request.root, RootChoice::Generated(_)),
        is_new: request.mode == PublishMode::RecreateMissing,
    };
    let (root, key) = stored_or_new(tree.storage, wanted, place, signer)?;
    Ok(chosen(generator.format, &root, key))
}

fn chosen(
    format: &'static dyn Format,
    root: &GeneratedRootRecord,
    key: GeneratedRootKey,
) -> ChosenRoot {
    ChosenRoot {
        manifest: root.manifest,
        generated: match key.signed_by {
            Some(key) => GeneratedRoot::SignedBy(key),
            None => GeneratedRoot::Unsigned,
        },
        date: format.compares_dates().then_some(root.date),
    }
}

/// The generated root of a state, for a host that it is carried to: the stored one, or a new one.
/// One that came on a medium is carried on as it is.
pub fn root_to_carry(
    storage: &Storage,
    manifest: ObjectId,
    validity: RootValidity,
    signer: RootSigner<'_>,
) -> Result<(GeneratedRootRecord, GeneratedRootKey), PublishError> {
    let imported = storage.read(|reader| reader.imported_root(manifest, validity))?;
    if let Some((key, root)) = imported {
        return Ok((root, key));
    }
    let wanted = WantedRoot {
        manifest,
        validity,
        is_stored: true,
        is_new: false,
    };
    let place = Place {
        shown: None,
        newest: None,
        now: crate::time::now(),
    };
    stored_or_new(storage, wanted, place, signer)
}

fn valid_until(validity: RootValidity) -> ValidUntil {
    match validity {
        RootValidity::Kept => ValidUntil::Stays,
        RootValidity::Dropped => ValidUntil::IsDropped,
    }
}

/// A generated root that is needed.
#[derive(Clone, Copy)]
struct WantedRoot {
    /// What it is generated for.
    manifest: ObjectId,
    validity: RootValidity,
    /// Whether it is the same at all places of the state.
    is_stored: bool,
    /// Whether a stored one is replaced.
    is_new: bool,
}

/// The generated root for a place: the stored one if that is possible.
fn stored_or_new(
    storage: &Storage,
    wanted: WantedRoot,
    place: Place,
    signer: RootSigner<'_>,
) -> Result<(GeneratedRootRecord, GeneratedRootKey), PublishError> {
    let key = GeneratedRootKey {
        source: wanted.manifest,
        signed_by: signer.key.map(SigningKey::fingerprint),
        validity: wanted.validity,
    };
    let entries = storage.read(|reader| reader.entries(key.source))?;
    if wanted.is_stored
        && !wanted.is_new
        && let Some(stored) = find_stored(storage, &key, place, &entries, signer)?
    {
        return Ok((stored, key));
    }
    let date = place.next_date();
    let valid_until = valid_until(wanted.validity);
    let built = generate_root(storage, key.source, entries, signer, date, valid_until)?;
    let root = GeneratedRootRecord {
        manifest: built.id,
        date,
        made_at: place.now,
        imported: false,
    };
    // Nothing refers to a root that is not stored until the tree is recorded. If a cleanup removes
    // it before that, the next run generates it again.
    storage.write(|writer| {
        writer.put_made(&built, place.now)?;
        if wanted.is_stored {
            writer.put_generated_root(&key, &root)?;
        }
        Ok(())
    })?;
    Ok((root, key))
}

/// A copy of a manifest, which has these entries, with a generated root.
fn generate_root(
    storage: &Storage,
    manifest: ObjectId,
    mut entries: Vec<Entry>,
    signer: RootSigner<'_>,
    date: i64,
    valid_until: ValidUntil,
) -> Result<Built, PublishError> {
    let root = read_root(&storage.pool, manifest, entries.iter(), signer.format)?;
    let text = root.text().map_err(PublishError::Root)?;
    let dated = signer.format.dated(&text, date, valid_until);
    let plain = signer.format.plain(&root.source);
    signer
        .format
        .read_back(&plain, &dated)
        .map_err(PublishError::Root)?;
    let mut files = root_files(dated, &root.source, signer, date)?;
    files.extend(key_files(storage, &entries, signer)?);
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
