//! Rows of files and groups, copies, jobs, and what two processes know of them.
//!
//! Every decision is the real one, by the real [`lifecycle::decide`] on real rows; what the application does around it is modelled after
//! `handler/app/src/tick/groups.rs` and `driver/staging.rs`. A row is read and written in one step, as its write has the condition that
//! it is the one that was read.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use lifecycle::decide::Staging;
use lifecycle::group::{
    Group, Grouping, MemberEnd, MemberState, SharedFailure, SharedResult, Verified, staging_folder,
};
use lifecycle::{
    Answer, BlobVersion, FailureCause, Job, JobSnapshot, JobStatus, LedgerId, Observation, Order, OutputPrint,
    OutputSnapshot, Rule, Rules, Scoring, ScoringId, Status, Step, Verb, decide,
};
use time::{Duration, OffsetDateTime, macros::datetime};

pub(crate) const START: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
/// That make groups side by side.
const PROCESSES: usize = 2;
static RULE: LazyLock<Rule> = LazyLock::new(World::read_rule);

/// How often each thing may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// A process dies between two of its steps.
    pub(crate) crashes: u8,
    /// The answer to a copy is lost; it is made at any later time.
    pub(crate) late_copies: u8,
    /// A file is overwritten.
    pub(crate) changes: u8,
    /// An operator cancels a file.
    pub(crate) cancels: u8,
}

/// A guard that is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemovedGuard {
    None,
    /// A group that is there is sealed anew by whoever comes later.
    SealedTwice,
    /// Copies go when their group has ended, and not when its files have.
    CopiesGoAtOnce,
    /// Nobody seals what a dead process left behind.
    LeftBehind,
    /// A failed group is not split.
    NotSplit,
}

/// What is checked.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) files: usize,
    /// Those that whatever job reads them fails by, with what it says.
    pub(crate) bad: Vec<(usize, &'static str)>,
    pub(crate) budget: Budget,
    pub(crate) removed_guard: RemovedGuard,
}

/// What a process has in mind; it is lost with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Process {
    Idle,
    /// It lets rows name a new group.
    Making {
        group: ScoringId,
        left: Vec<ScoringId>,
        joined: Vec<ScoringId>,
    },
    /// It has seen that this file is the group's, and is about to copy it.
    Copying {
        group: ScoringId,
        file: ScoringId,
    },
}

/// What a job that fails says of it, and what it has read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct JobRead {
    pub(crate) files: BTreeSet<ScoringId>,
    pub(crate) error: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) files: BTreeMap<ScoringId, Scoring>,
    pub(crate) groups: BTreeMap<ScoringId, Scoring>,
    pub(crate) bad: BTreeMap<ScoringId, &'static str>,
    pub(crate) changed: BTreeSet<ScoringId>,
    /// Copies, by group and file.
    pub(crate) copies: BTreeSet<(ScoringId, ScoringId)>,
    pub(crate) late: BTreeSet<(ScoringId, ScoringId)>,
    pub(crate) jobs: BTreeMap<ScoringId, JobRead>,
    pub(crate) processes: [Process; PROCESSES],
    pub(crate) left: Budget,
    pub(crate) made: i64,
    /// What must never be, and was.
    pub(crate) broken: Option<&'static str>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, into: &mut H) {
        for row in self.files.values().chain(self.groups.values()) {
            (row.id.as_str(), row.status, row.attempt, row.stop_ordered, row.failure).hash(into);
            match row.grouping.as_deref() {
                None | Some(Grouping::Waits) => 0.hash(into),
                Some(Grouping::Member(group)) => group.as_str().hash(into),
                Some(Grouping::Alone(_)) => 1.hash(into),
                Some(Grouping::Group(group)) => {
                    for member in &group.members {
                        (member.id.as_str(), member.state.letter()).hash(into);
                    }
                }
            }
        }
        let Self { changed, copies, late, jobs, left, broken, .. } = self;
        (changed, copies, late, jobs, left, broken).hash(into);
        // Which process is which tells nobody apart.
        let mut processes = self.processes.clone();
        processes.sort();
        processes.hash(into);
    }
}

