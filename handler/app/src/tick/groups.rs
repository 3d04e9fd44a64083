//! The part of a tick that groups: puts what waits into groups, brings the ends of groups to their members, splits what failed, and
//! removes copies that nobody needs.
//!
//! A member's row is the authority. So a group is made in this order: each row comes to name it by compare-and-swap, then its own row is
//! inserted with a list of those that do. Who dies in between leaves rows that name a group which is not there; a later tick seals it
//! with these. Who comes to name it after the list was written is not in it, and waits for another group.
//!
//! It finds all that by the walk: what waits, which rows name which group, and which groups are in flight. Only of groups that
//! have ended, or are not there, anything is read.
//!
//! Never: a list of members that grows; a member that ends by anything but the row of its group.

mod batches;
mod copies;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use lifecycle::group::{
    Group, Grouping, MemberEnd, MemberState, SharedFailure, SharedResult, Verified, staging_folder,
};
use lifecycle::id::RuleId;
use lifecycle::{FailureCause, Observation, Rules, Scoring, ScoringId, Status};
use time::{Duration, OffsetDateTime};

use self::waiting::{Batch, SealReason, Waiting, WaitingPlace, members_text};
use super::queue::MAX_QUEUED_PER_RULE;
use super::report::Counts;
use crate::admission::Admission;
use crate::clock::LedgerClock;
use crate::driver::{Driver, Evidence};
use crate::error::{Error, during, error_chain};
use crate::ledger::{Acceptance, Announced, InFlight, InGroup, Ledger};
use crate::ports::Blobs;

/// Members of one group that are moved at one time.
const MAX_CONCURRENT_MEMBERS: usize = 16;
/// Groups that are made, or brought to their end, at one time.
const MAX_CONCURRENT_GROUPS: usize = 4;
/// A group that is not there is sealed by others once its members named it for so long: whoever made it is taken for dead.
const SEALED_WITHIN: Duration = Duration::minutes(2);
/// What a walk has seen of groups.
#[derive(Default)]
pub(super) struct GroupsSeen {
    /// What waits, by rule and by account and folder.
    waiting: BTreeMap<RuleId, Vec<Waiting>>,
    /// By group, the rows that name it, with the time since when the last of them does.
    members: BTreeMap<ScoringId, (Vec<ScoringId>, OffsetDateTime)>,
    /// Groups that are not final, by the group's id.
    in_flight: BTreeMap<ScoringId, InFlightGroup>,
}

/// What the row of a group in flight tells of it.
struct InFlightGroup {
    half_of: Option<ScoringId>,
    /// Members that are copied, once that is settled.
    staged: Option<usize>,
}

impl GroupsSeen {
    /// Notes what a row tells of groups. Returns whether it waits for one, and is not to be submitted.
    pub(super) fn add(&mut self, row: &InFlight, rules: &Rules, now: OffsetDateTime) -> bool {
        match &row.group {
            None => false,
            Some(InGroup::Waits { folder, bytes }) => {
                let rule = rules.get(&row.rule);
                let groups = rule.is_some_and(|rule| rule.group.is_some());
                let waiting = self.waiting.entry(row.rule.clone()).or_default();
                if row.due <= now && row.on_hold.is_none() && waiting.len() < MAX_QUEUED_PER_RULE {
                    let (endpoint, deployment) = (row.endpoint.key().clone(), row.deployment.clone());
                    let (folder, tried) = (folder.clone(), row.attempt > 0);
                    let place = WaitingPlace { endpoint, deployment, folder, tried };
                    waiting.push(Waiting { id: row.id.clone(), place, bytes: *bytes, created: row.created });
                }
                row.status == Status::Queued && (groups || rule.is_none())
            }
            Some(InGroup::Member(group)) => {
                let (members, since) = self.members.entry(group.clone()).or_insert((Vec::new(), row.since));
                members.push(row.id.clone());
                *since = row.since.max(*since);
                false
            }
            Some(InGroup::Group { half_of, staged }) => {
                let group = InFlightGroup { half_of: half_of.clone(), staged: *staged };
                self.in_flight.insert(row.id.clone(), group);
                false
            }
        }
    }
}

