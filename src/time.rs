//! Points in time: seconds since the epoch inside, UTC for people and programs.

pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// `2026-11-23T06:46:26Z`, for results.
pub fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| out_of_range(seconds), |time| time.to_string())
}

/// The inverse of [`rfc3339`]: accepts only what it returns.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let seconds = text.parse::<jiff::Timestamp>().ok()?.as_second();
    (rfc3339(seconds) == text).then_some(seconds)
}

/// `2026-11-23 06:46:26 UTC`, for messages.
pub fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| out_of_range(seconds),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// `2026-11-23-064626`, for names.
pub fn compact(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| seconds.to_string(),
        |time| time.strftime("%Y-%m-%d-%H%M%S").to_string(),
    )
}

/// `5 minutes`, `3 hours`, `40 days`: as coarse as people say it.
pub fn span(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..=119 => (seconds, "second"),
        120..=7199 => (seconds / 60, "minute"),
        7200..=172_799 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

fn out_of_range(seconds: i64) -> String {
    format!("{seconds} s after 1970")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(86_399), "1970-01-01 23:59:59 UTC");
        assert_eq!(compact(86_399), "1970-01-01-235959");
        assert_eq!(utc(i64::MAX), "9223372036854775807 s after 1970");
    }

    #[test]
    fn one_text_for_each_time() {
        for seconds in [-1, 0, 1_795_845_600] {
            assert_eq!(parse_rfc3339(&rfc3339(seconds)), Some(seconds));
        }
        for other in [
            "",
            "2026-11-28",
            "2026-11-28 06:00:00Z",
            "2026-11-28T06:00:00.5Z",
            "2026-11-28T06:00:00+00:00",
            "2026-11-28T06:00:60Z",
            "2026-02-29T06:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(other), None, "{other}");
        }
        assert_eq!(parse_rfc3339(&rfc3339(i64::MAX)), None);
    }

    #[test]
    fn spans_are_coarse() {
        for (seconds, text) in [
            (1, "1 second"),
            (119, "119 seconds"),
            (150, "2 minutes"),
            (7200, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
