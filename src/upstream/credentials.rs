//! Turns configured credentials into headers and certificates. Files are read and commands are run
//! once per run, when a sync begins.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error as TlsError, InconsistentKeys, RootCertStore};
use ureq::http::header::{AUTHORIZATION, HeaderName};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

use super::http::Identity;
use crate::config::{Credentials, Secret, SecretSource};
use crate::interrupt::{Interrupt, Interrupted};
use crate::regular_file;

/// How often a running secret command is checked.
const SLICE: Duration = Duration::from_millis(20);

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: contains no {wanted} in PEM format", path.display())]
    Pem { path: PathBuf, wanted: &'static str },
    #[error("{}: the private key is encrypted: only keys without a passphrase are supported", path.display())]
    Encrypted { path: PathBuf },
    #[error("{}: expected a {wanted}, got {got}", path.display())]
    Swapped {
        path: PathBuf,
        wanted: &'static str,
        got: &'static str,
    },
    #[error("{}: the file is empty", path.display())]
    Empty { path: PathBuf },
    #[error("{}: the private key does not match the certificate {}", key.display(), cert.display())]
    OtherKey { key: PathBuf, cert: PathBuf },
    #[error("{}: the certificate cannot be used: {why}", path.display())]
    UnusableCertificate { path: PathBuf, why: String },
    #[error("{}: the private key cannot be used: {why}", path.display())]
    UnusableKey { path: PathBuf, why: String },
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Does not contain the command, which may contain a secret itself.
    #[error("the command for the secret failed: {0}")]
    Command(String),
    #[error("{what} contains characters that are not allowed in an HTTP header")]
    Characters { what: &'static str },
    #[error("{key}: {source}")]
    At {
        /// The configuration key of the file or command.
        key: &'static str,
        source: Box<CredentialError>,
    },
}

/// Adds the configuration key to an error.
pub fn at(key: &'static str) -> impl Fn(CredentialError) -> CredentialError {
    move |source| match source {
        // Not an error of the configuration.
        CredentialError::Interrupted(_) => source,
        source => CredentialError::At {
            key,
            source: Box::new(source),
        },
    }
}

pub fn identity(
    credentials: &Credentials,
    interrupt: &Interrupt,
) -> Result<Identity, CredentialError> {
    let header = |name: HeaderName, value: String, what| {
        // Line breaks would allow header injection.
        if value.chars().any(|c| c.is_ascii_control()) {
            return Err(CredentialError::Characters { what });
        }
        Ok(Identity {
            header: Some((name, value)),
            ..Identity::default()
        })
    };
    match credentials {
        Credentials::None => Ok(Identity::default()),
        Credentials::Basic { username, password } => {
            let password = secret(password, interrupt).map_err(at("credentials.password"))?;
            let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
            header(AUTHORIZATION, format!("Basic {pair}"), "the password")
        }
        Credentials::Bearer { token } => {
            let value = format!(
                "Bearer {}",
                secret(token, interrupt)
                    .map_err(at("credentials.token"))?
                    .expose()
            );
            header(AUTHORIZATION, value, "the token")
        }
        Credentials::Header { name, value } => {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                CredentialError::Characters {
                    what: "the header's name",
                }
            })?;
            header(
                name,
                secret(value, interrupt)
                    .map_err(at("credentials.value"))?
                    .expose()
                    .to_owned(),
                "the header's value",
            )
        }
        Credentials::ClientCert { cert, key, ca_cert } => Ok(Identity {
            header: None,
            certificate: Some(client_certificate(cert, key)?),
            authorities: match ca_cert {
                Some(path) => authorities(path).map_err(at("credentials.ca_cert"))?,
                None => Vec::new(),
            },
        }),
    }
}

/// Checks credentials without contacting the upstream or running a command.
pub fn check(credentials: &Credentials) -> Result<(), CredentialError> {
    match credentials {
        Credentials::None
        | Credentials::Basic {
            password: SecretSource::Command(_),
            ..
        }
        | Credentials::Bearer {
            token: SecretSource::Command(_),
        }
        | Credentials::Header {
            value: SecretSource::Command(_),
            ..
        } => Ok(()),
        _ => identity(credentials, &Interrupt::default()).map(drop),
    }
}

