//! An HTTP/1.1 server on the loopback interface that behaves as well, or as badly, as a test needs.
//!
//! [`Server`] owns the listener and its threads and ends them when dropped, stalled answers
//! included. [`Site`] is what it serves and how; it can be cloned into hooks and threads.

mod answer;
mod connection;

use std::collections::{BTreeMap, HashMap};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::tls::{Authority, ClientCertificate, Identity};
use super::tree::Tree;

pub use connection::RawAnswer;

/// No wait of the server outlasts this, whatever a test forgets.
const LIMIT: Duration = Duration::from_mins(1);

/// What goes wrong with a path.
#[derive(Clone, Debug)]
pub enum Fault {
    Status(u16),
    /// 503, perhaps with a `Retry-After` in seconds.
    Unavailable {
        retry_after: Option<u32>,
    },
    /// The body ends after this many bytes, though `Content-Length` promises all.
    Truncate(usize),
    /// The body pauses after this many bytes until [`Site::release`] or the server's end.
    Stall(usize),
    /// The right size, other bytes, another validator.
    WrongBytes,
    Body(Vec<u8>),
    /// 200 with a page for people, as login portals answer.
    Html,
    /// 302 to this URL.
    Redirect(String),
    /// The connection ends without an answer.
    Drop,
    /// Whatever this writes, and the connection ends.
    Raw(fn(&mut RawAnswer<'_>)),
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    First(usize),
    Always,
}

/// What the server does with `Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    Honoured,
    /// Answers 200 with everything.
    Ignored,
    /// Answers 416 to every range.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validators {
    Both,
    EtagOnly,
    LastModifiedOnly,
    /// Neither sent nor honoured.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    ContentLength,
    Chunked,
}

/// Without the right one the answer is 401, or 403 for a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    Basic { username: String, password: String },
    Bearer(String),
    Header { name: String, value: String },
}

#[derive(Clone, Debug)]
pub struct Options {
    pub ranges: Ranges,
    pub validators: Validators,
    pub framing: Framing,
    /// Stored `.gz` files get `Content-Encoding: gzip`, as misconfigured servers send it.
    pub gzip_header: bool,
    pub keep_alive: bool,
    pub auth: Option<Auth>,
    /// `Last-Modified` of everything, and how many seconds later `Date` says it is; else both
    /// follow from the content.
    pub modified: Option<(i64, i64)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ranges: Ranges::Honoured,
            validators: Validators::Both,
            framing: Framing::ContentLength,
            gzip_header: false,
            keep_alive: true,
            auth: None,
            modified: None,
        }
    }
}

/// A request and the status of its answer; 0 when there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// As sent, with its query: `/a%2bb?token`.
    pub target: String,
    /// Decoded, without the leading slash, `.` segments and the query: `a+b`.
    pub path: String,
    /// Names in lowercase, in the order sent.
    pub headers: Vec<(String, String)>,
    pub status: u16,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

type Hook = Box<dyn FnOnce() + Send>;

enum Content {
    Memory(Tree),
    Disk(PathBuf),
}

struct Shared {
    content: Mutex<Content>,
    options: Mutex<Options>,
    faults: Mutex<HashMap<String, Vec<(Times, Fault)>>>,
    hooks: Mutex<HashMap<String, Vec<Hook>>>,
    log: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    stopping: AtomicBool,
    /// Counts releases, so that an answer stalls until the next one.
    releases: Mutex<usize>,
    released: Condvar,
}

/// What a server serves and how. Paths have no leading slash.
#[derive(Clone)]
pub struct Site(Arc<Shared>);

impl Site {
    /// Replaces everything between two requests.
    pub fn swap(&self, tree: Tree) {
        *self.0.content.lock().unwrap() = Content::Memory(tree);
    }

    pub fn edit(&self, change: impl FnOnce(&mut Tree)) {
        match &mut *self.0.content.lock().unwrap() {
            Content::Memory(tree) => change(tree),
            Content::Disk(dir) => panic!("edit the files in {}", dir.display()),
        }
    }

