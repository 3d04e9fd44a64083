//! The examination: which checks there are to make for these rules, in which order, and what each one waits for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use lifecycle::IdentityName;

use crate::access::Subject;
use crate::app_identity::AppIdentity;
use crate::cloud::CloudQueries;
use crate::examination::Examination;
use crate::finding::{CHECKS, Check, Finding, Report};
use crate::installation::{Caller, Installation};
use crate::ledger::LedgerNotOpened;
use crate::staging::Copying;
use crate::unseen::NotLookedAt;
use app::ledger::Ledger;
use app::ports::management::{Audience, Cloud, QueryError};
use app::ports::table_store::TableStore;
use app::ports::{Blobs, Clock};

/// Clocks that differ by less are as good as equal: `Date` headers have whole seconds, and answers take time.
const SKEW_SEEN: time::Duration = time::Duration::seconds(60);
/// Beyond this a lost job is looked for in the wrong window (`azure/src/batch_endpoint/search.rs`), and an output may look
/// older than its submission.
const SKEW_BORNE: time::Duration = time::Duration::minutes(5);

/// An examination that is to be made.
pub struct Doctor {
    /// The app that is examined, as its settings have it.
    pub installation: Installation,
    /// Azure's services, asked as whoever looks.
    pub cloud: Arc<dyn Cloud>,
    /// The storage that uploads come from, as who looks.
    pub blobs: Arc<dyn Blobs>,
    /// The further identities of the settings, as each of whom some rules have their endpoints asked.
    pub others: Vec<FurtherIdentity>,
    /// The ledger with the store under it, or why it cannot be opened.
    pub ledger: Result<(Ledger, Arc<dyn TableStore>), LedgerNotOpened>,
    /// Whether the app itself looks or an operator: the checks that prove the app's rights by trying need the app.
    pub caller: Caller,
    /// Tells the present time, from which ages of events and runs are counted.
    pub clock: Clock,
    /// A text unlike that of any other examination: names the probe row and a job that does not exist.
    pub nonce: String,
    /// How long it may take in all.
    pub time: Duration,
}

/// Somebody else than the app itself as whom rules have their endpoints asked.
pub struct FurtherIdentity {
    /// The name that rules have for it.
    pub name: IdentityName,
    /// Which managed identity or application that name stands for.
    pub identity: AppIdentity,
    /// The world as it sees it.
    pub cloud: Arc<dyn Cloud>,
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
                    "with such a setting the app answers each invocation with an error, and Event Grid delivers again",
                    remedy,
                )
            })
            .collect();
        let others = CHECKS.iter().filter(|check| **check != Check::Settings);
        findings.extend(others.map(|check| Finding::skipped(*check, "the settings are not good")));
        Report::new("nobody", findings)
    }

    /// Whether what the rules watch is delivered to the app, the rights that they need are there, and nothing is written beside them,
    /// before they hold. Ends within its time.
    pub async fn deployment(self) -> Report {
        let Self { installation, cloud, caller, clock, nonce, time, .. } = self;
        let (exam, _) = begun(installation, cloud, (caller, nonce, time)).await;
        let (accounts, rules, staging, beside) =
            futures::join!(exam.accounts(clock()), exam.rules(), exam.staging(None), exam.beside_rules());
        Report::new(exam.subject.to_string(), [accounts, rules, staging, beside].concat())
    }

    /// Makes it. Ends within its time.
    pub async fn examine(self) -> Report {
        let Self { installation, cloud, blobs, others, ledger, caller, clock, nonce, time } = self;
        let of_ledger = ledger.as_ref().ok().map(|(ledger, _)| ledger.clone());
        let others = futures::future::join_all(
            others.into_iter().map(|other| as_further(other, &installation, (caller, nonce.clone(), time))),
        );
        let (exam, mut findings) = begun(installation.clone(), cloud, (caller, nonce.clone(), time)).await;
        let copying = Copying { blobs: blobs.as_ref(), ledger: of_ledger, now: clock() };
        let (others, rules_blob, ledger, workspaces, endpoints, rules, accounts, sign_in) = futures::join!(
            others,
            exam.rules_blob(),
            async {
                let findings = exam.ledger(ledger, &clock).await;
                // By the ledger's id. And what somebody else may copy says nothing of the app.
                let copies = exam.staging(Some(copying).filter(|_| caller == Caller::App)).await;
                [findings, copies].concat()
            },
            exam.workspaces(),
            exam.endpoints(),
            exam.rules(),
            exam.accounts(clock()),
            exam.sign_in(),
        );
        for more in [rules_blob, ledger, workspaces, endpoints, rules, accounts].into_iter().chain(others) {
            findings.extend(more);
        }
        findings.extend([sign_in, clocks(&exam.queries.clocks())]);
        Report::new(exam.subject.to_string(), findings)
    }
}

