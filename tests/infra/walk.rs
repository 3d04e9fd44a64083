//! Can somebody follow the page command by command? It is run, from its first block to its last, by a shell that knows no
//! variable which no block before has set; every program is one that only notes how it was called. What a command asks a
//! deployment for must be an output of that template, and each file that it names must be there.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::compiler::{self, Compiler};
use super::play::{Answer, INDEX, TOPIC, answer, lines, smooth};
use super::project::{Files, Project, root};
use crate::support::executable;

const README: &str = "infra/README.md";
/// What the page has its shell read.
const LOOK_UP: &str = "infra/look-up.sh";
const DEPLOY: &str = ".github/workflows/deploy.yml";
const AZD: &str = "infra/azd/main.bicepparam";
pub fn check(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let page = project.files.get(README);
    let commands = commands(page);
    let scripts: Vec<(&str, String)> = [README, DEPLOY, LOOK_UP, "infra/deploy.sh"]
        .into_iter()
        .map(|path| {
            let text = if path == README { commands.join("\n") } else { joined(project.files.get(path)) };
            (path, text)
        })
        .collect();
    for (path, text) in &scripts {
        findings.extend(outputs(project, path, text));
        findings.extend(files(project, path, text));
    }
    findings.extend(variables(project, &commands));
    findings
}

/// The page's shell blocks.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next())
}

/// Lines of these, those that go on in the next one joined, without comments.
fn commands(page: &str) -> Vec<String> {
    let lines = blocks(page).flat_map(|block| joined(block).lines().map(str::to_owned).collect::<Vec<_>>());
    let plain = lines.map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned());
    plain.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

fn joined(text: &str) -> String {
    text.replace("\\\n", " ")
}

/// Outputs that a script asks a deployment for: `--name DEPLOYMENT … properties.outputs.NAME`, or `output NAME`.
fn outputs(project: &Project, path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut asked = |line: &str, template: &str, name: &str| {
        if project.templates[template]["outputs"].get(name).is_none() {
            findings.push(format!(
                "{path}: infra/{template}.bicep has no output `{name}`, which `{}` asks for",
                line.trim()
            ));
        }
    };
    for line in text.lines() {
        let template = match line.split("--name ").nth(1).and_then(|rest| rest.split_whitespace().next()) {
            Some("scorekeeper") => "main",
            Some("scorekeeper-events" | "\"$EVENTS\"") => "events",
            _ => "",
        };
        for rest in line.split("properties.outputs.").skip(1).filter(|rest| !rest.starts_with('$')) {
            // One of them, or a list of them.
            let list = rest.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(rest);
            let names = if rest.starts_with('[') { list.split(", ").collect() } else { vec![rest] };
            for name in names {
                asked(line, template, name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default());
            }
        }
        // The page's own function of that name.
        let begins = line.strip_prefix("output ").into_iter().filter(|rest| !rest.starts_with('('));
        for rest in line.split("$(output ").skip(1).chain(begins) {
            asked(line, "main", rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default());
        }
    }
    findings
}

/// Files of this repository that commands name are there.
fn files(project: &Project, path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.contains("description: "));
    let named = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'`;()=".contains(c)));
    let named = named.filter(|word| word.starts_with("infra/") && word.contains('.') && !word.contains('$'));
    let gone = named.filter(|word| project.files.find(word).is_none());
    gone.map(|word| format!("{path}: there is no {word}")).collect()
}