impl World {
    pub(crate) fn rule() -> &'static Rule {
        &RULE
    }

    fn read_rule() -> Rule {
        let text = r#"{"rules":[{"id":"claims","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"},"maxAttempts":2,
            "verifyInput":false,"retryBackOff":"PT1S","group":{"by":"time"}}]}"#;
        Rules::read(text).expect("good rules").get("claims").expect("it is there").clone()
    }

    pub(crate) fn ledger() -> LedgerId {
        LedgerId::of_random([1; 16])
    }

    pub(crate) fn begin(&self) -> State {
        let blob = |n| BlobVersion::read(&format!("https://a.blob.core.windows.net/con/{n}.csv"), "1").expect("a blob");
        let files: Vec<Scoring> =
            (0..self.files).map(|n| Scoring::accept(&Self::ledger(), Self::rule(), blob(n), START)).collect();
        let bad = self.bad.iter().map(|(n, error)| (files[*n].id.clone(), *error)).collect();
        State {
            files: files.into_iter().map(|file| (file.id.clone(), file)).collect(),
            groups: BTreeMap::new(),
            bad,
            changed: BTreeSet::new(),
            copies: BTreeSet::new(),
            late: BTreeSet::new(),
            jobs: BTreeMap::new(),
            processes: [Process::Idle, Process::Idle],
            left: self.budget,
            made: 0,
            broken: None,
        }
    }
}

/// The row after an observation; `None`: it stays as it is.
pub(crate) fn moved(rule: &Rule, row: &Scoring, observation: &Observation) -> Option<Scoring> {
    // Whatever is put off is due: how long it waits is no matter here.
    let now = row.due.max(START) + Duration::SECOND;
    match decide(row, Some(rule), observation, now) {
        Step::Move { next, .. } => Some(*next),
        Step::Wait { .. } | Step::LookAtInput | Step::Publish(_) => None,
    }
}

fn job() -> Job {
    Job { name: "job-1".parse().expect("a name"), id: None, studio: None }
}

fn seen(status: JobStatus, error: Option<&str>) -> Observation {
    Observation::Job(JobSnapshot { status, error: error.map(str::to_owned), studio: None })
}

fn output(now: OffsetDateTime) -> OutputSnapshot {
    OutputSnapshot::Present { bytes: 1, modified: now + Duration::HOUR, print: OutputPrint::of([("", "1")]) }
}

impl State {
    fn now(row: &Scoring) -> OffsetDateTime {
        row.due.max(START) + Duration::SECOND
    }

    pub(crate) fn waiting(&self) -> Vec<ScoringId> {
        let waits = |row: &&Scoring| row.status == Status::Queued && row.waits_for_group();
        self.files.values().filter(waits).map(|row| row.id.clone()).collect()
    }

    pub(crate) fn names(&self, file: &ScoringId, group: &ScoringId) -> bool {
        let row = &self.files[file];
        row.status == Status::Grouped && row.member_of() == Some(group)
    }

    pub(crate) fn named(&self, group: &ScoringId) -> Vec<ScoringId> {
        self.files.keys().filter(|file| self.names(file, group)).cloned().collect()
    }

    /// Groups that rows name.
    pub(crate) fn named_groups(&self) -> BTreeSet<ScoringId> {
        let grouped = self.files.values().filter(|row| row.status == Status::Grouped);
        grouped.filter_map(|row| row.member_of().cloned()).collect()
    }

    fn tell(&mut self, rule: &Rule, file: &ScoringId, observation: &Observation) {
        if let Some(next) = moved(rule, &self.files[file], observation) {
            self.files.insert(file.clone(), next);
        }
    }

    fn tell_group(&mut self, rule: &Rule, group: &ScoringId, observation: &Observation) {
        if let Some(next) = moved(rule, &self.groups[group], observation) {
            self.groups.insert(group.clone(), next);
        }
    }

    pub(crate) fn begin_group(&mut self, process: usize) {
        let asked = self.waiting();
        self.made += 1;
        let at = START + Duration::nanoseconds(self.made * 100);
        let group = ScoringId::of_group(&World::ledger(), &World::rule().id, &asked, at);
        self.processes[process] = Process::Making { group, left: asked, joined: Vec::new() };
    }

    /// The next row names the new group, or all have been asked and it is sealed.
    pub(crate) fn make(&mut self, world: &World, rule: &Rule, process: usize) {
        let Process::Making { group, mut left, mut joined } = self.processes[process].clone() else { return };
        if left.is_empty() {
            self.processes[process] = Process::Idle;
            return self.seal(world, rule, &group, joined, None);
        }
        let file = left.remove(0);
        self.tell(rule, &file, &Observation::Joined { group: group.clone(), half_of: None });
        if self.names(&file, &group) {
            joined.push(file);
        }
        self.processes[process] = Process::Making { group, left, joined };
    }

