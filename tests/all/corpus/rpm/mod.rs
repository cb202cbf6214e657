//! RPM: repomd.xml and its signature, primary, packages.

mod packages;
mod primary;
mod repomd;
mod signatures;

use std::sync::LazyLock;

use super::scene::Base;
use crate::bad_input::forge::plain_rpm;
use crate::kit::upstream::Codec;

pub const REPOMD: &str = "repodata/repomd.xml";
pub const ASC: &str = "repodata/repomd.xml.asc";
const PRIMARY: &str = "repodata/primary.xml";

/// Without compression and digests in names: what can be edited as text.
pub fn plain() -> &'static Base {
    static BASE: LazyLock<Base> = LazyLock::new(|| Base::new(plain_rpm()));
    &BASE
}

/// With primary.xml.gz instead.
fn gzipped() -> &'static Base {
    static BASE: LazyLock<Base> =
        LazyLock::new(|| Base::new(plain_rpm().with_rpm(|rpm| rpm.compression = Codec::Gz)));
    &BASE
}
