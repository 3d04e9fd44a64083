//! The words behind the command's name: `--flag`, `--name value`, `--name=value`, and plain words.
//!
//! By hand, because a parser crate would be the largest part of this program.

use std::{collections::VecDeque, path::PathBuf};

use crate::failure::{Failure, Result};

/// What is left of the command line. Take what you know, then [`finish`](Self::finish).
#[derive(Debug)]
pub(crate) struct Arguments(VecDeque<String>);

impl Arguments {
    /// The words behind the command's name. `--name=value` becomes two words.
    pub(crate) fn new(words: impl IntoIterator<Item = String>) -> Self {
        let split = |word: String| match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => vec![name.to_owned(), value.to_owned()],
            _ => vec![word],
        };
        Self(words.into_iter().flat_map(split).collect())
    }

    /// Takes `--name`; tells whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// Takes `--name value`.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.0.iter().position(|word| word == name) else { return Ok(None) };
        self.0.remove(at);
        match self.0.remove(at) {
            Some(value) if !value.starts_with("--") => Ok(Some(value)),
            _ => Err(Failure::new(format!("{name} needs a value"))),
        }
    }

    /// Takes `--name value`, a path.
    pub(crate) fn path(&mut self, name: &str) -> Result<Option<PathBuf>> {
        Ok(self.value(name)?.map(PathBuf::from))
    }

    /// Takes the next plain word. Call it after the options were taken.
    pub(crate) fn word(&mut self) -> Option<String> {
        let at = self.0.iter().position(|word| !word.starts_with("--"))?;
        self.0.remove(at)
    }

    /// Refuses what nobody took: a mistyped option must not be ignored silently.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.front() {
            None => Ok(()),
            Some(word) => Err(Failure::new(format!("unexpected argument `{word}`; see `cargo xtask help`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Arguments {
        Arguments::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_flags_and_words_may_come_in_any_order() {
        let mut arguments = given("--quick --out=a one.zip --target t");
        assert_eq!(arguments.value("--target").unwrap().as_deref(), Some("t"));
        assert_eq!(arguments.path("--out").unwrap(), Some(PathBuf::from("a")));
        assert!(arguments.flag("--quick"));
        assert!(!arguments.flag("--quick"));
        assert_eq!(arguments.word().as_deref(), Some("one.zip"));
        arguments.finish().unwrap();
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let refused = given("--quik").finish().unwrap_err().to_string();
        assert!(refused.contains("--quik"), "{refused}");
    }

    #[test]
    fn an_option_without_its_value_is_refused() {
        assert!(given("--out").value("--out").is_err());
        assert!(given("--out --target t").value("--out").is_err());
    }
}
