//! Starts of scorings that somebody asks for who uploads nothing. They end where uploads end: in the intake and the one path.
//!
//! Nothing is waited for but the look at the blob and the record: whoever asks gets the scoring's id, and asks by that.

use std::sync::Arc;

use crate::clock::LedgerClock;
use crate::error::{Error, during};
use crate::intake::{Intake, Outcome, Submissions};
use crate::ledger::{KeptStart, KeyedStart, Ledger, Pending, Received};
use crate::own_outputs;
use crate::ports::table_store::ETag;

mod refused;

use lifecycle::pending::{Cause, Judgement};
use lifecycle::scoring::StartOf;
use lifecycle::start::{StartKey, StartRequest};
use lifecycle::{PendingUpload, Rule, Rules, Scoring, StorageHosts, UnversionedBlob};
pub use refused::{StartError, StartRefused};

/// Versions and generations of a blob that are looked through for the last generation.
const MAX_BESIDE: usize = 1_000;
/// Attempts against others who take a generation, or use a key, at the same time.
const MAX_TRIES: usize = 8;

/// Starts scorings. Cheap to clone.
#[derive(Clone)]
pub struct Starts {
    ledger: Ledger,
    rules: Arc<Rules>,
    storage_hosts: Arc<StorageHosts>,
    clock: LedgerClock,
    intake: Intake,
}

/// A scoring that a start became, or joined.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// As it is on record.
    pub scoring: Box<Scoring>,
    /// It was not there before.
    pub is_new: bool,
}

/// What is asked for, of which rule and blob, with who does as its history has it.
#[derive(Clone, Copy)]
struct StartContext<'a> {
    rule: &'a Rule,
    request: &'a StartRequest,
    blob: &'a UnversionedBlob,
    order: &'a str,
}

impl StartContext<'_> {
    fn told(&self) -> String {
        format!("{} under rule `{}`", self.order, self.rule.id)
    }
}

/// What is to be taken in.
struct NewScoring {
    scoring: Scoring,
    reason: String,
}

impl Starts {
    pub(crate) fn new(
        ledger: &Ledger,
        rules: &Arc<Rules>,
        storage_hosts: StorageHosts,
        clock: &LedgerClock,
        intake: &Intake,
    ) -> Self {
        Self {
            ledger: ledger.clone(),
            rules: Arc::clone(rules),
            storage_hosts: Arc::new(storage_hosts),
            clock: clock.clone(),
            intake: intake.clone(),
        }
    }

    /// Starts a scoring, or finds the one that was started by the same key, or by the blob's own upload. **Durable once `Ok`.**
    /// `by`: who asks, for its history.
    pub async fn start(
        &self,
        request: &StartRequest,
        key: Option<&StartKey>,
        by: &str,
    ) -> Result<(Started, Submissions), StartError> {
        let rule = self.rule(request)?;
        let order = format!("started by {by}");
        let blob = self.blob(rule, request)?;
        let asked = StartContext { rule, request, blob: &blob, order: &order };
        match key {
            Some(key) => Box::pin(self.by_key(&asked, key)).await,
            None if request.again => Err(StartRefused::NoKey.into()),
            None => {
                let wanted = Box::pin(self.look(&asked)).await?;
                let etag = wanted.scoring.blob.etag.clone();
                let (scoring, is_new, submissions) = Box::pin(self.take_in(wanted, request)).await?;
                Ok((joined(scoring, is_new, request, &etag)?, submissions))
            }
        }
    }

    /// The same for somebody who names the blob by its URL, with the ledger alone at hand.
    pub(crate) async fn start_at(
        &self,
        blob: &UnversionedBlob,
        request: &StartRequest,
        key: &StartKey,
        order: &str,
    ) -> Result<(Started, Submissions), StartError> {
        let asked = StartContext { rule: self.rule(request)?, request, blob, order };
        Box::pin(self.by_key(&asked, key)).await
    }

