//! Dates of a Release. They should be RFC 2822 dates in UTC, but generators in other languages and
//! locales write other forms, and apt accepts these repositories.
//!
//! Only unambiguous dates are accepted. Not accepted are months as numbers (05/09 can be May or
//! September), times without a zone (except asctime, which apt and RFC 9110 read as UTC), and zone
//! names other than UTC.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};

/// In seconds since the epoch; `None` if it is not a date or ambiguous.
pub(super) fn read(text: &str) -> Option<i64> {
    // The longest have some 40 bytes.
    if text.len() > 100 {
        return None;
    }
    let (text, comment) = without_comment(text)?;
    if let Some(moment) = iso(&text).or_else(|| Words::of(&text)?.moment()) {
        return Some(moment);
    }
    // `10:00:00 (UTC)`
    zone_of(comment.trim())?;
    let text = format!("{text} {comment}");
    iso(&text).or_else(|| Words::of(&text)?.moment())
}

/// RFC 2822 allows a comment in parentheses: `+0000 (Coordinated Universal Time)`.
fn without_comment(text: &str) -> Option<(String, &str)> {
    let Some((before, rest)) = text.split_once('(') else {
        return Some((text.to_owned(), ""));
    };
    let (comment, after) = rest.split_once(')')?;
    Some((format!("{before} {after}").trim().to_owned(), comment))
}

/// `2024-05-09T10:00:00Z`, `2024-05-09 10:00:00.5 +02:00`
fn iso(text: &str) -> Option<i64> {
    let (date, rest) = text.trim().split_at_checked(10)?;
    let mut numbers = date.split('-');
    let year = number(numbers.next()?, 4..=4)?;
    let month = number(numbers.next()?, 2..=2)?;
    let day = number(numbers.next()?, 2..=2)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ','));
    let (time, zone) = rest.split_at(end?);
    let time = time_of(time.trim_end_matches([',', '.']), None)?;
    moment(year, month, day, time, zone_of(zone.trim())?)
}

/// The parts of a date, in any order.
#[derive(Default)]
struct Words<'t> {
    day: Option<i16>,
    month: Option<i16>,
    year: Option<i16>,
    time: Option<&'t str>,
    half: Option<Half>,
    /// Seconds east of UTC.
    zone: Option<i64>,
    /// Whether the year comes last, as in asctime and date(1).
    ends_in_year: bool,
}

#[derive(Clone, Copy)]
enum Half {
    Am,
    Pm,
}

impl<'t> Words<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let mut words = Self::default();
        let is_between = |c: char| c.is_whitespace() || c == ',';
        for word in text.split(is_between).filter(|word| !word.is_empty()) {
            words.take(word)?;
        }
        Some(words)
    }

    /// `None` for a word that is not part of a date, or a duplicate part.
    fn take(&mut self, word: &'t str) -> Option<()> {
        self.ends_in_year = false;
        let name = word.trim_end_matches('.');
        if is_weekday(name) {
            // A wrong weekday is ignored.
            return Some(());
        }
        if let Some(month) = month_of(name) {
            return set(&mut self.month, month);
        }
        // RFC 850: 09-May-24
        if let [day, month, year] = word.split('-').collect::<Vec<_>>()[..]
            && let Some(month) = month_of(month)
        {
            set(&mut self.day, number(day, 1..=2)?)?;
            set(&mut self.month, month)?;
            let year = match year.len() {
                2 => number(year, 2..=2).map(|year| year + if year < 70 { 2000 } else { 1900 })?,
                _ => number(year, 4..=4)?,
            };
            return set(&mut self.year, year);
        }
        if let Some(zone) = zone_of(word) {
            return set(&mut self.zone, zone);
        }
        if word.contains(':') {
            return set(&mut self.time, word);
        }
        match word.to_ascii_uppercase().as_str() {
            "AM" => return set(&mut self.half, Half::Am),
            "PM" => return set(&mut self.half, Half::Pm),
            _ => {}
        }
        if word.len() == 4 {
            self.ends_in_year = true;
            return set(&mut self.year, number(word, 4..=4)?);
        }
        set(&mut self.day, number(word, 1..=2)?)
    }

    fn moment(self) -> Option<i64> {
        let zone = match self.zone {
            Some(zone) => zone,
            None if self.ends_in_year => 0,
            None => return None,
        };
        let time = time_of(self.time?, self.half)?;
        moment(self.year?, self.month?, self.day?, time, zone)
    }
}

