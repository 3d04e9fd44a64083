//! The workspace: what the app may do there, its jobs, and the region's quotas.

use serde_json::Value;

use crate::access::{own_rights, rights};
use crate::examination::Examination;
use crate::finding::{Check, Finding};
use crate::installation::Caller;
use crate::permissions::{CAPABILITIES, Grant, RUN, missing};
use crate::remedy::{ResourceId, deploy_or_ask, in_workspace, shell};
use crate::unseen::{NotLookedAt, NotSeen};
use app::ports::management::{Audience, QueryError};

/// Of everything below `Microsoft.MachineLearningServices`; the same as the client of jobs uses.
pub(super) const ML: &str = "2025-12-01";
/// A quota that is used to this part, in percent, is tight.
const TIGHT: f64 = 90.0;
/// Pages of lists that have a handful of members.
pub(super) const PAGES: usize = 10;

impl Examination {
    /// Everything about the workspaces that the rules name.
    pub(super) async fn workspaces(&self) -> Vec<Finding> {
        let named =
            Self::grouped(self.asking(), |rule| rule.endpoint.workspace.as_ref().map(|id| id.to_ascii_lowercase()));
        let one = named.iter().map(|(_, rules)| async {
            // As it is written in the first rule: commands show it.
            let id = rules[0].endpoint.workspace.as_deref().unwrap_or_default();
            self.workspace(id).await
        });
        let mut findings = futures::future::join_all(one).await.concat();
        for rule in self.asking().filter(|rule| rule.endpoint.workspace.is_none()) {
            findings.push(
                Finding::unknown(
                    Check::Workspace,
                    NotLookedAt::WorkspaceUnnamed.to_string(),
                    "set endpoint.workspace in the rule: az ml workspace show --name WORKSPACE --resource-group GROUP --query id --output tsv",
                )
                .about(format!("rule {}", rule.id)),
            );
        }
        findings
    }

    async fn workspace(&self, id: &str) -> Vec<Finding> {
        let about = format!("workspace {}", ResourceId::read(id).map_or(id, |id| id.name));
        let mut findings = self.permissions(id).await;
        findings.push(self.itself(id).await);
        findings.push(self.job_list(id).await);
        findings.push(self.quota(id).await);
        findings.into_iter().map(|finding| finding.about(&about)).collect()
    }

    /// The workspace as Resource Manager shows it, or why nothing in it can be looked at.
    pub(super) async fn visible(&self, workspace: &str) -> Result<Value, NotLookedAt> {
        if let Some(reason) = self.no_token_reason(Audience::ResourceManager) {
            return Err(reason);
        }
        match self.queries.resource(workspace, ML).await {
            Ok(document) => Ok(document),
            Err(QueryError::Missing(_)) => Err(NotLookedAt::WorkspaceMissing),
            // What lies in it may be seen all the same.
            Err(_) => Ok(Value::Null),
        }
    }

    async fn itself(&self, id: &str) -> Finding {
        let check = Check::Workspace;
        if let Some(reason) = self.no_token_reason(Audience::ResourceManager) {
            return Finding::skipped(check, reason);
        }
        match self.queries.resource(id, ML).await {
            Ok(document) => {
                let region = document.get("location").and_then(Value::as_str).unwrap_or("an unnamed region");
                Finding::ok(check, format!("it is there, in {region}"))
            }
            Err(QueryError::Missing(why)) => {
                let list = ResourceId::read(id)
                    .map_or_else(String::new, |id| format!(" --subscription {}", shell(id.subscription)));
                Finding::fault(
                    check,
                    why,
                    "the rules name a workspace that is not there: lost jobs cannot be looked for, and outputs not found",
                    format!(
                        "az ml workspace list{list} --query \"[].id\" --output tsv shows those that are; correct endpoint.workspace in the rules"
                    ),
                )
            }
            Err(QueryError::Forbidden { .. }) if self.lacks(id, Check::Invoke).await => {
                Finding::skipped(check, "the app has no right to")
            }
            Err(error) => {
                Self::not_visible(check, &error, "Microsoft.MachineLearningServices/workspaces/read (role Reader)")
            }
        }
    }

