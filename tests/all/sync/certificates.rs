//! Certificates that cannot be trusted or used do not become better by trying again: what is wrong
//! is said at once.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::server::{Fault, RawAnswer, Server, Times};
use crate::kit::tls::{Authority, ClientCertificate, Identity};
use crate::kit::upstream::{Package, Upstream};

const SYNC: [&str; 4] = ["repo", "sync", "--repo-id", "r"];
const RETRIED: &str =
    "storage:\n  base_path: ../../data\n  create: true\ndownload:\n  retries: 5\n";

/// An X.509 version 1 certificate, as old scripts make them, and its key.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBFjCBvQIULkewLuCOo6qcEJkpSj45segIuB0wCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCdjEwIBcNMjYxMTI2MjAxNTQ1WhgPMjEyNjExMDIyMDE1NDVaMA0xCzAJ
BgNVBAMMAnYxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAES88eHV3bJR6dNPqx
+6mrJWRZFmb0wL0R3N266AwGCNKBgTFb3/H+rU9yq9kiX5XUKZE1jWkfDd7lGKG7
qXWevzAKBggqhkjOPQQDAgNIADBFAiBCMRqC4YM8B5wcWJrO4ywu8zmZz17oht3q
guXn0NMa9gIhAJ0ub4oLB5bAXEZKKrPaSNaNS5OySVGTxAkM9hHA/o8W
-----END CERTIFICATE-----
";
const VERSION_1_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg5jUUKcgo6/1PEdXt
pq7iWoxOl+Y4piKFH+O+BUxHm22hRANCAARLzx4dXdslHp00+rH7qaslZFkWZvTA
vRHc3broDAYI0oGBMVvf8f6tT3Kr2SJfldQpkTWNaR8N3uUYobupdZ6/
-----END PRIVATE KEY-----
";

fn upstream() -> Upstream {
    Upstream::rpm().package(Package::new("hello", "1.0-1"))
}

#[test]
fn a_server_certificate_that_cannot_be_trusted() {
    let authority = Authority::new("own");
    let expired = authority.odd_server(|params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let to_come = authority.odd_server(|params| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
        params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    });
    let other_name = authority.odd_server(|params| {
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
    });
    let stranger = Authority::new("stranger").server();
    let clock = "check the clock of this machine; if it is right, the upstream must renew its certificate (tls.ca_file does not help here)";
    for (identity, why, hint) in [
        (
            stranger,
            "the server certificate is not signed by a trusted CA",
            "if the server is to be trusted, set tls.ca_file (or credentials.ca_cert) to the certificate of its CA",
        ),
        (
            other_name,
            "the server certificate is for another host name",
            "use the host name that the certificate was issued for; tls.ca_file does not help here",
        ),
        (expired, "the server certificate has expired", clock),
        (to_come, "the server certificate is not valid yet", clock),
    ] {
        let upstream = upstream();
        let not_asked = ClientCertificate::NotAsked;
        let server = Server::start_tls_as(upstream.build().tree, &authority, &identity, not_asked);
        let chantal = Chantal::new();
        chantal.hide_server(&server);
        let ca = chantal.write("ca.pem", &authority.pem());
        chantal.global(&format!("{RETRIED}tls:\n  ca_file: {}\n", ca.display()));
        chantal.repository(&Repository::of("r", &upstream, &server.url()));
        chantal.run(&SYNC).fails_with(
            2,
            &format!("error: r: cannot fetch the metadata: [server]/repodata/repomd.xml: {why}\nhint: {hint}\n"),
        );
        assert_eq!(server.connections(), 1, "it was tried again");
    }
}

/// The port of a web server without TLS.
#[test]
fn a_server_that_does_not_speak_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let answer = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
    });
    let chantal = Chantal::new();
    chantal.global(RETRIED);
    chantal.repository(&Repository::of("r", &upstream(), &url));
    chantal
        .run(&SYNC)
        .exits(2)
        .mentions("/repodata/repomd.xml: the server does not use TLS\nhint: check the port in the URL, and whether it should begin with http://\n");
    serving.join().unwrap();
}

