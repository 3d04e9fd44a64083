//! Scorings that share one job.
//!
//! Under a rule that groups, an upload waits until a group is made of it and others. Each member stays a scoring of its own,
//! and its row is the authority on where it belongs: a group is sealed by a list of those whose rows name it, and that list
//! never grows. The group itself is kept as a scoring too, of no blob but of a folder: its attempts, its job and all that can
//! happen to these are those of any other. Only how it begins (its members are staged) and what its end means is its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::blob::{BlobVersion, InvalidBlob};
use crate::digest::digest;
use crate::failure::FailureCause;
use crate::id::{LedgerId, RuleId, ScoringId};
use crate::job::{Job, OutputPrint, Submission};
use crate::listing::BlobPrefix;

/// Members of a group at most: their ids are kept in one property of its row, of 32,768 characters.
pub const MAX_MEMBERS: usize = 1_000;
/// Different reasons that a group keeps, so that its row stays small: the storage gives the same one for most.
pub const MAX_REASONS: usize = 20;
/// The last segment of a staged folder, beside which its manifest lies: model deployments read every file of the folder.
const FILES: &str = "files";
/// Hexadecimal digits of a scoring's id, by which members are looked for in an output.
const DIGITS: usize = 32;
/// Characters of a file's extension that its staged name keeps.
const MAX_EXTENSION: usize = 16;

/// A scoring's part in groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// It waits until a group is made of it and others.
    Waits,
    /// It is a member of this group.
    Member(ScoringId),
    /// It is scored alone, though its rule groups: why, for people.
    Alone(String),
    /// It stands for a group of others: no blob is scored but the folder that they are staged in.
    Group(Group),
}

/// A group: what its row has beyond that of a scoring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The group that failed and of which this is a half.
    pub half_of: Option<ScoringId>,
    /// Who named it when it was sealed, in an order that stays.
    pub members: Vec<Member>,
    /// Why the storage does not copy some of them, for people. Of those that fail by more than [`MAX_REASONS`] different reasons it is
    /// not kept.
    pub reasons: BTreeMap<ScoringId, String>,
}

/// A scoring that is in a group's sealed list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's own scoring, whose row says which group it is in now.
    pub id: ScoringId,
    /// What became of it in this group.
    pub state: MemberState,
}

/// What became of a member in its group. Written as one letter each, so that a thousand fit beside their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MemberState {
    /// It is to be staged.
    Sealed,
    /// Its copy lies in the group's folder.
    Staged,
    /// It was no member any more when it was to be staged: an operator cancelled it.
    Left,
    /// Its path holds another version, or none: it is looked at alone.
    Changed,
    /// The storage does not copy it: it is scored alone.
    NotCopied,
    /// The group's output names it.
    Named,
    /// The group's output is good and does not name it.
    NotNamed,
}

impl MemberState {
    /// Each of them once: by this list a row's letter is read.
    pub const ALL: [Self; 7] =
        [Self::Sealed, Self::Staged, Self::Left, Self::Changed, Self::NotCopied, Self::Named, Self::NotNamed];

    /// The letter that stands for it in rows.
    pub fn letter(self) -> char {
        match self {
            Self::Sealed => 's',
            Self::Staged => 't',
            Self::Left => 'l',
            Self::Changed => 'c',
            Self::NotCopied => 'x',
            Self::Named => 'n',
            Self::NotNamed => 'o',
        }
    }

    /// What became of the member, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Sealed => "to be copied",
            Self::Staged => "copied",
            Self::Left => "left the group",
            Self::Changed => "changed before it was copied, and goes alone",
            Self::NotCopied => "not copied by the storage, and goes alone",
            Self::Named => "named by the output",
            Self::NotNamed => "not named by the output, and goes alone",
        }
    }

    /// What a letter stands for.
    pub fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.letter() == letter)
    }

    /// Its copy is, or was, part of what the group's job reads.
    pub fn is_staged(self) -> bool {
        matches!(self, Self::Staged | Self::Named | Self::NotNamed)
    }
}

impl Group {
    /// A group of these, none of which is staged yet.
    pub fn sealed(members: impl IntoIterator<Item = ScoringId>, half_of: Option<ScoringId>) -> Self {
        let members = members.into_iter().map(|id| Member { id, state: MemberState::Sealed });
        Self { half_of, members: members.collect(), reasons: BTreeMap::new() }
    }

