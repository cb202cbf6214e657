//! The signatures inside an RPM package, and the digests of its parts.
//!
//! ```text
//! lead | signature header | header | payload
//!        |                  '- signed; has digests of the payload
//!        '- signatures and digests over the header, in old packages also over header and payload together
//! ```
//!
//! - A package is read once, sequentially, with limited memory.
//! - All its digests must be correct, as in rpm, including weak ones: otherwise clients would
//!   reject it.
//! - A signature is accepted only if it covers the payload, directly or by a strong digest of the
//!   payload in the signed header.
//!
//! Tag numbers are those of `rpmtag.h`; signatures and digests are those of rpm 3 to 6.

use std::io::{self, Read};

use base64::Engine;

use super::files::join_version;
use super::header::{self, HeaderError, Limits, Values};
use crate::digest::hex;
use crate::format::error::PackageError;
use crate::format::package::{Identity, PackageHeader};
use crate::openpgp::{
    HashAlgorithm, HashedSignature, Hasher, SignatureHasher, is_collision_resistant,
};
use crate::pool::BUFFER;

const LEAD_LENGTH: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// The signature type in the lead that means a signature header follows.
const LEAD_SIGNATURE_TYPE: (usize, [u8; 2]) = (78, [0, 5]);
/// Limit for signatures in one package: each requires hashing the data.
const MAX_SIGNATURES: usize = 16;

const SIGNATURE_LIMITS: Limits = Limits {
    entries: 1024,
    data: 64 << 20,
};
const HEADER_LIMITS: Limits = Limits {
    entries: 0xffff,
    data: 0x0fff_ffff,
};

mod tag {
    pub const DSA_HEADER: u32 = 267;
    pub const RSA_HEADER: u32 = 268;
    pub const SHA1_HEADER: u32 = 269;
    pub const SHA256_HEADER: u32 = 273;
    pub const OPENPGP: u32 = 278;
    pub const SHA3_256_HEADER: u32 = 279;
    /// RSA over header and payload.
    pub const PGP: u32 = 1002;
    /// Over header and payload.
    pub const MD5: u32 = 1004;
    /// DSA over header and payload.
    pub const GPG: u32 = 1005;
    pub const NAME: u32 = 1000;
    pub const VERSION: u32 = 1001;
    pub const RELEASE: u32 = 1002;
    pub const EPOCH: u32 = 1003;
    pub const ARCHITECTURE: u32 = 1022;
    pub const SOURCE_RPM: u32 = 1044;
    /// Without an algorithm tag, as written by rpm 6, it is SHA-256.
    pub const PAYLOAD_DIGEST: u32 = 5092;
    pub const PAYLOAD_DIGEST_ALGORITHM: u32 = 5093;
    pub const PAYLOAD_SHA512: u32 = 5121;
    pub const PAYLOAD_SHA3_256: u32 = 5123;
}

/// A declared digest of a part of a package.
struct Declared {
    hasher: Hasher,
    expected: Vec<u8>,
}

/// The digests and signatures in the signature header: of the header, and of header and payload
/// together.
#[derive(Default)]
struct Claims {
    header_digests: Vec<Declared>,
    header_signatures: Vec<Result<SignatureHasher, HashedSignature>>,
    whole_digests: Vec<Declared>,
    whole_signatures: Vec<Result<SignatureHasher, HashedSignature>>,
}

