//! The way of an event: which topics and event subscriptions there are for a watched account.

use lifecycle::Rule;
use serde_json::Value;
use time::OffsetDateTime;

use crate::access::{Permission, rights};
use crate::coverage;
use crate::examination::Examination;
use crate::finding::{Check, Finding, Verdict};
use crate::permissions::SEND_MESSAGES;
use crate::remedy::{deploy_with, shell};
use crate::storage::{Account, STORAGE};
use crate::subscription::{Destination, Subscription, judge};
use crate::unseen::NotSeen;
use crate::workspace::PAGES;
use app::ports::Inconclusive;
use app::ports::management::{Audience, QueryError};

const EVENT_GRID: &str = "2025-02-15";
/// Topics that are looked into where a rule takes blobs of any account.
const MAX_TOPICS: usize = 50;

impl Examination {
    /// Everything about the way of events from the watched accounts.
    pub(super) async fn accounts(&self, now: OffsetDateTime) -> Vec<Finding> {
        let accounts = Self::grouped(self.at.rules.iter(), |rule| {
            Some(rule.matches.account.as_ref().map(|name| name.to_ascii_lowercase()))
        });
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
            Err(NotSeen { why, needed }) => return self.nothing(rules, &format!("account {name}"), &why, &needed),
        };
        match self.subscriptions_of(&account).await {
            Ok(all) => about(&self.judged(&all, rules, kind(&account), now).await, &format!("account {name}")),
            Err(NotSeen { why, needed }) => self.nothing(rules, &format!("account {name}"), &why, &needed),
        }
    }

    /// What the subscriptions come to, with the rights of the topics' identities.
    async fn judged(
        &self,
        all: &[Subscription],
        rules: &[&Rule],
        account: coverage::Account,
        now: OffsetDateTime,
    ) -> Vec<Finding> {
        let mut findings = judge(all, rules, account, &self.at, now);
        let ours = all.iter().filter(|one| matches!(one.destination(&self.at), Destination::Ours(_)));
        for one in ours {
            for (scope, action, role) in one.needs() {
                let check = if action == SEND_MESSAGES { Check::Subscription } else { Check::DeadLetter };
                let good = findings.iter_mut().find(|finding| finding.check == check && finding.verdict == Verdict::Ok);
                if let Some(good) = good
                    && let Some(worse) = self.topic_may(check, one, &scope, action, role).await
                {
                    *good = worse;
                }
            }
        }
        findings
    }

    /// Whether the topic of a subscription may write there; `None` if it may.
    async fn topic_may(
        &self,
        check: Check,
        one: &Subscription,
        scope: &str,
        action: &str,
        role: &str,
    ) -> Option<Finding> {
        let reader = "Microsoft.Authorization/roleAssignments/read there (role Reader) for whoever looks";
        let Some(principal) = &one.principal else {
            let seen = format!("whose identity writes to {scope} for {} is not shown", one.name);
            return Some(Finding::unknown(
                check,
                seen,
                "an event subscription on a system topic with a system-assigned identity",
            ));
        };
        let cause = if action == SEND_MESSAGES {
            "no event gets into the queue"
        } else {
            "an event that cannot be delivered for a day is lost"
        };
        if let (Check::DeadLetter, Err(QueryError::Missing(why))) = (check, self.queries.resource(scope, STORAGE).await)
        {
            let (account, container) = scope.split_once("/blobServices/").unwrap_or((scope, ""));
            let last = |id: &str| shell(id.rsplit('/').next().unwrap_or_default());
            return Some(Finding::fault(
                check,
                why,
                "an event that cannot be delivered for a day is lost: there is no container for it",
                format!(
                    "az storage container create --auth-mode login --account-name {} --name {}",
                    last(account),
                    last(container)
                ),
            ));
        }
        match rights(&self.queries, principal, scope).await.map(|rights| rights.on_data(action)) {
            Ok(Permission::Yes) => None,
            Ok(Permission::No) => Some(Finding::fault(
                check,
                format!("the topic's identity {principal} has no role that writes to {scope}"),
                cause,
                deploy_with("the same parameters", role),
            )),
            Ok(Permission::Unknown(why)) => Some(Finding::unknown(check, why, reader)),
            Err(error) => Some(Finding::unknown(check, error.to_string(), reader)),
        }
    }

    /// Nothing of the way could be seen, for this reason.
    fn nothing(&self, rules: &[&Rule], whose: &str, why: &str, needed: &str) -> Vec<Finding> {
        let reason = "the event subscription was not seen";
        let first = if let Some(blind) = self.no_token_reason(Audience::ResourceManager) {
            Finding::skipped(Check::Subscription, blind)
        } else {
            Finding::unknown(Check::Subscription, why, needed)
        };
        let filters =
            rules.iter().map(|rule| Finding::skipped(Check::Filter, reason).about(format!("rule {}", rule.id)));
        let all: Vec<Finding> =
            [first, Finding::skipped(Check::DeadLetter, reason)].into_iter().chain(filters).collect();
        about(&all, whose)
    }

    /// All event subscriptions of an account, those of its topics and its own.
    async fn subscriptions_of(&self, account: &Account) -> Result<Vec<Subscription>, NotSeen> {
        let needed = || {
            "Microsoft.EventGrid/systemTopics/read and eventSubscriptions/read (role EventGrid EventSubscription Reader or Reader) for whoever looks".to_owned()
        };
        let refused = |error: &QueryError| NotSeen { why: error.to_string(), needed: needed() };
        let mut found = Vec::new();
        let (topics, error) = self.topics().await;
        let own = topics.iter().filter(|topic| {
            topic
                .pointer("/properties/source")
                .and_then(Value::as_str)
                .is_some_and(|source| source.eq_ignore_ascii_case(&account.id))
        });
        for topic in own {
            found.extend(self.subscriptions_at(topic).await.map_err(|error| refused(&error))?);
        }
        let path = format!("{}/providers/Microsoft.EventGrid/eventSubscriptions", account.id);
        let direct = self.queries.list(&path, EVENT_GRID, None, PAGES).await;
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
        match (found.is_empty(), error, direct) {
            (true, Some(error), _) => Err(refused(&error)),
            (true, None, Err(error)) if !matches!(error, QueryError::Missing(_)) => Err(refused(&error)),
            (true, None, Ok(listed)) if !listed.complete => {
                let why = "there are more event subscriptions than were listed".to_owned();
                Err(NotSeen { why, needed: needed() })
            }
            _ => Ok(found),
        }
    }

    /// System topics of storage accounts in all subscriptions that can be seen, and what kept some from being seen.
    async fn topics(&self) -> (Vec<Value>, Option<QueryError>) {
        let (mut topics, mut error) = (Vec::new(), None);
        for subscription in self.subscriptions().await {
            let path = format!("/subscriptions/{subscription}/providers/Microsoft.EventGrid/systemTopics");
            match self.queries.list(&path, EVENT_GRID, None, PAGES).await {
                Ok(listed) => {
                    if !listed.complete {
                        error = Some(QueryError::Inconclusive(Inconclusive::unfinished(
                            "there are more system topics than were listed",
                        )));
                    }
                    topics.extend(listed.items);
                }
                Err(why) => error = Some(why),
            }
        }
        (topics, error)
    }

    async fn subscriptions_at(&self, topic: &Value) -> Result<Vec<Subscription>, QueryError> {
        let Some(id) = topic.get("id").and_then(Value::as_str) else { return Ok(Vec::new()) };
        let listed = self.queries.list(&format!("{id}/eventSubscriptions"), EVENT_GRID, None, PAGES).await?;
        if !listed.complete {
            return Err(QueryError::Inconclusive(Inconclusive::unfinished(
                "there are more event subscriptions than were listed",
            )));
        }
        Ok(listed.items.iter().map(|document| Subscription::read(document, Some(topic))).collect())
    }

    /// Rules that take blobs of any account: those accounts are watched whose events come here.
    async fn any_account(&self, rules: &[&Rule], now: OffsetDateTime) -> Vec<Finding> {
        const WHOSE: &str = "any account";
        let needed = "match.account in the rule; or the role Reader on the subscription for whoever looks";
        if self.no_token_reason(Audience::ResourceManager).is_some() {
            return self.nothing(rules, WHOSE, "", needed);
        }
        let (topics, error) = self.topics().await;
        let mut all = Vec::new();
        for topic in topics.iter().take(MAX_TOPICS) {
            match self.subscriptions_at(topic).await {
                Ok(found) => all
                    .extend(found.into_iter().filter(|one| matches!(one.destination(&self.at), Destination::Ours(_)))),
                Err(why) => return self.nothing(rules, WHOSE, &why.to_string(), needed),
            }
        }
        if all.is_empty() && (error.is_some() || topics.len() > MAX_TOPICS) {
            let why = error.map_or("there are more topics than were looked into".to_owned(), |error| error.to_string());
            return self.nothing(rules, WHOSE, &why, needed);
        }
        about(&self.judged(&all, rules, coverage::Account::default(), now).await, WHOSE)
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
