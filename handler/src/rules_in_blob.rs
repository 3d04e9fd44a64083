//! The app under its rules as they are now: rules that lie in a blob change while the process lives.
//!
//! The blob is asked when an invocation comes and the last answer is older than the interval: one small request. Another
//! version that is good makes another [`App`] over the same ledger and clients; whoever has begun with the one before ends with it,
//! so that each delivery is decided by one version. One that is broken changes nothing, and neither does a blob that cannot be
//! read: the last good rules stay, and the problem is told in the log and in the ledger until it is gone. Before any were read,
//! invocations are refused, so that events are delivered again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use app::ledger::{Ledger, RulesProblem};
use app::ports::{Clock, Inconclusive};
use app::{App, Parts, error_chain};
use azure::small_blob::{BlobRead, SmallBlob};
use lifecycle::Rules;
use lifecycle::rule::{Allowed, Problems};
use lifecycle::text::one_line;
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::functions::Failure;

mod outputs;
pub use self::outputs::{BadOutput, Outputs};

/// How long an invocation waits for the blob when there are rules to go on with.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits for the first ones. Event Grid waits for 30 s.
const FIRST: Duration = Duration::from_secs(15);
/// Before the first good rules the blob is asked so often at most.
const AGAIN: time::Duration = time::Duration::seconds(5);
/// A problem that lasts is written so often: one that nobody writes any more has ended with its process.
const RECORD: time::Duration = time::Duration::minutes(1);

/// Characters of a problem that are told; `scorekeeper rules check` tells all of it.
const MAX_TOLD: usize = 2_000;

/// The app of an invocation. Cheap to clone.
#[derive(Clone)]
pub enum CurrentApp {
    /// Its rules last as long as the process.
    Fixed(Arc<App>),
    /// Its rules lie in a blob.
    InBlob(Arc<InBlob>),
}

impl From<App> for CurrentApp {
    fn from(app: App) -> Self {
        Self::Fixed(Arc::new(app))
    }
}

impl CurrentApp {
    /// Over these parts, whose rules are those of the blob.
    pub fn in_blob(
        parts: Parts,
        (blob, allowed, outputs): (SmallBlob, Allowed, Outputs),
        interval: time::Duration,
    ) -> Self {
        let clock = Clock::clone(&parts.clock);
        let (known, asking) = (Mutex::default(), tokio::sync::Mutex::default());
        Self::InBlob(Arc::new(InBlob { parts, blob, allowed, outputs, interval, clock, known, asking }))
    }

    /// The ledger, whatever the rules are.
    pub fn ledger(&self) -> &Ledger {
        match self {
            Self::Fixed(app) => app.ledger(),
            Self::InBlob(it) => &it.parts.ledger,
        }
    }

    /// The time, by the clock that the app was made with.
    pub fn now(&self) -> OffsetDateTime {
        match self {
            Self::Fixed(app) => app.now(),
            Self::InBlob(it) => (it.clock)(),
        }
    }

    /// The app under the rules that hold at `now`. An error if no good rules were ever read: deliver again.
    pub async fn get(&self, now: OffsetDateTime) -> Result<App, Failure> {
        match self {
            Self::Fixed(app) => Ok(App::clone(app)),
            Self::InBlob(it) => Arc::clone(it).get(now).await,
        }
    }
}

/// The app whose rules lie in a blob.
pub struct InBlob {
    parts: Parts,
    blob: SmallBlob,
    allowed: Allowed,
    outputs: Outputs,
    interval: time::Duration,
    clock: Clock,
    known: Mutex<RulesBlobState>,
    /// One at a time asks the blob.
    asking: tokio::sync::Mutex<()>,
}

/// What is known of the blob.
#[derive(Default)]
struct RulesBlobState {
    /// Under the last good rules, and their ETag.
    good: Option<(App, String)>,
    /// ETag of the version that was read last, good or not.
    etag: Option<String>,
    /// When the blob was asked last.
    asked: Option<OffsetDateTime>,
    /// What is wrong with the version that was read last.
    broken: Option<String>,
    /// Why it could not be read when it was asked last.
    unread: Option<String>,
    /// The problem that was told last, and when it was recorded.
    told: Option<(String, OffsetDateTime)>,
}

