//! What a failed request means: worth another attempt, or wrong for good, and then by which setting.

use std::error::Error as _;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};
use ureq::Error;

use super::UpstreamError;
use super::resolver::UnknownHost;
use super::wire::ExpectsTls;

/// Whether a client certificate was offered with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    Sent,
    NotSent,
}

/// What a request went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

pub fn classify(url: String, error: &Error, certificate: ClientCertificate) -> UpstreamError {
    if let Some(tls) = tls_error(error)
        && let Some(why) = final_tls(tls, certificate)
    {
        return UpstreamError::Tls { url, why };
    }
    if let Error::Io(error) = error
        && let Some(inner) = error.get_ref()
        && inner.is::<UnknownHost>()
    {
        return UpstreamError::UnknownHost { url };
    }
    if let Error::Other(inner) = error
        && inner.is::<ExpectsTls>()
    {
        let why = TlsFailure::TlsWanted;
        return UpstreamError::Tls { url, why };
    }
    let why = explain(error);
    UpstreamError::Unreachable { url, why }
}

/// What a page that comes with status 400 says of the connection. Servers have no other way to say it.
pub fn failure_in_page(page: &[u8], transport: Transport) -> Option<TlsFailure> {
    /// In lower case, of nginx, Apache and Go.
    const TLS_WANTED: [&str; 3] = [
        "plain http request was sent to https port",
        "speaking plain http to an ssl-enabled server port",
        "sent an http request to an https server",
    ];
    /// Of nginx.
    const CERTIFICATE_WANTED: &str = "no required ssl certificate was sent";
    let page = String::from_utf8_lossy(page).to_ascii_lowercase();
    match transport {
        Transport::Tls => {
            let is_wanted = page.contains(CERTIFICATE_WANTED);
            is_wanted.then_some(TlsFailure::ClientCertificateWanted)
        }
        Transport::Plain => {
            let is_wanted = TLS_WANTED.iter().any(|words| page.contains(words));
            is_wanted.then_some(TlsFailure::TlsWanted)
        }
    }
}

/// Why a TLS connection cannot be had however often it is tried.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TlsFailure {
    #[error("its certificate is not signed by a trusted authority")]
    UnknownIssuer,
    #[error("its certificate is for another name")]
    OtherName,
    #[error("its certificate has expired")]
    Expired,
    #[error("its certificate is not valid yet")]
    NotValidYet,
    #[error("its certificate is not usable: {0}")]
    BadCertificate(String),
    #[error("it wants a client certificate")]
    ClientCertificateWanted,
    #[error("it refuses the client certificate: {0}")]
    ClientCertificateRefused(String),
    #[error("it does not speak TLS")]
    NotTls,
    #[error("it expects TLS")]
    TlsWanted,
}

fn final_tls(error: &TlsError, certificate: ClientCertificate) -> Option<TlsFailure> {
    Some(match error {
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => TlsFailure::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFailure::OtherName
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsFailure::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFailure::NotValidYet
            }
            other => TlsFailure::BadCertificate(other.to_string()),
        },
        TlsError::NoCertificatesPresented => {
            TlsFailure::BadCertificate("none was presented".to_owned())
        }
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            TlsFailure::ClientCertificateWanted
        }
        // Before TLS 1.3 a missing certificate is a failed handshake.
        TlsError::AlertReceived(AlertDescription::HandshakeFailure)
            if certificate == ClientCertificate::NotSent =>
        {
            return None;
        }
        TlsError::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure),
        ) if certificate == ClientCertificate::Sent => {
            TlsFailure::ClientCertificateRefused(format!("{alert:?}"))
        }
        TlsError::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => TlsFailure::NotTls,
        _ => return None,
    })
}

/// Somewhere in the chain: the library wraps errors of a handshake in those of reading and writing.
fn tls_error(error: &Error) -> Option<&TlsError> {
    match error {
        Error::Rustls(error) => Some(error),
        Error::Io(error) => tls_error_in(error),
        _ => None,
    }
}

fn tls_error_in(error: &io::Error) -> Option<&TlsError> {
    let mut inner: Option<&(dyn std::error::Error + 'static)> = match error.get_ref() {
        Some(inner) => Some(inner),
        None => error.source(),
    };
    while let Some(error) = inner {
        if let Some(found) = error.downcast_ref::<TlsError>() {
            return Some(found);
        }
        if let Some(found) = error.downcast_ref::<Error>() {
            return tls_error(found);
        }
        inner = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn explain(error: &Error) -> String {
    match error {
        Error::HostNotFound => "the host name does not resolve".to_owned(),
        Error::ConnectionFailed => "the connection failed".to_owned(),
        Error::Timeout(_) => "nothing came within download.timeout".to_owned(),
        Error::Io(error) => explain_io(error),
        Error::Protocol(error) => format!("its answer is not HTTP as it should be: {error}"),
        error => error.to_string(),
    }
}

/// Why a body could not be read to its end: the library's own errors come wrapped.
pub fn explain_io(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) => explain(inner),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection ended too early".to_owned()
        }
        None => error.to_string(),
    }
}

/// A body that could not be read: a TLS alert may come only with the first byte of an answer.
pub fn classify_read(url: &str, error: &io::Error) -> UpstreamError {
    UpstreamError::Unreachable {
        url: url.to_owned(),
        why: explain_io(error),
    }
}
