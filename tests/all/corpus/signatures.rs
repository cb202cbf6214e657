//! The signatures of roots: who signed, how, and what was changed since. One table for both
//! formats.
//!
//! What only one format has is in [`super::apt`] and [`super::rpm`].

use pgp::armor::BlockType;
use pgp::crypto::hash::HashAlgorithm::{Md5, Sha1, Sha224, Sha512};

use super::scene::{Base, Scene};
use super::signers::{DAY, armored, good, hashed, in_checksum, in_signature, now, signer};
use super::{BAD, Case, Client, Expected, NEEDS_SETTING, UNKNOWN, apt, refused, rpm, warned};
use crate::bad_input::CHECK_KEY;
use crate::corpus::Client::{Agrees, CannotJudge, Differs};
use crate::kit::keys::{Key, PacketForm};

/// A root, by the way it is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    InRelease,
    /// With `Release.gpg`, and without `InRelease`.
    Release,
    Repomd,
}

impl Root {
    fn base(self) -> fn() -> &'static Base {
        match self {
            Self::InRelease => apt::plain,
            Self::Release => apt::detached,
            Self::Repomd => rpm::plain,
        }
    }

    /// What messages name.
    fn path(self) -> &'static str {
        match self {
            Self::InRelease => apt::IN_RELEASE,
            Self::Release => apt::RELEASE,
            Self::Repomd => rpm::REPOMD,
        }
    }

    /// The file of its own that has the signature.
    fn signature(self) -> &'static str {
        match self {
            Self::InRelease => panic!("the signature is in the file itself"),
            Self::Release => apt::RELEASE_GPG,
            Self::Repomd => rpm::ASC,
        }
    }

    /// What says that no signature is asked for.
    fn unchecked(self) -> &'static str {
        match self {
            Self::InRelease | Self::Release => "gpgcheck: false",
            Self::Repomd => "repo_gpgcheck: false",
        }
    }
}

type Change = dyn Fn(&mut Scene, Root);

/// A case of each format. Chantal and the clients accept it, unless the row says otherwise.
struct Row {
    change: Box<Change>,
    expected: Box<dyn Fn(Root) -> Expected>,
    gpgv: Client,
    apt: Client,
    dnf: Client,
}

impl Row {
    fn new(change: impl Fn(&mut Scene, Root) + 'static) -> Self {
        Self {
            change: Box::new(change),
            expected: Box::new(|_| Expected::Accepted),
            gpgv: Agrees,
            apt: Agrees,
            dnf: Agrees,
        }
    }

    fn is(mut self, expected: impl Fn(Root) -> Expected + 'static) -> Self {
        self.expected = Box::new(expected);
        self
    }

    /// Refused: no signature counts, and these are the reasons.
    fn not_trusted<const N: usize>(self, reasons: [(&'static str, &'static str); N]) -> Self {
        self.is(move |root| super::not_trusted(root.path(), &reasons))
    }

    /// The same where the configuration could let it pass.
    fn weak(self, key: &'static str, why: &'static str) -> Self {
        self.is(move |root| super::weak(root.path(), &[(key, why)]))
    }

    /// Refused although there is a good signature.
    fn marred(self, key: &'static str, why: &'static str) -> Self {
        self.is(move |root| super::marred(root.path(), &[(key, why)]))
    }

    fn gpgv(mut self, gpgv: Client) -> Self {
        self.gpgv = gpgv;
        self
    }

    fn apt(mut self, apt: Client) -> Self {
        self.apt = apt;
        self
    }

    fn dnf(mut self, dnf: Client) -> Self {
        self.dnf = dnf;
        self
    }

    fn of(self, root: Root) -> Case {
        let change = self.change;
        let client = match root {
            Root::InRelease | Root::Release => self.apt,
            Root::Repomd => self.dnf,
        };
        Case::signature(
            root.base(),
            move |scene| change(scene, root),
            (self.expected)(root),
            [self.gpgv, client],
        )
    }
}

