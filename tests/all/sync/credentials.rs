//! Credentials reach the host that they were configured for, and nothing and nobody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{both, hello, mirror_of};
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::server::{Auth, Fault, Server, Times};
use crate::kit::tls::{Authority, ClientCertificate};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, RpmExtra, Upstream};

const SECRET: &str = "s3cr3t-w0rd";
/// `user:s3cr3t-w0rd`.
const ENCODED: &str = "dXNlcjpzM2NyM3QtdzByZA==";

fn basic() -> Auth {
    Auth::Basic {
        username: "user".to_owned(),
        password: SECRET.to_owned(),
    }
}

/// Every run with credentials on plain http says so.
const PLAIN_HTTP: &str = "warning: [dir]/config/repos.d/r.yaml: credentials.type: \
    the upstream uses plain http: the credentials could be intercepted in transit\n";

/// What a server asks for, the definition that satisfies it, and the header that carries it.
fn kinds() -> [(Auth, String, &'static str); 3] {
    let yaml = |lines: &str| format!("credentials:\n{lines}");
    [
        (
            basic(),
            yaml(&format!(
                "  type: basic\n  username: user\n  password: {SECRET}\n"
            )),
            "authorization",
        ),
        (
            Auth::Bearer(SECRET.to_owned()),
            yaml(&format!("  type: bearer\n  token: {SECRET}\n")),
            "authorization",
        ),
        (
            Auth::Header {
                name: "X-Api-Key".to_owned(),
                value: SECRET.to_owned(),
            },
            yaml(&format!(
                "  type: header\n  name: X-Api-Key\n  value: {SECRET}\n"
            )),
            "x-api-key",
        ),
    ]
}

/// No file below `dir`, the configuration apart, holds the secret.
#[track_caller]
fn is_secret(dir: &Path, secrets: &[&str]) {
    for (path, bytes) in Tree::read(dir).iter() {
        if path.starts_with("config/") {
            continue;
        }
        for secret in secrets {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(
                !found,
                "{path} holds {secret}:\n{}",
                lines_with(bytes, secret)
            );
        }
    }
}

fn lines_with(bytes: &[u8], secret: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter(|line| line.contains(secret));
    lines.collect::<Vec<_>>().join("\n")
}

/// Syncs with every word that can be had, once in vain and once well, and looks for the secret
/// everywhere.
#[track_caller]
fn leaks_nothing(mirror: &Mirror) {
    mirror.configure("logging:\n  level: trace\n  file: ../../log\ndownload:\n  retries: 0\n");
    let package = mirror.built.path_of("hello");
    let once = Times::First(1);
    mirror.server.fault(&package, once, Fault::Truncate(3));
    let mut said = String::new();
    for args in [
        &["-vv", "repo", "sync", "--repo-id", "r"][..],
        &["-vv", "repo", "sync", "--repo-id", "r"],
        &["repo", "show", "--repo-id", "r", "--format", "json"],
        &["repo", "history", "--repo-id", "r", "--format", "json"],
        &["repo", "list", "--format", "json"],
        &["config", "check", "--format", "json"],
    ] {
        let output = mirror.chantal.run(args);
        said += &output.stdout;
        said += &output.stderr;
    }
    mirror.tree().assert_same(&mirror.built.mirrored());
    assert!(said.contains("\"outcome\": \"failed\"") && said.contains("\"changed\""));
    assert!(!said.contains(SECRET) && !said.contains(ENCODED), "{said}");
    let log = fs::read_to_string(mirror.chantal.dir().join("log")).unwrap();
    assert!(log.contains("debug: GET http"), "{log}");
    is_secret(mirror.chantal.dir(), &[SECRET, ENCODED]);
}

#[test]
fn every_kind_opens_the_door_and_is_written_nowhere() {
    for (auth, yaml, _) in kinds() {
        for upstream in both() {
            let mirror = mirror_of(upstream).defined(|repository| repository.more(&yaml));
            mirror
                .server
                .configure(|options| options.auth = Some(auth.clone()));
            leaks_nothing(&mirror);
        }
    }
}

#[test]
fn a_token_in_the_url_is_written_nowhere() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        let url = format!("{}/?{SECRET}", mirror.server.url());
        mirror
            .chantal
            .repository(&Repository::of("r", &mirror.upstream, &url));
        leaks_nothing(&mirror);
        for request in mirror.server.requests() {
            assert!(request.target.ends_with(SECRET), "{}", request.target);
        }
    }
}

#[test]
fn secrets_come_from_files_commands_and_the_environment() {
    for line in [
        "password_file: ../../password",
        "password_command: cat ../password 2>/dev/null || cat password",
        "password: ${MIRROR_PASSWORD}",
    ] {
        let yaml = format!("credentials:\n  type: basic\n  username: user\n  {line}\n");
        let upstream = Upstream::rpm().package(hello());
        let mirror = mirror_of(upstream).defined(|repository| repository.more(&yaml));
        mirror.chantal.write("password", &format!("{SECRET}\n"));
        mirror
            .server
            .configure(|options| options.auth = Some(basic()));
        let env = [("MIRROR_PASSWORD", SECRET)];
        mirror
            .chantal
            .run_with_env(&["repo", "sync", "--repo-id", "r"], &env)
            .fails_with(0, PLAIN_HTTP);
        mirror.tree().assert_same(&mirror.built.mirrored());
    }
}