    /// What the app may do with the workspace, or why that is not known, with what would be needed.
    async fn grants(&self, workspace: &str) -> Result<(Vec<Grant>, Vec<String>), NotSeen> {
        let reader = || "Microsoft.Authorization/permissions/read on the workspace (role Reader)".to_owned();
        match (self.subject.caller, &self.subject.principal) {
            (Caller::App, _) => {
                let rights = own_rights(&self.queries, workspace).await;
                rights
                    .map(|rights| (rights.grants, rights.doubtful))
                    .map_err(|error| NotSeen { why: error.to_string(), needed: reader() })
            }
            (Caller::Operator, Some(principal)) => {
                let rights = rights(&self.queries, principal, workspace).await;
                let needed = "Microsoft.Authorization/roleAssignments/read on the workspace (role Reader)".to_owned();
                rights
                    .map(|rights| (rights.grants, rights.doubtful))
                    .map_err(|error| NotSeen { why: error.to_string(), needed })
            }
            (Caller::Operator, None) => Err(NotSeen {
                why: "the app's identity is not known, and the rights of whoever is signed in are not the app's"
                    .to_owned(),
                needed: "--app with the ARM id of the function app".to_owned(),
            }),
        }
    }

    /// Whether the app surely lacks something that a capability takes.
    pub(super) async fn lacks(&self, workspace: &str, capability: Check) -> bool {
        let needed = CAPABILITIES.iter().filter(|(check, _)| *check == capability).flat_map(|(_, needed)| *needed);
        self.lacks_any(workspace, &needed.copied().collect::<Vec<_>>()).await
    }

    /// Whether the app surely lacks one of these actions.
    pub(super) async fn lacks_any(&self, workspace: &str, needed: &[&str]) -> bool {
        let Ok((grants, doubtful)) = self.grants(workspace).await else { return false };
        doubtful.is_empty() && !missing(&grants, needed).is_empty()
    }

    async fn permissions(&self, workspace: &str) -> Vec<Finding> {
        let skipped =
            |reason: &NotLookedAt| CAPABILITIES.iter().map(|(check, _)| Finding::skipped(*check, reason)).collect();
        let known = match self.visible(workspace).await {
            Err(reason) => return skipped(&reason),
            Ok(_) => self.grants(workspace).await,
        };
        let (grants, doubtful) = match known {
            Ok(known) => known,
            Err(NotSeen { why, needed }) => {
                return CAPABILITIES.iter().map(|(check, _)| Finding::unknown(*check, &why, &needed)).collect();
            }
        };
        judge(&grants, &doubtful, &self.ml_role(Some(workspace)))
    }

    async fn job_list(&self, workspace: &str) -> Finding {
        let check = Check::JobList;
        if let Err(reason) = self.visible(workspace).await {
            return Finding::skipped(check, reason);
        }
        match self.queries.list(&format!("{workspace}/jobs"), ML, None, 1).await {
            Ok(listed) => {
                let ended = |job: &&Value| {
                    let status = job.pointer("/properties/status").and_then(Value::as_str).unwrap_or_default();
                    matches!(status, "Completed" | "Failed" | "Canceled")
                };
                let count = listed.items.len();
                let on = count - listed.items.iter().filter(ended).count();
                let more = if listed.complete { "in all" } else { "on the first page" };
                Finding::ok(check, format!("{count} jobs {more}, {on} of them not ended"))
            }
            Err(QueryError::Forbidden { .. }) if self.lacks(workspace, Check::Jobs).await => {
                Finding::skipped(check, "the app may not list jobs")
            }
            Err(error) => Self::not_visible(check, &error, "Microsoft.MachineLearningServices/workspaces/jobs/read"),
        }
    }

