//! Ctrl-C and SIGTERM end every wait on the network, whatever it is for.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use super::{hello, mirror_of, noise};
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::mirror::Mirror;
use crate::kit::server::{Fault, RawAnswer, Times};
use crate::kit::upstream::{Package, Upstream};

const SYNC: [&str; 4] = ["repo", "sync", "--repo-id", "r"];
/// Two seconds are promised; a machine that is busy with other tests may take longer, and 300 s is
/// what it took.
const SOON: Duration = Duration::from_secs(20);

/// Starts a sync, interrupts it once `is_waiting`, and expects it to end.
#[track_caller]
fn ends(chantal: &Chantal, is_waiting: impl Fn() -> bool) {
    let running = chantal.spawn(&SYNC);
    let start = Instant::now();
    while !is_waiting() {
        assert!(start.elapsed() < SOON, "it does not come to wait");
        thread::sleep(Duration::from_millis(5));
    }
    // Into the wait itself.
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    running.interrupt();
    running.wait().fails_with(130, "error: r: interrupted\n");
    assert!(
        start.elapsed() < SOON,
        "it waited for {:?}",
        start.elapsed()
    );
}

/// With the usual five minutes of patience.
fn patient(upstream: Upstream) -> Mirror {
    let mirror = mirror_of(upstream);
    mirror.configure("download:\n  retries: 5\n");
    mirror
}

fn stall(answer: &mut RawAnswer<'_>) {
    answer.stall();
}

#[test]
fn while_a_header_does_not_come() {
    for upstream in Upstream::both() {
        let mirror = patient(upstream.package(hello()));
        for path in [mirror.upstream.root(), mirror.built.path_of("hello")] {
            mirror.server.clear_log();
            mirror.server.fault(&path, Times::Always, Fault::Raw(stall));
            ends(&mirror.chantal, || {
                !mirror.server.requests_of(&path).is_empty()
            });
            mirror.server.clear_faults();
            mirror.server.release();
        }
    }
}

#[test]
fn while_a_body_does_not_come() {
    for upstream in Upstream::both() {
        let mirror = patient(upstream.package(hello()));
        for path in [mirror.upstream.root(), mirror.built.path_of("hello")] {
            mirror.server.clear_log();
            mirror.server.fault(&path, Times::Always, Fault::Stall(3));
            ends(&mirror.chantal, || {
                !mirror.server.requests_of(&path).is_empty()
            });
            mirror.server.clear_faults();
            mirror.server.release();
        }
    }
}

fn drip_error(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100000\r\n\r\n");
    answer.drip("x");
}

fn drip_redirect(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 302 Found\r\nLocation: InRelease\r\nContent-Length: 100000\r\n\r\n");
    answer.drip("x");
}

fn drip_header(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 200 OK\r\nX-Slow: ");
    answer.drip("x");
}

#[test]
fn while_something_drips() {
    for drip in [drip_header, drip_error, drip_redirect] {
        let mirror = patient(Upstream::deb().package(hello()));
        let root = mirror.upstream.root();
        mirror.server.fault(&root, Times::Always, Fault::Raw(drip));
        ends(&mirror.chantal, || {
            !mirror.server.requests_of(&root).is_empty()
        });
    }
}

/// A command that should print a secret may wait for a network itself.
#[test]
fn while_a_password_is_asked_for() {
    let chantal = Chantal::new();
    let asked = chantal.dir().join("asked");
    let credentials = format!(
        "credentials:\n  type: bearer\n  token_command: touch {}; exec sleep 60\n",
        asked.display()
    );
    let url = "https://127.0.0.1:1/";
    chantal.repository(&Repository::of("r", &Upstream::rpm(), url).more(&credentials));
    ends(&chantal, || asked.exists());
}

#[test]
fn while_it_waits_to_try_again() {
    let mirror = patient(Upstream::rpm().package(hello()));
    let root = mirror.upstream.root();
    let retry_after = Some(200);
    mirror
        .server
        .fault(&root, Times::Always, Fault::Unavailable { retry_after });
    ends(&mirror.chantal, || {
        !mirror.server.requests_of(&root).is_empty()
    });
}

#[test]
fn while_it_waits_for_its_own_limit() {
    let mirror =
        patient(Upstream::deb().package(Package::new("large", "1").raw(&noise(1_000_000))));
    mirror.configure("download:\n  bandwidth_limit: 1KB\n");
    let path = mirror.built.path_of("large");
    ends(&mirror.chantal, || {
        !mirror.server.requests_of(&path).is_empty()
    });
}

/// A server that accepts connections and says nothing: a TLS handshake waits.
#[test]
fn while_it_shakes_hands() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let chantal = Chantal::new();
    let url = format!("https://{}", listener.local_addr().unwrap());
    chantal.repository(&Repository::of("r", &Upstream::rpm(), &url));
    let accepted = std::cell::RefCell::new(Vec::new());
    ends(&chantal, || {
        accepted.borrow_mut().extend(listener.accept().ok());
        !accepted.borrow().is_empty()
    });
}

/// A server whose queue is full takes no connection, and refuses none.
#[test]
fn while_it_connects() {
    let (_listening, url, _queued) = full_listener();
    let chantal = Chantal::new();
    chantal.repository(&Repository::of("r", &Upstream::rpm(), &url));
    let start = Instant::now();
    // The storage is made, and the lock taken, just before.
    let lock = chantal.data().join("chantal.lock");
    ends(&chantal, || {
        lock.exists() && start.elapsed() > Duration::from_millis(500)
    });
}

fn full_listener() -> (OwnedFd, String, Vec<OwnedFd>) {
    use rustix::net::{
        AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket,
        socket_with,
    };
    let listening = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listening, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&listening, 0).unwrap();
    let address = getsockname(&listening).unwrap();
    let address = std::net::SocketAddr::try_from(address).unwrap();
    let queued = (0..8)
        .map(|_| {
            let flags = SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
            let _ = connect(&socket, &address);
            socket
        })
        .collect();
    (listening, format!("http://{address}"), queued)
}
