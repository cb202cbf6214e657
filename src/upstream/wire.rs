//! Connections with deadlines: every wait on the network ends at an interruption or its deadline.
//!
//! The client library has a time limit for each single read: a server that sends one byte in time
//! keeps it waiting forever, and a signal is noticed only when the read ends. Here, below TLS,
//! waits are divided into slices. The thread that makes the request sets the deadline
//! ([`Deadlines`]): the library runs in the thread of its caller.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use crate::interrupt::Interrupt;
use crate::threads::lock;

/// How often a wait checks for an interruption.
pub const SLICE: Duration = Duration::from_millis(200);

/// The deadline of each thread.
#[derive(Debug, Default)]
pub struct Deadlines {
    by_thread: Mutex<HashMap<ThreadId, Deadline>>,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    /// The time limit after the first byte of a response, until that arrives.
    from_first_byte: Option<Duration>,
    has_begun: bool,
}

impl Deadlines {
    /// Sets the deadline of the current wait of this thread.
    pub fn set(&self, at: Instant) {
        self.put(Deadline {
            at,
            from_first_byte: None,
            has_begun: false,
        });
    }

    /// The response to this thread's request must begin by `at`, and its header must be complete
    /// `header` after that.
    pub fn set_for_response(&self, at: Instant, header: Duration) {
        self.put(Deadline {
            at,
            from_first_byte: Some(header),
            has_begun: false,
        });
    }

    pub fn clear(&self) {
        self.lock().remove(&thread::current().id());
    }

    fn put(&self, deadline: Deadline) {
        self.lock().insert(thread::current().id(), deadline);
    }

    fn at(&self) -> Option<Instant> {
        self.lock()
            .get(&thread::current().id())
            .map(|deadline| deadline.at)
    }

    /// Marks the start of the response; returns whether it had not started before.
    fn response_begins(&self) -> bool {
        if let Some(deadline) = self.lock().get_mut(&thread::current().id())
            && let Some(header) = deadline.from_first_byte.take()
        {
            deadline.at = Instant::now() + header;
            deadline.has_begun = true;
            return true;
        }
        false
    }

    /// Whether the response to this thread's request has begun.
    pub fn has_begun(&self) -> bool {
        self.lock()
            .get(&thread::current().id())
            .is_some_and(|deadline| deadline.has_begun)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ThreadId, Deadline>> {
        lock(&self.by_thread)
    }
}

/// Opens connections.
pub struct WireConnector {
    pub interrupt: Interrupt,
    pub deadlines: Arc<Deadlines>,
}

impl Connector<()> for WireConnector {
    type Out = Wire;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Wire>, Error> {
        let until = until(details.timeout, None);
        let mut failed = None;
        for (tried, address) in details.addrs.iter().enumerate() {
            // The remaining addresses share the remaining time: one that does not respond must not
            // use all of it.
            let left = u32::try_from(details.addrs.len() - tried).unwrap_or(1);
            let now = Instant::now();
            let share = until.map(|until| now + until.saturating_duration_since(now) / left);
            match connect(*address, share, &self.interrupt) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(SLICE))?;
                    stream.set_write_timeout(Some(SLICE))?;
                    let config = details.config;
                    return Ok(Some(Wire {
                        stream,
                        buffers: LazyBuffers::new(
                            config.input_buffer_size(),
                            config.output_buffer_size(),
                        ),
                        interrupt: self.interrupt.clone(),
                        deadlines: Arc::clone(&self.deadlines),
                        unwritten: None,
                    }));
                }
                Err(error) => failed = Some(error),
            }
            self.interrupt.check().map_err(interrupted)?;
        }
        Err(failed.unwrap_or(Error::ConnectionFailed))
    }
}

impl fmt::Debug for WireConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireConnector")
    }
}

