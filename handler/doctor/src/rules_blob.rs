//! The blob that the rules lie in: whether it can be read, by the app too, whether it is good, and whether nothing writes beside it or
//! into the app's own containers.

use std::collections::BTreeSet;

use lifecycle::rule::is_apps_own;

use crate::access::Permission;
use crate::datastore::Store;
use crate::examination::Examination;
use crate::finding::{Check, Finding};
use crate::installation::Caller;
use crate::permissions::READ_BLOBS;
use crate::remedy::deploy_with;
use crate::rules_seen::{RulesSeen, RulesState};

const CHECK: Check = Check::Settings;

impl Examination {
    /// Everything about the blob, if the rules lie in one.
    pub(super) async fn rules_blob(&self) -> Vec<Finding> {
        let beside = self.beside_rules();
        let Some(seen) = &self.at.rules_blob else { return beside.await };
        let (right, beside) = futures::join!(self.may_read_rules(seen), beside);
        let all = [Some(self.rules_state(seen)), right].into_iter().flatten();
        all.map(|finding| finding.about(&seen.url)).chain(beside).collect()
    }

    /// Outputs that go where none may go: beside the rules, if they lie in a blob, since whoever writes them could write the rules;
    /// and into the containers that the app has for itself.
    pub(super) async fn beside_rules(&self) -> Vec<Finding> {
        let mut stores = BTreeSet::new();
        for written in self.asking().flat_map(lifecycle::Rule::written_datastores) {
            stores.insert(Store { workspace: written.workspace.map(|id| id.to_string()), name: written.name });
        }
        let mut findings = Vec::new();
        for store in stores {
            let Ok(Some(shown)) = self.datastore(&store).await else { continue };
            let beside = |seen: &&RulesSeen| *shown.account == *seen.account && *shown.container == *seen.container;
            if let Some(seen) = self.at.rules_blob.as_ref().filter(beside) {
                let finding = Finding::fault(
                    CHECK,
                    format!("datastore {} is the container of the rules", store.name),
                    "whoever writes outputs could write the rules too, and with them choose what the app does: it refuses them",
                    "put the rules into a container of their own (SCOREKEEPER_RULES)",
                );
                findings.push(finding.about(&seen.url));
            } else if self.at.queue_account.as_ref() == Some(&shown.account) && is_apps_own(&shown.container) {
                let finding = Finding::fault(
                    CHECK,
                    format!("datastore {} is the container {} of the app's own account", store.name, shown.container),
                    "the app keeps its code, its keys or what could not be delivered there: whoever writes outputs could choose what the app does",
                    "name another datastore in the rules' outputs",
                );
                findings.push(finding.about(format!("datastore {}", store.name)));
            }
        }
        findings
    }

    fn rules_state(&self, seen: &RulesSeen) -> Finding {
        const KEPT: &str =
            "the app goes on by the last good rules, and a process that starts anew refuses each invocation";
        match &seen.state {
            RulesState::Good { etag } => Finding::ok(CHECK, format!("good rules of ETag {etag}")),
            RulesState::Broken(why) => Finding::fault(
                CHECK,
                why,
                KEPT,
                format!("correct them, then scorekeeper rules push FILE --to {}", seen.url),
            ),
            RulesState::Unread(why) if self.subject.caller == Caller::App => {
                let remedy = format!(
                    "put the rules there (scorekeeper rules push FILE --to {}), and let the app read them: the role Storage Blob Data Reader on the container, and a way through the account's firewall",
                    seen.url
                );
                Finding::fault(CHECK, why, KEPT, remedy)
            }
            RulesState::Unread(why) => {
                Finding::unknown(CHECK, why, "the role Storage Blob Data Reader on their container for whoever looks")
            }
        }
    }

    /// Whether the app may read it, by its roles.
    async fn may_read_rules(&self, seen: &RulesSeen) -> Option<Finding> {
        let RulesSeen { account, container, state, .. } = seen;
        match self.app_may(account, |account| account.container(container), READ_BLOBS).await {
            Permission::Yes => Some(Finding::ok(CHECK, "the app may read them")),
            Permission::No => Some(Finding::fault(
                CHECK,
                format!("the app has no role that reads {account}/{container}"),
                "it cannot read its rules, and refuses each invocation until it can",
                deploy_with("dataAccess.rulesContainerResourceId", "Storage Blob Data Reader"),
            )),
            // The app has just read it.
            Permission::Unknown(_) if self.subject.caller == Caller::App && !matches!(state, RulesState::Unread(_)) => {
                None
            }
            Permission::Unknown(why) => Some(Finding::unknown(
                CHECK,
                format!("whether the app may read its rules is not known: {why}"),
                "--app, and the role Reader on the function app and on the storage account for whoever looks",
            )),
        }
    }
}
