//! What can be wrong with a rules file: each problem with its location, the value, what was expected and what to do.

use std::fmt;

use super::definition::MEMBERS;
use super::template;
use crate::breaker::WINDOW;
use crate::duration::IsoDuration;
use crate::id::{InvalidEndpointUri, InvalidRuleId, InvalidWorkspaceId};

/// Everything that is wrong with a rules file; never empty. One sentence a line.
#[derive(Debug)]
pub struct Problems(pub(super) Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{location}{wrong}")]
pub struct Problem {
    /// Which entry of the file it is about.
    pub location: Location,
    /// What is wrong with it.
    #[source]
    pub wrong: Wrong,
}

/// An entry of the rules file, as people find it: by its name if it has one, else by its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// The file as a whole.
    File,
    /// The rule at this position, counted from 0.
    Rule {
        /// Its position in the list, from 0.
        index: usize,
        /// Its `id`, if there is one, good or not.
        id: Option<String>,
    },
    /// The entry of `endpoints` at this position, counted from 0.
    Endpoint {
        /// Its position in the list, from 0.
        index: usize,
        /// Its `uri`, if there is one, good or not.
        uri: Option<String>,
    },
}

/// What is wrong with an entry. Each sentence names the member and its value, and says what would be good.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// The text is not a JSON object of the right form.
    #[error("the rules are not of the form {{\"rules\": [ … ]}}: {0}")]
    File(#[source] serde_json::Error),
    /// The list of rules is empty.
    #[error("there is no rule, so nothing would ever be scored; add one")]
    NoRule,
    /// A member is missing or has the wrong form.
    #[error(transparent)]
    Member(serde_json::Error),
    /// A member of a rule that nothing reads: most often a typing error of one that matters.
    #[error("`{0}` is not a member of a rule; there are {members}", members = MEMBERS.join(", "))]
    UnknownMember(String),
    /// The rule's `id` has the wrong form.
    #[error("`id` is `{}`; it takes 1 to 64 letters, digits, `-` or `_`", .0.0)]
    Id(#[source] InvalidRuleId),
    /// Two rules with one `id`: one would take over the other's scorings.
    #[error("the id is used twice; ids name scorings and must differ")]
    IdTwice,
    /// A rule without a container would want nothing.
    #[error("`match.container` is empty; name the container that is watched")]
    NoContainer,
    /// A text of `match.exclude` that every path begins or ends with.
    #[error("`match.exclude.{0}` holds an empty text, which would leave out every blob; remove it")]
    EmptyExclusion(
        /// The member.
        &'static str,
    ),
    /// `match.exclude` leaves out all that `match` asks for.
    #[error(
        "`match.exclude` leaves out all that the rule asks for (prefix `{prefix}`, suffix `{suffix}`): {excluded}; correct one of them"
    )]
    ExcludesAll {
        /// What is left out, with its member.
        excluded: String,
        /// The rule's prefix.
        prefix: String,
        /// The rule's suffix.
        suffix: String,
    },
    /// `endpoint.uri`, or `uri` in `endpoints`.
    #[error("`endpoint.uri`: {0}")]
    Uri(#[source] InvalidEndpointUri),
    /// `endpoint.workspace`.
    #[error(
        "`endpoint.workspace` is `{}`; expected /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.MachineLearningServices/workspaces/NAME",
        .0.0
    )]
    Workspace(#[source] InvalidWorkspaceId),
    /// `inputs` is there and empty.
    #[error("`inputs` is empty; leave it out for the default (the blob itself)")]
    NoInputs,
    /// `outputs` is there and empty.
    #[error("`outputs` is empty; leave it out for the default, without an output nothing can be verified")]
    NoOutputs,
    /// A literal's text is no template.
    #[error("`inputs.{input}.value`: {source}")]
    LiteralText {
        /// The input's name.
        input: String,
        /// What is wrong with the template.
        source: template::Error,
    },
    /// A literal is null, a list or an object.
    #[error("`inputs.{0}.value` must be a string, a number or a boolean")]
    LiteralKind(
        /// The input's name.
        String,
    ),
    /// An output that is not on a datastore.
    #[error(
        "`outputs.{output}.uri` is `{uri}`; outputs go to a registered Blob datastore: azureml://datastores/NAME/paths/PATH"
    )]
    NoDatastore {
        /// The output's name.
        output: String,
        /// Its URI.
        uri: String,
    },
    /// An output path that two attempts or two scorings would share.
    #[error(
        "`outputs.{output}.uri` lacks {{{placeholder}}}; each attempt needs a path of its own, or a second job could overwrite a result"
    )]
    SharedOutput {
        /// The output's name.
        output: String,
        /// What makes the path unique and is missing.
        placeholder: &'static str,
    },
    /// `complete.unchangedFor` is so short that a writer who pauses is taken for done, or so long that nobody waits for it.
    #[error("`complete.unchangedFor` is {0}; it takes PT10S to P1D")]
    Unchanged(IsoDuration),
    /// What every request of the rule holds is more than the ledger can keep of a request.
    #[error(
        "its requests take {units} UTF-16 units with the shortest blob name, and the ledger holds {max} of a request; shorten `settings`, `inputs` or `outputs`"
    )]
    Request {
        /// What the shortest request takes.
        units: usize,
        /// What can be kept.
        max: usize,
    },
    /// `maxInFlight: 0` reads like a pause; pausing is an operator's command, so that it is seen and undone.
    #[error("`maxInFlight` is 0, so nothing would ever be scored; leave it out for no limit")]
    NothingInFlight,
    /// `maxAttempts` is out of its range.
    #[error("`maxAttempts` is {0}; it takes 1 to 20")]
    Attempts(u32),
    /// A duration that must not be zero.
    #[error("`{member}` is {value}; it must be longer than nothing")]
    NoTime {
        /// The member.
        member: &'static str,
        /// Its value.
        value: IsoDuration,
    },
    /// `resubmitAfter` and `lookupInterval`.
    #[error(
        "`resubmitAfter` ({resubmit_after}) is shorter than `lookupInterval` ({lookup_interval}); a lost job would never be looked for"
    )]
    ResubmitTooSoon {
        /// How long it is looked.
        resubmit_after: IsoDuration,
        /// When the first look comes.
        lookup_interval: IsoDuration,
    },
    /// An entry of `endpoints` for an endpoint that no rule names, so that the endpoint that was meant has no limit.
    #[error("no rule has this `endpoint.uri`; correct it, or remove the entry")]
    UnusedEndpoint,
    /// Two entries for one endpoint, whatever their spelling.
    #[error("the endpoint is listed twice; one entry holds all of its limits")]
    EndpointTwice,
    /// `submitsPerMinute` is out of its range.
    #[error("`submitsPerMinute` is {0}; it takes 1 to {1}; leave it out for no limit")]
    Submits(
        /// Its value.
        u32,
        /// The largest value that is taken.
        u32,
    ),
    /// `breaker.failures` is more than a breaker remembers, so that it would never open by it.
    #[error("`breaker.failures` is {0}; it takes 0 (off) to {WINDOW}")]
    Failures(u32),
    /// `breaker.pause` is so short that the breaker would not hold anything back.
    #[error("`breaker.pause` is {0}; it must be a second at least")]
    Pause(IsoDuration),
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

/// With what stands between the location and the sentence; nothing for the file.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Rule { id: Some(id), .. } => write!(f, "rule `{id}`: "),
            Self::Rule { index, id: None } => write!(f, "rules[{index}]: "),
            Self::Endpoint { uri: Some(uri), .. } => write!(f, "endpoint `{uri}`: "),
            Self::Endpoint { index, uri: None } => write!(f, "endpoints[{index}]: "),
        }
    }
}
