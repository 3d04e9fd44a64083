//! `scorekeeper simulate`: runs seeds, counts what they met, and tells the shortest story of one that breaks a promise.
//!
//! Exit codes: 0 no invariant was violated, 1 one was, 64 the command is not understood.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lifecycle::{Event, Status, TRANSITIONS};

use crate::options::{RunOptions, Wiring};
use crate::outcome::Outcome;
use crate::run::{run, run_grouped, run_swept};
use crate::sweep::{Scenario, SweepResult, sweep};
use crate::{Faults, Kind, shrink};

/// Exit code: no invariant was violated.
pub const NO_VIOLATION: u8 = 0;
/// Bad files of the group that is killed everywhere.
const BAD_FILES: usize = 3;
/// Exit code: an invariant was violated, or no run made a move that `--every-move` asks for.
pub const VIOLATION: u8 = 1;

/// A text that is not a number. clap prints it behind the text and the name of its argument.
#[derive(Debug, thiserror::Error)]
#[error("expected a whole number from 0 to {}", u64::MAX)]
pub struct NoWholeNumber;

/// Reads a number of the command line.
///
/// # Errors
///
/// If the text is none.
pub fn whole_number(text: &str) -> Result<u64, NoWholeNumber> {
    text.parse().map_err(|_| NoWholeNumber)
}

/// Which runs are simulated, and what may go wrong in them.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct SimulateArgs {
    /// The first seed; the same seed and arguments are the same run, on any machine
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = whole_number)]
    pub seed: u64,
    /// Run this many seeds, S and those behind it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Blob versions that are uploaded in each run
    #[arg(long, value_name = "N", default_value_t = RunOptions::new(0).events as u64, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub events: u64,
    /// What may go wrong: `all`, `none`, or kinds separated by commas; `--kinds` lists them
    #[arg(long, value_name = "KINDS", default_value = "all")]
    pub faults: Faults,
    /// Maximum number of processes at one time
    #[arg(long, value_name = "N", default_value_t = RunOptions::new(0).processes as u64, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub processes: u64,
    /// Most faults in one run; without it as many as the seed has
    #[arg(long, value_name = "N", value_parser = whole_number)]
    pub max_faults: Option<u64>,
    /// Runs of two processes with sweeps, of whose events so many of a thousand are lost and as many come twice
    #[arg(long, value_name = "N", conflicts_with_all = ["processes", "max_faults", "trace", "every_move"], value_parser = clap::value_parser!(u64).range(..=1_000))]
    pub lost: Option<u64>,
    /// Runs of two processes under a rule that groups its files
    #[arg(long, conflicts_with_all = ["processes", "max_faults", "trace", "lost"])]
    pub groups: bool,
    /// Instead of seeds one group of that many files, three of which are bad: one run for each effect, after which the process is
    /// killed
    #[arg(long, requires = "groups", conflicts_with_all = ["seed", "seeds", "faults", "every_move"])]
    pub kill_everywhere: bool,
    /// Print what happened, line by line (one seed)
    #[arg(long)]
    pub trace: bool,
    /// Show a violation as it was found, without searching for a shorter run
    #[arg(long)]
    pub no_shrink: bool,
    /// Also fail if the seeds together did not take every row of the transition table that seeds come to
    #[arg(long)]
    pub every_move: bool,
    /// List the kinds of faults
    #[arg(long)]
    pub kinds: bool,
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl SimulateArgs {
    fn run(&self, options: &RunOptions) -> Outcome {
        if self.groups {
            return run_grouped(options.seed, options.events, options.faults, &Wiring::default());
        }
        match self.lost {
            Some(lost) => run_swept(options.seed, options.events, lost, options.faults, &Wiring::default()),
            None => run(options, &Wiring::default(), false),
        }
    }

    fn options(&self, seed: u64) -> RunOptions {
        RunOptions {
            seed,
            events: count(self.events),
            faults: self.faults,
            processes: count(self.processes),
            max_faults: self.max_faults,
        }
    }
}

/// Moves that ten thousand seeds may not come to; the tests of the decisions take each row. A job that comes to light while
/// its attempt waits after a later refusal must have been made by a lost request, be hidden from every search until its request
/// was sent again, and have written nothing until then. Who orders that a result is published while it is being published must come
/// between two looks, and who cancels a group between its row and its copies.
const RARE: [(Status, Event); 3] = [
    (Status::Queued, Event::Accepted),
    (Status::Verifying, Event::PublishOrdered),
    (Status::Staging, Event::Withdrawn),
];