    /// Keeps why the storage does not copy one of them.
    pub(crate) fn keep_reason(&mut self, member: &ScoringId, reason: String) {
        let kept: BTreeSet<&String> = self.reasons.values().collect();
        if kept.contains(&reason) || kept.len() < MAX_REASONS {
            self.reasons.insert(member.clone(), reason);
        }
    }

    /// The ids of those whose copies its job reads.
    pub fn staged(&self) -> impl Iterator<Item = &ScoringId> {
        self.members.iter().filter(|member| member.state.is_staged()).map(|member| &member.id)
    }

    /// What became of one of its members; `None`: it was never sealed in.
    pub fn state_of(&self, member: &ScoringId) -> Option<MemberState> {
        self.members.iter().find(|one| one.id == *member).map(|one| one.state)
    }

    /// The members of its two halves, by the order in which they were sealed; the first is the larger one.
    pub fn halves(&self) -> [Vec<ScoringId>; 2] {
        let staged: Vec<ScoringId> = self.staged().cloned().collect();
        let (first, second) = staged.split_at(staged.len().div_ceil(2));
        [first.to_vec(), second.to_vec()]
    }
}

impl ScoringId {
    /// The id of a group that is made of these now. Another group of the same members, made at another time, has another id.
    pub fn of_group<'a>(
        ledger: &LedgerId,
        rule: &RuleId,
        members: impl IntoIterator<Item = &'a Self>,
        now: OffsetDateTime,
    ) -> Self {
        let members: Vec<&str> = members.into_iter().map(Self::as_str).collect();
        let at = now.unix_timestamp_nanos().to_string();
        Self::of_digest(&digest(&["group", ledger, rule, &at, &members.join(",")]))
    }

    /// The id of a half of this group: whoever splits it comes to the same one.
    #[must_use]
    pub fn half(&self, which: usize) -> Self {
        Self::of_digest(&digest(&["half", self, &which.to_string()]))
    }
}

/// What to say where a group does not take an order that its members can: the command that gives it of them.
pub fn of_members(group: &ScoringId, command: &str) -> String {
    format!("`scorekeeper {command} --group {group}` orders it of its members")
}

/// The same of a further attempt after the group was cancelled: what is not asked for by its status is what failed.
pub(crate) fn of_cancelled_members(group: &ScoringId) -> String {
    format!("`scorekeeper retry --group {group} --status cancelled` orders it of its members")
}

/// The folder that the members of a group are staged in, as a blob: `CONTAINER/LEDGER/GROUP/files` in the account of `beside`.
///
/// Its path does not tell the attempt: what lies in it is the same for all attempts of a group, whose members and their versions
/// never change.
pub fn staging_folder(
    beside: &BlobVersion,
    container: &str,
    ledger: &LedgerId,
    group: &ScoringId,
) -> Result<BlobVersion, InvalidBlob> {
    let account = crate::blob::account_of(&beside.url)?;
    let folder = BlobPrefix::new(&account, container, "")?.blob(&format!("{ledger}/{group}/{FILES}"))?;
    folder.version(group)
}

/// The name of a member's copy: its scoring's id, and the extension of its file, by which readers choose a parser.
pub fn staged_name(id: &ScoringId, path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let plain = !extension.is_empty()
        && extension.len() <= MAX_EXTENSION
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { format!("{id}.{extension}") } else { id.to_string() }
}

/// The path of the list that maps staged names back, beside the folder.
pub fn staging_manifest(folder: &str) -> String {
    format!("{}/manifest.json", folder.strip_suffix(&format!("/{FILES}")).unwrap_or(folder))
}

/// Looks for the ids of members in what an output says, piece by piece: wherever 32 digits stand that are one of them.
#[derive(Debug)]
pub struct NamesFound<'a> {
    wanted: BTreeMap<&'a str, &'a ScoringId>,
    found: BTreeSet<ScoringId>,
    /// The last digits, without anything between them.
    run: Vec<u8>,
}

impl<'a> NamesFound<'a> {
    /// None of these is found yet.
    pub fn of(ids: &'a BTreeSet<ScoringId>) -> Self {
        let wanted = ids.iter().map(|id| (id.as_str(), id)).collect();
        Self { wanted, found: BTreeSet::new(), run: Vec::with_capacity(DIGITS) }
    }

