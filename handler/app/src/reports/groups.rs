//! Groups as people see them: of whom one was made and what became of each in the end, and what a member shares with the others.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use lifecycle::group::Member;
use lifecycle::redact::redacted;
use lifecycle::{RuleId, Scoring, Status};
use serde::Serialize;
use time::OffsetDateTime;

use super::text::{path, utc_text};
use crate::ledger::{self, Controls, InFlight, InGroup, Ledger, LimitScope, RuleGroups};

/// Rows of members that are read at one time.
const MAX_CONCURRENT_READS: usize = 16;

/// Who shares the job of a group, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// When it was sealed with its members.
    #[serde(with = "time::serde::rfc3339")]
    pub sealed_time: OffsetDateTime,
    /// Why it was made then, as its history begins; told where it is explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// The group that failed and of which this is a half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_of: Option<String>,
    /// The halves that are tried since it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub halves: Vec<String>,
    /// Its members, in the order in which they came; the first ones, where no more were asked for.
    pub group_members: Vec<MemberView>,
    /// How many more it has.
    #[serde(skip)]
    pub more: usize,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// Id of the scoring that is the member.
    pub id: String,
    /// Container and path of its blob, decoded; `None`: its row is not there any more, or cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What became of it in this group, in a few words.
    pub state: &'static str,
    /// Why the storage does not copy it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What became of it in the end, whichever group it is in: its scoring's status, or `unreadable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// The group that it is, or was last, a member of, if that is another: a half of this one, or one that was made later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_group: Option<String>,
}

impl MemberView {
    /// For people: `scored (named by the output)`, `failed in group ID (copied)`.
    pub fn told(&self) -> String {
        let status = self.status.unwrap_or("no longer in the ledger");
        let other = self.other_group.as_ref().map(|group| format!(" in group {group}")).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{status}{other} ({}{reason})", self.state)
    }
}

impl GroupView {
    /// For people: how many ended how, `4: 3 scored, 1 failed`.
    pub fn told(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for member in &self.group_members {
            let status = member.status.unwrap_or("no longer in the ledger");
            match counts.iter_mut().find(|(known, _)| *known == status) {
                Some((_, count)) => *count += 1,
                None => counts.push((status, 1)),
            }
        }
        let mut counts: Vec<String> = counts.into_iter().map(|(status, count)| format!("{count} {status}")).collect();
        if self.more > 0 {
            counts.push(format!("{} that were not looked at", self.more));
        }
        format!("{}: {}", self.group_members.len() + self.more, counts.join(", "))
    }
}

/// The job that a member shares with the others of its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupJobView {
    /// The status of the group that its members wait for, in one word.
    pub status: &'static str,
    /// The number of the group's attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Name of the job that the group's current attempt has; none: there is no job, or not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Azure ML's word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_status: Option<String>,
    /// Its page in Azure ML studio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub studio: Option<String>,
    /// What keeps the group from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The group that failed and of which this is a half: why the file is in this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_of: Option<String>,
    /// It failed, and its members go on in halves of it.
    #[serde(skip)]
    pub splits: bool,
}

impl GroupJobView {
    /// For people: `failed, attempt 1, job batchjob-1 (Failed)`, `scored, attempt 1, job batchjob-2 (Completed), a half of group ID, which
    /// failed`, `staging, attempt 0: storage answered 403 …`.
    pub fn told(&self) -> String {
        let status = self.job_status.as_deref().unwrap_or("?");
        let job = self.job.as_ref().map(|job| format!(", job {job} ({status})")).unwrap_or_default();
        let error = self.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let half = self.half_of.as_ref().map(|whole| format!(", a half of group {whole}, which failed"));
        format!("{}, attempt {}{job}{}{error}", self.status, self.attempt, half.unwrap_or_default())
    }
}

