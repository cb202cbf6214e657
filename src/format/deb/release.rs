//! Release: one stanza that vouches for the indexes of a distribution.
//!
//! Only what SHA-256 or SHA-512 vouches for is in it; the lists of MD5 and SHA-1 are not read.

use std::collections::{BTreeMap, BTreeSet};

use super::indexes::component_directory;
use super::stanza::Stanzas;
use super::text;
use crate::digest::{Algorithm, Digest};
use crate::format::FormatError;
use crate::rel_path::RelPath;

/// Ubuntu's lists have about 3,000 files, Debian's 1,500.
const FILES_LIMIT: usize = 50_000;

/// What a Release says. Names are as it writes them.
#[derive(Debug, Default)]
pub struct Release {
    /// In seconds since the epoch, like `valid_until`.
    pub date: Option<i64>,
    pub valid_until: Option<i64>,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    /// Every index also stands under the name of its digest.
    pub acquire_by_hash: bool,
    /// Clients find the packages of `all` in every architecture's Packages (`No-Support-for-Architecture-all`).
    pub all_in_every_packages: bool,
    /// By their path relative to the directory of Release.
    pub files: BTreeMap<RelPath, ListedFile>,
}

/// A file that Release vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    pub size: u64,
    /// Strongest first; never empty.
    pub digests: Vec<Digest>,
}

impl ListedFile {
    /// The one that the file is held against: SHA-256 where it is listed, because objects are named by it and what the
    /// pool has is found without a detour.
    pub fn digest(&self) -> Digest {
        let named = self
            .digests
            .iter()
            .find(|digest| digest.object_id().is_some());
        *named.unwrap_or(&self.digests[0])
    }
}

impl Release {
    pub fn parse(file: &str, mut bytes: &[u8]) -> Result<Self, FormatError> {
        let mut stanzas = Stanzas::new(
            file,
            &mut bytes,
            [
                "Date",
                "Valid-Until",
                "Components",
                "Architectures",
                "Acquire-By-Hash",
                "No-Support-for-Architecture-all",
                "SHA512",
                "SHA256",
            ],
        );
        let Some(
            [
                date,
                valid_until,
                components,
                architectures,
                by_hash,
                no_support_for_all,
                sha512,
                sha256,
            ],
        ) = stanzas.next()?
        else {
            return Err(FormatError::malformed(file, "it is empty"));
        };
        let words = |field, value: Option<&[u8]>| {
            let value = text(file, field, value.unwrap_or_default())?;
            Ok::<_, FormatError>(value.split_whitespace().map(str::to_owned).collect())
        };
        let time = |field, value: Option<&[u8]>| {
            value
                .map(|value| parse_date(file, field, text(file, field, value)?))
                .transpose()
        };
        let no_support: Vec<String> = words("No-Support-for-Architecture-all", no_support_for_all)?;
        let mut release = Self {
            date: time("Date", date)?,
            valid_until: time("Valid-Until", valid_until)?,
            components: words("Components", components)?,
            architectures: words("Architectures", architectures)?,
            acquire_by_hash: by_hash.is_some_and(|value| value.eq_ignore_ascii_case(b"yes")),
            all_in_every_packages: no_support.iter().any(|word| word == "Packages"),
            files: BTreeMap::new(),
        };
        if sha512.is_none() && sha256.is_none() {
            return Err(FormatError::NoDigest {
                file: file.to_owned(),
                named_by: "its list of files".to_owned(),
            });
        }
        release.list(file, "SHA512", Algorithm::Sha512, sha512)?;
        release.list(file, "SHA256", Algorithm::Sha256, sha256)?;
        if stanzas.next()?.is_some() {
            return Err(FormatError::malformed(file, "it has more than one stanza"));
        }
        Ok(release)
    }

