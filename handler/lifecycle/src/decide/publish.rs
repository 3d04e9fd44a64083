//! A verified result and the paths that it is published to.
//!
//! Its scoring stays `verifying` until each publication has ended, in whatever way: that a result is not published says nothing of
//! the result.

use time::{Duration, OffsetDateTime};

use super::step::{DecideContext, Effect, PublishOrder, Step, wait};
use crate::destination::{DestinationLook, Verdict};
use crate::duration::utc_text;
use crate::job::{OutputKind, OutputPrint, units_of_json};
use crate::publication::{Published, Refusal, RefusalKind};
use crate::publishing::{FileVersion, MAX_TEXT, NotPublished, Publication, PublicationEnd, PublishedPlace, Publishing};
use crate::rule::Rule;
use crate::schedule::back_off;
use crate::scoring::Scoring;
use crate::status::{Event, Status};
use crate::text::one_line;

/// First back-off after a refusal.
const BACK_OFF: Duration = Duration::seconds(30);
/// Where the doubling back-off after refusals ends.
const MAX_BACK_OFF: Duration = Duration::minutes(10);
/// For so long, at least, a missing right is waited for. A role assignment comes into force within ten minutes as a rule and up to
/// thirty; the deployment that adds the rule makes it, so that the first results meet it on its way. It costs nothing meanwhile: no
/// job runs, no slot is held. What takes longer is missing rather than slow, and takes a person.
const ROLE_IN_FORCE: Duration = Duration::minutes(30);
const TOO_LONG: &str = "its path is longer than the ledger can keep";

/// So often a path is found changed between the look and the write before that is taken for more than somebody else's speed.
const MAX_CHANGES: u32 = 10;

/// What came of a copy that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishAnswer {
    /// Whether it is written is known: by the storage's answer, or because no request could be made.
    Answered(Published),
    /// Files of the folder are still to be copied; how many are there.
    Unfinished(usize),
    /// The folder has more files than are published.
    TooManyFiles,
}

/// UTF-16 units that all publications of a scoring take as JSON: a property of a row has room for them and for their ends.
const MAX_UNITS: usize = 12_000;

