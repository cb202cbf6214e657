//! What is found, and where the search ends.

use super::interner::WORD_LIMIT;
use super::*;

/// Everything suits and meets, and versions are in the order of their letters.
struct Easy;

impl DependencyRules for Easy {
    fn compare(&self, a: &str, b: &str) -> Ordering {
        a.cmp(b)
    }

    fn satisfies(&self, provided: Versions<'_>, needed: Versions<'_>) -> bool {
        needed.relation == Relation::ANY || provided.version == needed.version
    }

    fn preference(&self, _: Target<'_>, _: Target<'_>, _: &str) -> Option<Preference> {
        Some(Preference::Preferred)
    }

    fn format_need(&self, need: &[Term<'_>]) -> String {
        need.iter().map(|term| term.name).collect()
    }
}

fn add(packages: &mut PackageSet<Easy>, name: &str, version: &str) -> RelPath {
    let path = RelPath::parse(&format!("{name}-{version}")).unwrap();
    let target = Target {
        architecture: "all",
        stream: "",
        multi_arch: "",
    };
    let candidate = Candidate {
        name,
        version,
        target,
        source: name,
        path: path.clone(),
    };
    packages.add(candidate).unwrap();
    path
}

fn exactly(version: &str) -> Versions<'_> {
    Versions {
        relation: Relation::EQUAL,
        version,
    }
}

fn chosen(path: RelPath) -> Chosen {
    let mut chosen = Chosen::default();
    chosen.take(path);
    chosen
}

#[test]
fn both_sides_of_with_are_of_one_package() {
    let mut packages = PackageSet::new(Easy);
    let path = add(&mut packages, "needing", "1");
    let both = Term {
        connective: Connective::With,
        ..Term::of("b", Versions::default())
    };
    let need = [Term::of("a", Versions::default()), both];
    packages.need(&need, Strength::Required).unwrap();
    for (name, provided) in [("x", &["a"][..]), ("y", &["b"]), ("z", &["a", "b"])] {
        add(&mut packages, name, "1");
        let member = packages.members.len() - 1;
        for name in provided {
            packages.provide(member, name, Versions::default()).unwrap();
        }
    }
    let closure = packages.close(&chosen(path)).unwrap();
    assert_eq!(closure.members, [0, 3]);
    assert_eq!(packages.warning(&closure), None);
}

/// What would take for ever is refused, and soon.
#[test]
fn a_search_without_an_end_is_refused() {
    let mut packages = PackageSet::new(Easy);
    let path = add(&mut packages, "needing", "1");
    let versions: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    for version in &versions {
        let need = [Term::of("x", exactly(version))];
        packages.need(&need, Strength::Required).unwrap();
    }
    for version in &versions {
        add(&mut packages, "x", version);
    }
    assert!(packages.close(&chosen(path)).is_err());
}

/// As many as a real repository has that keeps everything.
#[test]
fn many_versions_are_found() {
    let mut packages = PackageSet::new(Easy);
    let path = add(&mut packages, "needing", "1");
    packages
        .need(&[Term::of("x", exactly("500"))], Strength::Required)
        .unwrap();
    for number in 0..1000 {
        let number = number.to_string();
        add(&mut packages, "x", &number);
        packages
            .need(&[Term::of("y", exactly(&number))], Strength::Required)
            .unwrap();
        add(&mut packages, "y", &number);
    }
    let closure = packages.close(&chosen(path)).unwrap();
    assert_eq!(closure.members.len(), 3);
}

#[test]
fn words_have_limits() {
    let mut texts = Interner::default();
    assert!(texts.add(&"x".repeat(WORD_LIMIT)).is_ok());
    assert!(texts.add(&"x".repeat(WORD_LIMIT + 1)).is_err());
}