/// As of a signing key: whoever can log in could read it.
#[test]
fn a_secret_that_others_can_read_is_warned_of() {
    let warning = "[dir]/password contains credentials, but other users can read it (mode 0640)";
    let yaml = "credentials:\n  type: basic\n  username: user\n  password_file: ../../password\n";
    let mirror =
        mirror_of(Upstream::rpm().package(hello())).defined(|repository| repository.more(yaml));
    let password = mirror.chantal.write("password", &format!("{SECRET}\n"));
    let check = || mirror.chantal.run(&["config", "check"]).exits(0).stderr;
    assert!(!check().contains("other users can read"), "{}", check());
    fs::set_permissions(&password, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(check().contains(warning), "{}", check());
    mirror
        .server
        .configure(|options| options.auth = Some(basic()));
    let said = mirror.sync().exits(0).stderr;
    assert!(said.contains(warning), "{said}");

    // What is not there, or holds nothing, is not called good.
    fs::write(&password, "\n").unwrap();
    let said = mirror.chantal.run(&["config", "check"]).exits(2);
    said.mentions("password: the file is empty");
    fs::remove_file(&password).unwrap();
    let said = mirror.chantal.run(&["config", "check"]).exits(2);
    said.mentions("No such file");
}

#[test]
fn the_wrong_ones_are_refused_by_name() {
    for (auth, status, hint) in [
        (basic(), 401, "check credentials"),
        (
            kinds()[2].0.clone(),
            403,
            "the credentials or the entitlement may be missing, wrong or expired",
        ),
    ] {
        let mirror = mirror_of(Upstream::rpm().package(hello()));
        mirror.server.configure(|options| options.auth = Some(auth));
        mirror.sync().fails_with(
            4,
            &format!(
                "error: r: cannot fetch the metadata: [server]/repodata/repomd.xml: access denied (HTTP status {status})\n\
                 hint: {hint}\n"
            ),
        );
    }
}

#[test]
fn redirects_and_key_urls_elsewhere_get_none() {
    for (auth, yaml, header) in kinds() {
        for upstream in both() {
            let mirror = mirror_of(upstream);
            mirror
                .server
                .configure(|options| options.auth = Some(auth.clone()));
            let mut elsewhere = mirror.built.tree.clone();
            elsewhere.insert("key.asc", Key::archive().public_armored());
            let elsewhere = Server::start(elsewhere);
            // Only the port differs, which makes it another origin.
            let key_url = format!("gpgkey_url: {}/key.asc", elsewhere.url());
            let fingerprint = Key::archive().fingerprint();
            let check = match mirror.upstream.kind() {
                "apt" => "gpgcheck: true",
                _ => "repo_gpgcheck: true",
            };
            let repository = mirror
                .usual()
                .unsigned()
                .format(check)
                .format(&key_url)
                .format(&format!("gpgkey_fingerprints: [{fingerprint}]"))
                .more(&yaml);
            mirror.chantal.repository(&repository);
            let package = mirror.built.path_of("hello");
            let target = format!("{}/{package}", elsewhere.url());
            mirror
                .server
                .fault(&package, Times::Always, Fault::Redirect(target));
            mirror.sync().fails_with(0, PLAIN_HTTP);

            let requests = elsewhere.requests();
            assert_eq!(requests.len(), 2);
            for request in requests {
                assert_eq!(request.header(header), None, "{}", request.path);
                assert_eq!(request.header("referer"), None);
            }
            for request in mirror.server.requests() {
                assert!(request.header(header).is_some(), "{}", request.path);
            }
        }
    }
}

/// Client certificate and authority in `dir`, as credentials.
fn client_certificate(dir: &Path, authority: &Authority) -> String {
    authority.client("host").write_to(dir, "client");
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    format!(
        "credentials:\n  type: client_cert\n  cert: {}\n  key: {}\n  ca_cert: {}\n",
        path("client.crt"),
        path("client.key"),
        path("ca.pem")
    )
}

#[test]
fn a_site_with_an_entitled_rpm_and_a_large_apt_repository() {
    let chantal = Chantal::new();
    let authority = Authority::new("vendor");
    let rpm = Upstream::rpm().package(hello()).with_rpm(|rpm| {
        rpm.extras = [
            RpmExtra::Updateinfo,
            RpmExtra::Modules,
            RpmExtra::UnknownTypes,
        ]
        .into();
    });
    let rpm_built = rpm.build();
    let required = ClientCertificate::Required;
    let vendor = Server::start_tls(rpm_built.tree.clone(), &authority, required);
    let certificate = client_certificate(chantal.dir(), &authority);
    chantal.repository(&Repository::of("entitled", &rpm, &vendor.url()).more(&certificate));

    let components = ["main", "contrib", "non-free", "non-free-firmware"];
    let architectures = ["amd64", "arm64"];
    let mut deb = Upstream::deb().with_deb(|deb| {
        deb.components = components.map(str::to_owned).to_vec();
        deb.architectures = architectures.map(str::to_owned).to_vec();
        deb.languages = vec!["en".to_owned()];
    });
    for component in components {
        for architecture in architectures {
            let package = Package::new(&format!("{component}-{architecture}"), "1");
            deb.add(package.architecture(architecture).component(component));
        }
    }
    let deb_built = deb.build();
    let archive = Server::start(deb_built.tree.clone());
    chantal.repository(&Repository::of("archive", &deb, &archive.url()));

    chantal.run(&["repo", "sync", "--all"]).succeeds();
    chantal
        .published_tree("entitled")
        .assert_same(&rpm_built.mirrored_as("entitled"));
    chantal
        .published_tree("archive")
        .assert_same(&deb_built.mirrored_as("archive"));
    let said = chantal.run(&["repo", "sync", "--all"]).succeeds();
    said.says(
        "archive: unchanged, 8 packages, 1 request, 0 B downloaded\n\
         entitled: unchanged, 1 package, 1 request, 0 B downloaded\n\
         2 of 2 repositories synced, 0 changed, 2 requests, 0 B downloaded\n",
    );
    let key = fs::read_to_string(chantal.dir().join("client.key")).unwrap();
    let line = key.lines().nth(1).unwrap();
    is_secret(&chantal.data(), &[line]);
    is_secret(&chantal.dir().join("www"), &[line]);
}

#[test]
fn tls_trusts_whom_it_was_told_to() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let upstream = Upstream::rpm().package(hello());
    let built = upstream.build();
    let server = Server::start_tls(built.tree.clone(), &own, ClientCertificate::Required);
    let chantal = Chantal::new();
    chantal.hide_server(&server);
    let repository = |credentials: &str| {
        chantal.repository(&Repository::of("r", &upstream, &server.url()).more(credentials));
    };
    let with_ca = |authority: &Authority| {
        let path = chantal.write("tls.pem", &authority.pem());
        chantal.global(&format!(
            "storage:\n  base_path: ../../data\ndownload:\n  retries: 0\ntls:\n  ca_file: {}\n",
            path.display()
        ));
    };
    let sync = || chantal.run(&["repo", "sync", "--repo-id", "r"]);

    // The server is unknown; the client is; then both are known, by the one setting or by the
    // other.
    with_ca(&other);
    repository("");
    let unknown = "error: r: cannot fetch the metadata: [server]/repodata/repomd.xml: the server certificate is not signed by a trusted CA\n\
         hint: if the server is to be trusted, set tls.ca_file (or credentials.ca_cert) to the certificate of its CA\n";
    sync().fails_with(2, unknown);
    with_ca(&own);
    sync().fails_with(
        2,
        "error: r: cannot fetch the metadata: [server]/repodata/repomd.xml: the server requires a client certificate\n\
         hint: configure one with `credentials: {type: client_cert, cert: ..., key: ...}`\n",
    );
    assert_eq!(server.request_lines(), <[String; 0]>::default());
    repository(&client_certificate(chantal.dir(), &own));
    with_ca(&other);
    sync().succeeds();
    let without_ca: Vec<String> = client_certificate(chantal.dir(), &own)
        .lines()
        .filter(|line| !line.contains("ca_cert"))
        .map(|line| format!("{line}\n"))
        .collect();
    repository(&without_ca.concat());
    sync().fails_with(2, unknown);
    with_ca(&own);
    sync().succeeds();
    chantal.published_tree("r").assert_same(&built.mirrored());
}

