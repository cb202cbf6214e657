//! Hints for errors of a sync.

use super::bug::BUG;
use super::storage::{REPAIR, io_hint, lock_hint, store_hint};
use crate::format::FormatError;
use crate::manifest::ManifestError;
use crate::names::RepoId;
use crate::openpgp::VerifyError;
use crate::sync::{FreshnessError, RootError, SyncError, most_severe};
use crate::trust::KeyError;
use crate::upstream::{TlsFailure, UpstreamError};

const UNCHANGED: &str = "the state of the last successful sync is unchanged";
/// For an index that cannot be parsed, and a file that is not a root.
const BROKEN: &str = "the upstream may be broken, or upstream.url may be wrong";

pub fn sync_hint(repository: &RepoId, error: &SyncError) -> Option<String> {
    Some(match error {
        SyncError::Files { errors, .. } => sync_hint(repository, most_severe(errors)?)?,
        SyncError::Key(error) => key_hint(repository, error)?,
        SyncError::Root(error) => root_hint(error)?,
        SyncError::Format(error) => format_hint(error)?,
        SyncError::Lock(error) => lock_hint(error)?,
        SyncError::PackageRefused { .. } => format!(
            "if a key that the upstream announces is missing, add it to gpgkey_file or \
             gpgkey_url; otherwise report this to the upstream (`rpm.gpgcheck: false` accepts \
             packages without verifying signatures); {UNCHANGED}"
        ),
        SyncError::Download { source: error, .. } => upstream_hint(error)?,
        SyncError::Freshness(error) => freshness_hint(error),
        SyncError::IndexMissing { .. } | SyncError::KeepsChanging { .. } => {
            format!("the upstream may be in the middle of an update; try again later; {UNCHANGED}")
        }
        SyncError::NoMatchingPackage => {
            format!("relax the filters, or check them for typos; {UNCHANGED}")
        }
        SyncError::Io(error) => io_hint(error)?,
        SyncError::Store(error) => store_hint(error)?,
        SyncError::NoSpace { .. } => {
            "free up disk space, or move the pool (storage.pool_path)".to_owned()
        }
        SyncError::TwoContents { .. }
        | SyncError::SizeConflict { .. }
        | SyncError::Manifest(
            ManifestError::TwoContents { .. } | ManifestError::FileAndDirectory { .. },
        ) => {
            format!(
                "the indexes of the upstream contradict each other: report this to the \
                 upstream; {UNCHANGED}"
            )
        }
        SyncError::KeyPlace { .. } => format!(
            "clients would trust keys that the upstream chooses; if this file is legitimate, set \
             publish.key_name to give the key files another name; {UNCHANGED}"
        ),
        _ => return None,
    })
}

fn key_hint(repository: &RepoId, error: &KeyError) -> Option<String> {
    Some(match error {
        KeyError::Replaced { .. } => format!(
            "if the new keys are genuine, accept them with `chantal repo trust --repo-id \
             {repository}`; {UNCHANGED}"
        ),
        KeyError::Lock(error) => lock_hint(error)?,
        KeyError::Missing { .. } => "check gpgkey_url".to_owned(),
        KeyError::Upstream(UpstreamError::Redirect { .. }) => {
            "set gpgkey_url to the URL that it redirects to".to_owned()
        }
        KeyError::Upstream(error) => upstream_hint(error)?,
        KeyError::File(_) | KeyError::Unusable(_) => {
            format!("check gpgkey_file or gpgkey_url; {UNCHANGED}")
        }
        KeyError::Stored(error) => io_hint(error)?,
    })
}

fn root_hint(error: &RootError) -> Option<String> {
    Some(match error {
        RootError::NoDirectory { .. } => format!(
            "mount it, or correct upstream.url (a URL begins with https:// or http://); {UNCHANGED}"
        ),
        RootError::NotFound { .. } => {
            "check upstream.url, and for APT also apt.distribution".to_owned()
        }
        RootError::SignatureMissing { .. } => format!(
            "if the upstream does not sign its metadata, set `gpgcheck: false` (apt) or \
             `repo_gpgcheck: false` (rpm); {UNCHANGED}"
        ),
        RootError::SignatureGone { .. } => format!(
            "if the upstream no longer signs its metadata, set `repo_gpgcheck: false`; {UNCHANGED}"
        ),
        RootError::NotVerified(VerifyError::NotClearSigned { .. }) => {
            format!("{BROKEN}; {UNCHANGED}")
        }
        RootError::NotVerified(error) if error.is_weakness() => format!(
            "such signatures can be forged; `allow_weak_signatures: true` accepts them anyway; \
             {UNCHANGED}"
        ),
        RootError::NotVerified(_) => format!(
            "check gpgkey_file or gpgkey_url against the keys that the upstream announces; \
             {UNCHANGED}"
        ),
        RootError::Upstream(error) => upstream_hint(error)?,
    })
}

