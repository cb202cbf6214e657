//! What a request is answered with: status, headers, the part of the file, and how the fault spoils
//! it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::{Auth, Fault, Options, Ranges, Request, Site, Validators};

pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    content: Arc<[u8]>,
    part: Range<usize>,
    pub sending: Sending,
}

pub(super) enum Sending {
    Whole,
    Truncated(usize),
    Stalled(usize),
}

impl Answer {
    pub fn body(&self) -> &[u8] {
        &self.content[self.part.clone()]
    }

    fn new(status: u16, content: impl Into<Arc<[u8]>>) -> Self {
        let content = content.into();
        Self {
            status,
            headers: Vec::new(),
            part: 0..content.len(),
            content,
            sending: Sending::Whole,
        }
    }

    fn plain(status: u16) -> Self {
        Self::new(status, format!("{status}\n").into_bytes())
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub(super) fn answer(
    site: &Site,
    options: &Options,
    request: &Request,
    fault: Option<Fault>,
) -> Answer {
    if let Some(refusal) = options.auth.as_ref().and_then(|auth| refuse(auth, request)) {
        return refusal;
    }
    if request.method != "GET" && request.method != "HEAD" {
        return Answer::plain(405);
    }
    let content = || site.read(&request.path);
    let (content, sending) = match fault {
        Some(Fault::Status(status)) => return Answer::plain(status),
        Some(Fault::Unavailable { retry_after }) => {
            let answer = Answer::plain(503);
            return match retry_after {
                Some(seconds) => answer.header("Retry-After", seconds.to_string()),
                None => answer,
            };
        }
        Some(Fault::Html) => {
            let page = &b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"[..];
            return Answer::new(200, page).header("Content-Type", "text/html");
        }
        Some(Fault::Redirect(url)) => return Answer::plain(302).header("Location", url),
        Some(Fault::Body(bytes)) => (Some(bytes.into()), Sending::Whole),
        Some(Fault::WrongBytes) => (content().map(|bytes| spoil(&bytes)), Sending::Whole),
        Some(Fault::Truncate(after)) => (content(), Sending::Truncated(after)),
        Some(Fault::Stall(after)) => (content(), Sending::Stalled(after)),
        Some(Fault::Drop | Fault::Raw(_)) | None => (content(), Sending::Whole),
    };
    match content {
        None => Answer::plain(404),
        Some(content) => Answer {
            sending,
            ..file(options, request, content)
        },
    }
}

/// A file: validators, 304, and the range that was asked for.
fn file(options: &Options, request: &Request, content: Arc<[u8]>) -> Answer {
    let (etag, mut modified) = validators(&content);
    let mut date = None;
    if let Some((second, later)) = options.modified {
        modified = http_date(second);
        date = Some(http_date(second + later));
    }
    let mut headers = vec![("Content-Type", "application/octet-stream".to_owned())];
    if matches!(options.validators, Validators::Both | Validators::EtagOnly) {
        headers.push(("ETag", etag));
    }
    if matches!(
        options.validators,
        Validators::Both | Validators::LastModifiedOnly
    ) {
        headers.push(("Last-Modified", modified));
    }
    headers.extend(date.map(|date| ("Date", date)));
    if options.gzip_header && is_gzip(&request.path) {
        headers.push(("Content-Encoding", "gzip".to_owned()));
    }
    let mut answer = Answer::new(200, content);
    answer.headers = headers;

    let has = |name: &str, sent: &str| {
        let mut headers = answer.headers.iter();
        headers.any(|(n, value)| *n == name && value == sent)
    };
    // Like nginx: an ETag, when sent, decides alone, and a date must be the very one.
    let unchanged = match (
        request.header("if-none-match"),
        request.header("if-modified-since"),
    ) {
        (Some(etag), _) => has("ETag", etag),
        (None, Some(date)) => has("Last-Modified", date),
        (None, None) => false,
    };
    if unchanged {
        answer.status = 304;
        answer.part = 0..0;
        return answer;
    }
    let same = request
        .header("if-range")
        .is_none_or(|validator| has("ETag", validator) || has("Last-Modified", validator));
    let len = answer.content.len();
    match request.header("range").filter(|_| same) {
        Some(range) if options.ranges != Ranges::Ignored => {
            match parse_range(range, len).filter(|_| options.ranges == Ranges::Honoured) {
                Some(part) => {
                    let value = format!("bytes {}-{}/{len}", part.start, part.end - 1);
                    answer.status = 206;
                    answer.part = part;
                    answer.header("Content-Range", value)
                }
                None => Answer::plain(416).header("Content-Range", format!("bytes */{len}")),
            }
        }
        _ => answer,
    }
}

/// Both follow from the bytes alone: other bytes have other validators, whenever they were put
/// there.
fn validators(content: &[u8]) -> (String, String) {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let hash = hasher.finish();
    let second = 1_600_000_000 + i64::from(u32::try_from(hash % 100_000_000).unwrap());
    (format!("\"{hash:016x}\""), http_date(second))
}

fn http_date(second: i64) -> String {
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&Timestamp::from_second(second).unwrap())
        .unwrap()
}

/// One range, as downloads resume with it: `bytes=100-` or `bytes=100-199`.
fn parse_range(range: &str, len: usize) -> Option<Range<usize>> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let start: usize = start.parse().ok()?;
    let end = match end {
        "" => len,
        last => last.parse::<usize>().ok()?.checked_add(1)?.min(len),
    };
    (start < end).then_some(start..end)
}

fn refuse(auth: &Auth, request: &Request) -> Option<Answer> {
    let (header, expected, refusal) = match auth {
        Auth::Basic { username, password } => {
            let pair = format!("{username}:{password}");
            let encoded = base64(pair.as_bytes());
            let refusal = Answer::plain(401).header("WWW-Authenticate", "Basic realm=\"kit\"");
            ("authorization", format!("Basic {encoded}"), refusal)
        }
        Auth::Bearer(token) => {
            let refusal = Answer::plain(401).header("WWW-Authenticate", "Bearer");
            ("authorization", format!("Bearer {token}"), refusal)
        }
        Auth::Header { name, value } => (name.as_str(), value.clone(), Answer::plain(403)),
    };
    (request.header(header) != Some(&expected)).then_some(refusal)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(if place > group.len() {
                '='
            } else {
                DIGITS[digit].into()
            });
        }
    }
    text
}

fn spoil(content: &[u8]) -> Arc<[u8]> {
    let mut spoiled = content.to_vec();
    let middle = spoiled.len() / 2;
    match spoiled.get_mut(middle) {
        Some(byte) => *byte ^= 0xff,
        None => panic!("an empty file has no wrong bytes of its size"),
    }
    spoiled.into()
}

fn is_gzip(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, end)| end == "gz")
}
