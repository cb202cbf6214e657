//! Hints for errors of offline media.

use crate::media::{MediaError, Refusal};
use crate::names::RepoId;
use crate::transfer::TransferError;

use super::storage::{REPAIR, io_hint, lock_hint, storage_hint, store_hint};

pub fn media_hint(error: &MediaError) -> Option<String> {
    match error {
        MediaError::NotADirectory { .. } => {
            Some("mount the medium, or create the directory".to_owned())
        }
        MediaError::InsideStorage { .. } => Some("choose another directory".to_owned()),
        MediaError::NeverSynced { repository } => Some(format!(
            "run `chantal repo sync --repo-id {repository}` first"
        )),
        MediaError::NoKey | MediaError::NoKeyForRoot { .. } => Some(
            "`chantal config keygen` makes one; `--allow-unsigned` exports without a signature"
                .to_owned(),
        ),
        MediaError::BaseForgotten { .. } | MediaError::UnknownTransfer { .. } => {
            Some("`--full` exports everything".to_owned())
        }
        MediaError::Space { .. } => {
            Some("use a larger medium, or export fewer repositories or snapshots".to_owned())
        }
        MediaError::PublishSpace { .. } => Some(
            "nothing was changed: trees on another file system than the pool are copies".to_owned(),
        ),
        MediaError::PoolSpace { .. } => {
            Some("nothing was changed: free space, `chantal db cleanup` may help".to_owned())
        }
        MediaError::PoolDamaged { .. } => Some(REPAIR.to_owned()),
        MediaError::ReadBack { .. } => {
            Some("the medium or its connection is faulty: use another one".to_owned())
        }
        MediaError::Transfer(error) => transfer_hint(error),
        MediaError::Storage(error) => storage_hint(error),
        MediaError::Store(error) => store_hint(error),
        MediaError::Lock(error) => lock_hint(error),
        MediaError::Io(error) => io_hint(error),
        MediaError::NoDestination => {
            Some("set it to the name that the exporter uses with `--for`".to_owned())
        }
        MediaError::NoTrustedKeys => Some(
            "set it to a file with the exporter's public key (`keys/signing.pub.asc` there)"
                .to_owned(),
        ),
        MediaError::OtherDestination { .. } => {
            Some("is it the right medium? `media.destination` names this host".to_owned())
        }
        MediaError::OtherContent { .. } => Some(
            "the exporter's database was restored from a backup: export again there".to_owned(),
        ),
        MediaError::Gap { number, base, .. } => Some(match base {
            Some(base) => format!(
                "import transfer {base} first (again, if a cleanup has removed what it had \
                 brought), or ask for a transfer that builds on an earlier one (`media lost \
                 {number}` outside) or on nothing (`--full`)"
            ),
            None => "export it again".to_owned(),
        }),
        MediaError::Code(_) => {
            Some("compare it with the code that the import has shown".to_owned())
        }
        MediaError::WrongCode { .. } => Some(
            "is it a code of another destination or exporter? `media history` lists the transfers"
                .to_owned(),
        ),
        MediaError::ReceiptUnsigned { .. } => {
            Some("let the importer sign it (`signing.key_file` there), or use its code".to_owned())
        }
        MediaError::AmbiguousTransfer { .. } => Some("use `--for`".to_owned()),
        MediaError::KeyringMissing { .. }
        | MediaError::MediumKeyring(_)
        | MediaError::NoKeysOnMedium { .. }
        | MediaError::Root { .. }
        | MediaError::Receipt { .. }
        | MediaError::ReceiptText(_)
        | MediaError::ReceiptTooLarge { .. }
        | MediaError::ReceiptSignature { .. }
        | MediaError::NotInList { .. }
        | MediaError::OtherTransfer { .. }
        | MediaError::ReceiptOfOther { .. }
        | MediaError::ReceiptOfOtherDestination { .. }
        | MediaError::NoSuchTransfer { .. }
        | MediaError::AlreadyConfirmed { .. }
        | MediaError::UnknownDestination { .. }
        | MediaError::NothingImported { .. }
        | MediaError::Key(_)
        | MediaError::SigningKey(_)
        | MediaError::TrustedKeys(_)
        | MediaError::NoSnapshot { .. }
        | MediaError::Empty
        | MediaError::Busy { .. }
        | MediaError::Signing(_)
        | MediaError::Snapshot(_)
        | MediaError::Interrupted(_) => None,
    }
}

pub fn refusal_hint(repository: &RepoId, refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::Damaged { .. } | Refusal::KeyringDamaged { .. } => {
            Some("what is intact was kept: bring the medium again, or a repaired one".to_owned())
        }
        Refusal::KeysNotStored => Some(format!(
            "`chantal repo trust --repo-id {repository} --from-medium DIR` shows and stores those \
             of the medium; or set gpgkey_file"
        )),
        Refusal::KeysNotAccepted { .. } => Some(
            "compare the fingerprints with those of the upstream, then import again with \
             `--accept-keys`"
                .to_owned(),
        ),
        Refusal::Unsigned => Some(format!(
            "define {repository} in repos.d without a signature check, if that is intended"
        )),
        Refusal::Problems { .. } | Refusal::NotSigned { .. } | Refusal::Packages { .. } => {
            Some(format!(
                "what is current and published is unchanged; if the keys of the upstream have \
                 changed, compare them, then run `chantal repo trust --repo-id {repository} \
                 --from-medium DIR`, or replace gpgkey_file"
            ))
        }
        Refusal::SnapshotExists { .. } => {
            Some("snapshots are immutable: delete or rename the existing one first".to_owned())
        }
        Refusal::OtherOrigin => Some("`--replace` replaces it".to_owned()),
        Refusal::NoSignedRoot { key: None, .. } => {
            Some("export it again with a signing key".to_owned())
        }
        Refusal::NoSignedRoot { key: Some(_), .. } => Some(
            "if this is the key of an exporter that you trust, add it to media.trusted_keys"
                .to_owned(),
        ),
        Refusal::Format { .. }
        | Refusal::InvalidDefinition { .. }
        | Refusal::Keys { .. }
        | Refusal::Keyring { .. } => None,
    }
}

fn transfer_hint(error: &TransferError) -> Option<String> {
    match error {
        TransferError::NoTransfer { .. } => Some(
            "is the medium mounted? a transfer is a folder whose name begins with `chantal-`"
                .to_owned(),
        ),
        TransferError::Incomplete { .. } => {
            Some("run the export to this medium again: it continues".to_owned())
        }
        TransferError::Renamed { .. } => Some("rename it back".to_owned()),
        TransferError::Newer { .. } => Some("install a newer version of chantal".to_owned()),
        TransferError::Undeclared { name, .. } => {
            let last = name.rsplit('/').next().unwrap_or(name);
            Some(format!(
                "remove it, or use `--allow {last}` if a program of yours added it"
            ))
        }
        TransferError::Missing { .. }
        | TransferError::TooLarge { .. }
        | TransferError::NotAFile { .. }
        | TransferError::NotAManifest { .. }
        | TransferError::Signature { .. }
        | TransferError::Unsigned { .. }
        | TransferError::Malformed { .. }
        | TransferError::Changed { .. }
        | TransferError::Io(_) => None,
    }
}
