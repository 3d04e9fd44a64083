//! The sweep: what is listed in the rules' places is held against the ledger, so that a version whose event never came is scored.
//!
//! For each rule and place a row says how far it is swept. Whoever has claimed it lists page after page, and says so by
//! compare-and-swap; what of a page the ledger does not know goes through intake as an event does, and only then the page is done.
//! A version that the ledger knows costs one read. Nothing is submitted here: the ticks give what was found its turn.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration as StdDuration;

use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use lifecycle::listing::BlobPrefix;
use lifecycle::pending::Finder;
use lifecycle::sweep::{CLAIM, LedgerLookup, SweepCounts, SweptPlace};
use lifecycle::{BlobSnapshot, Rule, RuleId, Rules, StorageHosts};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::clock::LedgerClock;
use crate::driver::Services;
use crate::error::{Error, during, error_chain};
use crate::intake::Intake;
use crate::ledger::{self, Ledger};
use crate::ports::table_store::ETag;
use crate::ports::{Blobs, MAX_LISTED};

pub(crate) mod found;

use found::{FoundIntake, may_want};

/// Versions that are asked about at one time: fewer than the looks and scorings of an event or a tick.
const MAX_CONCURRENT: usize = 8;
/// Versions between two looks at the clock, the claim and the rate.
const CHUNK: usize = 100;
/// Requests a second that a process makes for sweeps, on the average of a chunk.
const MAX_REQUESTS_PER_SECOND: u32 = 200;
/// Requests of one run; the rest is left to the next.
const MAX_REQUESTS: u32 = 100_000;

/// Waits for so long: hosts give the machine's clock, simulations their own.
pub type Pause = Arc<dyn Fn(StdDuration) -> BoxFuture<'static, ()> + Send + Sync>;

/// Sweeps. One for each process.
pub(crate) struct Sweeper {
    ledger: Ledger,
    rules: Arc<Rules>,
    clock: LedgerClock,
    blobs: Arc<dyn Blobs>,
    storage_hosts: StorageHosts,
    retention: Duration,
    found: FoundIntake,
    /// Rules that were told of as not swept, once they were.
    told_not_swept: Mutex<Option<Vec<RuleId>>>,
}

/// What a run of sweeps did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepReport {
    /// Places that rules want swept.
    pub places: usize,
    /// Rules that want to be swept, and of which nobody says in which account.
    pub not_swept: usize,
    /// Sweeps that came to their end.
    pub ended: usize,
    /// Pages of listings that were worked through to their end.
    pub pages: u64,
    /// Blobs and folders on these pages, before any is left out by its name or age.
    pub listed: u64,
    /// Versions that were taken in, or left to wait for a look.
    pub found: u64,
    /// Versions that were recorded as skipped.
    pub skipped: u64,
    /// Versions that were listed and that the ledger could not take.
    pub unaccounted: u64,
    /// Places that could not be swept now.
    pub errors: usize,
    /// Requests to the storage and the ledger.
    pub requests: u32,
}

impl SweepReport {
    /// The one record in which the log says what sweeps find and miss: the alert reads it, as what the function answers reaches
    /// nobody.
    fn log(&self) {
        tracing::info!(
            places = self.places,
            ended = self.ended,
            listed = self.listed,
            found = self.found,
            skipped = self.skipped,
            unaccounted = self.unaccounted,
            not_swept = self.not_swept,
            errors = self.errors,
            "sweep run ended"
        );
    }
}

/// A place that this process works on, as long as its claim holds.
struct Claimed {
    place: SweptPlace,
    etag: ETag,
}

/// How work on a place goes on.
enum Then {
    /// The page is done: go on with the next one, with the place as it was written.
    On(Box<Claimed>),
    /// The sweep came to its end.
    Ended,
    /// There is no time left, or another process works on it.
    Stop,
}

impl Sweeper {
    pub(crate) fn new(
        ledger: &Ledger,
        rules: &Arc<Rules>,
        services: &Services,
        storage_hosts: StorageHosts,
        intake: &Intake,
        retention: Duration,
    ) -> Self {
        Self {
            ledger: ledger.clone(),
            rules: Arc::clone(rules),
            clock: services.clock.clone(),
            blobs: Arc::clone(&services.blobs),
            storage_hosts,
            retention,
            told_not_swept: Mutex::default(),
            found: FoundIntake {
                ledger: ledger.clone(),
                rules: Arc::clone(rules),
                blobs: Arc::clone(&services.blobs),
                intake: intake.clone(),
                by: Finder::Sweep,
                keeps_waiting: true,
            },
        }
    }

    /// What looks at listed versions.
    pub(crate) fn found(&self) -> FoundIntake {
        self.found.clone()
    }

    /// Hosts that places of rules may lie on.
    pub(crate) fn storage_hosts(&self) -> StorageHosts {
        self.storage_hosts.clone()
    }