/// What the page has people set is what the workflow and the parameter file of azd read, and the reverse.
fn variables(project: &Project, commands: &[String]) -> Vec<String> {
    let set = |begin: &str| -> BTreeSet<String> {
        let names = commands.iter().filter_map(|command| command.strip_prefix(begin)?.split_whitespace().next());
        names.map(str::to_owned).collect()
    };
    let read: BTreeSet<String> = project
        .files
        .get(DEPLOY)
        .split("vars.")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().map(str::to_owned))
        .collect();
    let calls = project.files.get(AZD).split("readEnvironmentVariable('").skip(1);
    let mut asked: BTreeSet<String> = calls.filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())).collect();
    // azd sets these from what it asks for.
    for own in ["AZURE_ENV_NAME", "AZURE_LOCATION"] {
        asked.remove(own);
    }
    let mut findings = Vec::new();
    let mut for_azd = set("azd env set ");
    // azd's own, so that it asks for nothing.
    for own in ["AZURE_SUBSCRIPTION_ID", "AZURE_LOCATION"] {
        for_azd.remove(own);
    }
    for (given, wanted, whose) in [(set("gh variable set "), read, DEPLOY), (for_azd, asked, AZD)] {
        findings.extend(
            wanted.difference(&given).map(|name| format!("{README}: nobody sets `{name}`, which {whose} reads")),
        );
        findings.extend(
            given.difference(&wanted).map(|name| format!("{README}: `{name}` is set and {whose} reads no such thing")),
        );
    }
    findings
}

/// Programs of the page that only note how they were called; `az` is played, and `deploy.sh` is itself.
const NOTED: [&str; 6] = ["azd", "cargo", "docker", "gh", "git", "sha256sum"];
const ID: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-theirs/providers";
const CLUSTER: &str = "66666666-7777-8888-9999-000000000000";
pub const DEPLOYER: &str = "principal-that-deploys";
pub const LOOKER: &str = "principal-that-looks";
pub const GROUP: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-scorekeeper-dev";

/// What `az` tells somebody who looks for what is there.
fn found() -> Vec<Answer> {
    const STORAGE: &str = "https://github.com/MicrosoftDocs/azure-ai-docs/pull/232";
    const NAMESPACE: &str = "https://github.com/Azure/azure-sdk-for-net/pull/5444";
    const WORKSPACE: &str = "https://github.com/Azure/azure-cli/issues/18702";
    const ENDPOINT: &str = "https://github.com/Azure/azureml-examples/pull/1312";
    const COMPUTE: &str = "https://github.com/Azure/azureml-examples/pull/1222";
    let account = format!("{ID}/Microsoft.Storage/storageAccounts/");
    vec![
        answer(NAMESPACE, "*", "storage account show*isHnsEnabled*", "0", "true"),
        answer(STORAGE, "*", "storage account show*--query id*", "0", &format!("{account}sttheirs")),
        answer(
            TOPIC,
            "*",
            "eventgrid system-topic list*",
            "0",
            "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-topics/providers/Microsoft.EventGrid/systemTopics/theirs",
        ),
        answer(WORKSPACE, "*", "ml workspace show*storage_account*", "0", &format!("{account}stoutputs")),
        answer(
            WORKSPACE,
            "*",
            "ml workspace show*",
            "0",
            &format!("{ID}/Microsoft.MachineLearningServices/workspaces/mlw"),
        ),
        answer(ENDPOINT, "*", "ml batch-endpoint show*", "0", "https://theirs.westeurope.inference.ml.azure.com/jobs"),
        answer(COMPUTE, "*", "ml compute show*", "0", CLUSTER),
        answer(TOPIC, "*", "rest --method get*systemTopics/theirs*", "0", CLUSTER),
        answer(
            INDEX,
            "*",
            "deployment group show*topicResourceIds*",
            "0",
            &format!("{ID}/Microsoft.EventGrid/systemTopics/theirs"),
        ),
        answer(INDEX, "*", "eventgrid system-topic event-subscription list*", "0", ""),
        answer(TOPIC, "*", "eventgrid system-topic show*systemTopics/theirs*", "0", ""),
        answer(INDEX, "*", "identity show*id-deploy-dev*principalId*", "0", DEPLOYER),
        answer(INDEX, "*", "identity show*id-look-dev*principalId*", "0", LOOKER),
        answer(INDEX, "*", "identity show*id-deploy-dev*clientId*", "0", "client-that-deploys"),
        answer(INDEX, "*", "identity show*id-look-dev*clientId*", "0", "client-that-looks"),
        answer(INDEX, "*", "group show*rg-scorekeeper-dev*", "0", GROUP),
    ]
}