    pub(crate) fn seal(
        &mut self,
        world: &World,
        rule: &Rule,
        group: &ScoringId,
        members: Vec<ScoringId>,
        half_of: Option<ScoringId>,
    ) {
        if members.is_empty() {
            return;
        }
        // The insert fails: somebody else was faster.
        if self.groups.contains_key(group) && world.removed_guard != RemovedGuard::SealedTwice {
            return;
        }
        let like = &self.files[&members[0]];
        let folder = staging_folder(&like.blob, "copies", &World::ledger(), group).expect("a folder");
        let mut row = Scoring::accept(&World::ledger(), rule, folder, START);
        row.id = group.clone();
        row.status = Status::Staging;
        row.grouping = Some(Box::new(Grouping::Group(Group::sealed(members, half_of))));
        if let Some(before) = self.groups.insert(group.clone(), row)
            && before.group().map(|group| group.members.len()) != self.groups[group].group().map(|g| g.members.len())
        {
            self.broken = Some("the list of a group has changed");
        }
    }

    pub(crate) fn group(&self, group: &ScoringId) -> &Group {
        self.groups[group].group().expect("it is one")
    }

    /// A member of a group that is staged, of which nobody knows yet what becomes of it.
    pub(crate) fn to_be_copied(&self) -> Vec<(ScoringId, ScoringId)> {
        let staged = self.groups.values().filter(|row| row.status == Status::Staging);
        let each = staged.flat_map(|row| self.group(&row.id).members.iter().map(|member| (row.id.clone(), member)));
        each.filter(|(group, member)| {
            member.state == MemberState::Sealed && !self.copies.contains(&(group.clone(), member.id.clone()))
        })
        .map(|(group, member)| (group, member.id.clone()))
        .collect()
    }

    /// Looks at a member's row before it is copied.
    pub(crate) fn look_at_member(&mut self, rule: &Rule, process: usize, group: &ScoringId, file: &ScoringId) {
        let whole = self.group(group).half_of.clone();
        if self.names(file, group) {
            self.processes[process] = Process::Copying { group: group.clone(), file: file.clone() };
        } else if whole.is_none_or(|whole| !self.names(file, &whole)) {
            self.note(rule, group, &[(file.clone(), MemberState::Left)]);
        }
    }

    pub(crate) fn copy(&mut self, rule: &Rule, process: usize, is_answered: bool) {
        let Process::Copying { group, file } = std::mem::replace(&mut self.processes[process], Process::Idle) else {
            return;
        };
        let of_whole = self
            .group(&group)
            .half_of
            .as_ref()
            .is_some_and(|whole| self.copies.contains(&(whole.clone(), file.clone())));
        // Of what changed it is asked whether another process has copied it before.
        let is_there = self.copies.contains(&(group.clone(), file.clone()));
        if self.changed.contains(&file) && !of_whole && !is_there {
            return self.note(rule, &group, &[(file, MemberState::Changed)]);
        }
        if is_answered {
            self.copies.insert((group, file))
        } else {
            self.late.insert((group, file))
        };
    }

    /// What lies in a group's folder is on record as copied.
    pub(crate) fn note_copies(&mut self, rule: &Rule, group: &ScoringId) {
        let there =
            self.copies.iter().filter(|(of, _)| of == group).map(|(_, file)| (file.clone(), MemberState::Staged));
        let there: Vec<_> = there.collect();
        self.note(rule, group, &there);
    }

    fn note(&mut self, rule: &Rule, group: &ScoringId, members: &[(ScoringId, MemberState)]) {
        let staging = Staging { members: members.to_vec(), reasons: Vec::new(), problem: Some("later".to_owned()) };
        self.tell_group(rule, group, &Observation::Staged(staging));
    }

    /// The job of a group is made, and reads what lies in its folder.
    pub(crate) fn submit(&mut self, rule: &Rule, group: &ScoringId) {
        self.tell_group(rule, group, &Observation::SlotFree);
        let answer = Answer::Accepted { job: job(), status: JobStatus::Preparing };
        self.tell_group(rule, group, &Observation::Answer(answer));
        let files: BTreeSet<ScoringId> =
            self.copies.iter().filter(|(of, _)| of == group).map(|(_, file)| file.clone()).collect();
        let error = files.iter().find_map(|file| self.bad.get(file).copied());
        self.jobs.insert(group.clone(), JobRead { files, error });
    }

