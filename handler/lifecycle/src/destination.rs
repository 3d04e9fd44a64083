//! Whether a result is written where it is published, by what a look has shown there.

use crate::publication::{NotedResult, PublicationMark, PublishedBlob, WriteCondition};
use crate::publishing::{NotPublished, Publication, PublicationEnd, PublishedPlace};
use crate::rule::IfExists;
use crate::scoring::Scoring;

/// What a look has shown where a result is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationLook {
    /// What would be written on it.
    pub mark: PublicationMark,
    /// The place of the path that was chosen.
    pub place: PublishedPlace,
    /// What lies at the path that was chosen.
    pub found: Option<PublishedBlob>,
    /// What lies at the one beside it; looked at where the rule says `version`.
    pub beside: Option<PublishedBlob>,
    /// The path that was chosen is that of the blob that was scored.
    pub is_input: bool,
    /// A newer result that another scoring has published at that path, whether it is still there or not; looked for where nothing of this
    /// ledger lies there.
    pub newer: Option<NotedResult>,
}

impl Scoring {
    /// Whether a result of it was published at a place, be it there still or not.
    pub fn was_published_at(&self, wanted: &PublishedPlace) -> bool {
        let was_there = |one: &Publication| matches!(&one.end, Some(PublicationEnd::Published { place: Some(place), .. }) if place == wanted);
        self.publishing.as_ref().is_some_and(|all| all.outputs.iter().any(was_there))
    }
}

/// How a publication goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be written there, on this condition.
    Write {
        /// The path that was chosen, or the one beside it.
        to: String,
        /// What the look has shown at that path, which must still lie there.
        condition: WriteCondition,
    },
    /// Nothing is to be written any more: it is done already, or must not be.
    End(PublicationEnd),
}

impl Publication {
    /// The same beside it, for a result that must not take the place of another one. By the scoring's id, so that the same result
    /// has the same name however often it is tried.
    pub fn beside(&self, mark: &PublicationMark) -> String {
        let target = self.target();
        let (folder, name) = target.rsplit_once('/').unwrap_or(("", &target));
        let (stem, extension) = match name.rfind('.') {
            Some(dot) if dot > 0 => name.split_at(dot),
            _ => (name, ""),
        };
        format!("{folder}/{stem}.{}{extension}", mark.scoring)
    }

    /// The folder that takes the files of a published folder: of one attempt alone.
    pub fn files(&self, mark: &PublicationMark) -> String {
        format!("{}/{}/{}", self.uri.trim_end_matches('/'), mark.scoring, mark.attempt)
    }

    /// What is to become of it by what lies at its paths.
    ///
    /// A result of this ledger that is older gives way; a newer one never does, be it taken away or not. What carries the mark of this
    /// output of this very attempt was written for it: a copy whose answer was lost, or whose process died, is done. The blob that was
    /// scored is never replaced, nor is another output of the same attempt.
    pub fn judge(&self, look: &DestinationLook) -> Verdict {
        let mark = &look.mark;
        let (target, beside) = (self.target(), self.beside(mark));
        let chosen = Some(&look.place);
        for (to, there, place) in [(&beside, &look.beside, None), (&target, &look.found, chosen)] {
            if let Some(there) = there.as_ref().filter(|there| mark.is_on(there)) {
                let (uri, etag) = (to.clone(), there.etag.clone());
                return Verdict::End(PublicationEnd::Published { uri, etag, place: place.cloned() });
            }
        }
        match self.if_exists {
            IfExists::Version if look.found.is_some() || look.is_input || look.newer().is_some() => {
                write(beside, look.beside.as_ref(), mark, IfExists::Refuse)
            }
            _ if look.is_input => Verdict::End(PublicationEnd::not(
                NotPublished::Input,
                &format!("the blob that was scored lies at {target}; publish elsewhere"),
            )),
            if_exists => match look.newer() {
                Some(by) => Verdict::End(PublicationEnd::not(NotPublished::Newer, &by)),
                None => write(target, look.found.as_ref(), mark, if_exists),
            },
        }
    }
}

impl PublicationMark {
    /// It is the mark that is on what lies there, whenever that was written.
    fn is_on(&self, there: &PublishedBlob) -> bool {
        self.same_attempt(there).is_some_and(|by| by.output == self.output)
    }

    /// The mark on what lies there, if it is of this attempt.
    fn same_attempt<'a>(&self, there: &'a PublishedBlob) -> Option<&'a Self> {
        self.of_ledger(there).filter(|by| by.scoring == self.scoring && by.attempt == self.attempt)
    }

    /// The mark on what lies there, if it is of this ledger.
    fn of_ledger<'a>(&self, there: &'a PublishedBlob) -> Option<&'a Self> {
        there.mark.as_ref().filter(|by| by.ledger == self.ledger)
    }
}

impl DestinationLook {
    /// What lies at the path and is newer, or what was published there and was newer: for people.
    fn newer(&self) -> Option<String> {
        let mark = &self.mark;
        let is_newer = |by: &&PublicationMark| {
            by.order.is_newer_than(&mark.order) || by.scoring == mark.scoring && by.attempt > mark.attempt
        };
        let there = self.found.as_ref().and_then(|there| mark.of_ledger(there)).filter(is_newer);
        let taken = || self.newer.as_ref().filter(|last| last.order.is_newer_than(&mark.order));
        there.map(|by| format!("newer there, of scoring {}", by.scoring)).or_else(|| {
            taken().map(|last| {
                format!("newer was published there, of scoring {}, and does not lie there any more", last.scoring)
            })
        })
    }
}

/// Writes it there, in place of what gives way.
fn write(to: String, there: Option<&PublishedBlob>, mark: &PublicationMark, if_exists: IfExists) -> Verdict {
    let condition = match there {
        None => WriteCondition::Absent,
        Some(there) => {
            if let Some(by) = mark.same_attempt(there) {
                let text = format!(
                    "output {} of the same scoring is published at {to}; publish one of them elsewhere",
                    by.output
                );
                return Verdict::End(PublicationEnd::not(NotPublished::Exists, &text));
            }
            if if_exists == IfExists::Refuse && mark.of_ledger(there).is_none() {
                return Verdict::End(exists(&to, there));
            }
            WriteCondition::Unchanged(there.etag.clone())
        }
    };
    Verdict::Write { to, condition }
}

fn exists(uri: &str, there: &PublishedBlob) -> PublicationEnd {
    let text = format!(
        "something that Scorekeeper has not written lies at {uri} ({} bytes, ETag {}); move it away, or publish elsewhere",
        there.len, there.etag
    );
    PublicationEnd::not(NotPublished::Exists, &text)
}