impl RulesBlobState {
    fn problem(&self) -> Option<&String> {
        self.unread.as_ref().or(self.broken.as_ref())
    }
}

impl InBlob {
    fn known(&self) -> MutexGuard<'_, RulesBlobState> {
        // Nobody panics with it in hand.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self, now: OffsetDateTime) -> bool {
        let known = self.known();
        let interval = if known.good.is_some() { self.interval } else { self.interval.min(AGAIN) };
        // Asked later than now is: the clock was set back, or somebody has asked since.
        known.asked.is_none_or(|asked| now - asked >= interval || asked - now > time::Duration::HOUR)
    }

    async fn get(self: Arc<Self>, now: OffsetDateTime) -> Result<App, Failure> {
        if self.is_due(now) {
            let patience = if self.known().good.is_some() { PATIENCE } else { FIRST };
            // A task of its own: the invocation may be given up, and what was read counts for the next one.
            let asking = tokio::spawn(Arc::clone(&self).ask(now));
            let _ = timeout(patience, asking).await;
        }
        let known = self.known();
        if let Some((app, _)) = &known.good {
            return Ok(app.clone());
        }
        let why = known.problem().cloned().unwrap_or_else(|| format!("{} was not read in time", self.blob.url()));
        Err(Failure { kind: "NoRules", message: format!("there are no rules yet, deliver it again: {why}") })
    }

    async fn ask(self: Arc<Self>, now: OffsetDateTime) {
        let _one = self.asking.lock().await;
        if !self.is_due(now) {
            return;
        }
        let asked = (self.clock)();
        let etag = self.known().etag.clone();
        // Not with what invocations ask for in hand: a large file with many problems takes a while.
        let answer = self.version(etag.as_deref()).await;
        let is_first = {
            let mut known = self.known();
            known.asked = Some(asked);
            known.unread = answer.as_ref().err().map(ToString::to_string);
            match answer {
                Ok(Some((etag, rules))) => self.take(&mut known, etag, rules),
                Ok(None) | Err(_) => false,
            }
        };
        self.tell(asked, is_first).await;
    }

    /// What the blob holds now; `None`: the version that is known. A version is taken only once all of it was looked at.
    async fn version(&self, known: Option<&str>) -> Result<Option<(String, Result<Rules, Broken>)>, Unread> {
        let BlobRead::Version { etag, bytes } = self.blob.read(known).await? else { return Ok(None) };
        let rules = match read(&bytes, &self.allowed) {
            Ok(rules) => rules,
            Err(broken) => return Ok(Some((etag, Err(broken)))),
        };
        let bad = self.outputs.bad(&rules, &self.allowed).await?;
        Ok(Some((etag, if bad.is_empty() { Ok(rules) } else { Err(Broken::Outputs(bad)) })))
    }

    /// Goes on with another version if it is good. Returns whether it is the first good one.
    fn take(&self, known: &mut RulesBlobState, etag: String, rules: Result<Rules, Broken>) -> bool {
        let is_first = match rules {
            Ok(rules) => {
                let count = rules.iter().count();
                tracing::info!(etag, rules = count, "the rules of {} hold from now on", self.blob.url());
                for warning in rules.warnings() {
                    tracing::warn!("{warning}");
                }
                known.broken = None;
                let app = App::new(Parts { rules: rules.of_version(etag.trim_matches('"')), ..self.parts.clone() });
                known.good.replace((app, etag.clone())).is_none()
            }
            Err(broken) => {
                known.broken = Some(Look::Broken(etag.clone(), broken).to_string());
                false
            }
        };
        known.etag = Some(etag);
        is_first
    }

    /// Tells a problem that is new, that it lasts, or that it is gone.
    async fn tell(&self, now: OffsetDateTime, is_first: bool) {
        let ledger = &self.parts.ledger;
        let written = match self.news(now, is_first) {
            News::Problem(problem) => ledger.record_rules_problem(&problem).await,
            News::Gone => ledger.forget_rules_problem().await,
            News::None => return,
        };
        if let Err(error) = written {
            tracing::warn!(error = %error_chain(&error), "how the rules stand was not written into the ledger");
        }
    }

    /// What there is to tell: in the log once, in the ledger as long as it lasts.
    fn news(&self, now: OffsetDateTime, is_first: bool) -> News {
        let mut known = self.known();
        let told = known.told.take();
        let Some(text) = known.problem().cloned() else {
            if told.is_some() {
                tracing::info!("the rules of {} are good again", self.blob.url());
            }
            // One before this may have left its problem behind.
            return if told.is_some() || is_first { News::Gone } else { News::None };
        };
        let kept = known.good.as_ref().map(|(_, etag)| etag.clone());
        let last = told.filter(|(before, _)| *before == text).map(|(_, at)| at);
        if last.is_none() {
            let goes_on = kept.as_ref().map_or_else(
                || "every invocation is refused until then".to_owned(),
                |etag| format!("those of ETag {etag} are kept"),
            );
            tracing::error!("{}: {text}; {goes_on}", self.blob.url());
        }
        let recorded = last.filter(|at| now - *at < RECORD);
        known.told = Some((text.clone(), recorded.unwrap_or(now)));
        match recorded {
            Some(_) => News::None,
            None => News::Problem(RulesProblem { blob: self.blob.url().to_owned(), text, kept, since: now, at: now }),
        }
    }
}

