//! The way of an event: from a watched account by its topic and an event subscription to this app.

use lifecycle::Rule;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::cloud::{Audience, Trouble};
use super::coverage::{self, Coverage};
use super::examine::{Exam, Installation};
use super::finding::{Check, Finding, Verdict};
use super::remedy::{ResourceId, shell};
use super::storage::Account;
use super::workspace::PAGES;
use crate::functions::{BLOB_CREATED, BLOB_CREATED_FROM_QUEUE};

const EVENT_GRID: &str = "2025-02-15";
/// The queue of the second mode; `function-definitions/BlobCreatedFromQueue` and `infra/modules/contract.bicep` name it too.
const QUEUE: &str = "blob-events";
/// The container of the templates for what could not be delivered (`infra/modules/contract.bicep`).
const DEAD_LETTERS: &str = "dead-letters";
/// Topics that are looked into where a rule takes blobs of any account.
const MOST_TOPICS: usize = 50;

/// Where a subscription delivers to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Aim {
    /// To this function of this app.
    Ours(&'static str),
    /// Perhaps to this app; why that cannot be told.
    Unclear(String),
    /// Somewhere else.
    Elsewhere(String),
}

/// An event subscription of an account.
#[derive(Debug, Clone, PartialEq)]
struct Subscription {
    name: String,
    /// The system topic that it belongs to; `None` for one of the account itself.
    topic: Option<String>,
    properties: Value,
}

impl Subscription {
    fn read(document: &Value, topic: Option<&str>) -> Self {
        Self {
            name: document.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            topic: topic.map(str::to_owned),
            properties: document.get("properties").cloned().unwrap_or_default(),
        }
    }

    fn member(&self, pointer: &str) -> Option<&Value> {
        self.properties.pointer(pointer).filter(|value| !value.is_null())
    }