/// The rest of the page's calls: what they make or take away, and names that others made.
fn made() -> Vec<Answer> {
    let calls = [
        "login",
        "account *",
        "bicep install",
        "extension add*",
        "provider register*",
        "group *",
        "identity *",
        "role *",
        "ad signed-in-user show*",
        "storage blob upload*",
        "functionapp config appsettings list*",
        "deployment group show*",
        "eventgrid system-topic *",
        "lock *",
        "ml *",
        "storage account show*",
    ];
    let answers = calls.map(|call| answer(INDEX, "*", call, "0", "something-of-theirs"));
    answers.into()
}

/// A clone in a folder of its own, and somebody who has never seen the page, with one shell.
pub struct Newcomer {
    folder: tempfile::TempDir,
    said: String,
    /// Of `az`, with its answers, and of the other programs, in their order.
    pub calls: String,
}

/// The page from its first block to its last, in one shell; or what stopped or misled the newcomer.
pub fn walked(project: &Project) -> Result<Newcomer, String> {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for (path, text) in project.files.all("infra/", "") {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        if text.starts_with("#!") {
            executable::script(text, &at(path));
        } else {
            fs::write(at(path), text).unwrap();
        }
    }
    for path in ["bin", "target/before"] {
        fs::create_dir_all(at(path)).unwrap();
    }
    for name in NOTED {
        let effect = match name {
            // The package, and the executable in it.
            "cargo" => {
                "case $* in 'xtask package') mkdir -p target/app; : > target/scorekeeper.zip; printf '#!/bin/sh\\n' > target/app/scorekeeper; chmod +x target/app/scorekeeper ;; esac"
            }
            // The package of before, and which image belongs to a release.
            "gh" => {
                "case $* in *'--dir target/before') : > target/before/scorekeeper.zip ;; *'--dir target/release-'*) mkdir -p \"$7\"; echo ghcr.io/owner/scorekeeper@sha256:0 > \"$7/container-image.txt\" ;; esac"
            }
            "git" => "case $* in 'worktree add'*) mkdir -p \"$4\" ;; esac",
            _ => "",
        };
        let note = format!(
            "#!/bin/sh\n{{ printf '%s' {name}; for word; do printf ' [%s]' \"$word\"; done; echo; }} >> \"$PLAY.transcript\"\n{effect}\n"
        );
        executable::script(&note, &at(&format!("bin/{name}")));
    }
    executable::copy(&root().join("tests/cases/az/az"), &at("bin/az"));
    fs::write(at("play"), lines(&[found(), smooth(), made()].concat())).unwrap();
    let blocks = blocks(project.files.get(README)).collect::<Vec<_>>().join("\n");
    let script = format!("set -eu\n{blocks}");
    fs::write(at("page.sh"), script).unwrap();
    let output = Command::new("sh")
        .arg("page.sh")
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", at("bin").display()))
        .env("PLAY", at("play"))
        .output()
        .unwrap();
    let calls = fs::read_to_string(at("play.transcript")).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() || !said.is_empty() {
        return Err(format!("{said}\n{calls}"));
    }
    if let Ok(unplayed) = fs::read_to_string(at("play.unplayed")) {
        return Err(format!("nobody knows the calls {unplayed}"));
    }
    // A word in capitals would be a placeholder that nobody sets; what is named to a service, and a verb of HTTP, is none.
    let shouted = |word: &&str| word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let by_the_page =
        |call: &&str| !call.starts_with("= ") && !call.contains("[variable] [set]") && !call.contains("[env] [set]");
    for call in calls.lines().filter(by_the_page) {
        let mut words = call.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| shouted(word) && *word != "PUT") {
            return Err(format!("nobody says what `{word}` is in `{call}`"));
        }
    }
    let steps = [
        "$ az group create",
        "cargo [xtask] [package]",
        "$ az deployment group what-if",
        "$ az functionapp deployment source config-zip",
        "cargo [run] [--release] [--] [status]",
        "$ az storage blob upload",
    ];
    let mut rest = &*calls;
    for step in steps {
        (_, rest) = rest.split_once(step).ok_or_else(|| format!("`{step}` is missing, or out of order"))?;
    }
    Ok(Newcomer { folder, said: String::from_utf8_lossy(&output.stdout).into_owned(), calls })
}

