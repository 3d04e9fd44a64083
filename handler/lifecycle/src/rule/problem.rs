//! What can be wrong with a rules file: each problem with its place, the value, what was expected and what to do.

use std::fmt;

use serde::Serialize;

/// Everything that is wrong with a rules file, in the order of the file; never empty. One line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Line, column and path in the file; in JSON they are members of the problem itself.
    #[serde(flatten)]
    pub place: Place,
    /// What stands there, on one line, cut and without secrets; `None`: nothing stands there, and something must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What may stand there, as it follows on "expected" in the message.
    pub expected: String,
    /// What to do about it.
    pub remedy: String,
}

/// A place in a rules file, as people find it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Line of the file, counted from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The members that lead there (`rules[2].outputs.score.uri`); empty: the file as a whole.
    pub path: String,
}

impl Problems {
    /// The problems, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, value, expected, remedy } = self;
        match value {
            Some(value) => write!(f, "{place} is {value}; expected {expected}; {remedy}"),
            None => write!(f, "{place} is missing; expected {expected}; {remedy}"),
        }
    }
}

impl std::error::Error for Problem {}

/// `rules[2].outputs.score.uri (line 7, column 12)`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, path } = self;
        let path = if path.is_empty() { "the file" } else { path };
        write!(f, "{path} (line {line}, column {column})")
    }
}

/// The name among `known` that was most likely meant by `given`.
pub(super) fn near_miss<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters =
        |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let given = letters(given);
    let distance = |name: &'a str| (strsim::damerau_levenshtein(&given, &letters(name)), name);
    let (distance, name) = known.into_iter().map(distance).min_by_key(|(distance, _)| *distance)?;
    // One typing error in three letters; two words that share less were not meant for each other.
    (distance * 3 <= name.len()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_another_word_finds_none() {
        let known = ["maxInFlight", "maxAttempts", "id", "pollInterval"];
        for (given, meant) in [
            ("maxInflight", Some("maxInFlight")),
            ("max_in_flight", Some("maxInFlight")),
            ("maxAttempt", Some("maxAttempts")),
            ("pollIntervall", Some("pollInterval")),
            ("ID", Some("id")),
            ("timeout", None),
            ("x", None),
        ] {
            assert_eq!(near_miss(given, known), meant, "{given}");
        }
    }
}