/// Groups. One for each process.
pub(super) struct Groups {
    pub(super) ledger: Ledger,
    pub(super) rules: Arc<Rules>,
    pub(super) clock: LedgerClock,
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) driver: Driver,
    pub(super) admission: Arc<Admission>,
}

impl Groups {
    /// Brings ends to members, makes groups and stages them, until `deadline`. Returns the groups that are staged now and can be
    /// submitted. `whole`: the walk has seen every row, so that what it did not see is not there.
    pub(super) async fn run(
        &self,
        seen: GroupsSeen,
        whole: bool,
        deadline: OffsetDateTime,
        counts: &Counts,
    ) -> Vec<InFlight> {
        let GroupsSeen { waiting, members, in_flight } = seen;
        let mut sealed = Vec::new();
        // Ends first: a slot that a group frees is for one that comes of it.
        // Of one in flight that fewer were copied of than name it, some are out.
        let is_over = |group: &ScoringId, naming: usize| {
            in_flight.get(group).is_none_or(|group| group.staged.is_some_and(|staged| naming > staged))
        };
        let ended = members.iter().filter(|(group, (naming, _))| is_over(group, naming.len()));
        let ended: Vec<_> = ended.map(|(group, (members, since))| (group.clone(), members.clone(), *since)).collect();
        let mut all = stream::iter(ended)
            .map(|(group, members, since)| async move {
                let done = self.bring_end(&group, members, since, deadline, counts).await;
                (group, done)
            })
            .buffer_unordered(MAX_CONCURRENT_GROUPS);
        while let Some((group, done)) = all.next().await {
            match done {
                Ok(new) => sealed.extend(new),
                Err(error) => counts.failed(&group, &error),
            }
        }
        drop(all);
        let batches = self.batches(waiting, counts).await;
        let mut all = stream::iter(batches)
            .map(|(rule, batch)| async move { self.make(&rule, batch, deadline, counts).await })
            .buffer_unordered(MAX_CONCURRENT_GROUPS);
        while let Some(made) = all.next().await {
            match made {
                Ok(group) => sealed.extend(group),
                Err((id, error)) => counts.failed(&id, &error),
            }
        }
        drop(all);
        if whole {
            for group in in_flight.keys().filter(|group| !members.contains_key(*group)) {
                match self.has_member(group).await {
                    Ok(true) => {}
                    Ok(false) => self.tell(group, Observation::NoMemberLeft, counts).await,
                    Err(error) => counts.failed(group, &error),
                }
            }
            let needed = in_flight.iter().flat_map(|(id, group)| [Some(id), group.half_of.as_ref()]);
            let needed = needed.flatten().chain(members.keys()).chain(sealed.iter()).cloned().collect();
            if self.may_have_copies() {
                self.remove_copies(&needed, deadline, counts).await;
            }
        }
        self.stage(sealed, deadline, counts).await
    }

