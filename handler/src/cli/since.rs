//! Times as people say them: so long before now, or at a date.

use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Date, Duration, OffsetDateTime};

/// A time that is told from now, or by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long before the time that [`before`](Self::before) is given.
    Ago(Duration),
    /// A point in time; a day that was given begins at midnight UTC.
    At(OffsetDateTime),
}

/// A text that tells no time.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is neither a time before now such as 90m, 24h or 7d, nor one such as 2026-07-21T10:00:00Z or the day 2026-07-21"
)]
pub struct NoTime(String);

/// A text that is no time.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no time with its unit, such as 30s, 90m, 24h or 7d")]
pub struct NoDuration(String);

impl Since {
    /// Reads `45s`, `90m`, `24h`, `7d`, a time of RFC 3339, or a day, which begins at midnight UTC.
    pub fn read(text: &str) -> Result<Self, NoTime> {
        if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self::At(at));
        }
        if let Ok(day) = Date::parse(text, &Iso8601::DATE) {
            return Ok(Self::At(day.midnight().assume_utc()));
        }
        Self::time(text).map(Self::Ago).map_err(|NoDuration(text)| NoTime(text))
    }

    /// Reads `45s`, `90m`, `24h` or `7d`.
    pub fn time(text: &str) -> Result<Duration, NoDuration> {
        let no_time = || NoDuration(text.to_owned());
        let unit = text.chars().next_back().ok_or_else(no_time)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(no_time()),
        };
        let number: u32 = text[..text.len() - 1].parse().map_err(|_| no_time())?;
        Ok(Duration::seconds(i64::from(number) * seconds))
    }

    /// The time that it tells.
    pub fn before(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            // Before there was a calendar, all is since then.
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(OffsetDateTime::UNIX_EPOCH),
            Self::At(at) => at,
        }
    }
}

impl From<Since> for app::backfill::TimeLimit {
    fn from(since: Since) -> Self {
        match since {
            Since::Ago(ago) => Self::Ago(ago),
            Since::At(at) => Self::Then(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_time_is_told_from_now_or_by_itself_and_nothing_else_is_one() {
        let now = datetime!(2026-07-21 10:00 UTC);
        for (text, at) in [
            ("45s", datetime!(2026-07-21 09:59:15 UTC)),
            ("90m", datetime!(2026-07-21 08:30 UTC)),
            ("24h", datetime!(2026-07-20 10:00 UTC)),
            ("7d", datetime!(2026-07-14 10:00 UTC)),
            ("2026-07-01", datetime!(2026-07-01 00:00 UTC)),
            ("2026-07-01T00:00:00+02:00", datetime!(2026-06-30 22:00 UTC)),
        ] {
            assert_eq!(Since::read(text).map(|since| since.before(now)).ok(), Some(at), "{text}");
        }
        assert_eq!(Since::Ago(Duration::MAX).before(now), OffsetDateTime::UNIX_EPOCH);
        assert!(Since::read("2026-13-01").is_err_and(|why| why.to_string().contains("the day 2026-07-21")));
        for bad in ["", "h", "7", "-7d", "1.5h", "7é", "yesterday", "99999999999d"] {
            assert!(Since::read(bad).is_err_and(|why| why.to_string().contains(bad)), "{bad}");
            let why = Since::time(bad).unwrap_err().to_string();
            assert!(why.contains("30s, 90m") && !why.contains("2026"), "a duration is no date: {why}");
        }
    }
}
