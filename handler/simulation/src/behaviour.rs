//! What becomes of a submission, and of a job: drawn from the dice, or written in a script.

use std::collections::{BTreeSet, VecDeque};

use lifecycle::{JobStatus, Scoring};
use stores::fault::Fault;
use time::Duration;

use crate::faults::{Dice, Kind};

/// The error of a job that tells nothing.
pub(crate) const EXIT_CODE: &str = "exit code 42";
/// The error of a job whose code fails by its input, each time.
pub const USER_ERROR: &str = "UserError: exit code 1: ValueError: columns are missing";

/// How a job ends, and what it leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// `Completed`, with this at its output path.
    Completed(Written),
    /// `Failed`, with the error that [`JobBehaviour`] tells.
    Failed,
    /// `Canceled`, by a person or because it was told to stop.
    Canceled,
}

/// What a completed job has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Predictions, visible so long after the job says `Completed`.
    Good(Duration),
    /// A blob of no bytes.
    Empty,
    /// Nothing, though the job says `Completed`.
    Absent,
    /// Something that was there long before the job.
    Old,
}

/// What becomes of a job.
#[derive(Debug, Clone)]
pub struct JobBehaviour {
    /// Lists show it after this time.
    pub lag: Duration,
    /// Lists show its outputs after this time.
    pub shows_outputs_after: Duration,
    /// Nothing ever shows its outputs, as in the recorded answers of the service.
    pub omits_outputs: bool,
    /// How long it says `Preparing`.
    pub prepares: Duration,
    /// `None`: it hangs until it is stopped.
    pub lasts: Option<Duration>,
    /// How it ends if nobody stops it.
    pub end: End,
    /// Requests to stop that it ignores.
    pub deaf: u32,
    /// From the request to stop that it heeds to its end.
    pub stops_within: Duration,
    /// How it ends when it is stopped.
    pub stopped: End,
    /// It cannot be found between these times after its making.
    pub hidden: Option<(Duration, Duration)>,
    /// A word it says while it runs.
    pub word: JobStatus,
    /// What it says when it failed.
    pub error: &'static str,
}

impl JobBehaviour {
    /// A job that runs at once and until it is ended or stopped, and hides nothing.
    pub fn running() -> Self {
        Self {
            lag: Duration::ZERO,
            shows_outputs_after: Duration::ZERO,
            omits_outputs: false,
            prepares: Duration::ZERO,
            lasts: None,
            end: End::Canceled,
            deaf: 0,
            stops_within: Duration::ZERO,
            stopped: End::Canceled,
            hidden: None,
            word: JobStatus::Running,
            error: EXIT_CODE,
        }
    }

    /// A job as Azure ML makes it if all goes well.
    fn good() -> Self {
        Self {
            shows_outputs_after: Duration::seconds(10),
            prepares: Duration::seconds(20),
            lasts: Some(Duration::minutes(2)),
            end: End::Completed(Written::Good(Duration::ZERO)),
            stops_within: Duration::seconds(30),
            ..Self::running()
        }
    }
}

/// A story written in advance: what happens to the first requests and the first jobs. What is not written goes well.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Requests, in the order of their sending.
    pub submissions: Vec<Fault>,
    /// Jobs, in the order of their making.
    pub ends: Vec<End>,
    /// No job shows its outputs or our tags.
    pub omit_outputs: bool,
}

/// Where it comes from what becomes of each job.
#[derive(Debug)]
pub(super) enum Behaviours {
    /// The dice decide, by the kinds of faults that a run has.
    Drawn,
    /// What was written in advance, first come first served; then all goes well.
    Scripted { submissions: VecDeque<Fault>, ends: VecDeque<End>, omit_outputs: bool },
    /// All goes well but for one thing.
    Poisoned(Poisoned),
}

impl Behaviours {
    pub(super) fn of(script: Option<&Script>) -> Self {
        match script {
            None => Self::Drawn,
            Some(script) => Self::Scripted {
                submissions: script.submissions.iter().cloned().collect(),
                ends: script.ends.iter().cloned().collect(),
                omit_outputs: script.omit_outputs,
            },
        }
    }

    /// Whether jobs omit their outputs and tags; `None`: that is drawn.
    pub(super) fn omit_outputs(&self) -> Option<bool> {
        match self {
            Self::Drawn => None,
            Self::Scripted { omit_outputs, .. } => Some(*omit_outputs),
            Self::Poisoned(_) => Some(false),
        }
    }

