//! Names are looked up once in a while, not for every request.
//!
//! The client library asks the system's resolver each time, even when it then uses a connection that is open. With
//! thousands of packages and ten workers that is a load for resolvers, and each lost answer costs five seconds.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Long enough to spare the resolver, short enough to follow a server that moves.
const KEPT: Duration = Duration::from_mins(1);

#[derive(Default)]
pub struct CachingResolver {
    resolver: DefaultResolver,
    /// By scheme, host and port.
    found: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
}

impl Resolver for CachingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let key = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", |authority| authority.as_str())
        );
        // Held while looking up: ten workers that start together ask once.
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, addresses)) = found.get(&key)
            && at.elapsed() < KEPT
        {
            let mut resolved = self.empty();
            for address in addresses {
                resolved.push(*address);
            }
            return Ok(resolved);
        }
        let resolved = self.resolver.resolve(uri, config, timeout)?;
        found.insert(key, (Instant::now(), resolved.to_vec()));
        Ok(resolved)
    }
}

impl fmt::Debug for CachingResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachingResolver")
    }
}
