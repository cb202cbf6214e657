//! Paths, made absolute, and URLs, which may contain a token and hide it when printed.
//!
//! Paths are normalized as text, without the file system: `a/../b` is `b` even if `a` is a symbolic
//! link. This is what a reader of the configuration expects, and it works for paths that do not
//! exist yet.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};

use url::Url;

/// An `http` or `https` URL without user, password and fragment. Its query may contain a token and
/// is hidden when printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

/// The source of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamUrl {
    /// The path ends with `/`, so that joining keeps its last segment; the query is kept for every
    /// request.
    Http(HttpUrl),
    /// An absolute path.
    File(PathBuf),
    /// None: it is filled by imports of media.
    Media,
}

/// The source of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    Http(HttpUrl),
    /// An absolute path.
    File(PathBuf),
}

/// Messages never contain the URL, because it may contain a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LocationError {
    #[error("scheme {0:?} is not supported (supported: http, https, file and plain paths)")]
    Scheme(String),
    #[error("is not a valid URL: {0}")]
    Invalid(#[from] url::ParseError),
    #[error("a URL must not contain whitespace or control characters")]
    Blank,
    #[error("a URL must not contain credentials")]
    Credentials,
    #[error("a URL must not contain a fragment (`#...`)")]
    Fragment,
    #[error("a file URL must have the form file:///PATH, without host or query")]
    FileUrl,
    #[error("does not have the form https://HOST/PATH")]
    HttpUrl,
    #[error("looks like a URL without a scheme, but would be read as a path")]
    NoScheme,
    #[error(transparent)]
    Path(#[from] PathError),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PathError {
    #[error("is empty")]
    Empty,
    #[error("`~` is not expanded: write the full path")]
    Home,
    #[error("`${{` is only expanded in secrets and in upstream.url")]
    Variable,
    #[error("a path must not contain control characters")]
    ControlCharacter,
}

impl HttpUrl {
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Whether the connection can be read and modified in transit.
    pub fn is_plain_http(&self) -> bool {
        self.0.scheme() == "http"
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..url::Position::AfterPath])?;
        match self.0.query() {
            Some(_) => f.write_str("?[hidden]"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl UpstreamUrl {
    pub fn parse(text: &str, dir: &Path) -> Result<Self, LocationError> {
        Ok(match Location::parse(text, dir)? {
            Location::File(path) => Self::File(path),
            Location::Http(HttpUrl(mut url)) => {
                if !url.path().ends_with('/') {
                    url.set_path(&format!("{}/", url.path()));
                }
                Self::Http(HttpUrl(url))
            }
        })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::File(path) => path.display().fmt(f),
            Self::Media => f.write_str("media"),
        }
    }
}

impl KeySource {
    pub fn parse(text: &str, dir: &Path) -> Result<Self, LocationError> {
        Ok(match Location::parse(text, dir)? {
            Location::Http(url) => Self::Http(url),
            Location::File(path) => Self::File(path),
        })
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// A URL or a plain path, for upstreams and keys.
enum Location {
    Http(HttpUrl),
    File(PathBuf),
}

impl Location {
    fn parse(text: &str, dir: &Path) -> Result<Self, LocationError> {
        let scheme = scheme(text);
        if !scheme.is_some_and(|scheme| text[scheme.len()..].starts_with("://"))
            && lacks_scheme(text)
        {
            return Err(LocationError::NoScheme);
        }
        let Some(scheme) = scheme else {
            return Ok(Self::File(path(text, dir)?));
        };
        // `Url::parse` would drop them silently.
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(LocationError::Blank);
        }
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => {
                // `Url::parse` makes URLs of `https:host`, `https:///host` and `https:\\host`.
                let rest = text[scheme.len()..].strip_prefix("://");
                if text.contains('\\') || rest.is_none_or(|rest| rest.starts_with('/')) {
                    return Err(LocationError::HttpUrl);
                }
                let url = Url::parse(text)?;
                if matches!(url.host_str(), Some("http" | "https")) {
                    return Err(LocationError::HttpUrl);
                }
                if !url.username().is_empty() || url.password().is_some() {
                    return Err(LocationError::Credentials);
                }
                if url.fragment().is_some() {
                    return Err(LocationError::Fragment);
                }
                Ok(Self::Http(HttpUrl(url)))
            }
            "file" => {
                let url = Url::parse(text)?;
                let path = url.to_file_path().map_err(|()| LocationError::FileUrl)?;
                // `file:x` would parse as `file:///x`.
                if !text[scheme.len()..].starts_with("://")
                    || url.query().is_some()
                    || url.fragment().is_some()
                {
                    return Err(LocationError::FileUrl);
                }
                Ok(Self::File(path))
            }
            _ => Err(LocationError::Scheme(scheme.to_owned())),
        }
    }
}

/// The text before the first `:` if it can be a URL scheme. A path with a colon in its first
/// component is also treated as a URL and refused; write it as `./a:b`.
pub(super) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let plausible = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    plausible.then_some(scheme)
}

/// Whether a text without a scheme looks like a URL rather than a path: `//host/x`, `https//host`,
/// `deb.example.org/debian`, `192.0.2.1:8080/x`. A directory with such a name needs a leading `./`.
fn lacks_scheme(text: &str) -> bool {
    if text.starts_with("//") {
        return true;
    }
    let first = text.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = first.rsplit('@').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => authority,
    };
    let has_port = host.len() < authority.len();
    matches!(
        host.to_ascii_lowercase().as_str(),
        "http" | "https" | "localhost"
    ) || host.starts_with('[')
        || has_port && !host.is_empty()
        || host.parse::<Ipv4Addr>().is_ok()
        || is_domain_name(host.strip_suffix('.').unwrap_or(host))
}

