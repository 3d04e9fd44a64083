//! Durations as rules write them: ISO 8601, days to seconds (`PT2M`, `P1D`, `PT0.5S`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::Duration;

/// A duration that is read from and written as ISO 8601. Years and months have no fixed length and are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IsoDuration(pub Duration);

impl IsoDuration {
    /// Reads `PnDTnHnMnS`, each part optional, seconds with a fraction.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no ISO 8601 duration; write for example PT30S, PT2M, PT1H or P1D");
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
            return Err(format!("`{text}` is longer than 100 years"));
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
        Self::read(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for IsoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_and_written() {
        for (text, seconds) in [
            ("PT2M", 120.0),
            ("P1D", 86_400.0),
            ("P1DT1H1M1S", 90_061.0),
            ("PT0.5S", 0.5),
            ("PT0S", 0.0),
            ("P30000D", 2.592e9),
        ] {
            let period = IsoDuration::read(text).expect(text);
            assert!((period.0.as_seconds_f64() - seconds).abs() < 1e-9, "{text}");
            assert_eq!(period.to_string(), text);
        }
        assert_eq!(IsoDuration::read("PT90S").expect("90 s").to_string(), "PT1M30S");
        assert_eq!(IsoDuration::read("P1DT0.5S").expect("a day and a bit").to_string(), "P1DT0.5S");
        assert!(IsoDuration::read("PT3200000000S").is_ok() && IsoDuration::read("PT3200000001S").is_err());
    }

    #[test]
    fn what_is_no_period_is_refused_with_an_example() {
        for text in ["", "P", "PT", "2m", "P1M", "P1Y", "PT1S1M", "PT-1S", "PT1", "PTS", "P1DT", "PT1e9S", "P99999999D"]
        {
            assert!(IsoDuration::read(text).is_err(), "{text}");
        }
        assert!(IsoDuration::read("120").unwrap_err().contains("PT2M"));
    }
}
