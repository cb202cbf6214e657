//! Names on a medium: of the folder of a transfer, and of the files of an object.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::{ObjectId, ObjectRef};
use crate::names::ExporterId;

pub const MANIFEST: &str = "manifest.zst";
pub const SIGNATURE: &str = "manifest.zst.asc";
pub const INCOMPLETE: &str = "INCOMPLETE";
pub const OBJECTS: &str = "objects";
const PREFIX: &str = "chantal-";

/// The size of the parts of a large object, in bytes.
pub const PIECE: u64 = 2 << 30;
/// Objects of this size or more are written in parts: files on FAT are smaller than 4 GiB.
const LARGE: u64 = 4 << 30;

/// Identifies a transfer among those of all exporters to one destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferName {
    pub exporter: ExporterId,
    /// From 1.
    pub number: u64,
}

impl TransferName {
    /// The transfer in a folder with this name; `None` if it is the name of something else.
    pub fn of_folder(name: &str) -> Option<Self> {
        let (exporter, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let parsed = Self {
            exporter: ExporterId::parse(exporter)?,
            number: number.parse().ok().filter(|number| *number > 0)?,
        };
        // `+1` and `01` are numbers, too.
        (parsed.folder() == name).then_some(parsed)
    }

    /// The name of its folder.
    pub fn folder(&self) -> String {
        format!("{PREFIX}{}-{}", self.exporter, self.number)
    }
}

impl fmt::Display for TransferName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folder())
    }
}

/// The number of parts of an object that is written in several files; `None` if it is one file.
pub fn piece_count(size: u64) -> Option<u64> {
    (size >= LARGE).then(|| size.div_ceil(PIECE))
}

/// The sizes of the parts of an object that is written in several files; `None` if it is one file.
pub fn piece_sizes(size: u64) -> Option<impl Iterator<Item = u64>> {
    let pieces = piece_count(size)?;
    Some((0..pieces).map(move |n| (size - n * PIECE).min(PIECE)))
}

/// A file that holds an object, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectFile {
    object: ObjectId,
    piece: Option<u64>,
    /// In bytes.
    pub size: u64,
}

impl ObjectFile {
    /// Relative to the folder of the transfer.
    pub fn path(&self) -> PathBuf {
        let mut path = Path::new(OBJECTS).join(fan_out(self.object));
        path.push(object_file(self.object, self.piece));
        path
    }
}

/// The files that an object is written to.
pub fn object_files(content: ObjectRef) -> impl Iterator<Item = ObjectFile> {
    let ObjectRef { object, size } = content;
    let pieces: Vec<(Option<u64>, u64)> = match piece_sizes(size) {
        None => vec![(None, size)],
        Some(sizes) => (0..).map(Some).zip(sizes).collect(),
    };
    pieces.into_iter().map(move |(piece, size)| ObjectFile {
        object,
        piece,
        size,
    })
}

/// The directory of an object below `objects`.
pub fn fan_out(object: ObjectId) -> String {
    object.hex()[..2].to_owned()
}

/// The file name of an object, or of one of its parts.
pub fn object_file(object: ObjectId, piece: Option<u64>) -> String {
    match piece {
        None => object.hex(),
        Some(number) => format!("{object}.{number:03}"),
    }
}

/// The object and part of a file name as in [`object_file`].
pub fn parse_object_file(name: &str) -> Option<(ObjectId, Option<u64>)> {
    let (hex, piece) = match name.split_once('.') {
        None => (name, None),
        Some((hex, number)) => (hex, Some(number.parse().ok()?)),
    };
    let object = hex.parse().ok()?;
    (object_file(object, piece) == name).then_some((object, piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTER: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn folders_are_recognized_by_their_exact_name() {
        let name = format!("chantal-{EXPORTER}-42");
        let parsed = TransferName::of_folder(&name).unwrap();
        assert_eq!((parsed.exporter.as_str(), parsed.number), (EXPORTER, 42));
        assert_eq!(parsed.folder(), name);
        for other in [
            String::new(),
            "chantal-42".to_owned(),
            format!("chantal-{EXPORTER}"),
            format!("chantal-{EXPORTER}-"),
            format!("chantal-{EXPORTER}-0"),
            format!("chantal-{EXPORTER}-042"),
            format!("chantal-{EXPORTER}-+42"),
            format!("chantal-{EXPORTER}-18446744073709551616"),
            format!("chantal-{}-42", EXPORTER.to_uppercase()),
            format!("chantal-{}-42", &EXPORTER[1..]),
            format!("{name}/"),
        ] {
            assert_eq!(TransferName::of_folder(&other), None, "{other}");
        }
    }

    #[test]
    fn large_objects_are_written_in_parts() {
        let sizes = |size| piece_sizes(size).map(Iterator::collect::<Vec<u64>>);
        assert_eq!(sizes(0), None);
        assert_eq!(sizes((4 << 30) - 1), None);
        assert_eq!(sizes(4 << 30), Some(vec![PIECE, PIECE]));
        assert_eq!(sizes((4 << 30) + 1), Some(vec![PIECE, PIECE, 1]));
    }

    #[test]
    fn files_of_objects_are_recognized_by_their_exact_name() {
        let object = ObjectId::of(b"x");
        for piece in [None, Some(0), Some(7), Some(1000)] {
            let name = object_file(object, piece);
            assert_eq!(parse_object_file(&name), Some((object, piece)));
        }
        let hex = object.hex();
        for other in [
            String::new(),
            hex[1..].to_owned(),
            hex.to_uppercase(),
            format!("{hex}."),
            format!("{hex}.0"),
            format!("{hex}.0000"),
            format!("{hex}.-01"),
            format!("{hex}.000.000"),
        ] {
            assert_eq!(parse_object_file(&other), None, "{other}");
        }
    }
}
