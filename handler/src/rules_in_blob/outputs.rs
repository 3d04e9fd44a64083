//! Where the outputs of rules from a blob go: which container a datastore is, only its workspace tells.
//!
//! Whoever writes beside the rules could write the rules too, and whoever writes into the app's own containers its code. So each
//! version is looked at before it holds; while nobody can tell, the rules before it are kept.

use std::fmt;

use app::ports::Inconclusive;
use azure::by_identity::ByIdentity;
use azure::resource_manager::Client;
use lifecycle::rule::{Allowed, WrittenDatastore, is_apps_own};
use lifecycle::{Rule, Rules};

/// An output that must not be written where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadOutput {
    rule: String,
    datastore: String,
    container: String,
    whose: Whose,
}

/// What a container holds that no job may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The rules: whoever may write beside them could write them too.
    Rules,
    /// The app's code, its keys or what could not be delivered.
    App,
}

impl fmt::Display for BadOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, datastore, container, whose } = self;
        let (what, remedy) = match whose {
            Whose::Rules => ("the rules themselves", "put the rules into a container of their own (SCOREKEEPER_RULES)"),
            Whose::App => ("the app's code, its keys or what could not be delivered", "name another datastore"),
        };
        write!(
            f,
            "rule {rule} writes to the datastore {datastore}, which is the container {container}; expected another one than \
             that of {what}; {remedy}"
        )
    }
}

/// Asks Resource Manager which containers the outputs of rules would be written to.
pub struct Outputs {
    managers: ByIdentity<Client>,
}

impl Outputs {
    /// By this Resource Manager, asked as each rule's identity.
    pub fn new(managers: ByIdentity<Client>) -> Self {
        Self { managers }
    }

    /// The outputs of rules that must not be written. A datastore that is not there is none that anybody writes to.
    pub async fn bad(&self, rules: &Rules, allowed: &Allowed) -> Result<Vec<BadOutput>, Inconclusive> {
        let mut asked = Vec::<(WrittenDatastore, &Rule)>::new();
        for rule in rules {
            for written in rule.written_datastores() {
                let is_same = |known: &Rule| known.endpoint.identity == rule.endpoint.identity;
                if !asked.iter().any(|(known, by)| *known == written && is_same(by)) {
                    asked.push((written, rule));
                }
            }
        }
        let looks = asked.into_iter().map(async |(WrittenDatastore { workspace, name }, rule)| {
            // Rules from a blob name it.
            let Some(workspace) = workspace else { return Ok::<_, Inconclusive>(None) };
            let manager = self.managers.of(rule.endpoint.identity.as_ref())?;
            let rule = rule.id.as_str();
            let Some((account, container)) = manager.container_of(&workspace, &name).await? else {
                return Ok(None);
            };
            let whose = if account == allowed.blob.account && container == allowed.blob.container {
                Whose::Rules
            } else if allowed.own.iter().any(|own| **own == *account) && is_apps_own(&container) {
                Whose::App
            } else {
                return Ok(None);
            };
            let container = format!("{account}/{container}");
            Ok(Some(BadOutput { rule: rule.to_owned(), datastore: name, container, whose }))
        });
        let found = futures::future::try_join_all(looks).await?;
        Ok(found.into_iter().flatten().collect())
    }
}