/// A certificate with its key, checked as TLS does: the client library panics on invalid ones.
fn client_certificate(cert: &Path, key: &Path) -> Result<ClientCert, CredentialError> {
    let chain = certificates(cert).map_err(at("credentials.cert"))?;
    let (private, der) = private_key(key).map_err(at("credentials.key"))?;
    let certificates = chain
        .iter()
        .map(|one| CertificateDer::from(one.der().to_vec()));
    let provider = rustls::crypto::ring::default_provider();
    let signing = provider
        .key_provider
        .load_private_key(der)
        .map_err(|error| {
            at("credentials.key")(CredentialError::UnusableKey {
                path: key.to_owned(),
                why: error.to_string(),
            })
        })?;
    let certified = CertifiedKey::new(certificates.collect(), signing);
    match certified.keys_match() {
        // Not every kind of key provides its public part.
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(ClientCert::new_with_certs(&chain, private))
        }
        Err(TlsError::InconsistentKeys(_)) => {
            Err(at("credentials.key")(CredentialError::OtherKey {
                key: key.to_owned(),
                cert: cert.to_owned(),
            }))
        }
        Err(error) => Err(at("credentials.cert")(unusable(cert, &error))),
    }
}

fn unusable(path: &Path, error: &TlsError) -> CredentialError {
    let why = match error {
        // The type is private to a dependency; its text is the name of the variant.
        TlsError::InvalidCertificate(CertificateError::Other(other))
            if format!("{other:?}").contains("UnsupportedCertVersion") =>
        {
            "X.509 version 1 is not supported, TLS requires version 3".to_owned()
        }
        error => error.to_string(),
    };
    CredentialError::UnusableCertificate {
        path: path.to_owned(),
        why,
    }
}

/// The CA certificates of a PEM file, at least one of them usable: the client library would ignore
/// the others silently.
pub fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, CredentialError> {
    let (mut usable, mut refused) = (Vec::new(), None);
    for certificate in certificates(path)? {
        match RootCertStore::empty().add(CertificateDer::from(certificate.der())) {
            Ok(()) => usable.push(certificate),
            Err(error) => refused = Some(unusable(path, &error)),
        }
    }
    match refused {
        Some(error) if usable.is_empty() => return Err(error),
        Some(error) => log::warn!("{error} (certificate ignored)"),
        None => {}
    }
    Ok(usable)
}

/// All certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, CredentialError> {
    let pem = read(path)?;
    let (mut found, mut has_key) = (Vec::new(), false);
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(PemItem::PrivateKey(_)) => has_key = true,
            _ => {}
        }
    }
    if found.is_empty() {
        let got = has_key.then_some("a private key");
        return Err(lacks(path, &pem, "certificate", got));
    }
    Ok(found)
}

/// In the types of both libraries.
fn private_key(
    path: &Path,
) -> Result<(PrivateKey<'static>, PrivateKeyDer<'static>), CredentialError> {
    let pem = read_secret(path)?;
    let text = String::from_utf8_lossy(&pem);
    if text.contains("ENCRYPTED") {
        return Err(CredentialError::Encrypted {
            path: path.to_owned(),
        });
    }
    let missing = || {
        let is_certificate = text.contains("-----BEGIN CERTIFICATE-----");
        let got = is_certificate.then_some("a certificate");
        lacks(path, &pem, "private key", got)
    };
    let key = PrivateKey::from_pem(&pem).map_err(|_| missing())?;
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| missing())?;
    Ok((key, der))
}

fn lacks(
    path: &Path,
    pem: &[u8],
    wanted: &'static str,
    got: Option<&'static str>,
) -> CredentialError {
    let path = path.to_owned();
    match got {
        _ if pem.is_empty() => CredentialError::Empty { path },
        Some(got) => CredentialError::Swapped { path, wanted, got },
        None => CredentialError::Pem { path, wanted },
    }
}