/// Of whom a group was made, so many of them; `None`: it is none.
pub(super) async fn group_of(
    ledger: &Ledger,
    scoring: &Scoring,
    max: usize,
) -> Result<Option<GroupView>, ledger::Error> {
    let Some(group) = scoring.group() else { return Ok(None) };
    let mut halves = Vec::new();
    if scoring.splits() {
        for half in [scoring.id.half(0), scoring.id.half(1)] {
            halves.extend(ledger.get(&half).await?.map(|(half, _)| half.id.to_string()));
        }
    }
    let member = |member: &Member| {
        let reason = group.reasons.get(&member.id).map(|reason| redacted(reason).into_owned());
        let view = MemberView {
            id: member.id.to_string(),
            path: None,
            state: member.state.words(),
            reason,
            status: None,
            other_group: None,
        };
        (member.id.clone(), view)
    };
    // Side by side: a thousand one after the other are seconds, for which somebody waits.
    let reads: Vec<_> = group.members.iter().take(max).map(member).collect();
    let reads = stream::iter(reads).map(|(id, mut view)| async move {
        match ledger.get(&id).await {
            Ok(None) => {}
            Ok(Some((member, _))) => {
                view.path = Some(redacted(&path(&member.blob)).into_owned());
                view.status = Some(member.status.name());
                view.other_group = member.member_of().filter(|own| **own != scoring.id).map(ToString::to_string);
            }
            Err(ledger::Error::Unreadable(_)) => view.status = Some("unreadable"),
            Err(error) => return Err(error),
        }
        Ok(view)
    });
    Ok(Some(GroupView {
        sealed_time: scoring.created,
        made: None,
        half_of: group.half_of.as_ref().map(ToString::to_string),
        halves,
        group_members: reads.buffered(MAX_CONCURRENT_READS).try_collect().await?,
        more: group.members.len().saturating_sub(max),
    }))
}

/// The job of the group that a scoring is, or was last, a member of; `None`: of none, or its row cannot be read.
pub(super) async fn group_job(ledger: &Ledger, scoring: &Scoring) -> Result<Option<GroupJobView>, ledger::Error> {
    let Some(group) = scoring.member_of() else { return Ok(None) };
    let shown = |text: String| redacted(&text).into_owned();
    let group = match ledger.get(group).await {
        Ok(Some((group, _))) => group,
        Ok(None) | Err(ledger::Error::Unreadable(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(GroupJobView {
        splits: group.splits(),
        half_of: group.group().and_then(|group| group.half_of.as_ref()).map(ToString::to_string),
        last_error: group.last_error.map(shown),
        status: group.status.name(),
        attempt: group.attempt,
        job: group.job.as_ref().map(|job| shown(job.name.to_string())),
        job_status: group.job_status.map(shown),
        studio: group.job.and_then(|job| job.studio).map(shown),
    }))
}

/// Whether a scoring of the in-flight index waits for others, and not for its turn; as long as its rule groups, or nobody knows.
pub(super) fn is_waiting_for_others(controls: &Controls, row: &InFlight) -> bool {
    let groups = || controls.scopes.get(&LimitScope::rule(&row.rule)).is_none_or(|rule| rule.groups.is_some());
    row.status == Status::Queued && matches!(row.group, Some(InGroup::Waits { .. })) && groups()
}

/// Since when one that is queued waits for longer than it was to: from the end of its wait for others on, where its rule groups.
pub(super) fn waits_in_vain_since(
    controls: &Controls,
    rule: &RuleId,
    created: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let groups = controls.scopes.get(&LimitScope::rule(rule))?.groups.as_ref()?;
    Some(created + groups.max_wait)
}

/// What a scoring waits for until a group is made of it and others; `None`: it does not, or its rule does not group any more.
pub(super) fn waits_for_others(controls: &Controls, scoring: &Scoring) -> Option<String> {
    if scoring.status != Status::Queued || !scoring.waits_for_group() {
        return None;
    }
    let Some(rule) = controls.scopes.get(&LimitScope::rule(&scoring.rule)) else {
        return Some("others, with which one job scores it; no reconcile run has told yet how its rule groups, or the rule is not in the rules any more".to_owned());
    };
    let RuleGroups { by_folder, marker, max_files, max_wait } = rule.groups.as_ref()?;
    let folder = scoring.blob.url.rsplit_once('/').map_or("", |(folder, _)| folder);
    let others = if *by_folder { format!("others of its folder {folder}") } else { "others of its rule".to_owned() };
    let marker = marker.as_ref().map(|marker| format!("once {folder}/{marker} lies there, ")).unwrap_or_default();
    let latest = utc_text(scoring.created + *max_wait);
    Some(format!(
        "{others}: a reconcile run, one comes each minute, makes a group of them {marker}once they are {max_files} files, or all that there is by {latest} UTC (`group.maxWait`)"
    ))
}