    fn text(&self, pointer: &str) -> &str {
        self.member(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn aim(&self, app: &Installation) -> Aim {
        let identity = "/deliveryWithResourceIdentity/destination";
        let at = if self.member(identity).is_some() { identity } else { "/destination" };
        let text = |name: &str| self.text(&format!("{at}/{name}"));
        let target = text("properties/resourceId");
        match text("endpointType") {
            "AzureFunction" => {
                let Some((site, function)) = target.rsplit_once("/functions/") else {
                    return Aim::Elsewhere(format!("a function {target}"));
                };
                if !function.eq_ignore_ascii_case(BLOB_CREATED) {
                    return Aim::Elsewhere(format!("the function {function} of {site}"));
                }
                match &app.site {
                    Some(own) if own.eq_ignore_ascii_case(site) => Aim::Ours(BLOB_CREATED),
                    Some(_) => Aim::Elsewhere(format!("the function {function} of {site}")),
                    None => Aim::Unclear(format!(
                        "it leads to {function} of {site}, and which app is examined is not known"
                    )),
                }
            }
            "StorageQueue" => {
                let (queue, account) = (text("properties/queueName"), target.rsplit('/').next().unwrap_or_default());
                let elsewhere = Aim::Elsewhere(format!("the queue {queue} of {account}"));
                if !queue.eq_ignore_ascii_case(QUEUE) {
                    return elsewhere;
                }
                match &app.queue_account {
                    Some(own) if own.eq_ignore_ascii_case(account) => Aim::Ours(BLOB_CREATED_FROM_QUEUE),
                    Some(_) => elsewhere,
                    None => Aim::Unclear(format!(
                        "it leads to the queue {queue} of {account}, and the app's account is not known"
                    )),
                }
            }
            "WebHook" => {
                Aim::Unclear("it leads to a web address, and whether that is this app's is not shown".to_owned())
            }
            other => Aim::Elsewhere(format!("a destination of type {other}")),
        }
    }

    fn keeps_dead_letters(&self) -> bool {
        self.member("/deadLetterDestination").is_some()
            || self.member("/deadLetterWithResourceIdentity/deadLetterDestination").is_some()
    }

    /// Words of a shell that name it.
    fn command(&self, verb: &str) -> String {
        let name = shell(&self.name);
        match self.topic.as_deref().and_then(ResourceId::read) {
            Some(topic) => format!(
                "az eventgrid system-topic event-subscription {verb} {} --system-topic-name {} --name {name}",
                topic.place(),
                shell(topic.name)
            ),
            None => format!("az eventgrid event-subscription {verb} --name {name}"),
        }
    }

    /// Whether events take this way now.
    fn works(&self, function: &str, app: &Installation, now: OffsetDateTime) -> Finding {
        let check = Check::Subscription;
        let name = &self.name;
        let state = self.text("/provisioningState");
        if app.switched_off.iter().any(|off| off == function) {
            return Finding::fault(
                check,
                format!("{name} delivers to {function}, which is switched off"),
                "events wait, and are dead-lettered in the end",
                format!(
                    "deliver to the other function, or remove the setting AzureWebJobs_{function}_Disabled (disabledFunctions in the parameters)"
                ),
            );
        }
        let ends = OffsetDateTime::parse(self.text("/expirationTimeUtc"), &Rfc3339).ok();
        if ends.is_some_and(|ends| ends <= now) {
            return Finding::fault(
                check,
                format!("{name} has expired"),
                "it was made for a time that is over",
                stage_two(app),
            );
        }
        match state {
            "Succeeded" => {}
            "Failed" | "Canceled" | "Deleting" | "AwaitingManualAction" => {
                return Finding::fault(
                    check,
                    format!("{name} is in the state {state}"),
                    "it was not made whole, or is going away: no event is delivered by it",
                    format!("{} tells more; then {}", self.command("show"), stage_two(app)),
                );
            }
            _ => {
                let state = if state.is_empty() { "unnamed" } else { state };
                return Finding::unknown(
                    check,
                    format!("{name} is in the state {state}"),
                    "wait until it is made, then run it again",
                );
            }
        }
        match ends {
            Some(ends) => Finding::warning(
                check,
                format!("{name} delivers to {function}, until {ends}"),
                "it expires, and then no event arrives",
                stage_two(app),
            ),
            None => Finding::ok(check, format!("{name} delivers to {function}")),
        }
    }
}

/// The command that makes subscriptions and filters of the rules.
fn stage_two(app: &Installation) -> String {
    let group =
        app.site.as_deref().and_then(ResourceId::read).map_or("--resource-group GROUP".to_owned(), |site| site.place());
    format!(
        "az deployment group create {group} --name scorekeeper-events --template-file infra/events.bicep --parameters @target/events.parameters.json (infra/README.md, Deploy)"
    )
}

/// What an account's subscriptions come to, for the rules that watch it.
fn judge(
    all: &[Subscription],
    rules: &[&Rule],
    account: coverage::Account,
    app: &Installation,
    now: OffsetDateTime,
) -> Vec<Finding> {
    let rest = |because: &str| {
        let filters =
            rules.iter().map(|rule| Finding::skipped(Check::Filter, because).about(format!("rule {}", rule.id)));
        filters.chain([Finding::skipped(Check::DeadLetter, because)]).collect::<Vec<_>>()
    };
    if all.is_empty() {
        let fault = Finding::fault(
            Check::Subscription,
            "the account has no event subscription",
            "nobody tells this app of uploads; stage 2 of the deployment makes the subscription",
            stage_two(app),
        );
        return [vec![fault], rest("there is no event subscription")].concat();
    }
    let aims: Vec<(&Subscription, Aim)> = all.iter().map(|one| (one, one.aim(app))).collect();
    let ours: Vec<(&Subscription, &'static str)> = aims
        .iter()
        .filter_map(|(one, aim)| match aim {
            Aim::Ours(function) => Some((*one, *function)),
            _ => None,
        })
        .collect();
    if ours.is_empty() {
        let unclear = aims.iter().find_map(|(one, aim)| match aim {
            Aim::Unclear(why) => Some(format!("{}: {why}", one.name)),
            _ => None,
        });
        let finding = match unclear {
            Some(why) => Finding::unknown(Check::Subscription, why, "--app with the ARM id of the function app"),
            None => {
                let led: Vec<String> = aims
                    .iter()
                    .filter_map(|(one, aim)| match aim {
                        Aim::Elsewhere(to) => Some(format!("{} leads to {to}", one.name)),
                        _ => None,
                    })
                    .collect();
                Finding::fault(
                    Check::Subscription,
                    led.join("; "),
                    "events of the account go elsewhere, and none to this app",
                    stage_two(app),
                )
            }
        };
        return [vec![finding], rest("no event subscription is known to lead to this app")].concat();
    }
    let judged: Vec<(&Subscription, Finding)> =
        ours.iter().map(|(one, function)| (*one, one.works(function, app, now))).collect();
    // One way that works is enough, and while the mode of delivery is changed there are two.
    let best = judged.iter().map(|(_, finding)| finding.verdict).min().unwrap_or(Verdict::Unknown);
    let working: Vec<&Subscription> =
        judged.iter().filter(|(_, finding)| finding.verdict == best).map(|(one, _)| *one).collect();
    let mut findings: Vec<Finding> =
        judged.iter().filter(|(_, finding)| finding.verdict == best).map(|(_, finding)| finding.clone()).collect();
    if best == Verdict::Fault || best == Verdict::Unknown {
        findings.extend(rest("the event subscription does not work"));
        return findings;
    }
    findings.extend(rules.iter().map(|rule| filter(&working, rule, account, app).about(format!("rule {}", rule.id))));
    findings.push(dead_letters(&working, app));
    findings
}

/// Whether the filters of subscriptions that work let through what a rule wants.
fn filter(working: &[&Subscription], rule: &Rule, account: coverage::Account, app: &Installation) -> Finding {
    let check = Check::Filter;
    let none = Value::Null;
    let filter_of = |one: &Subscription| one.member("/filter").unwrap_or(&none).clone();
    let covered: Vec<(&Subscription, Coverage)> =
        working.iter().map(|one| (*one, coverage::of(&filter_of(one), rule, account))).collect();
    if let Some((one, _)) = covered.iter().find(|(_, coverage)| *coverage == Coverage::Whole) {
        if account.hierarchical == Some(true) && !coverage::stops_unfinished(&filter_of(one)) {
            return Finding::warning(
                check,
                format!("{} lets through events of uploads that are only begun (CreateFile)", one.name),
                "they are skipped, and each costs a call",
                stage_two(app),
            );
        }
        return Finding::ok(check, format!("{} lets through all that the rule wants", one.name));
    }
    let why = |(one, coverage): &(&Subscription, Coverage)| match coverage {
        Coverage::Whole => None,
        Coverage::Unclear(why) | Coverage::Part(why) | Coverage::None(why) => Some(format!("{}: {why}", one.name)),
    };
    let seen = covered.iter().filter_map(why).collect::<Vec<_>>().join("; ");
    let stopped = "blobs that the rule wants raise no event here, so they are never scored";
    let mend = || format!("filters are made of the rules: {}", stage_two(app));
    match covered.as_slice() {
        // Parts of several may come to the whole.
        [(_, Coverage::Part(_) | Coverage::None(_))] => Finding::fault(check, seen, stopped, mend()),
        all if all.iter().all(|(_, coverage)| matches!(coverage, Coverage::None(_))) => {
            Finding::fault(check, seen, stopped, mend())
        }
        _ => Finding::unknown(check, seen, format!("one subscription whose filter surely covers the rule; {}", mend())),
    }
}

fn dead_letters(working: &[&Subscription], app: &Installation) -> Finding {
    let check = Check::DeadLetter;
    let Some(one) = working.iter().find(|one| !one.keeps_dead_letters()) else {
        return Finding::ok(check, "what cannot be delivered is kept");
    };
    let account = app.queue_account.as_deref().unwrap_or("STATE_ACCOUNT");
    Finding::fault(
        check,
        format!("{} has no dead-letter destination", one.name),
        "an event that cannot be delivered for a day is lost, and nobody learns of it",
        format!(
            "{} --deadletter-identity systemassigned --deadletter-identity-endpoint \"$(az storage account show --name {} --query id --output tsv)/blobServices/default/containers/{DEAD_LETTERS}\"",
            one.command("update"),
            shell(account)
        ),
    )
}

impl Exam {
    /// Everything about the way of events from the watched accounts.
    pub(super) async fn accounts(&self, now: OffsetDateTime) -> Vec<Finding> {
        let accounts = self.grouped(|rule| Some(rule.matches.account.as_ref().map(|name| name.to_ascii_lowercase())));
        let one = accounts.iter().map(|(name, rules)| async move {
            match name {
                Some(name) => self.watched_account(name, rules, now).await,
                None => self.any_account(rules, now).await,
            }
        });
        futures::future::join_all(one).await.concat()
    }

    async fn watched_account(&self, name: &str, rules: &[&Rule], now: OffsetDateTime) -> Vec<Finding> {
        let account = match self.account(name).await {
            Ok(account) => account,
            Err((why, needed)) => return self.nothing(rules, &format!("account {name}"), &why, &needed),
        };
        match self.subscriptions_of(&account).await {
            Ok(all) => about(&judge(&all, rules, kind(&account), &self.at, now), &format!("account {name}")),
            Err((why, needed)) => self.nothing(rules, &format!("account {name}"), &why, &needed),
        }
    }

    /// Nothing of the way could be seen, for this reason.
    fn nothing(&self, rules: &[&Rule], whose: &str, why: &str, needed: &str) -> Vec<Finding> {
        let because = "the event subscription was not seen";
        let first = if let Some(blind) = self.blind(Audience::ResourceManager) {
            Finding::skipped(Check::Subscription, blind)
        } else {
            Finding::unknown(Check::Subscription, why, needed)
        };
        let filters =
            rules.iter().map(|rule| Finding::skipped(Check::Filter, because).about(format!("rule {}", rule.id)));
        let all: Vec<Finding> =
            [first, Finding::skipped(Check::DeadLetter, because)].into_iter().chain(filters).collect();
        about(&all, whose)
    }

    /// All event subscriptions of an account, those of its topics and its own.
    async fn subscriptions_of(&self, account: &Account) -> Result<Vec<Subscription>, (String, String)> {
        let needed = || {
            "Microsoft.EventGrid/systemTopics/read and eventSubscriptions/read (role EventGrid EventSubscription Reader or Reader) for whoever looks".to_owned()
        };
        let refused = |trouble: &Trouble| (trouble.to_string(), needed());
        let mut found = Vec::new();
        let (topics, trouble) = self.topics().await;
        let own = topics.iter().filter(|topic| {
            topic
                .pointer("/properties/source")
                .and_then(Value::as_str)
                .is_some_and(|source| source.eq_ignore_ascii_case(&account.id))
        });
        for topic in own {
            found.extend(self.subscriptions_at(topic).await.map_err(|trouble| refused(&trouble))?);
        }
        let path = format!("{}/providers/Microsoft.EventGrid/eventSubscriptions", account.id);
        let direct = self.eyes.list(&path, EVENT_GRID, None, PAGES).await;
        if let Ok(listed) = &direct {
            for document in &listed.items {
                let one = Subscription::read(document, None);
                // Those of a topic may be listed here too.
                if !found.iter().any(|known| known.name == one.name) {
                    found.push(one);
                }
            }
        }
        // Only what was looked for everywhere is not there.
        match (found.is_empty(), trouble, direct) {
            (false, ..) => Ok(found),
            (true, Some(trouble), _) => Err(refused(&trouble)),
            (true, None, Err(trouble)) if !matches!(trouble, Trouble::Missing(_)) => Err(refused(&trouble)),
            (true, None, Ok(listed)) if !listed.whole => {
                Err(("there are more event subscriptions than were listed".to_owned(), needed()))
            }
            (true, None, _) => Ok(found),
        }
    }

    /// System topics of storage accounts in all subscriptions that can be seen, and what kept some from being seen.
    async fn topics(&self) -> (Vec<Value>, Option<Trouble>) {
        let (mut topics, mut trouble) = (Vec::new(), None);
        for subscription in self.subscriptions().await {
            let path = format!("/subscriptions/{subscription}/providers/Microsoft.EventGrid/systemTopics");
            match self.eyes.list(&path, EVENT_GRID, None, PAGES).await {
                Ok(listed) => {
                    if !listed.whole {
                        trouble = Some(Trouble::Unclear("there are more system topics than were listed".to_owned()));
                    }
                    topics.extend(listed.items);
                }
                Err(why) => trouble = Some(why),
            }
        }
        (topics, trouble)
    }

    async fn subscriptions_at(&self, topic: &Value) -> Result<Vec<Subscription>, Trouble> {
        let Some(id) = topic.get("id").and_then(Value::as_str) else { return Ok(Vec::new()) };
        let listed = self.eyes.list(&format!("{id}/eventSubscriptions"), EVENT_GRID, None, PAGES).await?;
        if !listed.whole {
            return Err(Trouble::Unclear("there are more event subscriptions than were listed".to_owned()));
        }
        Ok(listed.items.iter().map(|document| Subscription::read(document, Some(id))).collect())
    }

    /// Rules that take blobs of any account: those accounts are watched whose events come here.
    async fn any_account(&self, rules: &[&Rule], now: OffsetDateTime) -> Vec<Finding> {
        const WHOSE: &str = "any account";
        let needed = "match.account in the rule; or the role Reader on the subscription for whoever looks";
        if self.blind(Audience::ResourceManager).is_some() {
            return self.nothing(rules, WHOSE, "", needed);
        }
        let (topics, trouble) = self.topics().await;
        let mut all = Vec::new();
        for topic in topics.iter().take(MOST_TOPICS) {
            match self.subscriptions_at(topic).await {
                Ok(found) => all.extend(found.into_iter().filter(|one| matches!(one.aim(&self.at), Aim::Ours(_)))),
                Err(why) => return self.nothing(rules, WHOSE, &why.to_string(), needed),
            }
        }
        if all.is_empty() && (trouble.is_some() || topics.len() > MOST_TOPICS) {
            let why =
                trouble.map_or("there are more topics than were looked into".to_owned(), |trouble| trouble.to_string());
            return self.nothing(rules, WHOSE, &why, needed);
        }
        about(&judge(&all, rules, coverage::Account::default(), &self.at, now), WHOSE)
    }
}

/// What kinds of writing the account knows. What Resource Manager leaves out is off.
fn kind(account: &Account) -> coverage::Account {
    let flag = |name: &str| {
        Some(account.document.pointer(&format!("/properties/{name}")).and_then(Value::as_bool).unwrap_or(false))
    };
    coverage::Account { hierarchical: flag("isHnsEnabled"), sftp: flag("isSftpEnabled") }
}

fn about(findings: &[Finding], whose: &str) -> Vec<Finding> {
    let named = |finding: &Finding| match &finding.about {
        Some(rule) => finding.clone().about(format!("{whose}, {rule}")),
        None => finding.clone().about(whose),
    };
    findings.iter().map(named).collect()
}