/// What would leave a newcomer alone, put into the page or what it has read: a name, the file, a text, what it becomes, and a part of
/// what must be said.
const DEFECTS: [(&str, &str, &str, &str, &str); 3] = [
    ("variable that no command has set", README, "APP=$(output functionAppName)\n", "", "APP: "),
    (
        "placeholder that nobody explains",
        LOOK_UP,
        "--name \"$UPLOADS\" --query id",
        "--name WATCHED --query id",
        "what `WATCHED` is",
    ),
    (
        "stages in the wrong order",
        README,
        "infra/deploy.sh what-if",
        "echo infra/deploy.sh",
        "what-if` is missing, or out of order",
    ),
];

/// The same in a line of the README's table.
pub fn seeded() -> (&'static str, usize, &'static str) {
    ("of the commands of this page", DEFECTS.len(), "by whoever runs it")
}

#[test]
fn a_page_that_cannot_be_followed_is_noticed() {
    let files = Files::load();
    for (defect, path, from, to, said) in DEFECTS {
        let why = walked(&Project::read(files.spoilt(path, from, to))).err().unwrap_or_default();
        assert!(why.contains(said), "{defect}: {why}");
    }
}

#[test]
fn the_page_runs_from_the_first_command_to_the_last_with_no_variable_unset() {
    let walked = walked(&Project::load()).unwrap_or_else(|why| panic!("{why}"));
    assert!(walked.calls.trim_end().ends_with("azd [up]"), "the last command is run: {}", walked.calls);
    // azd is told of the account what the parameter file says of it.
    let told = walked.calls.lines().find_map(|call| call.strip_prefix("azd [env] [set] [WATCHED_ACCOUNTS] ["));
    let told: serde_json::Value = serde_json::from_str(told.unwrap().strip_suffix(']').unwrap()).unwrap();
    let ends = |member: &str, end: &str| told[0][member].as_str().is_some_and(|id| id.ends_with(end));
    assert!(ends("resourceId", "/storageAccounts/sttheirs") && told[0]["hierarchical"] == true, "{told}");
    assert!(ends("systemTopicResourceId", "/systemTopics/theirs"), "{told}");
    // The script has looked, deployed everything, and later the code alone of the release before.
    for (part, times) in [
        (
            "$ az deployment group what-if --resource-group rg-scorekeeper-dev --name scorekeeper --parameters infra/params/dev.bicepparam",
            1,
        ),
        ("--name scorekeeper-events --template-file", 1),
        ("config-zip --resource-group rg-scorekeeper-dev --name func --src target/scorekeeper.zip", 1),
        ("config-zip --resource-group rg-scorekeeper-dev --name func --src target/before/scorekeeper.zip", 1),
    ] {
        assert_eq!(walked.calls.matches(part).count(), times, "{part}: {}", walked.calls);
    }
    assert_eq!(walked.said.matches("functions: Reconcile, BlobCreated").count(), 2, "{}", walked.said);
}

/// Else the parameter file would name it as somebody else's after the first deployment, and not find it after a tear-down.
#[test]
fn a_topic_that_a_deployment_has_made_is_not_looked_up_as_given() {
    let project = Project::load();
    let topic = project.snapshots["dev.events"].one("Microsoft.EventGrid/systemTopics");
    let [(tag, value)] = topic.body["tags"].as_object().unwrap().iter().collect::<Vec<_>>()[..] else { panic!() };
    let look_up = project.files.get(LOOK_UP);
    let line = look_up.lines().find(|line| line.contains("topic=$(az eventgrid system-topic list")).unwrap();
    assert!(line.contains(&format!("tags.\\\"{tag}\\\" != '{}'", value.as_str().unwrap())), "{line}");
}