    /// Writes what becomes of one more submission into the script.
    pub(super) fn script(&mut self, fault: Fault) {
        if let Self::Scripted { submissions, .. } = self {
            submissions.push_back(fault);
        }
    }

    /// Writes how one more job ends into the script.
    pub(super) fn script_end(&mut self, end: End) {
        if let Self::Scripted { ends, .. } = self {
            ends.push_back(end);
        }
    }

    /// The fate of the next request, which may be late by up to `latest`; `again` if its scoring had one before.
    pub(super) fn submission(&mut self, dice: &mut Dice, again: bool, latest: Duration) -> Fault {
        match self {
            Self::Scripted { submissions, .. } => submissions.pop_front().unwrap_or(Fault::Pass),
            Self::Drawn => drawn_submission(dice, again, latest),
            Self::Poisoned(_) => Fault::Pass,
        }
    }

    /// The fate of the next job, which is made for a scoring so long after the beginning; `second` if its request made one
    /// before it.
    pub(super) fn job(&mut self, dice: &mut Dice, scoring: &Scoring, at: Duration, second: bool) -> JobBehaviour {
        match self {
            Self::Scripted { ends, .. } => match ends.pop_front() {
                Some(end) => JobBehaviour { end, ..JobBehaviour::good() },
                None => JobBehaviour::good(),
            },
            Self::Drawn if dice.likes(Kind::BadInputs) && scoring.blob.path.starts_with(['0', '5']) => {
                failing(USER_ERROR)
            }
            Self::Drawn => drawn_job(dice, second),
            Self::Poisoned(poisoned) => poisoned.job(scoring, at),
        }
    }
}

/// What Azure ML says of a job that may not read its input.
const DENIED: &str = "StreamAccessException was caused by AuthenticationException";
/// A right is missing, or a model broken, until then.
const MENDED: Duration = Duration::minutes(15);

/// What makes jobs fail in a run in which all else goes well: for what circuit breakers and pauses of rules are to do, and for whom
/// they must not stand in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// Nothing does: every job ends well.
    Nothing,
    /// Ten files of a hundred, by which the user's code fails each time.
    BadFiles,
    /// The same, all of one sender and two minutes before all others, where a breaker opens for half an hour at six in a row of several
    /// senders.
    OneSender,
    /// For a quarter of an hour no job of the first rule may read its input.
    RightTakenAway,
    /// For a quarter of an hour every job fails, and says nothing but an exit code; those of the ten bad files do so for ever.
    BrokenModel,
    /// The first rule has a shadow, of which every job fails for a quarter of an hour and says nothing but an exit code.
    BrokenShadow,
}

/// The poison of a run, and its bad files.
#[derive(Debug)]
pub(super) struct Poisoned {
    pub(super) poison: Poison,
    /// Paths of the ten bad files.
    pub(super) bad: BTreeSet<String>,
    /// The container of the first rule.
    pub(super) first: &'static str,
}

impl Poisoned {
    /// The fate of a job that is made so long after the beginning.
    fn job(&self, scoring: &Scoring, at: Duration) -> JobBehaviour {
        let is_bad = self.bad.contains(&scoring.blob.path);
        match self.poison {
            Poison::BadFiles | Poison::OneSender if is_bad => failing(USER_ERROR),
            Poison::RightTakenAway if at < MENDED && scoring.blob.container == self.first => failing(DENIED),
            Poison::BrokenModel if at < MENDED || is_bad => failing(EXIT_CODE),
            Poison::BrokenShadow if at < MENDED && scoring.rule.ends_with("-shadow") => failing(EXIT_CODE),
            _ => JobBehaviour::good(),
        }
    }
}

/// A job that fails at once.
fn failing(error: &'static str) -> JobBehaviour {
    JobBehaviour { end: End::Failed, lasts: Some(Duration::seconds(30)), error, ..JobBehaviour::good() }
}

