//! Packages that rpm reads: lead, signature header, header, compressed cpio archive.
//!
//! What is said of signatures and digests is in [`super::rpm_inside`]. Tag numbers are those of
//! rpm's own `rpmtag.h`.

use super::codec::{Checksum, Codec};
use super::rpm_inside::{RpmFile, RpmInside};
use crate::kit::keys::Key;

/// Version numbers apart: `epoch` 0 is left out.
pub(super) struct Nevra<'a> {
    pub name: &'a str,
    pub epoch: u32,
    pub version: &'a str,
    pub release: &'a str,
    /// `src` for a source package.
    pub architecture: &'a str,
}

impl Nevra<'_> {
    pub fn file_name(&self) -> String {
        let Self {
            name,
            version,
            release,
            architecture,
            ..
        } = self;
        format!("{name}-{version}-{release}.{architecture}.rpm")
    }

    fn evr(&self) -> String {
        let epoch = match self.epoch {
            0 => String::new(),
            epoch => format!("{epoch}:"),
        };
        format!("{epoch}{}-{}", self.version, self.release)
    }
}

pub(super) const LEAD_SIZE: usize = 96;
/// The type of values that are bytes.
pub(super) const BINARY: usize = 7;
/// Summary and description.
pub(super) const DESCRIPTION: &str = "a package of the tests";

/// The package holds one file with `content`, in a directory of its own name under /usr/share/doc.
///
/// It is signed by `key` unless `inside` says otherwise.
pub(super) fn rpm(
    nevra: &Nevra,
    build_time: u32,
    content: &[u8],
    inside: &RpmInside,
    key: Option<&'static Key>,
) -> RpmFile {
    let (directory, file) = (format!("/usr/share/doc/{}/", nevra.name), "content");
    let archive = cpio(&format!(".{directory}{file}"), build_time, content);
    let payload = Codec::Gz.compress(&archive);
    let mut header = header(nevra, build_time, content, &directory, file);
    inside.describe_payload(&mut header, &payload, &archive);
    let (signature, header, payload) =
        inside.seal(header.encode(), payload, archive.len(), key, build_time);
    let mut bytes = lead(nevra);
    bytes.extend(signature);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(header);
    bytes.extend(payload);
    let mut file = RpmFile::read(bytes);
    if let Some(edit) = inside.edit {
        edit(&mut file);
    }
    file
}

fn header(nevra: &Nevra, build_time: u32, content: &[u8], directory: &str, file: &str) -> Header {
    let is_source = nevra.architecture == "src";
    let source = format!("{}-{}-{}.src.rpm", nevra.name, nevra.version, nevra.release);
    let size = word(content.len());
    let mut header = Header::new(63);
    header.strings(100, &["C"]);
    header.string(1000, nevra.name);
    header.string(1001, nevra.version);
    header.string(1002, nevra.release);
    if nevra.epoch != 0 {
        header.int32(1003, &[nevra.epoch]);
    }
    header.translated(1004, DESCRIPTION);
    header.translated(1005, DESCRIPTION);
    header.int32(1006, &[build_time]);
    header.string(1007, "localhost");
    header.int32(1009, &[size]);
    header.string(1014, "MIT");
    header.translated(1016, "Unspecified");
    header.string(1021, "linux");
    header.string(
        1022,
        if is_source {
            "noarch"
        } else {
            nevra.architecture
        },
    );
    // One file: sizes, modes, rdevs, mtimes, digests, link targets, flags, owners, verify flags.
    header.int32(1028, &[size]);
    header.int16(1030, &[0o100_644]);
    header.int16(1033, &[0]);
    header.int32(1034, &[build_time]);
    header.strings(1035, &[&Checksum::Sha256.hex(content)]);
    header.strings(1036, &[""]);
    header.int32(1037, &[0]);
    header.strings(1039, &["root"]);
    header.strings(1040, &["root"]);
    if !is_source {
        header.string(1044, &source);
    }
    header.int32(1045, &[u32::MAX]);
    header.strings(1047, &[nevra.name]);
    let rpmlib = [
        "CompressedFileNames",
        "FileDigests",
        "PayloadFilesHavePrefix",
    ]
    .map(|feature| format!("rpmlib({feature})"));
    let rpmlib: Vec<&str> = rpmlib.iter().map(String::as_str).collect();
    header.int32(1048, &[0x0100_000a; 3]);
    header.strings(1049, &rpmlib);
    header.strings(1050, &["3.0.4-1", "4.6.0-1", "4.0-1"]);
    header.string(1064, "4.18.0");
    header.int32(1095, &[1]);
    header.int32(1096, &[1]);
    header.strings(1097, &[""]);
    if is_source {
        header.int32(1106, &[1]);
    }
    header.int32(1112, &[8]);
    header.strings(1113, &[&nevra.evr()]);
    header.int32(1116, &[0]);
    header.strings(1117, &[file]);
    header.strings(1118, &[directory]);
    header.string(1124, "cpio");
    header.string(1125, "gzip");
    header.string(1126, "1");
    header.int32(5011, &[8]);
    header
}

