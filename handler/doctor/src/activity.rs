//! Signs of life in the ledger: the last event that was taken in, the last complete tick, and the one that is at work.

use lifecycle::schedule::is_ahead;
use time::{Duration, OffsetDateTime};

use crate::examination::Examination;
use crate::finding::{Check, Finding};
use crate::remedy::{ResourceId, shell};
use crate::subscription::QUEUE;
use app::ledger::{self, Ledger, RecordedEvent, Runs};
use app::ports::Inconclusive;
use app::ports::management::QueryError;

/// Events are looked for so far back.
const EVENTS: Duration = Duration::days(1);
/// Ticks come every minute. The alert `heartbeat` of the templates waits as long.
const TICKS: Duration = Duration::minutes(15);
/// Notes that are read of each kind.
const MAX_EVENTS: usize = 1_000;

impl Examination {
    /// What the ledger tells of events and ticks.
    pub(super) async fn activity(&self, ledger: &Ledger, now: OffsetDateTime) -> Vec<Finding> {
        let inconclusive = |error: ledger::Error| {
            QueryError::Inconclusive(Inconclusive::not_understood("the ledger cannot be read").caused_by(error))
        };
        let event = async { newest_event(ledger, now).await.map_err(inconclusive) };
        let tick = async { ledger.runs().await.map_err(inconclusive) };
        let (event, tick) = futures::join!(self.queries.in_time(event), self.queries.in_time(tick));
        let again = |check| {
            move |error: QueryError| {
                Finding::unknown(check, error.to_string(), "the right to read the ledger, and a quiet moment")
            }
        };
        let event = event.map_or_else(again(Check::LastEvent), |newest| self.judge_event(newest, now));
        let tick = tick.map_or_else(again(Check::LastRun), |runs| self.judge_run(&runs, now));
        vec![event, tick]
    }

    fn judge_event(&self, newest: Option<OffsetDateTime>, now: OffsetDateTime) -> Finding {
        let check = Check::LastEvent;
        if let Some(at) = newest {
            return Finding::ok(check, format!("the last one was taken in {} ago", ago(at, now)));
        }
        let rule = self.at.rules.iter().next().map(|rule| &rule.matches);
        let account = rule.and_then(|matches| matches.account.as_deref()).unwrap_or("ACCOUNT");
        let container = rule.map_or("CONTAINER", |matches| &matches.container);
        let path = rule.map_or("first".to_owned(), |matches| format!("{}first{}", matches.prefix, matches.suffix));
        let mut cause =
            "nothing was uploaded, or no event arrives; that they can is what delivery.* is about".to_owned();
        let mut remedy = format!(
            "upload one: az storage blob upload --auth-mode login --account-name {} --container-name {} --name {} --file FILE",
            shell(account),
            shell(container),
            shell(&path)
        );
        if self.at.switched_off.iter().any(|name| name == app::function_names::BLOB_CREATED) {
            let state = self.at.queue_account.as_deref().unwrap_or("STATE_ACCOUNT");
            cause += "; or messages were put into the queue that are not base64: those are poison within the second, and the app never sees them";
            remedy = format!(
                "{remedy}; az storage message peek --auth-mode login --account-name {} --queue-name {QUEUE}-poison shows poison. A host that dies gives its messages back after ten minutes",
                shell(state)
            );
        }
        Finding::warning(check, "none was taken in within the last 24 hours", cause, remedy)
    }

    fn judge_run(&self, runs: &Runs, now: OffsetDateTime) -> Finding {
        let check = Check::LastRun;
        let seen = match &runs.complete {
            // It says nothing of whether the app runs, and must not look as if it did.
            Some(heartbeat) if is_ahead(heartbeat.at, now) => {
                return Finding::fault(
                    check,
                    format!("the last complete one is said to begin at {}, which is yet to come", heartbeat.at),
                    "the clock of the app's machine or of this one was or is wrong",
                    "compare this machine's clock with another; a run by a right clock puts it right by itself"
                        .to_owned(),
                );
            }
            Some(heartbeat) if now - heartbeat.at <= TICKS => {
                let errors =
                    if heartbeat.errors == 0 { String::new() } else { format!(", with {} errors", heartbeat.errors) };
                let (age, release, in_flight) = (ago(heartbeat.at, now), &heartbeat.version, heartbeat.in_flight);
                return Finding::ok(check, format!("{age} ago by release {release}: {in_flight} in flight{errors}"));
            }
            Some(heartbeat) => format!("the last complete one was {} ago", ago(heartbeat.at, now)),
            None => "no reconcile run has ever completed".to_owned(),
        };
        // The timer fires, and a first run over a full queue takes minutes; more than that no run is allowed.
        if let Some(run) = runs.running(now).filter(|run| now - run.first <= TICKS) {
            let seen = format!("{seen}; one has been running for {}", ago(run.at, now));
            return Finding::unknown(check, seen, "its end: ask again in ten minutes");
        }
        let (cause, fix) = self.dead_timer(runs);
        let seen = match runs.unfinished() {
            Some(run) => format!(
                "{seen}; {} began since then and were not completed, the last one {} ago",
                run.count,
                ago(run.at, now)
            ),
            None => seen,
        };
        Finding::fault(check, seen, cause, fix)
    }

    /// Why runs do not complete, as far as can be told, and what is done about it.
    fn dead_timer(&self, runs: &Runs) -> (&'static str, String) {
        let off = self.at.switched_off.iter().any(|name| name == app::function_names::RECONCILE);
        let site = self.at.site.as_deref().and_then(ResourceId::read);
        let site = site.map_or("--resource-group GROUP --name APP".to_owned(), |site| {
            format!("{} --name {}", site.place(), shell(site.name))
        });
        let restart =
            format!("az functionapp restart {site}; then look at its log (infra/README.md, runbook heartbeat)");
        if off {
            let fix = format!(
                "az functionapp config appsettings delete {site} --setting-names AzureWebJobs_{}_Disabled, and app.disabledFunctions in the parameters",
                app::function_names::RECONCILE
            );
            ("the timer function is switched off by a setting", fix)
        } else if runs.unfinished().is_some() {
            let fix = "look at the app's log (infra/README.md, runbook heartbeat): each run that fails says why there";
            ("the timer fires, and runs fail or are ended before they are complete", fix.to_owned())
        } else if runs.complete.is_some() {
            ("the app does not run, or the timer does not fire", restart)
        } else {
            let fix = format!("wait a minute after a first deployment; else {restart}");
            ("the app has not been started yet, or its timer does not fire", fix)
        }
    }
}

/// How long ago, in a unit that says enough.
fn ago(at: OffsetDateTime, now: OffsetDateTime) -> String {
    match (now - at).whole_seconds().max(0) {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

/// When the newest event was taken in of which the ledger knows: a scoring, or one that was skipped or quarantined.
async fn newest_event(ledger: &Ledger, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, ledger::Error> {
    let since = now - EVENTS;
    // The first row that can be read: others are told of elsewhere.
    let (mut newest, mut index) = (None, ledger.newest(None, None, 1));
    while let Some(row) = index.next().await? {
        if let Ok(row) = row {
            newest = Some(row.created);
            break;
        }
    }
    for kind in [RecordedEvent::Skipped, RecordedEvent::Quarantined] {
        let seen = ledger.recorded_events(kind, since, MAX_EVENTS).await?;
        newest = newest.max(seen.iter().filter_map(|row| row.time("SeenTime")).max());
    }
    Ok(newest.filter(|at| *at >= since))
}
