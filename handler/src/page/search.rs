//! What is searched for, as it stands in the page's address: `status:failed rule:claims since:24h eu/2026`.
//!
//! Each word is an option of `scorekeeper list`, and a word without a name is the beginning of container and path, so that the page
//! and the command line can ask for the same, and no second reader of options is needed.

use app::reports::Filter;
use lifecycle::text::shell;
use time::OffsetDateTime;

use crate::cli::ledger_command::LedgerCommand;
use crate::cli::read_ledger_command;

/// What a word may begin with.
pub(super) const NAMES: [&str; 10] =
    ["status", "rule", "since", "before", "endpoint", "deployment", "attempt", "cause", "group", "finding"];

/// What is searched for, as text and as options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// As it was typed, without blanks around it.
    pub(super) text: String,
    /// The same as options of `list`, and of an order.
    pub(super) options: Vec<String>,
}

/// A search that asks for nothing that there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidSearch {
    /// A word has a name that no option has.
    #[error("`{word}`: a word begins with {}, each followed by a colon, or is the beginning of a container and path; write \"…\" around one with a blank or a colon", NAMES.join(", "))]
    Name {
        /// The word as it was typed, colon and all.
        word: String,
    },
    /// An option does not take its value, or not beside another one.
    #[error("{0}")]
    Option(String),
}

/// The words of a text; a blank within quotes belongs to its word.
fn words(text: &str) -> Vec<(String, bool)> {
    let (mut words, mut word, mut quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => (quoted, was_quoted) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                words.push((std::mem::take(&mut word), std::mem::take(&mut was_quoted)));
            }
            c => word.push(c),
        }
    }
    words.push((word, was_quoted));
    words.retain(|(word, _)| !word.is_empty());
    words
}

impl Search {
    /// Reads what stands in the address, and what the cursor of its page is.
    pub(super) fn read(text: &str) -> Result<Self, InvalidSearch> {
        let mut options = Vec::new();
        for (word, was_quoted) in words(text) {
            let option = match word.split_once(':') {
                Some((name, value)) if NAMES.contains(&name) => format!("--{name}={value}"),
                Some(_) if !was_quoted => return Err(InvalidSearch::Name { word }),
                _ => format!("--prefix={word}"),
            };
            options.push(option);
        }
        Ok(Self { text: text.trim().to_owned(), options })
    }

    /// Whether nothing is asked for, so that every scoring there is matches.
    pub(super) fn is_of_all(&self) -> bool {
        self.options.is_empty()
    }

    /// Whether it asks for scorings of this status alone.
    pub(super) fn is_of_status(&self, status: &str) -> bool {
        self.options == [format!("--status={status}")]
    }

    /// The finding whose scorings it asks for.
    pub(super) fn finding(&self) -> Option<&str> {
        self.options.iter().find_map(|option| option.strip_prefix("--finding="))
    }

    /// As a filter of at most `limit` scorings behind the place `after`.
    pub(super) fn filter(
        &self,
        after: Option<&str>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Result<Filter, InvalidSearch> {
        let after = after.map(|after| format!("--after={after}"));
        let limit = format!("--limit={limit}");
        let options = self.options.iter().chain(&after).chain([&limit]).map(String::as_str);
        let line: Vec<&str> = std::iter::once("list").chain(options).collect();
        match read_ledger_command(&line) {
            Ok(LedgerCommand::List(args)) => Ok(args.filter(now)),
            Ok(_) => Err(InvalidSearch::Option("it is not a list".to_owned())),
            // What follows is about usage.
            Err(error) => {
                let text = error.to_string();
                let first = text.split("\n\n").next().unwrap_or_default();
                Err(InvalidSearch::Option(first.trim_start_matches("error: ").trim().to_owned()))
            }
        }
    }

    /// The command that lists the same.
    pub(super) fn command(&self) -> String {
        let options = self.options.iter().map(|option| format!(" {}", shell(option)));
        format!("scorekeeper list{}", options.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use lifecycle::Status;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    fn read(text: &str) -> Result<Filter, InvalidSearch> {
        Search::read(text)?.filter(None, 50, NOW)
    }

    #[test]
    fn words_with_a_name_are_options_and_others_the_beginning_of_a_path() {
        let filter = read(r#"status:failed  status:held rule:claims since:24h "eu/two words: a.csv""#).unwrap();
        let expected = Filter {
            status: vec![Status::Failed, Status::Held],
            rule: Some("claims".to_owned()),
            prefix: Some("eu/two words: a.csv".to_owned()),
            since: Some(datetime!(2026-07-20 10:00 UTC)),
            limit: 50,
            ..Filter::default()
        };
        assert_eq!(filter, expected);
        assert_eq!(read("  ").unwrap(), Filter { limit: 50, ..Filter::default() });
    }

    #[test]
    fn a_word_that_is_none_is_told_with_what_there_is() {
        for (text, told) in [
            ("state:failed", "a word begins with status, rule, since"),
            ("status:broken", "broken"),
            ("since:yesterday", "neither a time before now"),
            ("finding:abc rule:claims", "cannot be used with"),
            ("eu us", "cannot be used multiple times"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("Usage"), "{text}: {error}");
        }
    }

    #[test]
    fn an_option_that_is_typed_is_no_option() {
        assert_eq!(read("--limit=1").unwrap().prefix.as_deref(), Some("--limit=1"));
        assert_eq!(Search::read("rule:it's").unwrap().command(), r"scorekeeper list '--rule=it'\''s'");
    }
}
