//! Single HTTP requests: agents, credentials, redirects. No retries here.
//!
//! Credentials (a header, a client certificate) are sent only to the origin they were configured
//! for: scheme, host and port of the repository URL. Redirects are followed here, not by the client
//! library, and other hosts are accessed through a separate agent without the certificate.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::Body;
use ureq::http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER, TRANSFER_ENCODING,
};
use ureq::tls::{Certificate, ClientCert, RootCerts, TlsConfig};
use ureq::unversioned::transport::{Connector, RustlsConnector};
use url::Url;

use super::body::BodyReader;
use super::error::UpstreamError;
use super::failure::{ClientCertificate, Transport, classify};
use super::resolver::CachingResolver;
use super::validators::Validators;
use super::wire::{Deadlines, ResponseConnector, WireConnector};
use crate::interrupt::Interrupt;
use crate::rel_path::RelPath;

const REDIRECTS_MAX: u32 = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for a complete header after its first byte, and for a chain of redirects after the
/// first one.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Limits for reading an error page, so that the connection can be reused.
const ERROR_PAGE_MAX: u64 = 64 * 1024;
const ERROR_PAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Credentials for the origin.
#[derive(Clone, Default)]
pub struct Identity {
    /// Name and value of a header.
    pub header: Option<(HeaderName, String)>,
    pub certificate: Option<ClientCert>,
    /// Trusted in addition to the system's CAs, for this origin only.
    pub authorities: Vec<Certificate<'static>>,
}

/// Settings of all connections.
#[derive(Clone)]
pub struct Settings {
    /// Time without progress after which a transfer fails.
    pub timeout: Duration,
    /// Number of idle connections kept open per host.
    pub workers: usize,
    /// Trusted in addition to the system's CAs, for all hosts.
    pub authorities: Vec<Certificate<'static>>,
    /// Interrupts every wait.
    pub interrupt: Interrupt,
}

/// The HTTP client of one repository.
pub struct Http {
    origin: Url,
    identity: Identity,
    settings: Settings,
    origin_agent: OnceLock<Agent>,
    elsewhere_agent: OnceLock<Agent>,
    deadlines: Arc<Deadlines>,
}

/// Conditions of a GET request.
#[derive(Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// Request the bytes from this offset on,
    pub from: u64,
    /// if the file still has this validator.
    pub if_range: Option<&'a str>,
    pub validators: Option<&'a Validators>,
}

/// A response whose body has not been read yet.
pub struct Response {
    pub status: u16,
    /// The URL after redirects, for messages.
    pub url: String,
    pub validators: Validators,
    /// First byte and total length of a partial response.
    pub range: Option<(u64, Option<u64>)>,
    pub retry_after: Option<Duration>,
    /// Whether the server declares the length of the body, so that truncation is detected.
    pub declares_end: bool,
    pub client_certificate: ClientCertificate,
    pub transport: Transport,
    body: Body,
    timeout: Duration,
    deadlines: Arc<Deadlines>,
}

impl Response {
    pub fn reader(&mut self) -> BodyReader<'_> {
        BodyReader::new(self.body.as_reader(), self.timeout, &self.deadlines)
    }

    /// Reads the rest of a body up to a limit, so that the connection can be reused. Returns the
    /// bytes read.
    pub fn discard(mut self) -> Vec<u8> {
        use std::io::Read as _;
        self.deadlines.set(Instant::now() + ERROR_PAGE_TIMEOUT);
        let mut page = Vec::new();
        let mut rest = self.body.as_reader().take(ERROR_PAGE_MAX);
        let _ = rest.read_to_end(&mut page);
        page
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.deadlines.clear();
    }
}

impl Http {
    /// `origin` is the URL of the repository: credentials are sent to its scheme, host and port.
    pub fn new(origin: Url, identity: Identity, settings: Settings) -> Self {
        Self {
            origin,
            identity,
            settings,
            origin_agent: OnceLock::new(),
            elsewhere_agent: OnceLock::new(),
            deadlines: Arc::default(),
        }
    }

