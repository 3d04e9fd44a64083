//! Copies the members of a group into its folder: by the storage itself, each in the version that it names, if it is a member still.
//!
//! Begun anew it finds what is there already: nobody but the group writes below its folder, and a copy is whole or not there.
//!
//! Never: a copy of what the group was not sealed with, nor to a path that the ledger does not name.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use lifecycle::decide::Staging;
use lifecycle::group::{Group, MemberState, staged_name, staging_manifest};
use lifecycle::publication::{BlobPlace, CopySource, PublicationMark, Published, Refusal, RefusalKind, WriteCondition};
use lifecycle::rule::{Rule, VerifyMembers};
use lifecycle::{Observation, OutputSnapshot, Scoring, ScoringId, UnversionedBlob};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::observed::Observed;
use super::services::{Services, cannot_look};
use super::{Driver, Reach};
use crate::error::error_chain;
use crate::ledger;
use crate::ports::{Answered, Inconclusive, NamedBy};

/// Copies under way at one time, of one group.
const MAX_CONCURRENT_COPIES: usize = 8;
/// For so long a source that the storage may not read is taken for a right that is not in force yet. After that, or beside others
/// that were copied, it is the blob that cannot be copied.
const ROLE_IN_FORCE: Duration = Duration::minutes(30);
/// For so long those that are copied wait for one whose copy is not answered, or answered with what may pass.
const PATIENCE: Duration = Duration::minutes(30);
/// What the marks of copies name in place of an output.
const STAGED: &str = "staged";

/// Why nothing could be copied at all.
#[derive(Debug, thiserror::Error)]
enum NotStaged {
    /// The scoring whose members should be copied is no group.
    #[error("it is no group")]
    NoGroup,
    /// The rows that it takes were not read.
    #[error("the ledger was not read")]
    Ledger(#[from] ledger::Error),
    /// What is copied already cannot be listed.
    #[error(
        "the copies in the container `{container}` cannot be listed; it must exist, and the app's identity needs the role Storage Blob Data Contributor on it (scorekeeper doctor)"
    )]
    Storage {
        /// Name of the container that copies go to.
        container: String,
        /// Why the copies that are there could not be listed.
        source: Inconclusive,
    },
}

/// What became of one member.
enum Copied {
    /// Its copy lies in the group's folder, made now or before; with the member's scoring.
    Staged(Box<Scoring>),
    /// It is no part of the group: why.
    Member(MemberState),
    /// The storage does not copy this one: why.
    Refused(String),
    /// The storage may not read this one, which may be a right that is not in force yet: why.
    NotReadable(String),
    /// Nobody knows whether it is copied, or it may be copied later: why.
    Unanswered(String),
    /// It is to be tried again, as nothing of the group can be copied now: why.
    Later(String),
}

impl Driver {
    /// Copies what is not copied yet.
    pub(super) async fn stage(&self, services: &Services, group: &Scoring) -> Observed {
        let now = self.clock.now();
        let staged = match self.copy_members(services, group, now).await {
            Ok(staging) => Observation::Staged(staging),
            Err(problem) => {
                let problem = Some(error_chain(&problem));
                Observation::Staged(Staging { members: Vec::new(), reasons: Vec::new(), problem })
            }
        };
        Observed::of(staged, now)
    }