fn set<T>(part: &mut Option<T>, value: T) -> Option<()> {
    part.replace(value).is_none().then_some(())
}

fn is_weekday(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "sunday",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
    ];
    let name = name.to_ascii_lowercase();
    name.len() >= 3 && NAMES.iter().any(|full| full.starts_with(&name))
}

fn month_of(name: &str) -> Option<i16> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let name = name.to_ascii_lowercase();
    let place = NAMES.iter().position(|full| full.starts_with(&name))?;
    (name.len() >= 3).then(|| i16::try_from(place + 1).ok())?
}

/// `UTC`, `GMT`, `Z`, `+0800`, `-08:00`, `GMT+0800`, `UTC+8`, in seconds east of UTC.
fn zone_of(word: &str) -> Option<i64> {
    const NAMES: [&str; 4] = ["UTC", "GMT", "UT", "Z"];
    if NAMES.iter().any(|name| word.eq_ignore_ascii_case(name)) {
        return Some(0);
    }
    // After a name, hours alone are enough.
    let behind = NAMES[..2].iter().find_map(|name| {
        let (start, rest) = word.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then_some(rest)
    });
    if let Some(offset) = behind
        && let Some(hours) = offset.strip_prefix(['+', '-'])
        && let Some(hours) = number(hours, 1..=2)
    {
        let east = i64::from(hours) * 3600;
        let east = if offset.starts_with('-') { -east } else { east };
        return (hours <= 14).then_some(east);
    }
    let word = behind.unwrap_or(word);
    let (sign, rest) = match word.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits = match rest.split_once(':') {
        Some((hours, minutes)) => [hours, minutes],
        None => <[&str; 2]>::from(rest.split_at_checked(2)?),
    };
    let [hours, minutes] = digits.map(|digits| number(digits, 2..=2));
    let (hours, minutes) = (i64::from(hours?), i64::from(minutes?));
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// `9:05`, `09:05:59`, `09:05:59.123`
fn time_of(text: &str, half: Option<Half>) -> Option<Time> {
    let text = text.split(['.', ',']).next()?;
    let mut parts = text.split(':');
    let hour = number(parts.next()?, 1..=2)?;
    let minute = number(parts.next()?, 2..=2)?;
    let second = parts
        .next()
        .map_or(Some(0), |second| number(second, 2..=2))?;
    let hour = match half {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(Half::Am) => hour % 12,
        Some(Half::Pm) => hour % 12 + 12,
    };
    let [hour, minute, second] = [hour, minute, second].map(|part| i8::try_from(part).ok());
    match parts.next() {
        None => Time::new(hour?, minute?, second?, 0).ok(),
        Some(_) => None,
    }
}

fn number(digits: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<i16> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && lengths.contains(&digits.len())).then(|| digits.parse().ok())?
}