/// At least two labels, the last one only letters: `8.1` is not a domain name.
fn is_domain_name(host: &str) -> bool {
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
    host.rsplit_once('.').is_some_and(|(name, last)| {
        last.chars().count() >= 2
            && last.chars().all(char::is_alphabetic)
            && name.split('.').all(is_label)
    })
}

/// Resolves a path in a configuration file in `dir`, which is absolute.
pub(super) fn path(text: &str, dir: &Path) -> Result<PathBuf, PathError> {
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if text == "~" || text.starts_with("~/") {
        return Err(PathError::Home);
    }
    if text.contains("${") {
        return Err(PathError::Variable);
    }
    if text.chars().any(char::is_control) {
        return Err(PathError::ControlCharacter);
    }
    Ok(normalize(&dir.join(text)))
}

/// Makes a path from the command line absolute.
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path).map(|path| normalize(&path))
}

/// Resolves `.` and `..` of an absolute path.
fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            // The parent of the root is the root.
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams() {
        let file = |path: &str| Ok(UpstreamUrl::File(PathBuf::from(path)));
        for (text, expected) in [
            ("../../pkgs/apt", file("/pkgs/apt")),
            ("./a:b", file("/etc/chantal/a:b")),
            (
                "./deb.example.org/debian",
                file("/etc/chantal/deb.example.org/debian"),
            ),
            ("debian/8.1", file("/etc/chantal/debian/8.1")),
            ("8.1/x", file("/etc/chantal/8.1/x")),
            (".hidden.dir/x", file("/etc/chantal/.hidden.dir/x")),
            ("/deb.example.org/x", file("/deb.example.org/x")),
            ("/srv/./x/", file("/srv/x")),
            ("file:///srv/with%20blank", file("/srv/with blank")),
            ("file://localhost/srv", file("/srv")),
            ("file://other/srv", Err(LocationError::FileUrl)),
            ("file:///srv?x", Err(LocationError::FileUrl)),
            ("file:srv", Err(LocationError::FileUrl)),
            ("ftp://x/y", Err(LocationError::Scheme("ftp".to_owned()))),
            ("mirror:8080/x", Err(LocationError::NoScheme)),
            ("svn:x", Err(LocationError::Scheme("svn".to_owned()))),
            ("https://a b/", Err(LocationError::Blank)),
            ("deb.example.org/debian", Err(LocationError::NoScheme)),
            ("deb.example.org", Err(LocationError::NoScheme)),
            ("deb.example.org.?x", Err(LocationError::NoScheme)),
            ("u:p@deb.example.org/x", Err(LocationError::NoScheme)),
            ("192.0.2.1/x", Err(LocationError::NoScheme)),
            ("192.0.2.1:8080/x", Err(LocationError::NoScheme)),
            ("[2001:db8::1]/x", Err(LocationError::NoScheme)),
            ("localhost/x", Err(LocationError::NoScheme)),
            ("//h/x", Err(LocationError::NoScheme)),
            ("https//h/x", Err(LocationError::NoScheme)),
            ("http/h/x", Err(LocationError::NoScheme)),
            ("http:h/x", Err(LocationError::HttpUrl)),
            ("http:/h/x", Err(LocationError::HttpUrl)),
            ("https:///h/x", Err(LocationError::HttpUrl)),
            ("https:\\\\h\\x", Err(LocationError::HttpUrl)),
            ("https://https://h/x", Err(LocationError::HttpUrl)),
            ("https://u:p@h/", Err(LocationError::Credentials)),
            ("https://u@h/", Err(LocationError::Credentials)),
            ("https://h/#x", Err(LocationError::Fragment)),
            (
                "https://h:99999/",
                Err(LocationError::Invalid(url::ParseError::InvalidPort)),
            ),
            ("", Err(LocationError::Path(PathError::Empty))),
            ("~/x", Err(LocationError::Path(PathError::Home))),
        ] {
            assert_eq!(
                UpstreamUrl::parse(text, Path::new("/etc/chantal")),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_http_upstream_keeps_its_path_and_query_and_hides_the_query() {
        for (text, url, shown) in [
            ("https://h", "https://h/", "https://h/"),
            (
                "HTTP://h/a%20b+c~d",
                "http://h/a%20b+c~d/",
                "http://h/a%20b+c~d/",
            ),
            (
                "https://h:8443/a?k3y=v/w",
                "https://h:8443/a/?k3y=v/w",
                "https://h:8443/a/?[hidden]",
            ),
        ] {
            let upstream = UpstreamUrl::parse(text, Path::new("/")).unwrap();
            assert_eq!(upstream.to_string(), shown);
            assert!(!format!("{upstream:?}").contains("k3y"));
            let UpstreamUrl::Http(http) = upstream else {
                panic!("{text} is not a path")
            };
            assert_eq!(http.as_url().as_str(), url);
        }
    }

    #[test]
    fn a_key_url_keeps_its_file_name() {
        let key = KeySource::parse("https://h/key.asc", Path::new("/")).unwrap();
        assert_eq!(key.to_string(), "https://h/key.asc");
    }

    #[test]
    fn paths_are_resolved_by_their_text() {
        for (text, expected) in [
            ("x/../y/.//z/", Ok("/etc/conf.d/y/z")),
            ("../../../../x", Ok("/x")),
            ("/a/..", Ok("/")),
            ("${HOME}/x", Err(PathError::Variable)),
            ("a\nb", Err(PathError::ControlCharacter)),
        ] {
            let got = path(text, Path::new("/etc/conf.d"));
            assert_eq!(got, expected.map(PathBuf::from), "{text:?}");
        }
    }
}
