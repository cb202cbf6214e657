//! What is found, and where the search ends.

use super::*;

/// Everything suits and meets, and versions are in the order of their letters.
struct Easy;

impl Rules for Easy {
    fn compare(&self, a: &str, b: &str) -> Ordering {
        a.cmp(b)
    }

    fn meets(&self, provided: Versions<'_>, needed: Versions<'_>) -> bool {
        needed.relation == Relation::ANY || provided.version == needed.version
    }

    fn suits(&self, _: Place<'_>, _: Place<'_>, _: &str) -> Option<Suits> {
        Some(Suits::Well)
    }

    fn shown(&self, need: &[Term<'_>]) -> String {
        need.iter().map(|term| term.name).collect()
    }
}

fn add(universe: &mut Universe<Easy>, name: &str, version: &str) -> RelPath {
    let path = RelPath::parse(&format!("{name}-{version}")).unwrap();
    let place = Place {
        architecture: "all",
        stream: "",
        multi_arch: "",
    };
    let candidate = Candidate {
        name,
        version,
        place,
        source: name,
        path: path.clone(),
    };
    universe.add(candidate).unwrap();
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
    let mut universe = Universe::new(Easy);
    let path = add(&mut universe, "needing", "1");
    let both = Term {
        joint: Joint::With,
        ..Term::of("b", Versions::default())
    };
    let need = [Term::of("a", Versions::default()), both];
    universe.need(&need, Strength::Required).unwrap();
    for (name, provided) in [("x", &["a"][..]), ("y", &["b"]), ("z", &["a", "b"])] {
        add(&mut universe, name, "1");
        let member = universe.members.len() - 1;
        for name in provided {
            universe.provide(member, name, Versions::default()).unwrap();
        }
    }
    let closure = universe.close(&chosen(path)).unwrap();
    assert_eq!(closure.members, [0, 3]);
    assert_eq!(universe.warning(&closure), None);
}

/// What would take for ever is refused, and soon.
#[test]
fn a_search_without_an_end_is_refused() {
    let mut universe = Universe::new(Easy);
    let path = add(&mut universe, "needing", "1");
    let versions: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    for version in &versions {
        let need = [Term::of("x", exactly(version))];
        universe.need(&need, Strength::Required).unwrap();
    }
    for version in &versions {
        add(&mut universe, "x", version);
    }
    assert!(universe.close(&chosen(path)).is_err());
}

/// As many as a real repository has that keeps everything.
#[test]
fn many_versions_are_found() {
    let mut universe = Universe::new(Easy);
    let path = add(&mut universe, "needing", "1");
    universe
        .need(&[Term::of("x", exactly("500"))], Strength::Required)
        .unwrap();
    for number in 0..1000 {
        let number = number.to_string();
        add(&mut universe, "x", &number);
        universe
            .need(&[Term::of("y", exactly(&number))], Strength::Required)
            .unwrap();
        add(&mut universe, "y", &number);
    }
    let closure = universe.close(&chosen(path)).unwrap();
    assert_eq!(closure.members.len(), 3);
}

#[test]
fn words_have_limits() {
    let mut words = Words::default();
    assert!(words.add(&"x".repeat(WORD_LIMIT)).is_ok());
    assert!(words.add(&"x".repeat(WORD_LIMIT + 1)).is_err());
}
