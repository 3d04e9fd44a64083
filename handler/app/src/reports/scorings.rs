//! Scorings as people and scripts see them: the same members in the command line's JSON and on the page.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lifecycle::publishing::{Publication, PublicationEnd, Publishing};
use lifecycle::redact::redacted;
use lifecycle::{Entry, FailureCause, NotedResult, Scoring, ScoringId};
use serde::Serialize;
use time::OffsetDateTime;

use super::groups::{GroupJobView, GroupView, group_job, group_of};
use super::limits::waits_for;
use super::text::{group_of_text, path};
use crate::ledger::{self, Ledger, Rows, Unreadable};

/// A scoring for display. Names are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoringView {
    /// The scoring's id: 32 hex digits; a group's is of the same form.
    pub id: String,
    /// Its status in one word, such as `queued`.
    pub status: &'static str,
    /// Since when it is in that status.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Id of the rule that it is scored under. The rules may not hold it any more.
    pub rule: String,
    /// URL of the blob, without query; secrets are masked.
    pub blob_url: String,
    /// Container and path, decoded: what people call it.
    pub path: String,
    /// ETag of the version that is scored, without quotes.
    pub etag: String,
    /// Number of the attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Name of the job that the current attempt has; none between attempts, and before the first.
    pub job: Option<String>,
    /// Azure ML's word for it.
    pub job_status: Option<String>,
    /// Its page in Azure ML studio.
    pub studio: Option<String>,
    /// Where the attempt's output goes; of several the first by name.
    pub output_uri: Option<String>,
    /// Where each of its outputs goes, by name.
    pub outputs: BTreeMap<String, String>,
    /// Size of the verified output.
    pub output_bytes: Option<u64>,
    /// Where its result was published; of several the first by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_uri: Option<String>,
    /// What became of its publication, where the rule publishes it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publications: Vec<PublicationView>,
    /// Why the last attempt ended badly.
    pub error: Option<String>,
    /// By whose fault the last attempt failed, in one of the words that the README lists; none where no attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_cause: Option<&'static str>,
    /// What a person does about it, where the error is recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Cow<'static, str>>,
    /// What keeps it from moving on.
    pub last_error: Option<String>,
    /// The scoring that is shown in its place, if it ended for another version of its path or joined one of the same content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// The scoring whose path held this version, if no event had told of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_place_of: Option<String>,
    /// The group that it is, or was last, a member of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Why it is scored alone, though its rule groups: it left its group, or was never to be in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alone: Option<String>,
    /// Of a group: how many scorings it was sealed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
    /// Jobs that were made for it and that it did not need; they were cancelled.
    pub orphaned_job_count: u32,
    /// Names of those, the first of them where there are many; `orphanedJobCount` counts all.
    pub orphaned_jobs: Vec<String>,
    /// When it was accepted into the ledger; a group, when it was sealed.
    #[serde(with = "time::serde::rfc3339")]
    pub created_time: OffsetDateTime,
    /// When something of it was last recorded, also where its status stayed.
    #[serde(with = "time::serde::rfc3339")]
    pub last_updated_time: OffsetDateTime,
    /// When it became final, from when its retention counts; none while it is in flight.
    #[serde(with = "time::serde::rfc3339::option")]
    pub completed_time: Option<OffsetDateTime>,
    /// Its place in the list that shows it: the next page begins behind the last one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// One output that is published, for display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicationView {
    /// The output's name, as the rule has it.
    pub output: String,
    /// The path that the rule says.
    pub uri: String,
    /// Where it was published; `null`: it was not, or not yet.
    pub published_uri: Option<String>,
    /// Id of a newer scoring whose result was published there since. Looked for where a single scoring is shown, and not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_there: Option<String>,
    /// ETag of what was written there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Why it is not published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_published: Option<String>,
}

