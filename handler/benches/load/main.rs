//! The release binary under load, against a cloud in this process that answers at once: what the handler itself costs.
//!
//! Beside it runs a bare axum handler that does the same I/O without a thought; that is the limit. Client, fakes and
//! handlers share this machine, so events per second are of all of them together; processor time per event is the
//! handler's alone: the least of several rounds by turns, as other work on the machine only adds to it. Run it with
//! `cargo xtask bench`. It is no test: it fails for wrong counts, never for slowness.

#![expect(clippy::print_stdout, reason = "a bench talks to the person who runs it")]

mod bare;
mod drive;
mod fakes;
mod instructions;
mod process;
mod report;
#[path = "../upload.rs"]
mod upload;
mod wire;

use std::path::Path;
use std::time::{Duration, Instant};

use fakes::{Counts, Fakes, Request};
use process::{Cpu, Handler, Start};
use report::{Compared, Load, Memory, Report, Tick};

// The bare handler must not be slower than ours for its allocator.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The result of everything here; errors are for people.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long it is measured.
struct Effort {
    /// Processes started for the cold start.
    starts: usize,
    /// Load before anything is counted: connections, tokens, the allocator's first pages.
    warm_up: Duration,
    /// Ours and the bare handler take turns this often.
    rounds: usize,
    /// A turn.
    turn: Duration,
    /// Jobs in flight for the ticks; from 16,000 on a part has more than one page.
    in_flight: &'static [usize],
}

/// For figures.
const FULL: Effort = Effort {
    starts: 11,
    warm_up: Duration::from_secs(1),
    rounds: 5,
    turn: Duration::from_secs(3),
    in_flight: &[5_000, 20_000, 100_000],
};
/// For a first impression.
const QUICK: Effort = Effort { turn: Duration::from_secs(1), in_flight: &[5_000, 20_000], ..FULL };
/// For the counts alone, which are the same in any build and on any machine: what an event and a tick ask the cloud for.
const COUNTS: Effort = Effort {
    starts: 1,
    warm_up: Duration::from_millis(100),
    rounds: 1,
    turn: Duration::from_millis(300),
    in_flight: &[1_000, 17_000],
};
/// So many that no slot is ever refused.
const MANY_SLOTS: u32 = 1_000_000_000;

fn main() -> Outcome<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if let [role, port, requests] = words.as_slice()
        && role == bare::ROLE
    {
        let recorded = std::fs::read_to_string(requests)?;
        return runtime()?.block_on(bare::serve(port.parse()?, &recorded));
    }
    let mut flag = |name: &str| {
        let before = words.len();
        words.retain(|word| word != name);
        words.len() < before
    };
    // Cargo says `--bench` when it benches; `cargo test --benches` must not begin a minute of load.
    let (bench, json, quick, counts) = (flag("--bench"), flag("--json"), flag("--quick"), flag("--counts"));
    let instructions = flag("--instructions");
    let binary = match words.iter().position(|word| word == "--binary") {
        Some(at) if at + 1 < words.len() => words.drain(at..at + 2).next_back(),
        _ => None,
    };
    if let Some(word) = words.first() {
        return Err(format!(
            "unexpected argument `{word}`; there are --binary FILE, --counts, --instructions, --json and --quick"
        )
        .into());
    }
    if !bench {
        println!("no test: run it with `cargo xtask bench`");
        return Ok(());
    }
    let effort = if counts {
        COUNTS
    } else if quick {
        QUICK
    } else {
        FULL
    };
    let binary = binary.unwrap_or_else(|| process::SCOREKEEPER.to_owned());
    if instructions {
        let folder = tempfile::tempdir()?;
        println!("{}", runtime()?.block_on(instructions::compared(Path::new(&binary), folder.path()))?);
        return Ok(());
    }
    let report = runtime()?.block_on(measure(Path::new(&binary), &effort))?;
    if counts {
        println!("{}", report.counts());
        return Ok(());
    }
    println!("{}", if json { format!("{:#}", report.json()) } else { report.table() });
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

async fn measure(binary: &Path, effort: &Effort) -> Outcome<Report> {
    let folder = tempfile::tempdir()?;
    let fakes = Fakes::start().await?;
    let start = Start { binary, folder: folder.path(), fakes: &fakes, max_in_flight: None, log: None, counted: None };

    let (mut starts, mut first_events) = (Vec::new(), Vec::new());
    for _ in 0..effort.starts {
        let handler = start.ours()?;
        starts.push(handler.started_in);
        first_events.push(handler.started_in + drive::one_event(&handler).await?);
    }

    let unlimited = compared(&start, &[Request::Acceptance, Request::Submission, Request::Move], effort).await?;
    let (alone, batched) = delivered(&start, effort).await?;
    let slots = [Request::Write, Request::Acceptance, Request::Submission, Request::Move];
    let start = Start { max_in_flight: Some(MANY_SLOTS), ..start };
    let limited = compared(&start, &slots, effort).await?;

    let mut ticks = Vec::new();
    let start = Start { max_in_flight: None, ..start };
    for &count in effort.in_flight {
        fakes.fill(drive::index(count, &fakes.endpoint()));
        let handler = start.ours()?;
        ticks.push(tick(&handler, &fakes, count, true).await?);
        ticks.push(tick(&handler, &fakes, count, false).await?);
    }
    Ok(Report {
        binary: std::fs::metadata(binary)?.len(),
        cold_start: median(starts),
        first_event: median(first_events),
        rounds: effort.rounds,
        turn: effort.turn,
        unlimited,
        alone,
        batched,
        limited,
        ticks,
    })
}