    /// Adds a list of files; stronger algorithms come first.
    fn list(
        &mut self,
        file: &str,
        field: &str,
        algorithm: Algorithm,
        lines: Option<&[u8]>,
    ) -> Result<(), FormatError> {
        let lines = text(file, field, lines.unwrap_or_default())?;
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let malformed = |what: String| FormatError::malformed(file, format!("{field}: {what}"));
            let (hex, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let rest = rest.trim_start();
            let (size, name) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
            let name = name.trim();
            let digest =
                Digest::parse(algorithm, hex).map_err(|error| malformed(error.to_string()))?;
            let size = size
                .parse()
                .map_err(|_| malformed(format!("{name:?} has the size {size:?}")))?;
            let path = RelPath::parse(name).map_err(|source| FormatError::Path {
                file: file.to_owned(),
                named_by: field.to_owned(),
                source,
            })?;
            if self.files.len() >= FILES_LIMIT {
                return Err(malformed(format!("more than {FILES_LIMIT} files")));
            }
            let listed = self.files.entry(path).or_insert_with(|| ListedFile {
                size,
                digests: Vec::with_capacity(2),
            });
            let known = listed
                .digests
                .iter()
                .find(|other| other.algorithm() == algorithm);
            if listed.size != size || known.is_some_and(|other| *other != digest) {
                return Err(malformed(format!(
                    "{name:?} is listed twice, with other content"
                )));
            }
            if known.is_none() {
                listed.digests.push(digest);
            }
        }
        Ok(())
    }
}

/// The fields of a Release over new indexes, of which it lists these names: those of the last root but the lists of files and
/// what they have in common, with the architectures and components that any of the roots has and that are there.
pub(super) fn fields_of(
    file: &str,
    roots: &[&[u8]],
    names: &BTreeSet<&str>,
) -> Result<Vec<u8>, FormatError> {
    let lists = Lists::of(file, roots, names)?;
    let mut kept = Vec::new();
    for_each_field(roots[roots.len() - 1], |name, lines| {
        match name.to_ascii_lowercase().as_str() {
            "md5sum" | "sha1" | "sha256" | "sha384" | "sha512" | "acquire-by-hash"
            | "signed-by" => {}
            "no-support-for-architecture-all" if !lists.all_in_every_packages => {}
            "architectures" => push_words(&mut kept, name, &lists.architectures),
            "components" => push_words(&mut kept, name, &lists.components),
            _ => push_line(&mut kept, lines),
        }
    });
    Ok(kept)
}

/// What several roots list together, as far as it is there.
struct Lists {
    architectures: Vec<String>,
    components: Vec<String>,
    all_in_every_packages: bool,
}

impl Lists {
    fn of(file: &str, roots: &[&[u8]], names: &BTreeSet<&str>) -> Result<Self, FormatError> {
        let there: BTreeSet<&str> = names
            .iter()
            .flat_map(|name| name.split('/'))
            .filter_map(|segment| segment.strip_prefix("binary-"))
            .collect();
        let directories: BTreeSet<&str> = names
            .iter()
            .filter_map(|name| component_directory(name))
            .collect();
        let mut lists = Self {
            architectures: Vec::new(),
            components: Vec::new(),
            all_in_every_packages: true,
        };
        for root in roots {
            let root = Release::parse(file, root)?;
            let has_all = root.architectures.iter().any(|name| name == "all");
            lists.all_in_every_packages &= root.all_in_every_packages || !has_all;
            for name in root.architectures {
                // A flat repository has one Packages for all of them.
                let is_there = there.is_empty() || name == "all" || there.contains(name.as_str());
                if is_there && !lists.architectures.contains(&name) {
                    lists.architectures.push(name);
                }
            }
            for name in root.components {
                let last = &name[name.rfind('/').map_or(0, |at| at + 1)..];
                let is_there = directories.is_empty()
                    || directories.contains(name.as_str())
                    || directories.contains(last);
                if is_there && !lists.components.contains(&name) {
                    lists.components.push(name);
                }
            }
        }
        // Whoever finds `all` there and nothing that says otherwise asks for its own Packages.
        if !lists.all_in_every_packages && !there.is_empty() && !there.contains("all") {
            lists.architectures.retain(|name| name != "all");
        }
        Ok(lists)
    }
}

/// The same Release with other values of these fields, also of those that it did not have.
pub fn with_fields(root: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        push_line(&mut out, format!("{name}: {value}").as_bytes());
    }
    for_each_field(root, |name, lines| {
        if !fields
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
        {
            push_line(&mut out, lines);
        }
    });
    out
}

