//! `infra/snapshots/`: what the compiler predicts for each parameter file, and the digest of what it was made of.
//!
//! Committed, so that every other test reads what would really be deployed on a machine without a compiler too. There the
//! digest says whether they belong to the sources; with a compiler they are made again and compared. `cargo xtask infra` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::compiler::Compiler;
use super::delivery;
use super::project::{Files, SNAPSHOTS, root};

/// Parameter files by the names of their snapshots.
pub const PARAMETER_FILES: [(&str, &str); 6] = [
    ("azd", "infra/azd/main.bicepparam"),
    ("branches", "tests/infra/templates/branches.bicepparam"),
    ("dev", "infra/params/dev.bicepparam"),
    ("packaged", "tests/infra/templates/packaged.bicepparam"),
    ("private", "infra/params/private.bicepparam"),
    ("prod", "infra/params/prod.bicepparam"),
];

/// Templates of which `templates.json` tells, by name.
const TEMPLATES: [(&str, &str); 5] = [
    ("azd", "infra/azd/main.bicep"),
    ("contract", "infra/modules/contract.bicep"),
    ("events", "infra/events.bicep"),
    ("main", "infra/main.bicep"),
    ("roles", "infra/modules/roles.bicep"),
];

/// What must be refused, as further lines of the smallest parameter file, and a word of the remedy.
#[rustfmt::skip] // a table
pub const REFUSED: [(&str, &str, &str); 24] = [
    ("pushed into a closed app", "param network = { publicNetworkAccess: 'Disabled' }", "storageQueue"),
    ("closed state without a way to it", "param network = { privateEndpointSubnetResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/s' }", "integrationSubnetResourceId"),
    ("zones without an instance for each", "param app = { zoneRedundant: true, alwaysReady: [{ name: 'http', instanceCount: 1 }] }", "set app.alwaysReady"),
    ("the page without sign-in", "param app = { page: true }", "set app.authentication"),
    ("rules too long for a setting", "param rules = { rules: map(range(0, 3000), n => { id: 'r${n}', match: { container: 'ccccccccccccccccc' } }) }", "100000"),
    ("workload of other characters", "param workload = 'score-keep'", "workload is `score-keep`"),
    ("environment of other characters", "param environmentName = 'de_v'", "environmentName is `de_v`"),
    ("account's name of other characters", "param names = { storageAccount: 'stScorekeeper' }", "names.storageAccount is `stScorekeeper`: it takes 3 to 24 of the characters `abc"),
    ("account's name too long", "param names = { storageAccount: 'aaaaaaaaaaaaaaaaaaaaaaaaa' }", "names.storageAccount is `aaa"),
    ("app's name of other characters", "param names = { functionApp: 'func.prod' }", "names.functionApp is `func.prod`"),
    ("task hub of other characters", "param app = { taskHub: 'Score-Keeper' }", "app.taskHub is `Score-Keeper`"),
    ("task hub that begins with a digit", "param app = { taskHub: '1Scorekeeper' }", "first one of `abc"),
    ("app's name that begins with a hyphen", "param names = { functionApp: '-func' }", "names.functionApp is `-func`"),
    ("app's name that ends with a hyphen", "param names = { functionApp: 'func-' }", "names.functionApp is `func-`: it takes 2 to 60 of the characters `abc"),
    ("plan's name of other characters", "param names = { plan: 'my plan!' }", "names.plan is `my plan!`: it takes 1 to 60 of the characters `abc"),
    ("plan's name too long", "param names = { plan: 'ppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp' }", "names.plan is `ppp"),
    ("identity's name too short", "param names = { identity: 'id' }", "names.identity is `id`: it takes 3 to 128"),
    ("log workspace's name that ends with a hyphen", "param names = { logAnalytics: 'log-central-' }", "names.logAnalytics is `log-central-`: it takes 4 to 63"),
    ("component's name of other characters", "param names = { applicationInsights: 'appi/prod' }", "names.applicationInsights is `appi/prod`"),
    ("component's name that ends with a dot", "param names = { applicationInsights: 'appi.' }", "last one of `abc"),
    ("others' roles on something else", "param existing = { roleAssignmentScopes: ['/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/st2'] }", "no account, no published container and no workspace"),
    ("a rule that publishes without the right to write", "param rules = { rules: [{ id: 'r', match: { container: 'c' }, outputs: { score: { type: 'UriFile', uri: 'u', publish: { uri: 'p' } } } }] }", "rule r publishes: name the containers in dataAccess.publishedContainerResourceIds"),
    ("the right to write where no rule publishes", "param rules = { rules: [{ id: 'r', match: { container: 'c' } }] }\nparam dataAccess = { publishedContainerResourceIds: ['/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/st2/blobServices/default/containers/c'] }", "no rule publishes: leave it out"),
    ("watched account that no rule names", "param rules = { rules: [{ id: 'r', match: { account: 'other', container: 'c' } }] }", "no rule names the watched account st"),
];

