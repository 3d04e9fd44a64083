//! What is wrong with the settings: each problem with name, value, expectation and remedy.

use std::fmt;

/// All problems that were found. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting.
    pub name: String,
    /// What it is set to, masked; `None` if it is not set.
    pub value: Option<String>,
    /// What would be good.
    pub expected: String,
    /// What to do about it.
    pub remedy: String,
}

/// A value that was not taken: what was expected, and what to do.
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
        Self { name: name.to_owned(), value: value.map(masked), expected, remedy }
    }
}

/// A value fit to be shown: keys and signatures gone, cut to 200 characters. People paste connection strings and SAS
/// URLs into the wrong settings, so every value passes through here.
pub(super) fn masked(value: &str) -> String {
    let secret = |part: &str| {
        let name = part.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        let name = name.rsplit(['?', '/']).next().unwrap_or_default().to_owned();
        ["key", "sig", "signature", "secret", "password", "token", "code"].iter().any(|word| name.ends_with(word))
    };
    let mut kept = String::new();
    for part in value.split_inclusive(['&', ';', ' ', ',']) {
        match part.find('=') {
            Some(at) if secret(part) => {
                let end = part.len() - usize::from(part.ends_with(['&', ';', ' ', ',']));
                kept.push_str(&part[..=at]);
                kept.push_str("***");
                kept.push_str(&part[end.max(at + 1)..]);
            }
            _ => kept.push_str(part),
        }
    }
    // `https://user:password@host`
    let authority =
        kept.split_once("://").map(|(scheme, rest)| (scheme.len() + 3, rest.split('/').next().unwrap_or_default()));
    if let Some((begin, at)) = authority.and_then(|(begin, authority)| Some((begin, authority.rfind('@')?))) {
        kept.replace_range(begin..begin + at, "***");
    }
    match kept.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &kept[..at]),
        None => kept,
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
