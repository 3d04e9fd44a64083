//! Durations as rules write them, and instants as reasons show them. Durations are ISO 8601, days to seconds (`PT2M`, `P1D`, `PT0.5S`).

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{Duration, OffsetDateTime};

/// A duration that is read from and written as ISO 8601. Years and months have no fixed length and are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IsoDuration(pub Duration);

/// Why a text is no [`IsoDuration`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// It is not of the form `PnDTnHnMnS`, or has years or months.
    #[error("`{0}` is an invalid ISO 8601 duration; write for example PT30S, PT2M, PT1H or P1D")]
    Form(String),
    /// Beyond any use, and near what arithmetic over times can take.
    #[error("`{0}` is longer than 100 years")]
    TooLong(String),
}

/// Reads `PnDTnHnMnS`, each part optional, seconds with a fraction.
impl FromStr for IsoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let wrong = || InvalidDuration::Form(text.to_owned());
        let body = text.strip_prefix('P').ok_or_else(wrong)?;
        let (date, clock) = body.split_once('T').map_or((body, None), |(d, t)| (d, Some(t)));
        if (date.is_empty() && clock.is_none()) || clock == Some("") {
            return Err(wrong());
        }
        let seconds =
            part(date, &[('D', 86_400.0)]).zip(part(clock.unwrap_or(""), &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)]));
        let (days, rest) = seconds.ok_or_else(wrong)?;
        let total = days + rest;
        // A hundred years: beyond any use, and far from overflow.
        if total > 3.2e9 {
            return Err(InvalidDuration::TooLong(text.to_owned()));
        }
        Ok(Self(Duration::seconds_f64(total)))
    }
}

/// Sums `number unit` pairs in the given order of units; each unit at most once.
fn part(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut sum = 0.0;
    for (unit, seconds) in units {
        let Some(at) = text.find(*unit) else { continue };
        let number = &text[..at];
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return None;
        }
        sum += number.parse::<f64>().ok()? * seconds;
        text = &text[at + unit.len_utf8()..];
    }
    text.is_empty().then_some(sum)
}

impl std::fmt::Display for IsoDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = self.0.whole_seconds();
        let (days, hours, minutes) = (whole / 86_400, whole % 86_400 / 3_600, whole % 3_600 / 60);
        let (seconds, nanoseconds) = (whole % 60, self.0.subsec_nanoseconds());
        let some_seconds = seconds > 0 || nanoseconds > 0;
        f.write_str("P")?;
        if days > 0 {
            write!(f, "{days}D")?;
        }
        if hours > 0 || minutes > 0 || some_seconds || days == 0 {
            f.write_str("T")?;
            if hours > 0 {
                write!(f, "{hours}H")?;
            }
            if minutes > 0 {
                write!(f, "{minutes}M")?;
            }
            if some_seconds || (hours == 0 && minutes == 0) {
                write!(f, "{seconds}")?;
                if nanoseconds > 0 {
                    let fraction = format!("{nanoseconds:09}");
                    write!(f, ".{}", fraction.trim_end_matches('0'))?;
                }
                f.write_str("S")?;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for IsoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for IsoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Times in reasons: to the second, UTC.
pub fn utc_text(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02} UTC", at.date(), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds) in [
            ("PT2M", 120.0),
            ("P1D", 86_400.0),
            ("P1DT1H1M1S", 90_061.0),
            ("PT0.5S", 0.5),
            ("PT0S", 0.0),
            ("P30000D", 2.592e9),
        ] {
            let period = text.parse::<IsoDuration>().expect(text);
            assert!((period.0.as_seconds_f64() - seconds).abs() < 1e-9, "{text}");
            assert_eq!(period.to_string(), text);
        }
        assert_eq!("PT90S".parse::<IsoDuration>().expect("90 s").to_string(), "PT1M30S");
        assert_eq!("P1DT0.5S".parse::<IsoDuration>().expect("a day and a bit").to_string(), "P1DT0.5S");
        assert!("PT3200000000S".parse::<IsoDuration>().is_ok() && "PT3200000001S".parse::<IsoDuration>().is_err());
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_an_example() {
        for text in ["", "P", "PT", "2m", "P1M", "P1Y", "PT1S1M", "PT-1S", "PT1", "PTS", "P1DT", "PT1e9S", "P99999999D"]
        {
            assert!(text.parse::<IsoDuration>().is_err(), "{text}");
        }
        assert!("120".parse::<IsoDuration>().unwrap_err().to_string().contains("PT2M"));
    }
}
