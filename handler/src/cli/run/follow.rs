//! Follows scorings to their ends: each phase is a line when it begins.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use app::ledger::{Ledger, Received, Runs};
use app::ports::Clock;
use azure_core::Uuid;
use lifecycle::duration::utc_text;
use lifecycle::pending_order::StartOrder;
use lifecycle::start::StartKey;
use lifecycle::text::{one_line, visible};
use lifecycle::{Scoring, Status, UnversionedBlob};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::super::download::{self, Source, Target};
use super::super::ledger_command::{Here, opened_for};
use super::super::on_ledger::{self, ATTENTION, Access, OK};
use super::super::output;
use super::super::view::shortened;
use super::{CANCELLED, Error, GONE, NOT_ENDED, RunArgs, SUPERSEDED, made, worst};

/// Between two looks into the ledger.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// One blob on its way.
pub(super) struct Followed {
    pub(super) blob: UnversionedBlob,
    /// As it was told last.
    told: Option<(Status, u32)>,
    /// As it was seen last; none while there is no scoring.
    pub(super) scoring: Option<Scoring>,
    /// Why there will be none.
    refused: Option<String>,
}

impl Followed {
    pub(super) fn new(blob: UnversionedBlob) -> Self {
        Self { blob, told: None, scoring: None, refused: None }
    }

    pub(super) fn refuse(&mut self, why: String, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{}  refused: {}", self.name(), visible(&why))?;
        self.refused = Some(why);
        Ok(())
    }

    fn name(&self) -> String {
        shortened(&format!("{}/{}", self.blob.container, self.blob.path), 100)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.refused.is_some() || self.scoring.as_ref().is_some_and(|scoring| scoring.status.is_terminal())
    }

    /// Takes what is on record now, and tells a phase that has begun.
    pub(super) fn see(&mut self, scoring: Scoring, out: &mut dyn Write) -> std::io::Result<()> {
        let now = (scoring.status, scoring.attempt);
        if self.told != Some(now) {
            let what = phase(&scoring).map(|what| format!("  {}", visible(&what))).unwrap_or_default();
            writeln!(out, "{}  {}{what}", self.name(), scoring.status)?;
            out.flush()?;
            self.told = Some(now);
        }
        self.scoring = Some(scoring);
        Ok(())
    }

    /// How it ended, as an exit code.
    pub(super) fn code(&self) -> u8 {
        match self.scoring.as_ref().map(|scoring| scoring.status) {
            _ if self.refused.is_some() => ATTENTION,
            Some(Status::Scored) => OK,
            Some(Status::Cancelled) => CANCELLED,
            Some(Status::Gone) => GONE,
            Some(Status::Superseded) => SUPERSEDED,
            Some(Status::Failed) => ATTENTION,
            _ => NOT_ENDED,
        }
    }
}

/// What there is to say of a phase.
fn phase(scoring: &Scoring) -> Option<String> {
    match scoring.status {
        Status::Scored => Some(scoring.result_uris().map(|(_, uri)| uri).collect::<Vec<_>>().join("  ")),
        Status::Running => scoring.job.as_ref().map(|job| format!("job {}", job.name)),
        Status::Queued => scoring.last_error.as_deref().map(|error| one_line(error, 300)),
        status if status.is_terminal() => scoring.error.as_deref().map(|error| one_line(error, 1_000)),
        _ => None,
    }
}

/// Tells of what did not end in time, downloads what was scored, and says how it all ended.
pub(super) async fn end(
    args: &RunArgs,
    followed: &[Followed],
    source: impl FnOnce() -> Result<Source, on_ledger::Error>,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    for one in followed.iter().filter(|one| !one.has_ended()) {
        writeln!(out, "{}  did not come to its end in time", one.name())?;
    }
    let mut code = worst(followed.iter().map(Followed::code));
    let scored = followed.iter().filter_map(|one| one.scoring.clone());
    let scored: Vec<Scoring> = scored.filter(|scoring| scoring.status == Status::Scored).collect();
    if let Some(folder) = &args.download
        && !scored.is_empty()
    {
        let source = source()?;
        for scoring in &scored {
            // Of several each has a folder of its own, as all may be called alike.
            let name = if scored.len() > 1 { folder.join(scoring.id.as_str()) } else { folder.clone() };
            made(&name)?;
            let target = Target { path: name, overwrite: args.force };
            let downloaded = download::download(&source, std::slice::from_ref(scoring), &target, out).await;
            code = worst([code, downloaded.map_err(on_ledger::Error::from)?]);
        }
    }
    Ok(code)
}

