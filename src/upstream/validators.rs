//! HTTP validators (`ETag`, `Last-Modified`), if they are reliable.

use jiff::fmt::rfc2822::DateTimeParser;

/// Without a `Date`, the age is computed from the local clock, which may differ.
const CLOCK_SKEW_SECS: i64 = 60;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

impl Validators {
    /// The reliable validators of a response; `now` is in seconds since the epoch.
    ///
    /// A file that was changed in the second of the response may be changed again within it, with
    /// the same `Last-Modified`, and the same `ETag` if that is derived from time and size (nginx,
    /// Apache). Only older ones are reliable.
    pub fn of(
        etag: Option<String>,
        last_modified: Option<String>,
        date: Option<&str>,
        now: i64,
    ) -> Self {
        let Some(text) = last_modified else {
            return Self {
                etag,
                last_modified: None,
            };
        };
        let Some(modified) = seconds(&text) else {
            return Self {
                etag,
                last_modified: None,
            };
        };
        let is_old = match date.and_then(seconds) {
            Some(date) => date.saturating_sub(modified) > 1,
            None => now.saturating_sub(modified) > CLOCK_SKEW_SECS,
        };
        if is_old {
            Self {
                etag,
                last_modified: Some(text),
            }
        } else {
            Self::default()
        }
    }

    /// The validator for resuming a download (`If-Range`): a weak `ETag` does not guarantee equal
    /// bytes.
    pub fn strong(&self) -> Option<&str> {
        let etag = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        etag.or(self.last_modified.as_deref())
    }
}

fn seconds(date: &str) -> Option<i64> {
    let parser = DateTimeParser::new().relaxed_weekday(true);
    Some(parser.parse_timestamp(date.trim()).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_tell_two_states_apart_is_kept() {
        const DATE: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
        let of = |etag: Option<&str>, modified: Option<&str>, date| {
            let own = |text: &str| text.to_owned();
            let kept = Validators::of(etag.map(own), modified.map(own), date, 1000);
            (kept.etag.is_some(), kept.last_modified.is_some())
        };
        let at = |second: u8| format!("Thu, 01 Jan 1970 00:16:{second:02} GMT");
        let etag = Some("\"1-2\"");
        assert_eq!(of(etag, Some(&at(38)), Some(DATE)), (true, true));
        // Within a second, or after the answer.
        for second in [39, 40, 41] {
            assert_eq!(of(etag, Some(&at(second)), Some(DATE)), (false, false));
        }
        assert_eq!(of(etag, None, Some(DATE)), (true, false));
        assert_eq!(of(etag, Some("soon"), Some(DATE)), (true, false));
        // Our clock says 16:40.
        assert_eq!(of(None, Some(&at(30)), None), (false, false));
        let before = "Thu, 01 Jan 1970 00:15:39 GMT";
        assert_eq!(of(None, Some(before), None), (false, true));
    }

    #[test]
    fn downloads_go_on_by_strong_validators() {
        let strong = |etag: Option<&str>, modified: Option<&str>| {
            let validators = Validators {
                etag: etag.map(str::to_owned),
                last_modified: modified.map(str::to_owned),
            };
            validators.strong().map(str::to_owned)
        };
        assert_eq!(
            strong(Some("\"a\""), Some("then")).as_deref(),
            Some("\"a\"")
        );
        assert_eq!(
            strong(Some("W/\"a\""), Some("then")).as_deref(),
            Some("then")
        );
        assert_eq!(strong(Some("W/\"a\""), None), None);
    }
}
