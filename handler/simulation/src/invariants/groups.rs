//! What must be true of groups: who shares a job, and what that job read.

use std::collections::BTreeSet;

use lifecycle::group::{MemberState, staging_manifest};
use lifecycle::{Scoring, ScoringId, Status};

use super::Invariants;
use crate::cloud::storage::is_copy;
use crate::cloud::{A_FILE_IS_BAD, Cloud};
use crate::publications::Content;

impl Invariants {
    /// A member ends with the job of the group that its row names, which was sealed with it and whose job read its copy.
    pub(super) fn shares(&mut self, next: &Scoring, group: &ScoringId, job: &str, cloud: &Cloud) {
        if next.status != Status::Scored {
            return;
        }
        let id = &next.id;
        let owner = cloud.owner(job);
        self.hold(owner.as_ref().is_some_and(|(owner, _)| owner == group), "groups", id, || {
            format!("scored with group {group} by {job}, which belongs to {owner:?}")
        });
        let read = cloud.read_of_group(job).is_some_and(|read| read.contains(id));
        self.hold(read, "groups", id, || format!("scored by {job}, which has not read its copy"));
        let sealed = self.tracked.get(group).and_then(|known| known.scoring.group()?.state_of(id));
        self.hold(matches!(sealed, Some(MemberState::Named | MemberState::Staged)), "groups", id, || {
            format!("scored with group {group}, in which it is {sealed:?}")
        });
    }

    /// A copy was written: below the group's own folder, of a member that it was sealed with, in the version that this one names.
    pub(super) fn staged(&mut self, group: &Scoring, uri: &str, cloud: &Cloud) {
        let id = &group.id;
        let beside = staging_manifest(&group.blob.url);
        let Some(name) = uri.strip_prefix(&format!("{}/", group.blob.url)) else {
            return self.hold(uri == beside, "groups", id, || format!("{uri} is written, which is not its folder"));
        };
        let member = name.split('.').next().and_then(ScoringId::read);
        let sealed = member.as_ref().and_then(|member| group.group()?.state_of(member));
        self.hold(sealed.is_some(), "groups", id, || format!("{uri} is a copy of what it was not sealed with"));
        let named = member.and_then(|member| self.tracked.get(&member)).map(|known| known.scoring.blob.etag.clone());
        let copied = match cloud.publications.at(uri).map(|it| &it.content) {
            Some(Content::CopyOf { etag, uri }) if !is_copy(uri) => Some(etag.clone()),
            _ => None,
        };
        self.hold(copied.is_none() || copied == named, "groups", id, || {
            format!("{uri} is a copy of version {copied:?}, and its member names {named:?}")
        });
    }

    /// At the end: no file is adopted by two jobs that ended well, what is bad stands alone.
    pub(crate) fn groups_at_the_end(&mut self, cloud: &Cloud) {
        let groups: Vec<Scoring> = self.scorings().filter(|scoring| scoring.is_group()).cloned().collect();
        let mut scored = BTreeSet::new();
        for group in groups.iter().filter(|group| group.status == Status::Scored) {
            let named = group.group().into_iter().flat_map(|of| &of.members);
            for member in named.filter(|member| matches!(member.state, MemberState::Named | MemberState::Staged)) {
                let is_first = scored.insert(member.id.clone()) || self.taken_out.contains(&member.id);
                self.hold(is_first, "groups", &member.id, || "two groups have scored it".to_owned());
            }
        }
        let members: Vec<Scoring> = self.scorings().filter(|scoring| !scoring.is_group()).cloned().collect();
        for member in members {
            let is_bad = cloud.bad.failing.contains_key(&member.blob.url);
            self.hold(!is_bad || member.status != Status::Scored, "groups", &member.id, || {
                "scored, though whatever reads it fails".to_owned()
            });
            let by_another = !is_bad && member.error.as_deref().is_some_and(|error| error.contains(A_FILE_IS_BAD));
            let is_failed = member.status == Status::Failed && by_another;
            self.hold(!is_failed, "groups", &member.id, || "it failed by a file of somebody else".to_owned());
        }
    }
}