/// Ours and the bare handler by turns; each event must cost exactly these requests.
async fn compared(start: &Start<'_>, requests: &[Request], effort: &Effort) -> Outcome<Compared> {
    let fakes = start.fakes;
    let ours = start.ours()?;
    let (idle, _) = ours.memory()?;
    drive::load(&ours, fakes, effort.warm_up).await?;
    let bare = start.bare(&bare::recorded(start, requests).await?)?;
    let (bare_idle, _) = bare.memory()?;
    drive::load(&bare, fakes, effort.warm_up).await?;

    let (mut of_ours, mut of_bare) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        for (handler, stretches) in [(&ours, &mut of_ours), (&bare, &mut of_bare)] {
            let stretch = drive::load(handler, fakes, effort.turn).await?;
            exactly(&stretch.counts, requests, stretch.events)?;
            stretches.push(stretch);
        }
    }
    Ok(Compared { ours: summed(&of_ours, &ours, idle)?, bare: summed(&of_bare, &bare, bare_idle)? })
}

/// Events of a delivery, as the templates have it by default.
const BATCH: usize = 50;

/// Processor time of an event that comes alone, one after the other, and of one in a delivery of [`BATCH`]; by turns.
async fn delivered(start: &Start<'_>, effort: &Effort) -> Outcome<(Cpu, Cpu)> {
    let requests = [Request::Acceptance, Request::Submission, Request::Move];
    let handler = start.ours()?;
    drive::load(&handler, start.fakes, effort.warm_up).await?;
    let (mut alone, mut batched) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        for (size, stretches) in [(1, &mut alone), (BATCH, &mut batched)] {
            let stretch = drive::deliveries(&handler, start.fakes, size, effort.turn).await?;
            exactly(&stretch.counts, &requests, stretch.events)?;
            stretches.push(stretch);
        }
    }
    Ok((least_cpu(&alone), least_cpu(&batched)))
}

/// Fails unless each event cost one of each of these requests, and nothing else. Once in 15 seconds, which is longer than a
/// stretch, a process reads the controls.
fn exactly(counts: &Counts, requests: &[Request], events: u64) -> Outcome<()> {
    let all = events * u64::try_from(requests.len())?;
    let controls = counts.of(Request::OtherPage);
    if controls <= 1 && counts.round_trips() == all + controls && requests.iter().all(|kind| counts.of(*kind) == events)
    {
        return Ok(());
    }
    Err(format!("{events} events should cost one {requests:?} each, and cost {}", counts.shown()).into())
}

fn summed(stretches: &[drive::Stretch], handler: &Handler, idle: u64) -> Outcome<Load> {
    let of = |value: fn(&drive::Stretch) -> Duration| median(stretches.iter().map(value).collect());
    let mut rates: Vec<_> = stretches.iter().map(|stretch| stretch.per_second).collect();
    rates.sort_by(f64::total_cmp);
    let (events, round_trips) = stretches
        .iter()
        .fold((0, 0), |(events, trips), stretch| (events + stretch.events, trips + stretch.counts.round_trips()));
    let (after, max) = handler.memory()?;
    Ok(Load {
        events,
        per_second: rates[rates.len() / 2],
        p50: of(|stretch| stretch.p50),
        p99: of(|stretch| stretch.p99),
        cpu: least_cpu(stretches),
        round_trips: f64::from(u32::try_from(round_trips)?) / f64::from(u32::try_from(events)?),
        memory: Memory { idle, after, max },
    })
}

/// Writes of a tick in which nothing changed, however many jobs there are: that it began, its sign of life, and once in a while how the
/// rules and endpoints stand.
const OF_EACH_TICK: u64 = 3;

/// One tick over so many running jobs that have not changed. The first of a process looks at each.
async fn tick(handler: &Handler, fakes: &Fakes, in_flight: usize, first: bool) -> Outcome<Tick> {
    let mut wire = drive::connect(handler.port).await?;
    let (counts, cpu, began) = (fakes.counts(), handler.cpu()?, Instant::now());
    let timer = r#"{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},"Metadata":{}}"#;
    let answer = drive::invoke(&mut wire, "Reconcile", timer).await?;
    let (took, cpu, counts) = (began.elapsed(), handler.cpu()?.since(cpu).total, fakes.counts().since(&counts));

    let report: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let told = |name: &str| report["ReturnValue"][name].as_u64();
    let parts = u64::from(app::ledger::IN_FLIGHT_PARTS);
    let count = u64::try_from(in_flight)?;
    let pages = (0..parts).map(|part| (count.saturating_sub(part)).div_ceil(parts).div_ceil(1_000).max(1)).sum();
    let looks = counts.of(Request::Look);
    let writes = counts.of(Request::Write) + counts.of(Request::Acceptance) + counts.of(Request::Move);
    let good = told("inFlight") == Some(count)
        && told("due") == Some(looks)
        && told("errors") == Some(0)
        && (!first || looks == count)
        && counts.of(Request::InFlightPage) == pages
        // The first tick of a ledger keeps how far a purge may go.
        && writes <= OF_EACH_TICK + u64::from(first);
    if !good {
        let expected =
            format!("{pages} pages of the index, a look at each due job, no error, and at most {OF_EACH_TICK} writes");
        return Err(
            format!("a tick over {in_flight} jobs should be {expected}; it was {}: {report}", counts.shown()).into()
        );
    }
    let memory = handler.memory()?.1;
    let other_pages = counts.of(Request::OtherPage);
    Ok(Tick { in_flight: count, first, took, cpu, pages, other_pages, looks, writes, memory })
}

fn least_cpu(stretches: &[drive::Stretch]) -> Cpu {
    Cpu { user: least(stretches, |stretch| stretch.cpu.user), total: least(stretches, |stretch| stretch.cpu.total) }
}

fn least(stretches: &[drive::Stretch], value: fn(&drive::Stretch) -> Duration) -> Duration {
    stretches.iter().map(value).min().unwrap_or_default()
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
