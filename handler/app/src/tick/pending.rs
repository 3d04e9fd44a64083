//! The part of a tick that looks at the storage: at blobs whose version an event did not tell, and for the files of folders
//! that were renamed.
//!
//! What is found is in the ledger before a row is changed or removed, and may be found again after a crash: a scoring's id
//! says that it is the same.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use lifecycle::pending_order::{OrderedOf, PendingOrder, StartOrder};
use lifecycle::start::StartRequest;
use lifecycle::{BlobPrefix, PendingFolder, PendingUpload, Rules, ScoringId};
use time::OffsetDateTime;

use super::report::{Counts, TickReport};
use crate::clock::LedgerClock;
use crate::driver::Driver;
use crate::error::{Error, during, error_chain};
use crate::intake::{AcceptedScoring, Intake, Outcome};
use crate::ledger::{Ledger, Pending};
use crate::ports::table_store::ETag;
use crate::ports::{BlobPage, Blobs, MAX_PAGE, with_index_tags};
use crate::starts::{StartError, Starts};

/// Looks under way at one time.
const MAX_CONCURRENT_LOOKS: usize = 16;
/// Rows that are due and kept of one tick; the rest is left to the next.
const MAX_DUE: usize = 10_000;
/// Pages of one folder that a tick lists before others have their turn.
const MAX_PAGES: usize = 20;

/// Looks at what is pending. One for each process.
pub(super) struct PendingLooks {
    pub(super) ledger: Ledger,
    pub(super) rules: Arc<Rules>,
    pub(super) clock: LedgerClock,
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) driver: Driver,
    pub(super) intake: Intake,
    pub(super) starts: Starts,
}

impl PendingLooks {
    /// Looks at all that is due. A failure is counted and stops nothing else.
    pub(super) async fn run(
        &self,
        now: OffsetDateTime,
        until: OffsetDateTime,
        counts: &Counts,
        report: &mut TickReport,
    ) {
        let due = match self.due(now, counts, report).await {
            Ok(due) => due,
            Err(error) => {
                counts.errors(1);
                counts.late();
                tracing::warn!(error = %error_chain(&error), "uploads whose version is not known cannot be read");
                return;
            }
        };
        let looks = stream::iter(due).map(async |(pending, etag)| {
            if self.clock.now() >= until {
                counts.late();
                return 0;
            }
            counts.due();
            let taken = match pending {
                Pending::Upload(upload) => Box::pin(self.look_at(upload, etag)).await,
                Pending::Folder(folder) => self.list(folder, etag, until, counts).await,
                Pending::Order(order) => Box::pin(self.do_order(order, etag)).await,
            };
            taken.unwrap_or_else(|error| {
                counts.errors(1);
                tracing::warn!(error = %error_chain(&error), "a pending upload made no progress");
                0
            })
        });
        report.taken_in = looks.buffer_unordered(MAX_CONCURRENT_LOOKS).fold(0, async |sum, taken| sum + taken).await;
    }

    async fn due(
        &self,
        now: OffsetDateTime,
        counts: &Counts,
        report: &mut TickReport,
    ) -> Result<Vec<(Pending, ETag)>, Error> {
        let (mut due, mut from) = (Vec::new(), None);
        loop {
            let page = self.ledger.pending_page(from.as_ref()).await;
            let (rows, next) = page.map_err(during("reading what is pending"))?;
            for row in rows {
                report.pending += 1;
                match row {
                    Ok((pending, etag)) if pending.is_due(now) && due.len() < MAX_DUE => due.push((pending, etag)),
                    Ok((pending, _)) if pending.is_due(now) => counts.late(),
                    Ok(_) => {}
                    Err(unreadable) => {
                        counts.errors(1);
                        tracing::error!(error = %unreadable, "{unreadable}");
                    }
                }
            }
            from = next;
            if from.is_none() {
                return Ok(due);
            }
        }
    }

