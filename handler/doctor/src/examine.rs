//! The examination: which checks there are to make for these rules, in which order, and what each one waits for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lifecycle::{Rule, Rules};

use crate::access::Subject;
use crate::cloud::CloudQueries;
use crate::finding::{CHECKS, Check, Finding, Report};
use crate::ledger;
use app::ledger::Ledger;
use app::ports::Clock;
use app::ports::management::{Audience, Cloud, QueryError};
use app::ports::table_store::{TableName, TableStore};

/// Clocks that differ by less are as good as equal: `Date` headers have whole seconds, and answers take time.
const SKEW_SEEN: time::Duration = time::Duration::seconds(60);
/// Beyond this a lost job is looked for in the wrong window (`azure/src/batch_endpoint/search.rs`), and an output may look
/// older than its submission.
const SKEW_BORNE: time::Duration = time::Duration::minutes(5);

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The app's own identity: what it sees is what the app sees.
    App,
    /// Somebody who is signed in on this machine. What they may do says nothing about the app.
    Operator,
}

/// What is known of a function app beyond the settings of the handler.
#[derive(Debug, Clone, Default)]
pub struct AppFacts {
    /// Its ARM id; `None`: as the host says.
    pub site: Option<String>,
    /// Functions that a setting switches off.
    pub switched_off: Vec<String>,
    /// Storage account of the host's queues; `None`: that of the ledger.
    pub queue_account: Option<String>,
}

/// What is examined.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The rules.
    pub rules: Rules,
    /// Prefix of the ledger's tables.
    pub task_hub: String,
    /// Where the ledger is, as settings have it.
    pub ledger_place: String,
    /// Storage account of the ledger; `None` for a folder.
    pub ledger_account: Option<String>,
    /// Storage account of the Functions host's queues, which is also where the templates keep dead letters; `None`: not known.
    pub queue_account: Option<String>,
    /// Client id of the app's user-assigned identity; `None`: the system-assigned one.
    pub client_id: Option<String>,
    /// ARM id of the function app, if it is known.
    pub site: Option<String>,
    /// Functions that a setting switches off.
    pub switched_off: Vec<String>,
    /// Domain of the storage accounts behind `ACCOUNT.blob.`; `None` where it cannot be told.
    pub storage_domain: Option<String>,
    /// What was understood of the settings, for the report.
    pub settings: String,
    /// What looks wrong in them and does not prevent a start.
    pub warnings: Vec<Finding>,
}

/// An examination that is to be made.
pub struct Doctor {
    /// What is examined.
    pub installation: Installation,
    /// The world.
    pub cloud: Arc<dyn Cloud>,
    /// The ledger with the store under it, or why it cannot be opened.
    pub ledger: Result<(Ledger, Arc<dyn TableStore>), String>,
    /// Who looks.
    pub caller: Caller,
    /// What time it is.
    pub clock: Clock,
    /// A text unlike that of any other examination: names the probe row and a job that does not exist.
    pub nonce: String,
    /// How long it may take in all.
    pub time: Duration,
}

/// An examination under way.
pub(super) struct Examination {
    pub(super) at: Installation,
    pub(super) queries: CloudQueries,
    pub(super) subject: Subject,
    pub(super) nonce: String,
    /// Why there is no token, by what it is for.
    no_token: BTreeMap<Audience, String>,
    /// Why nothing of Resource Manager can be seen.
    no_management: Option<String>,
}

impl Doctor {
    /// The report on settings that are not good: nothing else can be looked at.
    pub fn of_bad_settings(problems: &[(String, String)]) -> Report {
        let mut findings: Vec<Finding> = problems
            .iter()
            .map(|(seen, remedy)| {
                Finding::fault(
                    Check::Settings,
                    seen,
                    "the app does not start with such a setting (exit code 64)",
                    remedy,
                )
            })
            .collect();
        let others = CHECKS.iter().filter(|check| **check != Check::Settings);
        findings.extend(others.map(|check| Finding::skipped(*check, "the settings are not good")));
        Report::new("nobody", findings)
    }