fn secret(source: &SecretSource, interrupt: &Interrupt) -> Result<Secret, CredentialError> {
    let printed = match source {
        SecretSource::Inline(secret) => return Ok(secret.clone()),
        SecretSource::File(path) => {
            let bytes = read_secret(path)?;
            if bytes.iter().all(u8::is_ascii_whitespace) {
                return Err(CredentialError::Empty {
                    path: path.to_owned(),
                });
            }
            bytes
        }
        SecretSource::Command(command) => printed_by(command, interrupt)?,
    };
    let text = String::from_utf8(printed).map_err(|_| CredentialError::Characters {
        what: "a secret that is not UTF-8",
    })?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

/// The output of a command. The command may block, for the network or a user: an interruption ends
/// it.
fn printed_by(command: &str, interrupt: &Interrupt) -> Result<Vec<u8>, CredentialError> {
    let failed = |error: io::Error| CredentialError::Command(error.to_string());
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    let mut stdout = child.stdout.take().expect("it is piped");
    // Not joined after an interruption: child processes of the command may keep the pipe open.
    let reading = thread::Builder::new()
        .name("secret".to_owned())
        .spawn(move || {
            let mut printed = Vec::new();
            stdout.read_to_end(&mut printed).map(|_| printed)
        });
    let ended = reading.and_then(|reading| {
        while !reading.is_finished() {
            if interrupt.check().is_err() {
                return Ok(None);
            }
            thread::sleep(SLICE);
        }
        let printed = match reading.join() {
            Ok(printed) => printed?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // The command may continue after it has closed its output.
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some((status, printed)));
            }
            if interrupt.check().is_err() {
                return Ok(None);
            }
            thread::sleep(SLICE);
        }
    });
    if !matches!(ended, Ok(Some(_))) {
        // It may have ended already.
        drop(child.kill());
        drop(child.wait());
    }
    match ended.map_err(failed)? {
        Some((status, printed)) if status.success() => Ok(printed),
        Some((status, _)) => Err(CredentialError::Command(status.to_string())),
        None => Err(Interrupted.into()),
    }
}

/// Reads a file that other users should not be able to read.
fn read_secret(path: &Path) -> Result<Vec<u8>, CredentialError> {
    let open_to_others = std::fs::metadata(path)
        .ok()
        .and_then(|metadata| regular_file::open_to_others(&metadata));
    if let Some(mode) = open_to_others {
        log::warn!(
            "{} contains credentials, but other users can read it (mode {mode:04o}): run `chmod 600` on it",
            path.display()
        );
    }
    read(path)
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    regular_file::read(path).map_err(|source| CredentialError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_the_command_prints_without_the_line_end() {
        let source = SecretSource::Command("echo s3cret".to_owned());
        assert_eq!(
            secret(&source, &Interrupt::default()).unwrap().expose(),
            "s3cret"
        );
        let source = SecretSource::Command("exit 3".to_owned());
        assert_eq!(
            secret(&source, &Interrupt::default())
                .unwrap_err()
                .to_string(),
            "the command for the secret failed: exit status: 3"
        );
    }

    #[test]
    fn an_interruption_ends_a_command() {
        let interrupt = Interrupt::default().part();
        // One that waits, and one that has left the waiting to another, which keeps the pipe.
        for command in ["exec sleep 10 2>/dev/null", "sleep 10 2>/dev/null & exit 0"] {
            interrupt.resume_part();
            let source = SecretSource::Command(command.to_owned());
            thread::scope(|scope| {
                let asking = scope.spawn(|| secret(&source, &interrupt));
                thread::sleep(Duration::from_millis(50));
                interrupt.stop_part();
                let error = asking.join().unwrap().unwrap_err();
                assert!(matches!(error, CredentialError::Interrupted(_)), "{error}");
            });
        }
    }

    #[test]
    fn a_header_cannot_be_split() {
        let credentials = Credentials::Bearer {
            token: SecretSource::Inline(Secret::new("a\r\nHost: evil")),
        };
        assert!(identity(&credentials, &Interrupt::default()).is_err());
    }
}