/// What the ledger is told.
enum News {
    /// The rules are wrong, or cannot be read; told again as long as that lasts.
    Problem(RulesProblem),
    /// Nothing is wrong any more.
    Gone,
    /// Nothing that it does not know.
    None,
}

/// Why what a blob holds is no rules.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It is not UTF-8 from this byte on.
    #[error("it is not UTF-8 from its byte {0} on; save it as UTF-8")]
    NotUtf8(usize),
    /// All that is wrong, one line each.
    #[error(transparent)]
    Rules(#[from] Problems),
    /// Outputs that go where none may go, one line each.
    #[error("{}", lines(.0))]
    Outputs(Vec<BadOutput>),
}

fn lines(outputs: &[BadOutput]) -> String {
    outputs.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Why nothing can be said about the rules.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("the rules cannot be read: {}", error_chain(.0))]
    Blob(#[from] azure::small_blob::Error),
    #[error("which containers the rules' outputs go to cannot be told, and they may not be that of the rules: {}", error_chain(.0))]
    Outputs(#[from] Inconclusive),
}

/// The rules that a blob holds.
pub fn read(bytes: &[u8], allowed: &Allowed) -> Result<Rules, Broken> {
    let text = std::str::from_utf8(bytes).map_err(|why| Broken::NotUtf8(why.valid_up_to() + 1))?;
    Ok(Rules::read_allowed(text, allowed)?)
}

/// What a look at the blob shows, beside a process that lives by it.
pub enum Look {
    /// Good rules, and their ETag.
    Good(Rules, String),
    /// The ETag of what is there now, and why the app does not take it for rules.
    Broken(String, Broken),
    /// It could not be read.
    Unread(azure::small_blob::Error),
}

/// Looks at the blob, once.
pub async fn look(blob: &SmallBlob, allowed: &Allowed) -> Look {
    match blob.read(None).await {
        Ok(BlobRead::Version { etag, bytes }) => match read(&bytes, allowed) {
            Ok(rules) => Look::Good(rules.of_version(etag.trim_matches('"')), etag),
            Err(broken) => Look::Broken(etag, broken),
        },
        Ok(BlobRead::Unchanged) => Look::Unread(azure::small_blob::Error::Missing(blob.url().to_owned())),
        Err(error) => Look::Unread(error),
    }
}

impl std::fmt::Display for Look {
    /// For people: how it stands.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Good(rules, etag) => {
                let count = rules.iter().count();
                write!(f, "{count} {} of ETag {etag}", if count == 1 { "rule" } else { "rules" })
            }
            Self::Broken(etag, broken) => {
                let why = broken.to_string().replace('\n', "; ");
                write!(f, "the rules of ETag {etag} are broken: {}", one_line(&why, MAX_TOLD))
            }
            Self::Unread(error) => write!(f, "the rules cannot be read: {}", error_chain(error)),
        }
    }
}