    /// The rule that is named, if it declares what is given.
    fn rule(&self, request: &StartRequest) -> Result<&Rule, StartRefused> {
        let own = self.rules.iter().filter(|rule| rule.shadow_of.is_none());
        let Some(rule) = own.clone().find(|rule| rule.id == *request.rule) else {
            let ids: Vec<String> = own.map(|rule| format!("`{}`", rule.id)).collect();
            return Err(StartRefused::NoSuchRule(request.rule.clone(), listed(&ids)));
        };
        match request.undeclared(rule) {
            None => Ok(rule),
            Some(name) => {
                let declared: Vec<String> = rule.parameters().map(|name| format!("`{name}`")).collect();
                let (rule, declared) = (rule.id.to_string(), listed(&declared));
                Err(StartRefused::NotDeclared { rule, name: name.to_owned(), declared })
            }
        }
    }

    async fn by_key(&self, asked: &StartContext<'_>, key: &StartKey) -> Result<(Started, Submissions), StartError> {
        let key = key.digest(&asked.rule.id);
        let kept = self.ledger.keyed_start(&key).await;
        match kept.map_err(during("reading what an idempotency key was used for"))? {
            Some(kept) => Box::pin(self.repeat(asked, kept)).await,
            None => Box::pin(self.first(asked, key)).await,
        }
    }

    /// A key that nobody has used: it is on record before its scoring.
    async fn first(&self, asked: &StartContext<'_>, key: String) -> Result<(Started, Submissions), StartError> {
        let StartContext { rule, request, .. } = *asked;
        let mut wanted = Box::pin(self.look(asked)).await?;
        if request.again {
            self.next_generation(rule, &mut wanted.scoring).await?;
        }
        wanted.scoring.note_start(said(request, Some(&key)));
        let start = KeyedStart {
            key,
            request: request.digest(),
            scoring: wanted.scoring.id.clone(),
            blob_url: wanted.scoring.blob.url.clone(),
            etag: wanted.scoring.blob.etag.clone(),
            generation: wanted.scoring.generation,
            taken: false,
        };
        let kept = self.ledger.keep_start(&start, self.clock.now()).await;
        match kept.map_err(during("keeping an idempotency key"))? {
            KeptStart::New(etag) => Box::pin(self.carry_on(rule, request, (start, etag), wanted)).await,
            KeptStart::There(other, etag) => Box::pin(self.repeat(asked, (other, etag))).await,
        }
    }

    /// A key that was used before: what it names is what is answered, and made if it is not there.
    async fn repeat(
        &self,
        asked: &StartContext<'_>,
        (start, etag): (KeyedStart, ETag),
    ) -> Result<(Started, Submissions), StartError> {
        let StartContext { rule, request, .. } = *asked;
        if start.request != request.digest() {
            return Err(StartRefused::OtherRequest.into());
        }
        let there = self.ledger.get(&start.scoring).await.map_err(during("reading a scoring"))?;
        match there {
            Some((scoring, _)) if !request.again || scoring.start_key() == Some(&start.key) => {
                self.note_taken(&start, &etag).await?;
                let none = Submissions::of(self.intake.driver(), Vec::new());
                Ok((joined(scoring, false, request, &start.etag)?, none))
            }
            None if start.taken => Err(StartRefused::Forgotten(start.scoring).into()),
            // Whoever used it first has died before the scoring was on record, or somebody else took its generation.
            _ => {
                let blob = UnversionedBlob::read(&start.blob_url).and_then(|blob| blob.version(&start.etag));
                let blob = blob.map_err(|invalid| StartRefused::NoBlob(invalid.to_string()))?;
                let of_generation = Rule { generation: start.generation, ..rule.clone() };
                let ledger = self.ledger.id().await.map_err(during("reading the ledger's id"))?;
                let mut scoring = Scoring::accept(ledger, &of_generation, blob, self.clock.now());
                scoring.note_start(said(request, Some(&start.key)));
                let wanted = NewScoring { scoring, reason: asked.told() };
                Box::pin(self.carry_on(rule, request, (start, etag), wanted)).await
            }
        }
    }

