//! The world as one process reaches it: the app's ports, behind a network that loses things.
//!
//! Each call draws its fate from the dice. A request that was sent arrives, whatever became of its sender. Reads are
//! answered with what was true when they arrived, which may be a while before the caller goes on.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use async_trait::async_trait;
use lifecycle::{
    Answer, BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, Candidate, CopySource, InputSnapshot, JobSnapshot,
    OutputPrint, OutputSnapshot, PublicationMark, Published, PublishedBlob, Scoring, ScoringId, UnversionedBlob,
    WriteCondition,
};
use time::{Duration, OffsetDateTime};

use crate::arrivals;
use crate::cloud::Cloud;
use crate::faults::Kind;
use crate::world::{World, WorldState, at_once, scoring_of};
use app::ports::table_store::{Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore};
use app::ports::{
    Answered, BlobPage, Blobs, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, MAX_PAGE, NamedBy, PartPage,
    ScanTarget,
};
use stores::fault::Fault;

/// A client of the table gives up on a write after this.
const WRITE_TIMEOUT: Duration = Duration::seconds(30);

/// The world as one process reaches it.
#[derive(Clone)]
pub(super) struct ProcessPorts {
    pub(super) world: World,
    pub(super) process: usize,
}

/// What becomes of a read.
enum Reading {
    Answered(Duration),
    Away(Duration),
    Throttled(Duration),
}

/// What becomes of a write, and how long the ways there and back take.
struct Writing {
    fault: Fault,
    there: Duration,
    back: Duration,
}

impl ProcessPorts {
    pub(super) async fn sleep(&self, pause: Duration) {
        self.world.0.time.sleep(pause).await;
    }

    fn reading(&self) -> Reading {
        let at = self.world.0.time.elapsed();
        let mut state = self.world.state();
        let pause = state.pause();
        if state.dark(at) || state.dice.strikes(Kind::TableLost, 4) {
            return Reading::Away(pause);
        }
        if state.dice.strikes(Kind::TableThrottled, 3) {
            return Reading::Throttled(pause);
        }
        Reading::Answered(pause)
    }

    fn writing(&self) -> Writing {
        let at = self.world.0.time.elapsed();
        let mut state = self.world.state();
        let (there, back) = (state.pause(), state.pause());
        let fault = if state.dark(at) { Fault::NotSent } else { state.drawn_write() };
        Writing { fault, there, back }
    }

    async fn read<T>(&self, answer: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        match self.reading() {
            Reading::Answered(pause) => {
                let answer = answer();
                self.sleep(pause).await;
                answer
            }
            Reading::Away(pause) => {
                self.sleep(pause).await;
                Err(Error::Unavailable("the connection was refused".to_owned()))
            }
            Reading::Throttled(pause) => {
                self.sleep(pause).await;
                Err(Error::Throttled { retry_after: None })
            }
        }
    }

    fn lost(&self, scoring: Option<&ScoringId>, what: &str) -> Error {
        self.world.trace(Some(self.process), scoring, || format!("a write to the table: {what}"));
        Error::Ambiguous(what.to_owned())
    }

    /// Whether a look at the cloud works, after a while.
    pub(super) async fn looks(&self) -> Result<(), Inconclusive> {
        let (pause, why) = {
            let at = self.world.0.time.elapsed();
            let mut state = self.world.state();
            let why = if state.blind(at) {
                Some("403: no role yet")
            } else if state.dice.strikes(Kind::LookupFailed, 60) {
                Some(state.dice.stream(Kind::LookupFailed).pick(&["the connection was reset", "503: busy"]))
            } else {
                None
            };
            (state.pause(), why)
        };
        match why {
            None => Ok(()),
            Some(why) => {
                self.sleep(pause).await;
                Err(Inconclusive::not_reachable(why))
            }
        }
    }
}