/// What all checks share, and what was found on the way there.
async fn begun(
    installation: Installation,
    cloud: Arc<dyn Cloud>,
    (caller, nonce, time): (Caller, String, Duration),
) -> (Examination, Vec<Finding>) {
    let queries = CloudQueries::new(cloud, time);
    let mut findings = settings(&installation);
    let (tokens, no_token) = tokens(&queries, caller, &installation.identity_remedy()).await;
    findings.extend(tokens);
    let (management, no_management) = management(&queries, caller, &no_token).await;
    findings.push(management);
    let seen = if no_management.is_none() { installation.site.as_deref() } else { None };
    let (subject, finding) = Subject::find(&queries, caller, &installation, seen).await;
    findings.push(finding);
    (Examination { at: installation, identity: None, queries, subject, nonce, no_token, no_management }, findings)
}

/// What is behind the rules that have their endpoint asked as somebody else, as that one sees it. A person sees it as themselves at
/// most, which says nothing of it.
async fn as_further(
    FurtherIdentity { name, identity, cloud }: FurtherIdentity,
    installation: &Installation,
    (caller, nonce, time): (Caller, String, Duration),
) -> Vec<Finding> {
    let about = format!("identity {name}");
    let at = Installation { identity, rules_blob: None, site: None, ..installation.clone() };
    if !at.rules.iter().any(|rule| rule.endpoint.identity.as_ref() == Some(&name)) {
        return vec![
            Finding::ok(Check::App, format!("no rule has its endpoint asked as {}", at.identity)).about(about),
        ];
    }
    if caller == Caller::Operator {
        let seen = format!("the rules' endpoints are asked as {}, and somebody else looks", at.identity);
        return vec![Finding::unknown(Check::App, seen, "run it as the app, with its settings").about(about)];
    }
    let queries = CloudQueries::new(cloud, time);
    let remedy = format!(
        "correct SCOREKEEPER_IDENTITY_{upper}, or what SCOREKEEPER_IDENTITY_{upper}_… says of it",
        upper = name.to_ascii_uppercase()
    );
    let (mut findings, no_token) = tokens(&queries, caller, &remedy).await;
    let (management, no_management) = management(&queries, caller, &no_token).await;
    findings.push(management);
    let (subject, finding) = Subject::find(&queries, caller, &at, None).await;
    findings.push(finding);
    let exam = Examination { at, identity: Some(name), queries, subject, nonce, no_token, no_management };
    let (workspaces, endpoints, rules) = futures::join!(exam.workspaces(), exam.endpoints(), exam.rules());
    let findings = [findings, workspaces, endpoints, rules].concat().into_iter();
    findings
        .map(|finding| match finding.about.clone() {
            Some(thing) => finding.about(format!("{thing}, {about}")),
            None => finding.about(about.clone()),
        })
        .collect()
}

fn settings(installation: &Installation) -> Vec<Finding> {
    let mut findings = installation.warnings.clone();
    findings.push(Finding::ok(Check::Settings, &installation.settings));
    findings
}

async fn tokens(queries: &CloudQueries, caller: Caller, remedy: &str) -> (Vec<Finding>, BTreeSet<Audience>) {
    const ALL: [(Audience, Check); 3] = [
        (Audience::Storage, Check::TokenStorage),
        (Audience::MachineLearning, Check::TokenMl),
        (Audience::ResourceManager, Check::TokenManagement),
    ];
    let asks = futures::stream::iter(ALL.map(|(audience, _)| queries.token(audience)));
    // For a person each token is a run of the Azure CLI, whose first one takes seconds; several at once take longer.
    let asked: Vec<_> = asks.buffered(if caller == Caller::App { ALL.len() } else { 1 }).collect().await;
    let none = asked.iter().all(Result::is_err);
    let (mut findings, mut missing) = (Vec::new(), BTreeSet::new());
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
            Finding::fault(check, error.to_string(), cause, remedy)
        });
        missing.insert(audience);
    }
    (findings, missing)
}

/// Whether Resource Manager answers at all, and if not, why nothing of it can be seen.
async fn management(
    queries: &CloudQueries,
    caller: Caller,
    no_token: &BTreeSet<Audience>,
) -> (Finding, Option<NotLookedAt>) {
    let check = Check::Management;
    if no_token.contains(&Audience::ResourceManager) {
        let reason = NotLookedAt::WithoutToken(Audience::ResourceManager);
        return (Finding::skipped(check, &reason), Some(reason));
    }
    match queries.subscriptions().await {
        Ok(_) | Err(QueryError::Missing(_) | QueryError::Forbidden { .. }) => (Finding::ok(check, "it answers"), None),
        Err(error @ QueryError::NoAnswer(_)) => {
            let reason = NotLookedAt::ManagementSilent;
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

#[cfg(test)]
mod tests;