    /// Takes in what a key names. A generation that somebody else has taken meanwhile is left to them.
    async fn carry_on(
        &self,
        rule: &Rule,
        request: &StartRequest,
        (mut start, mut etag): (KeyedStart, ETag),
        mut wanted: NewScoring,
    ) -> Result<(Started, Submissions), StartError> {
        for _ in 0..MAX_TRIES {
            let there = self.ledger.get(&start.scoring).await.map_err(during("reading a scoring"))?;
            let is_ours = there.is_none_or(|(scoring, _)| !request.again || scoring.start_key() == Some(&start.key));
            if is_ours {
                let this = NewScoring { scoring: wanted.scoring.clone(), reason: wanted.reason.clone() };
                let (scoring, is_new, submissions) = Box::pin(self.take_in(this, request)).await?;
                if !request.again || scoring.start_key() == Some(&start.key) {
                    let noted = self.note_taken(&start, &etag).await;
                    match joined(scoring, is_new, request, &start.etag) {
                        Ok(started) if noted.is_ok() => return Ok((started, submissions)),
                        other => {
                            // Its intents are on record; without anybody to send them they would wait for their lease.
                            submissions.send().await;
                            noted?;
                            other?;
                        }
                    }
                }
            }
            self.next_generation(rule, &mut wanted.scoring).await?;
            start.scoring = wanted.scoring.id.clone();
            start.generation = wanted.scoring.generation;
            let replaced = self.ledger.replace_start(&etag, &start).await;
            if let Some(new) = replaced.map_err(during("keeping an idempotency key"))? {
                etag = new;
                continue;
            }
            // The same request, sent at the same time: what it has written is what both are answered.
            let read = self.ledger.keyed_start(&start.key).await;
            if let Some(read) = read.map_err(during("reading what an idempotency key was used for"))? {
                (start, etag) = read;
                wanted.scoring = self.of_generation(rule, &wanted.scoring, start.generation).await?;
            }
        }
        Err(StartError::NotYet("its generations change all the time".to_owned()))
    }

    async fn note_taken(&self, start: &KeyedStart, etag: &ETag) -> Result<(), Error> {
        if start.taken {
            return Ok(());
        }
        // Somebody else has noted it, or the next repetition does.
        let taken = KeyedStart { taken: true, ..start.clone() };
        self.ledger.replace_start(etag, &taken).await.map(drop).map_err(during("keeping an idempotency key"))
    }

    /// The blob as it is now, wanted by the rule.
    async fn look(&self, asked: &StartContext<'_>) -> Result<NewScoring, StartError> {
        let StartContext { rule, request, blob, .. } = *asked;
        let not_accepted = |why: String| StartRefused::NotAccepted { rule: rule.id.to_string(), why };
        if let Some(why) = rule.refuses_name(&blob.account, &blob.container, &blob.path) {
            return Err(not_accepted(why).into());
        }
        self.storage_hosts.check(&blob.url)?;
        let seen = self.intake.look(blob, [rule]).await.map_err(StartError::NotLooked)?;
        let Some(seen) = seen else { return Err(StartRefused::NoBlob(blob.url.clone()).into()) };
        let now = self.clock.now();
        let upload = PendingUpload::new(rule, blob.clone(), Cause::Replayed { order: asked.told() }, now);
        let (mut scoring, reason) = match self.intake.judge(upload, Ok(Some(&seen)), now).await? {
            Judgement::TakeIn { scoring, reason, again, .. } => {
                if let Some(again) = again {
                    let kept = self.ledger.keep_pending(&Pending::Upload(*again)).await;
                    kept.map_err(during("keeping an upload that is looked at again"))?;
                }
                (scoring, reason)
            }
            Judgement::Wait(upload) => return Err(StartError::NotYet(upload.reason)),
            Judgement::Skip(skip) => return Err(not_accepted(skip.reason).into()),
            Judgement::Done => return Err(StartError::NotYet("it has changed while it was looked at".to_owned())),
        };
        let may_be_published = self.intake.driver().may_have_published(now).await;
        let owner = own_outputs::owner_of(&self.ledger, &scoring.blob, may_be_published).await;
        if let Some(owner) = owner.map_err(during("asking whose output a blob is"))? {
            return Err(not_accepted(format!("it is {owner}")).into());
        }
        scoring.note_start(said(request, None));
        Ok(NewScoring { scoring: *scoring, reason })
    }

