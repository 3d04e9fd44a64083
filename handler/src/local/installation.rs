//! What stands in for a cloud: folders for containers and datastores, simulated endpoints, and rules that name them. Either
//! one rule for the whole inbox, or a customer's own rules with other addresses.

use std::collections::BTreeMap;
use std::path::Path;

use lifecycle::datastore::DatastorePath;
use lifecycle::job::OutputKind;
use lifecycle::rule::{self, InputTemplate, Redirect};
use lifecycle::{EndpointUri, Rule, Rules};
use serde_json::json;
use simulator::{Datastore, Deployment, DeploymentKind, Endpoint, Endpoints, Workspace};

use super::place::Place;
use super::staging;

/// Folder and container of what is scored.
pub(super) const OUTBOX: &str = "outbox";
/// The datastore that is the outbox: the one that each workspace has, and that is no container of uploads.
const DATASTORE: &str = "workspaceblobstore";
/// The account of containers that no rule has an account for.
const ACCOUNT: &str = "local";
/// The deployment of requests that name none.
const DEFAULT_DEPLOYMENT: &str = "demonstration";
/// Between two looks at a running job; a person is watching.
const POLL_INTERVAL: &str = "PT1S";

/// Everything that is simulated, and the rules over it.
#[derive(Debug)]
pub(super) struct Installation {
    pub(super) places: Vec<Place>,
    /// Containers that copies of grouped files go to; nobody uploads there.
    pub(super) staging: Vec<Place>,
    pub(super) datastores: Vec<Datastore>,
    /// Names of those that results are published to.
    pub(super) published: Vec<String>,
    pub(super) endpoints: Endpoints,
    pub(super) workspace: Workspace,
    pub(super) rules: String,
}

impl Installation {
    /// One rule for the inbox as a whole.
    pub(super) fn demonstration(inbox: &Path, outbox: &Path, service: &str) -> Self {
        let workspace = Workspace::default();
        let rules = json!({ "rules": [ {
            "id": "local",
            "match": { "account": ACCOUNT, "container": "inbox" },
            "endpoint": { "uri": format!("{service}/endpoints/demonstration/jobs"), "workspace": workspace.id() },
            "outputs": { "score": {
                "type": "UriFile",
                "uri": format!("azureml://datastores/{DATASTORE}/paths/{{blob.path}}/{{scoring.id}}/{{attempt}}/predictions.csv"),
            } },
            "maxInFlight": 50,
            "pollInterval": POLL_INTERVAL,
            "retryBackOff": "PT2S",
            "submitTimeout": "PT10S",
            "lookupInterval": "PT2S",
            "resubmitAfter": "PT15S",
            "outputTimeout": "PT10S",
        } ] });
        let place = |name: &str, folder: &Path| Place {
            account: ACCOUNT.to_owned(),
            container: name.to_owned(),
            folder: folder.to_owned(),
        };
        let outbox = place(OUTBOX, outbox);
        Self {
            places: vec![place("inbox", inbox)],
            staging: Vec::new(),
            datastores: vec![datastore(DATASTORE, &outbox)],
            published: Vec::new(),
            endpoints: Endpoints::Any,
            workspace,
            rules: rules.to_string(),
        }
    }

    /// What these rules need: each container is a folder of the inbox, each datastore one of the outbox, or the container that
    /// a rule reads through it.
    pub(super) fn rehearsal(text: &str, inbox: &Path, outbox: &Path, service: &str) -> Result<Self, rule::Problems> {
        let rules = Rules::read(text)?;
        let places = places(&rules, inbox);
        let workspace = rules.iter().find_map(|rule| rule.endpoint.workspace.as_ref());
        let workspace = workspace.map_or_else(Workspace::default, |id| Workspace {
            subscription: id.subscription().to_owned(),
            resource_group: id.resource_group().to_owned(),
            name: id.name().to_owned(),
            ..Workspace::default()
        });
        let names = endpoint_names(&rules);
        let there = |(uri, name): &(EndpointUri, String)| (uri.clone(), format!("{service}/endpoints/{name}/jobs"));
        let redirect = Redirect {
            endpoints: &names.iter().map(there).collect::<Vec<_>>(),
            workspace: &workspace.id(),
            poll_interval: POLL_INTERVAL,
        };
        let text = Rules::redirected(text, &redirect)?;
        let endpoints = names.iter().map(|(uri, name)| endpoint(&rules, uri, name)).collect();
        let datastores = datastores(&rules, &places, outbox);
        let published =
            rules.iter().flat_map(Rule::published).filter_map(|(.., publish)| datastore_of(publish.uri.source()));
        let published = published.collect();
        let staging = staging::named_by(&rules, &places, outbox);
        Ok(Self {
            places,
            staging,
            datastores,
            published,
            endpoints: Endpoints::Listed(endpoints),
            workspace,
            rules: text,
        })
    }
}

