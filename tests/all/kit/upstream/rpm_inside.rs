//! What authenticates an rpm package from inside: its digests and signatures, and what goes wrong
//! with them.
//!
//! The index always lists the file as it is, damage included: whoever looks at its checksum alone
//! finds nothing.
//!
//! ```ignore
//! let old = RpmSignature::by(Key::of(Algorithm::Rsa(2048))).at(Place::HeaderAndPayload).version_3();
//! Package::new("two", "1-1").signatures([RpmSignature::by(Key::archive()), old]);
//! Package::new("stripped", "1-1").signatures([]);
//! Package::new("sly", "1-1").tampered(Tampered::Header(Digests::Renewed));
//! Package::new("bare", "1-1").with_rpm(|rpm| rpm.digests.clear());
//! Package::new("modern", "1-1").with_rpm(|rpm| *rpm = RpmInside::version_6());
//! Package::new("big", "1-1").with_rpm(|rpm| rpm.edit = Some(|file| file.set_count(tag::DSAHEADER, u32::MAX)));
//! ```

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::codec::Checksum;
use super::rpm_package::{BINARY, DESCRIPTION, Header, LEAD_SIZE, word};
use crate::kit::keys::{HashAlgorithm, Key, PacketForm, PacketVersion};

/// The signature header's tags for what is in here.
pub mod tag {
    pub const DSAHEADER: u32 = 267;
    pub const RSAHEADER: u32 = 268;
    pub const SHA1HEADER: u32 = 269;
    pub const SHA256HEADER: u32 = 273;
    pub const OPENPGP: u32 = 278;
    pub const SHA3_256HEADER: u32 = 279;
    pub const SIGPGP: u32 = 1002;
    pub const SIGMD5: u32 = 1004;
    pub const SIGGPG: u32 = 1005;

    pub const SIGNATURES: [u32; 5] = [DSAHEADER, RSAHEADER, OPENPGP, SIGPGP, SIGGPG];
}

/// Of one installable package.
#[derive(Clone, Debug)]
pub struct RpmInside {
    pub format: RpmFormat,
    /// Exactly these; if nothing is said here, one over the header by whoever signs the
    /// repository's packages.
    pub signatures: Option<Vec<RpmSignature>>,
    pub digests: Vec<RpmDigest>,
    pub tampered: Option<Tampered>,
    /// For everything else: has the whole file in its hands before the index is written.
    pub edit: Option<fn(&mut RpmFile)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpmFormat {
    V4,
    /// rpm 6's tags; its payload is still a plain cpio archive.
    V6,
}

/// Where a package says what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpmDigest {
    /// Of header and payload, in the signature header.
    Md5,
    /// Of the header, in the signature header.
    Sha1,
    /// Of the header, in the signature header.
    Sha256,
    /// Of the header, in the signature header.
    Sha3_256,
    /// Of the payload, in the header, by an algorithm that stands beside it.
    Payload(Checksum),
    /// Of the payload, in the header.
    PayloadSha512,
    /// Of the payload, in the header.
    PayloadSha3_256,
}

/// What was changed after signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tampered {
    /// A letter of the summary.
    Header(Digests),
    /// A byte in the middle.
    Payload(Digests),
}

/// The signature header's digests after the change; those in the header stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digests {
    Stale,
    Renewed,
}

/// A signature in a package: over the header, in a packet of the key's version, with SHA-256, at
/// the build time.
#[derive(Clone, Debug)]
pub struct RpmSignature {
    key: &'static Key,
    place: Option<Place>,
    version: PacketVersion,
    hash: HashAlgorithm,
    made: Option<u32>,
    bytes: Option<Vec<u8>>,
}

/// The tags of a signature, and with them what it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// RSAHEADER for RSA keys, DSAHEADER for all others.
    Header,
    /// SIGPGP for RSA keys, SIGGPG for all others.
    HeaderAndPayload,
    /// OPENPGP, rpm 6's list of signatures over the header.
    OpenPgp,
}

/// A package's bytes and where they are what.
pub struct RpmFile {
    pub bytes: Vec<u8>,
    /// From its magic on, without the padding behind it.
    pub signature: Range<usize>,
    pub header: Range<usize>,
}

impl Default for RpmInside {
    fn default() -> Self {
        Self {
            format: RpmFormat::V4,
            signatures: None,
            digests: vec![
                RpmDigest::Sha1,
                RpmDigest::Sha256,
                RpmDigest::Payload(Checksum::Sha256),
            ],
            tampered: None,
            edit: None,
        }
    }
}