    /// Where the blob lies: in the account of the rule, or in the one whose events arrive.
    fn blob(&self, rule: &Rule, request: &StartRequest) -> Result<UnversionedBlob, StartRefused> {
        let account = request.account.as_ref().or(rule.matches.account.as_ref());
        let urls = self.storage_hosts.watched(account);
        let [url] = urls.as_slice() else {
            return Err(match account {
                Some(account) => {
                    let why = format!("account `{account}` is none of which blobs are known here");
                    StartRefused::NotAccepted { rule: rule.id.to_string(), why }
                }
                None => StartRefused::WhichAccount(rule.id.to_string(), urls.len()),
            });
        };
        let no_blob = |why: lifecycle::blob::InvalidBlob| StartRefused::NoBlob(why.to_string());
        let any = UnversionedBlob::read(&format!("{url}/{}/-", request.container)).map_err(no_blob)?;
        any.beside(&request.path).map_err(no_blob)
    }

    /// Makes it the scoring of the next generation of its version that is not taken.
    async fn next_generation(&self, rule: &Rule, scoring: &mut Scoring) -> Result<(), Error> {
        let reading = || during("reading the generations of a scoring");
        let beside = self.ledger.received(&scoring.blob.container, &scoring.blob.path, MAX_BESIDE).await;
        let mut next = rule.generation;
        for row in beside.map_err(reading())?.iter() {
            let Received::Scoring(row) = row else { continue };
            let Some((other, _)) = self.ledger.get(&row.id).await.map_err(reading())? else { continue };
            if other.rule == rule.id && other.blob.etag == scoring.blob.etag {
                next = next.max(other.generation.saturating_add(1));
            }
        }
        *scoring = self.of_generation(rule, scoring, next).await?;
        Ok(())
    }

    async fn of_generation(&self, rule: &Rule, scoring: &Scoring, generation: u32) -> Result<Scoring, Error> {
        let ledger = self.ledger.id().await.map_err(during("reading the ledger's id"))?;
        let rule = Rule { generation, ..rule.clone() };
        let mut next = Scoring::accept(ledger, &rule, scoring.blob.clone(), scoring.created);
        next.start.clone_from(&scoring.start);
        Ok(next)
    }

    async fn take_in(
        &self,
        NewScoring { scoring, reason }: NewScoring,
        request: &StartRequest,
    ) -> Result<(Scoring, bool, Submissions), StartError> {
        let (id, now) = (scoring.id.clone(), self.clock.now());
        let mut outcome = Outcome::default();
        self.intake.accept_ordered(scoring, reason, now, &mut outcome).await?;
        let is_new = !outcome.accepted.accepted.is_empty();
        let submissions = Submissions::of(self.intake.driver(), outcome.intents);
        match self.ledger.get(&id).await.map_err(during("reading a scoring that was started")) {
            Ok(Some((scoring, _))) => Ok((scoring, is_new, submissions)),
            // It does not fit into the ledger, and lies with what could not be read.
            Ok(None) => {
                let why = "the ledger cannot hold it; `scorekeeper list --status quarantined` tells why";
                Err(StartRefused::NotAccepted { rule: request.rule.clone(), why: why.to_owned() }.into())
            }
            Err(error) => {
                // Its intents are on record; without anybody to send them they would wait for their lease.
                submissions.send().await;
                Err(error.into())
            }
        }
    }
}

/// The scoring that is there, if it is what was asked for.
fn joined(scoring: Scoring, is_new: bool, request: &StartRequest, etag: &str) -> Result<Started, StartRefused> {
    let same_version = scoring.blob.etag == etag || scoring.aliases.iter().any(|alias| alias == etag);
    let what = if !same_version {
        "of another version (overwrites is ignore)"
    } else if !scoring.parameters().eq(&request.parameters) {
        "with other values of its parameters"
    } else {
        return Ok(Started { scoring: Box::new(scoring), is_new });
    };
    Err(StartRefused::Other { id: scoring.id, what })
}

/// What a scoring keeps of its start.
fn said(request: &StartRequest, key: Option<&String>) -> Option<Box<StartOf>> {
    StartOf { key: key.cloned(), parameters: request.parameters.clone() }.boxed()
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
