//! What is wrong with the settings: each problem with name, value, expectation and remedy.

use std::fmt;

use lifecycle::redact::redacted;
use lifecycle::text::one_line;

/// Characters of a value that are shown.
pub(super) const MAX_SHOWN: usize = 200;
/// Characters of a setting that was understood: who asks may be told by an ARM id within a sentence.
pub(super) const MAX_UNDERSTOOD: usize = 400;

/// All problems that were found. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// A setting that cannot be used as it is, or that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name: an environment variable's, or an option's.
    pub name: String,
    /// What it is set to, cut and without secrets; `None` if it is not set.
    pub value: Option<String>,
    /// What could stand there, as a phrase: `a TCP port, 1 to 65535`.
    pub expected: String,
    /// What to do about it.
    pub remedy: String,
}

/// A value that was not taken: what was expected, and what to do.
#[derive(Debug)]
pub(super) struct Refused {
    expected: String,
    remedy: String,
}

impl Refused {
    pub(super) fn new(expected: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { expected: expected.into(), remedy: remedy.into() }
    }
}

impl Problem {
    pub(super) fn new(name: &str, value: Option<&str>, Refused { expected, remedy }: Refused) -> Self {
        // People paste connection strings and SAS URLs into the wrong settings, and what was expected quotes parsers, which
        // quote what they could not read.
        let value = value.map(|value| one_line(value, MAX_SHOWN));
        Self { name: name.to_owned(), value, expected: redacted(&expected).into_owned(), remedy }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, expected, remedy } = self;
        match value {
            Some(value) => write!(f, "`{name}` is `{}`", value.escape_debug())?,
            None => write!(f, "`{name}` is not set")?,
        }
        write!(f, "; expected {expected}; {remedy}")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