const SMALLEST: &str = "using '../../../infra/main.bicep'

param watchedAccounts = [
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/st'
  }
]
param workspaceResourceIds = ['/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w']
";

/// All files of `infra/snapshots/`, by path.
pub fn predict(compiler: &mut Compiler) -> Result<BTreeMap<String, String>, String> {
    let parts = PARAMETER_FILES.iter().map(|(name, _)| *name).chain(["filters", "refused", "templates"]);
    parts.map(|part| predict_part(compiler, part)).try_fold(BTreeMap::new(), |mut all, files| {
        all.extend(files?);
        Ok(all)
    })
}

/// One parameter file's snapshots, or one of the other files.
pub fn predict_part(compiler: &mut Compiler, part: &str) -> Result<Vec<(String, String)>, String> {
    let file = |name: &str, value: &Value| (format!("{SNAPSHOTS}{name}.json"), format!("{value:#}\n"));
    if part == "filters" {
        // One to a line: a change of the template shows as the lines that it changes.
        let lines: Vec<String> = delivery::predicted(compiler)?.iter().map(Value::to_string).collect();
        return Ok(vec![(format!("{SNAPSHOTS}filters.json"), format!("[\n{}\n]\n", lines.join(",\n")))]);
    }
    let Some((_, path)) = PARAMETER_FILES.iter().find(|(name, _)| *name == part) else {
        let value = if part == "refused" { refusals(compiler)? } else { templates(compiler)? };
        return Ok(vec![file(part, &value)]);
    };
    let first = normalised(compiler.snapshot(path)?);
    let mut files = vec![file(part, &first)];
    if ["dev", "prod"].contains(&part) {
        files.push(file(&format!("{part}.events"), &second_stage(compiler, part, &first)?));
    }
    Ok(files)
}

/// Resources and outputs; what is random or always empty is left out.
fn normalised(mut snapshot: Value) -> Value {
    let mut take = |name: &str| snapshot[name].take();
    json!({ "predictedResources": take("predictedResources"), "outputs": take("outputs") })
}

/// The second stage from the parameters that the first gives out.
fn second_stage(compiler: &mut Compiler, name: &str, first: &Value) -> Result<Value, String> {
    let given = first["outputs"]["events"]["parameters"].as_object().cloned().unwrap_or_default();
    // A data file is read once by each process, so its content is part of its name.
    let data = Value::Object(given.clone()).to_string();
    let file = format!("{name}-{:x}.json", Sha256::digest(&data));
    compiler.write(&format!("tests/infra/templates/{file}"), &data);
    let mut parameters = "using '../../../infra/events.bicep'\n".to_owned();
    for name in given.keys() {
        let _ = writeln!(parameters, "param {name} = loadJsonContent('{file}').{name}.value");
    }
    let path = format!("tests/infra/templates/{name}.events.bicepparam");
    compiler.write(&path, &parameters);
    compiler.snapshot(&path).map(normalised)
}

/// What the compiler says to each of [`REFUSED`], and to the smallest parameter file itself.
fn refusals(compiler: &mut Compiler) -> Result<Value, String> {
    let path = "tests/infra/templates/refused.bicepparam";
    // Written in another case than the account's id.
    let rules = "param rules = { rules: [{ id: 'r', match: { account: 'ST', container: 'c' } }] }";
    compiler.write(path, &format!("{SMALLEST}{rules}\n"));
    compiler.snapshot(path)?;
    let mut said = Map::new();
    for (name, lines, _) in REFUSED {
        let rules = if lines.starts_with("param rules") { "" } else { rules };
        compiler.write(path, &format!("{SMALLEST}{rules}\n{lines}\n"));
        let answer = compiler.snapshot(path).err().unwrap_or_else(|| "it is deployed".to_owned());
        said.insert(name.to_owned(), Value::String(answer));
    }
    Ok(Value::Object(said))
}

