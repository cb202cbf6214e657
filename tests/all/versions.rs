//! Which of two versions is newer, against what dpkg and rpm themselves say.

use std::cmp::Ordering;
use std::fs;
use std::thread;

use crate::kit::clients::{client, installed, python_rpm};

// The very files of the binary: they import nothing of it but `format::version`.
#[path = "../../src/format/deb/version.rs"]
mod deb;
#[path = "../../src/format/rpm/evr.rs"]
mod rpm;

const PAIRS: usize = 5_000;

/// What versions are made of, what is odd more often than usual.
const WORDS: [&str; 25] = [
    "~", "~", "^", "^", "-", "-", "-", "+", ".", ".", "0", "00", "1", "01", "10", "9", "2", "a",
    "b", "Z", "rc", "dfsg", "el9", "~~", "_",
];
const EPOCHS: [&str; 6] = ["", "", "0:", "1:", "01:", "10:"];

/// xorshift64: the same pairs in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn version(&mut self) -> Vec<&'static str> {
        let mut words = vec![self.of(&EPOCHS)];
        let length = 1 + self.below(7);
        words.extend((0..length).map(|_| self.of(&WORDS)));
        words
    }

    /// Nearly the same: one word put in, taken out or replaced, or another epoch.
    fn mutated(&mut self, version: &[&'static str]) -> Vec<&'static str> {
        let mut words = version.to_vec();
        let place = 1 + self.below(words.len() - 1);
        match self.below(4) {
            0 => words.insert(place, self.of(&WORDS)),
            1 => words[place] = self.of(&WORDS),
            2 => words[0] = self.of(&EPOCHS),
            _ => drop(words.remove(place)),
        }
        words
    }
}

/// Different pairs that `is_version` accepts, two in three of them nearly equal.
fn pairs(is_version: fn(&str) -> bool) -> Vec<(String, String)> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS {
        let one = random.version();
        let other = match random.below(3) {
            0 => random.version(),
            _ => random.mutated(&one),
        };
        let (one, other) = (one.concat(), other.concat());
        if one != other && is_version(&one) && is_version(&other) {
            pairs.push((one, other));
        }
    }
    for part in ["~", "^", "-", "+", ".", "a", "Z", "00", "1:"] {
        let with = |(one, other): &&(String, String)| one.contains(part) && other.contains(part);
        assert!(pairs.iter().filter(with).count() > 50, "few have {part:?}");
    }
    let several = |(one, _): &&(String, String)| one.matches('-').count() > 1;
    assert!(pairs.iter().filter(several).count() > 250);
    pairs
}

/// dpkg refuses an empty version or revision; of everything else it says at most that it looks odd.
fn dpkg_compares(version: &str) -> bool {
    let (_, rest) = version.split_once(':').unwrap_or(("", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    !upstream.is_empty() && !revision.is_empty() && !version.starts_with('-')
}

fn rpm_compares(version: &str) -> bool {
    !version.is_empty() && !version.ends_with(':')
}

const OPERATORS: [(Ordering, &str); 3] = [
    (Ordering::Less, "lt"),
    (Ordering::Equal, "eq"),
    (Ordering::Greater, "gt"),
];

/// Prints `yes` or `no` for each line of `a operator b`.
const DPKG_SCRIPT: &str = r#"
while read -r a operator b; do
    if dpkg --compare-versions "$a" "$operator" "$b" 2> /dev/null; then echo yes; else echo no; fi
done < questions
"#;

#[test]
fn debian_versions_are_ordered_as_dpkg_orders_them() {
    if !installed("dpkg") {
        return;
    }
    let mut questions = Vec::new();
    for (number, (a, b)) in pairs(dpkg_compares).into_iter().enumerate() {
        let order = deb::compare(&a, &b);
        for (other, operator) in OPERATORS {
            // dpkg runs once for each pair; for the first ones also to hear it deny the other two.
            if other == order || number < 100 {
                questions.push((format!("{a} {operator} {b}"), other == order));
            }
        }
    }
    thread::scope(|scope| {
        for part in questions.chunks(questions.len().div_ceil(2)) {
            scope.spawn(|| {
                let dir = tempfile::tempdir().unwrap();
                let lines: Vec<&str> = part.iter().map(|(line, _)| line.as_str()).collect();
                fs::write(dir.path().join("questions"), lines.join("\n") + "\n").unwrap();
                let output = client("sh", &["-c", DPKG_SCRIPT], dir.path()).succeeds();
                let answers: Vec<bool> = output.stdout.lines().map(|line| line == "yes").collect();
                assert_eq!(answers.len(), part.len());
                for ((question, expected), answer) in part.iter().zip(answers) {
                    assert_eq!(answer, *expected, "dpkg --compare-versions {question}");
                }
            });
        }
    });
}

const RPM_SCRIPT: &str = "
import rpm
for line in open('pairs'):
    a, b = line.split()
    print(rpm.labelCompare(a, b))
";

#[test]
fn rpm_versions_are_ordered_as_librpm_orders_them() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = pairs(rpm_compares);
    let lines: Vec<String> = pairs.iter().map(|(a, b)| format!("{a} {b}")).collect();
    fs::write(dir.path().join("pairs"), lines.join("\n")).unwrap();
    let Some(output) = python_rpm(RPM_SCRIPT, dir.path()) else {
        return;
    };
    let output = output.succeeds();
    assert_eq!(output.stdout.lines().count(), pairs.len());
    for ((a, b), answer) in pairs.iter().zip(output.stdout.lines()) {
        let order = rpm::compare(a, b) as i8;
        assert_eq!(answer, order.to_string(), "rpm.labelCompare({a:?}, {b:?})");
    }
}
