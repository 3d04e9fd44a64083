//! How a time is written: `yyyy/MM/dd`.

use std::fmt::Write as _;

use time::OffsetDateTime;

/// What stands for a part of a time, as .NET and Java spell it.
const PARTS: [(&str, Part); 6] = [
    ("yyyy", Part::Year),
    ("MM", Part::Month),
    ("dd", Part::Day),
    ("HH", Part::Hour),
    ("mm", Part::Minute),
    ("ss", Part::Second),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Other(char),
}

/// The form of a time, in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeFormat(Vec<Part>);

impl TimeFormat {
    /// Reads a form; `None` if it is empty or holds letters that stand for nothing.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(next) = rest.chars().next() {
            if let Some((letters, part)) = PARTS.iter().find(|(letters, _)| rest.starts_with(letters)) {
                parts.push(*part);
                rest = &rest[letters.len()..];
                // Five letters are a typing error, not four and one.
                if letters.chars().next().is_some_and(|letter| rest.starts_with(letter)) {
                    return None;
                }
            } else if next.is_alphanumeric() || next.is_control() {
                return None;
            } else {
                parts.push(Part::Other(next));
                rest = &rest[next.len_utf8()..];
            }
        }
        (!parts.is_empty()).then_some(Self(parts))
    }

    /// Writes the time in full, in UTC and to the second: `2026-07-21T10:00:00Z`.
    pub(super) fn iso(text: &mut String, at: OffsetDateTime) {
        let _ = write!(
            text,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        );
    }

    /// Writes the time, which is in UTC.
    pub(super) fn write(&self, text: &mut String, at: OffsetDateTime) {
        for part in &self.0 {
            // Writing into a text cannot fail.
            let _ = match part {
                Part::Year => write!(text, "{:04}", at.year()),
                Part::Month => write!(text, "{:02}", u8::from(at.month())),
                Part::Day => write!(text, "{:02}", at.day()),
                Part::Hour => write!(text, "{:02}", at.hour()),
                Part::Minute => write!(text, "{:02}", at.minute()),
                Part::Second => write!(text, "{:02}", at.second()),
                Part::Other(other) => text.write_char(*other),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_is_written_as_its_form_says_and_other_letters_are_refused() {
        let at = datetime!(2026-07-04 05:06:09 UTC);
        for (form, written) in [
            ("yyyy/MM/dd", "2026/07/04"),
            ("yyyyMMdd-HHmmss", "20260704-050609"),
            ("dd.MM.yyyy, HH:mm", "04.07.2026, 05:06"),
        ] {
            let mut text = String::new();
            TimeFormat::read(form).expect(form).write(&mut text, at);
            assert_eq!(text, written);
        }
        for bad in ["", "YYYY", "yyy", "yyyyy", "yy", "DD", "yyyy-MM-ddTHH", "d", "hh", "5", "MMM"] {
            assert_eq!(TimeFormat::read(bad), None, "{bad}");
        }
        let mut text = String::new();
        TimeFormat::iso(&mut text, at);
        assert_eq!(text, "2026-07-04T05:06:09Z");
    }
}
