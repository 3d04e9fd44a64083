//! The port through which the doctor looks, and the eyes that look through it: each thing once, a few at a time, and
//! never beyond the time that there is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use app::ports::Inconclusive;
use app::ports::management::{Audience, Cloud, QueryError, ResourceList};
use lifecycle::EndpointUri;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

/// Looks under way at one time.
const MAX_CONCURRENT_QUERIES: usize = 8;
/// One look, with all that is repeated within it.
const LOOK: Duration = Duration::from_secs(15);

type Memo<T> = Mutex<BTreeMap<String, Arc<OnceCell<Result<T, QueryError>>>>>;

/// Looks at each thing once, whoever asks and however often.
pub(super) struct CloudQueries {
    cloud: Arc<dyn Cloud>,
    permits: Semaphore,
    end: Instant,
    resources: Memo<Value>,
    lists: Memo<ResourceList>,
    containers: Memo<()>,
}

impl CloudQueries {
    /// Eyes that close after `time`.
    pub(super) fn new(cloud: Arc<dyn Cloud>, time: Duration) -> Self {
        Self {
            cloud,
            permits: Semaphore::new(MAX_CONCURRENT_QUERIES),
            end: Instant::now() + time,
            resources: Memo::default(),
            lists: Memo::default(),
            containers: Memo::default(),
        }
    }

    pub(super) async fn token(&self, audience: Audience) -> Result<(), QueryError> {
        self.in_time(async { self.cloud.token(audience).await.map_err(QueryError::from) }).await
    }

    pub(super) async fn resource(&self, id: &str, version: &str) -> Result<Value, QueryError> {
        once(&self.resources, id, self.in_time(self.cloud.resource(id, version))).await
    }

    pub(super) async fn list(
        &self,
        path: &str,
        version: &str,
        filter: Option<&str>,
        pages: usize,
    ) -> Result<ResourceList, QueryError> {
        let key = format!("{path}?{}", filter.unwrap_or_default());
        once(&self.lists, &key, self.in_time(self.cloud.list(path, version, filter, pages))).await
    }

    pub(super) async fn job(&self, endpoint: &EndpointUri, name: &str) -> Result<(), QueryError> {
        self.in_time(self.cloud.job(endpoint, name)).await
    }

    pub(super) async fn container(&self, url: &str) -> Result<(), QueryError> {
        once(&self.containers, url, self.in_time(self.cloud.container(url))).await
    }

    pub(super) fn clocks(&self) -> Vec<(String, time::Duration)> {
        self.cloud.clocks()
    }

    /// Runs something else that looks, within the same bounds.
    pub(super) async fn in_time<T>(&self, look: impl Future<Output = Result<T, QueryError>>) -> Result<T, QueryError> {
        let late = |_| QueryError::Inconclusive(Inconclusive::unfinished("the time of the whole examination is over"));
        let permit = tokio::time::timeout_at(self.end, self.permits.acquire()).await.map_err(late)?;
        // It is never closed; if it were, a look more at one time would do no harm.
        let _permit = permit.ok();
        let limit = Instant::now() + LOOK;
        match tokio::time::timeout_at(limit.min(self.end), look).await {
            Ok(answer) => answer,
            Err(_) if limit < self.end => {
                let text = format!("there was no answer within {} s", LOOK.as_secs());
                Err(QueryError::NoAnswer(Inconclusive::not_reachable(text)))
            }
            Err(elapsed) => Err(late(elapsed)),
        }
    }
}

async fn once<T: Clone>(
    memo: &Memo<T>,
    key: &str,
    look: impl Future<Output = Result<T, QueryError>>,
) -> Result<T, QueryError> {
    // Ids of Resource Manager are equal in any case.
    let key = key.to_ascii_lowercase();
    let cell = memo.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
    cell.get_or_init(|| look).await.clone()
}
