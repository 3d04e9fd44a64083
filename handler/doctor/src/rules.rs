//! What a rule reads and writes, and who does it: the app, and the compute in its name.
//!
//! A blob URL, or a datastore without stored credentials, is read by the invoker (the app) and mounted by the compute's
//! identity; both need the right. A datastore with an account key or a SAS needs neither. Outputs must go to a Blob
//! datastore of the workspace.
//!
//! Source: Azure Machine Learning, *Authorization on batch endpoints*, *Create jobs and input data for batch endpoints*.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::Rule;
use lifecycle::datastore::DatastorePath;
use lifecycle::watched_output::{WatchedOutput, watched_outputs};

use crate::access::Permission;
use crate::datastore::{DatastoreInfo, Store, sources, targets};
use crate::examination::Examination;
use crate::finding::{Check, Finding, Verdict};
use crate::permissions::{READ_INDEX_TAGS, STORED_CREDENTIALS};
use crate::remedy::deploy_or_ask;
use crate::storage::ContainerName;
use crate::unseen::{NotLookedAt, Unseen};
use crate::workspace::{ML, of_workspace};
use app::ports::management::QueryError;

impl Examination {
    /// Everything about what single rules read and write.
    pub(super) async fn rules(&self) -> Vec<Finding> {
        let one = self.at.rules.iter().map(|rule| async move {
            // Uploads are looked at as the app itself, whoever asks the endpoint.
            let inputs = async {
                if self.identity.is_some() {
                    return Vec::new();
                }
                [vec![self.input(rule).await], self.index_tags(rule).await].concat()
            };
            let (inputs, behind) = futures::join!(inputs, self.behind(rule));
            [inputs, behind].concat()
        });
        futures::future::join_all(one).await.concat()
    }

    /// What is behind the endpoint of a rule that is asked as whoever looks here.
    async fn behind(&self, rule: &Rule) -> Vec<Finding> {
        if rule.endpoint.identity != self.identity {
            return Vec::new();
        }
        let by_deployment = rule.by_deployment();
        let computes = futures::future::join_all(by_deployment.iter().map(|rule| self.compute(rule)));
        let (outputs, computes) = futures::join!(self.outputs(rule), computes);
        let stored = self.stored_credentials(rule).await;
        let published = self.publishes(rule).await;
        [outputs, published, stored, computes.concat()].concat()
    }

