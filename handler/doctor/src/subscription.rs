//! Event subscriptions: where they deliver, whether they work, whether they keep what they cannot deliver. Pure: what
//! was read comes in, findings go out.

use lifecycle::Rule;
use lifecycle::rule::Complete;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::coverage::{self, Coverage, EventKind};
use crate::finding::{Check, Finding, Verdict};
use crate::installation::Installation;
use crate::permissions::{SEND_MESSAGES, WRITE_BLOBS};
use crate::remedy::{ResourceId, shell};
use app::function_names::{BLOB_CREATED, BLOB_CREATED_FROM_QUEUE};

/// The queue of the second mode; `function-definitions/BlobCreatedFromQueue` and `infra/modules/contract.bicep` name it too.
pub(super) const QUEUE: &str = "blob-events";
/// The container of the templates for what could not be delivered (`infra/modules/contract.bicep`).
const DEAD_LETTERS: &str = "dead-letters";

/// Where a subscription delivers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// To this function of this app.
    Ours(&'static str),
    /// Perhaps to this app; why that cannot be told.
    Inconclusive(String),
    /// It delivers to something else than this app: what that is, for people.
    Elsewhere(String),
}

/// An event subscription of an account.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Subscription {
    pub(super) name: String,
    /// The system topic that it belongs to; `None` for one of the account itself.
    pub(super) topic: Option<String>,
    /// What its id says that it lies on.
    source: String,
    /// Object id of the identity in whose name the topic writes.
    pub(super) principal: Option<String>,
    properties: Value,
}

