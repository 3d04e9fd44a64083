//! Which scorings a list shows: what is asked of each, and how much of that an index row answers.

use std::str::FromStr;

use lifecycle::id::{EndpointKey, EndpointUri};
use lifecycle::{FailureCause, Scoring, ScoringId, Status, UnversionedBlob};
use time::OffsetDateTime;

use super::text::path;
use crate::ledger::{Ended, InFlight, Listed, Place};

/// Which scorings are listed, and how many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those in one of these statuses; none: in any, or if a cause is asked for, failed ones.
    pub status: Vec<Status>,
    /// Only those of the rule of this id.
    pub rule: Option<String>,
    /// Only those whose container and path begin so.
    pub prefix: Option<String>,
    /// Only those accepted then or later.
    pub since: Option<OffsetDateTime>,
    /// Only those accepted before then.
    pub before: Option<OffsetDateTime>,
    /// Only those of this endpoint.
    pub endpoint: Option<EndpointUri>,
    /// Only those for which this deployment was asked.
    pub deployment: Option<String>,
    /// Only those at this attempt, from 1; 0: none was made yet.
    pub attempt: Option<u32>,
    /// Only those that failed for this cause.
    pub cause: Option<FailureCause>,
    /// Only those that this group was sealed with, whatever became of them.
    pub group: Option<IdBeginning>,
    /// Whether groups are listed among the files, alone, or not at all.
    pub groups: WithGroups,
    /// Only those behind this place.
    pub after: Option<Place>,
    /// At most so many scorings; where more are wanted, a list tells the place to go on from.
    pub limit: usize,
}

/// Whether groups are listed. An index has those in flight alone, so that of ended ones no list tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WithGroups {
    /// Scorings of blobs alone: each file once, whatever shares its job.
    #[default]
    LeftOut,
    /// Groups in place of scorings.
    Only,
    /// Both: what the statuses mean for who orders something of either.
    Beside,
}

impl WithGroups {
    /// Whether a row is listed that is a group, or none.
    pub(super) fn wants(self, is_group: bool) -> bool {
        match self {
            Self::LeftOut => !is_group,
            Self::Only => is_group,
            Self::Beside => true,
        }
    }
}

/// A text that no id begins with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the beginning of an id, which is 1 to 32 lower-case hex digits")]
pub struct InvalidIdBeginning(String);

/// An id, or as much of its beginning as tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdBeginning(String);

impl IdBeginning {
    /// The digits that are known of it, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&ScoringId> for IdBeginning {
    fn from(id: &ScoringId) -> Self {
        Self(id.to_string())
    }
}

impl FromStr for IdBeginning {
    type Err = InvalidIdBeginning;

    fn from_str(text: &str) -> Result<Self, InvalidIdBeginning> {
        let is_one = !text.is_empty() && ScoringId::read(&format!("{text:0<32}")).is_some();
        if is_one { Ok(Self(text.to_owned())) } else { Err(InvalidIdBeginning(text.to_owned())) }
    }
}

/// Statuses of which the in-flight index tells.
const IN_FLIGHT: [Status; 9] = [
    Status::Queued,
    Status::Grouped,
    Status::Staging,
    Status::Submitting,
    Status::Unknown,
    Status::Held,
    Status::Running,
    Status::Cancelling,
    Status::Verifying,
];

impl Filter {
    /// The statuses that are asked for; none: all.
    pub(super) fn statuses(&self) -> &[Status] {
        match (self.status.is_empty(), self.groups) {
            (false, _) => &self.status,
            (true, WithGroups::Only) => &IN_FLIGHT,
            (true, _) if self.cause.is_some() => &[Status::Failed],
            (true, _) => &[],
        }
    }

    /// Whether anything is asked of a scoring.
    pub fn is_of_all(&self) -> bool {
        *self == Self { limit: self.limit, after: self.after.clone(), ..Self::default() }
    }