impl From<&Publication> for PublicationView {
    fn from(publication: &Publication) -> Self {
        let shown = |text: &str| redacted(text).into_owned();
        let (published_uri, etag, not_published) = match &publication.end {
            None => (None, None, None),
            Some(PublicationEnd::Published { uri, etag, .. }) => (Some(shown(uri)), Some(shown(etag)), None),
            Some(PublicationEnd::NotPublished { text, .. }) => (None, None, Some(shown(text))),
        };
        let (output, uri) = (publication.output.clone(), shown(&publication.uri));
        Self { output, uri, published_uri, newer_there: None, etag, not_published }
    }
}

impl PublicationView {
    /// For people: where it was published and whether something newer is there by now, or why it was not.
    pub fn told(&self) -> String {
        match (&self.published_uri, &self.not_published) {
            (Some(uri), _) => match &self.newer_there {
                Some(newer) => format!("{uri} (by now there is the newer result of scoring {newer})"),
                None => uri.clone(),
            },
            (None, Some(why)) => format!("no: {why}"),
            (None, None) => format!("not yet at {}", self.uri),
        }
    }
}

impl From<Scoring> for ScoringView {
    /// Whatever an event, a rule or a service has said goes through the redactor here, before anybody shows it.
    fn from(s: Scoring) -> Self {
        let shown = |text: String| redacted(&text).into_owned();
        let group = s.member_of().map(ToString::to_string);
        let alone = s.alone().map(|why| shown(why.to_owned()));
        let members = s.group().map(|group| group.members.len());
        Self {
            status: s.status.name(),
            since: s.since,
            remedy: s.remedy(),
            output_uri: s.output_uri().map(|uri| shown(uri.to_owned())),
            outputs: s.output_uris().map(|(name, uri)| (name.to_owned(), shown(uri.to_owned()))).collect(),
            id: s.id.to_string(),
            rule: shown(s.rule.to_string()),
            path: shown(path(&s.blob)),
            blob_url: shown(s.blob.url),
            etag: shown(s.blob.etag),
            attempt: s.attempt,
            job: s.job.as_ref().map(|job| shown(job.name.to_string())),
            studio: s.job.and_then(|job| job.studio).map(shown),
            job_status: s.job_status.map(shown),
            output_bytes: s.output_bytes,
            published_uri: s.publishing.as_ref().and_then(Publishing::first_published).map(|uri| shown(uri.to_owned())),
            publications: s.publishing.iter().flat_map(|all| &all.outputs).map(Into::into).collect(),
            failure_cause: s.failure.map(FailureCause::name),
            error: s.error.map(shown),
            last_error: s.last_error.map(shown),
            group,
            alone,
            members,
            replaced_by: s.replaced_by.map(|id| id.to_string()),
            in_place_of: s.in_place_of.map(|id| id.to_string()),
            orphaned_job_count: s.orphaned_job_count,
            orphaned_jobs: s.orphaned_jobs.iter().map(|job| shown(job.to_string())).collect(),
            created_time: s.created,
            last_updated_time: s.updated,
            completed_time: s.completed,
            cursor: None,
        }
    }
}

impl ScoringView {
    /// What it is called: container and path of its blob, or that it is a group of so many.
    pub fn name(&self) -> Cow<'_, str> {
        self.members.map_or(Cow::Borrowed(&self.path), |members| group_of_text(members).into())
    }

    /// What became of its publications, on one line; with the outputs' names where there are several.
    pub fn all_publications(&self) -> Option<String> {
        let several = self.publications.len() > 1;
        let each = self
            .publications
            .iter()
            .map(|one| if several { format!("{}: {}", one.output, one.told()) } else { one.told() });
        let each: Vec<String> = each.collect();
        (!each.is_empty()).then(|| each.join(", "))
    }

    /// Its outputs on one line; with their names where there are several.
    pub fn all_outputs(&self) -> Option<String> {
        if self.outputs.len() < 2 {
            return self.output_uri.clone();
        }
        let each = self.outputs.iter().map(|(name, uri)| format!("{name}: {uri}"));
        Some(each.collect::<Vec<_>>().join(", "))
    }
}

/// A row of the ledger that cannot be read, in the place of what it should say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadableView {
    /// The scoring that it is about, if its key tells.
    pub id: Option<String>,
    /// Always `unreadable`, where a scoring has its status.
    pub status: &'static str,
    /// Which row it is, and what is wrong with it.
    pub error: String,
}