/// What looks up and writes, with the look-up of a call coming back empty, or failing; what it says, and whether the files are as before.
fn looked_up_without(project: &Project, call: &'static str, exit: &'static str, prefix: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("infra/params")).unwrap();
    let parameters = project.files.get("infra/params/dev.bicepparam");
    let rules = project.files.get("infra/params/dev.rules.json");
    fs::write(at("infra/params/dev.bicepparam"), parameters).unwrap();
    fs::write(at("infra/params/dev.rules.json"), rules).unwrap();
    fs::create_dir(at("bin")).unwrap();
    executable::copy(&root().join("tests/cases/az/az"), &at("bin/az"));
    let empty = answer(INDEX, "*", call, exit, "");
    fs::write(at("play"), lines(&[vec![empty], found(), made()].concat())).unwrap();
    let values = blocks(project.files.get(README)).next().unwrap();
    fs::write(at(LOOK_UP), project.files.get(LOOK_UP)).unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("{values}\nPREFIX='{prefix}'\n. {LOOK_UP}")])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", at("bin").display()))
        .env("PLAY", at("play"))
        .output()
        .unwrap();
    let written = fs::read_to_string(at("infra/params/dev.rules.json")).unwrap();
    let changed = written != rules || fs::read_to_string(at("infra/params/dev.bicepparam")).unwrap() != parameters;
    assert_eq!(changed, output.status.success(), "{written}");
    (String::from_utf8_lossy(&output.stderr).into_owned(), written)
}

#[test]
fn a_look_up_that_finds_nothing_is_named_and_no_file_is_touched() {
    let project = Project::load();
    for (call, exit, name) in [
        ("storage account show*--query id*", "0", "uploads"),
        ("storage account show*isHnsEnabled*", "0", "hierarchical"),
        ("ml workspace show*--query id*", "0", "workspace"),
        ("ml workspace show*storage_account*", "0", "outputs"),
        ("ml batch-endpoint show*", "0", "uri"),
        // There may be none; not to be told is another thing.
        ("eventgrid system-topic list*", "1", "topics"),
        ("ml compute show*", "1", "clusters"),
    ] {
        let (said, _) = looked_up_without(&project, call, exit, "eu/");
        assert!(said.contains(&format!("{name}: ")), "{call}: {said}");
    }
    for call in ["eventgrid system-topic list*", "ml compute show*"] {
        let (said, _) = looked_up_without(&project, call, "0", "eu/");
        assert_eq!(said, "", "{call}: there may be none");
    }
}

#[test]
fn what_a_prefix_holds_reaches_the_rules_file_as_it_is() {
    let (said, rules) = looked_up_without(&Project::load(), "no such call", "0", "a&b|c/");
    assert_eq!(said, "");
    assert!(rules.contains("\"prefix\": \"a&b|c/\""), "{rules}");
}

/// What the page takes down, where Azure answers so of the topic `theirs`: the calls.
fn torn_down(project: &Project, of_the_topic: &[Answer]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir(at("bin")).unwrap();
    executable::copy(&root().join("tests/cases/az/az"), &at("bin/az"));
    fs::write(at("play"), lines(&[of_the_topic, &found(), &smooth(), &made()].concat())).unwrap();
    let block = blocks(project.files.get(README)).find(|block| block.contains("az group delete")).unwrap();
    let before = "GROUP=rg-scorekeeper-dev ML_GROUP=rg-ml-dev APP=func\noutput() { echo principal; }\n";
    // As people do: one command after the other, whatever the one before came to.
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before}{block}")]).env_clear().env("PLAY", at("play"));
    let path = format!("{}:/usr/bin:/bin", at("bin").display());
    assert!(shell.env("PATH", path).output().unwrap().status.success());
    assert!(!at("play.unplayed").exists(), "{:?}", fs::read_to_string(at("play.unplayed")));
    fs::read_to_string(at("play.transcript")).unwrap()
}