fn lead(nevra: &Nevra) -> Vec<u8> {
    let mut lead = vec![0xed, 0xab, 0xee, 0xdb, 3, 0];
    lead.extend([0, u8::from(nevra.architecture == "src"), 0, 1]);
    let name = nevra.file_name();
    let name = &name.as_bytes()[..name.len().min(65)];
    lead.extend(name);
    lead.resize(76, 0);
    lead.extend([0, 1, 0, 5]);
    lead.resize(LEAD_SIZE, 0);
    lead
}

/// A header structure: one immutable region. rpm wants tags, and with them their values, in
/// ascending order.
pub(super) struct Header {
    region: u32,
    entries: Vec<Entry>,
}

struct Entry {
    tag: u32,
    kind: u32,
    count: usize,
    align: usize,
    bytes: Vec<u8>,
}

impl Header {
    pub fn new(region: u32) -> Self {
        Self {
            region,
            entries: Vec::new(),
        }
    }

    pub fn int16(&mut self, tag: u32, values: &[u16]) {
        let bytes = values.iter().flat_map(|value| value.to_be_bytes());
        self.entry(tag, 3, values.len(), 2, bytes.collect());
    }

    pub fn int32(&mut self, tag: u32, values: &[u32]) {
        let bytes = values.iter().flat_map(|value| value.to_be_bytes());
        self.entry(tag, 4, values.len(), 4, bytes.collect());
    }

    pub fn int64(&mut self, tag: u32, value: u64) {
        self.entry(tag, 5, 1, 8, value.to_be_bytes().to_vec());
    }

    pub fn binary(&mut self, tag: u32, bytes: Vec<u8>) {
        self.entry(tag, word(BINARY), bytes.len(), 1, bytes);
    }

    pub fn string(&mut self, tag: u32, value: &str) {
        self.text(tag, 6, &[value]);
    }

    pub fn strings(&mut self, tag: u32, values: &[&str]) {
        self.text(tag, 8, values);
    }

    pub fn translated(&mut self, tag: u32, value: &str) {
        self.text(tag, 9, &[value]);
    }

    fn text(&mut self, tag: u32, kind: u32, values: &[&str]) {
        let bytes = values.iter().flat_map(|value| value.bytes().chain([0]));
        self.entry(tag, kind, values.len(), 1, bytes.collect());
    }

    fn entry(&mut self, tag: u32, kind: u32, count: usize, align: usize, bytes: Vec<u8>) {
        self.entries.push(Entry {
            tag,
            kind,
            count,
            align,
            bytes,
        });
    }

    /// The region's entry comes first; its trailer, last in the store, points back over all
    /// entries.
    pub fn encode(mut self) -> Vec<u8> {
        self.entries.sort_by_key(|entry| entry.tag);
        let (mut words, mut store) = (Vec::new(), Vec::new());
        for entry in &self.entries {
            store.resize(store.len().next_multiple_of(entry.align), 0);
            words.extend([entry.tag, entry.kind, word(store.len()), word(entry.count)]);
            store.extend(&entry.bytes);
        }
        let count = word(self.entries.len()) + 1;
        let trailer = word(store.len());
        for word in [self.region, 7, (16 * count).wrapping_neg(), 16] {
            store.extend(word.to_be_bytes());
        }
        let start = [count, word(store.len()), self.region, 7, trailer, 16];
        let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        bytes.extend(start.into_iter().chain(words).flat_map(u32::to_be_bytes));
        bytes.extend(store);
        bytes
    }
}

pub(super) fn word(number: usize) -> u32 {
    u32::try_from(number).unwrap()
}

/// One file in the `newc` format.
fn cpio(name: &str, mtime: u32, content: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut member = |name: &str, mode: u32, mtime: u32, content: &[u8]| {
        archive.extend(b"070701");
        let (size, name_size) = (content.len(), name.len() + 1);
        let fields = [
            1,
            mode as usize,
            0,
            0,
            1,
            mtime as usize,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        for field in fields {
            archive.extend(format!("{field:08x}").bytes());
        }
        archive.extend(name.as_bytes());
        archive.push(0);
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    };
    member(name, 0o100_644, mtime, content);
    member("TRAILER!!!", 0, 0, &[]);
    archive
}