impl RpmInside {
    /// As rpm 6 makes them.
    pub fn version_6() -> Self {
        Self {
            format: RpmFormat::V6,
            digests: vec![
                RpmDigest::Sha256,
                RpmDigest::Sha3_256,
                RpmDigest::Payload(Checksum::Sha256),
                RpmDigest::PayloadSha512,
                RpmDigest::PayloadSha3_256,
            ],
            ..Self::default()
        }
    }

    /// Adds to the header what it says of the payload.
    pub(super) fn describe_payload(&self, header: &mut Header, payload: &[u8], archive: &[u8]) {
        if self.format == RpmFormat::V6 {
            header.string(5062, "utf-8");
            header.int64(5112, payload.len() as u64);
            header.int64(5113, archive.len() as u64);
            header.int32(5114, &[6]);
        }
        for digest in &self.digests {
            match digest {
                RpmDigest::Payload(checksum) => {
                    header.strings(5092, &[&checksum.hex(payload)]);
                    header.int32(5093, &[checksum.openpgp_number()]);
                    header.strings(5097, &[&checksum.hex(archive)]);
                }
                RpmDigest::PayloadSha512 => {
                    header.string(5121, &Checksum::Sha512.hex(payload));
                    header.string(5122, &Checksum::Sha512.hex(archive));
                }
                RpmDigest::PayloadSha3_256 => {
                    header.string(5123, &hex(HashAlgorithm::Sha3_256, payload));
                    header.string(5124, &hex(HashAlgorithm::Sha3_256, archive));
                }
                _ => {}
            }
        }
    }

    /// The signature header, header and payload.
    pub(super) fn seal(
        &self,
        header: Vec<u8>,
        payload: Vec<u8>,
        archive_size: usize,
        key: Option<&'static Key>,
        build_time: u32,
    ) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let mut signature = Header::new(62);
        self.sign(&mut signature, &header, &payload, key, build_time);
        let signed = (header, payload);
        let sent = self.tamper(signed.clone());
        let (header, payload) = match self.tampered {
            Some(Tampered::Header(Digests::Renewed) | Tampered::Payload(Digests::Renewed)) => &sent,
            _ => &signed,
        };
        self.digest(&mut signature, header, payload, archive_size);
        (signature.encode(), sent.0, sent.1)
    }

    fn tamper(&self, (mut header, mut payload): (Vec<u8>, Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
        match self.tampered {
            None => {}
            Some(Tampered::Header(_)) => {
                let summary = DESCRIPTION.as_bytes();
                let mut windows = header.windows(summary.len());
                let at = windows.position(|window| window == summary).unwrap();
                header[at] ^= 0x20;
            }
            Some(Tampered::Payload(_)) => {
                let middle = payload.len() / 2;
                payload[middle] ^= 1;
            }
        }
        (header, payload)
    }

    fn sign(
        &self,
        into: &mut Header,
        header: &[u8],
        payload: &[u8],
        key: Option<&'static Key>,
        build_time: u32,
    ) {
        let default: Vec<RpmSignature> = key.map(RpmSignature::by).into_iter().collect();
        let mut in_list = Vec::new();
        for signature in self.signatures.as_ref().unwrap_or(&default) {
            let place = signature.place.unwrap_or(match self.format {
                RpmFormat::V4 => Place::Header,
                RpmFormat::V6 => Place::OpenPgp,
            });
            let signed = match place {
                Place::HeaderAndPayload => [header, payload].concat(),
                Place::Header | Place::OpenPgp => header.to_vec(),
            };
            let packet = signature.packet(&signed, build_time);
            match (place, signature.key.is_rsa()) {
                (Place::Header, false) => into.binary(tag::DSAHEADER, packet),
                (Place::Header, true) => into.binary(tag::RSAHEADER, packet),
                (Place::HeaderAndPayload, true) => into.binary(tag::SIGPGP, packet),
                (Place::HeaderAndPayload, false) => into.binary(tag::SIGGPG, packet),
                (Place::OpenPgp, _) => in_list.push(STANDARD.encode(packet)),
            }
        }
        if !in_list.is_empty() {
            let in_list: Vec<&str> = in_list.iter().map(String::as_str).collect();
            into.strings(tag::OPENPGP, &in_list);
        }
    }

    fn digest(&self, into: &mut Header, header: &[u8], payload: &[u8], archive_size: usize) {
        let whole = [header, payload].concat();
        for digest in &self.digests {
            match digest {
                RpmDigest::Sha1 => into.string(tag::SHA1HEADER, &Checksum::Sha1.hex(header)),
                RpmDigest::Sha256 => into.string(tag::SHA256HEADER, &Checksum::Sha256.hex(header)),
                RpmDigest::Sha3_256 => {
                    into.string(tag::SHA3_256HEADER, &hex(HashAlgorithm::Sha3_256, header));
                }
                RpmDigest::Md5 => {
                    into.binary(tag::SIGMD5, HashAlgorithm::Md5.digest(&whole).unwrap());
                }
                _ => {}
            }
        }
        match self.format {
            RpmFormat::V4 => {
                into.int32(1000, &[word(whole.len())]);
                into.int32(1007, &[word(archive_size)]);
            }
            RpmFormat::V6 => into.binary(999, vec![0; 32]),
        }
    }
}

