//! Resource Manager's list of a workspace's jobs, reduced to what a search among thousands needs.
//!
//! Nobody promises an order. Never: a list called whole whose end was not seen, unless it proved to be sorted.

use std::collections::HashSet;

use lifecycle::{Job, JobStatus, ServiceRequestId};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use super::wire::{JobTags, Resource};
use crate::resource_manager::Client;
use app::ports::Inconclusive;

/// Pages of the list. Resource Manager gives some ten to a hundred jobs a page.
const MAX_PAGES: usize = 500;
/// What is kept of a list, in bytes: more jobs than those pages have, unless their names are absurd.
const MAX_BYTES: usize = 16 << 20;
/// Reading a list takes no longer: others wait for it.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(90);
/// The list is left early when it turned out to be sorted, newest first, and this much older than what is wanted.
const OLD_ENOUGH: Duration = Duration::hours(1);
/// Jobs in a row, each older than the one before, that show it to be sorted. Fewer could be chance.
const SORTED_BY: usize = 10;

/// The jobs of a workspace as they were listed at one time, shared by the searches that need them.
#[derive(Debug)]
pub(super) struct List {
    /// When reading it began: jobs made later may be missing.
    pub(super) begun: OffsetDateTime,
    /// Jobs made before this, by our clock, may be missing.
    pub(super) from: OffsetDateTime,
    pub(super) clock: ServiceClock,
    pub(super) jobs: Vec<Entry>,
    /// Nothing is missing that was made between the two.
    pub(super) complete: bool,
    /// The service's own id of its last page.
    pub(super) request_id: Option<ServiceRequestId>,
}

/// How far the service's clock is ahead of ours: the times of jobs are its own. Unknown if its answer had no `Date`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServiceClock(pub(super) Option<Duration>);

impl ServiceClock {
    /// Its time at a time of ours.
    pub(super) fn at(self, ours: OffsetDateTime) -> OffsetDateTime {
        ours + self.0.unwrap_or_default()
    }

    /// It may be off by so much from what [`Self::at`] says. The time of a submission is by the clock of another process, and
    /// perhaps of another day.
    pub(super) fn margin(self) -> Duration {
        if self.0.is_some() { Duration::minutes(5) } else { Duration::HOUR }
    }
}

/// A job as the list shows it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Id and page in the studio are there only if there is a mark: of any other job a look tells them.
    pub(super) job: Job,
    pub(super) status: Option<JobStatus>,
    pub(super) experiment: Option<String>,
    /// What batch endpoints make is a pipeline; nothing else can be ours.
    pub(super) is_pipeline: bool,
    pub(super) created: Option<OffsetDateTime>,
    pub(super) tags: Option<JobTags>,
}

impl Entry {
    fn of(listed: &Resource) -> Option<Self> {
        let tags = listed.tags();
        let job = listed.job().map(|job| match tags {
            Some(_) => job,
            None => Job { name: job.name, id: None, studio: None },
        })?;
        let experiment = listed.experiment().map(str::to_owned);
        let is_pipeline = listed.kind().is_none_or(|kind| kind.eq_ignore_ascii_case("Pipeline"));
        Some(Self { job, status: listed.status(), experiment, is_pipeline, created: listed.created(), tags })
    }

    fn bytes(&self) -> usize {
        let texts = [self.job.id.as_ref(), self.job.studio.as_ref(), self.experiment.as_ref()];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        size_of::<Self>() + self.job.name.len() + texts + self.tags.as_ref().map_or(0, JobTags::bytes)
    }
}

/// Lists all jobs of the workspace that were made since `from`, by our clock, and those that do not say when. `begun` is now.
pub(super) async fn read(
    manager: &Client,
    begun: OffsetDateTime,
    workspace: &str,
    from: OffsetDateTime,
) -> Result<List, Inconclusive> {
    let end = Instant::now() + LIMIT;
    let mut seen = HashSet::new();
    let mut list = List { begun, from, clock: ServiceClock(None), jobs: Vec::new(), complete: false, request_id: None };
    let mut since = None;
    let (mut next, mut before, mut sorted, mut descents, mut bytes) = (None, None, true, 0, 0);
    for _ in 0..MAX_PAGES {
        let Ok(page) = tokio::time::timeout_at(end, manager.jobs(workspace, next.as_ref())).await else { break };
        let page = page?;
        list.request_id.clone_from(&page.request_id);
        // By the first page: every page is held against the same time.
        let from = *since.get_or_insert_with(|| {
            list.clock = ServiceClock(page.date.map(|date| date - begun));
            list.clock.at(from) - list.clock.margin()
        });
        let mut newest = None;
        for job in page.jobs.into_iter().map(Resource::of) {
            if let Some(created) = job.created() {
                sorted &= before.is_none_or(|before| created <= before);
                descents += usize::from(before.is_some_and(|before| created < before));
                before = Some(created);
                newest = newest.max(Some(created));
                if created < from {
                    continue;
                }
            }
            // A page that shifts while others are read shows a job again; one job must not look like two.
            if let Some(entry) = Entry::of(&job).filter(|entry| seen.insert(entry.job.name.clone())) {
                bytes += entry.bytes();
                list.jobs.push(entry);
            }
        }
        let past = sorted && descents >= SORTED_BY && newest.is_some_and(|newest| newest < from - OLD_ENOUGH);
        next = page.next;
        if next.is_none() || past {
            list.complete = true;
            break;
        }
        if bytes > MAX_BYTES {
            break;
        }
    }
    Ok(list)
}

/// What a list that is not whole means for somebody who found nothing in it.
pub(super) fn too_many(list: &List) -> Inconclusive {
    Inconclusive::unfinished(format!(
        "the workspace lists more jobs than are looked through ({MAX_PAGES} pages or {} s; {} jobs since the submission \
         were seen); archive old jobs, or look for the output path in the studio and decide with `scorekeeper resolve`",
        LIMIT.as_secs(),
        list.jobs.len()
    ))
}