/// Non-blocking: the system takes minutes to give up on a host that does not respond.
fn connect(
    address: SocketAddr,
    until: Option<Instant>,
    interrupt: &Interrupt,
) -> Result<TcpStream, Error> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(io::Error::from)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => loop {
            interrupt.check().map_err(interrupted)?;
            let wait = slice(until, Timeout::Connect)?;
            let mut polled = [PollFd::new(&socket, PollFlags::OUT)];
            let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
            match poll(&mut polled, Some(&wait)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => break,
                Err(error) => return Err(io::Error::from(error).into()),
            }
        },
        Err(error) => return Err(io::Error::from(error).into()),
    }
    rustix::net::sockopt::socket_error(socket.as_fd())
        .map_err(io::Error::from)?
        .map_err(io::Error::from)?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A connection.
pub struct Wire {
    stream: TcpStream,
    buffers: LazyBuffers,
    interrupt: Interrupt,
    deadlines: Arc<Deadlines>,
    /// Why the request could not be sent. A server that rejects a request early closes the
    /// connection, but its response, or its alert about a client certificate, can still be read.
    unwritten: Option<io::Error>,
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let until = until(timeout, self.deadlines.at());
        let mut sent = 0;
        while sent < amount && self.unwritten.is_none() {
            self.interrupt.check().map_err(interrupted)?;
            slice(until, timeout.reason)?;
            match self.stream.write(&self.buffers.output()[sent..amount]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => sent += written,
                Err(error) if is_pause(&error) => {}
                Err(error) => self.unwritten = Some(error),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let until = until(timeout, self.deadlines.at());
        loop {
            self.interrupt.check().map_err(interrupted)?;
            slice(until, timeout.reason)?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(read) => {
                    self.buffers.input_appended(read);
                    return match self.unwritten.take() {
                        Some(why) if read == 0 => Err(why.into()),
                        _ => Ok(read > 0),
                    };
                }
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(self.unwritten.take().unwrap_or(error).into()),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // A closed connection has an end of file; one with unexpected data must not be reused.
        let mut polled = [PollFd::new(&self.stream, PollFlags::IN)];
        let is_silent = matches!(poll(&mut polled, Some(&Timespec::default())), Ok(0));
        is_silent && self.unwritten.is_none()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// Detects the start of responses. It has to be above TLS: the session tickets that a server sends
/// after a handshake are not a response, and a cache may wait for its own upstream for a long time
/// after that.
#[derive(Debug)]
pub struct ResponseConnector {
    pub deadlines: Arc<Deadlines>,
}

/// A connection that receives responses.
pub struct ResponseTransport<T> {
    inner: T,
    deadlines: Arc<Deadlines>,
}

impl<In: Transport> Connector<In> for ResponseConnector {
    type Out = ResponseTransport<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| ResponseTransport {
            inner,
            deadlines: Arc::clone(&self.deadlines),
        }))
    }
}

impl<T: Transport> Transport for ResponseTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let came = self.inner.await_input(timeout)?;
        if came && self.deadlines.response_begins() && !self.is_tls() {
            // RFC 8446, 5.1: an alert, of any version up to 1.3.
            if self.buffers().input().starts_with(&[21, 3]) {
                return Err(Error::Other(Box::new(ExpectsTls)));
            }
        }
        Ok(came)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl<T> fmt::Debug for ResponseTransport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseTransport")
    }
}

/// The response to plain HTTP is a TLS message.
#[derive(Debug, thiserror::Error)]
#[error("the server requires TLS")]
pub struct ExpectsTls;

/// The earlier of the library's deadline and ours.
fn until(timeout: NextTimeout, ours: Option<Instant>) -> Option<Instant> {
    let theirs = (!timeout.after.is_not_happening())
        .then(|| Instant::now().checked_add(*timeout.after))
        .flatten();
    match (theirs, ours) {
        (Some(theirs), Some(ours)) => Some(theirs.min(ours)),
        (theirs, ours) => theirs.or(ours),
    }
}

