//! Release files as archives and scripts write them.

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
fn refuses_what_cannot_be_believed() {
    for (text, message) in [
        ("", "Release: empty file"),
        (
            "<html></html>\n",
            "Release: line 1: invalid line: neither a field nor a continuation line",
        ),
        (
            "Suite: x\nMD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 Packages\nSHA1:\n",
            "Release: the file list has no strong digest \
             (sha256, sha384 or sha512; for rpm also sha1)",
        ),
        (
            "SHA256:\nSHA256: x\n",
            "Release: line 2: duplicate field SHA256 in a stanza",
        ),
        ("SHA256:\n\nSHA256:\n", "Release: more than one stanza"),
    ] {
        assert_eq!(parse(text).unwrap_err(), message);
    }
}

/// It would make a suite with packages an empty one.
#[test]
fn a_list_of_packages_is_never_read_over() {
    for name in [
        "../../x/Packages.gz",
        "/main/binary-amd64/Packages",
        "../Sources.xz",
    ] {
        let error = parse(&format!("SHA256:\n {ONE} 1 {name}\n")).unwrap_err();
        assert!(error.contains("has an unsafe path"), "{error}");
    }
}

#[test]
fn what_is_no_date_counts_as_missing() {
    let text = "Date: soon\nValid-Until: 05/09/2024\nSHA256:\n";
    let release = parse(text).unwrap();
    assert_eq!((release.date, release.valid_until), (None, None));
    assert_eq!(release.unread_valid_until.as_deref(), Some("05/09/2024"));
    assert_eq!(
        release.warnings,
        ["Release: invalid Date \"soon\", treated as missing"]
    );
    let ours = redated(text.as_bytes(), 0, ValidUntil::Stays);
    assert_eq!(
        String::from_utf8(ours).unwrap(),
        "Date: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n"
    );
    let text = text.replace("05/09/2024", "2024-05-09T10:00:00Z");
    let ours = redated(text.as_bytes(), 0, ValidUntil::Stays);
    let until = "\nValid-Until: Thu, 09 May 2024 10:00:00 UTC\n";
    assert!(String::from_utf8(ours).unwrap().contains(until));
    let release = parse("Suite: x\nSHA256:\n").unwrap();
    assert_eq!(
        release.warnings,
        ["Release: no Date: a sync cannot detect an older version"]
    );
}

/// As apt has it: a line without a colon begins the next field's name.
#[test]
fn a_line_that_is_no_field_takes_the_next_one_with_it() {
    let text = format!(
        "Date: Thu, 09 May 2024 10:00:00 UTC\nArchitectures: amd64\narm64\n i386\nComponents: main\n more\n\
         Suite: x\nSHA256:\n {ONE} 0 Packages\n"
    );
    let release = parse(&text).unwrap();
    assert_eq!(release.architectures, ["amd64"]);
    assert!(release.components.is_empty() && release.files.len() == 1);
    assert_eq!(
        release.warnings,
        [
            "Release: line 3 is neither a field nor a continuation line: clients ignore it and the field \"Components\" after it"
        ]
    );
    let mut fields = Vec::new();
    for_each_field(text.as_bytes(), |name, _| fields.push(name.to_owned()));
    assert_eq!(fields, ["Date", "Architectures", "Suite", "SHA256"]);
    // Where it takes the list of files, nothing vouches for them.
    let text = text.replace("SHA256:", "stray\nSHA256:");
    assert!(parse(&text).unwrap_err().contains("no strong digest"));
    let text = format!("Suite: x\nSHA256:\n {ONE} 0 Packages\nstray\n");
    assert_eq!(
        parse(&text).unwrap_err(),
        "Release: line 4: invalid line: neither a field nor a continuation line"
    );
}

#[test]
fn a_line_folded_below_no_field_is_read_over() {
    let text = format!(" folded\nSHA256:\n {ONE} 0 Packages\nSuite: x\n");
    let release = parse(&text).unwrap();
    assert_eq!(release.files.len(), 1);
    assert_eq!(
        release.warnings[1..],
        ["Release: line 1 is a continuation line without a field, which clients ignore"]
    );
    let mut fields = Vec::new();
    for_each_field(text.as_bytes(), |name, _| fields.push(name.to_owned()));
    assert_eq!(fields, ["SHA256", "Suite"]);
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

/// A blank before the colon, which clients overlook, must not bring the upstream's lists or dates
/// under our signature.
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

/// One root says where clients find what fits all architectures, the other does not: both must be
/// right.
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
    let root = "Suite: x\ndate: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sun, 12 Jul 2026 10:16:37 UTC\nSigned-By: 01\n 23\nSHA256:\n a 1 b\n";
    let dated = |text: &str, valid_until| {
        String::from_utf8(redated(text.as_bytes(), 1_783_764_997, valid_until))
    };
    assert_eq!(
        dated(root, ValidUntil::Stays).unwrap(),
        "Suite: x\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sun, 12 Jul 2026 10:16:37 UTC\nSHA256:\n a 1 b\n"
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
