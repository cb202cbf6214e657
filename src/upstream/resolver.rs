//! Caches name lookups, and limits how long a request waits for one.
//!
//! The client library calls the system's resolver for each request, even if it then reuses a
//! connection. With thousands of packages and ten workers that puts load on DNS servers, and each
//! lost response costs five seconds.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use super::wire::{SLICE, interrupted};
use crate::interrupt::Interrupt;
use crate::threads::lock;

/// Long enough to avoid load, short enough to follow changes of addresses.
const CACHE_TTL: Duration = Duration::from_mins(1);
/// The system's resolver tries each of its servers several times, for five seconds each.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The capacity of the client library.
const ADDRESSES_MAX: usize = 16;

/// The host does not exist; not retried.
#[derive(Debug, thiserror::Error)]
#[error("host not found")]
pub struct UnknownHost;

/// Host and port.
type HostPort = (String, u16);
/// With the time of the lookup.
type CachedAddresses = (Instant, Vec<SocketAddr>);

pub struct CachingResolver {
    interrupt: Interrupt,
    found: Mutex<HashMap<HostPort, CachedAddresses>>,
}

impl CachingResolver {
    pub fn new(interrupt: Interrupt) -> Self {
        Self {
            interrupt,
            found: Mutex::default(),
        }
    }

    /// Runs in a separate thread, which is abandoned after a timeout: the system call cannot be
    /// cancelled.
    fn look_up(&self, host: &str, port: u16, wait: Duration) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let (sender, receiver) = channel();
        let target = (host.to_owned(), port);
        let look_up = |target: &HostPort| {
            (target.0.as_str(), target.1)
                .to_socket_addrs()
                .map(Vec::from_iter)
        };
        let waiting = target.clone();
        let started = thread::Builder::new()
            .name("resolve".to_owned())
            .spawn(move || drop(sender.send(look_up(&waiting))));
        if started.is_err() {
            // No thread can be started (ulimit -u): fall back to a lookup that cannot be cancelled.
            return look_up(&target).map_err(Error::Io);
        }
        let end = Instant::now() + wait;
        loop {
            self.interrupt.check().map_err(interrupted)?;
            if Instant::now() >= end {
                return Err(Error::Timeout(Timeout::Resolve));
            }
            match receiver.recv_timeout(SLICE) {
                Ok(Ok(addresses)) => return Ok(addresses),
                Ok(Err(error)) if is_final(&error) => {
                    return Err(Error::Io(io::Error::other(UnknownHost)));
                }
                Ok(Err(error)) => return Err(Error::Io(error)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::HostNotFound),
            }
        }
    }
}

/// The standard library reports the result of the resolver as text only. An unreachable DNS server
/// has another text.
fn is_final(error: &io::Error) -> bool {
    let text = error.to_string();
    [
        "Name or service not known",
        "No address associated with hostname",
        "Name does not resolve",
    ]
    .iter()
    .any(|verdict| text.contains(verdict))
}

impl Resolver for CachingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        // An IPv6 address is in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let key = (host.to_owned(), port);
        // Held during the lookup, so that ten workers that start together make one lookup.
        let mut found = lock(&self.found);
        let known = found.get(&key).filter(|(at, _)| at.elapsed() < CACHE_TTL);
        let addresses = if let Some((_, addresses)) = known {
            addresses.clone()
        } else {
            let wait = (*timeout.after).min(WAIT_MAX);
            let addresses = self.look_up(host, port, wait)?;
            found.insert(key, (Instant::now(), addresses.clone()));
            addresses
        };
        let mut resolved = self.empty();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            resolved.push(address);
        }
        if resolved.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(resolved)
    }
}

impl fmt::Debug for CachingResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachingResolver")
    }
}