/// Makes two tests of each row: of apt, signed that way, and of rpm.
macro_rules! rows {
    ($apt:ident, $($name:ident = $row:expr),+ $(,)?) => {
        $(
            fn $name() -> Row {
                $row
            }

            mod $name {
                use super::Root;

                #[test]
                fn apt() {
                    super::$name().of(Root::$apt).check();
                }

                #[test]
                fn rpm() {
                    super::$name().of(Root::Repomd).check();
                }
            }
        )+
    };
}

const ALL: Client = Differs("gpgv wants every signature to be good");
const AFTER: Client = Differs("gpgv reports it and accepts it; apt reads the report");
const NOT_ASKED: Client = CannotJudge("it is not asked to verify");
const NO_SIGNATURE: Client = CannotJudge("there is no signature");

/// Signed and trusted.
fn by(signer: &'static str) -> Row {
    how(signer, good)
}

fn how(signer: &'static str, how: fn() -> PacketForm) -> Row {
    Row::new(move |scene, _| {
        scene.trusts(&[signer]);
        scene.signed_by(&[(signer, how())]);
    })
}

/// Signed by another key too, in front; both are trusted.
fn two(other: &'static str, how: fn() -> PacketForm) -> Row {
    Row::new(move |scene, _| {
        scene.trusts(&["archive", other]);
        scene.signed_by(&[(other, how()), ("archive", good())]);
    })
}

/// Signed by these, while `archive` alone is trusted.
fn by_others(signers: &'static [&'static str]) -> Row {
    Row::new(move |scene, _| {
        let signers: Vec<_> = signers.iter().map(|name| (*name, good())).collect();
        scene.signed_by(&signers);
    })
}

fn expired() -> PacketForm {
    PacketForm {
        expires_at: Some(now() - DAY / 2),
        ..good()
    }
}

rows!(
    InRelease,
    a_good_signature = Row::new(|_, _| {}),
    another_key_and_trusted = by("second"),
    rsa_of_2048_bits = by("rsa-2048"),
    two_signers_both_known = two("second", good),
    two_signers_one_unknown = by_others(&["stranger", "archive"]).gpgv(ALL),
    two_signers_one_expired = two("expired", good),
    two_signers_one_revoked = two("revoked", good),
    two_signers_one_weak = two("rsa-1024", good),
    two_signatures_one_expired =
        two("second", expired).marred("[second]", "the signature expired on [time]"),
    two_signatures_one_with_sha_1 = two("rsa-2048", || hashed(Sha1)),
    a_key_that_nobody_trusts = by_others(&["stranger"]).not_trusted([("[stranger]", UNKNOWN)]),
    a_key_that_nobody_trusts_at_the_first_sync = Row::new(|scene, _| {
        scene.before = None;
        scene.signed_by(&[("stranger", good())]);
    })
    .not_trusted([("[stranger]", UNKNOWN)]),
    two_keys_that_nobody_trusts = by_others(&["stranger", "second"])
        .not_trusted([("[stranger]", UNKNOWN), ("[second]", UNKNOWN)]),
    another_key_is_trusted_now =
        Row::new(|scene, _| scene.trusts(&["second"])).not_trusted([("[archive]", UNKNOWN)]),
    an_expired_key = by("expired")
        .not_trusted([("[expired]", "the key expired on [time]")])
        .gpgv(AFTER),
    a_revoked_key = by("revoked")
        .not_trusted([("[revoked]", "the key was revoked on [time]")])
        .gpgv(AFTER),
    a_retired_key = by("retired")
        .not_trusted([("[retired]", "the key was revoked on [time]")])
        .gpgv(AFTER),
    rsa_of_1024_bits = by("rsa-1024")
        .weak("[rsa-1024]", "RSA keys with 1024 bits are too weak")
        .gpgv(Differs("gpgv has no lower bound"))
        .apt(Differs("gpgv has no lower bound"))
        .dnf(Differs("dnf has no lower bound")),
    a_subkey = by("owner"),
    a_revoked_subkey = by("robbed owner")
        .not_trusted([("[owner's subkey]", "the key was revoked on [time]")])
        .gpgv(AFTER),
    the_primary_key_where_a_subkey_should = Row::new(|scene, _| {
        scene.trusts(&["owner"]);
        scene.signed_by(&[("owner himself", good())]);
    })
    .not_trusted([("[owner]", "the key is not a signing key")]),
);