    /// What comes is another text.
    pub fn begin(&mut self) {
        self.run.clear();
    }

    /// Reads the next piece of a text.
    pub fn read(&mut self, piece: &[u8]) {
        for byte in piece {
            if !byte.is_ascii_hexdigit() {
                self.run.clear();
                continue;
            }
            if self.run.len() == DIGITS {
                self.run.remove(0);
            }
            self.run.push(*byte);
            if self.run.len() == DIGITS
                && let Ok(digits) = std::str::from_utf8(&self.run)
                && let Some(id) = self.wanted.remove(digits)
            {
                self.found.insert(id.clone());
            }
        }
    }

    /// Nothing is left to be found.
    pub fn all(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The ids that stood in what was read so far.
    pub fn found(self) -> BTreeSet<ScoringId> {
        self.found
    }
}

/// What a group's end means for one of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEnd {
    /// The group's output is good.
    Scored(Box<SharedResult>),
    /// The group failed, and no half of it is tried.
    Failed(Box<SharedFailure>),
    /// The group was cancelled, and its members with it: why, as the group's error tells it.
    Cancelled(String),
    /// It is scored alone: why.
    Alone(String),
    /// The group never held it: it waits for another one.
    NotSealed,
}

/// What the members of a group have in common once it failed, and no half of it is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFailure {
    /// What the group's failure told.
    pub error: String,
    /// Whose fault that was; `Unknown` where the group's row does not tell.
    pub cause: FailureCause,
    /// The job that the group's row names, if it names one; the member's row names it too.
    pub job: Option<Job>,
    /// Azure ML's word for it.
    pub job_status: Option<String>,
    /// The number of the group's last attempt, which is added to the member's own.
    pub attempt: u32,
}

/// What tells of a scored group that its job has read a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// The member's id stands in the text of the output, or in the name of one of its files.
    Named,
    /// It is the only file that the job was to read: the output is of it, as that of a job without a group is.
    OnlyFile,
    /// Nothing: the rule does not ask (`verifyMembers: off`).
    GroupOnly,
}

/// What the members of a group have in common once it is scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedResult {
    /// What tells that this member was read.
    pub verified: Verified,
    /// What the group's job was asked for: its outputs are the members' too.
    pub submission: Option<Submission>,
    /// The group's job, which the rows of all members name too.
    pub job: Option<Job>,
    /// Azure ML's word for it.
    pub job_status: Option<String>,
    /// When the group's attempt was intended.
    pub submitted: Option<OffsetDateTime>,
    /// The number of the group's attempt that left the output.
    pub attempt: u32,
    /// Bytes of the whole output.
    pub output_bytes: Option<u64>,
    /// Which versions of which blobs the output was.
    pub output_print: Option<OutputPrint>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> ScoringId {
        ScoringId::read(&format!("{n:032x}")).unwrap()
    }

    #[test]
    fn a_staged_name_keeps_an_extension_that_is_plain() {
        let id = id(7);
        for (path, extension) in [
            ("eu/x.csv", ".csv"),
            ("x.tar.gz", ".gz"),
            ("eu.west/x", ""),
            ("x.", ""),
            ("x.c v", ""),
            ("x.csv?", ""),
            ("x.%2F", ""),
            ("x.seventeenletters1", ""),
            ("x.sixteenletters16", ".sixteenletters16"),
        ] {
            assert_eq!(staged_name(&id, path), format!("{id}{extension}"), "{path}");
        }
    }

    #[test]
    fn a_name_is_found_over_pieces_of_one_text_and_not_over_two_texts_or_a_gap() {
        let (one, other, third) = (id(1), id(2), id(3));
        let ids: BTreeSet<ScoringId> = [&one, &other, &third].into_iter().cloned().collect();
        let mut names = NamesFound::of(&ids);
        let text = format!("a,{one}.csv,0.1\n");
        let (first, second) = text.split_at(20);
        names.read(first.as_bytes());
        names.read(second.as_bytes());
        names.begin();
        names.read(&other.as_str().as_bytes()[..16]);
        names.begin();
        names.read(&other.as_str().as_bytes()[16..]);
        names.begin();
        let (left, right) = third.as_str().split_at(16);
        names.read(format!("{left}.{right}").as_bytes());
        assert!(!names.all());
        assert_eq!(names.found(), [one].into());
    }
}