    async fn quota(&self, workspace: &str) -> Finding {
        let check = Check::Quota;
        let document = match self.visible(workspace).await {
            Ok(document) => document,
            Err(reason) => return Finding::skipped(check, reason),
        };
        let (Some(region), Some(id)) = (document.get("location").and_then(Value::as_str), ResourceId::read(workspace))
        else {
            return Finding::skipped(check, "the region of the workspace could not be read");
        };
        let region: String = region.to_ascii_lowercase().split_whitespace().collect();
        let path = format!(
            "/subscriptions/{}/providers/Microsoft.MachineLearningServices/locations/{region}/usages",
            id.subscription
        );
        match self.queries.list(&path, ML, None, PAGES).await {
            Ok(listed) => {
                let usages: Vec<Usage> = listed.items.iter().filter_map(Usage::read).collect();
                judge_usages(&usages, &region, id.subscription)
            }
            Err(error) => Self::not_visible(
                check,
                &error,
                "Microsoft.MachineLearningServices/locations/usages/read on the subscription (role Reader)",
            ),
        }
    }

    /// How to give the app its role on the workspace.
    pub(super) fn ml_role(&self, workspace: Option<&str>) -> String {
        deploy_or_ask(
            "the workspace among workspaceResourceIds, and mlAccess",
            "AzureML Data Scientist",
            format_args!("the app's identity {}", self.subject.assignee),
            workspace.unwrap_or("the workspace"),
        )
    }
}

/// What the app may do, by capability. `fix` is the command that gives it the role.
fn judge(grants: &[Grant], doubtful: &[String], fix: &str) -> Vec<Finding> {
    const LATE: &str = "a new role assignment takes up to ten minutes to be in force";
    let lacking: Vec<_> =
        CAPABILITIES.iter().map(|(check, needed)| (*check, *needed, missing(grants, needed))).collect();
    if doubtful.is_empty() && lacking.iter().all(|(_, needed, missing)| missing.len() == needed.len()) {
        let mut findings = vec![Finding::fault(
            Check::Invoke,
            "the app has no right on the workspace at all",
            format!("the app's identity has no role there; {LATE}"),
            fix,
        )];
        let others = lacking
            .iter()
            .skip(1)
            .map(|(check, ..)| Finding::skipped(*check, "the app has no right on the workspace at all"));
        findings.extend(others);
        return findings;
    }
    let mut faulty = None;
    let mut findings = Vec::new();
    for (check, needed, missing) in lacking {
        let seen = format!("not allowed: {}", missing.join(", "));
        findings.push(if missing.is_empty() {
            Finding::ok(check, format!("{} of {} actions are allowed", needed.len(), needed.len()))
        } else if !doubtful.is_empty() {
            let needed = format!("the right to read {}", doubtful.join(", "));
            Finding::unknown(check, format!("{seen}, as far as is known"), needed)
        } else if let Some(first) = faulty {
            Finding::see(check, seen, first)
        } else {
            faulty = Some(check);
            let cause = format!("the roles of the app's identity on the workspace leave it out; {LATE}");
            Finding::fault(check, seen, cause, fix)
        });
    }
    let run = missing(grants, RUN);
    if !run.is_empty() && findings.iter().all(|finding| finding.verdict == super::Verdict::Ok) {
        findings[0] = Finding::warning(
            Check::Invoke,
            format!("not allowed: {}", run.join(", ")),
            "jobs run in the name of their invoker, and Microsoft lists these actions; a job may fail for want of one",
            fix,
        );
    }
    findings
}

/// One quota of a region and how much of it is used.
#[derive(Debug, Clone, PartialEq)]
struct Usage {
    name: String,
    used: f64,
    limit: f64,
}

impl Usage {
    fn read(value: &Value) -> Option<Self> {
        let name = value.pointer("/name/localizedValue").or_else(|| value.pointer("/name/value"))?.as_str()?;
        let number = |name: &str| value.get(name).and_then(Value::as_f64);
        Some(Self { name: name.to_owned(), used: number("currentValue")?, limit: number("limit")? })
    }

    /// Used to the limit or nearly so. Families of machines that the subscription does not have (limit 0) are no news.
    fn is_tight(&self) -> bool {
        self.limit > 0.0 && self.used * 100.0 >= self.limit * TIGHT
    }
}

