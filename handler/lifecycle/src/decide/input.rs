//! What a look at the input means: before a job is made, after one failed, and before an output is shown as scored.
//!
//! Only "it is not there" and "it is another content" end a scoring. What could not be looked at says nothing, and costs
//! nothing but time.

use time::Duration;

use super::attempt::close_attempt;
use super::step::{DecideContext, Effect, Step};
use crate::duration::utc_text;
use crate::id::ScoringId;
use crate::input::InputFound;
use crate::schedule::back_off;
use crate::scoring::{MAX_ALIASES, Scoring};
use crate::status::Event;

/// First back-off after an input that could not be looked at.
const LOOK_BACK_OFF: Duration = Duration::seconds(30);
/// The longest: ten minutes after a right was given at most, what waited for it goes on.
const MAX_LOOK_BACK_OFF: Duration = Duration::minutes(10);

impl DecideContext<'_> {
    /// What stands against making a job for it, by a look at its input.
    pub(super) fn before_submission(&self) -> Option<Step> {
        match self.input {
            None => self.look_first(),
            Some(InputFound::Named(_) | InputFound::SameContent(_)) => None,
            Some(InputFound::NotSeen(why)) => Some(self.input_not_seen(why)),
            Some(InputFound::SameAs(other)) => Some(self.same_content(other)),
            Some(found) => self.ends_by_input(found, "no job is made for it"),
        }
    }

    fn look_first(&self) -> Option<Step> {
        self.verifies.then_some(Step::LookAtInput)
    }

    /// An attempt failed: if its input is gone or newer, no further one can succeed, and the failure is nobody else's.
    pub(super) fn after_failure(&self, error: &str) -> Option<Step> {
        let Some(found) = self.input else { return self.look_first() };
        self.ends_by_input(found, &format!("the attempt failed ({error})"))
    }

    /// A good output is there. Whose it is depends on what the job read: the version that was named was there all the time if it
    /// is there now, as an ETag comes back by a rename alone. That cannot be told afterwards; RELIABILITY says so.
    pub(super) fn before_scored(&self) -> Option<Step> {
        let Some(found) = self.input else { return self.look_first() };
        match found {
            // Nobody may delete what is being scored and expect no result: deleting an input that was looked at before its
            // job was made is how many writers tidy up. An overwrite in between, deleted as well, cannot be told from
            // that; RELIABILITY says so.
            InputFound::Named(_) | InputFound::SameContent(_) | InputFound::SameAs(_) | InputFound::Gone => None,
            InputFound::NotSeen(why) => Some(self.cannot_look(why)),
            InputFound::Newer { .. } | InputFound::Unwanted { .. } => {
                self.ends_by_input(found, "what the job read is not known, so its output is not shown as scored")
            }
        }
    }

    /// An event or a look shows a version that had ended because it was not at its path.
    pub(super) fn seen_again(&self) -> Step {
        let reason = "the blob version was seen again; queued again";
        self.transition(Event::SeenAgain, reason.to_owned(), Effect::None, |next| {
            // A path of its own: what an earlier attempt wrote must not be taken for the result of a new one.
            close_attempt(next);
            (next.error, next.failure) = (None, None);
            next.refusals = 0;
            next.due = self.now;
            // What had taken its place may have scored the same content: compared before a job is made.
            next.in_place_of = next.replaced_by.take().or_else(|| next.in_place_of.take());
        })
    }

    /// The version is one more ETag of a content that another scoring has.
    pub(super) fn same_content(&self, other: &ScoringId) -> Step {
        let reason =
            format!("the content is the same as that of scoring {other} (equal length and MD5), which it joins");
        self.transition(Event::SameContent, reason, Effect::None, |next| next.replaced_by = Some(other.clone()))
    }

    /// A later version of the path is on record, and the rule wants no other.
    pub(super) fn overtaken(&self, etag: &str, by: &ScoringId) -> Step {
        let reason = format!(
            "a later version ({etag}) was uploaded, scored as {by}; no job is made for this one (overwrites is latestOnly)"
        );
        self.transition(Event::InputNewer, reason, Effect::None, |next| next.replaced_by = Some(by.clone()))
    }

    fn ends_by_input(&self, found: &InputFound, so: &str) -> Option<Step> {
        Some(match found {
            InputFound::Gone => {
                let reason = format!("the blob is not there any more (404 BlobNotFound); {so}");
                self.transition(Event::InputGone, reason, Effect::None, |_| {})
            }
            InputFound::Newer { etag, scoring } => {
                let reason = format!("the path holds a newer version ({etag}), scored as {scoring}; {so}");
                self.transition(Event::InputNewer, reason, Effect::None, |next| {
                    next.replaced_by = Some(scoring.clone());
                })
            }
            InputFound::Unwanted { etag, why } => {
                let reason = format!("the path holds a newer version ({etag}), which is not scored: {why}; {so}");
                self.transition(Event::InputNewer, reason, Effect::None, |_| {})
            }
            InputFound::Named(_) | InputFound::SameContent(_) | InputFound::SameAs(_) | InputFound::NotSeen(_) => {
                return None;
            }
        })
    }

    /// It waits, without its slot: others of its rule may lie in an account that can be read.
    fn input_not_seen(&self, why: &str) -> Step {
        let pause = back_off(LOOK_BACK_OFF, MAX_LOOK_BACK_OFF, self.scoring.refusals, &self.scoring.id);
        let due = self.now + pause;
        let reason =
            format!("the input could not be looked at: {why}; no job is made, looked at again after {}", utc_text(due));
        self.transition(Event::InputNotSeen, reason, Effect::None, |next| {
            next.refusals = next.refusals.saturating_add(1);
            next.due = due;
            next.last_error = Some(format!("the input could not be looked at: {why}"));
        })
    }

    /// Keeps what was seen of the input with whatever move follows.
    pub(super) fn note_input(&self, next: &mut Scoring) {
        let Some(InputFound::Named(seen) | InputFound::SameContent(seen)) = self.input else { return };
        // The first look only: content is compared with what was there when the version was named.
        if next.input.is_none() && seen.etag == next.blob.etag {
            next.input = Some(seen.content.clone());
        }
        if seen.etag != next.blob.etag && !next.aliases.contains(&seen.etag) {
            if next.aliases.len() >= MAX_ALIASES {
                next.aliases.remove(0);
            }
            next.aliases.push(seen.etag.clone());
        }
    }
}