fn drawn_submission(dice: &mut Dice, again: bool, latest: Duration) -> Fault {
    if dice.strikes(Kind::SubmitDelayed, 40) {
        let latest = u64::try_from(latest.whole_seconds()).unwrap_or(0);
        return Fault::Delayed(dice.stream(Kind::SubmitDelayed).seconds(60, latest.max(60)));
    }
    if dice.strikes(Kind::SubmitLost, 120) {
        return match dice.stream(Kind::SubmitLost).below(9) {
            0..=2 => Fault::LostAnswer { times: 1 },
            3 => Fault::LostAnswer { times: 2 },
            4..=5 => Fault::Duplicated { times: 2 },
            _ => Fault::LostRequest,
        };
    }
    // Faults come together: what went wrong once is refused, or lost, more often the next time.
    if again && dice.strikes(Kind::SubmitLost, 150) {
        return Fault::LostRequest;
    }
    if dice.strikes(Kind::SubmitDoubled, 150) {
        let told = dice.stream(Kind::SubmitDoubled).chance(750);
        return if told { Fault::Duplicated { times: 2 } } else { Fault::LostAnswer { times: 2 } };
    }
    if dice.strikes(Kind::SubmitRefused, if again { 350 } else { 100 }) {
        let stream = dice.stream(Kind::SubmitRefused);
        let permanent = stream.chance(150);
        let retry_after = stream.chance(300).then(|| stream.seconds(1, if again { 900 } else { 90 }));
        return if permanent { Fault::Refused { permanent } } else { Fault::Throttled(retry_after) };
    }
    Fault::Pass
}

fn drawn_job(dice: &mut Dice, second: bool) -> JobBehaviour {
    let mut behaviour = JobBehaviour { lasts: Some(dice.stream(Kind::Jobs).seconds(10, 240)), ..JobBehaviour::good() };
    if dice.strikes(Kind::LookupStale, 200) {
        let stream = dice.stream(Kind::LookupStale);
        behaviour.lag = match stream.below(10) {
            0 => stream.seconds(60, 300),
            // Longer than `resubmitAfter`.
            1 | 2 => stream.seconds(300, 1_800),
            _ => stream.seconds(1, 50),
        };
        // It runs still when lists show it: else its output tells of it before.
        if behaviour.lag >= Duration::minutes(5) && stream.chance(500) {
            behaviour.lasts = Some(behaviour.lag + stream.seconds(60, 900));
        }
    }
    if second && dice.strikes(Kind::LookupStale, 400) {
        // It comes to light when its request is long forgotten.
        behaviour.lag = dice.stream(Kind::LookupStale).seconds(300, 1_800);
    }
    if second && dice.strikes(Kind::SubmitDoubled, 400) {
        behaviour.lasts = Some(dice.stream(Kind::SubmitDoubled).seconds(1_800, 7_200));
    }
    if dice.strikes(Kind::LookupStale, 60) {
        let stream = dice.stream(Kind::LookupStale);
        let from = if stream.chance(400) { stream.seconds(300, 1_000) } else { stream.seconds(0, 100) };
        let until = if stream.chance(200) { Duration::days(99) } else { from + stream.seconds(30, 400) };
        behaviour.hidden = Some((from, until));
    }
    if dice.strikes(Kind::Jobs, 120) {
        behaviour.end = End::Failed;
        behaviour.error = dice.stream(Kind::Jobs).pick(&[
            EXIT_CODE,
            "the node was lost",
            "StreamAccessException was caused by AuthenticationException",
        ]);
    } else if dice.strikes(Kind::Cancellations, 60) {
        behaviour.end = End::Canceled;
    } else if dice.strikes(Kind::Outputs, 150) {
        let late = dice.stream(Kind::Outputs).seconds(1, 150);
        behaviour.end = End::Completed(dice.stream(Kind::Outputs).pick(&[
            Written::Absent,
            Written::Empty,
            Written::Old,
            Written::Good(late),
            Written::Good(late),
        ]));
    }
    if dice.strikes(Kind::Jobs, 80) {
        let stream = dice.stream(Kind::Jobs);
        behaviour.lasts = None;
        behaviour.deaf = stream.pick(&[0, 0, 1, 2]);
        behaviour.stopped =
            stream.pick(&[End::Canceled, End::Canceled, End::Failed, End::Completed(Written::Good(Duration::ZERO))]);
        if behaviour.deaf > 0 && dice.strikes(Kind::LookupStale, 250) {
            // While it is being stopped.
            let from = dice.stream(Kind::LookupStale).seconds(310, 450);
            behaviour.hidden = Some((from, from + dice.stream(Kind::LookupStale).seconds(60, 150)));
        }
    }
    if dice.strikes(Kind::Jobs, 150) {
        let words = ["NotResponding", "Paused", "Queued", "Finalizing", "Unknown", "Melted"];
        behaviour.word = JobStatus::read(dice.stream(Kind::Jobs).pick(&words));
    }
    behaviour
}