fn format_hint(error: &FormatError) -> Option<String> {
    Some(match error {
        FormatError::Read { source, .. } if !error.is_about_content() => io_hint(source)?,
        FormatError::Malformed { .. } | FormatError::Read { .. } => {
            format!("{BROKEN}; {UNCHANGED}")
        }
        FormatError::ObjectDamaged { .. } => format!("{REPAIR}; {UNCHANGED}"),
        FormatError::Write { source, .. } => io_hint(source)?,
        FormatError::ReadBack { .. } => BUG.to_owned(),
        FormatError::Compression { .. } => format!(
            "ask the upstream to provide the index in a supported compression format; {UNCHANGED}"
        ),
        FormatError::Path { .. } | FormatError::NoDigest { .. } => format!(
            "the repository cannot be mirrored safely: report this to the upstream; {UNCHANGED}"
        ),
        FormatError::NotFound { what, .. } => format!("check apt.{what}s; {UNCHANGED}"),
    })
}

fn freshness_hint(error: &FreshnessError) -> String {
    match error {
        FreshnessError::Expired { .. } => format!(
            "this may be an outdated mirror or a replay attack; for an archive that is no longer \
             updated, set `check_valid_until: false`; {UNCHANGED}"
        ),
        FreshnessError::Future { .. } => format!(
            "check the clock of this machine; if the clock of the upstream is wrong, `check_date: \
             false` accepts its dates; {UNCHANGED}"
        ),
        FreshnessError::InvalidValidUntil { .. } => format!(
            "apt rejects it, too: report this to the upstream; `check_valid_until: false` ignores \
             it; {UNCHANGED}"
        ),
        FreshnessError::Undated { .. } => format!(
            "this may be an outdated mirror or a replay attack; if the upstream no longer \
             provides valid dates, `check_date: false` accepts its metadata without them; \
             {UNCHANGED}"
        ),
        FreshnessError::Lagging { .. } => {
            format!("one of its servers may not be up to date yet; try again later; {UNCHANGED}")
        }
        FreshnessError::RolledBack { .. } => format!(
            "this may be an outdated mirror or a replay attack; if the upstream really went back \
             to an older state, `--allow-rollback` accepts it once; {UNCHANGED}"
        ),
    }
}

fn upstream_hint(error: &UpstreamError) -> Option<String> {
    Some(match error {
        UpstreamError::Tls { why, .. } => tls_hint(why).to_owned(),
        UpstreamError::UnknownHost { .. } => {
            "check the host name in the URL, and the DNS configuration of this machine".to_owned()
        }
        UpstreamError::Denied {
            with_certificate: true,
            ..
        } => "the certificate in credentials.cert may have expired, or may be for another \
              entitlement"
            .to_owned(),
        UpstreamError::Denied { status: 403, .. } => {
            "the credentials or the entitlement may be missing, wrong or expired".to_owned()
        }
        UpstreamError::Denied { .. } => "check credentials".to_owned(),
        UpstreamError::Missing { .. } | UpstreamError::Mismatch { .. } => {
            format!("the upstream may be in the middle of an update; {UNCHANGED}")
        }
        UpstreamError::Status { status, .. } if *status < 400 => format!(
            "this status is not expected here: the server, or a proxy in front of it, may be \
             broken; {UNCHANGED}"
        ),
        UpstreamError::Unreachable { .. } | UpstreamError::Status { .. } => {
            format!("try again later; {UNCHANGED}")
        }
        UpstreamError::Local(error) => io_hint(error)?,
        UpstreamError::Redirect { .. } => {
            "set upstream.url to the URL that it redirects to".to_owned()
        }
        _ => return None,
    })
}

fn tls_hint(failure: &TlsFailure) -> &'static str {
    match failure {
        TlsFailure::UnknownIssuer => {
            "if the server is to be trusted, set tls.ca_file (or credentials.ca_cert) to the \
             certificate of its CA"
        }
        TlsFailure::OtherName => {
            "use the host name that the certificate was issued for; tls.ca_file does not help here"
        }
        TlsFailure::Expired | TlsFailure::NotValidYet => {
            "check the clock of this machine; if it is right, the upstream must renew its \
             certificate (tls.ca_file does not help here)"
        }
        TlsFailure::BadCertificate(_) => {
            "the upstream must replace its certificate, or tls.ca_file contains the wrong one"
        }
        TlsFailure::ClientCertificateWanted => {
            "configure one with `credentials: {type: client_cert, cert: ..., key: ...}`"
        }
        TlsFailure::ClientCertificateRefused(_) => {
            "the certificate in credentials.cert may have expired, or may be from another CA"
        }
        TlsFailure::NotTls => "check the port in the URL, and whether it should begin with http://",
        TlsFailure::TlsWanted => {
            "check the port in the URL, and whether it should begin with https://"
        }
    }
}