/// The same, and weak signatures are allowed.
fn allowed(signer: &'static str, how: fn() -> PacketForm) -> Row {
    Row::new(move |scene, _| {
        scene.trusts(&[signer]);
        scene.signed_by(&[(signer, how())]);
        scene.says_above("allow_weak_signatures: true\n");
    })
}

const CLOCK: Client = Differs("apt tells gpgv to ignore conflicts of time");

rows!(
    InRelease,
    an_expired_signature =
        how("archive", expired).not_trusted([("[archive]", "the signature expired on [time]")]),
    a_signature_that_has_not_expired_yet = how("archive", || PacketForm {
        expires_at: Some(now() + DAY),
        ..good()
    }),
    a_signature_from_the_future = how("archive", || PacketForm {
        made: now() + DAY,
        ..good()
    })
    .not_trusted([(
        "[archive]",
        "the signature was created in the future, on [time]"
    )])
    .gpgv(Differs("gpgv reports it and accepts it"))
    .apt(CLOCK)
    .dnf(Differs("dnf does not look at it")),
    a_signature_older_than_its_key = how("archive", || PacketForm {
        made: Key::MADE - 1,
        ..good()
    })
    .not_trusted([(
        "[archive]",
        "the signature is older than its key, which was created on [time]"
    )])
    .apt(CLOCK),
    sha_512 = how("archive", || hashed(Sha512)),
    sha_224 = how("rsa-2048", || hashed(Sha224)),
    sha_1 = how("rsa-2048", || hashed(Sha1))
        .weak("[rsa-2048]", "digest algorithm SHA1 is too weak")
        .gpgv(Differs("gpgv accepts SHA-1, apt does not"))
        .dnf(Differs("dnf accepts SHA-1")),
    md5 = how("rsa-2048", || hashed(Md5)).weak("[rsa-2048]", "digest algorithm MD5 is too weak"),
    sha_1_that_is_allowed =
        allowed("rsa-2048", || hashed(Sha1)).apt(Differs("apt has no such setting")),
    md5_that_is_allowed = allowed("rsa-2048", || hashed(Md5))
        .gpgv(Differs("gpgv has no such setting"))
        .apt(Differs("apt has no such setting"))
        .dnf(Differs("dnf has no such setting")),
    rsa_of_1024_bits_that_is_allowed = allowed("rsa-1024", good),
    a_weak_key_is_allowed_an_unknown_one_is_not = Row::new(|scene, _| {
        scene.signed_by(&[("stranger", good())]);
        scene.says_above("allow_weak_signatures: true\n");
    })
    .not_trusted([("[stranger]", UNKNOWN)]),
    signed_by_a_stranger_and_not_asked_for = Row::new(|scene, root| {
        scene.signed_by(&[("stranger", good())]);
        scene.says(root.unchecked());
    })
    .gpgv(NOT_ASKED)
    .apt(NOT_ASKED)
    .dnf(NOT_ASKED),
);

/// Another root below the signature.
fn edited(edit: fn(&str) -> String) -> Row {
    Row::new(move |scene, root| scene.edit_text(root.path(), edit))
        .not_trusted([("[archive]", BAD)])
}

/// Another signature beside the root.
fn signature(edit: fn(&str) -> String) -> Row {
    Row::new(move |scene, root| scene.edit_text(root.signature(), edit))
}

/// There is a file for the signature, and none in it.
fn none(root: Root) -> Expected {
    let path = root.path();
    refused(
        4,
        format!("the signature file of [server]/{path} contains no OpenPGP signature"),
        CHECK_KEY,
    )
}

fn cut(root: Root) -> Expected {
    let what = format!(
        "the signature of [server]/{} has invalid armor",
        root.path()
    );
    let why = "the armor that begins on line 1 has no end line";
    refused(4, format!("{what}: {why}"), CHECK_KEY)
}