#[async_trait]
impl TableStore for ProcessPorts {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.read(|| at_once(self.world.0.store.create_table(table))).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        self.read(|| at_once(self.world.0.store.get(table, key))).await
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        self.read(|| at_once(self.world.0.store.page_of(table, range, from, max))).await
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        let (process, id) = (self.process, scoring_of(ops));
        if can_be_refused(ops) && self.world.state().dice.strikes(Kind::TableRefused, 6) {
            self.sleep(Duration::ZERO).await;
            self.world.trace(Some(process), id.as_ref(), || "a write to the table is refused for good".to_owned());
            return Err(Error::Refused("a property is too long".to_owned()));
        }
        let apply = {
            let (table, ops) = (table.clone(), ops.to_vec());
            Box::new(move |world: &World| world.apply(process, &table, &ops))
        };
        let Writing { fault, there, back } = self.writing();
        match fault {
            Fault::NotSent => {
                self.sleep(Duration::ZERO).await;
                self.world.trace(Some(process), id.as_ref(), || "a write to the table could not be sent".to_owned());
                Err(Error::Unavailable("the connection was refused".to_owned()))
            }
            Fault::Throttled(retry_after) => {
                self.sleep(Duration::ZERO).await;
                Err(Error::Throttled { retry_after: retry_after.map(Duration::unsigned_abs) })
            }
            Fault::LostRequest => {
                self.sleep(there + back).await;
                Err(self.lost(id.as_ref(), "the request was lost"))
            }
            Fault::LostAnswer { .. } => match self.world.send(there, back, apply).await {
                Ok(_) => Err(self.lost(id.as_ref(), "it was done, its answer was lost")),
                Err(_) => Err(self.lost(id.as_ref(), "it was refused, its answer was lost")),
            },
            Fault::Duplicated { .. } => {
                let again = {
                    let (table, ops) = (table.clone(), ops.to_vec());
                    Box::new(move |world: &World| world.apply(process, &table, &ops))
                };
                // The first answer is dropped on the way.
                drop(self.world.send(there, Duration::ZERO, apply));
                self.world
                    .trace(Some(process), id.as_ref(), || "the network sends a write to the table twice".to_owned());
                self.world.send(there + Duration::MILLISECOND, back, again).await
            }
            Fault::Delayed(after) => {
                drop(self.world.send(after, Duration::ZERO, apply));
                self.sleep(WRITE_TIMEOUT).await;
                Err(self.lost(id.as_ref(), "no answer; it will arrive later"))
            }
            // The dice deal out neither of the two others to a write; conflicts come by themselves.
            Fault::Pass | Fault::Refused { .. } | Fault::Conflict => self.world.send(there, back, apply).await,
        }
    }
}

