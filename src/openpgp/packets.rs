//! The packets of an OpenPGP file (RFC 9580, section 4). They are split here, so that an
//! unsupported one can be skipped.

use pgp::packet::{PacketHeader, PublicKey, PublicSubkey, Signature};
use pgp::ser::Serialize;
use pgp::types::{PacketLength, Tag};

/// A packet that is not parsed yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawPacket<'a> {
    pub header: PacketHeader,
    pub body: &'a [u8],
}

impl<'a> RawPacket<'a> {
    pub fn tag(&self) -> Tag {
        self.header.tag()
    }

    /// The body of a secret key or subkey packet, split into the public part, as in a public key
    /// packet, and the secret part. `None` if the public part is damaged.
    pub fn split_secret(&self) -> Option<(&'a [u8], &'a [u8])> {
        let mut rest = self.body;
        PublicKey::try_from_reader(PacketHeader::new_fixed(Tag::PublicKey, 0), &mut rest).ok()?;
        Some(self.body.split_at(self.body.len() - rest.len()))
    }

    /// The packet as a key; `None` if it is damaged or has trailing bytes.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.parse(|header, body| PublicKey::try_from_reader(header, body))
    }

    /// As [`RawPacket::public_key`].
    pub fn public_subkey(&self) -> Option<PublicSubkey> {
        self.parse(|header, body| PublicSubkey::try_from_reader(header, body))
    }

    /// As [`RawPacket::public_key`].
    pub fn signature(&self) -> Option<Signature> {
        self.parse(|header, body| Signature::try_from_reader(header, body))
    }

    fn parse<T>(
        &self,
        read: impl FnOnce(PacketHeader, &mut &[u8]) -> pgp::errors::Result<T>,
    ) -> Option<T> {
        let mut rest = self.body;
        // The text of the error is dropped: it may contain bytes of the packet.
        let parsed = read(self.header, &mut rest).ok()?;
        rest.is_empty().then_some(parsed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("no OpenPGP packet at byte {offset}")]
    NotAPacket { offset: usize },
    #[error("the OpenPGP packet at byte {offset} is truncated")]
    CutShort { offset: usize },
}

/// Iterates over packets; ends after an error.
pub(super) struct Packets<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Packets<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            length: bytes.len(),
        }
    }

    fn next_packet(&mut self) -> Result<RawPacket<'a>, FramingError> {
        let offset = self.length - self.rest.len();
        let mut rest = self.rest;
        let header = PacketHeader::try_from_reader(&mut rest)
            .map_err(|_| FramingError::NotAPacket { offset })?;
        // The other kinds of length are for data packets, which do not occur here.
        let PacketLength::Fixed(length) = header.packet_length() else {
            return Err(FramingError::NotAPacket { offset });
        };
        let (body, rest) = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or(FramingError::CutShort { offset })?;
        self.rest = rest;
        Ok(RawPacket { header, body })
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<RawPacket<'a>, FramingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = self.next_packet();
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}

/// Appends a packet with a header.
pub(super) fn write(out: &mut Vec<u8>, tag: Tag, body: &[u8]) {
    let length = u32::try_from(body.len()).expect("bodies come out of files that are smaller");
    PacketHeader::new_fixed(tag, length)
        .to_writer(out)
        .expect("writing to memory does not fail");
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_every_length_come_back() {
        let lengths = [0, 1, 191, 192, 8383, 8384, 70_000];
        let mut bytes = Vec::new();
        for length in lengths {
            write(&mut bytes, Tag::UserId, &vec![7; length]);
        }
        let read: Result<Vec<_>, _> = Packets::new(&bytes).collect();
        let read: Vec<_> = read
            .unwrap()
            .iter()
            .map(|packet| packet.body.len())
            .collect();
        assert_eq!(read, lengths);
    }

    #[test]
    fn broken_framing_is_an_error_with_its_place() {
        let cases: [(&[u8], FramingError); 5] = [
            (b"\x00", FramingError::NotAPacket { offset: 0 }),
            (b"\x98\x01a<html>", FramingError::NotAPacket { offset: 3 }),
            (b"\x98\x01a\x98\x02a", FramingError::CutShort { offset: 3 }),
            // Lengths that only data packets have: indeterminate, partial.
            (b"\x9baaaa", FramingError::NotAPacket { offset: 0 }),
            (b"\xc6\xe1aaaa", FramingError::NotAPacket { offset: 0 }),
        ];
        for (bytes, error) in cases {
            let last = Packets::new(bytes).last().unwrap();
            assert_eq!(last.unwrap_err(), error, "{bytes:x?}");
        }
    }
}