/// A move that only groups and their members make.
fn is_of_groups(from: Status, event: Event, to: Status) -> bool {
    let of_groups = |status| matches!(status, Status::Grouped | Status::Staging);
    of_groups(from) || of_groups(to) || event == Event::Emptied
}

/// What many runs met, added up.
#[derive(Debug, Clone, Default)]
pub struct Total {
    /// How many runs were added.
    pub runs: u64,
    /// Scorings in the ledgers at the ends of the runs.
    pub scorings: u64,
    /// Writes to tables, requests and requests to stop.
    pub effects: u64,
    /// Requests for jobs that were sent to the endpoint.
    pub posts: u64,
    /// Jobs that the endpoint made of them.
    pub jobs: u64,
    /// Faults that the dice dealt out.
    pub injected_faults: u64,
    /// How often each row of [`TRANSITIONS`] was taken.
    pub taken: Vec<u64>,
}

impl Total {
    /// Adds what one run met.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.scorings += outcome.scorings as u64;
        self.effects += outcome.effects;
        self.posts += outcome.posts;
        self.jobs += outcome.jobs as u64;
        self.injected_faults += outcome.injected_faults;
        self.taken.resize(TRANSITIONS.len(), 0);
        for (sum, taken) in self.taken.iter_mut().zip(&outcome.taken) {
            *sum += taken;
        }
    }

    /// Rows of the transition table that no run took, for people.
    pub fn not_taken(&self) -> Vec<String> {
        let rows = TRANSITIONS.iter().zip(&self.taken).filter(|(_, taken)| **taken == 0);
        rows.map(|((from, event, to), _)| format!("{from} → {to} by {}", event.name())).collect()
    }

    /// Whether every move was made that [`RARE`] does not name: of groups, or of all that is none. Of what may come in every status and changes none, once is
    /// enough: what matters is what follows for the job, and not where the scoring stood.
    pub fn made_every_move(&self, of_groups: bool) -> bool {
        let was_taken = |event| TRANSITIONS.iter().zip(&self.taken).any(|(row, taken)| row.1 == event && *taken > 0);
        TRANSITIONS.iter().zip(&self.taken).all(|((from, event, to), taken)| {
            *taken > 0
                || is_of_groups(*from, *event, *to) != of_groups
                || event.comes_in_every_status() && was_taken(*event)
                || RARE.contains(&(*from, *event))
        })
    }
}

/// Runs the command; returns its exit code.
pub fn simulate(args: &SimulateArgs, out: &mut dyn Write) -> io::Result<u8> {
    if args.kinds {
        for kind in Kind::ALL {
            writeln!(out, "{:<16} {}", kind.name(), kind.sentence())?;
        }
        return Ok(NO_VIOLATION);
    }
    if args.kill_everywhere {
        return kill_everywhere(count(args.events), out);
    }
    if args.trace && args.seeds == 1 {
        return trace(&args.options(args.seed), out);
    }
    let begun = Instant::now();
    let (total, broken) = many(args);
    let took = begun.elapsed();
    report(&total, took, args.faults, out)?;
    let Some((options, outcome)) = broken else {
        writeln!(out, "0 violations")?;
        return Ok(if args.every_move && !total.made_every_move(args.groups) { VIOLATION } else { NO_VIOLATION });
    };
    let found = outcome.violation.as_ref().map_or("", |violation| violation.what.as_str());
    let of = match args.lost {
        Some(lost) => Some(format!("with {lost} of a thousand events lost")),
        None => args.groups.then(|| "with groups".to_owned()),
    };
    if let Some(of) = of {
        let Outcome { trace, .. } = &outcome;
        writeln!(out, "\nseed {} {of} violates an invariant: {found}", options.seed)?;
        trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        return Ok(VIOLATION);
    }
    writeln!(out, "\nseed {} violates an invariant: {found}\n  {}", options.seed, options.command())?;
    let shortest = if args.no_shrink { options } else { shrink::shrink(&options, &Wiring::default()) };
    print_trace(&shortest, out)?;
    Ok(VIOLATION)
}