impl From<Unreadable> for UnreadableView {
    fn from(row: Unreadable) -> Self {
        let id = row.scoring().map(|id| id.to_string());
        Self { id, status: "unreadable", error: redacted(&row.to_string()).into_owned() }
    }
}

/// A scoring with its history.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoringDetail {
    /// What lists show of it too; in JSON its members stand beside these.
    #[serde(flatten)]
    pub scoring: ScoringView,
    /// Why it is not submitted yet, while it is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// What its status means, for people.
    #[serde(skip)]
    pub sentence: &'static str,
    /// The job that it shares with the other members of its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_job: Option<GroupJobView>,
    /// If it is a group: of whom.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub of_group: Option<GroupView>,
    /// Everything that happened, oldest first.
    pub history: Vec<Entry>,
    /// Lines of the history that cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableView>,
}

/// What there is of the scoring with an id.
#[derive(Debug, Clone, PartialEq)]
pub enum ScoringLookup {
    /// Its row can be read: the scoring, with its history.
    Scoring(Box<ScoringDetail>),
    /// Its row cannot be read.
    Unreadable(UnreadableView),
}

/// A scoring with its history, what it waits for, and if it is a group, what became of each member.
pub async fn detail(ledger: &Ledger, scoring: Scoring) -> Result<ScoringDetail, ledger::Error> {
    detail_with(ledger, scoring, usize::MAX).await
}

async fn detail_with(ledger: &Ledger, scoring: Scoring, members: usize) -> Result<ScoringDetail, ledger::Error> {
    let Rows { read: mut history, unreadable } = ledger.entries(&scoring.id).await?;
    for entry in &mut history {
        entry.reason = redacted(&entry.reason).into_owned();
    }
    let (controls, _) = ledger.readable_controls().await?;
    let waits = waits_for(&controls, &scoring).map(|text| redacted(&text).into_owned());
    let unreadable = unreadable.into_iter().map(Into::into).collect();
    let newer = newer_there(ledger, &scoring).await?;
    let (of_group, group_job) = (group_of(ledger, &scoring, members).await?, group_job(ledger, &scoring).await?);
    let sentence = scoring.sentence();
    let mut scoring = ScoringView::from(scoring);
    for (publication, newer) in scoring.publications.iter_mut().zip(newer) {
        publication.newer_there = newer;
    }
    Ok(ScoringDetail { scoring, waits, sentence, group_job, of_group, history, unreadable })
}

/// Of each publication the scoring whose newer result was published there since, if there is one.
async fn newer_there(ledger: &Ledger, scoring: &Scoring) -> Result<Vec<Option<String>>, ledger::Error> {
    let mut all = Vec::new();
    for publication in scoring.publishing.iter().flat_map(|publishing| &publishing.outputs) {
        all.push(match &publication.end {
            Some(PublicationEnd::Published { place: Some(place), .. }) => {
                let newer = ledger.newer_published_at(place, &NotedResult::of(scoring)).await?;
                newer.map(|newer| newer.scoring.to_string())
            }
            _ => None,
        });
    }
    Ok(all)
}

/// The same by its id; `None`: there is no such scoring.
pub async fn detail_of(ledger: &Ledger, id: &ScoringId) -> Result<Option<ScoringLookup>, ledger::Error> {
    detail_of_few(ledger, id, usize::MAX).await
}

/// The same, with so many members of a group at most: for what is shown again and again.
pub async fn detail_of_few(
    ledger: &Ledger,
    id: &ScoringId,
    members: usize,
) -> Result<Option<ScoringLookup>, ledger::Error> {
    match ledger.get(id).await {
        Ok(None) => Ok(None),
        Ok(Some((scoring, _))) => {
            Ok(Some(ScoringLookup::Scoring(Box::new(detail_with(ledger, scoring, members).await?))))
        }
        Err(ledger::Error::Unreadable(row)) => Ok(Some(ScoringLookup::Unreadable(row.into()))),
        Err(error) => Err(error),
    }
}