/// The length of the next slice.
fn slice(until: Option<Instant>, reason: Timeout) -> Result<Duration, Error> {
    let Some(until) = until else {
        return Ok(SLICE);
    };
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::Timeout(reason));
    }
    Ok(left.min(SLICE))
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// The caller checks [`Interrupt::check`] before this error.
pub fn interrupted(error: crate::interrupt::Interrupted) -> Error {
    Error::Io(io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use ureq::Agent;
    use ureq::tls::TlsConfig;
    use ureq::unversioned::transport::RustlsConnector;

    use super::*;
    use crate::upstream::resolver::CachingResolver;

    const HEADER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    #[derive(Clone, Copy, Debug)]
    enum Line {
        Plain,
        Tls,
    }

    /// A server of TLS 1.3 sends tickets right after the handshake.
    fn tls_config() -> Arc<rustls::ServerConfig> {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = rustls::crypto::ring::default_provider();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into());
        Arc::new(config.unwrap())
    }

    /// Answers one request after `silence`, with `pause` before each further byte of the header.
    fn serve(line: Line, silence: Duration, pause: Duration) -> (String, JoinHandle<()>) {
        fn answer(mut stream: impl Read + Write, silence: Duration, pause: Duration) {
            let _ = stream.read(&mut [0; 4096]);
            thread::sleep(silence);
            for byte in HEADER {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(pause);
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            match line {
                Line::Plain => answer(stream, silence, pause),
                Line::Tls => {
                    let session = rustls::ServerConnection::new(tls_config()).unwrap();
                    answer(rustls::StreamOwned::new(session, stream), silence, pause);
                }
            }
        });
        let scheme = match line {
            Line::Plain => "http",
            Line::Tls => "https",
        };
        (format!("{scheme}://{address}/"), serving)
    }

    /// Waits a second for an answer, and 300 ms for its header.
    fn request(url: &str, interrupt: &Interrupt) -> Result<(), Error> {
        let deadlines = Arc::new(Deadlines::default());
        let wire = WireConnector {
            interrupt: interrupt.clone(),
            deadlines: Arc::clone(&deadlines),
        };
        let answers = ResponseConnector {
            deadlines: Arc::clone(&deadlines),
        };
        let tls = TlsConfig::builder().disable_verification(true).build();
        let config = Agent::config_builder()
            .timeout_recv_response(Some(Duration::from_mins(1)))
            .tls_config(tls)
            .build();
        let resolver = CachingResolver::new(interrupt.clone());
        let chain = wire.chain(RustlsConnector::default()).chain(answers);
        let agent = Agent::with_parts(config, chain, resolver);
        let wait = Instant::now() + Duration::from_secs(1);
        deadlines.set_for_response(wait, Duration::from_millis(300));
        agent.get(url).call().map(drop)
    }

    #[test]
    fn a_header_has_its_time_from_its_first_byte_on() {
        let interrupt = Interrupt::default();
        let millis = Duration::from_millis;
        for line in [Line::Plain, Line::Tls] {
            // Silence is not slowness: caches that fetch on demand are silent for long.
            let (url, serving) = serve(line, millis(600), millis(0));
            request(&url, &interrupt).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            serving.join().unwrap();
            for (silence, pause) in [(millis(1200), millis(0)), (millis(0), millis(50))] {
                let (url, serving) = serve(line, silence, pause);
                let error = request(&url, &interrupt).unwrap_err();
                assert!(matches!(error, Error::Timeout(_)), "{line:?}: {error}");
                serving.join().unwrap();
            }
        }
    }

    /// The server does not read what it refuses: sending that fails, and the answer is there all
    /// the same.
    #[test]
    fn an_answer_that_came_before_the_request_was_sent_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let interrupt = Interrupt::default();
        let mut wire = Wire {
            stream: TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
            buffers: LazyBuffers::new(1024, 1024),
            interrupt,
            deadlines: Arc::default(),
            unwritten: None,
        };
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(HEADER).unwrap();
        drop(server);
        let timeout = NextTimeout::default();
        for _ in 0..3 {
            wire.transmit_output(1024, timeout).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        assert!(wire.unwritten.is_some(), "{url}");
        assert!(wire.await_input(timeout).unwrap());
        assert_eq!(wire.buffers().input(), HEADER);
        assert!(!wire.is_open());
    }

    #[test]
    fn what_was_interrupted_does_not_wait() {
        let interrupt = Interrupt::default();
        interrupt.stop_part();
        let (url, serving) = serve(Line::Plain, Duration::ZERO, Duration::ZERO);
        request(&url, &interrupt).unwrap_err();
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        drop(TcpStream::connect(address));
        serving.join().unwrap();
    }
}