    async fn copy_members(
        &self,
        services: &Services,
        scoring: &Scoring,
        now: OffsetDateTime,
    ) -> Result<Staging, NotStaged> {
        let Some(group) = scoring.group() else { return Err(NotStaged::NoGroup) };
        let id = self.ledger.id().await?;
        let mark = PublicationMark::of(id, scoring, STAGED);
        let there = copies_of(services, scoring).await?;
        let of_whole = match &group.half_of {
            Some(whole) => self.copies_of_whole(services, whole).await?,
            None => BTreeMap::new(),
        };
        let sealed: Vec<&ScoringId> = group
            .members
            .iter()
            .filter(|member| member.state == MemberState::Sealed && !there.contains_key(&member.id))
            .map(|member| &member.id)
            .collect();
        // By index: a closure over borrowed members would not be general enough for a future that is sent between threads.
        let (sealed, of_whole, mark) = (&sealed, &of_whole, &mark);
        let mut copies = stream::iter(0..sealed.len())
            .map(|at| async move { (at, self.copy_member(services, scoring, sealed[at], of_whole, mark).await) })
            .buffer_unordered(MAX_CONCURRENT_COPIES);
        let (mut members, mut refused, mut problem) = (Vec::new(), Vec::new(), None);
        let (mut copied_now, mut not_readable, mut unanswered) = (Vec::new(), Vec::new(), Vec::new());
        members.extend(there.keys().map(|id| (id.clone(), MemberState::Staged)));
        while let Some((at, copied)) = copies.next().await {
            match copied {
                Copied::Staged(member) => {
                    members.push((member.id.clone(), MemberState::Staged));
                    copied_now.push(*member);
                }
                Copied::Member(state) => members.push((sealed[at].clone(), state)),
                Copied::Refused(why) => refused.push((sealed[at].clone(), why)),
                Copied::NotReadable(why) => not_readable.push((sealed[at].clone(), why)),
                Copied::Unanswered(why) => unanswered.push((sealed[at].clone(), why)),
                Copied::Later(why) => problem = Some(why),
            }
        }
        let any_copied = members.iter().any(|(_, state)| *state == MemberState::Staged);
        let has_right = any_copied || now - scoring.created > ROLE_IN_FORCE;
        if has_right {
            refused.append(&mut not_readable);
        }
        // Its copy may still come, and be read by the job: that it left does not make another file the failing one, as a group that was
        // sealed with several is split whatever was copied.
        if any_copied && now - scoring.created > PATIENCE {
            refused.append(&mut unanswered);
        }
        problem = not_readable.into_iter().chain(unanswered).map(|(_, why)| why).next_back().or(problem);
        for (id, why) in &refused {
            tracing::warn!(scoring = %id, group = %scoring.id, reason = why, "scoring {id} leaves group {}: {why}", scoring.id);
            members.push((id.clone(), MemberState::NotCopied));
        }
        if problem.is_none() && members.iter().any(|(_, state)| *state == MemberState::Staged) {
            for id in there.keys() {
                copied_now.extend(self.ledger.get(id).await.ok().flatten().map(|(member, _)| member));
            }
            write_manifest(services, scoring, &copied_now, mark).await;
        }
        Ok(Staging { members, reasons: refused, problem })
    }

    /// The copies of the group that this one is a half of: its members' sources may be gone by now.
    async fn copies_of_whole(
        &self,
        services: &Services,
        whole: &ScoringId,
    ) -> Result<BTreeMap<ScoringId, CopySource>, NotStaged> {
        let Some((whole, _)) = self.ledger.get(whole).await? else { return Ok(BTreeMap::new()) };
        copies_of(services, &whole).await
    }

    async fn copy_member(
        &self,
        services: &Services,
        group: &Scoring,
        id: &ScoringId,
        of_whole: &BTreeMap<ScoringId, CopySource>,
        mark: &PublicationMark,
    ) -> Copied {
        let member = match self.ledger.get(id).await {
            Ok(Some((member, _))) => member,
            Ok(None) | Err(ledger::Error::Unreadable(_)) => return Copied::Member(MemberState::Left),
            Err(error) => return Copied::Later(error_chain(&error)),
        };
        let half_of = group.group().and_then(|group| group.half_of.as_ref());
        match member.member_of().filter(|_| !member.status.is_terminal()) {
            Some(named) if *named == group.id => {}
            // Whoever splits a group writes the rows of its halves first.
            Some(named) if Some(named) == half_of => {
                return Copied::Later("its members do not name it yet".to_owned());
            }
            _ => return Copied::Member(MemberState::Left),
        }
        let source = match of_whole.get(id) {
            Some(copy) => copy.clone(),
            None => match services.source_of(&member).await {
                Ok(Some(source)) => source,
                Ok(None) => return Copied::Member(MemberState::Changed),
                Err(inconclusive) => return Copied::Unanswered(error_chain(&inconclusive)),
            },
        };
        let to = BlobPlace::of_url(copy_url(&group.blob.url, &staged_name(id, &member.blob.path)));
        match services.blobs.publish(&source, &to, &WriteCondition::Absent, mark).await {
            Ok(Answered { value: Published::Written { .. }, .. }) => Copied::Staged(Box::new(member)),
            Ok(Answered { value: refused @ (Published::DestinationChanged | Published::SourceChanged), .. }) => {
                match services.blobs.published(&to).await {
                    // A copy whose answer was lost, or which another process has made before the source changed.
                    Ok(Some(there)) if there.mark.as_ref().is_some_and(|by| by.scoring == group.id) => {
                        Copied::Staged(Box::new(member))
                    }
                    Ok(_) if refused == Published::SourceChanged => Copied::Member(MemberState::Changed),
                    Ok(_) => Copied::Unanswered(format!("something else lies at {}; remove it", to.uri)),
                    Err(inconclusive) => Copied::Unanswered(error_chain(&inconclusive)),
                }
            }
            Ok(Answered { value: Published::Refused(Refusal { kind, text }), .. }) => match kind {
                RefusalKind::MayNotWrite | RefusalKind::NoContainer | RefusalKind::NotAsked => Copied::Later(text),
                RefusalKind::MayNotReadSource => Copied::NotReadable(text),
                RefusalKind::SourceNotCopied
                | RefusalKind::Leased
                | RefusalKind::CannotReplace
                | RefusalKind::Other => Copied::Refused(text),
            },
            Err(inconclusive) => Copied::Unanswered(error_chain(&inconclusive)),
        }
    }