fn alert(answer: &mut RawAnswer<'_>) {
    answer.send("\x15\x03\x03\0\x02\x02\x46");
}

fn nginx_page(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 49\r\n\r\n");
    answer.send("The plain HTTP request was sent to HTTPS port\r\n\r\n");
}

/// The port of a web server with TLS: it answers with an alert, or with a page of its own.
#[test]
fn a_server_that_expects_tls() {
    let upstream = upstream();
    let server = Server::start(upstream.build().tree);
    let chantal = Chantal::new();
    chantal.hide_server(&server);
    chantal.global(RETRIED);
    chantal.repository(&Repository::of("r", &upstream, &server.url()));
    let root = upstream.root();
    for fault in [alert, nginx_page] {
        server.clear_log();
        server.clear_faults();
        server.fault(&root, Times::Always, Fault::Raw(fault));
        chantal.run(&SYNC).fails_with(
            2,
            &format!(
                "error: r: cannot fetch the metadata: [server]/{root}: the server requires TLS\n\
                 hint: check the port in the URL, and whether it should begin with https://\n"
            ),
        );
        assert_eq!(server.requests().len(), 1, "it was tried again");
    }
}

fn no_certificate_page(answer: &mut RawAnswer<'_>) {
    answer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 41\r\n\r\n");
    answer.send("<b>No required SSL certificate was sent</b>");
}

/// TLS 1.3 says it with an alert after the handshake, nginx with a page.
#[test]
fn a_server_that_wants_a_client_certificate() {
    let authority = Authority::new("vendor");
    let upstream = upstream();
    let root = upstream.root();
    for client in [ClientCertificate::NotAsked, ClientCertificate::Required] {
        let server = Server::start_tls(upstream.build().tree, &authority, client);
        server.fault(&root, Times::Always, Fault::Raw(no_certificate_page));
        let chantal = Chantal::new();
        chantal.hide_server(&server);
        let ca = chantal.write("ca.pem", &authority.pem());
        chantal.global(&format!("{RETRIED}tls:\n  ca_file: {}\n", ca.display()));
        chantal.repository(&Repository::of("r", &upstream, &server.url()));
        chantal.run(&SYNC).fails_with(
            2,
            &format!(
                "error: r: cannot fetch the metadata: [server]/{root}: the server requires a client certificate\n\
                 hint: configure one with `credentials: {{type: client_cert, cert: ..., key: ...}}`\n"
            ),
        );
        assert_eq!(server.connections(), 1, "it was tried again");
    }
}

/// An authority that cannot be one would be left out in silence, and nothing be trusted.
#[test]
fn an_authority_that_cannot_be_used() {
    for (text, message) in [
        ("", "the file is empty\n"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "the certificate cannot be used: ",
        ),
        (VERSION_1_KEY, "expected a certificate, got a private key\n"),
    ] {
        let chantal = Chantal::new();
        let ca = chantal.write("ca.pem", text);
        chantal.global(&format!("{RETRIED}tls:\n  ca_file: {}\n", ca.display()));
        let failed = chantal.run(&["config", "check"]).exits(2);
        let expected = format!("error: tls.ca_file: [dir]/ca.pem: {message}");
        assert!(failed.stderr.starts_with(&expected), "{failed:?}");
    }
}

/// A label of a name has no more than 63 characters: no resolver can know this one.
#[test]
fn a_mistyped_host_name() {
    let chantal = Chantal::new();
    chantal.global(RETRIED);
    let host = format!("{}.example", "x".repeat(64));
    let url = format!("http://{host}/repo");
    chantal.repository(&Repository::of("r", &upstream(), &url));
    let failed = chantal.run(&SYNC).exits(2);
    failed.says_on_stderr(&format!(
        "error: r: cannot fetch the metadata: http://{host}/repo/repodata/repomd.xml: host not found\n\
         hint: check the host name in the URL, and the DNS configuration of this machine\n"
    ));
}