    /// A datastore: what is shown of it, `None` if it is not there, or why that is not known.
    pub(super) async fn datastore(&self, store: &Store) -> Result<Option<DatastoreInfo>, Unseen> {
        let workspace = store.workspace.as_deref().ok_or(NotLookedAt::WorkspaceUnnamed)?;
        self.visible(workspace).await?;
        match self.queries.resource(&format!("{workspace}/datastores/{}", store.name), ML).await {
            Ok(document) => Ok(Some(DatastoreInfo::read(&document))),
            Err(QueryError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether identities read the rule's inputs: `false` if stored credentials do; an error if nobody can tell.
    pub(super) async fn read_by_identity(&self, rule: &Rule) -> Result<bool, Unseen> {
        let (stores, by_url) = sources(rule);
        if by_url {
            return Ok(true);
        }
        for store in stores {
            match self.datastore(&store).await? {
                Some(shown) if shown.credentials.is_some() => {}
                Some(_) => return Ok(true),
                None => return Err(NotLookedAt::DatastoreMissing(store.name).into()),
            }
        }
        Ok(false)
    }

    /// Where the rule's blobs are; `None` if it takes those of any account.
    pub(super) fn watched(rule: &Rule) -> Option<ContainerName<'_>> {
        Some(ContainerName { account: rule.matches.account.as_deref()?, container: &rule.matches.container })
    }

    async fn input(&self, rule: &Rule) -> Finding {
        let check = Check::Input;
        let by_rule = |finding: Finding| finding.about(format!("rule {}", rule.id));
        let Some(place) = Self::watched(rule) else {
            return by_rule(Finding::unknown(
                check,
                "the rule takes blobs of any account, so there is none to look at",
                "name the account in match.account",
            ));
        };
        // The app itself looks at each input before a job is made, whoever reads it then; and it lists what lies there, by the same
        // right (`blobs/read`, which *Storage Blob Data Reader* holds).
        let swept = rule.sweep.every().is_some();
        let looked_at = rule.policy.verify_input || swept;
        let by_identity = match self.read_by_identity(rule).await {
            Ok(false) if !looked_at => {
                return by_rule(Finding::ok(check, "the inputs are read with the credentials of their datastore"));
            }
            Ok(by_identity) => by_identity,
            Err(reason) if !looked_at => return by_rule(Finding::skipped(check, reason)),
            Err(_) => true,
        };
        let url = self.blob_url(place).await;
        let mut finding = self.readable(check, place, url).await;
        if finding.verdict == Verdict::Fault && !by_identity {
            // The job gets at the blob all the same: so the look may be left out.
            finding.remedy = finding.remedy.map(|remedy| {
                let unswept = if swept { " and \"sweep\": \"off\"" } else { "" };
                format!("{remedy}; or set \"verifyInput\": false{unswept} in the rule {}, whose jobs read with their datastore's credentials", rule.id)
            });
        }
        finding.about(format!("container {}/{}", place.account, place.container))
    }

    /// Whether the app may read index tags, of a rule that asks for them.
    async fn index_tags(&self, rule: &Rule) -> Vec<Finding> {
        let (true, Some(place)) = (rule.asks_for_index_tags(), Self::watched(rule)) else { return Vec::new() };
        let ContainerName { account, container } = place;
        let check = Check::Input;
        let may = self.app_may(account, |account| account.container(container), READ_INDEX_TAGS).await;
        let finding = match may {
            Permission::Yes => Finding::ok(check, format!("the app may read index tags in {account}/{container}")),
            Permission::No => Finding::fault(
                check,
                format!("the app has no role that reads index tags in {account}/{container}"),
                format!(
                    "match.indexTags of the rule {} asks for them, and its uploads wait until they can be read",
                    rule.id
                ),
                // Of the built-in roles none but Storage Blob Data Owner holds it.
                deploy_or_ask("dataAccess.indexTags", "Scorekeeper index tags reader", "the app's identity", account),
            ),
            Permission::Unknown(why) => Finding::unknown(
                check,
                format!("whether the app may read index tags in {account}/{container} is not known: {why}"),
                "the role Reader on the storage account for whoever looks",
            ),
        };
        vec![finding.about(format!("index tags of container {account}/{container}"))]
    }

    /// Datastores that keep an account key or a SAS, where the app's role leaves out the action with which a job gets at it.
    async fn stored_credentials(&self, rule: &Rule) -> Vec<Finding> {
        let mut findings = Vec::new();
        for store in sources(rule).0.union(&targets(rule)) {
            let Ok(Some(DatastoreInfo { credentials: Some(kind), .. })) = self.datastore(store).await else { continue };
            let workspace = store.workspace.as_deref().unwrap_or_default();
            // Who has no right at all is told that.
            if self.lacks(workspace, Check::Invoke).await || !self.lacks_any(workspace, STORED_CREDENTIALS).await {
                continue;
            }
            let warning = Finding::warning(
                Check::Datastores,
                format!("the app's role leaves out {}, and the datastore keeps a stored {kind}", STORED_CREDENTIALS[0]),
                "a job gets at stored credentials in its invoker's name, so it may fail to read or write there",
                "deploy with mlAccess: dataScientist; or let the datastore keep no credentials, and give the compute's identity its roles",
            );
            findings.push(warning.about(format!("datastore {}, rule {}", store.name, rule.id)));
        }
        findings
    }

    async fn outputs(&self, rule: &Rule) -> Vec<Finding> {
        let stores = targets(rule);
        let about = format!("rule {}", rule.id);
        if rule.outputs.is_empty() {
            let seen = "the rule asks for no output";
            return [Check::Output, Check::OutputRead].map(|check| Finding::ok(check, seen).about(&about)).into();
        }
        if stores.len() < rule.outputs.len().min(1) || stores.is_empty() {
            let fault = Finding::fault(
                Check::Output,
                "an output is not a path on a datastore",
                "batch endpoints write to datastores only, and nothing else can be looked at",
                format!("write outputs of the rule {} as azureml://datastores/NAME/paths/…", rule.id),
            );
            return vec![
                fault.about(&about),
                Finding::skipped(Check::OutputRead, "an output is not a path on a datastore").about(about),
            ];
        }
        let mut findings = Vec::new();
        for store in &stores {
            let about = format!("datastore {}", store.name);
            let (itself, read) = self.output(rule, store).await;
            findings.extend([itself.about(&about), read.about(about)]);
        }
        findings.extend(self.watched_outputs(rule, &stores).await);
        findings
    }

    /// Outputs that fall into a place that a rule watches: by the containers that their datastores stand for.
    async fn watched_outputs(&self, rule: &Rule, stores: &BTreeSet<Store>) -> Vec<Finding> {
        let mut places = BTreeMap::new();
        for store in stores {
            if let Ok(Some(shown)) = self.datastore(store).await {
                places.insert(store.name.to_ascii_lowercase(), shown);
            }
        }
        let lies_in = |place: &DatastorePath, watcher: &Rule| {
            let shown = places.get(&place.datastore.to_ascii_lowercase());
            shown.is_some_and(|shown| {
                let account = watcher.matches.account.as_ref();
                *shown.container == *watcher.matches.container
                    && account.is_none_or(|account| **account == *shown.account)
            })
        };
        let warning = |it: WatchedOutput<'_>| {
            let seen = format!(
                "output {}, such as {}, falls into the place that the rule {} watches: container {}",
                it.output, it.example, it.watched_by.id, it.watched_by.matches.container
            );
            let cause = "each output is an event more that is skipped, and what other tools write beside it is scored";
            let remedy =
                "write to a container that no rule watches, or narrow match.prefix of the rule that watches it";
            Finding::warning(Check::Output, seen, cause, remedy).about(format!("rule {}", rule.id))
        };
        watched_outputs(&self.at.rules, rule, lies_in).into_iter().map(warning).collect()
    }

    async fn output(&self, rule: &Rule, store: &Store) -> (Finding, Finding) {
        let check = Check::Output;
        let skipped = |reason: &str| Finding::skipped(Check::OutputRead, reason);
        let workspace = store.workspace.as_deref().unwrap_or_default();
        match self.datastore(store).await {
            Ok(Some(shown)) => match shown.fault() {
                None => {
                    let with = shown
                        .credentials
                        .as_deref()
                        .map_or("without stored credentials".to_owned(), |kind| format!("with a stored {kind}"));
                    let seen = format!("container {}/{}, {with}", shown.account, shown.container);
                    let place = ContainerName { account: &shown.account, container: &shown.container };
                    let read = self.readable(Check::OutputRead, place, Some(shown.url.clone())).await;
                    (Finding::ok(check, seen), read)
                }
                Some(why) => {
                    let fault = Finding::fault(
                        check,
                        why,
                        "batch endpoints write to Blob datastores only",
                        format!(
                            "{} --file DATASTORE.yml with `type: azure_blob` registers the container as one; name it in outputs of the rule {}",
                            of_workspace("az ml datastore create", workspace),
                            rule.id
                        ),
                    );
                    (fault, skipped("the datastore is none for outputs"))
                }
            },
            Ok(None) => {
                let fault = Finding::fault(
                    check,
                    format!("the workspace has no datastore {}", store.name),
                    "every job fails when it writes its output",
                    format!(
                        "{} --query \"[].name\" --output tsv shows those that are; correct outputs of the rule {}, or register it",
                        of_workspace("az ml datastore list", workspace),
                        rule.id
                    ),
                );
                (fault, skipped("the datastore is not there"))
            }
            Err(Unseen::NotLookedAt(reason)) => (Finding::skipped(check, &reason), skipped(&reason.to_string())),
            Err(Unseen::Query(QueryError::Forbidden { .. })) if self.lacks(workspace, Check::Datastores).await => {
                (Finding::skipped(check, "the app may not read datastores"), skipped("the app may not read datastores"))
            }
            Err(Unseen::Query(error)) => (
                Self::not_visible(check, &error, "Microsoft.MachineLearningServices/workspaces/datastores/read"),
                skipped("the datastore was not seen"),
            ),
        }
    }
}