fn moment(year: i16, month: i16, day: i16, time: Time, zone: i64) -> Option<i64> {
    let [month, day] = [month, day].map(|part| i8::try_from(part).ok());
    let date = jiff::civil::Date::new(year, month?, day?).ok()?;
    let local = DateTime::from_parts(date, time);
    let utc = local.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::as_second(utc.timestamp()) - zone)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 9 May 2024, 10:00:00 UTC
    const MAY: i64 = 1_715_248_800;

    #[test]
    fn what_means_one_moment_is_read() {
        for text in [
            "Thu, 09 May 2024 10:00:00 UTC",
            "Thu,  9 May 2024 10:00:00 UTC",
            "Thu, 9 May 2024 10:00:00 +0000",
            "Thu, 09 May 2024 10:00:00 GMT",
            "Thu, 09 May 2024 10:00:00 Z",
            "Thu, 09 May 2024 10:00 UTC",
            "Thu, 09 May 2024 18:00:00 +0800",
            "Thu, 09 May 2024 02:00:00 -0800",
            "Thu, 09 May 2024  2:00:00 -08:00",
            "09 May 2024 10:00:00 UTC",
            // A wrong day of the week says nothing about the date.
            "Mon, 09 May 2024 10:00:00 UTC",
            // Nexus
            "Thu., 09 May 2024 10:00:00 GMT",
            "Thu., 9 May. 2024 10:00:00 GMT",
            // artipie
            "Thu, May 09 2024 10:00:00 +0000",
            // asctime, date(1), and that of locales with two halves of a day
            "Thu May  9 10:00:00 2024",
            "Thu May  9 10:00:00 UTC 2024",
            "Thu 09 May 2024 10:00:00 AM UTC",
            "Thu May  9 06:00:00 PM +0800 2024",
            // RFC 850
            "Thursday, 09-May-24 10:00:00 GMT",
            "Thu, 09-May-2024 10:00:00 GMT",
            "Thursday, 9 May 2024 10:00:00 utc",
            // ISO 8601
            "2024-05-09T10:00:00Z",
            "2024-05-09T10:00:00.123456Z",
            "2024-05-09T12:00:00+02:00",
            "2024-05-09 10:00:00 UTC",
            "2024-05-09 10:00:00 +0000",
            "2024-05-09 10:00:00,5 +0000",
            "2024-05-09T10:00Z",
            // With the zone in other words, or once more as a comment
            "Thu May 09 2024 10:00:00 GMT+0000 (Coordinated Universal Time)",
            "Thu May 09 2024 18:00:00 GMT+0800 (China Standard Time)",
            "Thu, 09 May 2024 18:00:00 GMT+8",
            "Thu, 09 May 2024 05:00:00 UTC-05:00",
            "Thu, 09 May 2024 10:00:00 +0000 (UTC)",
            "Thu, 09 May 2024 18:00:00 +0800 (UTC)",
            "Thu, 09 May 2024 10:00:00 (UTC)",
            "2024-05-09 10:00:00 (GMT)",
        ] {
            assert_eq!(read(text), Some(MAY), "{text:?}");
        }
    }

    #[test]
    fn what_may_mean_several_moments_is_not() {
        for text in [
            "",
            "now",
            "1715248800",
            "05/09/2024 10:00:00 UTC",
            "09.05.2024 10:00:00 UTC",
            // No zone, or one of a name that several have.
            "Thu, 09 May 2024 10:00:00",
            "2024-05-09 10:00:00",
            "2024-05-09T10:00:00",
            "Thu, 09 May 2024 10:00:00 CEST",
            "Thu May  9 10:00:00 IST 2024",
            // Other languages
            "jeu., 09 mai 2024 10:00:00 GMT",
            "Do, 09 Mai 2024 10:00:00 GMT",
            // No such moment
            "Thu, 45 May 2024 10:00:00 UTC",
            "Thu, 30 Feb 2024 10:00:00 UTC",
            "Thu, 09 May 2024 25:00:00 UTC",
            "Thu, 09 May 2024 13:00:00 PM UTC",
            "Thu, 09 May 2024 23:59:60 UTC",
            "2024-13-09T10:00:00Z",
            // Two of something
            "Thu, 09 May May 2024 10:00:00 UTC",
            "Thu, 09 May 2024 2025 10:00:00 UTC",
            "Thu, 09 May 2024 10:00:00 11:00:00 UTC",
            "Thu, 09 May 2024 10:00:00 UTC +0800",
            "Thu, 09 May 2024 10:00:00 GMT+99",
            "Thu, 09 May 2024 10:00:00 GMT+",
            "Thu, 09 May 2024 10:00:00 (CEST)",
            "Thu, 09 May 2024 10:00:00 UTC (",
            "Thu, 09 (10) May 2024 10:00:00 (UTC)",
            "Thu, 09 10 May 2024 10:00:00 UTC",
            "Thu, May 2024 10:00:00 UTC",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_date_or_none(text in "\\PC{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn what_is_written_is_read_again(seconds in 0i64..4_102_444_800) {
            let time = Timestamp::from_second(seconds).unwrap();
            for form in ["%a, %d %b %Y %H:%M:%S UTC", "%a %b %e %H:%M:%S UTC %Y", "%a %b %e %H:%M:%S %Y", "%Y-%m-%dT%H:%M:%SZ",
                "%A, %d-%b-%Y %H:%M:%S GMT", "%a %d %b %Y %I:%M:%S %p UTC"] {
                let written = time.strftime(form).to_string();
                prop_assert_eq!(read(&written), Some(seconds), "{}", written);
            }
        }
    }
}