    /// The URL of a path of the repository. Every character with a special meaning is escaped: a
    /// literal `%3a` in a name is requested as `%253a`, `+` as `%2B` (S3 reads a plain one as a
    /// space). A query is kept after the path.
    pub fn url_of(&self, path: &RelPath) -> Url {
        const PLAIN: percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC
            .remove(b'/')
            .remove(b'-')
            .remove(b'.')
            .remove(b'_')
            .remove(b'~')
            .remove(b'@')
            .remove(b':')
            .remove(b'=')
            .remove(b',');
        let mut url = self.origin.clone();
        let escaped = percent_encoding::utf8_percent_encode(path.as_str(), &PLAIN);
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{escaped}"));
        url
    }

    /// One request, with its redirects. A response with any status is a success here.
    pub fn get(&self, url: &Url, conditions: Conditions<'_>) -> Result<Response, UpstreamError> {
        let mut url = url.clone();
        let mut redirected: Option<Instant> = None;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.get_once(&url, conditions)?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Ok(self.answer(&url, response));
            }
            let since = *redirected.get_or_insert_with(Instant::now);
            if since.elapsed() > HEADER_TIMEOUT {
                return Err(UpstreamError::Unreachable {
                    url: shown(&url),
                    why: format!(
                        "redirects took more than {} seconds",
                        HEADER_TIMEOUT.as_secs()
                    ),
                });
            }
            let refused = |why: &str| UpstreamError::Redirect {
                url: shown(&url),
                why: why.to_owned(),
            };
            let target = response
                .headers()
                .get(LOCATION)
                .and_then(|location| location.to_str().ok())
                .and_then(|location| url.join(location).ok())
                .ok_or_else(|| refused("the target is missing"))?;
            match (url.scheme(), target.scheme()) {
                ("http", "http" | "https") | ("https", "https") => {}
                ("https", "http") => return Err(refused("from https to http")),
                (_, scheme) => return Err(refused(&format!("to an unsupported scheme: {scheme}"))),
            }
            self.answer(&url, response).discard();
            url = target;
        }
        Err(UpstreamError::Redirect {
            url: shown(&url),
            why: format!("more than {REDIRECTS_MAX} redirects"),
        })
    }

    fn get_once(
        &self,
        url: &Url,
        conditions: Conditions<'_>,
    ) -> Result<ureq::http::Response<Body>, UpstreamError> {
        let at_origin = self.is_origin(url);
        let agent = if at_origin {
            self.origin_agent.get_or_init(|| self.agent(&self.identity))
        } else {
            self.elsewhere_agent
                .get_or_init(|| self.agent(&Identity::default()))
        };
        let mut request = agent.get(url.as_str());
        if let (true, Some((name, value))) = (at_origin, &self.identity.header) {
            request = request.header(name, value);
        }
        if conditions.from > 0 {
            request = request.header(RANGE, format!("bytes={}-", conditions.from));
            if let Some(validator) = conditions.if_range {
                request = request.header(IF_RANGE, validator);
            }
        }
        if let Some(validators) = conditions.validators {
            if let Some(etag) = &validators.etag {
                request = request.header(IF_NONE_MATCH, etag);
            }
            if let Some(last_modified) = &validators.last_modified {
                request = request.header(IF_MODIFIED_SINCE, last_modified);
            }
        }
        let wait = Instant::now() + self.settings.timeout;
        self.deadlines.set_for_response(wait, HEADER_TIMEOUT);
        request.call().map_err(|error| {
            let has_begun = self.deadlines.has_begun();
            self.deadlines.clear();
            match error {
                ureq::Error::Timeout(_) if has_begun => UpstreamError::Unreachable {
                    url: shown(url),
                    why: format!(
                        "no complete response header within {} seconds",
                        HEADER_TIMEOUT.as_secs()
                    ),
                },
                error => classify(shown(url), &error, self.client_certificate(url)),
            }
        })
    }

    fn is_origin(&self, url: &Url) -> bool {
        url.origin() == self.origin.origin()
    }

    fn client_certificate(&self, url: &Url) -> ClientCertificate {
        let has_one = self.identity.certificate.is_some() && self.is_origin(url);
        if has_one && transport(url) == Transport::Tls {
            ClientCertificate::Sent
        } else {
            ClientCertificate::NotSent
        }
    }

    fn agent(&self, identity: &Identity) -> Agent {
        let mut tls = TlsConfig::builder();
        if self.origin.scheme() == "https" || !self.settings.authorities.is_empty() {
            let loaded = rustls_native_certs::load_native_certs();
            for error in &loaded.errors {
                log::warn!("cannot read a certificate of the system's trust store: {error}");
            }
            let mut roots: Vec<_> = loaded
                .certs
                .iter()
                .map(|certificate| Certificate::from_der(certificate).to_owned())
                .collect();
            roots.extend(self.settings.authorities.iter().cloned());
            roots.extend(identity.authorities.iter().cloned());
            tls = tls.root_certs(RootCerts::Specific(Arc::new(roots)));
        }
        let tls = tls.client_cert(identity.certificate.clone()).build();
        let timeout = self.settings.timeout;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("chantal/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(timeout.min(CONNECT_TIMEOUT)))
            .timeout_send_request(Some(timeout))
            // Our own deadlines are shorter.
            .timeout_recv_response(Some(timeout + HEADER_TIMEOUT))
            .max_idle_connections(self.settings.workers.saturating_mul(2))
            .max_idle_connections_per_host(self.settings.workers)
            .input_buffer_size(crate::pool::BUFFER)
            .tls_config(tls)
            .build();
        let interrupt = &self.settings.interrupt;
        let wire = WireConnector {
            interrupt: interrupt.clone(),
            deadlines: Arc::clone(&self.deadlines),
        };
        let answers = ResponseConnector {
            deadlines: Arc::clone(&self.deadlines),
        };
        Agent::with_parts(
            config,
            wire.chain(RustlsConnector::default()).chain(answers),
            CachingResolver::new(interrupt.clone()),
        )
    }

    fn answer(&self, url: &Url, response: ureq::http::Response<Body>) -> Response {
        let header = |name: HeaderName| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let validators = Validators::of(
            header(ETAG),
            header(LAST_MODIFIED),
            header(DATE).as_deref(),
            crate::time::now(),
        );
        Response {
            status: response.status().as_u16(),
            url: shown(url),
            validators,
            range: header(CONTENT_RANGE).as_deref().and_then(content_range),
            // It may also be a date, but servers usually send seconds.
            declares_end: [CONTENT_LENGTH, TRANSFER_ENCODING]
                .iter()
                .any(|name| response.headers().contains_key(name)),
            retry_after: header(RETRY_AFTER)
                .and_then(|seconds| seconds.trim().parse().ok())
                .map(Duration::from_secs),
            client_certificate: self.client_certificate(url),
            transport: transport(url),
            body: response.into_body(),
            timeout: self.settings.timeout,
            deadlines: Arc::clone(&self.deadlines),
        }
    }
}

