//! The one decision: given what is remembered and what was just seen, what happens next and why.
//!
//! `decide` never acts. A [`Step::Move`] is recorded first and its effect carried out after: if the process dies in
//! between, the next look finds the intent on record. The target of a move is read from
//! [`TRANSITIONS`](crate::status::TRANSITIONS); a pair that the table lacks can't be taken.

use time::{Duration, OffsetDateTime};

use crate::job::{Answer, Candidate, Job, JobSeen, JobStatus, OutputSeen};
use crate::retry::back_off;
use crate::rules::{Policy, Rule};
use crate::scoring::{Entry, Scoring};
use crate::status::{Event, Status, next};

/// Clocks of Azure ML, storage and this machine may differ by this much without anything being concluded.
const CLOCK_SKEW: Duration = Duration::minutes(5);
/// First back-off after a refusal that may pass.
const REFUSAL_BACK_OFF: Duration = Duration::seconds(10);
/// No back-off is longer.
const LONGEST_BACK_OFF: Duration = Duration::hours(1);
/// Between two requests to stop a job.
const CANCEL_INTERVAL: Duration = Duration::minutes(5);

/// What a look found. Which look a status needs is the application's business; any answer is safe in any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing was looked at.
    Nothing,
    /// It may go now; the slots that it needs are claimed.
    SlotFree,
    /// It may not go yet, or not be sent again.
    Waiting {
        /// Why, for people.
        because: String,
    },
    /// The POST's outcome.
    Answer(Answer),
    /// The job.
    Job(JobSeen),
    /// The endpoint does not know the job.
    JobMissing,
    /// Jobs that carry this attempt's inputs and outputs, none or more.
    Candidates(Vec<Candidate>),
    /// The attempt's outputs.
    Output(OutputSeen),
    /// It could not be looked: why, and the remedy.
    Unclear(String),
}

/// What is to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing is written; look again later.
    Wait {
        /// Why, for people.
        because: String,
    },
    /// Record `next` and `entry` in one transaction, then carry out `effect`.
    Move {
        /// The scoring after the move.
        next: Box<Scoring>,
        /// The line of history.
        entry: Entry,
        /// What to do once it is recorded.
        effect: Effect,
    },
}

/// What follows a recorded move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Send the scoring's submission, once.
    Submit,
    /// Ask Azure ML to stop these jobs. Safe to repeat.
    Cancel(Vec<Job>),
}

/// Decides. `rule` is `None` when the rules no longer hold the scoring's rule: what is under way is seen to its end
/// with default times, what is queued waits.
pub fn decide(scoring: &Scoring, rule: Option<&Rule>, seen: &Seen, now: OffsetDateTime) -> Step {
    let defaults = Policy::default();
    let policy = rule.map_or(&defaults, |rule| &rule.policy);
    let on = On { scoring, policy, now };
    match (scoring.status, seen) {
        (Status::Queued, _) if rule.is_none() => {
            wait(format!("rule `{}` is not in the rules any more; put it back to have this scored", scoring.rule))
        }
        (Status::Queued, _) if scoring.due > now => wait(format!("back-off until {}", clock(scoring.due))),
        (Status::Queued | Status::Unknown, Seen::Waiting { because }) => wait(because.clone()),
        (Status::Queued, Seen::SlotFree) => on.submit(rule),

        (Status::Submitting, Seen::Answer(answer)) => on.answered(answer),
        (Status::Submitting, _) if scoring.due > now => {
            wait(format!("its owner holds the lease until {}", clock(scoring.due)))
        }
        (Status::Submitting, _) => on.moved(
            Event::OwnerGone,
            format!("no answer was recorded within the lease that ended {}; a job may exist", clock(scoring.due)),
            Effect::None,
            |next| next.due = now,
        ),

        (Status::Unknown, Seen::Candidates(found)) => on.looked_for(found),
        (Status::Unknown | Status::Verifying, Seen::Unclear(why)) => on.cannot_look(why),

        (Status::Running | Status::Cancelling, Seen::Job(job)) => on.polled(job),
        (Status::Running, Seen::JobMissing) => on.missing(),
        (Status::Cancelling, Seen::JobMissing) => on.attempt_failed("the job was to be stopped and is gone"),

        (Status::Verifying, Seen::Output(output)) => on.verify(output),

        (status, _) if status.is_terminal() => wait(format!("{status} is final")),
        (_, Seen::Unclear(why)) => wait(why.clone()),
        (status, _) => wait(format!("{status}: nothing to conclude from what was seen")),
    }
}