fn templates(compiler: &mut Compiler) -> Result<Value, String> {
    let mut all = Map::new();
    for (name, path) in TEMPLATES {
        let template = compiler.compile(path)?;
        let mut definitions = template["definitions"].clone();
        for definition in definitions.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if let Some(metadata) = definition["metadata"].as_object_mut() {
                metadata.remove("__bicep_imported_from!");
            }
        }
        let of = |member: &str, part: &dyn Fn(&Value) -> Value| -> Value {
            let members = template[member].as_object().cloned().unwrap_or_default();
            Value::Object(members.iter().map(|(name, value)| (name.clone(), part(value))).collect())
        };
        let exports = matches!(name, "contract" | "roles");
        let told = if exports {
            json!({ "variables": template["variables"] })
        } else {
            // azd's types are those of `main`.
            let definitions = if name == "azd" { Value::Null } else { definitions };
            json!({
                "parameters": template["parameters"], "definitions": definitions,
                "outputs": of("outputs", &|output| output["metadata"]["description"].clone()),
                "dependsOn": of("resources", &|resource| resource["dependsOn"].clone()),
                // azd's group is its own, and `main` tells what is made in it.
                "deploymentsElsewhere": if name == "azd" { Vec::new() } else { deployments_elsewhere(&template, false) },
            })
        };
        all.insert(name.to_owned(), told);
    }
    Ok(Value::Object(all))
}

/// Names of the deployments that a template makes in groups of others, with those that these make in turn.
fn deployments_elsewhere(template: &Value, elsewhere: bool) -> Vec<String> {
    let mut names = Vec::new();
    let resources = &template["resources"];
    let by_name = resources.as_object().into_iter().flat_map(Map::values);
    for resource in by_name.chain(resources.as_array().into_iter().flatten()) {
        if resource["type"] == "Microsoft.Resources/deployments" {
            let elsewhere = elsewhere || !resource["resourceGroup"].is_null();
            if elsewhere {
                names.push(resource["name"].as_str().unwrap_or_default().to_owned());
            }
            names.extend(deployments_elsewhere(&resource["properties"]["template"], elsewhere));
        }
    }
    names
}

/// Of everything that predictions are made of: the templates, what they load, and what the tests put to them.
pub fn digest(files: &Files) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &str, text: &str| {
        for part in [name, text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    };
    let read = [".bicep", ".bicepparam", ".json", ".kql"];
    for (path, text) in files.all("infra/", "").chain(files.all("tests/infra/templates/", "")) {
        if read.iter().any(|end| path.ends_with(end)) && !path.starts_with(SNAPSHOTS) {
            add(path, text);
        }
    }
    for (name, lines, _) in REFUSED {
        add(name, lines);
    }
    add("smallest", SMALLEST);
    add("rule sets", &json!(delivery::rule_sets()).to_string());
    format!("{:x}", hash.finalize())
}

const DIGEST: &str = "infra/snapshots/sources.sha256";

/// Whether the snapshots belong to the sources, by their digest alone.
pub fn of_these_sources(files: &Files) -> Result<(), String> {
    let is = files.find(DIGEST).and_then(|text| text.split_whitespace().next()).unwrap_or_default();
    if is == digest(files) {
        return Ok(());
    }
    Err("infra/snapshots/ was not made of these templates: run `cargo xtask infra`, with Microsoft's Bicep compiler as `bicep` on the \
         PATH or named by the variable BICEP"
        .to_owned())
}

/// What the compiler says that the repository does not: snapshots, format.
pub fn differences(compiler: &mut Compiler, files: &Files) -> Vec<String> {
    let predicted = match predict(compiler) {
        Ok(predicted) => predicted,
        Err(why) => return vec![why],
    };
    let mut differences: Vec<String> = predicted
        .iter()
        .filter(|(path, text)| files.find(path) != Some(&***text))
        .map(|(path, _)| format!("{path} is not what the compiler predicts: run `cargo xtask infra`"))
        .collect();
    let known = |path: &str| predicted.contains_key(path) || path == DIGEST;
    let left = files.all(SNAPSHOTS, "").filter(|(path, _)| !known(path));
    differences.extend(left.map(|(path, _)| format!("{path}: nothing predicts this any more")));
    for folder in ["infra/", "tests/infra/templates/"] {
        for (path, text) in files.all(folder, ".bicep").chain(files.all(folder, ".bicepparam")) {
            match compiler.formatted(path) {
                Ok(formatted) if formatted == text => {}
                Ok(_) => differences.push(format!("{path} is not formatted: run `bicep format {path}`")),
                Err(why) => differences.push(format!("{path}: {why}")),
            }
        }
    }
    differences.extend(of_these_sources(files).err());
    differences
}

/// Writes the snapshots and their digest.
pub fn write(compiler: &mut Compiler, files: &Files) {
    let predicted = predict(compiler).unwrap_or_else(|why| panic!("{why}"));
    let folder = root().join(SNAPSHOTS);
    fs::create_dir_all(&folder).unwrap();
    for (path, _) in files.all(SNAPSHOTS, "").filter(|(path, _)| !predicted.contains_key(*path)) {
        fs::remove_file(root().join(path)).unwrap();
    }
    for (path, text) in &predicted {
        fs::write(root().join(path), text).unwrap();
    }
    fs::write(root().join(DIGEST), format!("{}  by Bicep {}\n", digest(files), compiler.version())).unwrap();
}