/// A reconcile run comes every minute; where none has ended for so long nobody may be there to start what is ordered.
const OVERDUE_AFTER: time::Duration = time::Duration::minutes(10);

/// What there is to say of an app that may not be running.
fn asleep(runs: &Runs, now: OffsetDateTime) -> Option<String> {
    let is_old = |at: OffsetDateTime| now - at > OVERDUE_AFTER;
    let without = "without one nothing starts; `scorekeeper doctor` tells what keeps them away";
    match (&runs.complete, &runs.begun) {
        (_, Some(begun)) if begun.ended.is_none() && !is_old(begun.at) => None,
        (Some(last), _) => {
            is_old(last.at).then(|| format!("No reconcile run has ended since {} UTC: {without}.", utc_text(last.at)))
        }
        (None, _) => Some(format!("No reconcile run has ended yet: {without}.")),
    }
}

/// Leaves orders for the app of a ledger, and follows what becomes of them.
pub(super) async fn ordered(
    args: &RunArgs,
    blobs: &[UnversionedBlob],
    (cwd, clock): (&Path, &Clock),
    out: &mut dyn Write,
) -> Result<u8, super::super::Error> {
    let (settings, opened) = opened_for(&args.which, Access::Write, cwd, clock)?;
    let by = super::super::ledger_command::by(&opened).await;
    let begun = clock();
    let mut orders = Vec::new();
    for blob in blobs {
        orders.push(order(args, blob, &by, &opened.ledger, begun, out).await?);
    }
    if let Some(told) = asleep(&opened.ledger.runs().await.map_err(Error::from)?, begun) {
        writeln!(out, "{told}")?;
    }
    if !args.wait && args.download.is_none() {
        writeln!(
            out,
            "`scorekeeper wait BLOB` waits for the end; `scorekeeper explain BLOB` tells what became of it."
        )?;
        return Ok(OK);
    }
    let mut followed: Vec<Followed> = blobs.iter().cloned().map(Followed::new).collect();
    let until = Instant::now() + args.timeout.try_into().unwrap_or(Duration::ZERO);
    while followed.iter().any(|one| !one.has_ended()) && Instant::now() < until {
        for (one, key) in followed.iter_mut().zip(&orders).filter(|(one, _)| !one.has_ended()) {
            look(&opened.ledger, one, (args.rule.as_deref(), key), begun, out).await?;
        }
        if followed.iter().any(|one| !one.has_ended()) {
            tokio::time::sleep(PAUSE.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }
    let here = Here { ledger: &opened.ledger, place: &settings.ledger, by: &by, columns: None, clock };
    Ok(end(args, &followed, || output::source(&here), out).await?)
}

/// Leaves one order. Returns the digest by which its scoring is found.
async fn order(
    args: &RunArgs,
    blob: &UnversionedBlob,
    by: &str,
    ledger: &Ledger,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<String, Error> {
    let name = args.rule.clone().unwrap_or_default();
    let no_rule = || Error::NoSuchRule(name.clone(), "the rules".to_owned());
    let rule: lifecycle::RuleId = name.parse().map_err(|_| no_rule())?;
    // Unlike that of any other order.
    let key = StartKey::read(&Uuid::new_v4().simple().to_string()).map_err(|_| no_rule())?;
    let digest = key.digest(&rule);
    let start = StartOrder { rule, parameters: args.param.iter().cloned().collect(), again: args.again, key };
    app::order_start(ledger, blob.clone(), start, by, "scorekeeper run", now).await?;
    writeln!(
        out,
        "{}/{}  ordered: the next reconcile run starts it",
        shortened(&blob.container, 63),
        shortened(&blob.path, 100)
    )?;
    Ok(digest)
}

/// What became of an order until now.
async fn look(
    ledger: &Ledger,
    one: &mut Followed,
    (rule, key): (Option<&str>, &str),
    begun: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<(), Error> {
    if let Some((start, _)) = ledger.keyed_start(key).await? {
        if let Some((scoring, _)) = ledger.get(&start.scoring).await? {
            one.see(scoring, out)?;
        }
        return Ok(());
    }
    let received = ledger.received(&one.blob.container, &one.blob.path, 10).await?;
    let refused = received.iter().find_map(|row| match row {
        // Somebody else may have ordered the same blob under another rule.
        Received::Skipped(skip)
            if skip.at >= begun && skip.rule.as_deref() == rule && skip.reason.starts_with("started by ") =>
        {
            Some(skip.reason.clone())
        }
        _ => None,
    });
    match refused {
        Some(why) => Ok(one.refuse(why, out)?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::{LedgerId, Rules};

    #[test]
    fn that_no_reconcile_run_comes_is_told_and_one_under_way_is_waited_for() {
        use app::ledger::{BegunRun, Heartbeat};
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(9);
        let ago = |minutes: i64| now - time::Duration::minutes(minutes);
        let complete =
            |minutes: i64| Some(Heartbeat { at: ago(minutes), version: String::new(), in_flight: 0, errors: 0 });
        let begun = |minutes: i64, ended: Option<i64>| {
            let at = ago(minutes);
            Some(BegunRun { at, until: at, ended: ended.map(ago), first: at, count: 1 })
        };
        for (runs, told) in [
            (Runs::default(), Some("No reconcile run has ended yet")),
            (Runs { complete: complete(11), begun: None }, Some("since 1970-01-09 23:49:00 UTC")),
            (Runs { complete: complete(9), begun: None }, None),
            (Runs { complete: None, begun: begun(1, None) }, None),
            (Runs { complete: complete(60), begun: begun(2, None) }, None),
            // It died, or ends without being complete again and again.
            (Runs { complete: complete(60), begun: begun(20, None) }, Some("since 1970-01-09 23:00:00 UTC")),
            (Runs { complete: complete(60), begun: begun(2, Some(1)) }, Some("since 1970-01-09 23:00:00 UTC")),
        ] {
            let said = asleep(&runs, now);
            assert_eq!(said.is_some(), told.is_some(), "{runs:?}: {said:?}");
            assert!(told.is_none_or(|part| said.is_some_and(|said| said.contains(part))), "{runs:?}");
        }
    }

    #[test]
    fn each_end_has_an_exit_code_of_its_own_and_of_several_failure_counts_most() {
        let text = r#"{"rules":[{"id":"r","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        let rules = Rules::read(text).unwrap();
        let blob = UnversionedBlob::read("https://a.blob.core.windows.net/con/x.csv").unwrap();
        let version = blob.version("1").unwrap();
        let ledger = LedgerId::of_random([1; 16]);
        let scoring = Scoring::accept(&ledger, rules.get("r").unwrap(), version, OffsetDateTime::UNIX_EPOCH);
        let code = |status: Status| {
            let mut one = Followed::new(blob.clone());
            let mut out = Vec::new();
            for _ in 0..2 {
                one.see(Scoring { status, error: Some("why\nnot".to_owned()), ..scoring.clone() }, &mut out).unwrap();
            }
            let told = String::from_utf8(out).unwrap();
            assert_eq!(told.lines().count(), 1, "each phase once: {told}");
            assert!(told.starts_with(&format!("con/x.csv  {status}")), "{told}");
            one.code()
        };
        let codes = [
            (Status::Scored, 0),
            (Status::Failed, 1),
            (Status::Cancelled, 3),
            (Status::Gone, 4),
            (Status::Superseded, 5),
            (Status::Queued, 6),
            (Status::Running, 6),
            (Status::Verifying, 6),
        ];
        for (status, expected) in codes {
            assert_eq!(code(status), expected, "{status}");
        }
        let mut refused = Followed::new(blob.clone());
        refused.refuse("no rule".to_owned(), &mut Vec::new()).unwrap();
        assert!(refused.has_ended() && refused.code() == 1);
        assert_eq!((worst([0, 3, 1, 6]), worst([0, 3]), worst([])), (1, 3, 0));
    }
}