fn push_words(out: &mut Vec<u8>, name: &str, words: &[String]) {
    push_line(out, format!("{name}: {}", words.join(" ")).as_bytes());
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    if !line.ends_with(b"\n") {
        out.push(b'\n');
    }
}

/// Gives each field of the one stanza with all its lines.
fn for_each_field(root: &[u8], mut each: impl FnMut(&str, &[u8])) {
    let mut start = 0;
    let mut end = 0;
    let mut fields = Vec::new();
    for line in root.split_inclusive(|byte| *byte == b'\n') {
        let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
        if !is_folded && end > start {
            fields.push(start..end);
            start = end;
        }
        end += line.len();
    }
    fields.push(start..end);
    for field in fields {
        let lines = &root[field];
        let name = lines.split(|byte| *byte == b':').next().unwrap_or_default();
        // Release was parsed: what has no name is a blank line at its end.
        // A blank before the colon belongs to neither, and the readers of stanzas take it so.
        if let Ok(trimmed) = std::str::from_utf8(name.trim_ascii_end())
            && name.len() < lines.len()
        {
            each(trimmed, lines);
        }
    }
}

/// Whether a Release with a new date may be believed as long as the one that it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidUntil {
    Stays,
    IsDropped,
}

/// The same Release with another date, in seconds since the epoch. It pins no keys of the upstream any more.
pub fn redated(root: &[u8], date: i64, valid_until: ValidUntil) -> Vec<u8> {
    let mut out = Vec::with_capacity(root.len() + 64);
    let date = format!("Date: {}\n", written_date(date));
    let mut is_dated = false;
    for_each_field(root, |name, lines| {
        match name.to_ascii_lowercase().as_str() {
            "date" if !is_dated => {
                is_dated = true;
                push_line(&mut out, date.as_bytes());
            }
            "date" | "signed-by" => {}
            "valid-until" if valid_until == ValidUntil::IsDropped => {}
            _ => push_line(&mut out, lines),
        }
    });
    if !is_dated {
        out.splice(0..0, date.bytes());
    }
    without_blank_ends(&out)
}

/// No clear-signed text can have blanks at the ends of its lines.
fn without_blank_ends(text: &[u8]) -> Vec<u8> {
    let lines = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    let mut out = Vec::with_capacity(text.len());
    for line in lines.filter(|line| !line.is_empty()) {
        push_line(&mut out, line);
    }
    // Elsewhere a carriage return is a blank to clients, and cannot be signed.
    for byte in out.iter_mut().filter(|byte| **byte == b'\r') {
        *byte = b' ';
    }
    out
}

