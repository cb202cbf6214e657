//! Which objects a check reads: `--read-data`.

use std::collections::HashSet;

use crate::digest::{ObjectId, ObjectRef};

/// A part of the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subset {
    /// So many thousandths of a percent of all bytes, those that were verified longest ago first.
    Share(u32),
    /// So many bytes, in the same order.
    Bytes(u64),
    /// The objects whose digest modulo `of` is `number` - 1.
    Nth { number: u64, of: u64 },
}

const WHOLE: u32 = 100_000;

impl Subset {
    /// `5%`, `N/M` or a size such as `2G`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!("{text:?} is not a part: expected a percentage (5%), N/M (1/7) or a size (20G)")
        };
        if let Some((number, of)) = text.split_once('/') {
            let number: u64 = number.parse().map_err(|_| invalid())?;
            let of: u64 = of.parse().map_err(|_| invalid())?;
            return if (1..=of).contains(&number) {
                Ok(Self::Nth { number, of })
            } else {
                Err(format!("{text:?}: N must be from 1 to M"))
            };
        }
        if let Some(percent) = text.strip_suffix('%') {
            let share = thousandths(percent).ok_or_else(invalid)?;
            return if (1..=WHOLE).contains(&share) {
                Ok(Self::Share(share))
            } else {
                Err(format!("{text:?} is not between 0% and 100%"))
            };
        }
        bytes(text).map(Self::Bytes).ok_or_else(invalid)
    }

    /// The objects to read. `verified_at` is `None` for objects that the database does not know.
    pub fn choose(self, objects: &[(ObjectRef, Option<i64>)]) -> HashSet<ObjectId> {
        let total = objects
            .iter()
            .fold(0_u128, |sum, (content, _)| sum + u128::from(content.size));
        let wanted = match self {
            Self::Nth { number, of } => {
                let is_chosen = |object: &ObjectId| remainder(*object, of) == number - 1;
                let objects = objects.iter().map(|(content, _)| content.object);
                return objects.filter(is_chosen).collect();
            }
            Self::Share(share) => (total * u128::from(share)).div_ceil(u128::from(WHOLE)),
            Self::Bytes(bytes) => u128::from(bytes),
        };
        let mut oldest: Vec<_> = objects.iter().collect();
        oldest.sort_unstable_by_key(|(content, verified_at)| (*verified_at, content.object));
        let mut chosen = HashSet::new();
        let mut sum = 0_u128;
        for (content, _) in oldest {
            if sum >= wanted && !chosen.is_empty() {
                break;
            }
            sum += u128::from(content.size);
            chosen.insert(content.object);
        }
        chosen
    }
}

fn remainder(object: ObjectId, of: u64) -> u64 {
    let mut start = [0; 8];
    start.copy_from_slice(&object.0[..8]);
    u64::from_be_bytes(start) % of
}

/// `2.5` is 2500.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let fraction: u32 = format!("{fraction:0<3}").parse().ok()?;
    whole.checked_mul(1000)?.checked_add(fraction)
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches(['i', 'B']) {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_parsed() {
        assert_eq!(Subset::parse("5%"), Ok(Subset::Share(5000)));
        assert_eq!(Subset::parse("0.5%"), Ok(Subset::Share(500)));
        assert_eq!(Subset::parse("100%"), Ok(Subset::Share(WHOLE)));
        let nth = Subset::Nth { number: 2, of: 7 };
        assert_eq!(Subset::parse("2/7"), Ok(nth));
        assert_eq!(Subset::parse("2G"), Ok(Subset::Bytes(2 << 30)));
        assert_eq!(Subset::parse("2GiB"), Ok(Subset::Bytes(2 << 30)));
        for bad in [
            "",
            "0%",
            "101%",
            "x%",
            "5",
            "0/7",
            "8/7",
            "1/0",
            "a/b",
            "-1%",
            "1.2345%",
            "1.+5%",
            "99999999999999999999T",
            "18446744073709551615T",
        ] {
            assert!(Subset::parse(bad).is_err(), "{bad}");
        }
    }

    fn objects() -> Vec<(ObjectRef, Option<i64>)> {
        let object = |number: u8| ObjectRef {
            object: ObjectId::of(&[number]),
            size: 10,
        };
        (0..10)
            .map(|number| (object(number), Some(i64::from(number))))
            .collect()
    }

    #[test]
    fn the_oldest_come_first() {
        let mut all = objects();
        let half = Subset::Share(50_000).choose(&all);
        let expected = all[..5].iter().map(|(content, _)| content.object);
        assert_eq!(half, expected.collect());
        // Unknown ones are the oldest; at least one is read.
        all[9].1 = None;
        let one = Subset::Share(1).choose(&all);
        assert_eq!(one, HashSet::from([all[9].0.object]));
        assert_eq!(Subset::Bytes(25).choose(&all).len(), 3);
        assert!(Subset::Bytes(25).choose(&[]).is_empty());
    }

    #[test]
    fn parts_by_number_are_everything_together() {
        let all = objects();
        let parts = (1..=3).map(|number| Subset::Nth { number, of: 3 }.choose(&all));
        let together: Vec<ObjectId> = parts.flatten().collect();
        assert_eq!(together.len(), all.len());
        let together: HashSet<ObjectId> = together.into_iter().collect();
        assert_eq!(together.len(), all.len());
    }
}