    /// Makes it. Ends within its time.
    pub async fn examine(self) -> Report {
        let Self { installation, cloud, ledger, caller, clock, nonce, time } = self;
        let queries = CloudQueries::new(cloud, time);
        let mut findings = settings(&installation);
        let (tokens, no_token) = tokens(&queries, caller, &installation).await;
        findings.extend(tokens);
        let (management, no_management) = management(&queries, caller, &no_token).await;
        findings.push(management);
        let seen = if no_management.is_none() { installation.site.as_deref() } else { None };
        let (subject, finding) = Subject::find(&queries, caller, &installation, seen).await;
        findings.push(finding);
        let exam = Examination { at: installation, queries, subject, nonce, no_token, no_management };
        let (ledger, workspaces, endpoints, rules, accounts) = futures::join!(
            exam.ledger(ledger, &clock),
            exam.workspaces(),
            exam.endpoints(),
            exam.rules(),
            exam.accounts(clock()),
        );
        for more in [ledger, workspaces, endpoints, rules, accounts] {
            findings.extend(more);
        }
        findings.push(clocks(&exam.queries.clocks()));
        Report::new(exam.subject.to_string(), findings)
    }
}

fn settings(installation: &Installation) -> Vec<Finding> {
    let mut findings = installation.warnings.clone();
    findings.push(Finding::ok(Check::Settings, &installation.settings));
    findings
}

async fn tokens(
    queries: &CloudQueries,
    caller: Caller,
    installation: &Installation,
) -> (Vec<Finding>, BTreeMap<Audience, String>) {
    const ALL: [(Audience, Check); 3] = [
        (Audience::Storage, Check::TokenStorage),
        (Audience::MachineLearning, Check::TokenMl),
        (Audience::ResourceManager, Check::TokenManagement),
    ];
    let asks = futures::stream::iter(ALL.map(|(audience, _)| queries.token(audience)));
    // For a person each token is a run of the Azure CLI, whose first one takes seconds; several at once take longer.
    let asked: Vec<_> = asks.buffered(if caller == Caller::App { ALL.len() } else { 1 }).collect().await;
    let none = asked.iter().all(Result::is_err);
    let (mut findings, mut missing) = (Vec::new(), BTreeMap::new());
    for (index, ((audience, check), answer)) in ALL.into_iter().zip(asked).enumerate() {
        let Err(error) = answer else {
            let seen = if caller == Caller::App { "there is one" } else { "there is one for whoever is signed in" };
            findings.push(Finding::ok(check, seen));
            continue;
        };
        findings.push(if none && index > 0 {
            Finding::skipped(check, "the identity gets no token at all")
        } else if caller == Caller::Operator {
            // That nobody is signed in here says nothing of the app.
            Finding::unknown(check, error.to_string(), "sign in: az login")
        } else {
            let cause =
                if none { "the identity gets no token at all" } else { "the identity gets tokens, but not this one" };
            Finding::fault(check, error.to_string(), cause, installation.identity_remedy())
        });
        missing.insert(audience, error.to_string());
    }
    (findings, missing)
}

/// Whether Resource Manager answers at all, and if not, why nothing of it can be seen.
async fn management(
    queries: &CloudQueries,
    caller: Caller,
    no_token: &BTreeMap<Audience, String>,
) -> (Finding, Option<String>) {
    let check = Check::Management;
    if no_token.contains_key(&Audience::ResourceManager) {
        let reason = "there is no token for Resource Manager".to_owned();
        return (Finding::skipped(check, &reason), Some(reason));
    }
    match queries.subscriptions().await {
        Ok(_) | Err(QueryError::Missing(_) | QueryError::Forbidden { .. }) => (Finding::ok(check, "it answers"), None),
        Err(error @ QueryError::NoAnswer(_)) => {
            let reason = "Resource Manager does not answer".to_owned();
            let finding = match caller {
                Caller::App => Finding::fault(
                    check,
                    error.to_string(),
                    "lost jobs cannot be looked for, stuck ones not stopped, and outputs not found",
                    "let the app's network reach it: service tag AzureResourceManager in firewall and routes, and SCOREKEEPER_RESOURCE_MANAGER if the cloud is another one",
                ),
                Caller::Operator => {
                    Finding::unknown(check, error.to_string(), "run it where Resource Manager can be reached")
                }
            };
            (finding, Some(reason))
        }
        Err(error @ QueryError::Inconclusive(_)) => (Finding::unknown(check, error.to_string(), "run it again"), None),
    }
}