fn written_date(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

/// RFC 2822 as archives write it: the zone is `UTC`, and Ubuntu pads the hour with a space.
fn parse_date(file: &str, field: &str, date: &str) -> Result<i64, FormatError> {
    let malformed = || FormatError::malformed(file, format!("{field} is {date:?}, not a date"));
    let words: Vec<&str> = date.split_whitespace().collect();
    let [weekday, day, month, year, time, zone] = words[..] else {
        return Err(malformed());
    };
    let hour_pad = if time.find(':') == Some(1) { "0" } else { "" };
    let zone = match zone {
        "UTC" | "GMT" | "Z" => "+0000",
        offset => offset,
    };
    jiff::fmt::rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(format!(
            "{weekday} {day} {month} {year} {hour_pad}{time} {zone}"
        ))
        .map(jiff::Timestamp::as_second)
        .map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Result<Release, String> {
        Release::parse("Release", text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_fields_before_and_behind_the_lists() {
        let strong = "ab".repeat(64);
        let release = parse(&format!(
            "Origin: Debian\nSuite: oldstable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\
             Valid-Until: Sat, 18 Jul 2026 10:16:37 +0000\nArchitectures: all amd64\n\
             Components: main updates/contrib\nNo-Support-for-Architecture-all: Packages\n\
             MD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 only/md5\n\
             SHA256:\n {ONE}        0 main/binary-amd64/Packages\n {ONE} 0 ./Packages\n {ONE} 20 a b\n\
             SHA512:\n {strong} 0 Packages\n\
             Acquire-By-Hash: yes\n"
        ))
        .unwrap();
        assert_eq!(release.date, Some(1_783_764_997));
        assert_eq!(release.valid_until, Some(1_783_764_997 + 7 * 86400));
        assert_eq!(release.architectures, ["all", "amd64"]);
        assert_eq!(release.components, ["main", "updates/contrib"]);
        assert!(release.acquire_by_hash && release.all_in_every_packages);
        let names: Vec<&str> = release.files.keys().map(RelPath::as_str).collect();
        assert_eq!(names, ["Packages", "a b", "main/binary-amd64/Packages"]);
        let both = &release.files[&RelPath::parse("Packages").unwrap()];
        let algorithms: Vec<_> = both.digests.iter().map(Digest::algorithm).collect();
        assert_eq!(algorithms, [Algorithm::Sha512, Algorithm::Sha256]);
    }

    #[test]
    fn dates_are_read_as_archives_write_them() {
        for (date, seconds) in [
            ("Thu, 25 Apr 2024 15:10:33 UTC", Some(1_714_057_833)),
            ("Thu, 25 Apr 2024  5:10:33 UTC", Some(1_714_021_833)),
            ("Thu,  4 Apr 2024  5:10:33 UTC", Some(1_712_207_433)),
            ("Thu, 25 Apr 2024 15:10:33 GMT", Some(1_714_057_833)),
            ("Thu, 25 Apr 2024 17:10:33 +0200", Some(1_714_057_833)),
            // A wrong day of the week says nothing about the date.
            ("Mon, 25 Apr 2024 15:10:33 UTC", Some(1_714_057_833)),
            ("2024-04-25T15:10:33Z", None),
            ("Thu, 45 Apr 2024 15:10:33 UTC", None),
            ("", None),
        ] {
            assert_eq!(
                parse_date("Release", "Date", date).ok(),
                seconds,
                "{date:?}"
            );
        }
    }

    #[test]
    fn refuses_what_cannot_be_believed() {
        for (text, message) in [
            ("", "Release: it is empty"),
            (
                "<html></html>\n",
                "Release: line 1: a line is neither a field nor folded",
            ),
            (
                "Suite: x\nMD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 Packages\nSHA1:\n",
                "Release: its list of files has no digest that can be trusted \
                 (sha256, sha384 or sha512; rpm also sha1)",
            ),
            (
                "SHA256:\nSHA256:\n",
                "Release: line 2: a stanza has the field SHA256 twice",
            ),
            (
                "SHA256:\n\nSHA256:\n",
                "Release: it has more than one stanza",
            ),
            (
                "Date: soon\nSHA256:\n",
                "Release: Date is \"soon\", not a date",
            ),
            (
                "SHA256:\n abcd 0 Packages\n",
                "Release: SHA256: a sha256 digest has 64 hexadecimal digits, got 4",
            ),
            (
                &format!("SHA256:\n {ONE} -1 Packages\n"),
                "Release: SHA256: \"Packages\" has the size \"-1\"",
            ),
            (
                &format!("SHA256:\n {ONE} 1 ../../x\n"),
                "Release: SHA256 names a path that cannot be mirrored: path \"../../x\" leaves the repository",
            ),
            (
                &format!("SHA256:\n {ONE} 1 Packages\n {ONE} 2 Packages\n"),
                "Release: SHA256: \"Packages\" is listed twice, with other content",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
    }

    #[test]
    fn a_new_release_keeps_what_is_no_list() {
        let root = format!(
            "Origin: Debian\nSuite: x\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nAcquire-By-Hash: no\n\
             No-Support-for-Architecture-all: Packages\n\
             Architectures: all amd64 arm64\nComponents: updates/main contrib\nMD5Sum:\n 0 1 x\n\
             SHA256:\n {ONE} 0 main/x\nSigned-By: 0123\nDescription: folded\n and long\nX-Y: z"
        );
        let names = ["main/binary-amd64/Packages"].into();
        let fields = fields_of("Release", &[root.as_bytes()], &names).unwrap();
        assert_eq!(
            String::from_utf8(fields).unwrap(),
            "Origin: Debian\nSuite: x\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\
             No-Support-for-Architecture-all: Packages\n\
             Architectures: all amd64\nComponents: updates/main\nDescription: folded\n and long\nX-Y: z\n"
        );
        let flat = fields_of("Release", &[root.as_bytes()], &["Packages"].into()).unwrap();
        assert!(
            String::from_utf8(flat)
                .unwrap()
                .contains("all amd64 arm64\n")
        );
    }

    /// A blank before the colon, which clients overlook, must not bring the upstream's lists or dates under our signature.
    #[test]
    fn a_blank_before_the_colon_hides_nothing() {
        let root = format!(
            "Suite : x\nDate : Sat, 11 Jul 2026 10:16:37 UTC\nSHA512 :\nSHA256 :\n {ONE} 0 x\nsigned-by\t: z\nValid-Until : Sat, 11 Jul 2026 10:16:37 UTC\n"
        );
        let fields = fields_of("Release", &[root.as_bytes()], &["x"].into()).unwrap();
        let fields = String::from_utf8(fields).unwrap();
        assert!(
            !fields.contains("SHA") && !fields.contains("signed-by"),
            "{fields}"
        );
        let dated = redated(root.as_bytes(), 0, ValidUntil::IsDropped);
        let dated = String::from_utf8(dated).unwrap();
        assert!(
            dated.starts_with("Suite : x\nDate: Thu, 01 Jan 1970 00:00:00 UTC\nSHA512 :\n"),
            "{dated}"
        );
        assert!(
            !dated.contains("Valid-Until") && !dated.contains("signed-by"),
            "{dated}"
        );
    }

    /// One root says where clients find what fits all architectures, the other does not: both must be right.
    #[test]
    fn what_several_roots_list_is_listed_together() {
        let root = |more: &str, architectures: &str| {
            format!(
                "Suite: x\n{more}Architectures: {architectures}\nComponents: main\nSHA256:\n {ONE} 0 x\n"
            )
        };
        let own = root("", "all arm64");
        let in_each = root("No-Support-for-Architecture-all: Packages\n", "all amd64");
        let fields = |names: &[&str]| {
            let roots = [own.as_bytes(), in_each.as_bytes()];
            let names = names.iter().copied().collect();
            String::from_utf8(fields_of("Release", &roots, &names).unwrap()).unwrap()
        };
        assert_eq!(
            fields(&["main/binary-all/Packages", "main/binary-amd64/Packages"]),
            "Suite: x\nArchitectures: all amd64\nComponents: main\n"
        );
        assert_eq!(
            fields(&["main/binary-arm64/Packages", "main/binary-amd64/Packages"]),
            "Suite: x\nArchitectures: arm64 amd64\nComponents: main\n"
        );
    }

    #[test]
    fn a_release_gets_another_date_and_nothing_else() {
        let root = "Suite: x\ndate: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sun\nSigned-By: 01\n 23\nSHA256:\n a 1 b\n";
        let dated = |text: &str, valid_until| {
            String::from_utf8(redated(text.as_bytes(), 1_783_764_997, valid_until))
        };
        assert_eq!(
            dated(root, ValidUntil::Stays).unwrap(),
            "Suite: x\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sun\nSHA256:\n a 1 b\n"
        );
        assert_eq!(
            dated("Suite: x\nValid-Until: Sun", ValidUntil::IsDropped).unwrap(),
            "Date: Sat, 11 Jul 2026 10:16:37 UTC\nSuite: x\n"
        );
    }

    #[test]
    fn equal_lines_are_one_file() {
        let release = parse(&format!("SHA256:\n {ONE} 1 a\n {ONE} 1 ./a\n")).unwrap();
        assert_eq!(release.files.len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(date in "\\PC{0,40}", list in "( [0-9a-f]{64} [0-9]{1,3} [./a]{1,4}\n|\\PC{0,9}){0,5}") {
            let _ = parse(&format!("Date: {date}\nSHA256:\n{list}"));
        }
    }
}