fn wait(because: String) -> Step {
    Step::Wait { because }
}

/// Times in reasons: to the second, UTC.
fn clock(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02} UTC", at.date(), at.hour(), at.minute(), at.second())
}

struct On<'a> {
    scoring: &'a Scoring,
    policy: &'a Policy,
    now: OffsetDateTime,
}

impl On<'_> {
    /// A move by the table. `change` sets what the event changes beside the status.
    fn moved(&self, event: Event, because: String, effect: Effect, change: impl FnOnce(&mut Scoring)) -> Step {
        let from = self.scoring.status;
        let Some(to) = next(from, event) else {
            // Unreachable by the tests over all pairs; waiting is the answer that harms nothing.
            debug_assert!(false, "{from} has no row for {event:?}");
            return wait(format!("{from} has no move for {event:?}"));
        };
        let mut next = self.scoring.clone();
        next.status = to;
        next.version += 1;
        next.updated = self.now;
        next.trouble = None;
        if from != to {
            next.since = self.now;
        }
        change(&mut next);
        if to.is_terminal() {
            next.completed = Some(self.now);
        }
        let entry = Entry {
            seq: next.version,
            at: self.now,
            from: Some(from),
            to,
            event: Some(event),
            because,
            attempt: next.attempt,
            job: next.job.as_ref().or(self.scoring.job.as_ref()).map(|job| job.name.clone()),
        };
        Step::Move { next: Box::new(next), entry, effect }
    }

    fn submit(&self, rule: Option<&Rule>) -> Step {
        // A refused attempt made no job: its number and output path are used again.
        let again = self.scoring.submission.is_some();
        let attempt = if again { self.scoring.attempt } else { self.scoring.attempt + 1 };
        let (lease, now) = (self.policy.lease(), self.now);
        let because = if again { "a slot is free; the refused request is sent again" } else { "a slot is free" };
        self.moved(Event::SlotFree, because.to_owned(), Effect::Submit, |next| {
            if !again {
                next.attempt = attempt;
                next.submission = rule.map(|rule| rule.submission(self.scoring, attempt));
                next.submitted = Some(now);
                next.posts = 0;
            }
            next.posts += 1;
            next.due = now + lease;
        })
    }

    fn answered(&self, answer: &Answer) -> Step {
        let now = self.now;
        match answer {
            Answer::Accepted { job, status } => {
                let because = format!("the endpoint made job {} ({status})", job.name);
                self.moved(Event::Accepted, because, Effect::None, |next| self.adopt(next, job, status))
            }
            Answer::Unknown { text } => self.moved(
                Event::AnswerLost,
                format!(
                    "the answer was lost ({text}); a job may exist, so it is looked for before anything is sent again"
                ),
                Effect::None,
                |next| next.due = now + self.policy.settle.0,
            ),
            Answer::Refused { code, text, for_good, retry_after } => {
                let error = format!("{code}: {text}");
                let too_late = self.too_late();
                if *for_good || too_late {
                    let why = if *for_good {
                        "the same request would be refused again"
                    } else {
                        "it was tried for the whole of giveUpAfter"
                    };
                    return self.moved(Event::RefusedForGood, format!("{error}; {why}"), Effect::None, |next| {
                        next.error = Some(error.clone());
                    });
                }
                let pause = back_off(REFUSAL_BACK_OFF, LONGEST_BACK_OFF, self.scoring.refusals, &self.scoring.id);
                let pause = retry_after.map_or(pause, |asked| asked.max(pause));
                let because = format!("{error}; nothing happened, to be sent again after {}", clock(now + pause));
                self.moved(Event::RefusedForNow, because, Effect::None, |next| {
                    next.refusals += 1;
                    next.due = now + pause;
                    next.trouble = Some(error.clone());
                })
            }
        }
    }

    /// This attempt was tried for the whole of giveUpAfter. Counted from its first POST: how long the scoring was queued,
    /// or an earlier attempt took, says nothing about the endpoint.
    fn too_late(&self) -> bool {
        self.now - self.scoring.submitted.unwrap_or(self.scoring.created) >= self.policy.give_up_after.0
    }

    fn adopt(&self, next: &mut Scoring, job: &Job, status: &JobStatus) {
        if next.workspace.is_none() {
            next.workspace = job.id.as_deref().and_then(workspace_of).map(str::to_owned);
        }
        next.job = Some(job.clone());
        next.job_status = Some(status.name().to_owned());
        next.missing_since = None;
        next.refusals = 0;
        next.due = self.now + self.policy.job_timeout.0;
    }

    fn looked_for(&self, found: &[Candidate]) -> Step {
        let mut by_age: Vec<_> = found.iter().collect();
        // Same instant: the name decides, so that two processes adopt the same one.
        by_age.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.job.name.cmp(&b.job.name)));
        let now = self.now;
        match by_age.as_slice() {
            [] => {
                let passed = now - self.scoring.since;
                if passed < self.policy.grace.0 {
                    return wait(format!(
                        "no job carries this submission yet; grace time until {}",
                        clock(self.scoring.since + self.policy.grace.0)
                    ));
                }
                if self.too_late() {
                    let error = "the endpoint kept losing its answers and no job was ever found".to_owned();
                    return self.moved(
                        Event::LastAttemptFailed,
                        format!("{error}; it was tried for the whole of giveUpAfter"),
                        Effect::None,
                        |next| next.error = Some(error.clone()),
                    );
                }
                let because = "no job carries this submission after the grace time; sent again to the same output path"
                    .to_owned();
                self.moved(Event::FoundNone, because, Effect::Submit, |next| {
                    next.posts += 1;
                    next.due = now + self.policy.lease();
                })
            }
            [one] => {
                let because = format!("job {} carries this submission", one.job.name);
                self.moved(Event::FoundOne, because, Effect::None, |next| self.adopt(next, &one.job, &one.status))
            }
            [oldest, others @ ..] => {
                let rest: Vec<Job> = others.iter().map(|candidate| candidate.job.clone()).collect();
                let names = rest.iter().map(|job| job.name.as_str()).collect::<Vec<_>>().join(", ");
                let because = format!(
                    "{} jobs carry this submission; adopted the oldest, {}, and cancelled {names}",
                    found.len(),
                    oldest.job.name
                );
                self.moved(Event::FoundSeveral, because, Effect::Cancel(rest.clone()), |next| {
                    self.adopt(next, &oldest.job, &oldest.status);
                    next.duplicates += u32::try_from(rest.len()).unwrap_or(u32::MAX);
                })
            }
        }
    }

    fn cannot_look(&self, why: &str) -> Step {
        // Written once per reason: a tick that finds the same trouble again writes nothing.
        if self.scoring.trouble.as_deref() == Some(why) {
            return wait(why.to_owned());
        }
        let because = format!("{why}; nothing is concluded from that");
        self.moved(Event::CannotLook, because, Effect::None, |next| next.trouble = Some(why.to_owned()))
    }

    fn polled(&self, seen: &JobSeen) -> Step {
        let cancelling = self.scoring.status == Status::Cancelling;
        let now = self.now;
        let note = |next: &mut Scoring| {
            next.job_status = Some(seen.status.name().to_owned());
            next.missing_since = None;
            if let (Some(job), Some(studio)) = (&mut next.job, &seen.studio) {
                job.studio = Some(studio.clone());
            }
        };
        match &seen.status {
            JobStatus::Completed => self.moved(
                Event::JobCompleted,
                "the job completed; its output is to be looked at".to_owned(),
                Effect::None,
                |next| {
                    note(next);
                    next.due = now;
                },
            ),
            JobStatus::Failed => {
                let text = seen.error.as_deref().unwrap_or("the job failed and told no reason");
                self.attempt_failed(text)
            }
            JobStatus::Canceled if cancelling => {
                self.attempt_failed(&format!("stopped after jobTimeout ({})", self.policy.job_timeout))
            }
            JobStatus::Canceled => self.moved(
                Event::JobCancelled,
                "the job was cancelled in Azure ML, not by Scorekeeper".to_owned(),
                Effect::None,
                |next| {
                    note(next);
                    next.error = Some("cancelled in Azure ML".to_owned());
                },
            ),
            status if self.scoring.due <= now => {
                let because = if cancelling {
                    format!("still {status}; asked again to stop")
                } else {
                    format!("still {status} after jobTimeout ({}); told to stop", self.policy.job_timeout)
                };
                let jobs = self.scoring.job.iter().cloned().collect();
                self.moved(Event::JobStuck, because, Effect::Cancel(jobs), |next| {
                    note(next);
                    next.due = now + CANCEL_INTERVAL;
                })
            }
            status if cancelling => wait(format!("{status}; waits for the job to stop")),
            status
                if self.scoring.job_status.as_deref() == Some(status.name())
                    && self.scoring.missing_since.is_none() =>
            {
                wait(format!("the job is {status}"))
            }
            status => self.moved(Event::Progressed, format!("the job is {status}"), Effect::None, note),
        }
    }

    fn missing(&self) -> Step {
        let limit = self.policy.output_grace.0 * 5;
        match self.scoring.missing_since {
            None => self.moved(
                Event::Missing,
                "the endpoint does not know the job at the moment".to_owned(),
                Effect::None,
                |next| {
                    next.missing_since = Some(self.now);
                    next.trouble = Some("the job cannot be found".to_owned());
                },
            ),
            Some(since) if self.now - since >= limit => {
                self.attempt_failed("the job vanished: the endpoint does not know it any more")
            }
            Some(since) => wait(format!("the job cannot be found since {}", clock(since))),
        }
    }

    fn verify(&self, output: &OutputSeen) -> Step {
        let since = self.scoring.submitted.unwrap_or(self.scoring.created);
        let problem = match output {
            OutputSeen::Present { bytes, modified } if *bytes > 0 && *modified >= since - CLOCK_SKEW => {
                let bytes = *bytes;
                let because = format!("the output is there ({bytes} bytes) and newer than the submission");
                return self.moved(Event::OutputGood, because, Effect::None, |next| {
                    next.output_bytes = Some(bytes);
                    next.error = None;
                });
            }
            OutputSeen::Present { bytes: 0, .. } => "the job completed and its output is empty".to_owned(),
            OutputSeen::Present { modified, .. } => {
                format!("the job completed and its output is older than the submission (modified {})", clock(*modified))
            }
            OutputSeen::Absent { uri } => format!("the job completed and there is no output at {uri}"),
        };
        if self.now - self.scoring.since < self.policy.output_grace.0 {
            return wait(format!(
                "{problem}; looked at again until {}",
                clock(self.scoring.since + self.policy.output_grace.0)
            ));
        }
        self.attempt_failed(&problem)
    }

    fn attempt_failed(&self, error: &str) -> Step {
        let (attempt, most) = (self.scoring.attempt, self.policy.max_attempts);
        if attempt >= most {
            let because = format!("{error}; attempt {attempt} of {most} was the last");
            return self.moved(Event::LastAttemptFailed, because, Effect::None, |next| {
                next.error = Some(error.to_owned());
            });
        }
        let pause =
            back_off(self.policy.retry_back_off.0, LONGEST_BACK_OFF, attempt.saturating_sub(1), &self.scoring.id);
        let because = format!(
            "{error}; attempt {} of {most} follows after {} with an output path of its own",
            attempt + 1,
            clock(self.now + pause)
        );
        self.moved(Event::AttemptFailed, because, Effect::None, |next| {
            next.submission = None;
            next.job = None;
            next.job_status = None;
            next.missing_since = None;
            next.error = Some(error.to_owned());
            next.due = self.now + pause;
        })
    }
}