    /// Removes the copies of a group, and the list beside them. How many blobs there were.
    pub(crate) async fn remove_copies(&self, folder: &UnversionedBlob) -> Result<usize, Inconclusive> {
        let Reach::Services { services, .. } = &self.reach else { return Ok(0) };
        let copies = services.copies_in(&folder.url).await?;
        let mut removed = copies.len();
        for copy in copies.into_values() {
            services.blobs.remove(&copy.at, &copy.etag).await?;
        }
        let manifest = BlobPlace::of_url(staging_manifest(&folder.url));
        if let Some(there) = services.blobs.published(&manifest).await? {
            services.blobs.remove(&manifest, &there.etag).await?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// The copies that a group has.
async fn copies_of(services: &Services, group: &Scoring) -> Result<BTreeMap<ScoringId, CopySource>, NotStaged> {
    let not_listed = |source| NotStaged::Storage { container: group.blob.container.clone(), source };
    services.copies_in(&group.blob.url).await.map_err(not_listed)
}

/// Writes which copy is which upload beside the folder, for people. Nothing depends on it.
async fn write_manifest(services: &Services, group: &Scoring, members: &[Scoring], mark: &PublicationMark) {
    let file = |member: &Scoring| {
        json!({
            "name": staged_name(&member.id, &member.blob.path), "scoring": member.id.as_str(),
            "blobUrl": member.blob.url, "blobETag": member.blob.etag,
        })
    };
    let document = json!({
        "group": group.id.as_str(), "rule": group.rule.as_str(), "folder": group.blob.url,
        "files": members.iter().map(file).collect::<Vec<_>>(),
    });
    let body = serde_json::to_vec_pretty(&document).unwrap_or_default(); // values always serialise
    let to = BlobPlace::of_url(staging_manifest(&group.blob.url));
    if let Err(error) = services.blobs.write_manifest(&to, body, &WriteCondition::Absent, mark).await {
        tracing::debug!(group = %group.id, error = %error_chain(&error), "the list of staged files was not written");
    }
}

fn copy_url(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

impl Services {
    /// The copies that lie in a group's folder, by the scorings that they are of.
    async fn copies_in(&self, folder: &str) -> Result<BTreeMap<ScoringId, CopySource>, Inconclusive> {
        let folder = BlobPlace::of_url(folder);
        let (mut copies, mut from) = (BTreeMap::new(), None);
        loop {
            let page = self.blobs.parts(&folder, from.as_deref()).await?;
            copies.extend(page.parts.into_iter().filter_map(|copy| {
                let name = copy.at.uri.rsplit('/').next()?;
                Some((ScoringId::read(name.split('.').next()?)?, copy))
            }));
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(copies),
            }
        }
    }

    /// The version that a member names, as it can be copied; `None`: another one lies there, or none.
    async fn source_of(&self, member: &Scoring) -> Result<Option<CopySource>, Inconclusive> {
        let at = BlobPlace::of_url(member.blob.url.as_str());
        let etag = member.blob.etag.clone();
        if let Some(len) = member.blob.size {
            return Ok(Some(CopySource { at, etag, len }));
        }
        // If that is of another version, so is what is there to be copied, and the copy is refused.
        let there = self.blobs.blob(&UnversionedBlob::from(member.blob.clone())).await?;
        Ok(there.map(|there| CopySource { at, etag, len: there.size }))
    }

    /// A group's outputs, and which of its members they name.
    pub(super) async fn group_output(&self, group: &Scoring, rule: Option<&Rule>) -> Answered<Observation> {
        let output = match self.blobs.outputs(group).await {
            Ok(output) => output,
            Err(inconclusive) => return cannot_look(inconclusive),
        };
        // A rule that does not group any more says nothing of it: members are asked for as by default.
        let verify = rule.and_then(|rule| rule.group.as_ref()).map(|group| group.verify_members).unwrap_or_default();
        let by = match verify {
            VerifyMembers::Column => NamedBy::Text,
            VerifyMembers::File => NamedBy::FileNames,
            VerifyMembers::Off => return Observation::GroupOutput { output, named: None }.into(),
        };
        let ids: BTreeSet<ScoringId> = group.group().into_iter().flat_map(Group::staged).cloned().collect();
        // The output of one file need not name it. Asked for a name, a file whose predictions are none would end otherwise with others
        // than without.
        // And what is not there, or is empty, names nobody: while an output is waited for each look is one request.
        if ids.len() == 1 || !matches!(output, OutputSnapshot::Present { bytes: 1.., .. }) {
            return Observation::GroupOutput { output, named: None }.into();
        }
        match self.blobs.named_in_outputs(group, &ids, by).await {
            Ok(named) => Observation::GroupOutput { output, named: Some(named.into_iter().collect()) }.into(),
            Err(inconclusive) => cannot_look(inconclusive),
        }
    }
}