    /// Sweeps what is due, the place first that was not worked on for the longest. Begins nothing new after `deadline`.
    pub(crate) async fn run(&self, deadline: OffsetDateTime, pause: &Pause) -> Result<SweepReport, Error> {
        let mut report = SweepReport::default();
        let places = self.places(&mut report).await?;
        report.places = places.len();
        for (rule, place, etag) in places {
            if self.clock.now() >= deadline || report.requests >= MAX_REQUESTS {
                break;
            }
            let swept = Box::pin(self.sweep(rule, place, etag, (deadline, pause), &mut report)).await;
            if let Err(error) = swept {
                report.errors += 1;
                tracing::warn!(rule = rule.id.as_str(), error = %error_chain(&error), "a sweep under rule {} made no progress", rule.id);
            }
        }
        report.log();
        Ok(report)
    }

    /// Every place that a rule wants swept, with its row, which is made where there is none.
    async fn places(&self, report: &mut SweepReport) -> Result<Vec<(&Rule, SweptPlace, ETag)>, Error> {
        let reading = || during("reading how far places are swept");
        let kept = self.ledger.swept_places().await.map_err(reading())?;
        report.requests += 1;
        for unreadable in &kept.unreadable {
            report.errors += 1;
            tracing::error!(error = %unreadable, "{unreadable}");
        }
        let not_swept = self.rules.not_swept(|rule| places_of(rule, &self.storage_hosts).is_empty());
        report.not_swept = not_swept.len();
        self.tell_not_swept(not_swept).await.map_err(reading())?;
        let (mut kept, mut places) = (kept.read, Vec::new());
        for rule in self.rules.iter().filter(|rule| rule.shadow_of.is_none() && rule.sweep.every().is_some()) {
            for place in places_of(rule, &self.storage_hosts) {
                let key = SweptPlace::key_of(&rule.id, &place);
                if let Some(at) = kept.iter().position(|(known, _)| known.key == key) {
                    let (known, etag) = kept.swap_remove(at);
                    places.push((rule, known, etag));
                    continue;
                }
                let new = SweptPlace::new(&rule.id, place, self.clock.now());
                report.requests += 1;
                if let Some(etag) = self.ledger.keep_swept_place(&new, None).await.map_err(reading())? {
                    places.push((rule, new, etag));
                }
            }
        }
        // Of a rule that is not there a row says nothing to anybody; of one in a process with older rules it would begin anew.
        for (gone, etag) in kept {
            if self.rules.get(&gone.rule).is_some() {
                self.ledger.forget_swept_place(&gone, &etag).await.map_err(reading())?;
            }
        }
        places.sort_by_key(|(_, place, _)| place.updated);
        Ok(places)
    }