fn datastore(name: &str, place: &Place) -> Datastore {
    Datastore {
        name: name.to_owned(),
        account: place.account.clone(),
        container: place.container.clone(),
        folder: place.folder.clone(),
    }
}

/// A folder for each container. Where several accounts have one of the same name, its folder has the account's before it.
fn places(rules: &Rules, inbox: &Path) -> Vec<Place> {
    let mut containers: Vec<(String, String)> = Vec::new();
    let with_account = rules.iter().filter_map(|rule| Some((rule.matches.account.as_ref()?.to_string(), rule)));
    let found = with_account.map(|(account, rule)| (account, rule.matches.container.to_string())).collect::<Vec<_>>();
    let without = rules.iter().map(|rule| (ACCOUNT.to_owned(), rule.matches.container.to_string()));
    let without = without.filter(|(_, container)| !found.iter().any(|(_, known)| known == container));
    for one in found.iter().cloned().chain(without.collect::<Vec<_>>()) {
        if !containers.contains(&one) {
            containers.push(one);
        }
    }
    let place = |(account, container): &(String, String)| {
        let is_alone = containers.iter().filter(|(_, other)| other == container).count() == 1;
        let name = if is_alone { container.clone() } else { format!("{account}.{container}") };
        Place { account: account.clone(), container: container.clone(), folder: inbox.join(name) }
    };
    containers.iter().map(place).collect()
}

/// A name for each endpoint: its own, as its host has it.
fn endpoint_names(rules: &Rules) -> Vec<(EndpointUri, String)> {
    let mut names: Vec<(EndpointUri, String)> = Vec::new();
    for uri in rules.iter().map(|rule| &rule.endpoint.uri) {
        if names.iter().any(|(known, _)| known == uri) {
            continue;
        }
        let host = url::Url::parse(uri).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let own = host.split('.').next().unwrap_or_default();
        let is_name = (3..=29).contains(&own.len()) && own.starts_with(|first: char| first.is_ascii_alphabetic());
        let own = if is_name { own } else { "endpoint" };
        let is_free = |name: &String| !names.iter().any(|(_, known)| known == name);
        let numbered = (2..).map(|number| format!("{own}-{number}"));
        let name = std::iter::once(own.to_owned()).chain(numbered).find(is_free).unwrap_or_default();
        names.push((uri.clone(), name));
    }
    names
}

/// An endpoint with the deployments that rules name, each as what they send to it needs.
fn endpoint(rules: &Rules, uri: &EndpointUri, name: &str) -> Endpoint {
    let mut deployments: BTreeMap<String, DeploymentKind> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.endpoint.uri == *uri).flat_map(Rule::by_deployment) {
        let deployment = rule.endpoint.deployment.as_deref().unwrap_or(DEFAULT_DEPLOYMENT).to_owned();
        let kind = deployments.entry(deployment).or_insert(DeploymentKind::Model);
        if needs_pipeline(&rule) {
            *kind = DeploymentKind::Pipeline;
        }
    }
    Endpoint {
        name: name.to_owned(),
        default_deployment: deployments.contains_key(DEFAULT_DEPLOYMENT).then(|| DEFAULT_DEPLOYMENT.to_owned()),
        deployments: deployments.into_iter().map(|(name, kind)| Deployment { name, kind }).collect(),
    }
}

/// A model takes one file or folder, and makes one file.
fn needs_pipeline(rule: &Rule) -> bool {
    rule.inputs.len() != 1
        || rule.inputs.values().any(|input| matches!(input, InputTemplate::Literal { .. }))
        || rule.outputs.len() != 1
        || rule.outputs.values().any(|output| output.kind == OutputKind::UriFolder)
}

fn datastore_of(uri: &str) -> Option<String> {
    uri.parse::<DatastorePath>().ok().map(|path| path.datastore)
}