/// Reads a package, and verifies its digests.
pub fn read_package_header(package: &mut dyn Read) -> Result<PackageHeader, PackageError> {
    read_lead(package)?;
    let mut claims = read_signature_header(package)?;
    let wanted = [
        tag::NAME,
        tag::VERSION,
        tag::RELEASE,
        tag::EPOCH,
        tag::ARCHITECTURE,
        tag::SOURCE_RPM,
        tag::PAYLOAD_DIGEST,
        tag::PAYLOAD_DIGEST_ALGORITHM,
        tag::PAYLOAD_SHA512,
        tag::PAYLOAD_SHA3_256,
    ];
    let header = header::read(package, HEADER_LIMITS, &wanted, &mut |bytes| {
        update(&mut claims.header_digests, bytes);
        update_signatures(&mut claims.header_signatures, bytes);
        update(&mut claims.whole_digests, bytes);
        update_signatures(&mut claims.whole_signatures, bytes);
    });
    let (header, _) = header.map_err(broken_header)?;
    let has_header_digest = !claims.header_digests.is_empty();
    check(claims.header_digests, Part::Header)?;
    let identity = identity(&header).map_err(broken_header)?;
    let mut payload_digests = declared_of_payload(&header).map_err(broken_header)?;
    let is_payload_covered = payload_digests
        .iter()
        .any(|digest| is_collision_resistant(digest.hasher.algorithm()));

    let mut buffer = vec![0; BUFFER];
    loop {
        let read = match package.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let bytes = &buffer[..read];
        update(&mut payload_digests, bytes);
        update(&mut claims.whole_digests, bytes);
        update_signatures(&mut claims.whole_signatures, bytes);
    }
    check(payload_digests, Part::Payload)?;
    let whole = if has_header_digest {
        Part::Payload
    } else {
        Part::HeaderOrPayload
    };
    check(claims.whole_digests, whole)?;

    let is_header_signed = !claims.header_signatures.is_empty();
    let mut signatures = claims.whole_signatures;
    if is_payload_covered {
        signatures.extend(claims.header_signatures);
    }
    match (signatures.is_empty(), is_header_signed) {
        (true, true) => Err(PackageError::PayloadNotSigned),
        (true, false) => Err(PackageError::NotSigned),
        (false, _) => Ok(PackageHeader {
            identity,
            signatures: signatures
                .into_iter()
                .map(|signature| signature.map_or_else(|verdict| verdict, SignatureHasher::finish))
                .collect(),
        }),
    }
}

fn identity(header: &Values) -> Result<Identity, HeaderError> {
    let text = |tag| -> Result<&str, HeaderError> {
        Ok(header.texts(tag)?.first().copied().unwrap_or_default())
    };
    let epoch = header.int32(tag::EPOCH)?.unwrap_or_default().to_string();
    let architecture = text(tag::ARCHITECTURE)?.to_owned();
    let architectures = if header.texts(tag::SOURCE_RPM)?.is_empty() {
        // For rpm, a package without a source package is itself one, regardless of its
        // architecture. Not all programs that write indexes do the same.
        vec!["src".to_owned(), "nosrc".to_owned(), architecture]
    } else {
        vec![architecture]
    };
    Ok(Identity {
        name: text(tag::NAME)?.to_owned(),
        version: join_version(&epoch, text(tag::VERSION)?, text(tag::RELEASE)?),
        architectures,
    })
}

/// Whether the bytes begin like an RPM package.
pub fn is_package(start: &[u8]) -> bool {
    start.starts_with(&LEAD_MAGIC)
}

fn read_lead(package: &mut dyn Read) -> Result<(), PackageError> {
    let mut lead = [0; LEAD_LENGTH];
    package
        .read_exact(&mut lead)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => PackageError::NotAPackage("the file is too short"),
            _ => error.into(),
        })?;
    let (at, signature_type) = LEAD_SIGNATURE_TYPE;
    if !is_package(&lead) {
        return Err(PackageError::NotAPackage("the magic number is missing"));
    }
    if !lead[at..].starts_with(&signature_type) {
        return Err(PackageError::NotAPackage("the signature header is missing"));
    }
    Ok(())
}