    pub fn configure(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.0.options.lock().unwrap());
    }

    /// Faults of one path strike in the order they were added, each until it is used up.
    pub fn fault(&self, path: &str, times: Times, fault: Fault) {
        let mut faults = self.0.faults.lock().unwrap();
        faults
            .entry(path.to_owned())
            .or_default()
            .push((times, fault));
    }

    pub fn clear_faults(&self) {
        self.0.faults.lock().unwrap().clear();
    }

    /// Runs once, before the next request of `path` is answered. Several hooks of a path run at one
    /// request each.
    pub fn on_request(&self, path: &str, hook: impl FnOnce() + Send + 'static) {
        let mut hooks = self.0.hooks.lock().unwrap();
        hooks
            .entry(path.to_owned())
            .or_default()
            .push(Box::new(hook));
    }

    /// Lets every stalled answer go on.
    pub fn release(&self) {
        *self.0.releases.lock().unwrap() += 1;
        self.0.released.notify_all();
    }

    /// All requests since the start or [`Site::clear_log`]. One is entered before its body is sent.
    pub fn requests(&self) -> Vec<Request> {
        self.0.log.lock().unwrap().clone()
    }

    pub fn requests_of(&self, path: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|r| r.path == path);
        requests
    }

    /// `GET InRelease 200`, one line per request, sorted: parallel downloads come in any order.
    pub fn request_lines(&self) -> Vec<String> {
        let requests = self.requests();
        let mut lines: Vec<String> = requests
            .iter()
            .map(|r| format!("{} {} {}", r.method, r.path, r.status))
            .collect();
        lines.sort();
        lines
    }

    pub fn clear_log(&self) {
        self.0.log.lock().unwrap().clear();
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Waits until `path` was asked for `count` times: the moment to kill a client.
    #[track_caller]
    pub fn wait_for(&self, path: &str, count: usize) {
        let start = Instant::now();
        while self.requests_of(path).len() < count {
            assert!(
                start.elapsed() < LIMIT,
                "{path} was not requested {count} times, only: {:#?}",
                self.request_lines()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn next_fault(&self, path: &str) -> Option<Fault> {
        let mut faults = self.0.faults.lock().unwrap();
        let (times, fault) = faults
            .get_mut(path)?
            .iter_mut()
            .find(|(times, _)| *times != Times::First(0))?;
        if let Times::First(left) = times {
            *left -= 1;
        }
        Some(fault.clone())
    }

    fn run_hook(&self, path: &str) {
        let hook = {
            let mut hooks = self.0.hooks.lock().unwrap();
            match hooks.get_mut(path) {
                Some(waiting) if !waiting.is_empty() => waiting.remove(0),
                _ => return,
            }
        };
        hook();
    }

    fn read(&self, path: &str) -> Option<Arc<[u8]>> {
        match &*self.0.content.lock().unwrap() {
            Content::Memory(tree) => tree.find(path),
            Content::Disk(_) if path.split('/').any(|segment| segment == "..") => None,
            Content::Disk(dir) => std::fs::read(dir.join(path)).ok().map(Arc::from),
        }
    }

    fn stall(&self) {
        let releases = self.0.releases.lock().unwrap();
        let before = *releases;
        let held = |now: &mut usize| *now == before && !self.0.stopping.load(Ordering::SeqCst);
        drop(
            self.0
                .released
                .wait_timeout_while(releases, LIMIT, held)
                .unwrap(),
        );
    }
}

/// A running server; everything it does to its [`Site`] can be reached through it.
pub struct Server {
    site: Site,
    address: SocketAddr,
    scheme: &'static str,
    accepting: Option<JoinHandle<()>>,
}

impl Deref for Server {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Server {
    pub fn start(tree: Tree) -> Self {
        Self::listen(Content::Memory(tree), None)
    }

    /// Serves the files of a directory as they are at each request.
    pub fn start_dir(dir: &Path) -> Self {
        Self::listen(Content::Disk(dir.to_owned()), None)
    }

    pub fn start_tls(tree: Tree, authority: &Authority, client: ClientCertificate) -> Self {
        Self::start_tls_as(tree, authority, &authority.server(), client)
    }

    /// With this certificate.
    pub fn start_tls_as(
        tree: Tree,
        authority: &Authority,
        identity: &Identity,
        client: ClientCertificate,
    ) -> Self {
        let config = authority.server_config(identity, client);
        Self::listen(Content::Memory(tree), Some(config))
    }

    /// `http://127.0.0.1:PORT`, without a trailing slash.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// For hooks and threads.
    pub fn site(&self) -> Site {
        self.site.clone()
    }

    fn listen(content: Content, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Site(Arc::new(Shared {
            content: Mutex::new(content),
            options: Mutex::default(),
            faults: Mutex::default(),
            hooks: Mutex::default(),
            log: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            releases: Mutex::default(),
            released: Condvar::new(),
        }));
        Self {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            site: site.clone(),
            accepting: Some(spawn("accept", move || {
                accept(&listener, &site, tls.as_ref());
            })),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.site.0.stopping.store(true, Ordering::SeqCst);
        self.site.release();
        // Wakes the listener; without it nobody would see the flag.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.accepting.take() {
            drop(thread.join());
        }
    }
}

fn accept(listener: &TcpListener, site: &Site, tls: Option<&Arc<ServerConfig>>) {
    let mut open: BTreeMap<usize, (TcpStream, JoinHandle<()>)> = BTreeMap::new();
    for stream in listener.incoming() {
        if site.0.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let number = site.0.connections.fetch_add(1, Ordering::SeqCst);
        let (Ok(handle), Ok(end)) = (stream.try_clone(), stream.try_clone()) else {
            continue;
        };
        let (site, tls) = (site.clone(), tls.cloned());
        let thread = spawn(&format!("connection-{number}"), move || {
            connection::serve(&site, stream, tls);
            // The listener's handle would keep it open.
            drop(end.shutdown(Shutdown::Both));
        });
        open.retain(|_, (_, thread)| !thread.is_finished());
        open.insert(number, (handle, thread));
    }
    for (stream, thread) in open.into_values() {
        drop(stream.shutdown(Shutdown::Both));
        drop(thread.join());
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(work).unwrap()
}