    /// Whether what an index tells of a scoring leaves it possible that it passes.
    pub(super) fn may_want(&self, told: &IndexedScoring<'_>) -> bool {
        let same = |uri: &EndpointUri, text: &str| text == uri.as_str() || EndpointKey::of(text) == *uri.key();
        let endpoint = self.endpoint.as_ref().zip(told.endpoint).is_none_or(|(uri, text)| same(uri, text));
        // An endpoint that is told is told with its deployment.
        let deployment =
            self.deployment.is_none() || told.endpoint.is_none() || self.deployment.as_deref() == told.deployment;
        self.rule.as_deref().is_none_or(|wanted| wanted == told.rule)
            && self.since.is_none_or(|since| told.created >= since)
            && self.before.is_none_or(|before| told.created < before)
            && self.prefix.as_deref().zip(told.path.as_deref()).is_none_or(|(prefix, path)| path.starts_with(prefix))
            && endpoint
            && deployment
            && self.attempt.zip(told.attempt).is_none_or(|(wanted, attempt)| wanted == attempt)
            && self.cause.is_none_or(|wanted| told.failure.may_be(wanted))
    }

    /// Whether it passes the filter, wherever it lies; of whom a group was made its own row tells alone.
    pub fn wants_scoring(&self, scoring: &Scoring) -> bool {
        let statuses = self.statuses();
        (statuses.is_empty() || statuses.contains(&scoring.status)) && self.may_want(&scoring.into())
    }
}

/// What is known of a scoring; `None`: only its own row tells.
pub(super) struct IndexedScoring<'a> {
    rule: &'a str,
    created: OffsetDateTime,
    path: Option<String>,
    endpoint: Option<&'a str>,
    deployment: Option<&'a str>,
    attempt: Option<u32>,
    failure: Failure,
}

/// Why it failed, as far as that is known.
enum Failure {
    /// Only its own row tells.
    Untold,
    /// For this cause, or it did not.
    Told(Option<FailureCause>),
}

impl Failure {
    fn may_be(&self, wanted: FailureCause) -> bool {
        match self {
            Self::Untold => true,
            Self::Told(cause) => *cause == Some(wanted),
        }
    }
}

impl<'a> From<&'a Scoring> for IndexedScoring<'a> {
    fn from(scoring: &'a Scoring) -> Self {
        Self {
            rule: &scoring.rule,
            created: scoring.created,
            path: Some(path(&scoring.blob)),
            endpoint: Some(scoring.endpoint.as_str()),
            deployment: scoring.deployment.as_deref(),
            attempt: Some(scoring.attempt),
            failure: Failure::Told(scoring.failure),
        }
    }
}

impl<'a> From<&'a Listed> for IndexedScoring<'a> {
    fn from(row: &'a Listed) -> Self {
        Self {
            rule: &row.rule,
            created: row.created,
            path: Some(path_of(&row.blob)),
            endpoint: row.endpoint.as_deref(),
            deployment: row.deployment.as_deref(),
            attempt: None,
            failure: Failure::Untold,
        }
    }
}

impl<'a> From<&'a InFlight> for IndexedScoring<'a> {
    fn from(row: &'a InFlight) -> Self {
        Self {
            rule: &row.rule,
            created: row.created,
            path: None,
            endpoint: Some(row.endpoint.as_str()),
            deployment: row.deployment.as_deref(),
            attempt: Some(row.attempt),
            failure: Failure::Untold,
        }
    }
}

impl<'a> From<&'a Ended> for IndexedScoring<'a> {
    fn from(row: &'a Ended) -> Self {
        Self {
            rule: &row.rule,
            created: row.created,
            path: row.blob.as_ref().map(path_of),
            endpoint: row.endpoint.as_deref(),
            deployment: row.deployment.as_deref(),
            attempt: row.attempt,
            // A row that tells of the blob is one of the index by status, which tells why as well.
            failure: if row.blob.is_some() { Failure::Told(row.failure) } else { Failure::Untold },
        }
    }
}

fn path_of(blob: &UnversionedBlob) -> String {
    format!("{}/{}", blob.container, blob.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_looked_for_in_every_status_that_is_in_flight() {
        let in_flight: Vec<Status> = Status::ALL.into_iter().filter(|status| !status.is_terminal()).collect();
        assert_eq!(IN_FLIGHT.to_vec(), in_flight);
    }
}