impl RpmSignature {
    pub fn by(key: &'static Key) -> Self {
        Self {
            key,
            place: None,
            version: PacketVersion::OfKey,
            hash: HashAlgorithm::Sha256,
            made: None,
            bytes: None,
        }
    }

    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    pub fn version_3(mut self) -> Self {
        self.version = PacketVersion::V3;
        self
    }

    /// RSA and DSA keys sign weak ones too.
    pub fn hash(mut self, hash: HashAlgorithm) -> Self {
        self.hash = hash;
        self
    }

    /// In seconds since the epoch.
    pub fn made(mut self, time: u32) -> Self {
        self.made = Some(time);
        self
    }

    /// These bytes stand where the key's signature would.
    pub fn replaced_by(mut self, bytes: &[u8]) -> Self {
        self.bytes = Some(bytes.to_vec());
        self
    }

    fn packet(&self, signed: &[u8], build_time: u32) -> Vec<u8> {
        let form = PacketForm {
            version: self.version,
            ..PacketForm::of(self.hash, self.made.unwrap_or(build_time))
        };
        let replaced = self.bytes.clone();
        replaced.unwrap_or_else(|| self.key.sign_packet(signed, form))
    }
}

impl RpmFile {
    /// Finds its way in a sound package.
    pub fn read(bytes: Vec<u8>) -> Self {
        let end =
            |start: usize| start + 16 + 16 * number(&bytes, start + 8) + number(&bytes, start + 12);
        let signature = LEAD_SIZE..end(LEAD_SIZE);
        let start = signature.end.next_multiple_of(8);
        let header = start..end(start);
        Self {
            bytes,
            signature,
            header,
        }
    }

    /// The signature header's value, of a binary or string tag.
    pub fn value(&self, tag: u32) -> Option<&[u8]> {
        let entry = self.entry(tag)?;
        let store = 16 + 16 * number(&self.bytes, self.signature.start + 8);
        let value = &self.bytes[self.signature.start + store + number(&self.bytes, entry + 8)..];
        Some(match number(&self.bytes, entry + 4) {
            BINARY => &value[..number(&self.bytes, entry + 12)],
            _ => value.split(|byte| *byte == 0).next().unwrap(),
        })
    }

    /// What the signature header's entry says of its number of values: for binary ones, of bytes.
    pub fn set_count(&mut self, tag: u32, count: u32) {
        self.set(self.entry(tag).unwrap() + 12, count);
    }

    /// Where in the store the signature header's entry says its values are.
    pub fn set_offset(&mut self, tag: u32, offset: u32) {
        self.set(self.entry(tag).unwrap() + 8, offset);
    }

    /// What the signature header says of its number of entries and its store's size.
    pub fn set_sizes(&mut self, entries: u32, store: u32) {
        self.set(self.signature.start + 8, entries);
        self.set(self.signature.start + 12, store);
    }

    fn set(&mut self, at: usize, number: u32) {
        self.bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    }

    /// Where the signature header's entry begins: tag, type, offset, count.
    fn entry(&self, tag: u32) -> Option<usize> {
        let first = self.signature.start + 16;
        let count = number(&self.bytes, self.signature.start + 8);
        let mut entries = (0..count).map(|entry| first + 16 * entry);
        entries.find(|at| self.bytes[*at..].starts_with(&tag.to_be_bytes()))
    }
}

/// Four bytes.
fn number(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes[at..at + 4].try_into().unwrap();
    u32::from_be_bytes(bytes) as usize
}

fn hex(algorithm: HashAlgorithm, bytes: &[u8]) -> String {
    super::codec::hex(&algorithm.digest(bytes).unwrap())
}
