//! Resource Manager's list of a workspace's jobs, reduced to what a search among thousands needs.
//!
//! Nobody promises an order. Never: a list called whole whose end was not seen, unless it proved to be sorted.

use std::collections::HashSet;

use lifecycle::{Job, JobStatus};
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

/// A list of jobs.
#[derive(Debug)]
pub(super) struct List {
    /// When reading it began: jobs made later may be missing.
    pub(super) begun: OffsetDateTime,
    /// Jobs made before this may be missing.
    pub(super) from: OffsetDateTime,
    pub(super) jobs: Vec<Entry>,
    /// Nothing is missing that was made between the two.
    pub(super) complete: bool,
}

/// A job as the list shows it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Id and page in the studio are there only if there is a mark: of any other job a look tells them.
    pub(super) job: Job,
    pub(super) status: Option<JobStatus>,
    pub(super) experiment: Option<String>,
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
        Some(Self { job, status: listed.status(), experiment, created: listed.created(), tags })
    }

    fn bytes(&self) -> usize {
        let texts = [self.job.id.as_ref(), self.job.studio.as_ref(), self.experiment.as_ref()];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        size_of::<Self>() + self.job.name.len() + texts + self.tags.as_ref().map_or(0, JobTags::bytes)
    }
}

/// Lists all jobs of the workspace that were made since `from`, and those that do not say when. `begun` is now.
pub(super) async fn read(
    manager: &Client,
    begun: OffsetDateTime,
    workspace: &str,
    from: OffsetDateTime,
) -> Result<List, Inconclusive> {
    let end = Instant::now() + LIMIT;
    let mut seen = HashSet::new();
    let mut list = List { begun, from, jobs: Vec::new(), complete: false };
    let (mut next, mut before, mut sorted, mut descents, mut bytes) = (None, None, true, 0, 0);
    for _ in 0..MAX_PAGES {
        let Ok(page) = tokio::time::timeout_at(end, manager.jobs(workspace, next.as_ref())).await else { break };
        let page = page?;
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
