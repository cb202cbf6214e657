//! Signing keys: made by `config keygen`, judged by `config check`, and never shown.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::kit::chantal::Chantal;
use crate::kit::clients::{client, installed};
use crate::kit::keys::{Algorithm, HashAlgorithm, Key};
use crate::kit::process::run;
use crate::kit::tree::Tree;

const CHECK: [&str; 2] = ["config", "check"];
const KEYGEN: [&str; 4] = [
    "config",
    "keygen",
    "--user-id",
    "Mirror <mirror@example.org>",
];
const GOOD: &str = "configuration OK: 0 repositories, storage [dir]/data\n";

fn keygen_with(more: &[&'static str]) -> Vec<&'static str> {
    [&KEYGEN[..], more].concat()
}

/// A file that is nobody else's business.
fn private(chantal: &Chantal, path: &str, text: &str) -> PathBuf {
    let path = chantal.write(path, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// With this key configured.
fn configured(key: &str) -> Chantal {
    let chantal = Chantal::with_storage();
    private(&chantal, "config/k.asc", key);
    chantal.write("config/conf.d/s.yaml", "signing:\n  key_file: ../k.asc\n");
    chantal
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The fingerprint that a key got. From now on it is shown as `[key]`.
fn fingerprint(chantal: &Chantal) -> String {
    let shown = chantal
        .run(&["config", "check", "--format", "json"])
        .succeeds()
        .json();
    let fingerprint = shown["signing_key"]["fingerprint"].as_str().unwrap();
    assert_eq!(fingerprint.len(), 40, "{fingerprint}");
    chantal.hide(fingerprint, "[key]");
    fingerprint.to_owned()
}

#[test]
fn a_key_is_made_configured_and_found_good() {
    let chantal = Chantal::with_storage();
    let made = chantal.run(&KEYGEN).succeeds();
    let fingerprint = fingerprint(&chantal);
    assert_eq!(
        chantal.shown(&made.stdout),
        "fingerprint    [key]\n\
         user id        Mirror <mirror@example.org>\n\
         secret key     [dir]/config/keys/signing.sec.asc\n\
         passphrase     none: anyone who can read the secret key can sign\n\
         public key     [dir]/config/keys/signing.pub.asc\n\
         configured in  [dir]/config/conf.d/signing.yaml\n\
         next: back up the secret key (it cannot be replaced), and install the public key on the clients\n"
    );
    assert_eq!(made.stderr, "");
    assert_eq!(
        fs::read_to_string(chantal.config().join("conf.d/signing.yaml")).unwrap(),
        "# Written by `chantal config keygen`.\nsigning:\n  key_file: ../keys/signing.sec.asc\n"
    );
    chantal.run(&CHECK).succeeds().says(&format!(
        "signing key [key] Mirror <mirror@example.org>\n{GOOD}"
    ));
    let made = Tree::read(&chantal.config().join("keys"));
    assert_eq!(made.paths(), ["signing.pub.asc", "signing.sec.asc"]);

    if !installed("gpg") {
        return;
    }
    let home = chantal.dir().join("gnupg");
    fs::create_dir(&home).unwrap();
    let listed = |file: &str| {
        let file = format!("../config/keys/{file}");
        let args = ["--homedir", ".", "--with-colons", "--show-keys", &file];
        client("gpg", &args, &home).exits(0).stdout
    };
    let public = listed("signing.pub.asc");
    assert!(public.contains(&format!(":{fingerprint}:")), "{public}");
    // Ed25519 in the older encoding, no expiry; it certifies and signs.
    assert!(
        public.starts_with("pub:-:255:22:") && public.contains(":::-:::scSC:"),
        "{public}"
    );
    assert!(listed("signing.sec.asc").starts_with("sec:"));
}

#[test]
fn only_the_public_files_are_open_to_others_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let chantal = Chantal::with_storage();
        fs::remove_file(chantal.config().join("conf.d/global.yaml")).unwrap();
        fs::remove_dir(chantal.config().join("conf.d")).unwrap();
        let binary = chantal.command(&KEYGEN);
        let mut shell = std::process::Command::new("/bin/sh");
        shell
            .args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"])
            .arg(binary.get_program())
            .args(binary.get_args())
            .env_clear();
        assert!(run(shell).status.success());
        for (path, wanted) in [
            ("keys", 0o755),
            ("keys/signing.sec.asc", 0o600),
            ("keys/signing.pub.asc", 0o644),
            ("conf.d/signing.yaml", 0o644),
        ] {
            assert_eq!(
                mode(&chantal.config().join(path)),
                wanted,
                "{umask}: {path}"
            );
        }
    }
}

#[test]
fn what_was_made_is_told_as_json_and_rsa_is_a_choice() {
    let chantal = Chantal::with_storage();
    private(&chantal, "secret", "correct horse\n");
    let args = keygen_with(&[
        "--type",
        "rsa4096",
        "--passphrase-file",
        "secret",
        "--format",
        "json",
    ]);
    let made = chantal.run(&args).succeeds().json();
    let fingerprint = fingerprint(&chantal);
    assert_eq!(
        made,
        serde_json::json!({
            "fingerprint": fingerprint,
            "user_id": "Mirror <mirror@example.org>",
            "type": "rsa4096",
            "secret_key": "[dir]/config/keys/signing.sec.asc",
            "public_key": "[dir]/config/keys/signing.pub.asc",
            "passphrase_file": "[dir]/secret",
            "configured_in": "[dir]/config/conf.d/signing.yaml",
        })
    );
    let checked = chantal
        .run(&["config", "check", "--format", "json"])
        .succeeds()
        .json();
    assert_eq!(
        checked["signing_key"],
        serde_json::json!({
            "fingerprint": "[key]",
            "user_id": "Mirror <mirror@example.org>",
            "signing_fingerprint": "[key]",
            "expires": null,
        })
    );
}

#[test]
fn nothing_is_overwritten() {
    for (path, advice) in [
        (
            "config/keys/signing.sec.asc",
            "set signing.key_file to it to use this key, or move it away",
        ),
        ("config/keys/signing.pub.asc", "move it away"),
        ("config/conf.d/signing.yaml", "move it away"),
    ] {
        let chantal = Chantal::with_storage();
        chantal.write(path, "# mine\n");
        let before = Tree::read(&chantal.config());
        let message =
            format!("error: [dir]/{path} already exists and is not overwritten: {advice}\n");
        chantal.run(&KEYGEN).fails_with(2, &message).says("");
        Tree::read(&chantal.config()).assert_same(&before);
    }
    let chantal = Chantal::with_storage();
    chantal.run(&KEYGEN).succeeds();
    let before = Tree::read(&chantal.config());
    let message = "error: signing.key_file is already set to [dir]/config/keys/signing.sec.asc: clients trust this key; \
                   remove it from the configuration first\n";
    chantal.run(&KEYGEN).fails_with(2, message).says("");
    Tree::read(&chantal.config()).assert_same(&before);
}

#[test]
fn a_run_that_fails_leaves_nothing() {
    let chantal = Chantal::with_storage();
    let conf_d = chantal.config().join("conf.d");
    fs::remove_dir_all(&conf_d).unwrap();
    symlink("nowhere", &conf_d).unwrap();
    let failed = chantal.run(&KEYGEN).exits(1).says("");
    let start = "error: cannot create [dir]/config/conf.d/signing.yaml: No such file or directory";
    assert!(failed.stderr.starts_with(start), "{}", failed.stderr);
    assert!(!chantal.config().join("keys").exists());

    // What was there before stays.
    chantal.write("config/keys/other.asc", "mine");
    let _failed = chantal.run(&KEYGEN).exits(1);
    let left = Tree::read(&chantal.config().join("keys"));
    assert_eq!(left.paths(), ["other.asc"]);
}

#[test]
fn bad_arguments_make_nothing() {
    let chantal = Chantal::with_storage();
    private(&chantal, "empty", "\nsecond line\n");
    for (args, message) in [
        (
            &["config", "keygen", "--user-id", "a\nb"][..],
            "error: --user-id: a user ID must have between 1 and 2048 bytes and no control characters\n",
        ),
        (
            &["config", "keygen", "--passphrase-file", "empty"],
            "error: [dir]/empty: the first line, which must be the passphrase, is empty\n",
        ),
        (
            &["config", "keygen", "--passphrase-file", "config"],
            "error: [dir]/config is not a regular file\n",
        ),
        (
            &["config", "keygen", "--passphrase-file", "absent"],
            "error: failed to open file `[dir]/absent`: No such file or directory (os error 2)\n\
             hint: restore it from a backup, or correct its path in the configuration\n",
        ),
    ] {
        chantal.run(args).fails_with(2, message).says("");
        assert!(!chantal.config().join("keys").exists());
    }
}

#[test]
fn the_passphrase_must_open_the_key_and_is_shown_nowhere() {
    let chantal = Chantal::with_storage();
    let file = private(&chantal, "a \"secret\"", "correct horse\r\nnot this\n");
    let args = keygen_with(&["--passphrase-file", "a \"secret\""]);
    let made = chantal.run(&args).succeeds();
    fingerprint(&chantal);
    assert!(
        made.stdout
            .contains("passphrase     the first line of [dir]/a \"secret\"\n")
    );
    let good = format!("signing key [key] Mirror <mirror@example.org>\n{GOOD}");
    chantal.run(&CHECK).succeeds().says(&good);

    fs::write(&file, "hunter2\n").unwrap();
    let wrong = "error: [dir]/config/keys/signing.sec.asc: wrong passphrase for key [key]\n\
                 hint: the first line of signing.passphrase_file must be the passphrase\n";
    chantal.run(&CHECK).fails_with(2, wrong).says("");

    chantal.write(
        "config/conf.d/signing.yaml",
        "signing: {key_file: ../keys/signing.sec.asc}",
    );
    let missing = "error: [dir]/config/keys/signing.sec.asc: key [key] is protected by a passphrase, but none is configured\n\
                   hint: store the passphrase in a file that only you can read, and set signing.passphrase_file to its path\n";
    chantal.run(&CHECK).fails_with(2, missing).says("");

    chantal.write(
        "config/conf.d/signing.yaml",
        "signing: {key_file: ../keys/signing.sec.asc, passphrase_file: \"../../a \\\"secret\\\"\"}",
    );
    fs::write(&file, "correct horse").unwrap();
    let secret = fs::read_to_string(chantal.config().join("keys/signing.sec.asc")).unwrap();
    let said = chantal
        .run(&["-vv", "config", "check"])
        .exits(0)
        .says(&good);
    for hidden in secret.lines().skip(2).take(2).chain(["correct horse"]) {
        assert!(!said.stderr.contains(hidden), "{}", said.stderr);
    }
}

#[test]
fn what_is_no_key_that_can_sign_is_refused() {
    const EXPORT: &str = "export the key with `gpg --export-secret-keys --armor FINGERPRINT`";
    const NEEDED: &str = "use an Ed25519 or RSA key that can sign; if the key has expired, extend it in gpg and export it again";
    let key = Key::archive();
    let expired = key.expiring_at(Key::MADE + 10);
    let weak = Key::of(Algorithm::Rsa(1024));
    let unknown = Key::of(Algorithm::Ed25519V6);
    let nothing = |key: &Key, why: &str| {
        format!(
            "contains no key that can sign\n  {}: {why}",
            key.fingerprint()
        )
    };
    for (file, what, hint) in [
        (
            "<html>".to_owned(),
            "not an exported OpenPGP key".to_owned(),
            EXPORT,
        ),
        (
            key.public_armored(),
            "contains only a public key, which cannot sign".to_owned(),
            EXPORT,
        ),
        (
            key.secret_armored()[..200].to_owned(),
            "invalid armor: the armor that begins on line 1 has no end line".to_owned(),
            EXPORT,
        ),
        (
            expired.secret_armored(),
            nothing(&expired, "the key expired on 2020-09-13 12:26:50 UTC"),
            NEEDED,
        ),
        (
            weak.secret_armored(),
            nothing(weak, "RSA keys with 1024 bits are too weak"),
            NEEDED,
        ),
        (
            unknown.secret_armored(),
            nothing(
                unknown,
                "algorithm Ed25519 in a key of version 6 is not supported by clients",
            ),
            NEEDED,
        ),
    ] {
        let message = format!("error: [dir]/config/k.asc: {what}\nhint: {hint}\n");
        configured(&file)
            .run(&CHECK)
            .fails_with(2, &message)
            .says("");
    }
    let chantal = configured("");
    fs::remove_file(chantal.config().join("k.asc")).unwrap();
    let message = "error: failed to open file `[dir]/config/k.asc`: No such file or directory (os error 2)\n\
                   hint: restore it from a backup, or correct its path in the configuration\n";
    chantal.run(&CHECK).fails_with(2, message).says("");
}

#[test]
fn a_subkey_that_signs_and_an_end_in_the_future_are_said() {
    let key = Key::owner();
    configured(&key.secret_armored())
        .run(&CHECK)
        .succeeds()
        .says(&format!(
            "signing key {} Owner <owner@example.org>, signing subkey {}\n{GOOD}",
            key.fingerprint(),
            key.signing_fingerprint()
        ));
    let key = Key::archive().expiring_at(4_000_000_000);
    configured(&key.secret_armored())
        .run(&CHECK)
        .succeeds()
        .says(&format!(
            "signing key {} Archive <archive@example.org>, expires 2096-10-02T07:06:40Z\n{GOOD}",
            key.fingerprint()
        ));
}

#[test]
fn secrets_that_others_can_read_are_a_warning() {
    let key = Key::archive();
    let good = format!(
        "signing key {} Archive <archive@example.org>\n{GOOD}",
        key.fingerprint()
    );
    for open in [0o640, 0o604, 0o660] {
        let chantal = configured(&key.secret_armored());
        let file = chantal.config().join("k.asc");
        fs::set_permissions(&file, fs::Permissions::from_mode(open)).unwrap();
        chantal.run(&CHECK).exits(0).says(&good).says_on_stderr(&format!(
            "warning: [dir]/config/k.asc is secret, but other users can read it (mode {open:04o}): \
             run `chmod 600` on it\n"
        ));
    }
}

#[test]
fn a_key_that_newer_clients_refuse_is_a_warning() {
    let key = Key::of(Algorithm::Rsa(2048));
    let with = |hash| configured(&key.certified_with(hash).secret_armored()).run(&CHECK);
    with(HashAlgorithm::Sha256).succeeds();
    with(HashAlgorithm::Sha1).exits(0).says_on_stderr(
        "warning: [dir]/config/k.asc: the self-signature of the key uses SHA-1, which newer clients reject; \
         setting a new expiry date with gpg replaces it\n",
    );
}
