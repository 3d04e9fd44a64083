//! Where the rules come from: a file, or the setting itself.

use std::io::Read as _;
use std::path::Path;

use lifecycle::Rules;

use super::problems::Refused;
use super::reading::LOCAL;
use super::rules_in_blob::MAX_RULES_BYTES;
use super::{Problems, Reader, Source, Vars};

pub(super) const NAME: &str = "SCOREKEEPER_RULES";
/// Where they are unless that is set.
const FILE: &str = "rules.json";

/// Rules that nobody has looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesText {
    /// The file's path, or `(inline)`.
    pub shown: String,
    /// The JSON of the rules as it was read, neither parsed nor checked.
    pub text: String,
}

/// How a file is called that was given on the command line.
const GIVEN: &str = "the rules file";

impl RulesText {
    /// What this file holds, else what the settings name, else the rules of the local product below `cwd`, which stands for the
    /// app's root if the host named none.
    pub fn read(vars: &dyn Vars, cwd: &Path, file: Option<&Path>) -> Result<Self, Problems> {
        let mut reader = Reader { vars, problems: Vec::new(), settings: Vec::new() };
        let read = if let Some(file) = file {
            let file = cwd.join(file);
            let shown = file.display().to_string();
            let read = read_rules(&file).map_err(|why| {
                reader.problem(GIVEN, Some(&shown), why.refused("name a rules file that this user can read"));
            });
            read.ok().map(|text| RulesText { shown, text })
        } else {
            let root = reader.get("FUNCTIONS_APP_ROOT_PATH").map_or_else(|| cwd.to_owned(), Into::into);
            let local = cwd.join(LOCAL).join(FILE);
            if reader.get(NAME).is_none() && !root.join(FILE).exists() && local.is_file() {
                reader.rules_file(&local)
            } else {
                reader.rules_text(&root).map(|(text, _)| text)
            }
        };
        read.ok_or(Problems(reader.problems))
    }
}

/// Why a rules file cannot be taken.
#[derive(Debug, thiserror::Error)]
enum RulesFileError {
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    #[error("it has more than {MAX_RULES_BYTES} bytes")]
    TooLarge,
    #[error("it is not UTF-8 from its byte {0} on")]
    NotUtf8(usize),
}

impl RulesFileError {
    /// What is to be done about it; `otherwise` where the file is not what is wrong.
    fn refused(&self, otherwise: &str) -> Refused {
        let remedy = match self {
            Self::NotUtf8(_) => "save it as UTF-8; Windows PowerShell writes UTF-16 unless it is told `-Encoding utf8`",
            Self::Unreadable(_) | Self::TooLarge => otherwise,
        };
        Refused::new(format!("a readable rules file ({self})"), remedy)
    }
}

impl Reader<'_> {
    pub(super) fn rules(&mut self, root: &Path) -> Option<Rules> {
        let (RulesText { shown, text }, source) = self.rules_text(root)?;
        match Rules::read_beside(&text, &self.own_accounts()) {
            Ok(rules) => {
                let count = rules.iter().count();
                let noun = if count == 1 { "rule" } else { "rules" };
                self.understood(NAME, format!("{shown}: {count} {noun}"), source);
                Some(rules)
            }
            Err(wrong) => {
                for lifecycle::rule::Problem { place, value, expected, remedy } in wrong {
                    let is = value.map_or_else(|| "is missing".to_owned(), |value| format!("is {value}"));
                    let expected = format!("good rules, and {place} {is}; expected {expected}");
                    self.problem(NAME, Some(&shown), Refused::new(expected, remedy));
                }
                None
            }
        }
    }

    fn rules_text(&mut self, root: &Path) -> Option<(RulesText, Source)> {
        match self.get(NAME) {
            // Some editors begin a text with a byte order mark, which goes along when it is pasted.
            Some(text) if text.trim_start_matches('\u{feff}').starts_with('{') => {
                let shown = "(inline)".to_owned();
                Some((RulesText { shown, text }, Source::Variable(NAME.to_owned())))
            }
            Some(path) => Some((self.rules_file(&root.join(path))?, Source::Variable(NAME.to_owned()))),
            None => Some((self.rules_file(&root.join(FILE))?, Source::Default(None))),
        }
    }

    fn rules_file(&mut self, file: &Path) -> Option<RulesText> {
        let shown = file.display().to_string();
        match read_rules(file) {
            Ok(text) => Some(RulesText { shown, text }),
            Err(why) => {
                let remedy =
                    "put rules.json beside host.json, or set SCOREKEEPER_RULES to its path or to the JSON itself";
                self.problem(NAME, Some(&shown), why.refused(remedy));
                None
            }
        }
    }
}

fn read_rules(file: &Path) -> Result<String, RulesFileError> {
    let mut bytes = Vec::new();
    // One more than allowed, to tell "too large" from "just so".
    std::fs::File::open(file)?.take(MAX_RULES_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_RULES_BYTES {
        return Err(RulesFileError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| RulesFileError::NotUtf8(error.utf8_error().valid_up_to() + 1))
}