    /// Looks at one blob. Returns how many scorings came of it.
    async fn look_at(&self, upload: PendingUpload, etag: ETag) -> Result<usize, Error> {
        let kept = Pending::Upload(upload.clone());
        let seen = self.intake.look(&upload.blob, self.rules.get(&upload.rule)).await;
        let now = self.clock.now();
        let event = upload.event.clone();
        let judgement = self.intake.judge(upload, seen.as_ref().map(Option::as_ref), now).await?;
        let mut outcome = Outcome::default();
        let again = self.intake.carry_out(judgement, event.as_deref(), now, &mut outcome).await?;
        let done = match again {
            Some(again) => self.ledger.replace_pending(&etag, &Pending::Upload(again)).await.map(drop),
            None => self.ledger.remove_pending(&etag, &kept).await,
        };
        // Its row can wait, a request on record cannot.
        let taken = self.send(outcome).await;
        done.map_err(during("keeping what became of a pending upload"))?;
        Ok(taken)
    }

    /// Does what an operator ordered. What came of it is in the ledger before its row is removed: whoever dies in between does it
    /// again, which changes nothing. Returns how many scorings came of it.
    async fn do_order(&self, order: PendingOrder, etag: ETag) -> Result<usize, Error> {
        let (kept, now) = (Pending::Order(order.clone()), self.clock.now());
        let mut outcome = Outcome::default();
        let left = match &order.of {
            OrderedOf::Replay => self.replay(&order, now, &mut outcome).await?,
            OrderedOf::Rescore(id) => self.rescore(&order, id, now, &mut outcome).await?,
            OrderedOf::Start(start) => self.start(&order, start, now, &mut outcome).await?,
        };
        let done = match left {
            Some(why) => {
                let later = Pending::Order(order.not_done(&why, now));
                self.ledger.replace_pending(&etag, &later).await.map(drop)
            }
            None => self.ledger.remove_pending(&etag, &kept).await,
        };
        let taken = self.send(outcome).await;
        done.map_err(during("keeping what became of an operator's order"))?;
        Ok(taken)
    }

    /// Takes in what is there now. `Some`: why it could not yet.
    async fn replay(
        &self,
        order: &PendingOrder,
        now: OffsetDateTime,
        outcome: &mut Outcome,
    ) -> Result<Option<String>, Error> {
        let uploads = match order.uploads(&self.rules, now) {
            Ok(uploads) => uploads,
            Err(skip) => {
                self.intake.skip(&skip, None, now, outcome).await?;
                return Ok(None);
            }
        };
        let seen = match self.blobs.blob(&order.blob).await {
            Ok(seen) => seen,
            Err(inconclusive) => return Ok(Some(error_chain(&inconclusive))),
        };
        for upload in uploads {
            let judgement = self.intake.judge(upload, Ok(seen.as_ref()), now).await?;
            if let Some(again) = self.intake.carry_out(judgement, None, now, outcome).await? {
                let kept = self.ledger.keep_pending(&Pending::Upload(again)).await;
                kept.map_err(during("keeping an upload that was replayed"))?;
            }
        }
        Ok(None)
    }

    /// Takes in the next generation of a scoring. `Some`: why it could not yet.
    async fn rescore(
        &self,
        order: &PendingOrder,
        id: &ScoringId,
        now: OffsetDateTime,
        outcome: &mut Outcome,
    ) -> Result<Option<String>, Error> {
        let reading = || during("reading what is to be scored again");
        let Some((scored, _)) = self.ledger.get(id).await.map_err(reading())? else { return Ok(None) };
        let Some(rule) = self.rules.get(&scored.rule) else {
            return Ok(Some(format!("rule `{}` is not in the rules any more; put it back", scored.rule)));
        };
        let ledger = self.ledger.id().await.map_err(reading())?;
        let (scoring, reason) = order.next_generation(ledger, &scored, rule, now);
        self.intake.accept_ordered(scoring, reason, now, outcome).await?;
        Ok(None)
    }

    /// Starts what somebody ordered. `Some`: why it could not yet.
    async fn start(
        &self,
        order: &PendingOrder,
        start: &StartOrder,
        now: OffsetDateTime,
        outcome: &mut Outcome,
    ) -> Result<Option<String>, Error> {
        let request = StartRequest::of_blob(&start.rule, &order.blob, start.parameters.clone(), start.again);
        match self.starts.start_at(&order.blob, &request, &start.key, &order.order).await {
            Ok((started, submissions)) => {
                submissions.send().await;
                if started.is_new {
                    let (id, rule) = (started.scoring.id.to_string(), started.scoring.rule.to_string());
                    outcome.accepted.accepted.push(AcceptedScoring { id, rule });
                }
                Ok(None)
            }
            Err(StartError::Refused(refused)) => {
                self.intake.skip(&order.refused(&start.rule, &refused.to_string()), None, now, outcome).await?;
                Ok(None)
            }
            Err(StartError::App(error)) => Err(error),
            Err(not_yet @ (StartError::NotYet(_) | StartError::NotLooked(_))) => Ok(Some(error_chain(&not_yet))),
        }
    }

