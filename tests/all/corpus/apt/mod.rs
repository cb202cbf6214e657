//! APT: Release and its signatures, Packages and Sources.

mod files;
mod release;
mod signatures;
mod stanzas;
mod tampering;

use std::sync::LazyLock;

use super::scene::Base;
use super::{Expected, refused};
use crate::bad_input::BROKEN;
use crate::bad_input::forge::plain_deb;
use crate::kit::upstream::{Codec, Deb, DebExtra, Roots};

pub const IN_RELEASE: &str = "dists/stable/InRelease";
pub const RELEASE: &str = "dists/stable/Release";
pub const RELEASE_GPG: &str = "dists/stable/Release.gpg";

const PACKAGES: &str = "dists/stable/main/binary-amd64/Packages";
const SOURCES: &str = "dists/stable/main/source/Sources";

/// As messages name it.
const INDEX: &str = "main/binary-amd64/Packages";

const NO_MESSAGE: &str = "the first line is not \"-----BEGIN PGP SIGNED MESSAGE-----\"";

/// Of two fields of one name.
const LAST: &str = "apt takes the one that it reads last";

/// Without compression and by-hash: what can be edited as text.
pub fn plain() -> &'static Base {
    static BASE: LazyLock<Base> = LazyLock::new(|| base(|_| {}));
    &BASE
}

/// The same, with Release and Release.gpg alone.
pub fn detached() -> &'static Base {
    static BASE: LazyLock<Base> = LazyLock::new(|| base(|deb| deb.roots = Roots::DetachedOnly));
    &BASE
}

/// With Packages.gz instead.
fn gzipped() -> &'static Base {
    static BASE: LazyLock<Base> = LazyLock::new(|| {
        base(|deb| {
            deb.compressions = vec![Codec::Gz];
            deb.listed_only = vec![Codec::Plain];
        })
    });
    &BASE
}

/// With Sources.
fn sources() -> &'static Base {
    static BASE: LazyLock<Base> = LazyLock::new(|| {
        base(|deb| {
            deb.extras.insert(DebExtra::Sources);
        })
    });
    &BASE
}

fn base(change: impl FnOnce(&mut Deb)) -> Base {
    Base::new(plain_deb().with_deb(change))
}

fn not_trusted(reasons: &[(&str, &str)]) -> Expected {
    super::not_trusted(IN_RELEASE, reasons)
}

fn marred(reasons: &[(&str, &str)]) -> Expected {
    super::marred(IN_RELEASE, reasons)
}

fn not_clear_signed(why: &str) -> Expected {
    let what = "is not a valid clear-signed file";
    refused(4, format!("[server]/{IN_RELEASE} {what}: {why}"), BROKEN)
}

fn malformed_index(why: &str) -> Expected {
    refused(4, format!("{INDEX}: {why}"), BROKEN)
}
