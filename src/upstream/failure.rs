//! Classifies failed requests: temporary, or permanent and caused by which setting.

use std::error::Error as _;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};
use ureq::Error;

use super::error::{TlsFailure, UpstreamError};
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

/// Detects TLS problems in the error page of status 400: servers report them only there.
pub fn failure_in_page(page: &[u8], transport: Transport) -> Option<TlsFailure> {
    /// In lowercase, from nginx, Apache and Go.
    const TLS_WANTED: [&str; 3] = [
        "plain http request was sent to https port",
        "speaking plain http to an ssl-enabled server port",
        "sent an http request to an https server",
    ];
    /// From nginx.
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
        TlsError::NoCertificatesPresented => TlsFailure::BadCertificate("none was sent".to_owned()),
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            TlsFailure::ClientCertificateWanted
        }
        // Before TLS 1.3, a missing certificate is a handshake failure.
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

/// Searches the chain of causes: the library wraps handshake errors in read and write errors.
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
        Error::HostNotFound => "the host name cannot be resolved".to_owned(),
        Error::ConnectionFailed => "connection failed".to_owned(),
        Error::Timeout(_) => "no data received within download.timeout".to_owned(),
        Error::Io(error) => explain_io(error),
        Error::Protocol(error) => format!("invalid HTTP response: {error}"),
        error => error.to_string(),
    }
}

/// Explains a failed read of a body: the library wraps its own errors.
pub fn explain_io(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) => explain(inner),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "connection closed before the transfer was complete".to_owned()
        }
        None => error.to_string(),
    }
}

/// The error of a body that could not be read.
pub fn classify_read(url: &str, error: &io::Error) -> UpstreamError {
    UpstreamError::Unreachable {
        url: url.to_owned(),
        why: explain_io(error),
    }
}