impl DecideContext<'_> {
    /// The output is good: what is published of it is on record before anything is written. `None`: nothing is.
    pub(super) fn begin_publishing(
        &self,
        bytes: u64,
        print: &OutputPrint,
        sources: &[(String, FileVersion)],
    ) -> Option<Step> {
        let publishing = publications_of(self.scoring, self.rule?, sources, self.now)?;
        let is_unseen =
            |one: &Publication| one.kind == OutputKind::UriFile && one.source.is_none() && one.end.is_none();
        if let Some(unseen) = publishing.outputs.iter().find(|one| is_unseen(one)) {
            return Some(wait(format!(
                "which version of output {} is there was not seen; looked at again",
                unseen.output
            )));
        }
        if let Some(contradiction) = self.contradiction(bytes, sources) {
            return Some(wait(format!("{contradiction}; looked at again")));
        }
        let uris: Vec<&str> = publishing.outputs.iter().map(|one| one.uri.as_str()).collect();
        let reason = format!("the output is there ({bytes} bytes) and is to be published at {}", uris.join(", "));
        Some(self.transition(Event::Publishing, reason, Effect::Publish, |next| {
            next.output_bytes = Some(bytes);
            next.output_print = Some(print.clone());
            next.refusals = 0;
            next.due = self.now;
            next.publishing = Some(publishing.clone());
        }))
    }

    /// How the lengths of the files differ from what was verified after them: of `bytes` in all outputs, none of which is empty.
    /// One of the two looks was wrong, or a file was written between them, and what is copied is neither empty nor another file.
    fn contradiction(&self, bytes: u64, sources: &[(String, FileVersion)]) -> Option<String> {
        let outputs = &self.scoring.submission.as_ref()?.outputs;
        let is_file = |name: &String| outputs.get(name).is_some_and(|output| output.kind == OutputKind::UriFile);
        let files: Vec<_> = sources.iter().filter(|(name, _)| is_file(name)).collect();
        if let Some((name, _)) = files.iter().find(|(_, version)| version.len == 0) {
            return Some(format!("output {name} was seen empty and then with content"));
        }
        let sum = files.iter().fold(0_u64, |sum, (_, version)| sum.saturating_add(version.len));
        (sum > bytes || files.len() == outputs.len() && sum != bytes).then(|| {
            format!("the files that are published were seen with {sum} bytes and the output then with {bytes}")
        })
    }

    /// What lies where the next one is published was looked at.
    pub(super) fn destination(&self, look: &DestinationLook) -> Step {
        let Some((number, publication)) = self.scoring.publishing.as_ref().and_then(Publishing::next) else {
            return self.published();
        };
        if let Some(step) = self.by_the_rule_now(number, publication) {
            return step;
        }
        match publication.judge(look) {
            Verdict::Write { to, condition } => Step::Publish(Box::new(PublishOrder {
                publication: publication.clone(),
                to,
                condition,
                mark: look.mark.clone(),
            })),
            Verdict::End(end) => self.publication_ended(number, end),
        }
    }

    /// What the rule as it is now makes of what is on record; `None`: it stays so.
    fn by_the_rule_now(&self, number: usize, publication: &Publication) -> Option<Step> {
        let mut publishing = self.scoring.publishing.clone()?;
        let ended = |why, text| Some(self.publication_ended(number, PublicationEnd::not(why, text)));
        let Some(rule) = self.rule else {
            // Without its rule what is under way is seen to its end. What was ordered is not: nobody says where to.
            let text = "its rule is not in the rules any more";
            return publishing.is_ordered().then(|| ended(NotPublished::Unwanted, text)).flatten();
        };
        let Some((.., publish)) = rule.published().find(|(name, ..)| *name == publication.output) else {
            return ended(NotPublished::Unwanted, "the rule does not publish it any more");
        };
        // By one version of the rules, whichever processes drive it, unless a person says otherwise.
        let uri = publish.uri.fill(&self.scoring.values(self.scoring.attempt));
        if !publishing.is_ordered() || (&publication.uri, publication.if_exists) == (&uri, publish.if_exists) {
            return None;
        }
        let reason = format!("published at {uri} by its rule as it is now");
        let one = publishing.outputs.get_mut(number)?;
        (one.uri, one.if_exists) = (uri, publish.if_exists);
        if units_of_json(&publishing) > MAX_UNITS {
            return ended(NotPublished::TooLarge, TOO_LONG);
        }
        Some(self.transition(Event::Publishing, reason, Effect::Publish, |next| {
            next.due = self.now;
            next.publishing = Some(publishing);
        }))
    }

    /// The ledger refuses what follows of an order to publish: the result is as good as it was before. `None`: nothing was ordered.
    pub(super) fn order_not_recorded(&self, error: &str) -> Option<Step> {
        let verifies = self.scoring.status == Status::Verifying;
        let mut publishing =
            self.scoring.publishing.clone().filter(|publishing| verifies && publishing.is_ordered())?;
        for one in publishing.outputs.iter_mut().filter(|one| one.end.is_none()) {
            one.end = Some(PublicationEnd::not(NotPublished::TooLarge, error));
        }
        Some(self.scored_as_published(&publishing))
    }

    /// Goes on by what came of a copy: the publication has ended, is looked at anew, or is tried again later.
    pub(super) fn publish_answered(
        &self,
        (to, place): (&str, Option<&PublishedPlace>),
        answer: &PublishAnswer,
    ) -> Step {
        let Some((number, _)) = self.scoring.publishing.as_ref().and_then(Publishing::next) else {
            return self.published();
        };
        match answer {
            PublishAnswer::Answered(Published::Written { etag }) => {
                let end = PublicationEnd::Published { uri: to.to_owned(), etag: etag.clone(), place: place.cloned() };
                self.publication_ended(number, end)
            }
            PublishAnswer::Answered(Published::DestinationChanged) => self.destination_changed(number, to),
            PublishAnswer::Answered(Published::SourceChanged) => self.source_changed(number),
            PublishAnswer::Answered(Published::Refused(refusal)) => self.publish_refused(number, refusal),
            PublishAnswer::Unfinished(files) => wait(format!("{files} files are published, the next look goes on")),
            PublishAnswer::TooManyFiles => {
                let text = format!("the folder has more than {} files", crate::publishing::MAX_PARTS);
                self.publication_ended(number, PublicationEnd::not(NotPublished::TooLarge, &text))
            }
        }
    }

    /// Somebody else was faster, and the next look tells what lies there. Where that happens again and again nobody else is: the storage
    /// shows another thing than it compares with.
    fn destination_changed(&self, number: usize, to: &str) -> Step {
        let why = format!("something else than was seen lies at {to}; looked at again");
        let since = self.scoring.publishing.as_ref().map_or(self.now, |publishing| publishing.since);
        if self.scoring.refusals >= MAX_CHANGES && self.now >= since + self.policy.output_timeout.0 {
            let text = format!(
                "something else than is seen lies at {to}, however often it is looked at; remove it, or publish elsewhere"
            );
            return self.publication_ended(number, PublicationEnd::not(NotPublished::Refused, &text));
        }
        self.transition(Event::NotPublishedYet, why.clone(), Effect::None, |next| {
            next.refusals = next.refusals.saturating_add(1);
            next.due = self.now;
            next.last_error = Some(why.clone());
        })
    }

    /// What was verified is not what lies there: it is verified anew. If it is scored already, that would make a job where there is
    /// nothing any more, and nobody ordered one.
    fn source_changed(&self, number: usize) -> Step {
        if self.scoring.publishing.as_ref().is_some_and(Publishing::is_ordered) {
            let text = "the result is not the one that was verified any more; `scorekeeper rescore` scores it again";
            return self.publication_ended(number, PublicationEnd::not(NotPublished::Changed, text));
        }
        let reason = "the output is not the one that was verified any more; it is verified again".to_owned();
        self.transition(Event::NotPublishedYet, reason, Effect::None, |next| next.publishing = None)
    }

    /// It is tried again, as somebody may do something about it meanwhile.
    fn publish_refused(&self, number: usize, refusal: &Refusal) -> Step {
        let since = self.scoring.publishing.as_ref().map_or(self.now, |publishing| publishing.since);
        let why = format!("it is not published: {}", refusal.text);
        let patience = match refusal.kind {
            RefusalKind::MayNotWrite | RefusalKind::MayNotReadSource => self.policy.output_timeout.0.max(ROLE_IN_FORCE),
            RefusalKind::NoContainer
            | RefusalKind::Leased
            | RefusalKind::CannotReplace
            | RefusalKind::NotAsked
            | RefusalKind::SourceNotCopied
            | RefusalKind::Other => self.policy.output_timeout.0,
        };
        let until = since + patience;
        if self.now >= until {
            return self.publication_ended(number, PublicationEnd::not(NotPublished::Refused, &refusal.text));
        }
        let pause = back_off(BACK_OFF, MAX_BACK_OFF, self.scoring.refusals, &self.scoring.id);
        let due = (self.now + pause).min(until);
        let reason = format!("{why}; tried again after {}", utc_text(due));
        self.transition(Event::NotPublishedYet, reason, Effect::None, |next| {
            next.refusals = next.refusals.saturating_add(1);
            next.due = due;
            next.last_error = Some(why.clone());
        })
    }

    fn publication_ended(&self, number: usize, end: PublicationEnd) -> Step {
        let Some(mut publishing) = self.scoring.publishing.clone() else { return self.published() };
        if let Some(one) = publishing.outputs.get_mut(number) {
            one.end = Some(end);
        }
        if publishing.next().is_none() {
            return self.scored_as_published(&publishing);
        }
        let reason = publishing.told();
        self.transition(Event::Publishing, reason, Effect::Publish, |next| {
            next.refusals = 0;
            next.due = self.now;
            next.publishing = Some(publishing.clone());
        })
    }

    /// Nothing is left to be published.
    pub(super) fn published(&self) -> Step {
        match &self.scoring.publishing {
            Some(publishing) if publishing.next().is_none() => self.scored_as_published(publishing),
            _ => wait("nothing of it is being published".to_owned()),
        }
    }

    fn scored_as_published(&self, publishing: &Publishing) -> Step {
        let bytes = self.scoring.output_bytes.unwrap_or_default();
        let reason =
            format!("the output is there ({bytes} bytes) and newer than the submission; {}", publishing.told());
        self.transition(Event::OutputGood, reason, Effect::None, |next| {
            next.publishing = Some(publishing.clone());
            next.refusals = 0;
            (next.error, next.failure) = (None, None);
            if publishing.needs_person().is_some() {
                next.acknowledged = None;
            }
        })
    }
}

/// What the rule publishes of a verified attempt; `None`: nothing. `sources`: the version of each file that was verified, or of
/// one that was there before.
fn publications_of(
    scoring: &Scoring,
    rule: &Rule,
    sources: &[(String, FileVersion)],
    now: OffsetDateTime,
) -> Option<Publishing> {
    let sent = &scoring.submission.as_ref()?.outputs;
    let values = scoring.values(scoring.attempt);
    let each = rule.published().filter_map(|(name, _, publish)| {
        let kind = sent.get(name)?.kind;
        let source = sources.iter().find(|(output, _)| output == name).map(|(_, version)| version.clone());
        Some(Publication {
            output: name.to_owned(),
            kind,
            uri: publish.uri.fill(&values),
            if_exists: publish.if_exists,
            source,
            end: None,
        })
    });
    let mut all = Publishing { since: now, scored: None, outputs: each.collect() };
    if units_of_json(&all) > MAX_UNITS {
        for one in &mut all.outputs {
            one.uri = one_line(&one.uri, MAX_TEXT);
            one.end = Some(PublicationEnd::not(NotPublished::TooLarge, TOO_LONG));
        }
    }
    (!all.outputs.is_empty()).then_some(all)
}
