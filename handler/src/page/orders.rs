//! What an operator orders on the page. It becomes a command line, and is read and run as that: the page can do what the command line
//! can, in the same words and with the same checks, and nothing else.

use lifecycle::Verb;
use lifecycle::text::shell;
use url::form_urlencoded;

use super::search::{InvalidSearch, Search};
use crate::cli::ledger_command::LedgerCommand;
use crate::cli::read_ledger_command;

/// An order of scorings, as its button has it.
pub(super) struct Offered {
    /// The command of `scorekeeper` that gives it, such as `retry`.
    pub(super) word: &'static str,
    /// What the driver does at once; `None`: it makes another generation with the next reconcile run.
    pub(super) verb: Option<Verb>,
    /// What it does, for people.
    pub(super) what: &'static str,
}

const fn offered(word: &'static str, verb: Verb, what: &'static str) -> Offered {
    Offered { word, verb: Some(verb), what }
}

/// What can be ordered of scorings.
pub(super) const OF_SCORINGS: [Offered; 9] = [
    offered("retry", Verb::Retry, "Try again, or end the back-off"),
    offered("cancel", Verb::Cancel, "Do not score; the cancellation of a running job is requested"),
    offered("skip", Verb::Skip, "Do not score, as long as no job runs"),
    offered("hold", Verb::Hold, "Do not send before it is released"),
    offered("release", Verb::Release, "Let go what is on hold"),
    offered("expedite", Verb::Expedite, "Send before all others of its endpoint"),
    Offered { word: "rescore", verb: None, what: "Score once more, as another generation" },
    offered("publish", Verb::Publish, "Publish a verified result after all"),
    offered("ack", Verb::Acknowledge, "Seen: it needs no attention any more"),
];
/// What is said of a scoring that is held.
pub(super) const OF_HELD: [(&str, &str); 3] = [
    ("send-again", "No job exists: send the same again"),
    ("job", "This job is the scoring's"),
    ("give-up", "Not to be scored any more"),
];
/// What can be said of a rule, an endpoint or a deployment.
const OF_SCOPES: [&str; 4] = ["pause", "resume", "limit", "close"];

/// The fields of a form, in their order.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// The first field of this name that is not empty.
    pub(super) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).find(|value| !value.trim().is_empty())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// What a second form must hold to say the same: everything but what that one asks for itself.
    pub(super) fn repeated(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = ["token", "reason", "confirmed"];
        self.0.iter().filter(move |(name, _)| !own.contains(&name.as_str())).map(|(name, value)| (&**name, &**value))
    }
}

/// An order that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidOrder {
    /// Nothing is named that it is about.
    #[error("nothing is selected: tick the scorings that are meant, or all that match the search")]
    NothingSelected,
    /// All scorings would be meant.
    #[error("the search is empty, and so means every scoring there is: say which are meant")]
    Everything,
    /// A field is missing or says nothing that there is.
    #[error("the form's field `{field}` is missing, or is none of those that the page offers")]
    Field {
        /// Name of the field in the form.
        field: &'static str,
    },
    /// The search by which scorings are meant cannot be understood.
    #[error(transparent)]
    Search(#[from] InvalidSearch),
    /// The command line does not take it.
    #[error("{0}")]
    Refused(String),
}

/// An order, as the command line has it.
pub(super) struct PageOrder {
    words: Vec<String>,
    /// It shows what it would do when it is asked to.
    can_be_tried: bool,
}

impl PageOrder {
    /// Reads what a form orders: the command with all its words but the reason.
    pub(super) fn read(form: &Form) -> Result<Self, InvalidOrder> {
        let field = |field: &'static str| move || InvalidOrder::Field { field };
        let verb = form.get("verb").ok_or_else(field("verb"))?;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        if OF_SCORINGS.iter().any(|offered| offered.word == verb) {
            return Ok(Self { words: [words(&[verb]), selected(form)?].concat(), can_be_tried: true });
        }
        if OF_HELD.iter().any(|(known, _)| *known == verb) {
            let option = match verb {
                "job" => format!("--job={}", form.get("job").ok_or_else(field("job"))?),
                other => format!("--{other}"),
            };
            let id = form.get("id").ok_or_else(field("id"))?;
            // Whoever comes here has been asked whether it is meant.
            let yes: &[&str] = if verb == "give-up" { &["--yes"] } else { &[] };
            let words = [&["resolve", option.as_str()][..], yes, &["--", id]].concat();
            return Ok(Self { words: words.into_iter().map(str::to_owned).collect(), can_be_tried: false });
        }
        if !OF_SCOPES.contains(&verb) {
            return Err(InvalidOrder::Field { field: "verb" });
        }
        let rule = form.get("rule").map(|rule| format!("--rule={rule}"));
        let endpoint = form.get("endpoint").map(|uri| format!("--endpoint={uri}"));
        let scope = rule.or(endpoint).ok_or_else(field("rule"))?;
        let words = match verb {
            "pause" | "resume" => {
                let name = scope.split_once('=').map_or("", |(_, name)| name);
                words(&[verb, "--", name])
            }
            "limit" => words(&["limit", &scope, "--", form.get("limit").ok_or_else(field("limit"))?]),
            // `close`, of a circuit breaker.
            _ => {
                let deployment = form.get("deployment").map(|name| format!("--deployment={name}"));
                let mut words = words(&["breaker", "close", &scope]);
                words.extend(deployment);
                words
            }
        };
        Ok(Self { words, can_be_tried: false })
    }