fn read_signature_header(package: &mut dyn Read) -> Result<Claims, PackageError> {
    let broken = |error| match error {
        HeaderError::Io(error) => PackageError::Io(error),
        error => PackageError::SignatureHeader(error.to_string()),
    };
    let header_signatures = [tag::DSA_HEADER, tag::RSA_HEADER];
    let whole_signatures = [tag::PGP, tag::GPG];
    let header_digests = [
        (tag::SHA1_HEADER, HashAlgorithm::Sha1),
        (tag::SHA256_HEADER, HashAlgorithm::Sha256),
        (tag::SHA3_256_HEADER, HashAlgorithm::Sha3_256),
    ];
    let mut wanted = vec![tag::OPENPGP, tag::MD5];
    wanted.extend(header_signatures);
    wanted.extend(whole_signatures);
    wanted.extend(header_digests.map(|(tag, _)| tag));
    let (values, size) =
        header::read(package, SIGNATURE_LIMITS, &wanted, &mut |_| ()).map_err(broken)?;
    // The main header begins at a multiple of eight.
    let padding = (size.next_multiple_of(8) - size) as usize;
    package
        .read_exact(&mut [0; 8][..padding])
        .map_err(|error| broken(error.into()))?;

    let mut claims = Claims::default();
    let collect = |claims: &mut Claims| -> Result<(), HeaderError> {
        for (tag, algorithm) in header_digests {
            claims
                .header_digests
                .extend(declared_hex(&values, tag, algorithm)?);
        }
        if let Some(expected) = values.binary(tag::MD5)? {
            let expected = expected.to_vec();
            let hasher = Hasher::new(HashAlgorithm::Md5);
            claims
                .whole_digests
                .extend(hasher.map(|hasher| Declared { hasher, expected }));
        }
        for tag in header_signatures {
            let packet = values.binary(tag)?;
            claims
                .header_signatures
                .extend(packet.map(SignatureHasher::new));
        }
        for text in values.texts(tag::OPENPGP)?.into_iter().take(MAX_SIGNATURES) {
            let packet = base64::engine::general_purpose::STANDARD.decode(without_blanks(text));
            let why = "not base64";
            let tag = tag::OPENPGP;
            let packet = packet.map_err(|_| HeaderError::Value { tag, why })?;
            claims.header_signatures.push(SignatureHasher::new(&packet));
        }
        for tag in whole_signatures {
            let packet = values.binary(tag)?;
            claims
                .whole_signatures
                .extend(packet.map(SignatureHasher::new));
        }
        Ok(())
    };
    collect(&mut claims).map_err(broken)?;
    Ok(claims)
}

/// rpm breaks it into lines.
fn without_blanks(text: &str) -> String {
    text.split_ascii_whitespace().collect()
}

/// A hexadecimal digest, if present.
fn declared_hex(
    values: &Values,
    tag: u32,
    algorithm: HashAlgorithm,
) -> Result<Option<Declared>, HeaderError> {
    let texts = values.texts(tag)?;
    let text = match texts.as_slice() {
        [] => return Ok(None),
        [text] => text,
        _ => {
            let why = "more than one digest";
            return Err(HeaderError::Value { tag, why });
        }
    };
    let expected = decode_hex(text).ok_or(HeaderError::Value {
        tag,
        why: "not a hexadecimal number",
    })?;
    let hasher = Hasher::new(algorithm).ok_or(HeaderError::Value {
        tag,
        why: "unknown algorithm",
    })?;
    Ok(Some(Declared { hasher, expected }))
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            u8::try_from(digit(0)? << 4 | digit(1)?).ok()
        })
        .collect()
}

fn declared_of_payload(header: &Values) -> Result<Vec<Declared>, HeaderError> {
    let algorithm = header
        .int32(tag::PAYLOAD_DIGEST_ALGORITHM)?
        .map_or(8, |number| u8::try_from(number).unwrap_or(0));
    let mut declared = Vec::new();
    for (tag, algorithm) in [
        (tag::PAYLOAD_DIGEST, HashAlgorithm::from(algorithm)),
        (tag::PAYLOAD_SHA512, HashAlgorithm::Sha512),
        (tag::PAYLOAD_SHA3_256, HashAlgorithm::Sha3_256),
    ] {
        declared.extend(declared_hex(header, tag, algorithm)?);
    }
    Ok(declared)
}

fn broken_header(error: HeaderError) -> PackageError {
    match error {
        HeaderError::Io(error) => PackageError::Io(error),
        error => PackageError::Header(error.to_string()),
    }
}

fn update(digests: &mut [Declared], bytes: &[u8]) {
    for digest in digests {
        digest.hasher.update(bytes);
    }
}

fn update_signatures(signatures: &mut [Result<SignatureHasher, HashedSignature>], bytes: &[u8]) {
    for signature in signatures.iter_mut().flatten() {
        signature.update(bytes);
    }
}

/// The part of a package that a digest covers.
#[derive(Clone, Copy)]
enum Part {
    Header,
    Payload,
    HeaderOrPayload,
}

/// Verifies all digests.
fn check(digests: Vec<Declared>, part: Part) -> Result<(), PackageError> {
    for Declared { hasher, expected } in digests {
        let algorithm = hasher.algorithm();
        let got = hasher.finish();
        if got == expected {
            continue;
        }
        let what = format!("expected {algorithm} {}, got {}", hex(&expected), hex(&got));
        return Err(match part {
            Part::Header => PackageError::Header(what),
            Part::Payload => PackageError::Payload(what),
            Part::HeaderOrPayload => PackageError::HeaderOrPayload(what),
        });
    }
    Ok(())
}
