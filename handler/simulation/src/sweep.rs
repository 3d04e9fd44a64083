//! The crash sweep: scripted scenarios in which the one process is killed right after its k-th effect, for every k.
//!
//! An effect is a write to a table, a request to the endpoint that arrived, or a request to stop a job. The killed
//! process never learns of it. Another begins a second later, ticks go on, unanswered deliveries come again: the end must
//! be the same as without the kill.

use std::collections::BTreeMap;

use lifecycle::publication::RefusalKind;
use stores::fault::Fault;
use time::Duration;

use crate::behaviour::{End, Script, Written};
use crate::cloud::{BAD_FILE, BadFiles, TOO_LARGE};
use crate::options::Wiring;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::run::run_script;

/// One thing that happens to one or two uploads.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What happens, as a phrase for people.
    pub name: &'static str,
    script: Script,
    uploads: usize,
    deliveries: usize,
    max_attempts: u32,
    max_in_flight: Option<u32>,
    group: Option<BadFilesAt>,
}

/// Bad files of a group, by their number.
#[derive(Debug, Clone, Default)]
struct BadFilesAt {
    failing: Vec<usize>,
    too_large: Vec<usize>,
    not_copied: Vec<usize>,
    not_named: Vec<usize>,
}

impl BadFilesAt {
    /// The same files by their URLs below `folder`.
    fn below(&self, folder: &str) -> BadFiles {
        let url = |n: &usize| format!("{folder}{n}.csv");
        let urls = |of: &[usize]| of.iter().map(url).collect();
        let failing = self.failing.iter().map(|n| (url(n), BAD_FILE));
        let not_copied = self.not_copied.iter().map(|n| (url(n), RefusalKind::SourceNotCopied)).collect();
        let failing = failing.chain(self.too_large.iter().map(|n| (url(n), TOO_LARGE))).collect();
        BadFiles { failing, not_copied, not_named: urls(&self.not_named) }
    }
}

impl Scenario {
    fn new(name: &'static str, submissions: &[Fault], ends: &[End]) -> Self {
        let script = Script { submissions: submissions.to_vec(), ends: ends.to_vec(), omit_outputs: false };
        Self { name, script, uploads: 1, deliveries: 1, max_attempts: 2, max_in_flight: None, group: None }
    }

    /// So many files that share a job.
    fn group(name: &'static str, uploads: usize, submissions: &[Fault], bad: BadFilesAt) -> Self {
        Self { uploads, group: Some(bad), ..Self::new(name, submissions, &[]) }
    }

    /// Those of files that share jobs.
    pub fn groups() -> Vec<Self> {
        let lost = || [Fault::LostAnswer { times: 1 }];
        vec![
            Self::group("a group of three", 3, &[], BadFilesAt::default()),
            Self::group("a group of two, the answer is lost", 2, &lost(), BadFilesAt::default()),
            Self::group(
                "a group of four, one file is bad",
                4,
                &[],
                BadFilesAt { failing: vec![2], ..BadFilesAt::default() },
            ),
            Self::group(
                "a group of four with a bad file, one that is not copied and one that is not named, and a lost answer",
                4,
                &lost(),
                BadFilesAt { failing: vec![0], not_copied: vec![1], not_named: vec![2], ..BadFilesAt::default() },
            ),
            Self::group(
                "a group of three, one file is too large for its node",
                3,
                &[],
                BadFilesAt { too_large: vec![1], ..BadFilesAt::default() },
            ),
        ]
    }

    /// A group of so many files with so many bad ones, far from each other.
    pub fn group_with_bad_files(files: usize, bad: usize) -> Self {
        let failing = (0..bad).map(|n| n * files / bad.max(1)).collect();
        Self::group("a group with bad files", files, &[], BadFilesAt { failing, ..BadFilesAt::default() })
    }

    fn omitting_outputs(mut self) -> Self {
        self.script.omit_outputs = true;
        self
    }