fn binary(root: Root) -> Expected {
    match root {
        Root::Repomd => Expected::Accepted,
        _ => warned(&format!(
            "[server]/{} is not armored, which apt 2.6 requires",
            root.signature()
        )),
    }
}

/// There is no file for it.
fn gone(root: Root) -> Expected {
    let (path, signature) = (root.path(), root.signature());
    let why = format!("[server]/{signature} does not exist or is refused");
    refused(
        4,
        format!("[server]/{path} is not signed ({why})"),
        NEEDS_SETTING,
    )
}

const CHECKSUM: &str = "RFC 9580 forbids to refuse because of it, gpgv does so";
const NOTHING_ELSE: Client = Differs("apt wants nothing but the signature");

rows!(
    Release,
    a_letter_of_the_root = edited(|text| text
        .replacen("primary", "Primary", 1)
        .replacen("Kit", "Cat", 1)),
    a_digit_of_a_digest = edited(|text| text
        .replacen("sha256\">", "sha256\">0", 1)
        .replacen(" main/", "0 main/", 1)),
    a_line_more = edited(|text| format!("{text}X: y\n")),
    an_empty_line_before_the_root = edited(|text| format!("\n{text}")),
    the_root_cut = edited(|text| text[..text.len() / 2].to_owned()),
    the_root_without_its_last_newline = edited(|text| text.trim_end().to_owned()),
    other_line_ends = edited(|text| text.replace('\n', "\r\n")),
    a_page_as_the_root = edited(|_| "<html></html>\n".to_owned()),
    a_letter_of_the_signature =
        signature(|text| in_signature(text, 30)).not_trusted([("[archive]", BAD)]),
    the_armors_checksum = signature(in_checksum)
        .gpgv(Differs(CHECKSUM))
        .apt(Differs(CHECKSUM))
        .dnf(Differs(CHECKSUM)),
    the_signature_of_other_bytes = signature(|_| {
        let packet = signer("archive").sign_packet(b"evil\n", good());
        armored(BlockType::Signature, &packet)
    })
    .not_trusted([("[archive]", BAD)]),
    the_signature_of_a_text = signature(|_| {
        let packet = signer("archive").sign_text_packet("evil", good());
        armored(BlockType::Signature, &packet)
    })
    .not_trusted([("[archive]", BAD)]),
    nothing_as_the_signature = signature(|_| String::new()).is(none),
    a_page_as_the_signature = signature(|_| "<html></html>\n".to_owned()).is(none),
    a_key_as_the_signature =
        signature(|_| armored(BlockType::PublicKey, &signer("archive").public_binary()))
            .not_trusted([(
                "[archive]",
                "the signature has type 0x13, which is not valid for files"
            )]),
    the_signature_cut = signature(|text| text[..text.len() / 2].to_owned()).is(cut),
    text_around_the_signature =
        signature(|text| format!("Comment\n\n{text}\nComment\n")).apt(NOTHING_ELSE),
    the_signature_twice = signature(|text| text.repeat(2)),
    the_signature_in_binary_form = Row::new(|scene, root| {
        let packet = signer("archive").sign_packet(scene.tree.bytes(root.path()), good());
        scene.edit(root.signature(), |_| packet);
    })
    .is(binary)
    .apt(Differs("apt 2.6 wants it armored")),
    no_signature = Row::new(|scene, root| scene.tree.remove(root.signature()))
        .is(gone)
        .gpgv(NO_SIGNATURE),
    no_signature_at_the_first_sync = Row::new(|scene, root| {
        scene.before = None;
        scene.tree.remove(root.signature());
    })
    .is(gone)
    .gpgv(NO_SIGNATURE),
    no_signature_and_not_asked_for = Row::new(|scene, root| {
        scene.tree.remove(root.signature());
        scene.says(root.unchecked());
    })
    .gpgv(NO_SIGNATURE)
    .apt(NOT_ASKED)
    .dnf(NOT_ASKED),
);