    /// Whether a row names a group, or the one that it is a half of: the rows themselves tell, as another process may make a group
    /// while this one walks the index.
    async fn has_member(&self, id: &ScoringId) -> Result<bool, Error> {
        let scoring = self.ledger.get(id).await.map_err(during("reading a group"))?;
        let Some(group) = scoring.as_ref().and_then(|(scoring, _)| scoring.group()) else { return Ok(true) };
        for member in &group.members {
            let row = self.ledger.get(&member.id).await.map_err(during("reading a member"))?;
            let named = row.as_ref().filter(|(row, _)| !row.status.is_terminal()).and_then(|(row, _)| row.member_of());
            if named.is_some_and(|named| named == id || group.half_of.as_ref() == Some(named)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Brings the end of a group to the rows that name it. Returns the halves that were made of it.
    async fn bring_end(
        &self,
        id: &ScoringId,
        members: Vec<ScoringId>,
        since: OffsetDateTime,
        deadline: OffsetDateTime,
        counts: &Counts,
    ) -> Result<Vec<ScoringId>, Error> {
        let now = self.clock.now();
        let Some((scoring, _)) = self.ledger.get(id).await.map_err(during("reading a group"))? else {
            if now - since < SEALED_WITHIN {
                return Ok(Vec::new());
            }
            tracing::warn!(group = %id, members = members.len(), "group {id} was left behind before it was sealed, and is sealed now");
            return self.seal_left_behind(id, members, deadline, counts).await;
        };
        let Some(group) = scoring.group() else { return Ok(Vec::new()) };
        let (known, late): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| group.state_of(member).is_some());
        self.end_members(id, late, |_| MemberEnd::NotSealed, deadline, counts).await;
        if !scoring.status.is_terminal() {
            // Those that are not copied need not wait for the others.
            let is_out = |member: &ScoringId| {
                matches!(
                    group.state_of(member),
                    Some(MemberState::Changed | MemberState::NotCopied | MemberState::Left)
                )
            };
            let out = known.into_iter().filter(is_out).collect();
            self.end_members(id, out, |member| end_of(&scoring, group, member), deadline, counts).await;
            return Ok(Vec::new());
        }
        if scoring.splits() {
            return self.split(&scoring, group, known, deadline, counts).await;
        }
        self.end_members(id, known, |member| end_of(&scoring, group, member), deadline, counts).await;
        Ok(Vec::new())
    }

    /// Seals a group that nobody did, with those that name it. Where their rule does not group any more each goes alone.
    async fn seal_left_behind(
        &self,
        id: &ScoringId,
        members: Vec<ScoringId>,
        deadline: OffsetDateTime,
        counts: &Counts,
    ) -> Result<Vec<ScoringId>, Error> {
        let Some(first) = self.first_of(&members).await? else { return Ok(Vec::new()) };
        if self.rules.get(&first.rule).is_none_or(|rule| rule.group.is_none()) {
            let alone = |_: &ScoringId| MemberEnd::Alone("its rule does not group any more".to_owned());
            self.end_members(id, members, alone, deadline, counts).await;
            return Ok(Vec::new());
        }
        Ok(self.seal(id, members, &first, &SealReason::LeftBehind).await?.into_iter().collect())
    }

    async fn end_members(
        &self,
        group: &ScoringId,
        members: Vec<ScoringId>,
        end: impl Fn(&ScoringId) -> MemberEnd,
        deadline: OffsetDateTime,
        counts: &Counts,
    ) {
        let ends: Vec<_> = members.into_iter().map(|member| (end(&member), member)).collect();
        let each = stream::iter(ends).for_each_concurrent(MAX_CONCURRENT_MEMBERS, async |(end, member)| {
            if self.clock.now() >= deadline {
                return counts.late();
            }
            self.tell(&member, Observation::GroupEnded { group: group.clone(), end }, counts).await;
        });
        each.await;
    }

    /// Makes two groups of one that failed. Whoever does it again comes to the same two: their ids and members follow from the
    /// group's row. Members that left it meanwhile are in neither.
    async fn split(
        &self,
        scoring: &Scoring,
        group: &Group,
        members: Vec<ScoringId>,
        deadline: OffsetDateTime,
        counts: &Counts,
    ) -> Result<Vec<ScoringId>, Error> {
        let staged: BTreeSet<&ScoringId> = group.staged().collect();
        let (staying, leaving): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| staged.contains(member));
        self.end_members(&scoring.id, leaving, |member| end_of(scoring, group, member), deadline, counts).await;
        if self.rules.get(&scoring.rule).is_none() {
            let alone = |_: &ScoringId| {
                MemberEnd::Alone("its group failed, and its rule is not in the rules any more".to_owned())
            };
            self.end_members(&scoring.id, staying, alone, deadline, counts).await;
            return Ok(Vec::new());
        }
        if let Some(suspect) = self.admission.breakers().forbids_split(scoring, self.clock.now()).await {
            tracing::info!(group = %scoring.id, "group {} is not split: {suspect}", scoring.id);
            return Ok(Vec::new());
        }
        let mut made = Vec::new();
        for (which, half) in group.halves().into_iter().enumerate() {
            let id = scoring.id.half(which);
            // First the list, which follows from the group's: whoever dies in between leaves a half that waits for its members.
            made.extend(self.seal(&id, half.clone(), scoring, &SealReason::HalfOf(scoring.id.clone())).await?);
            // Each that does not name the whole any more says so itself.
            self.join(&id, Some(&scoring.id), half, deadline, counts).await;
        }
        Ok(made)
    }

    /// Lets rows name a group; those that do now.
    async fn join(
        &self,
        group: &ScoringId,
        half_of: Option<&ScoringId>,
        members: Vec<ScoringId>,
        deadline: OffsetDateTime,
        counts: &Counts,
    ) -> BTreeSet<ScoringId> {
        let joined = stream::iter(members).map(|member| async move {
            if self.clock.now() >= deadline {
                counts.late();
                return None;
            }
            let observation = Observation::Joined { group: group.clone(), half_of: half_of.cloned() };
            match self.driver.drive(&member, Evidence::Given(observation)).await {
                Ok(Some(driven)) => (driven.scoring.member_of() == Some(group)).then_some(member),
                Ok(None) => None,
                Err(error) => {
                    counts.failed(&member, &error);
                    None
                }
            }
        });
        joined.buffer_unordered(MAX_CONCURRENT_MEMBERS).filter_map(async |member| member).collect().await
    }

    /// Makes a group of those that wait together.
    async fn make(
        &self,
        rule: &RuleId,
        Batch { files, reason }: Batch,
        deadline: OffsetDateTime,
        counts: &Counts,
    ) -> Result<Option<ScoringId>, (ScoringId, Error)> {
        let first = files[0].clone();
        let made = async {
            let ledger = self.ledger.id().await.map_err(during("reading the ledger's id"))?;
            let group = ScoringId::of_group(ledger, rule, &files, self.clock.now());
            let joined = self.join(&group, None, files.clone(), deadline, counts).await;
            // In the order in which they came: halves are made by it.
            let members: Vec<_> = files.into_iter().filter(|member| joined.contains(member)).collect();
            match self.first_of(&members).await? {
                Some(first) => self.seal(&group, members, &first, &reason).await,
                None => Ok(None),
            }
        };
        made.await.map_err(|error| (first, error))
    }

    /// The first of those that name a group; `None`: there is none.
    async fn first_of(&self, members: &[ScoringId]) -> Result<Option<Scoring>, Error> {
        let Some(first) = members.first() else { return Ok(None) };
        let first = self.ledger.get(first).await.map_err(during("reading a member"))?;
        Ok(first.map(|(first, _)| first))
    }

    /// Writes the row of a group that goes where another scoring goes. `None`: somebody else did.
    async fn seal(
        &self,
        id: &ScoringId,
        members: Vec<ScoringId>,
        like: &Scoring,
        reason: &SealReason,
    ) -> Result<Option<ScoringId>, Error> {
        if members.is_empty() {
            return Ok(None);
        }
        let now = self.clock.now();
        let Some(rule) = self.rules.get(&like.rule) else { return Ok(None) };
        // A half lies beside the whole, whatever its rule says by now.
        let container = match (reason, &rule.group) {
            (SealReason::HalfOf(_), _) => like.blob.container.as_str(),
            (_, Some(settings)) => &settings.staging,
            (_, None) => return Ok(None),
        };
        let ledger = self.ledger.id().await.map_err(during("reading the ledger's id"))?;
        let folder = match staging_folder(&like.blob, container, ledger, id) {
            Ok(folder) => folder,
            Err(why) => {
                tracing::error!(group = %id, error = %error_chain(&why), "group {id} has no place for its copies");
                return Ok(None);
            }
        };
        let count = members.len();
        let mut scoring = Scoring::accept(ledger, rule, folder, now);
        scoring.id = id.clone();
        scoring.status = Status::Staging;
        scoring.generation = like.generation;
        scoring.endpoint = like.endpoint.clone();
        scoring.deployment.clone_from(&like.deployment);
        let group = Group::sealed(members, reason.half_of().cloned());
        scoring.grouping = Some(Box::new(Grouping::Group(group)));
        let entry = scoring.accepted_entry(reason.told(count));
        match self.ledger.accept(&scoring, &[entry], &Announced::default()).await.map_err(during("sealing a group"))? {
            Acceptance::New(_) => {
                tracing::info!(group = %id, rule = rule.id.as_str(), members = count, "group {id} of {}", members_text(count));
                Ok(Some(id.clone()))
            }
            Acceptance::Duplicate(_) => Ok(None),
        }
    }

    /// Stages groups that were made just now; those that are staged, as the index has them.
    async fn stage(&self, sealed: Vec<ScoringId>, deadline: OffsetDateTime, counts: &Counts) -> Vec<InFlight> {
        let staged = stream::iter(sealed).map(|id| async move {
            if self.clock.now() >= deadline {
                counts.late();
                return None;
            }
            counts.due();
            match self.driver.drive(&id, Evidence::None).await {
                Ok(driven) => {
                    let scoring = driven?.scoring;
                    (scoring.status == Status::Queued).then(|| InFlight::of(&scoring))?
                }
                Err(error) => {
                    counts.failed(&id, &error);
                    None
                }
            }
        });
        staged.buffer_unordered(MAX_CONCURRENT_GROUPS).filter_map(async |row| row).collect().await
    }

    async fn tell(&self, id: &ScoringId, observation: Observation, counts: &Counts) {
        match self.driver.drive(id, Evidence::Given(observation)).await {
            Ok(driven) => {
                if let Some(driven) = driven.filter(|driven| driven.moves > 0) {
                    counts.moved(Some(&driven.scoring));
                }
            }
            Err(error) => counts.failed(id, &error),
        }
    }
}

/// What the end of a group that is not split means for a member.
fn end_of(scoring: &Scoring, group: &Group, member: &ScoringId) -> MemberEnd {
    let error = || scoring.error.clone().unwrap_or_else(|| "no reason was given".to_owned());
    match (scoring.status, group.state_of(member)) {
        (_, Some(MemberState::Changed)) => {
            MemberEnd::Alone("its path does not hold the version that was named any more".to_owned())
        }
        (_, Some(MemberState::NotCopied)) => {
            let reason = group.reasons.get(member).map(|reason| format!(": {reason}")).unwrap_or_default();
            MemberEnd::Alone(format!("the storage does not copy it{reason}"))
        }
        // It was no member for a moment: an operator let it come again.
        (_, None | Some(MemberState::Left)) => MemberEnd::NotSealed,
        (Status::Cancelled, _) => MemberEnd::Cancelled(error()),
        (_, Some(MemberState::Sealed)) => MemberEnd::NotSealed,
        (Status::Scored, Some(MemberState::NotNamed)) => {
            MemberEnd::Alone("the group's output does not name it".to_owned())
        }
        (Status::Scored, Some(state)) => MemberEnd::Scored(Box::new(SharedResult {
            verified: match state {
                MemberState::Named => Verified::Named,
                _ if group.staged().count() == 1 => Verified::OnlyFile,
                _ => Verified::GroupOnly,
            },
            submission: scoring.submission.clone(),
            job: scoring.job.clone(),
            job_status: scoring.job_status.clone(),
            submitted: scoring.submitted,
            attempt: scoring.attempt,
            output_bytes: scoring.output_bytes,
            output_print: scoring.output_print.clone(),
        })),
        _ => MemberEnd::Failed(Box::new(SharedFailure {
            error: error(),
            cause: scoring.failure.unwrap_or(FailureCause::Unknown),
            job: scoring.job.clone(),
            job_status: scoring.job_status.clone(),
            attempt: scoring.attempt,
        })),
    }
}

#[cfg(test)]
mod tests;
