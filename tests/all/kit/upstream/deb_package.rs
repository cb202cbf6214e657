//! Binary packages that dpkg reads: an ar archive of two compressed tar archives.

use super::codec::Codec;

/// One installed file, `/usr/share/doc/<name>/content`.
pub(super) fn deb(control: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let control = tar(&[("./control".to_owned(), control.as_bytes())]);
    let file = format!("./usr/share/doc/{name}/content");
    let data = tar(&[
        ("./".to_owned(), b""),
        ("./usr/".to_owned(), b""),
        ("./usr/share/".to_owned(), b""),
        ("./usr/share/doc/".to_owned(), b""),
        (format!("./usr/share/doc/{name}/"), b""),
        (file, content),
    ]);
    ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &Codec::Gz.compress(&control)),
        ("data.tar.gz", &Codec::Gz.compress(&data)),
    ])
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let (mtime, owner, mode, size) = (0, 0, "100644", bytes.len());
        let header = format!("{name:<16}{mtime:<12}{owner:<6}{owner:<6}{mode:<8}{size:<10}`\n");
        archive.extend(header.as_bytes());
        archive.extend(*bytes);
        if size % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

/// Names that end in a slash are directories.
pub(super) fn tar(entries: &[(String, &[u8])]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut archive = Vec::new();
    for (name, bytes) in entries {
        let (mode, kind) = if name.ends_with('/') {
            ("0000755", b'5')
        } else {
            ("0000644", b'0')
        };
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        assert!(name.len() <= 100, "{name} is too long for ustar");
        put(0, name);
        put(100, mode);
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", bytes.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(257, "ustar\u{0}00");
        put(265, "root");
        put(297, "root");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(*bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}
