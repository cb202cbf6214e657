//! `updateinfo`: advisories and their packages.

use std::io::BufRead;

use super::files::join_version;
use super::xml::{Child, Records};
use crate::format::error::FormatError;
use crate::format::reasons::AdvisoryRecord;
use crate::manifest::Package;

/// Limits in bytes, and per updateinfo: several times the largest real ones.
const ID_LIMIT: usize = 512;
const ADVISORIES_LIMIT: usize = 200_000;

const REFERENCES: usize = 0;
const PACKAGES: usize = 1;
const LISTS: [&[&str]; 2] = [
    &["references", "reference"],
    &["pkglist", "collection", "package"],
];

/// Streams the advisories. `name` is the data type, for messages. Stops at an error of `each`.
pub fn read(
    name: &str,
    text: &mut dyn BufRead,
    each: &mut dyn FnMut(AdvisoryRecord) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let path = ["updates", "update"];
    let mut records = Records::new(name, text, &path, ["id", "severity", "title"])
        .with_invalid_utf8_kept()
        .with_lists(&LISTS);
    let mut count = 0;
    while let Some((update, [id, severity, title])) = records.next()? {
        let id = id.map(|id| id.text).unwrap_or_default();
        if id.is_empty() || id.len() > ID_LIMIT {
            return Err(FormatError::malformed(
                name,
                format!("an update has an ID of {} bytes", id.len()),
            ));
        }
        count += 1;
        if count > ADVISORIES_LIMIT {
            return Err(FormatError::malformed(
                name,
                format!("more than {ADVISORIES_LIMIT} updates"),
            ));
        }
        let mut cves: Vec<String> = records.listed()[REFERENCES]
            .iter()
            .filter(|reference| reference.attribute("type") == Some("cve"))
            .filter_map(|reference| reference.attribute("id"))
            .map(str::to_owned)
            .collect();
        cves.sort();
        cves.dedup();
        each(AdvisoryRecord {
            id,
            kind: update.attribute("type").unwrap_or_default().to_owned(),
            severity: severity
                .map(|severity| severity.text)
                .filter(|severity| !severity.is_empty()),
            title: title.map(|title| title.text).unwrap_or_default(),
            cves,
            packages: records.listed()[PACKAGES].iter().map(package).collect(),
        })?;
    }
    Ok(())
}

/// An advisory reduced to existing packages; `None` if none of them exists, and for one without an
/// id, on which dnf fails.
pub(super) fn with_packages(
    file: &str,
    update: &[u8],
    is_there: &dyn Fn(&Package) -> bool,
) -> Result<Option<Vec<u8>>, FormatError> {
    let mut text = update;
    let mut whole = Records::new(file, &mut text, &["update"], ["id"]).with_invalid_utf8_kept();
    let has_id = |id: &Option<Child>| id.as_ref().is_some_and(|id| !id.text.is_empty());
    if !whole.next()?.is_some_and(|(_, [id])| has_id(&id)) {
        return Ok(None);
    }
    let mut text = update;
    let path = ["update", "pkglist", "collection", "package"];
    let mut records = Records::new(file, &mut text, &path, []).with_invalid_utf8_kept();
    let mut out = Vec::with_capacity(update.len());
    let mut copied = 0;
    let (mut count, mut kept) = (0, 0);
    while let Some((attributes, [])) = records.next()? {
        count += 1;
        if is_there(&package(&attributes)) {
            kept += 1;
            continue;
        }
        let span = records.span();
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(update.len());
        // With the whitespace before it.
        out.extend_from_slice(update[copied..place(span.start)].trim_ascii_end());
        copied = place(span.end);
    }
    out.extend_from_slice(&update[copied..]);
    Ok((kept > 0 || count == 0).then_some(out))
}