/// Both of `config check` and a sync, which says it before it asks anyone.
#[test]
fn a_client_certificate_that_cannot_be_used() {
    let authority = Authority::new("vendor");
    let (one, other) = (authority.client("one"), authority.client("other"));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pair = |certificate: &str, key: &str| Identity {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    for (identity, message) in [
        (
            pair(&one.certificate, &other.key),
            "credentials.key: [dir]/client.key: the private key does not match the certificate [dir]/client.crt\n",
        ),
        (
            pair(VERSION_1, VERSION_1_KEY),
            "credentials.cert: [dir]/client.crt: the certificate cannot be used: X.509 version 1 is not supported, TLS requires version 3\n",
        ),
        (
            pair(&one.key, &one.certificate),
            "credentials.cert: [dir]/client.crt: expected a certificate, got a private key\n",
        ),
        (
            pair(&one.certificate, &one.certificate),
            "credentials.key: [dir]/client.key: expected a private key, got a certificate\n",
        ),
        (
            pair(&one.certificate, ""),
            "credentials.key: [dir]/client.key: the file is empty\n",
        ),
        (
            pair(&one.certificate, "key\n"),
            "credentials.key: [dir]/client.key: contains no private key in PEM format\n",
        ),
        (
            pair(not_der, &one.key),
            "credentials.cert: [dir]/client.crt: the certificate cannot be used: ",
        ),
        (
            pair(
                &one.certificate,
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            ),
            "credentials.key: [dir]/client.key: the private key cannot be used: ",
        ),
        (
            pair(&one.certificate, encrypted),
            "credentials.key: [dir]/client.key: the private key is encrypted: only keys without a passphrase are supported",
        ),
    ] {
        let upstream = upstream();
        let server = Server::start_tls(
            upstream.build().tree,
            &authority,
            ClientCertificate::Required,
        );
        let chantal = Chantal::new();
        identity.write_to(chantal.dir(), "client");
        fs::write(chantal.dir().join("ca.pem"), authority.pem()).unwrap();
        let credentials = "credentials:\n  type: client_cert\n  cert: ../../client.crt\n  key: ../../client.key\n  ca_cert: ../../ca.pem\n";
        chantal.repository(&Repository::of("r", &upstream, &server.url()).more(credentials));
        chantal.run(&["init"]).exits(0);
        for args in [&["config", "check"][..], &SYNC] {
            let failed = chantal.run(args).exits(2);
            let expected = format!("error: r: {message}");
            assert!(
                failed.stderr.starts_with(&expected),
                "{expected}\n{failed:?}"
            );
            assert!(!failed.stderr.contains("panicked"), "{failed:?}");
        }
        assert_eq!(server.connections(), 0);
    }
}

/// nginx says 400 to a certificate of another authority, and Red Hat's servers 403 to an old one.
#[test]
fn a_client_certificate_that_the_server_refuses() {
    let authority = Authority::new("vendor");
    let upstream = upstream();
    let required = ClientCertificate::Required;
    let server = Server::start_tls(upstream.build().tree, &authority, required);
    let chantal = Chantal::new();
    chantal.hide_server(&server);
    authority.client("client").write_to(chantal.dir(), "client");
    fs::write(chantal.dir().join("ca.pem"), authority.pem()).unwrap();
    let credentials = "credentials:\n  type: client_cert\n  cert: ../../client.crt\n  key: ../../client.key\n  ca_cert: ../../ca.pem\n";
    chantal.repository(&Repository::of("r", &upstream, &server.url()).more(credentials));
    let root = upstream.root();
    for status in [400, 403] {
        server.fault(&root, Times::Always, Fault::Status(status));
        chantal.run(&SYNC).fails_with(
            4,
            &format!(
                "error: r: cannot fetch the metadata: [server]/{root}: access denied (HTTP status {status}, client certificate sent)\n\
                 hint: the certificate in credentials.cert may have expired, or may be for another entitlement\n"
            ),
        );
        server.clear_faults();
    }
    // Of another authority: the server ends the handshake.
    Authority::new("stranger")
        .client("client")
        .write_to(chantal.dir(), "client");
    let refused = chantal.run(&SYNC).exits(2);
    refused.mentions("the server rejected the client certificate: ");
    chantal.published("r");
}