fn transport(url: &Url) -> Transport {
    if url.scheme() == "https" {
        Transport::Tls
    } else {
        Transport::Plain
    }
}

/// `bytes 3-9/10` gives the first byte and the total length.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

/// A URL for messages: without the query, which may contain a token, and without credentials.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(base: &str) -> Http {
        let settings = Settings {
            timeout: Duration::from_secs(1),
            workers: 1,
            authorities: Vec::new(),
            interrupt: Interrupt::default(),
        };
        Http::new(base.parse().unwrap(), Identity::default(), settings)
    }

    #[test]
    fn urls_are_escaped_once_and_keep_their_query() {
        for (base, path, url) in [
            (
                "https://h/debian/",
                "pool/g++_1%3a2~b+c_amd64.deb",
                "https://h/debian/pool/g%2B%2B_1%253a2~b%2Bc_amd64.deb",
            ),
            (
                "https://h/no-slash",
                "a b/ü",
                "https://h/no-slash/a%20b/%C3%BC",
            ),
            (
                "https://h/suse/?token=x/y",
                "repodata/repomd.xml",
                "https://h/suse/repodata/repomd.xml?token=x/y",
            ),
            ("https://h/a%20b/", "c#?d^", "https://h/a%20b/c%23%3Fd%5E"),
        ] {
            let got = http(base).url_of(&RelPath::parse(path).unwrap());
            assert_eq!(got.as_str(), url);
        }
    }

    #[test]
    fn messages_show_no_token() {
        let url = "https://user:secret@h/x?token=secret".parse().unwrap();
        assert_eq!(shown(&url), "https://h/x");
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 3-9/10"), Some((3, Some(10))));
        assert_eq!(content_range("bytes 3-9/*"), Some((3, None)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(content_range("lines 1-2/3"), None);
    }
}