fn clocks(seen: &[(String, time::Duration)]) -> Finding {
    let check = Check::Clock;
    let Some((host, skew)) = seen.iter().max_by_key(|(_, skew)| skew.abs()) else {
        return Finding::skipped(check, "no service answered");
    };
    let text =
        format!("{host} is {} s {}", skew.abs().whole_seconds(), if skew.is_negative() { "behind" } else { "ahead" });
    let cause = "lost jobs are looked for by time, and an output counts only if it is newer than its submission";
    let remedy = "set the clock of this machine: timedatectl set-ntp true";
    match skew.abs() {
        skew if skew > SKEW_BORNE => Finding::fault(check, text, cause, remedy),
        skew if skew > SKEW_SEEN => Finding::warning(check, text, cause, remedy),
        _ => Finding::ok(check, text),
    }
}

impl Installation {
    /// What fixes an identity that gets no token.
    fn identity_remedy(&self) -> String {
        let site = self.site.as_deref().and_then(super::remedy::ResourceId::read);
        let Some(site) = site else {
            return "az functionapp identity assign --resource-group GROUP --name APP, and AZURE_CLIENT_ID as the client id of an identity that the app has".to_owned();
        };
        let which = self.client_id.as_ref().map_or_else(String::new, |client| {
            format!(" --identities \"$(az identity list --query \"[?clientId=='{client}'].id\" --output tsv)\"")
        });
        format!("az functionapp identity assign {} --name {}{which}", site.place(), super::remedy::shell(site.name))
    }
}

impl Examination {
    /// Why nothing can be asked for with this audience; also if the service as such does not answer.
    pub(super) fn no_token_reason(&self, audience: Audience) -> Option<String> {
        match audience {
            Audience::ResourceManager => self.no_management.clone(),
            Audience::Storage => self.no_token.contains_key(&audience).then(|| "there is no token for storage".into()),
            Audience::MachineLearning => {
                self.no_token.contains_key(&audience).then(|| "there is no token for Azure Machine Learning".into())
            }
        }
    }

    /// Something at Resource Manager could not be seen: what, and which right it takes.
    pub(super) fn not_visible(check: Check, error: &QueryError, right: &str) -> Finding {
        match error {
            QueryError::Forbidden { text, .. } => Finding::unknown(check, text, format!("whoever looks needs {right}")),
            QueryError::Missing(text) => Finding::unknown(check, text, "a Resource Manager that knows it"),
            other => Finding::unknown(check, other.to_string(), "run it again"),
        }
    }

    /// Rules by something that several of them may share, in the order of the rules.
    pub(super) fn grouped<K: PartialEq>(&self, key: impl Fn(&Rule) -> Option<K>) -> Vec<(K, Vec<&Rule>)> {
        let mut groups: Vec<(K, Vec<&Rule>)> = Vec::new();
        for rule in &self.at.rules {
            let Some(key) = key(rule) else { continue };
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, rules)) => rules.push(rule),
                None => groups.push((key, vec![rule])),
            }
        }
        groups
    }

    async fn ledger(&self, opened: Result<(Ledger, Arc<dyn TableStore>), String>, clock: &Clock) -> Vec<Finding> {
        let skipped =
            |reason: &str| vec![Finding::skipped(Check::LastEvent, reason), Finding::skipped(Check::LastRun, reason)];
        let (ledger, store) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                let fault = Finding::fault(
                    Check::Ledger,
                    why,
                    "the ledger cannot be opened, so no event can be taken in",
                    "correct SCOREKEEPER_LEDGER, or the folder that it names",
                );
                return [vec![fault], skipped("the ledger cannot be opened")].concat();
            }
        };
        if let Some(reason) =
            self.no_token_reason(Audience::Storage).filter(|_| self.at.ledger_place.starts_with("https:"))
        {
            return [vec![Finding::skipped(Check::Ledger, &reason)], skipped(&reason)].concat();
        }
        let Ok(table) = TableName::read(&format!("{}State", self.at.task_hub)) else { return Vec::new() };
        let probing = async { Ok(ledger::probe(store.as_ref(), &table, &self.nonce).await) };
        let probe = self.queries.in_time(probing).await;
        let finding = self.judge_ledger(&table, probe).await;
        let broken = finding.verdict == super::Verdict::Fault;
        let mut findings = vec![finding];
        if broken {
            findings.extend(skipped("the ledger does not work"));
        } else {
            findings.extend(self.activity(&ledger, clock()).await);
        }
        findings
    }
}

#[cfg(test)]
mod tests;