fn judge_usages(usages: &[Usage], region: &str, subscription: &str) -> Finding {
    let check = Check::Quota;
    if usages.is_empty() {
        return Finding::unknown(
            check,
            "Resource Manager lists no quota of the region",
            "the role Reader on the subscription",
        );
    }
    let tight: Vec<String> = usages
        .iter()
        .filter(|usage| usage.is_tight())
        .map(|usage| format!("{}: {} of {}", usage.name, usage.used, usage.limit))
        .collect();
    if tight.is_empty() {
        return Finding::ok(check, format!("none of {} quotas in {region} is used to {TIGHT} %", usages.len()));
    }
    Finding::warning(
        check,
        tight.into_iter().collect::<Vec<_>>().join("; "),
        "jobs wait until others have ended; the limit is of the subscription and region",
        format!(
            "ask for more: az quota list --scope /subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{region}, or set maxInFlight in the rules"
        ),
    )
}

/// `in_workspace` for those who show a command with it.
pub(super) fn of_workspace(command: &str, workspace: &str) -> String {
    format!("{command} {}", in_workspace(workspace))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Verdict;

    fn grant(actions: &[&str], not_actions: &[&str]) -> Vec<Grant> {
        vec![Grant::read(&json!({"actions": actions, "notActions": not_actions}))]
    }

    fn verdicts(grants: &[Grant], doubtful: &[String]) -> Vec<(Check, Verdict)> {
        judge(grants, doubtful, "az …").into_iter().map(|finding| (finding.check, finding.verdict)).collect()
    }

    #[test]
    fn a_missing_right_is_one_fault_and_names_the_capability() {
        use Verdict::{Fault, Ok, Unknown, Warning};
        let of =
            |verdicts: [Verdict; 4]| CAPABILITIES.iter().map(|(check, _)| *check).zip(verdicts).collect::<Vec<_>>();
        assert_eq!(verdicts(&grant(&["*"], &[]), &[]), of([Ok, Ok, Ok, Ok]));
        assert_eq!(verdicts(&[], &[]), of([Fault, Unknown, Unknown, Unknown]), "one cause, one fault");
        assert_eq!(verdicts(&grant(&["*"], &["*/jobs/cancel/action"]), &[]), of([Ok, Ok, Fault, Ok]));
        assert_eq!(
            verdicts(&grant(&["*/read"], &[]), &[]),
            of([Fault, Ok, Unknown, Ok]),
            "a reader: one cause, one fault"
        );
        assert_eq!(verdicts(&grant(&["*"], &["*/snapshots/read"]), &[]), of([Warning, Ok, Ok, Ok]));
        let doubtful = ["a role that cannot be read".to_owned()];
        assert_eq!(verdicts(&[], &doubtful), of([Unknown, Unknown, Unknown, Unknown]));
        assert_eq!(verdicts(&grant(&["*"], &[]), &doubtful), of([Ok, Ok, Ok, Ok]));
    }

    #[test]
    fn a_quota_is_tight_from_nine_tenths_on_and_families_without_quota_are_no_news() {
        let usage = |used, limit| Usage { name: "Total Cluster Dedicated Regional vCPUs".into(), used, limit };
        let verdict = |usages: &[Usage]| judge_usages(usages, "westeurope", "s").verdict;
        assert_eq!(verdict(&[usage(0.0, 100.0), usage(0.0, 0.0)]), Verdict::Ok);
        assert_eq!(verdict(&[usage(89.0, 100.0)]), Verdict::Ok);
        assert_eq!(verdict(&[usage(0.0, 10.0), usage(90.0, 100.0)]), Verdict::Warning);
        assert_eq!(verdict(&[]), Verdict::Unknown);
        let read = Usage::read(
            &json!({"currentValue": 7, "limit": 100, "name": {"value": "x", "localizedValue": "X"}, "unit": "Count"}),
        );
        assert_eq!(read, Some(Usage { name: "X".into(), used: 7.0, limit: 100.0 }));
    }
}