impl Subscription {
    /// `topic` is the document of the system topic that it belongs to.
    pub(super) fn read(document: &Value, topic: Option<&Value>) -> Self {
        let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            name: text(document, "/name").unwrap_or_default(),
            topic: topic.and_then(|topic| text(topic, "/id")),
            source: text(document, "/id").as_deref().map(source_in).unwrap_or_default(),
            principal: topic.and_then(|topic| text(topic, "/identity/principalId")),
            properties: document.get("properties").cloned().unwrap_or_default(),
        }
    }

    fn member(&self, pointer: &str) -> Option<&Value> {
        self.properties.pointer(pointer).filter(|value| !value.is_null())
    }

    fn text(&self, pointer: &str) -> &str {
        self.member(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Where it delivers to, by its destination's type and resource id.
    pub(super) fn destination(&self, app: &Installation) -> Destination {
        let identity = "/deliveryWithResourceIdentity/destination";
        let at = if self.member(identity).is_some() { identity } else { "/destination" };
        let text = |name: &str| self.text(&format!("{at}/{name}"));
        let target = text("properties/resourceId");
        match text("endpointType") {
            "AzureFunction" => {
                let Some((site, function)) = target.rsplit_once("/functions/") else {
                    return Destination::Elsewhere(format!("a function {target}"));
                };
                if !function.eq_ignore_ascii_case(BLOB_CREATED) {
                    return Destination::Elsewhere(format!("the function {function} of {site}"));
                }
                match &app.site {
                    Some(own) if own.eq_ignore_ascii_case(site) => Destination::Ours(BLOB_CREATED),
                    Some(_) => Destination::Elsewhere(format!("the function {function} of {site}")),
                    None => Destination::Inconclusive(format!(
                        "it leads to {function} of {site}, and which app is examined is not known"
                    )),
                }
            }
            "StorageQueue" => {
                let (queue, account) = (text("properties/queueName"), target.rsplit('/').next().unwrap_or_default());
                let elsewhere = Destination::Elsewhere(format!("the queue {queue} of {account}"));
                if !queue.eq_ignore_ascii_case(QUEUE) {
                    return elsewhere;
                }
                match &app.queue_account {
                    Some(own) if own.eq_ignore_ascii_case(account) => Destination::Ours(BLOB_CREATED_FROM_QUEUE),
                    Some(_) => elsewhere,
                    None => Destination::Inconclusive(format!(
                        "it leads to the queue {queue} of {account}, and the app's account is not known"
                    )),
                }
            }
            "WebHook" => Destination::Inconclusive(
                "it leads to a web address, and whether that is this app's is not shown".to_owned(),
            ),
            other => Destination::Elsewhere(format!("a destination of type {other}")),
        }
    }

    fn keeps_dead_letters(&self) -> bool {
        self.member("/deadLetterDestination").is_some()
            || self.member("/deadLetterWithResourceIdentity/deadLetterDestination").is_some()
    }

    /// Scope and action that the topic's identity needs to keep dead letters, and to deliver into a queue. Nothing where
    /// Event Grid has a way of its own.
    pub(super) fn needs(&self) -> Vec<(String, &'static str, &'static str)> {
        let mut needs = Vec::new();
        let text = |pointer: &str| self.text(pointer);
        let at = "/deadLetterWithResourceIdentity/deadLetterDestination/properties";
        let (account, container) = (text(&format!("{at}/resourceId")), text(&format!("{at}/blobContainerName")));
        if !account.is_empty() && !container.is_empty() {
            let scope = format!("{account}/blobServices/default/containers/{container}");
            needs.push((scope, WRITE_BLOBS, "Storage Blob Data Contributor"));
        }
        let at = "/deliveryWithResourceIdentity/destination/properties";
        let (account, queue) = (text(&format!("{at}/resourceId")), text(&format!("{at}/queueName")));
        if !account.is_empty() && !queue.is_empty() {
            let scope = format!("{account}/queueServices/default/queues/{queue}");
            needs.push((scope, SEND_MESSAGES, "Storage Queue Data Message Sender"));
        }
        needs
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
            None => format!(
                "az eventgrid event-subscription {verb} --source-resource-id {} --name {name}",
                shell(&self.source)
            ),
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
                    "deliver to the other function, or remove the setting AzureWebJobs_{function}_Disabled (app.disabledFunctions in the parameters)"
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
pub(super) fn judge(
    all: &[Subscription],
    rules: &[&Rule],
    account: coverage::Account,
    app: &Installation,
    now: OffsetDateTime,
) -> Vec<Finding> {
    let rest = |reason: &str| {
        let filters =
            rules.iter().map(|rule| Finding::skipped(Check::Filter, reason).about(format!("rule {}", rule.id)));
        filters.chain([Finding::skipped(Check::DeadLetter, reason)]).collect::<Vec<_>>()
    };
    if all.is_empty() {
        let fault = Finding::fault(
            Check::Subscription,
            "the account has no event subscription",
            "no event subscription delivers uploads to this app; stage 2 of the deployment makes the subscription",
            stage_two(app),
        );
        return [vec![fault], rest("there is no event subscription")].concat();
    }
    let aims: Vec<(&Subscription, Destination)> = all.iter().map(|one| (one, one.destination(app))).collect();
    let ours: Vec<(&Subscription, &'static str)> = aims
        .iter()
        .filter_map(|(one, destination)| match destination {
            Destination::Ours(function) => Some((*one, *function)),
            _ => None,
        })
        .collect();
    if ours.is_empty() {
        let inconclusive = aims.iter().find_map(|(one, destination)| match destination {
            Destination::Inconclusive(why) => Some(format!("{}: {why}", one.name)),
            _ => None,
        });
        let finding = if let Some(why) = inconclusive {
            Finding::unknown(Check::Subscription, why, "--app with the ARM id of the function app")
        } else {
            let led = aims.iter().filter_map(|(one, destination)| match destination {
                Destination::Elsewhere(to) => Some(format!("{} leads to {to}", one.name)),
                _ => None,
            });
            Finding::fault(
                Check::Subscription,
                led.collect::<Vec<_>>().join("; "),
                "events of the account go elsewhere, and none to this app",
                stage_two(app),
            )
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
    let created = covered(working, rule, account, EventKind::Created, app);
    if created.verdict == Verdict::Fault || account.hierarchical != Some(true) {
        return created;
    }
    let renamed = [EventKind::Renamed, EventKind::FolderRenamed].map(|told| covered(working, rule, account, told, app));
    let worst = renamed.into_iter().max_by_key(|finding| finding.verdict);
    worst.filter(|finding| finding.verdict > created.verdict).unwrap_or(created)
}

/// Whether the filters let through a rule's events about this.
fn covered(
    working: &[&Subscription],
    rule: &Rule,
    account: coverage::Account,
    told: EventKind,
    app: &Installation,
) -> Finding {
    let check = Check::Filter;
    let none = Value::Null;
    let filter_of = |one: &Subscription| one.member("/filter").unwrap_or(&none).clone();
    let covered: Vec<(&Subscription, Coverage)> =
        working.iter().map(|one| (*one, coverage::of(&filter_of(one), rule, account, told))).collect();
    if let Some((one, _)) = covered.iter().find(|(_, coverage)| *coverage == Coverage::Whole) {
        let closed = rule.complete == Complete::Closed && told == EventKind::Created;
        if account.hierarchical == Some(true) && closed && !coverage::stops_unfinished(&filter_of(one)) {
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
        Coverage::Inconclusive(why) | Coverage::Part(why) | Coverage::None(why) => Some(format!("{}: {why}", one.name)),
    };
    let seen = covered.iter().filter_map(why).collect::<Vec<_>>().join("; ");
    let stopped = match told {
        EventKind::Created => "blobs that the rule wants raise no event here, so they are never scored",
        EventKind::Renamed | EventKind::FolderRenamed => {
            "files can be renamed in this account, and what is renamed into its place raises no event here, so it is never scored"
        }
    };
    let fix = || match told {
        EventKind::Created => format!("filters are made of the rules: {}", stage_two(app)),
        EventKind::Renamed | EventKind::FolderRenamed => {
            format!(
                "the second subscription is made unless watchedAccounts has `hierarchical: false`: {}",
                stage_two(app)
            )
        }
    };
    // What brings none of these events is made for others.
    let parts: Vec<&Coverage> =
        covered.iter().map(|(_, coverage)| coverage).filter(|one| !matches!(one, Coverage::None(_))).collect();
    match parts.as_slice() {
        [] | [Coverage::Part(_)] => Finding::fault(check, seen, stopped, fix()),
        // Parts of several may come to the whole.
        _ => Finding::unknown(check, seen, format!("one subscription whose filter surely covers the rule; {}", fix())),
    }
}

fn dead_letters(working: &[&Subscription], app: &Installation) -> Finding {
    let check = Check::DeadLetter;
    let Some(one) = working.iter().find(|one| !one.keeps_dead_letters()) else {
        return Finding::ok(check, "what cannot be delivered is kept");
    };
    let account = app.queue_account.as_deref().unwrap_or("STATE_ACCOUNT");
    let fix = if one.topic.is_some() {
        // `az eventgrid system-topic event-subscription update` cannot name the identity that writes them.
        stage_two(app)
    } else {
        format!(
            "{} --deadletter-endpoint \"$(az storage account show --name {} --query id --output tsv)/blobServices/default/containers/{DEAD_LETTERS}\"",
            one.command("update"),
            shell(account)
        )
    };
    Finding::fault(
        check,
        format!("{} has no dead-letter destination", one.name),
        "an event that cannot be delivered for a day is lost, and nobody learns of it",
        fix,
    )
}

/// The resource that an event subscription of its own extends, by the subscription's id.
fn source_in(id: &str) -> String {
    let end = id.to_ascii_lowercase().find("/providers/microsoft.eventgrid/").unwrap_or_default();
    id[..end].to_owned()
}

#[cfg(test)]
mod tests;