fn package(element: &Child) -> Package {
    let part = |name| element.attribute(name).unwrap_or_default();
    Package {
        name: part("name").to_owned(),
        version: join_version(part("epoch"), part("version"), part("release")),
        architecture: part("arch").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn advisories(text: &[u8], buffer_size: usize) -> Result<Vec<AdvisoryRecord>, String> {
        let mut input = BufReader::with_capacity(buffer_size, text);
        let mut all = Vec::new();
        read("updateinfo", &mut input, &mut |advisory| {
            all.push(advisory);
            Ok(())
        })
        .map(|()| all)
        .map_err(|error| error.to_string())
    }

    /// As Red Hat, Fedora and SUSE write it.
    const UPDATE: &str = r#"
<update from="x@example.org" status="final" type="security" version="3">
  <id>RHSA-2026:0001</id><title>Important: a &amp; b</title><severity>Important</severity>
  <issued date="2026-01-01"/><description>title <title>no</title></description>
  <references>
    <reference href="https://x/2" id="CVE-2026-2" title="CVE-2026-2" type="cve"/>
    <reference href="https://x/1" id="CVE-2026-1" type="cve"/>
    <reference href="https://x/2" id="CVE-2026-2" type="cve"/>
    <reference href="https://b/1" id="1" title="CVE-2026-3" type="bugzilla"/>
  </references>
  <pkglist>
    <collection short="c"><name>c</name>
      <package name="a" epoch="1" version="2" release="3.el9" arch="x86_64" src="a.src.rpm">
        <filename>a-2-3.el9.x86_64.rpm</filename><sum type="sha256">00</sum></package>
    </collection>
    <collection><package name="b" epoch="0" version="4" release="5" arch="noarch"/></collection>
    <package name="no"/>
  </pkglist>
</update>"#;

    #[test]
    fn reads_what_an_advisory_fixes() {
        let text = format!(
            "<?xml version=\"1.0\"?><updates>{UPDATE}<update><id>B</id><severity/></update></updates>"
        );
        let package = |name: &str, version: &str, architecture: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
        };
        let expected = [
            AdvisoryRecord {
                id: "RHSA-2026:0001".to_owned(),
                kind: "security".to_owned(),
                severity: Some("Important".to_owned()),
                title: "Important: a & b".to_owned(),
                cves: vec!["CVE-2026-1".to_owned(), "CVE-2026-2".to_owned()],
                packages: vec![
                    package("a", "1:2-3.el9", "x86_64"),
                    package("b", "4-5", "noarch"),
                ],
            },
            AdvisoryRecord {
                id: "B".to_owned(),
                kind: String::new(),
                severity: None,
                title: String::new(),
                cves: Vec::new(),
                packages: Vec::new(),
            },
        ];
        assert_eq!(advisories(text.as_bytes(), 64).unwrap(), expected);
    }

    #[test]
    fn refuses_what_is_no_updateinfo() {
        for (text, message) in [
            ("<html/>", "expected one <updates>, got <html>"),
            (
                "<updates><update><id/></update></updates>",
                "an update has an ID of 0 bytes",
            ),
            (
                "<updates><update><id>a</id><id>b</id></update></updates>",
                "an element has two <id>",
            ),
        ] {
            assert_eq!(
                advisories(text.as_bytes(), 64).unwrap_err(),
                format!("updateinfo: {message}")
            );
        }
        let many = format!(
            "<updates><update><id>a</id><references>{}</references></update></updates>",
            format!("<reference id=\"{}\"/>", "x".repeat(1 << 19)).repeat(33)
        );
        assert_eq!(
            advisories(many.as_bytes(), 4096).unwrap_err(),
            "updateinfo: the list in an element exceeds 16777216 bytes"
        );
    }

    #[test]
    fn an_advisory_keeps_the_packages_that_are_there() {
        let entry = |name: &str, epoch: &str| {
            format!(
                "\n  <package name=\"{name}\" version=\"1\" release=\"2\" epoch=\"{epoch}\" arch=\"x86_64\" src=\"s\">\
                 <filename>{name}.rpm</filename></package>"
            )
        };
        let update = |packages: &str| {
            format!(
                "<update type=\"security\"><id>A-1</id><pkglist><collection><name>c</name>{packages}\n</collection></pkglist></update>"
            )
        };
        let all = update(&[entry("a", "0"), entry("b", "3"), entry("c", "")].concat());
        let package =
            |name: &str, version: &str| Package::new("", name, version, "x86_64").unwrap();
        let reduce = |packages: &[Package]| {
            let is_there = |package: &Package| packages.contains(package);
            let reduced = with_packages("updateinfo", all.as_bytes(), &is_there).unwrap();
            reduced.map(|text| String::from_utf8(text).unwrap())
        };
        assert_eq!(
            reduce(&[package("b", "3:1-2")]),
            Some(update(&entry("b", "3")))
        );
        assert_eq!(
            reduce(&[package("a", "1-2"), package("c", "1-2")]),
            Some(update(&[entry("a", "0"), entry("c", "")].concat()))
        );
        assert_eq!(reduce(&[package("b", "1-2")]), None);
        let none = update("");
        let kept = with_packages("updateinfo", none.as_bytes(), &|_| false).unwrap();
        assert_eq!(kept, Some(none.into_bytes()));
    }

    proptest! {
        #[test]
        fn mutated_input_gives_records_or_errors(at in 0usize..2500, byte: u8, size in 1usize..64) {
            let mut text = format!("<updates>{}</updates>", UPDATE.repeat(2)).into_bytes();
            let at = at % text.len();
            text[at] = byte;
            prop_assert_eq!(advisories(&text, size), advisories(&text, 1 << 16));
        }
    }
}