/// Kills after each effect of what becomes of a group with bad files.
fn kill_everywhere(files: usize, out: &mut dyn Write) -> io::Result<u8> {
    let begun = Instant::now();
    let SweepResult { end, kills, jobs: (undisturbed, most), failures } =
        sweep(&Scenario::group_with_bad_files(files, BAD_FILES.min(files)), &Wiring::default());
    let mut ends = BTreeMap::<&str, usize>::new();
    for status in end.values() {
        *ends.entry(status).or_default() += 1;
    }
    let took = begun.elapsed().as_secs_f64();
    writeln!(
        out,
        "{files} files in one group: {kills} kills, one after each effect, in {took:.0} s; {ends:?} after each; {undisturbed} jobs without a kill, {most} at most with one"
    )?;
    let Some((after, what, trace)) = failures.first() else {
        writeln!(out, "0 violations")?;
        return Ok(NO_VIOLATION);
    };
    writeln!(out, "\nkilled after effect {after}: {what}")?;
    trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(VIOLATION)
}

/// Runs one seed and tells its story.
fn trace(options: &RunOptions, out: &mut dyn Write) -> io::Result<u8> {
    let outcome = run(options, &Wiring::default(), true);
    for line in &outcome.trace {
        writeln!(out, "{line}")?;
    }
    for (name, end) in &outcome.ends {
        writeln!(out, "{name}: {end}")?;
    }
    match &outcome.violation {
        None => {
            writeln!(out, "0 violations")?;
            Ok(NO_VIOLATION)
        }
        Some(violation) => {
            writeln!(out, "VIOLATED ({}): {}", violation.invariant, violation.what)?;
            Ok(VIOLATION)
        }
    }
}

/// Lines of a story that a report shows; the middle of a longer one is left out.
const LINES: usize = 80;

/// Tells the story of a run that breaks a promise, and how to repeat it.
pub fn print_trace(options: &RunOptions, out: &mut dyn Write) -> io::Result<()> {
    let outcome = run(options, &Wiring::default(), true);
    let left_out = outcome.trace.len().saturating_sub(LINES);
    writeln!(out, "\nthe shortest run found that violates it:\n  {} --trace\n", options.command())?;
    for (number, line) in outcome.trace.iter().enumerate() {
        if left_out > 0 && number == LINES / 3 {
            writeln!(out, "           … {left_out} lines are left out")?;
        }
        if left_out == 0 || !(LINES / 3..LINES / 3 + left_out).contains(&number) {
            writeln!(out, "{line}")?;
        }
    }
    if let Some(violation) = &outcome.violation {
        writeln!(out, "VIOLATED ({}): {}", violation.invariant, violation.what)?;
    }
    Ok(())
}

/// Runs all seeds on all cores. The broken one with the lowest seed, if there is one; what is behind it need not have run.
fn many(args: &SimulateArgs) -> (Total, Option<(RunOptions, Outcome)>) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (total, broken) = (Mutex::new(Total::default()), Mutex::new(None::<(RunOptions, Outcome)>));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= args.seeds {
                return;
            }
            let options = args.options(args.seed.wrapping_add(number));
            let outcome = args.run(&options);
            total.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(&outcome);
            if outcome.violation.is_some() {
                stop.store(true, Ordering::Relaxed);
                let mut broken = broken.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if broken.as_ref().is_none_or(|(first, _)| options.seed < first.seed) {
                    *broken = Some((options, outcome));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    (total, broken.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn report(total: &Total, took: Duration, faults: Faults, out: &mut dyn Write) -> io::Result<()> {
    let Total { runs, scorings, effects, posts, jobs, injected_faults, .. } = total;
    let seconds = took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = *runs as f64 / seconds.max(0.001);
    writeln!(out, "{runs} seeds in {seconds:.1} s ({rate:.0} a second), faults: {faults}")?;
    writeln!(
        out,
        "{scorings} scorings, {effects} effects, {posts} requests to the endpoint, {jobs} jobs, {injected_faults} injected faults"
    )?;
    let rows = TRANSITIONS.len();
    let not_taken = total.not_taken();
    write!(out, "{} of {rows} rows of the transition table taken", rows - not_taken.len())?;
    if not_taken.is_empty() {
        return writeln!(out);
    }
    // A line each: there are dozens after a few seeds.
    writeln!(out, "; {} not taken:", not_taken.len())?;
    not_taken.iter().try_for_each(|row| writeln!(out, "  {row}"))
}