#[test]
fn a_client_certificate_is_not_shown_to_another_host() {
    let authority = Authority::new("vendor");
    let upstream = Upstream::rpm().package(hello());
    let built = upstream.build();
    let package = built.path_of("hello");
    for (client, is_asked) in [
        (ClientCertificate::NotAsked, true),
        // It accepts nobody without one, and so nobody.
        (ClientCertificate::Required, false),
    ] {
        let required = ClientCertificate::Required;
        let vendor = Server::start_tls(built.tree.clone(), &authority, required);
        let elsewhere = Server::start_tls(built.tree.clone(), &authority, client);
        let target = format!("{}/{package}", elsewhere.url());
        vendor.fault(&package, Times::Always, Fault::Redirect(target));
        let chantal = Chantal::new();
        let ca = chantal.write("tls.pem", &authority.pem());
        chantal.global(&format!(
            "storage:\n  base_path: ../../data\ndownload:\n  retries: 0\ntls:\n  ca_file: {}\n",
            ca.display()
        ));
        let credentials = client_certificate(chantal.dir(), &authority);
        let repository = Repository::of("r", &upstream, &vendor.url()).more(&credentials);
        chantal.repository(&repository);
        let output = chantal.run(&["repo", "sync", "--repo-id", "r"]);
        if is_asked {
            output.succeeds();
        } else {
            output.exits(2);
        }
        assert_eq!(elsewhere.requests().len(), usize::from(is_asked));
    }
}
