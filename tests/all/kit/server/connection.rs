//! One connection: reads requests, writes answers, keeps the connection alive between them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::answer::{Answer, Sending, answer};
use super::{Fault, Framing, LIMIT, Request, Site};

const MAX_HEAD: u64 = 64 * 1024;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

pub(super) fn serve(site: &Site, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
    // A client that went away is no failure of the server's: the test sees what the client says.
    drop(stream.set_nodelay(true));
    drop(stream.set_read_timeout(Some(LIMIT)));
    drop(stream.set_write_timeout(Some(LIMIT)));
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let Ok(session) = ServerConnection::new(config) else {
                return;
            };
            Box::new(StreamOwned::new(session, stream))
        }
    };
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = read_request(&mut stream) {
        match handle(site, request, stream.get_mut()) {
            Ok(After::KeepOpen) => {}
            Ok(After::Close) | Err(_) => break,
        }
    }
}

enum After {
    KeepOpen,
    Close,
}

fn handle(site: &Site, mut request: Request, stream: &mut dyn Stream) -> io::Result<After> {
    site.run_hook(&request.path);
    let options = site.0.options.lock().unwrap().clone();
    let fault = site.next_fault(&request.path);
    if matches!(fault, Some(Fault::Drop)) {
        site.0.log.lock().unwrap().push(request);
        return Ok(After::Close);
    }
    if let Some(Fault::Raw(script)) = fault {
        site.0.log.lock().unwrap().push(request);
        script(&mut RawAnswer { site, stream });
        return Ok(After::Close);
    }
    let close = !options.keep_alive || request.header("connection") == Some("close");
    let is_head = request.method == "HEAD";
    let answer = answer(site, &options, &request, fault);
    request.status = answer.status;
    site.0.log.lock().unwrap().push(request);

    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    let mut header = |name: &str, value: &str| {
        head.extend([name, ": ", value, "\r\n"]);
    };
    for (name, value) in &answer.headers {
        header(name, value);
    }
    let has_body = !is_head && answer.status != 304;
    let framing = match answer.status {
        200 => options.framing,
        _ => Framing::ContentLength,
    };
    if framing == Framing::Chunked {
        header("Transfer-Encoding", "chunked");
    } else if answer.status != 304 {
        header("Content-Length", &answer.body().len().to_string());
    }
    if close {
        header("Connection", "close");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if has_body && let After::Close = send_body(site, &answer, framing, stream)? {
        return Ok(After::Close);
    }
    stream.flush()?;
    Ok(if close { After::Close } else { After::KeepOpen })
}

/// A connection on which anything can be said.
pub struct RawAnswer<'a> {
    site: &'a Site,
    stream: &'a mut dyn Stream,
}

impl RawAnswer<'_> {
    /// False when nobody listens any more.
    pub fn send(&mut self, text: &str) -> bool {
        let sent = self.stream.write_all(text.as_bytes());
        sent.and_then(|()| self.stream.flush()).is_ok()
    }

    /// Fifty bytes a second of this text, again and again, until nobody listens.
    pub fn drip(&mut self, text: &str) {
        let start = Instant::now();
        for byte in text.chars().cycle() {
            let is_over = self.site.0.stopping.load(Ordering::SeqCst) || start.elapsed() > LIMIT;
            if is_over || !self.send(&byte.to_string()) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Says nothing until the server ends or its stalled answers are released.
    pub fn stall(&mut self) {
        self.site.stall();
    }
}

fn send_body(
    site: &Site,
    answer: &Answer,
    framing: Framing,
    stream: &mut dyn Stream,
) -> io::Result<After> {
    let body = answer.body();
    match answer.sending {
        Sending::Whole => write_part(body, framing, stream)?,
        Sending::Truncated(after) => {
            write_part(&body[..after.min(body.len())], framing, stream)?;
            stream.flush()?;
            return Ok(After::Close);
        }
        Sending::Stalled(after) => {
            let (first, rest) = body.split_at(after.min(body.len()));
            write_part(first, framing, stream)?;
            stream.flush()?;
            site.stall();
            write_part(rest, framing, stream)?;
        }
    }
    if framing == Framing::Chunked {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(After::KeepOpen)
}

fn write_part(bytes: &[u8], framing: Framing, stream: &mut dyn Stream) -> io::Result<()> {
    if framing == Framing::ContentLength {
        return stream.write_all(bytes);
    }
    for chunk in bytes.chunks(16 * 1024) {
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
    }
    Ok(())
}

/// `None` when the client closed the connection between two requests.
fn read_request(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<Option<Request>> {
    let mut stream = stream.take(MAX_HEAD);
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        path: decode(target),
        headers: Vec::new(),
        status: 0,
    };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                let name = name.to_ascii_lowercase();
                request.headers.push((name, value.trim().to_owned()));
            }
            None => return Ok(Some(request)),
        }
    }
}

/// `.` segments vanish, as on real servers: apt asks flat repositories for `/./InRelease`.
fn decode(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8_lossy();
    let segments = path.strip_prefix('/').unwrap_or(&path).split('/');
    let segments: Vec<&str> = segments.filter(|segment| *segment != ".").collect();
    segments.join("/")
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        304 => "Not Modified",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Whatever",
    }
}