    /// Every scenario that is swept.
    pub fn all() -> Vec<Self> {
        let refused = || Fault::Refused { permanent: true };
        let good = |late| End::Completed(Written::Good(late));
        vec![
            Self::new("all is well", &[], &[]),
            Self::new("the answer is lost, there is one job", &[Fault::LostAnswer { times: 1 }], &[]),
            Self::new("the answer is lost, there are two jobs", &[Fault::LostAnswer { times: 2 }], &[]),
            Self::new("the request is lost", &[Fault::LostRequest], &[]),
            Self::new("the answer is lost, the job shows no outputs", &[Fault::LostAnswer { times: 1 }], &[])
                .omitting_outputs(),
            Self::new("the same, and the job fails", &[Fault::LostAnswer { times: 1 }], &[End::Failed])
                .omitting_outputs(),
            Self::new("throttled, then accepted", &[Fault::Throttled(None), Fault::Pass], &[]),
            Self::new("refused for good", &[refused(), refused()], &[]),
            Self::new("the first job fails", &[], &[End::Failed]),
            Self::new("both jobs fail", &[], &[End::Failed, End::Failed]),
            Self::new("the output is late", &[], &[good(Duration::seconds(70))]),
            Self::new("the output is empty, then good", &[], &[End::Completed(Written::Empty)]),
            Self::new("a person cancels the job", &[], &[End::Canceled]),
            Self { deliveries: 3, ..Self::new("the event comes three times", &[], &[]) },
            Self { uploads: 3, max_in_flight: Some(1), ..Self::new("three uploads, one slot", &[], &[]) },
            Self {
                uploads: 2,
                deliveries: 2,
                max_in_flight: Some(1),
                ..Self::new(
                    "two uploads twice, one slot, a lost answer and a failure",
                    &[Fault::LostAnswer { times: 1 }],
                    &[End::Failed],
                )
            },
        ]
    }

    /// Runs it; the process dies right after its effect number `kill_after`.
    pub fn run(&self, kill_after: Option<u64>, wiring: &Wiring, traced: bool) -> Outcome {
        let plan = match &self.group {
            None => Plan::scripted(self.uploads, self.deliveries, self.max_attempts, self.max_in_flight),
            Some(bad) => Plan::scripted_group(self.uploads, |folder| bad.below(folder)),
        };
        run_script(plan, &self.script, kill_after, wiring, traced)
    }
}

/// What a sweep over one scenario met.
#[derive(Debug, Clone)]
pub struct SweepResult {
    /// The end without a kill.
    pub end: BTreeMap<String, String>,
    /// How many kills there were: one run for each effect.
    pub kills: u64,
    /// Jobs without a kill, and the most that a run with one made.
    pub jobs: (usize, usize),
    /// Kills after which the end was another, or a promise was broken: what, and the story.
    pub failures: Vec<(u64, String, Vec<String>)>,
}

/// Kills after effect 1, 2, 3 and so on, until the scenario is through before the kill.
pub fn sweep(scenario: &Scenario, wiring: &Wiring) -> SweepResult {
    let undisturbed = scenario.run(None, wiring, false);
    let mut swept = SweepResult {
        end: statuses(&undisturbed),
        kills: 0,
        jobs: (undisturbed.jobs, undisturbed.jobs),
        failures: Vec::new(),
    };
    if let Some(violation) = &undisturbed.violation {
        swept.failures.push((0, violation.what.clone(), scenario.run(None, wiring, true).trace));
        return swept;
    }
    for kill_after in 1.. {
        let outcome = scenario.run(Some(kill_after), wiring, false);
        let end = statuses(&outcome);
        swept.jobs.1 = swept.jobs.1.max(outcome.jobs);
        let what = match &outcome.violation {
            Some(violation) => Some(violation.what.clone()),
            None => (end != swept.end).then(|| format!("ends as {end:?}")),
        };
        if let Some(what) = what {
            swept.failures.push((kill_after, what, scenario.run(Some(kill_after), wiring, true).trace));
        }
        if kill_after > outcome.effects {
            break;
        }
        swept.kills += 1;
    }
    swept
}

/// The final status of each upload's scoring; a group has another name when it is made at another time. Which of two uploads meets which fate depends on which of them comes first.
fn statuses(outcome: &Outcome) -> BTreeMap<String, String> {
    let status = |end: &String| end.split(' ').next().unwrap_or_default().to_owned();
    let of_uploads = outcome.ends.iter().filter(|(name, _)| name.contains('@'));
    of_uploads.map(|(name, end)| (name.clone(), status(end))).collect()
}
