//! The package architectures of a base architecture: those that rpm considers compatible
//! (`arch_compat` in rpmrc).

use std::collections::BTreeSet;

/// The 32-bit x86 family. dnf calls it `i386`; rpm ranks its members.
const I386: &[&str] = &[
    "i386", "i486", "i586", "i686", "athlon", "geode", "pentium3", "pentium4",
];
const ARMHFP: &[&str] = &["armhfp", "armv6hl", "armv7hl", "armv7hnl", "armv8hl"];
const ARM: &[&str] = &[
    "arm",
    "armv3l",
    "armv4b",
    "armv4l",
    "armv4tl",
    "armv5tl",
    "armv5tel",
    "armv5tejl",
    "armv6l",
    "armv7l",
    "armv8l",
];
const PPC64: &[&str] = &["ppc64", "ppc64p7", "ppc64iseries", "ppc64pseries", "ppc"];
const SPARC: &[&str] = &["sparc", "sparcv8", "sparcv9", "sparcv9v"];

/// Whether packages of `architecture` belong to the base architecture `base`.
pub(super) fn is_compatible(base: &str, architecture: &str) -> bool {
    architecture == "noarch" || is_source(architecture) || is_native(base, architecture)
}

/// Whether the architectures are compatible in both directions.
pub(super) fn are_equal(one: &str, other: &str) -> bool {
    is_native(one, other) && is_native(other, one)
}

pub(super) fn is_source(architecture: &str) -> bool {
    matches!(architecture, "src" | "nosrc")
}

/// The configured base architectures without packages. If all packages are `noarch` or sources,
/// none is missing.
pub(super) fn unmatched(wanted: &[String], seen: &BTreeSet<String>) -> Vec<String> {
    let native = || {
        let own = |architecture: &&String| *architecture != "noarch" && !is_source(architecture);
        seen.iter().filter(own)
    };
    if native().next().is_none() {
        return Vec::new();
    }
    let is_missing = |base: &&String| !native().any(|architecture| is_native(base, architecture));
    wanted.iter().filter(is_missing).cloned().collect()
}

fn is_native(base: &str, architecture: &str) -> bool {
    if base == architecture {
        return true;
    }
    let is_in = |family: &[&str]| family.contains(&architecture);
    match base {
        "x86_64" | "amd64" | "em64t" | "ia32e" => {
            matches!(architecture, "x86_64" | "amd64" | "em64t" | "ia32e") || is_in(I386)
        }
        // Each level is compatible with the levels below it.
        "x86_64_v2" | "x86_64_v3" | "x86_64_v4" => {
            is_native("x86_64", architecture)
                || (architecture.starts_with("x86_64_v") && architecture < base)
        }
        "ia64" => is_in(I386),
        "ppc64" | "ppc64p7" => is_in(PPC64),
        "s390x" => architecture == "s390",
        "sparc64" | "sparc64v" => matches!(architecture, "sparc64" | "sparc64v") || is_in(SPARC),
        "sh4a" => architecture == "sh4",
        base => [I386, ARMHFP, ARM, SPARC]
            .iter()
            .any(|family| family.contains(&base) && is_in(family)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_take_what_rpm_installs_there() {
        for (base, with, without) in [
            (
                "x86_64",
                "x86_64 i386 i486 i586 i686 athlon amd64 noarch src nosrc",
                "x86_64_v2 aarch64 ppc",
            ),
            ("x86_64_v3", "x86_64 x86_64_v2 x86_64_v3 i686", "x86_64_v4"),
            ("i386", "i386 i586 i686 athlon noarch", "x86_64"),
            ("i686", "i386 i586 i686", "x86_64"),
            ("aarch64", "aarch64 noarch src", "armv7hl x86_64"),
            ("armhfp", "armv7hl armv6hl", "aarch64 armv5tel"),
            ("ppc64le", "ppc64le noarch", "ppc64 ppc"),
            ("ppc64", "ppc64 ppc ppc64p7", "ppc64le"),
            ("s390x", "s390x s390 noarch", "ppc"),
            ("riscv64", "riscv64 noarch", "x86_64"),
        ] {
            for architecture in with.split(' ') {
                assert!(
                    is_compatible(base, architecture),
                    "{base} takes {architecture}"
                );
            }
            for architecture in without.split(' ') {
                assert!(
                    !is_compatible(base, architecture),
                    "{base} does not take {architecture}"
                );
            }
        }
    }

    #[test]
    fn a_wish_that_nothing_fulfils_is_noticed() {
        let strings =
            |names: &str| -> Vec<String> { names.split_whitespace().map(str::to_owned).collect() };
        for (wanted, seen, missing) in [
            ("x86_64 aarch64", "x86_64 noarch", "aarch64"),
            ("x86_64", "i686 noarch", ""),
            ("x86_64", "noarch src", ""),
            ("x86-64", "x86_64", "x86-64"),
            ("x86_64", "", ""),
        ] {
            let seen = strings(seen).into_iter().collect();
            assert_eq!(
                unmatched(&strings(wanted), &seen),
                strings(missing),
                "{wanted}"
            );
        }
    }
}