#[async_trait]
impl Endpoint for ProcessPorts {
    async fn submit(&self, scoring: &Scoring, timeout: std::time::Duration) -> Answered<Answer> {
        let timeout = Duration::try_from(timeout).unwrap_or(Duration::MINUTE);
        let process = self.process;
        let (fault, there, back) = {
            let (at, now) = (self.world.0.time.elapsed(), self.world.0.time.now());
            let mut state = self.world.state();
            state.posts += 1;
            let WorldState { invariants, cloud, behaviours, dice, trace, latest, .. } = &mut *state;
            invariants[self.world.installation(process)].sent(scoring, cloud, now);
            let fault = behaviours.submission(dice, scoring.submits > 1 || scoring.attempt > 1, *latest);
            let freezes = dice.strikes(Kind::Pauses, 40).then(|| dice.stream(Kind::Pauses).seconds(30, 1_800));
            trace.line(at, Some(process), Some(&scoring.id), || {
                format!("sends request {} of attempt {}; its fate: {fault:?}", scoring.submits, scoring.attempt)
            });
            state.frozen = freezes.map(|pause| (process, pause)).or(state.frozen);
            (fault, state.pause(), state.pause())
        };
        let reset = || Answer::Unknown { text: "the connection was reset".to_owned() };
        let (there, lost) = match &fault {
            Fault::LostRequest => {
                self.sleep((there + back).min(timeout)).await;
                return reset().into();
            }
            Fault::Delayed(after) => (*after, false),
            Fault::LostAnswer { .. } => (there, true),
            _ => (there, false),
        };
        let scoring = scoring.clone();
        *self.world.state().coming.entry((scoring.id.clone(), scoring.attempt)).or_default() += 1;
        let answer = self.world.send(there, back, Box::new(move |world| world.arrive(process, &scoring, &fault)));
        if there + back >= timeout {
            drop(answer);
            self.sleep(timeout).await;
            return Answer::Unknown { text: format!("no answer within {timeout}") }.into();
        }
        let answer = answer.await;
        if lost { reset().into() } else { answer.into() }
    }

    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        self.looks().await?;
        let (seen, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            let behind = if state.dice.strikes(Kind::LookupStale, 80) {
                state.dice.stream(Kind::LookupStale).seconds(5, 90)
            } else {
                Duration::ZERO
            };
            (state.cloud.look(&at.job.name, now, behind), state.pause())
        };
        self.sleep(pause).await;
        Ok(seen.into())
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        self.looks().await?;
        let (found, pause) = {
            let (at, now) = (self.world.0.time.elapsed(), self.world.0.time.now());
            let mut state = self.world.state();
            let (mut found, possible) = state.cloud.find(scoring, now);
            if found.is_empty() && possible.iter().all(|job| job.status.is_final()) {
                state.invariants[self.world.installation(self.process)].found_none(&scoring.id, now);
            }
            if found.len() > 1 && state.pace.chance(500) {
                found.reverse();
            }
            state.trace.line(at, Some(self.process), Some(&scoring.id), || {
                let names =
                    |of: &[Candidate]| of.iter().map(|one| one.job.name.as_str()).collect::<Vec<_>>().join(", ");
                format!("looks for jobs and finds [{}], perhaps [{}]", names(&found), names(&possible))
            });
            ((found, possible), state.pause())
        };
        self.sleep(pause).await;
        let (jobs, possible) = found;
        Ok(JobSearch { jobs, possible, as_of: None, request_id: None })
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<lifecycle::JobName>,
    ) -> Result<JobListing, Inconclusive> {
        self.looks().await?;
        let (listing, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            let mut jobs = state.cloud.jobs_created_since(&at.endpoint, since, known, now);
            // A list that is too long for one look.
            let complete = jobs.len() < 2 || !state.dice.strikes(Kind::LookupStale, 100);
            if !complete {
                jobs.truncate(1);
            }
            (JobListing { jobs, complete, elsewhere: Vec::new() }, state.pause())
        };
        self.sleep(pause).await;
        Ok(listing)
    }

    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        let (lost, there, back) = {
            let mut state = self.world.state();
            let lost = state.dice.strikes(Kind::LookupFailed, 100) || state.dice.strikes(Kind::SubmitDoubled, 600);
            // Lost before it arrives, or its answer is.
            (lost.then(|| state.dice.stream(Kind::LookupFailed).chance(500)), state.pause(), state.pause())
        };
        let inconclusive = || Err(Inconclusive::not_reachable("the connection was reset"));
        if lost == Some(true) {
            self.sleep(there + back).await;
            return inconclusive();
        }
        let (process, name) = (self.process, at.job.name.clone());
        let stop = move |world: &World| {
            let (at, now) = (world.0.time.elapsed(), world.0.time.now());
            let mut state = world.state();
            state.effect(process);
            state.trace.fold(at, process, 2_000);
            let WorldState { invariants, cloud, trace, .. } = &mut *state;
            invariants[world.installation(process)].stop_requested(&name, cloud);
            let id = cloud.owner(&name).map(|(id, _)| id);
            trace.line(at, Some(process), id.as_ref(), || format!("tells {name} to stop"));
            cloud.cancel(&name, now);
        };
        self.world.send(there, back, Box::new(stop)).await;
        if lost.is_some() { inconclusive() } else { Ok(().into()) }
    }
}

#[async_trait]
impl Blobs for ProcessPorts {
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive> {
        self.looks().await?;
        let (seen, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            (state.cloud.input(blob, now), state.pause())
        };
        self.sleep(pause).await;
        seen
    }

    async fn blob(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        self.looks().await?;
        let (seen, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            (state.cloud.blob(blob, now), state.pause())
        };
        self.sleep(pause).await;
        Ok(seen)
    }

