//! Whether the app may write to where a rule publishes its results.

use lifecycle::Rule;

use crate::access::Permission;
use crate::datastore::{Store, published};
use crate::examination::Examination;
use crate::finding::{Check, Finding};
use crate::permissions::WRITE_BLOBS;
use crate::remedy::deploy_or_ask;
use crate::unseen::Unseen;

const CHECK: Check = Check::OutputPublish;

impl Examination {
    /// One finding for each datastore that the rule publishes to.
    pub(super) async fn publishes(&self, rule: &Rule) -> Vec<Finding> {
        let stores = published(rule);
        if stores.is_empty() {
            return vec![Finding::ok(CHECK, "it publishes nothing").about(format!("rule {}", rule.id))];
        }
        let mut findings = Vec::new();
        for store in stores {
            let finding = self.may_publish(&store).await;
            findings.push(finding.about(format!("datastore {}, rule {}", store.name, rule.id)));
        }
        findings
    }

    async fn may_publish(&self, store: &Store) -> Finding {
        let shown = match self.datastore(store).await {
            Ok(Some(shown)) => shown,
            Ok(None) => {
                return Finding::fault(
                    CHECK,
                    format!("the workspace has no datastore {}", store.name),
                    "no result is published there; scorings end as scored, not published",
                    "register the datastore, or correct `publish.uri` in the rule",
                );
            }
            Err(Unseen::NotLookedAt(reason)) => return Finding::skipped(CHECK, reason),
            Err(Unseen::Query(_)) => return Finding::skipped(CHECK, "the datastore was not seen"),
        };
        if let Some(why) = shown.fault() {
            let cause = "results are published to Blob datastores only";
            return Finding::fault(CHECK, why, cause, "name a Blob datastore in `publish.uri` of the rule");
        }
        let (account, container) = (&shown.account, &shown.container);
        match self.app_may(account, |account| account.container(container), WRITE_BLOBS).await {
            Permission::Yes => Finding::ok(CHECK, format!("the app may write to {account}/{container}")),
            Permission::No => Finding::fault(
                CHECK,
                format!("the app's identity has no role that writes to {account}/{container}"),
                "no result is published there; scorings wait for it, and end as scored, not published",
                deploy_or_ask(
                    "its container among dataAccess.publishedContainerResourceIds",
                    "Storage Blob Data Contributor",
                    format_args!("the app's identity {}", self.subject.assignee),
                    format_args!("the container {account}/{container}"),
                ),
            ),
            Permission::Unknown(why) => Finding::unknown(
                CHECK,
                format!("whether the app may write to {account}/{container} is not known: {why}"),
                "--app, and the role Reader on the function app and on the storage account for whoever looks",
            ),
        }
    }
}
