//! updateinfo: advisories, each with the packages that it brings.

use super::files::join_version;
use super::xml::{Child, Records};
use crate::format::FormatError;
use crate::manifest::Package;

/// An advisory with only those of its packages that are there; `None` when it had some, and none of them is.
pub(super) fn reduced(
    file: &str,
    update: &[u8],
    is_there: &dyn Fn(&Package) -> bool,
) -> Result<Option<Vec<u8>>, FormatError> {
    let mut text = update;
    let path = ["update", "pkglist", "collection", "package"];
    let mut records = Records::new(file, &mut text, &path, []);
    let mut out = Vec::with_capacity(update.len());
    let mut copied = 0;
    let (mut count, mut kept) = (0, 0);
    while let Some((attributes, [])) = records.next()? {
        count += 1;
        if package(&attributes).as_ref().is_some_and(is_there) {
            kept += 1;
            continue;
        }
        let span = records.span();
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(update.len());
        // With the white space before it.
        out.extend_from_slice(update[copied..place(span.start)].trim_ascii_end());
        copied = place(span.end);
    }
    out.extend_from_slice(&update[copied..]);
    Ok((kept > 0 || count == 0).then_some(out))
}

fn package(attributes: &Child) -> Option<Package> {
    let part = |name| attributes.attribute(name);
    Some(Package {
        name: part("name")?.to_owned(),
        version: join_version(
            part("epoch").unwrap_or_default(),
            part("version")?,
            part("release").unwrap_or_default(),
        ),
        architecture: part("arch")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let reduced = reduced("updateinfo", all.as_bytes(), &is_there).unwrap();
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
        let kept = reduced("updateinfo", none.as_bytes(), &|_| false).unwrap();
        assert_eq!(kept, Some(none.into_bytes()));
    }
}