    /// Keeps which rules are not swept, for `status`: once for each process, and when it is another list.
    async fn tell_not_swept(&self, rules: Vec<RuleId>) -> Result<(), ledger::Error> {
        if self.told_not_swept.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&rules) {
            return Ok(());
        }
        let before = self.ledger.not_swept().await?;
        if before.rules != rules {
            self.ledger.record_not_swept(&rules, &before, self.clock.now()).await?;
        }
        *self.told_not_swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(rules);
        Ok(())
    }

    async fn sweep(
        &self,
        rule: &Rule,
        place: SweptPlace,
        etag: ETag,
        (deadline, pause): (OffsetDateTime, &Pause),
        report: &mut SweepReport,
    ) -> Result<(), Error> {
        let Some(claimed) = place.claim(rule, self.retention, self.clock.now()) else { return Ok(()) };
        let Some(mut at_work) = self.keep(claimed, &etag, report).await? else { return Ok(()) };
        loop {
            match self.page(rule, at_work, (deadline, pause), report).await? {
                Then::On(next) => at_work = *next,
                Then::Ended => {
                    report.ended += 1;
                    return Ok(());
                }
                Then::Stop => return Ok(()),
            }
        }
    }

    /// `None`: somebody else has it.
    async fn keep(&self, place: SweptPlace, etag: &ETag, report: &mut SweepReport) -> Result<Option<Claimed>, Error> {
        report.requests += 1;
        let kept = self.ledger.keep_swept_place(&place, Some(etag)).await;
        Ok(kept.map_err(during("keeping how far a place is swept"))?.map(|etag| Claimed { place, etag }))
    }

    /// Lists one page and takes in what of it the ledger does not know.
    async fn page(
        &self,
        rule: &Rule,
        mut claimed: Claimed,
        (deadline, pause): (OffsetDateTime, &Pause),
        report: &mut SweepReport,
    ) -> Result<Then, Error> {
        if self.clock.now() >= deadline || report.requests >= MAX_REQUESTS {
            return self.leave(claimed, report).await;
        }
        let Some(sweep) = claimed.place.current.clone() else { return Ok(Then::Ended) };
        report.requests += 1;
        let page = match self.blobs.list(&claimed.place.place, sweep.cursor.as_deref(), MAX_LISTED).await {
            Ok(page) => page,
            Err(inconclusive) => {
                let unaccounted = claimed.place.unaccounted;
                return self.not_done(claimed, (&error_chain(&inconclusive), unaccounted), report).await;
            }
        };
        let now = self.clock.now();
        let mut seen = SweepCounts {
            pages: 1,
            listed: u64::try_from(page.blobs.len()).unwrap_or(u64::MAX),
            ..SweepCounts::default()
        };
        let mut asked = Vec::new();
        for (path, shown) in page.blobs {
            if shown.is_folder || !may_want(rule, &claimed.place.place, &path) {
                continue;
            }
            match sweep.asks_about(rule, &shown, now) {
                LedgerLookup::Yes => asked.push((path, shown)),
                LedgerLookup::TooYoung => seen.young += 1,
                LedgerLookup::TooOld => seen.older += 1,
            }
        }
        for chunk in asked.chunks(CHUNK) {
            let begun = self.clock.now();
            if begun >= deadline {
                // What of this page is in the ledger by now costs the next run one read each.
                return self.leave(claimed, report).await;
            }
            if claimed.place.claimed_until.is_none_or(|until| until - begun < CLAIM / 2) {
                let renewed = claimed.place.clone().renewed(begun);
                match self.keep(renewed, &claimed.etag, report).await? {
                    Some(kept) => claimed = kept,
                    None => return Ok(Then::Stop),
                }
            }
            match self.chunk(rule, &claimed.place.place, chunk).await {
                Ok((counts, requests)) => {
                    seen = seen.and(counts);
                    report.requests = report.requests.saturating_add(requests);
                    self.keep_to_rate(requests, begun, pause).await;
                }
                Err((error, unaccounted)) => {
                    report.unaccounted += unaccounted;
                    return self.not_done(claimed, (&error_chain(&error), unaccounted), report).await;
                }
            }
        }
        // Only now: all that is on it is in the ledger.
        let done = claimed.place.paged(rule, seen, page.next, self.clock.now());
        let is_last = done.current.is_none();
        let kept = self.keep(done, &claimed.etag, report).await?;
        report.pages += seen.pages;
        report.listed += seen.listed;
        report.found += seen.found;
        report.skipped += seen.skipped;
        Ok(match kept {
            None => Then::Stop,
            Some(_) if is_last => Then::Ended,
            Some(next) => Then::On(Box::new(next)),
        })
    }

    /// Asks the ledger about some versions. Fails if some of them are not in it then, after all were tried: with how many.
    async fn chunk(
        &self,
        rule: &Rule,
        place: &BlobPrefix,
        versions: &[(String, BlobSnapshot)],
    ) -> Result<(SweepCounts, u32), (Error, u64)> {
        let mut looks = stream::iter(0..versions.len())
            .map(|at| self.found.take_in(rule, place, &versions[at], self.clock.now()))
            .buffer_unordered(MAX_CONCURRENT);
        let (mut counts, mut requests) = (SweepCounts::default(), 0_u32);
        let (mut failure, mut unaccounted) = (None, 0);
        while let Some(one) = looks.next().await {
            match one {
                Ok((seen, asked)) => {
                    counts = counts.and(seen);
                    requests = requests.saturating_add(asked);
                }
                Err(error) => {
                    unaccounted += 1;
                    failure = failure.or(Some(error));
                }
            }
        }
        failure.map_or(Ok((counts, requests)), |failure| Err((failure, unaccounted)))
    }

    async fn keep_to_rate(&self, requests: u32, begun: OffsetDateTime, pause: &Pause) {
        let at_that_rate = StdDuration::from_secs(1) * requests / MAX_REQUESTS_PER_SECOND;
        let taken = (self.clock.now() - begun).max(Duration::ZERO).unsigned_abs();
        if let Some(left) = at_that_rate.checked_sub(taken).filter(|left| !left.is_zero()) {
            pause(left).await;
        }
    }

    async fn leave(&self, claimed: Claimed, report: &mut SweepReport) -> Result<Then, Error> {
        let left = claimed.place.left(self.clock.now());
        self.keep(left, &claimed.etag, report).await?;
        Ok(Then::Stop)
    }

    async fn not_done(
        &self,
        claimed: Claimed,
        (why, unaccounted): (&str, u64),
        report: &mut SweepReport,
    ) -> Result<Then, Error> {
        tracing::warn!(rule = claimed.place.rule.as_str(), place = %claimed.place.place, "{} could not be swept: {why}", claimed.place.place);
        report.errors += 1;
        let later = claimed.place.not_done(why, unaccounted, self.clock.now());
        self.keep(later, &claimed.etag, report).await?;
        Ok(Then::Stop)
    }
}

/// What is listed under a rule: of the account that it names, else of all that the settings name.
fn places_of(rule: &Rule, hosts: &StorageHosts) -> Vec<BlobPrefix> {
    places_below(rule, &rule.matches.prefix, hosts)
}

/// The same of a prefix of a rule's container.
pub(crate) fn places_below(rule: &Rule, prefix: &str, hosts: &StorageHosts) -> Vec<BlobPrefix> {
    let accounts = hosts.watched(rule.matches.account.as_ref());
    let place = |account: String| BlobPrefix::new(&account, &rule.matches.container, prefix).ok();
    accounts.into_iter().filter_map(place).collect()
}