/// The workspace's ARM id inside a job's ARM id.
pub fn workspace_of(job_id: &str) -> Option<&str> {
    let at = job_id.to_ascii_lowercase().find("/workspaces/")? + "/workspaces/".len();
    let name = job_id[at..].split('/').next().filter(|name| !name.is_empty())?;
    Some(&job_id[..at + name.len()])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rules::Rules;
    use crate::scoring::BlobVersion;
    use crate::status::TRANSITIONS;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    fn rules() -> Rules {
        Rules::read(
            r#"{"rules":[{"id":"claims","match":{"container":"c"},"endpoint":{"uri":"https://e.example/jobs"},"maxAttempts":2}]}"#,
        )
        .unwrap()
    }

    struct Life {
        rules: Rules,
        scoring: Scoring,
        now: OffsetDateTime,
        taken: Vec<(Status, Event, Status)>,
    }

    impl Life {
        fn new() -> Self {
            let rules = rules();
            let blob = BlobVersion::read("https://a.blob.core.windows.net/c/x.csv", "1").unwrap();
            let scoring = Scoring::accept(rules.get("claims").unwrap(), blob, NOW);
            Self { rules, scoring, now: NOW, taken: Vec::new() }
        }

        fn decide(&self, seen: &Seen) -> Step {
            decide(&self.scoring, self.rules.get("claims"), seen, self.now)
        }

        /// Takes the move that `seen` leads to; panics if there is none.
        fn moves(&mut self, seen: &Seen) -> Effect {
            match self.decide(seen) {
                Step::Move { next, entry, effect } => {
                    assert_eq!(next.version, self.scoring.version + 1);
                    assert_eq!(
                        (entry.from, entry.to, entry.seq),
                        (Some(self.scoring.status), next.status, next.version)
                    );
                    assert!(!entry.because.is_empty());
                    assert_eq!(next.completed.is_some(), next.status.is_terminal());
                    self.taken.push((self.scoring.status, entry.event.unwrap(), next.status));
                    self.scoring = *next;
                    effect
                }
                Step::Wait { because } => panic!("{} waits on {seen:?}: {because}", self.scoring.status),
            }
        }

        fn waits(&self, seen: &Seen) -> String {
            match self.decide(seen) {
                Step::Wait { because } => because,
                Step::Move { entry, .. } => panic!("{} moves on {seen:?}: {}", self.scoring.status, entry.because),
            }
        }

        fn later(&mut self, by: Duration) -> &mut Self {
            self.now += by;
            self
        }

        fn submitting() -> Self {
            let mut life = Self::new();
            assert_eq!(life.moves(&Seen::SlotFree), Effect::Submit);
            life
        }

        fn running() -> Self {
            let mut life = Self::submitting();
            life.moves(&accepted());
            life
        }

        fn unknown() -> Self {
            let mut life = Self::submitting();
            life.moves(&Seen::Answer(Answer::Unknown { text: "connection reset".into() }));
            life.now = life.scoring.due;
            life
        }

        fn verifying() -> Self {
            let mut life = Self::running();
            life.moves(&job(JobStatus::Completed));
            life
        }
    }

    fn named(name: &str) -> Job {
        let id = format!(
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/batchEndpoints/e/jobs/{name}"
        );
        Job { name: name.into(), id: Some(id), studio: None }
    }

    fn accepted() -> Seen {
        Seen::Answer(Answer::Accepted { job: named("job-1"), status: JobStatus::Preparing })
    }

    fn job(status: JobStatus) -> Seen {
        Seen::Job(JobSeen { status, error: None, studio: None })
    }

    fn refused(for_good: bool, retry_after: Option<Duration>) -> Seen {
        Seen::Answer(Answer::Refused { code: "429".into(), text: "slow down".into(), for_good, retry_after })
    }

    fn candidate(name: &str, minute: i64) -> Candidate {
        Candidate { job: named(name), status: JobStatus::Running, created: NOW + Duration::minutes(minute) }
    }

    fn output(bytes: u64, modified: OffsetDateTime) -> Seen {
        Seen::Output(OutputSeen::Present { bytes, modified })
    }

    fn absent() -> Seen {
        Seen::Output(OutputSeen::Absent { uri: "azureml://x".into() })
    }

    fn every_seen() -> Vec<Seen> {
        let statuses = [
            "NotStarted",
            "Running",
            "Completed",
            "Failed",
            "Canceled",
            "CancelRequested",
            "NotResponding",
            "Paused",
            "Unknown",
            "Melted",
        ];
        let mut all = vec![
            Seen::Nothing,
            Seen::SlotFree,
            Seen::Waiting { because: "all slots are taken".into() },
            accepted(),
            refused(true, None),
            refused(false, None),
            Seen::Answer(Answer::Unknown { text: "reset".into() }),
            Seen::JobMissing,
            Seen::Candidates(vec![]),
            Seen::Candidates(vec![candidate("a", 0)]),
            Seen::Candidates(vec![candidate("a", 0), candidate("b", 1)]),
            output(5, NOW),
            output(0, NOW),
            output(5, NOW - Duration::days(1)),
            absent(),
            Seen::Unclear("403".into()),
        ];
        all.extend(statuses.map(|word| job(JobStatus::read(word))));
        all
    }

    #[test]
    fn the_straight_way_is_queued_submitting_running_verifying_scored() {
        let mut life = Life::verifying();
        life.moves(&output(120, life.now));
        assert_eq!(life.scoring.status, Status::Scored);
        assert_eq!(life.scoring.output_bytes, Some(120));
        assert_eq!((life.scoring.attempt, life.scoring.posts, life.scoring.version), (1, 1, 5));
        assert!(life.scoring.workspace.as_deref().unwrap().ends_with("/workspaces/w"));
    }

    #[test]
    fn every_row_of_the_table_is_taken_and_nothing_beside_it() {
        // Breadth first over everything that can be seen now, a day later and when something is due.
        let mut taken = BTreeSet::new();
        let mut lives = vec![(Life::new(), 0)];
        let mut known = BTreeSet::new();
        while let Some((life, depth)) = lives.pop() {
            for seen in every_seen() {
                for pause in
                    [Duration::ZERO, Duration::minutes(1), Duration::minutes(20), Duration::days(1), Duration::days(8)]
                {
                    let now = life.now + pause;
                    if let Step::Move { next, entry, .. } = decide(&life.scoring, life.rules.get("claims"), &seen, now)
                    {
                        let row = (life.scoring.status, entry.event.unwrap(), next.status);
                        assert!(TRANSITIONS.contains(&row), "{row:?}");
                        assert!(!life.scoring.status.is_terminal());
                        taken.insert(row);
                        let key = format!(
                            "{:?}{}{:?}{}",
                            next.status,
                            next.attempt,
                            next.missing_since.is_some(),
                            next.trouble.is_some()
                        );
                        if depth < 9 && known.insert(key) {
                            lives.push((Life { rules: rules(), scoring: *next, now, taken: Vec::new() }, depth + 1));
                        }
                    }
                }
            }
        }
        let missed: Vec<_> = TRANSITIONS.iter().filter(|row| !taken.contains(row)).collect();
        assert!(missed.is_empty(), "never taken: {missed:?}");
    }

    #[test]
    fn a_queued_scoring_waits_for_its_back_off_its_slot_and_its_rule() {
        let mut life = Life::submitting();
        life.moves(&refused(false, Some(Duration::minutes(7))));
        assert_eq!(life.scoring.due, life.now + Duration::minutes(7));
        assert!(life.waits(&Seen::SlotFree).contains("back-off"));
        life.later(Duration::minutes(7));
        assert_eq!(life.waits(&Seen::Waiting { because: "all slots are taken".into() }), "all slots are taken");
        let step = decide(&life.scoring, None, &Seen::SlotFree, life.now);
        assert!(matches!(step, Step::Wait { because } if because.contains("rule `claims`")));
    }

    #[test]
    fn a_refused_attempt_keeps_its_number_request_and_output_path() {
        let mut life = Life::submitting();
        let sent = life.scoring.submission.clone();
        life.moves(&refused(false, None));
        life.later(Duration::hours(2)).moves(&Seen::SlotFree);
        assert_eq!((life.scoring.attempt, life.scoring.posts), (1, 2));
        assert_eq!(life.scoring.submission, sent);
    }

    #[test]
    fn refusals_back_off_and_are_given_up_after_their_time() {
        let mut life = Life::submitting();
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            life.moves(&refused(false, None));
            let pause = life.scoring.due - life.now;
            assert!(pause > last, "{pause} after {last}");
            last = pause;
            life.now = life.scoring.due;
            life.moves(&Seen::SlotFree);
        }
        life.later(Duration::days(1)).moves(&refused(false, None));
        assert_eq!(life.scoring.status, Status::Failed);
        assert!(life.scoring.error.as_deref().unwrap().contains("slow down"));
        let mut life = Life::submitting();
        life.moves(&refused(true, None));
        assert_eq!(life.scoring.status, Status::Failed);
    }

    #[test]
    fn the_time_in_the_queue_does_not_count_for_give_up_after() {
        let mut life = Life::new();
        life.later(Duration::days(2)).moves(&Seen::SlotFree);
        life.moves(&refused(false, None));
        assert_eq!(life.scoring.status, Status::Queued);

        let mut life = Life::new();
        life.later(Duration::days(2)).moves(&Seen::SlotFree);
        life.moves(&Seen::Answer(Answer::Unknown { text: "reset".into() }));
        assert_eq!(life.later(Duration::minutes(20)).moves(&Seen::Candidates(vec![])), Effect::Submit);
    }

    #[test]
    fn a_lease_protects_its_owner_and_then_the_job_is_looked_for() {
        let mut life = Life::submitting();
        assert!(life.waits(&Seen::Nothing).contains("lease"));
        life.now = life.scoring.due;
        assert_eq!(life.moves(&Seen::Nothing), Effect::None);
        assert_eq!(life.scoring.status, Status::Unknown);
    }

    #[test]
    fn a_lost_answer_is_looked_for_and_sent_again_to_the_same_path_only_after_the_grace_time() {
        let mut life = Life::unknown();
        let sent = life.scoring.submission.clone();
        let none = Seen::Candidates(vec![]);
        assert!(life.waits(&none).contains("grace"));
        life.now = life.scoring.since + Policy::default().grace.0 - Duration::SECOND;
        life.waits(&none);
        life.later(Duration::SECOND);
        assert_eq!(life.moves(&none), Effect::Submit);
        assert_eq!((life.scoring.attempt, life.scoring.posts), (1, 2));
        assert_eq!(life.scoring.submission, sent);
    }

    #[test]
    fn one_found_job_is_adopted_and_of_several_the_oldest() {
        let mut life = Life::unknown();
        life.moves(&Seen::Candidates(vec![candidate("only", 0)]));
        assert_eq!(life.scoring.job.as_ref().unwrap().name, "only");

        let several = [candidate("young", 2), candidate("old", 0), candidate("middle", 1)];
        for turn in 0..3 {
            let mut life = Life::unknown();
            let mut found = several.to_vec();
            found.rotate_left(turn);
            let effect = life.moves(&Seen::Candidates(found));
            assert_eq!(life.scoring.job.as_ref().unwrap().name, "old");
            assert_eq!(life.scoring.duplicates, 2);
            let Effect::Cancel(jobs) = effect else { panic!("{effect:?}") };
            assert!(jobs.iter().all(|job| job.name != "old"), "{jobs:?}");
            assert_eq!(jobs.len(), 2);
        }
    }

    #[test]
    fn nothing_is_sent_when_it_could_not_be_looked_and_the_trouble_is_written_once() {
        let mut life = Life::unknown();
        life.later(Duration::days(3));
        assert_eq!(life.moves(&Seen::Unclear("403".into())), Effect::None);
        assert_eq!((life.scoring.status, life.scoring.trouble.as_deref()), (Status::Unknown, Some("403")));
        life.waits(&Seen::Unclear("403".into()));
    }

    #[test]
    fn progress_is_written_when_the_word_changes_and_not_before() {
        let mut life = Life::running();
        life.waits(&job(JobStatus::Preparing));
        life.moves(&job(JobStatus::Running));
        life.waits(&job(JobStatus::Running));
        for word in ["NotResponding", "Paused", "Unknown", "Melted"] {
            life.moves(&job(JobStatus::read(word)));
            assert_eq!(life.scoring.status, Status::Running, "{word} is not final");
        }
        life.waits(&Seen::Unclear("the endpoint did not answer".into()));
    }

    #[test]
    fn a_failed_attempt_is_followed_by_one_with_another_path_until_none_is_left() {
        let mut life = Life::running();
        let first = life.scoring.output_uri().unwrap().to_owned();
        let failed = Seen::Job(JobSeen { status: JobStatus::Failed, error: Some("exit code 42".into()), studio: None });
        life.moves(&failed);
        assert_eq!((life.scoring.status, life.scoring.error.as_deref()), (Status::Queued, Some("exit code 42")));
        assert!(life.scoring.due > life.now);
        life.now = life.scoring.due;
        life.moves(&Seen::SlotFree);
        assert_eq!((life.scoring.attempt, life.scoring.posts), (2, 1));
        assert_ne!(life.scoring.output_uri().unwrap(), first);
        life.moves(&accepted());
        life.moves(&failed);
        assert_eq!(life.scoring.status, Status::Failed);
    }

    #[test]
    fn a_job_that_vanishes_is_given_time_to_come_back() {
        let mut life = Life::running();
        life.moves(&Seen::JobMissing);
        life.later(Duration::minutes(9)).waits(&Seen::JobMissing);
        life.moves(&job(JobStatus::Preparing));
        assert_eq!((life.scoring.missing_since, life.scoring.trouble.as_deref()), (None, None));
        life.moves(&Seen::JobMissing);
        life.later(Duration::minutes(10)).moves(&Seen::JobMissing);
        assert_eq!(life.scoring.status, Status::Queued);
    }

    #[test]
    fn a_stuck_job_is_stopped_and_counts_as_a_failed_attempt() {
        let mut life = Life::running();
        life.later(Duration::days(7));
        assert_eq!(life.moves(&job(JobStatus::Queued)), Effect::Cancel(vec![named("job-1")]));
        assert_eq!(life.scoring.status, Status::Cancelling);
        life.waits(&job(JobStatus::CancelRequested));
        life.later(CANCEL_INTERVAL);
        assert!(matches!(life.moves(&job(JobStatus::CancelRequested)), Effect::Cancel(_)));
        life.moves(&job(JobStatus::Canceled));
        assert_eq!(life.scoring.status, Status::Queued);
        assert!(life.scoring.error.as_deref().unwrap().contains("jobTimeout"));
    }

    #[test]
    fn a_job_that_completes_while_it_is_stopped_is_not_thrown_away() {
        let mut life = Life::running();
        life.later(Duration::days(7)).moves(&job(JobStatus::Running));
        life.moves(&job(JobStatus::Completed));
        assert_eq!(life.scoring.status, Status::Verifying);
    }

    #[test]
    fn what_a_person_cancelled_is_not_started_again() {
        let mut life = Life::running();
        life.moves(&job(JobStatus::Canceled));
        assert_eq!(life.scoring.status, Status::Cancelled);
    }

    #[test]
    fn scored_is_never_shown_for_an_output_that_is_absent_empty_or_old() {
        for bad in [absent(), output(0, NOW), output(9, NOW - Duration::hours(1))] {
            let mut life = Life::verifying();
            life.waits(&bad);
            life.later(Duration::minutes(2)).moves(&bad);
            assert_eq!(life.scoring.status, Status::Queued, "{bad:?}");
        }
        let mut life = Life::verifying();
        life.moves(&Seen::Unclear("403".into()));
        life.waits(&Seen::Unclear("403".into()));
        assert_eq!(life.scoring.status, Status::Verifying);
    }

    #[test]
    fn a_clock_that_is_minutes_off_does_not_condemn_an_output() {
        let mut life = Life::verifying();
        life.moves(&output(9, NOW - Duration::minutes(4)));
        assert_eq!(life.scoring.status, Status::Scored);
    }

    #[test]
    fn the_workspace_is_read_from_a_job_id() {
        assert_eq!(
            workspace_of("/subscriptions/s/resourceGroups/g/providers/P/workspaces/w/jobs/j"),
            Some("/subscriptions/s/resourceGroups/g/providers/P/workspaces/w")
        );
        assert_eq!(workspace_of("/subscriptions/s"), None);
        assert_eq!(workspace_of("/x/workspaces/"), None);
    }
}
