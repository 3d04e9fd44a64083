//! What a rule reads and writes, and who does it: the app, and the compute in its name.
//!
//! A blob URL, or a datastore without stored credentials, is read by the invoker (the app) and mounted by the compute's
//! identity; both need the right. A datastore with an account key or a SAS needs neither. Outputs must go to a Blob
//! datastore of the workspace.
//!
//! Source: Azure Machine Learning, *Authorization on batch endpoints*, *Create jobs and input data for batch endpoints*.

use lifecycle::Rule;

use crate::datastore::{Shown, Store, sources, targets};
use crate::examine::Exam;
use crate::finding::{Check, Finding};
use crate::storage::Place;
use crate::workspace::{ML, NO_WORKSPACE, of_workspace};
use app::ports::management::Trouble;

impl Exam {
    /// Everything about what single rules read and write.
    pub(super) async fn rules(&self) -> Vec<Finding> {
        let one = self.at.rules.iter().map(|rule| async move {
            let (input, outputs, compute) = futures::join!(self.input(rule), self.outputs(rule), self.compute(rule));
            [vec![input], outputs, compute].concat()
        });
        futures::future::join_all(one).await.concat()
    }

    /// A datastore: what is shown of it, `None` if it is not there, or why that is not known.
    pub(super) async fn datastore(&self, store: &Store) -> Result<Option<Shown>, Result<Trouble, String>> {
        let workspace = store.workspace.as_deref().ok_or_else(|| Err(NO_WORKSPACE.to_owned()))?;
        self.in_sight(workspace).await.map_err(Err)?;
        match self.eyes.resource(&format!("{workspace}/datastores/{}", store.name), ML).await {
            Ok(document) => Ok(Some(Shown::read(&document))),
            Err(Trouble::Missing(_)) => Ok(None),
            Err(trouble) => Err(Ok(trouble)),
        }
    }

    /// Whether identities read the rule's inputs: `false` if stored credentials do; an error if nobody can tell.
    pub(super) async fn read_by_identity(&self, rule: &Rule) -> Result<bool, String> {
        let (stores, by_url) = sources(rule);
        if by_url {
            return Ok(true);
        }
        for store in stores {
            match self.datastore(&store).await {
                Ok(Some(shown)) if shown.credentials.is_some() => {}
                Ok(Some(_)) => return Ok(true),
                Ok(None) => return Err(format!("the workspace has no datastore {}", store.name)),
                Err(Ok(trouble)) => return Err(trouble.to_string()),
                Err(Err(because)) => return Err(because),
            }
        }
        Ok(false)
    }

    /// Where the rule's blobs are; `None` if it takes those of any account.
    pub(super) fn watched(rule: &Rule) -> Option<Place<'_>> {
        Some(Place { account: rule.matches.account.as_deref()?, container: &rule.matches.container })
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
        match self.read_by_identity(rule).await {
            Ok(true) => {}
            Ok(false) => {
                return by_rule(Finding::ok(check, "the inputs are read with the credentials of their datastore"));
            }
            Err(because) => return by_rule(Finding::skipped(check, because)),
        }
        let url = self.blob_url(place).await;
        let finding = self.readable(check, place, url).await;
        finding.about(format!("container {}/{}", place.account, place.container))
    }

    async fn outputs(&self, rule: &Rule) -> Vec<Finding> {
        let stores = targets(rule);
        let about = format!("rule {}", rule.id);
        if stores.len() < rule.outputs.len().min(1) || stores.is_empty() {
            let fault = Finding::fault(
                Check::Output,
                "an output is no path on a datastore",
                "batch endpoints write to datastores only, and nothing else can be looked at",
                format!("write outputs of the rule {} as azureml://datastores/NAME/paths/…", rule.id),
            );
            return vec![
                fault.about(&about),
                Finding::skipped(Check::OutputRead, "an output is no path on a datastore").about(about),
            ];
        }
        let mut findings = Vec::new();
        for store in &stores {
            let about = format!("datastore {}", store.name);
            let (itself, read) = self.output(rule, store).await;
            findings.extend([itself.about(&about), read.about(about)]);
        }
        findings
    }

    async fn output(&self, rule: &Rule, store: &Store) -> (Finding, Finding) {
        let check = Check::Output;
        let skipped = |because: &str| Finding::skipped(Check::OutputRead, because);
        let workspace = store.workspace.as_deref().unwrap_or_default();
        match self.datastore(store).await {
            Ok(Some(shown)) => match shown.fault() {
                None => {
                    let with = shown
                        .credentials
                        .as_deref()
                        .map_or("without stored credentials".to_owned(), |kind| format!("with a stored {kind}"));
                    let seen = format!("container {}/{}, {with}", shown.account, shown.container);
                    let place = Place { account: &shown.account, container: &shown.container };
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
            Err(Err(because)) => (Finding::skipped(check, &because), skipped(&because)),
            Err(Ok(Trouble::Forbidden { .. })) if self.lacks(workspace, Check::Datastores).await => {
                (Finding::skipped(check, "the app may not read datastores"), skipped("the app may not read datastores"))
            }
            Err(Ok(trouble)) => (
                Self::unseen(check, &trouble, "Microsoft.MachineLearningServices/workspaces/datastores/read"),
                skipped("the datastore was not seen"),
            ),
        }
    }
}