    /// The job of a group ends, and its output is looked at.
    pub(crate) fn end_job(&mut self, rule: &Rule, group: &ScoringId) {
        let JobRead { files, error } = self.jobs[group].clone();
        if self.groups[group].stop_ordered {
            return self.tell_group(rule, group, &seen(JobStatus::Canceled, None));
        }
        if error.is_some() {
            return self.tell_group(rule, group, &seen(JobStatus::Failed, error));
        }
        self.tell_group(rule, group, &seen(JobStatus::Completed, None));
        let output = output(Self::now(&self.groups[group]));
        // The output of one file need not name it.
        let one = self.group(group).staged().count() == 1;
        let named = (!one).then(|| files.into_iter().collect());
        self.tell_group(rule, group, &Observation::GroupOutput { output, named });
    }

    /// What the end of a group, or of its own part in it, means for a file whose row names it.
    pub(crate) fn end_of(&self, group: &ScoringId, file: &ScoringId) -> Option<MemberEnd> {
        let row = &self.groups[group];
        let state = self.group(group).state_of(file);
        let end = match (row.status, state) {
            (_, Some(MemberState::Changed | MemberState::NotCopied)) => MemberEnd::Alone("it changed".to_owned()),
            (_, None | Some(MemberState::Left)) => MemberEnd::NotSealed,
            (status, _) if !status.is_terminal() => return None,
            (Status::Cancelled, _) => MemberEnd::Cancelled("cancelled".to_owned()),
            (_, Some(MemberState::Sealed)) => MemberEnd::NotSealed,
            (Status::Scored, Some(MemberState::NotNamed)) => MemberEnd::Alone("not named".to_owned()),
            (Status::Scored, Some(_)) => MemberEnd::Scored(Box::new(SharedResult {
                verified: Verified::Named,
                submission: row.submission.clone(),
                job: row.job.clone(),
                job_status: row.job_status.clone(),
                submitted: row.submitted,
                attempt: row.attempt,
                output_bytes: row.output_bytes,
                output_print: row.output_print.clone(),
            })),
            _ if row.splits() => return None,
            _ => MemberEnd::Failed(Box::new(SharedFailure {
                error: row.error.clone().unwrap_or_default(),
                cause: row.failure.unwrap_or(FailureCause::Unknown),
                job: row.job.clone(),
                job_status: row.job_status.clone(),
                attempt: row.attempt,
            })),
        };
        Some(end)
    }

    pub(crate) fn end_member(&mut self, rule: &Rule, group: &ScoringId, file: &ScoringId) {
        let Some(end) = self.end_of(group, file) else { return };
        let is_scored = matches!(end, MemberEnd::Scored(_));
        self.tell(rule, file, &Observation::GroupEnded { group: group.clone(), end });
        if is_scored && !self.jobs.get(group).is_some_and(|read| read.files.contains(file)) {
            self.broken = Some("a file is scored by a job that has not read it");
        }
    }

    pub(crate) fn join_half(&mut self, rule: &Rule, whole: &ScoringId, half: &ScoringId, file: &ScoringId) {
        let observation = Observation::Joined { group: half.clone(), half_of: Some(whole.clone()) };
        self.tell(rule, file, &observation);
    }

    pub(crate) fn nobody_is_left(&mut self, rule: &Rule, group: &ScoringId) {
        self.tell_group(rule, group, &Observation::NoMemberLeft);
    }

    /// A file that goes alone has its job, as any does without groups.
    pub(crate) fn go_alone(&mut self, rule: &Rule, file: &ScoringId) {
        if self.changed.contains(file) {
            let by = file.half(0);
            return self.tell(rule, file, &Observation::Overtaken { etag: "2".to_owned(), by });
        }
        self.tell(rule, file, &Observation::SlotFree);
        self.tell(rule, file, &Observation::Answer(Answer::Accepted { job: job(), status: JobStatus::Preparing }));
        if let Some(error) = self.bad.get(file).copied() {
            return self.tell(rule, file, &seen(JobStatus::Failed, Some(error)));
        }
        self.tell(rule, file, &seen(JobStatus::Completed, None));
        let output = output(Self::now(&self.files[file]));
        self.tell(rule, file, &Observation::output(output));
    }

    pub(crate) fn cancel(&mut self, rule: &Rule, file: &ScoringId) {
        let order = Order { verb: Verb::Cancel, by: "ann".to_owned(), reason: "not wanted".to_owned() };
        self.tell(rule, file, &Observation::Ordered(order));
    }
}