    /// Takes in the files of a folder, page by page. Returns how many scorings came of it.
    async fn list(
        &self,
        mut folder: PendingFolder,
        mut etag: ETag,
        until: OffsetDateTime,
        counts: &Counts,
    ) -> Result<usize, Error> {
        let mut taken = 0;
        for _ in 0..MAX_PAGES {
            if self.clock.now() >= until {
                break;
            }
            let page = match BlobPrefix::below(&folder.folder) {
                Ok(below) => {
                    let page = self.blobs.list(&below, folder.cursor.as_deref(), MAX_PAGE).await;
                    page.map_err(|inconclusive| error_chain(&inconclusive))
                }
                Err(invalid) => Err(invalid.to_string()),
            };
            let page = match page {
                Ok(page) => page,
                Err(why) => {
                    let kept = Pending::Folder(folder.not_listed(&why, self.clock.now()));
                    let done = self.ledger.replace_pending(&etag, &kept).await;
                    done.map_err(during("keeping how far a renamed folder was listed"))?;
                    return Ok(taken);
                }
            };
            let files = u64::try_from(page.blobs.len()).unwrap_or(u64::MAX);
            let next = page.next.clone();
            taken += self.take_in(&folder, page).await?;
            let last = next.is_none();
            let listed = Pending::Folder(folder.clone().listed(files, next, self.clock.now()));
            if last {
                let done = self.ledger.remove_pending(&etag, &listed).await;
                done.map_err(during("removing a renamed folder that was listed"))?;
                return Ok(taken);
            }
            // Only now: a page whose files are not all in the ledger is listed again.
            let replaced = self.ledger.replace_pending(&etag, &listed).await;
            let (Some(now_etag), Pending::Folder(now_folder)) =
                (replaced.map_err(during("keeping how far a renamed folder was listed"))?, listed)
            else {
                // Another tick lists it.
                return Ok(taken);
            };
            (etag, folder) = (now_etag, now_folder);
        }
        counts.late();
        Ok(taken)
    }

    /// Takes in one page. Fails if a file of it could not be taken in, after all were tried.
    async fn take_in(&self, folder: &PendingFolder, page: BlobPage) -> Result<usize, Error> {
        let files = page.blobs.into_iter().filter(|(_, seen)| !seen.is_folder);
        let taken = stream::iter(files).map(async |(path, seen)| -> Result<usize, Error> {
            let now = self.clock.now();
            let mut outcome = Outcome::default();
            match folder.file(&path, &self.rules, now) {
                Err(skip) => self.intake.skip(&skip, None, now, &mut outcome).await?,
                Ok(uploads) => {
                    let asking = uploads.iter().filter_map(|upload| self.rules.get(&upload.rule));
                    let seen = match uploads.first() {
                        Some(upload) => with_index_tags(&*self.blobs, &upload.blob, seen, asking).await,
                        None => seen,
                    };
                    for upload in uploads {
                        let judgement = self.intake.judge(upload, Ok(Some(&seen)), now).await?;
                        if let Some(again) = self.intake.carry_out(judgement, None, now, &mut outcome).await? {
                            let kept = self.ledger.keep_pending(&Pending::Upload(again)).await;
                            kept.map_err(during("keeping a file of a renamed folder"))?;
                        }
                    }
                }
            }
            Ok(self.send(outcome).await)
        });
        let mut taken = taken.buffer_unordered(MAX_CONCURRENT_LOOKS);
        let (mut sum, mut failure) = (0, None);
        while let Some(one) = taken.next().await {
            match one {
                Ok(count) => sum += count,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(sum), Err)
    }

    /// Sends what found a free slot.
    async fn send(&self, outcome: Outcome) -> usize {
        for intent in outcome.intents {
            self.driver.carry_out(intent).await;
        }
        outcome.accepted.accepted.len()
    }
}