    async fn index_tags(&self, blob: &UnversionedBlob, etag: &str) -> Result<BTreeMap<String, String>, Inconclusive> {
        self.looks().await?;
        let (tags, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            let refused =
                state.dice.strikes(Kind::IndexTags, 200).then(|| state.dice.stream(Kind::IndexTags).chance(500));
            let tags = match refused {
                Some(true) => Err(Inconclusive::not_allowed("no right to read index tags")),
                Some(false) => Err(Inconclusive::not_reachable("the answer with the index tags was lost")),
                None => state.cloud.index_tags(blob, etag, now),
            };
            (tags, state.pause())
        };
        self.sleep(pause).await;
        tags
    }

    async fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize) -> Result<BlobPage, Inconclusive> {
        self.looks().await?;
        let (page, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            let max =
                if state.small_lists { arrivals::page_size(state.dice.stream(Kind::Renames)).min(max) } else { max };
            (state.cloud.list(place, from, max, now), state.pause())
        };
        self.sleep(pause).await;
        Ok(page)
    }

    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        self.looks().await?;
        let Some(uri) = scoring.output_uri() else { return Err(Inconclusive::not_asked("the attempt has no output")) };
        let (seen, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            state.cloud.looked_at(uri);
            let seen = state.cloud.outputs(scoring, now);
            (seen, state.pause())
        };
        self.sleep(pause).await;
        seen.ok_or_else(|| Inconclusive::not_asked("the attempt has no output"))
    }

    async fn output_print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive> {
        self.looks().await?;
        let (print, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            let print = state.cloud.output_print(scoring, now);
            state.invariants[self.world.installation(self.process)].looked_at_path(scoring, print.is_some(), now);
            (print, state.pause())
        };
        self.sleep(pause).await;
        Ok(print)
    }

    async fn locate(&self, at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        Cloud::locate(at)
    }

    async fn published(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        self.looks().await?;
        let (seen, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            (state.cloud.published(at, now), state.pause())
        };
        self.sleep(pause).await;
        Ok(seen)
    }

    async fn parts(&self, folder: &BlobPlace, from: Option<&str>) -> Result<PartPage, Inconclusive> {
        self.looks().await?;
        let (page, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            (state.cloud.parts(folder, from, MAX_PAGE, now), state.pause())
        };
        self.sleep(pause).await;
        Ok(page)
    }

    async fn publish(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        let (source, place, condition, whose) = (source.clone(), to.clone(), condition.clone(), mark.clone());
        let overwritten = self.world.state().dice.strikes(Kind::OutputsOverwritten, 60);
        let copy = move |cloud: &mut Cloud, now| {
            if overwritten {
                cloud.overwrite(&source.at.uri, now);
            }
            cloud.publish(&source, &place, &condition, &whose, now)
        };
        self.write_blob(to, mark, Box::new(copy)).await
    }

    async fn write_manifest(
        &self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        let (place, condition, whose) = (to.clone(), condition.clone(), mark.clone());
        let write = move |cloud: &mut Cloud, now| cloud.write_manifest(&place, body, &condition, &whose, now);
        self.write_blob(to, mark, Box::new(write)).await
    }

    async fn remove(&self, at: &BlobPlace, etag: &str) -> Result<(), Inconclusive> {
        self.looks().await?;
        let pause = {
            let mut state = self.world.state();
            state.cloud.remove(at, etag);
            state.pause()
        };
        self.sleep(pause).await;
        Ok(())
    }

    async fn named_in_outputs(
        &self,
        scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        _by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        self.looks().await?;
        let (named, pause) = {
            let mut state = self.world.state();
            (state.cloud.named_in_outputs(scoring, ids), state.pause())
        };
        self.sleep(pause).await;
        Ok(named)
    }
}

/// A move that may be too large for a row. Not how a scoring ends by that, nor a new one that only waits: small rows fit.
fn can_be_refused(ops: &[Op]) -> bool {
    ops.iter().any(|op| match op {
        Op::Insert(row) => row.key.row.starts_with("J~") && row.string("State") == Some("submitting"),
        Op::Replace(row, _) => row.key.row.starts_with("J~") && row.string("State") != Some("failed"),
        _ => false,
    })
}
