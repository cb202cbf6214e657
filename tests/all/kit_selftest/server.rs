//! What goes over the wire, byte by byte where it matters.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::kit::server::{Auth, Fault, Framing, Ranges, Server, Times, Validators};
use crate::kit::tls::{Authority, ClientCertificate, Identity};
use crate::kit::tree::Tree;

fn tree(files: &[(&str, &[u8])]) -> Tree {
    let mut tree = Tree::new();
    for (path, bytes) in files {
        tree.insert(path, *bytes);
    }
    tree
}

/// Sends requests as they are and reads until the server closes.
fn raw(server: &Server, requests: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// One request with `Connection: close` and these header lines; the answer's head and body.
fn get(server: &Server, target: &str, headers: &[&str]) -> (String, String) {
    request(server, "GET", target, headers)
}

fn request(server: &Server, method: &str, target: &str, headers: &[&str]) -> (String, String) {
    let headers = headers.join("\r\n");
    let end = if headers.is_empty() { "" } else { "\r\n" };
    let answer = raw(
        server,
        &format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}{end}\r\n"
        ),
    );
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) => (head.to_owned(), body.to_owned()),
        None => (answer, String::new()),
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    match lines.find(|(n, _)| *n == name) {
        Some((_, value)) => value,
        None => panic!("no {name} in {head}"),
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn several_requests_share_a_connection() {
    let server = Server::start(tree(&[("a", b"first"), ("b", b"second")]));
    let answers = raw(
        &server,
        "GET /a HTTP/1.1\r\n\r\nHEAD /b HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n\
         GET /none HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    assert!(answers.contains("first") && answers.contains("second"));
    assert_eq!(answers.matches("second").count(), 1, "HEAD has no body");
    assert_eq!(
        server.request_lines(),
        ["GET a 200", "GET b 200", "GET none 404", "HEAD b 200"]
    );
    assert_eq!(server.connections(), 1);
}

#[test]
fn paths_are_decoded_once_and_queries_are_not_part_of_them() {
    let server = Server::start(tree(&[("a+b~1%3a2/c d", b"x")]));
    let (head, _) = get(&server, "/a+b~1%253a2/c%20d?token=1", &[]);
    assert_eq!(status(&head), 200);
    let request = &server.requests()[0];
    assert_eq!(request.target, "/a+b~1%253a2/c%20d?token=1");
    assert_eq!(request.path, "a+b~1%3a2/c d");
    assert_eq!(request.header("Host"), Some("x"));
}

#[test]
fn ranges() {
    let server = Server::start(tree(&[("a", b"0123456789")]));
    for (range, expected_status, content_range, body) in [
        ("bytes=4-", 206, "bytes 4-9/10", "456789"),
        ("bytes=4-6", 206, "bytes 4-6/10", "456"),
        ("bytes=4-99", 206, "bytes 4-9/10", "456789"),
        ("bytes=10-", 416, "bytes */10", "416\n"),
    ] {
        let (head, got) = get(&server, "/a", &[&format!("Range: {range}")]);
        assert_eq!(status(&head), expected_status, "{range}");
        assert_eq!(header(&head, "Content-Range"), content_range);
        assert_eq!(got, body);
    }
    let etag = header(&get(&server, "/a", &[]).0, "ETag").to_owned();
    let resumed = get(
        &server,
        "/a",
        &["Range: bytes=4-", &format!("If-Range: {etag}")],
    );
    assert_eq!(status(&resumed.0), 206);
    server.edit(|tree| tree.insert("a", "abcdefghij"));
    let changed = get(
        &server,
        "/a",
        &["Range: bytes=4-", &format!("If-Range: {etag}")],
    );
    assert_eq!(
        (status(&changed.0), changed.1.as_str()),
        (200, "abcdefghij")
    );

    server.configure(|options| options.ranges = Ranges::Ignored);
    let (head, body) = get(&server, "/a", &["Range: bytes=4-"]);
    assert_eq!((status(&head), body.as_str()), (200, "abcdefghij"));
    server.configure(|options| options.ranges = Ranges::Refused);
    assert_eq!(status(&get(&server, "/a", &["Range: bytes=4-"]).0), 416);
}

#[test]
fn validators_answer_304_until_the_bytes_change() {
    let server = Server::start(tree(&[("a", b"one")]));
    let (head, _) = get(&server, "/a", &[]);
    let conditions = [
        format!("If-None-Match: {}", header(&head, "ETag")),
        format!("If-Modified-Since: {}", header(&head, "Last-Modified")),
    ];
    for condition in &conditions {
        let (head, body) = get(&server, "/a", &[condition]);
        assert_eq!((status(&head), body.as_str()), (304, ""));
    }
    server.swap(tree(&[("a", b"two")]));
    for condition in &conditions {
        assert_eq!(status(&get(&server, "/a", &[condition]).0), 200);
    }
    server.swap(tree(&[("a", b"one")]));
    server.configure(|options| options.validators = Validators::LastModifiedOnly);
    assert_eq!(status(&get(&server, "/a", &[&conditions[0]]).0), 200);
    assert_eq!(status(&get(&server, "/a", &[&conditions[1]]).0), 304);
    server.configure(|options| options.validators = Validators::None);
    let (head, _) = get(&server, "/a", &[&conditions[1]]);
    assert!(status(&head) == 200 && !head.contains("ETag") && !head.contains("Last-Modified"));
}

#[test]
fn faults_strike_in_order_and_end() {
    let server = Server::start(tree(&[("a", b"content")]));
    server.fault("a", Times::First(1), Fault::Status(404));
    let retry_after = Some(7);
    server.fault("a", Times::First(2), Fault::Unavailable { retry_after });
    let statuses: Vec<u16> = (0..4)
        .map(|_| {
            let (head, _) = get(&server, "/a", &[]);
            if status(&head) == 503 {
                assert_eq!(header(&head, "Retry-After"), "7");
            }
            status(&head)
        })
        .collect();
    assert_eq!(statuses, [404, 503, 503, 200]);

    server.fault("a", Times::Always, Fault::Drop);
    for _ in 0..2 {
        assert_eq!(get(&server, "/a", &[]), Default::default());
    }
    assert_eq!(server.requests_of("a").last().unwrap().status, 0);
    server.clear_faults();
    assert_eq!(get(&server, "/a", &[]).1, "content");
}

#[test]
fn bodies_can_be_spoiled() {
    let server = Server::start(tree(&[("a", b"content")]));
    let once = Times::First(1);
    server.fault("a", once, Fault::Truncate(3));
    let (head, body) = get(&server, "/a", &[]);
    assert_eq!(
        (header(&head, "Content-Length"), body.as_str()),
        ("7", "con")
    );

    server.fault("a", once, Fault::WrongBytes);
    let (head, body) = get(&server, "/a", &[]);
    assert_eq!(header(&head, "Content-Length"), "7");
    assert_ne!(body, "content");

    server.fault("a", once, Fault::Body(b"other".to_vec()));
    assert_eq!(get(&server, "/a", &[]).1, "other");

    server.fault("a", once, Fault::Html);
    let (head, body) = get(&server, "/a", &[]);
    assert_eq!(header(&head, "Content-Type"), "text/html");
    assert!(status(&head) == 200 && body.starts_with("<!DOCTYPE html>"));

    server.fault("a", once, Fault::Redirect("http://other/".to_owned()));
    assert_eq!(
        header(&get(&server, "/a", &[]).0, "Location"),
        "http://other/"
    );
}

#[test]
fn a_stalled_answer_ends_when_released_or_when_the_server_ends() {
    let server = Server::start(tree(&[("a", b"content")]));
    server.fault("a", Times::Always, Fault::Stall(3));
    let site = server.site();
    let releasing = std::thread::spawn(move || {
        site.wait_for("a", 1);
        std::thread::sleep(Duration::from_millis(50));
        site.release();
    });
    assert_eq!(get(&server, "/a", &[]).1, "content");
    releasing.join().unwrap();

    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET /a HTTP/1.1\r\n\r\n").unwrap();
    server.wait_for("a", 2);
    drop(server);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn hooks_change_the_upstream_between_two_requests() {
    let server = Server::start(tree(&[("root", b"old"), ("index", b"old")]));
    let site = server.site();
    server.on_request("index", move || site.swap(tree(&[("root", b"new")])));
    assert_eq!(get(&server, "/root", &[]).1, "old");
    assert_eq!(status(&get(&server, "/index", &[]).0), 404);
    assert_eq!(get(&server, "/root", &[]).1, "new");
}

#[test]
fn chunked_and_with_an_encoding_header() {
    let content = vec![b'x'; 40_000];
    let server = Server::start(tree(&[("a.gz", &content)]));
    server.configure(|options| {
        options.framing = Framing::Chunked;
        options.gzip_header = true;
    });
    let mut response = ureq::get(format!("{}/a.gz", server.url())).call().unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    assert_eq!(response.body_mut().read_to_vec().unwrap(), content);
    server.fault("a.gz", Times::Always, Fault::Truncate(20_000));
    let (_, body) = get(&server, "/a.gz", &[]);
    assert!(body.len() > 20_000 && !body.ends_with("0\r\n\r\n"));
}

#[test]
fn credentials_are_asked_for() {
    let server = Server::start(tree(&[("a", b"content")]));
    let (username, password) = ("user".to_owned(), "p:w".to_owned());
    let (name, value) = ("X-Token".to_owned(), "t".to_owned());
    for (auth, right, refusal) in [
        (
            Auth::Basic { username, password },
            "Authorization: Basic dXNlcjpwOnc=",
            401,
        ),
        (Auth::Bearer("t".to_owned()), "Authorization: Bearer t", 401),
        (Auth::Header { name, value }, "X-Token: t", 403),
    ] {
        server.configure(|options| options.auth = Some(auth));
        assert_eq!(status(&get(&server, "/a", &[]).0), refusal);
        assert_eq!(status(&get(&server, "/a", &[right]).0), 200);
    }
}

#[test]
fn directories_are_served_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    tree(&[("deep/a", b"one")]).write_to(dir.path());
    let server = Server::start_dir(dir.path());
    assert_eq!(get(&server, "/deep/a", &[]).1, "one");
    assert_eq!(status(&get(&server, "/deep", &[]).0), 404);
    tree(&[("deep/a", b"two")]).write_to(dir.path());
    assert_eq!(get(&server, "/deep/a", &[]).1, "two");
}

fn agent(authority: &Authority, client: Option<&Identity>) -> Agent {
    let root = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let mut tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root]));
    if let Some(client) = client {
        let chain: Vec<Certificate> = parse_pem(client.certificate.as_bytes())
            .filter_map(|item| match item.unwrap() {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            })
            .collect();
        let key = PrivateKey::from_pem(client.key.as_bytes()).unwrap();
        tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    Agent::config_builder()
        .tls_config(tls.build())
        .build()
        .into()
}

#[test]
fn tls_with_a_client_certificate() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let required = ClientCertificate::Required;
    let server = Server::start_tls(tree(&[("a", b"secret")]), &own, required);
    let url = format!("{}/a", server.url());
    assert!(url.starts_with("https://127.0.0.1:"));

    let get = |agent: &Agent| agent.get(&url).call();
    let mut response = get(&agent(&own, Some(&own.client("host")))).unwrap();
    assert_eq!(response.body_mut().read_to_string().unwrap(), "secret");
    assert!(get(&agent(&own, None)).is_err());
    assert!(get(&agent(&own, Some(&other.client("host")))).is_err());
    assert!(get(&agent(&other, Some(&own.client("host")))).is_err());
    assert_eq!(server.request_lines(), ["GET a 200"]);

    let open = Server::start_tls(tree(&[("a", b"open")]), &own, ClientCertificate::NotAsked);
    let url = format!("{}/a", open.url());
    assert!(agent(&own, None).get(&url).call().is_ok());
}