#[test]
fn the_tear_down_leaves_topics_that_others_made_or_use() {
    let project = Project::load();
    let made = |exit, by: &str| answer(TOPIC, "*", "eventgrid system-topic show*", exit, by);
    let list = |exit, names: &str| answer(INDEX, "*", "eventgrid system-topic event-subscription list*", exit, names);
    for (of_the_topic, goes) in [
        ([made("0", "scorekeeper"), list("0", "")], true),
        ([made("0", "scorekeeper"), list("0", "of-others")], false),
        ([made("0", "scorekeeper"), list("1", "")], false),
        ([made("0", ""), list("0", "")], false),
        ([made("0", ""), list("1", "")], false),
        ([made("1", "scorekeeper"), list("0", "")], false),
    ] {
        let calls = torn_down(&project, &of_the_topic);
        let gone = calls.contains("eventgrid system-topic delete --yes --ids ");
        assert_eq!(gone, goes, "{of_the_topic:?}: {calls}");
        assert!(calls.contains("event-subscription delete") && calls.contains("--system-topic-name theirs"), "{calls}");
    }
    // It asks for the tag that the template gives.
    let topic = project.snapshots["dev.events"].one("Microsoft.EventGrid/systemTopics");
    let (tag, value) = topic.body["tags"].as_object().unwrap().iter().next().unwrap();
    let page = project.files.get(README);
    let asked = format!("--query \"tags.\\\"{tag}\\\"\" --output tsv) && [ \"$made\" = {} ]", value.as_str().unwrap());
    assert!(page.contains(&asked), "{asked}");
}

/// A role that is made by hand is in no group: the group's end does not take it along.
#[test]
fn each_role_that_the_page_makes_it_takes_away_before_the_group() {
    let calls = walked(&Project::load()).unwrap_or_else(|why| panic!("{why}")).calls;
    let torn = torn_down(&Project::load(), &[]);
    let (before, _) = torn.split_once("$ az group delete").unwrap();
    for (role, group) in
        [("Scorekeeper deployment look", "rg-scorekeeper-dev"), ("Scorekeeper batch invoker", "rg-ml-dev")]
    {
        assert!(calls.contains(&format!("\"Name\": \"{role} {group}\"")), "{role}: it is made");
        let delete = format!("$ az role definition delete --resource-group {group} --name {role} {group}\n");
        let (assignments, _) = before.split_once(&delete).unwrap_or_else(|| panic!("{delete}: {torn}"));
        assert!(assignments.contains(&format!("--role {role} {group} ")), "Azure refuses while it is assigned: {torn}");
    }
}

/// The first block is enough: what it names is looked up, put into the files, and deployed.
#[test]
fn the_variables_of_the_first_block_reach_what_is_deployed() {
    let project = Project::load();
    let walked = walked(&project).unwrap_or_else(|why| panic!("{why}"));
    let file = |path: &str| fs::read_to_string(walked.folder.path().join(path)).unwrap();
    let (parameters, rules) = (file("infra/params/dev.bicepparam"), file("infra/params/dev.rules.json"));
    for (text, mut parts) in [
        (
            &parameters,
            vec![
                "storageAccounts/sttheirs'",
                "storageAccounts/stoutputs'",
                "workspaces/mlw'",
                "var hierarchical = true",
            ],
        ),
        (
            &rules,
            vec![
                "\"account\": \"stuploadsdev\"",
                "https://theirs.westeurope",
                "workspaces/mlw\"",
                "\"prefix\": \"eu/\"",
            ],
        ),
    ] {
        if text == &parameters {
            parts.extend(["systemTopics/theirs'", CLUSTER]);
        }
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("00000000-0000"), "an example's value is left: {text}");
    }
    let Some(program) = compiler::find() else { return println!("left out: there is no Bicep compiler") };
    let mut compiler = Compiler::start(&program, &project.files);
    compiler.write("infra/params/dev.bicepparam", &parameters);
    // The played account has another name than the rule's.
    compiler.write("infra/params/dev.rules.json", &rules.replace("stuploadsdev", "sttheirs"));
    let predicted = compiler.snapshot("infra/params/dev.bicepparam").unwrap().to_string();
    for part in
        ["storageAccounts/sttheirs", "storageAccounts/stoutputs", "workspaces/mlw", CLUSTER, "theirs.westeurope"]
    {
        assert!(predicted.contains(part), "{part}");
    }
}