    /// The command that shows what it would do, if there is one.
    pub(super) fn trial(&self) -> Result<Option<LedgerCommand>, InvalidOrder> {
        self.can_be_tried.then(|| self.with(&["--dry-run".to_owned()])).transpose()
    }

    /// The command that does it.
    pub(super) fn command(&self, reason: &str) -> Result<LedgerCommand, InvalidOrder> {
        self.with(&self.said(reason))
    }

    /// The same as a person types it.
    pub(super) fn line(&self, reason: &str) -> String {
        let words = self.all(&self.said(reason));
        let words: Vec<_> = words.iter().map(|word| shell(word)).collect();
        format!("scorekeeper {}", words.join(" "))
    }

    fn said(&self, reason: &str) -> Vec<String> {
        let reason = format!("--reason={reason}");
        if self.can_be_tried { vec![reason, "--yes".to_owned()] } else { vec![reason] }
    }

    /// Its words with further options, which come before what is no option.
    fn all(&self, options: &[String]) -> Vec<String> {
        let (verb, rest) = self.words.split_at(1);
        [verb, options, rest].concat()
    }

    fn with(&self, options: &[String]) -> Result<LedgerCommand, InvalidOrder> {
        let words = self.all(options);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        read_ledger_command(&words).map_err(|error| {
            let text = error.to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            InvalidOrder::Refused(first.trim_start_matches("error: ").trim().to_owned())
        })
    }
}

/// The scorings that a form means, as words of a command.
fn selected(form: &Form) -> Result<Vec<String>, InvalidOrder> {
    if form.get("all").is_some() {
        let search = Search::read(form.get("q").unwrap_or_default())?;
        return if search.is_of_all() { Err(InvalidOrder::Everything) } else { Ok(search.options) };
    }
    let ids: Vec<String> = form.all("id").map(str::to_owned).collect();
    if ids.is_empty() {
        return Err(InvalidOrder::NothingSelected);
    }
    Ok([vec!["--".to_owned()], ids].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<PageOrder, InvalidOrder> {
        PageOrder::read(&Form::read(body.as_bytes()))
    }

    #[test]
    fn a_form_is_the_command_that_a_person_would_type() {
        for (body, line) in [
            ("verb=retry&id=0a&id=0b", "scorekeeper retry '--reason=a test' --yes -- 0a 0b"),
            (
                "verb=ack&all=1&q=status:failed+rule:claims",
                "scorekeeper ack '--reason=a test' --yes --status=failed --rule=claims",
            ),
            ("verb=give-up&id=0a", "scorekeeper resolve '--reason=a test' --give-up --yes -- 0a"),
            ("verb=job&job=batchjob-1&id=0a", "scorekeeper resolve '--reason=a test' --job=batchjob-1 -- 0a"),
            ("verb=pause&rule=claims", "scorekeeper pause '--reason=a test' -- claims"),
            (
                "verb=limit&endpoint=https://e/jobs&limit=3",
                "scorekeeper limit '--reason=a test' --endpoint=https://e/jobs -- 3",
            ),
        ] {
            let order = read(body).unwrap_or_else(|why| panic!("{body}: {why}"));
            assert_eq!(order.line("a test"), line);
            order.command("a test").unwrap_or_else(|why| panic!("{body}: {why}"));
        }
    }

    #[test]
    fn what_is_typed_into_a_field_is_no_option() {
        let order = read("verb=retry&id=--yes&id=--ledger").unwrap();
        let LedgerCommand::Retry(args) = order.command("--dry-run").unwrap() else { panic!() };
        assert_eq!(
            (args.ids.as_slice(), args.reason.as_deref()),
            (["--yes".into(), "--ledger".into()].as_slice(), Some("--dry-run"))
        );
        assert!(args.which.ledger.is_none());
        let LedgerCommand::Pause(args) = read("verb=pause&rule=--ledger").unwrap().command("x").unwrap() else {
            panic!()
        };
        assert!(args.which.ledger.is_none());
    }

    #[test]
    fn what_a_form_does_not_say_is_told_by_its_field() {
        for (body, told) in [
            ("verb=retry", "nothing is selected"),
            ("verb=cancel&all=1&q=", "every scoring there is"),
            ("verb=drop&id=0a", "`verb`"),
            ("id=0a", "`verb`"),
            ("verb=job&id=0a", "`job`"),
            ("verb=pause", "`rule`"),
            ("verb=retry&all=1&q=state:x", "begins with"),
        ] {
            let told_of = read(body).map(|_| ()).unwrap_err().to_string();
            assert!(told_of.contains(told), "{body}: {told_of}");
        }
        let refused = read("verb=limit&rule=a&limit=many").unwrap().command("x").unwrap_err().to_string();
        assert!(refused.contains("neither a number"), "{refused}");
    }
}