fn datastores(rules: &Rules, places: &[Place], outbox: &Path) -> Vec<Datastore> {
    let name = datastore_of;
    let mut all: Vec<Datastore> = Vec::new();
    let mut add = |datastore: Datastore| {
        if !all.iter().any(|known| known.name.eq_ignore_ascii_case(&datastore.name)) {
            all.push(datastore);
        }
    };
    // What a rule reads through a datastore is most often what it watches.
    for rule in rules {
        let account = rule.matches.account.as_deref();
        let watched = places.iter().find(|place| {
            *rule.matches.container == *place.container && account.is_none_or(|account| account == place.account)
        });
        for input in rule.inputs.values() {
            let (InputTemplate::UriFile(source) | InputTemplate::UriFolder(source)) = input else { continue };
            if let (Some(name), Some(place)) = (name(source.uri.source()), watched) {
                add(datastore(&name, place));
            }
        }
    }
    for output in rules.iter().flat_map(|rule| rule.outputs.values()) {
        for uri in [Some(&output.uri), output.publish.as_ref().map(|publish| &publish.uri)].into_iter().flatten() {
            let Some(name) = name(uri.source()) else { continue };
            let folder = outbox.join(&name);
            add(Datastore { account: ACCOUNT.to_owned(), container: format!("{OUTBOX}-{name}"), name, folder });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_endpoints_and_datastores_of_a_file_have_their_stand_ins() {
        let workspace = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";
        let text = json!({"rules": [
            {"id": "a", "match": {"account": "uploads", "container": "claims"}, "endpoint": {"uri": "https://heart.westeurope.inference.ml.azure.com/jobs",
                "deployments": {"v7": 90, "v8": 10}, "workspace": workspace}},
            {"id": "b", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.northeurope.inference.ml.azure.com/jobs"},
                "inputs": {"d": {"type": "UriFile", "uri": "azureml://datastores/raw/paths/{blob.path}"}, "n": {"type": "Literal", "value": 5}}},
            {"id": "c", "match": {"account": "scans", "container": "claims"}, "endpoint": {"uri": "https://127.0.0.1:8080/jobs"}},
            {"id": "d", "match": {"container": "images"}, "endpoint": {"uri": "https://heart.westeurope.inference.ml.azure.com/jobs", "deployment": "v8"},
                "outputs": {"score": {"type": "UriFile", "uri": "azureml://datastores/workspaceblobstore/paths/{scoring.id}/{attempt}/p.csv",
                    "publish": {"uri": "azureml://datastores/results/paths/latest.csv"}}}},
        ]});
        let read =
            Installation::rehearsal(&text.to_string(), Path::new("/in"), Path::new("/out"), "http://127.0.0.1:1");
        let installation = read.expect("good rules");
        let places: Vec<_> =
            installation.places.iter().map(|place| (place.account.as_str(), place.folder.to_str().unwrap())).collect();
        assert_eq!(places, [("uploads", "/in/uploads.claims"), ("scans", "/in/scans.claims"), ("local", "/in/images")]);
        let stores: Vec<_> =
            installation.datastores.iter().map(|store| (store.name.as_str(), store.folder.to_str().unwrap())).collect();
        assert_eq!(installation.published, ["results"]);
        let outbox = [("workspaceblobstore", "/out/workspaceblobstore"), ("results", "/out/results")];
        assert_eq!(stores, [&[("raw", "/in/uploads.claims")], &outbox[..]].concat());
        let Endpoints::Listed(endpoints) = &installation.endpoints else { panic!("they are listed") };
        let kinds =
            |endpoint: &Endpoint| endpoint.deployments.iter().map(|it| (it.name.clone(), it.kind)).collect::<Vec<_>>();
        let (model, pipeline) = (DeploymentKind::Model, DeploymentKind::Pipeline);
        let all: Vec<_> = endpoints.iter().map(|it| (it.name.as_str(), kinds(it))).collect();
        assert_eq!(
            all,
            [
                ("heart", vec![("v7".to_owned(), model), ("v8".to_owned(), model)]),
                ("heart-2", vec![(DEFAULT_DEPLOYMENT.to_owned(), pipeline)]),
                ("endpoint", vec![(DEFAULT_DEPLOYMENT.to_owned(), model)]),
            ]
        );
        assert_eq!(installation.workspace.id().to_lowercase(), workspace.to_lowercase());
        let rules = Rules::read(&installation.rules).expect("good rules");
        assert!(rules.iter().all(|rule| rule.endpoint.uri.starts_with("http://127.0.0.1:1/endpoints/")));
        assert!(Installation::rehearsal("{}", Path::new("/in"), Path::new("/out"), "http://127.0.0.1:1").is_err());
    }
}
