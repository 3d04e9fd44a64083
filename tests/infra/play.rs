//! A play: `infra/deploy.sh` against a fake `az`, whose each answer cites the public issue that it is taken from, or, where there is
//! none, the documentation: those are named by [`DOCUMENTED`], and a transcript's head says so. What was called, answered and said
//! is the transcript in `transcripts/`; `SCOREKEEPER_WRITE_TRANSCRIPTS=1 cargo test --test infra procedure` writes them again.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::project::root;
use crate::support::executable;

pub const APP: &str = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Web/sites/func";
/// The principal that `COMPILED` names as a cluster's.
pub const CLUSTER: &str = "11111111-1111-1111-1111-111111111111";

/// A deployment that is made, and outputs that are read of it afterwards.
const DEPLOYMENT: &str = "https://github.com/Azure/bicep/issues/4638";
/// The level at which who may read may look.
const LOOK: &str = "https://github.com/Azure/arm-template-whatif/issues/135";
/// Names are `APP/FUNCTION`.
const FUNCTIONS: &str = "https://github.com/Azure/azure-functions-host/issues/3502";
/// The CLI adds names of roles to what Resource Manager lists.
const ROLES: &str = "https://github.com/Azure/azure-rest-api-specs/issues/7460";
pub const IDENTITY: &str = "https://github.com/Azure/ResourceModules/issues/3113";
/// A topic may have an identity's principal, or none.
pub const TOPIC: &str = "https://github.com/Azure/azure-cli/issues/28064";
pub const APPS: &str = "https://github.com/Azure/azure-cli/issues/24799";
const SIGN_IN: &str = "https://github.com/Azure/azure-functions-openapi-extension/issues/505";
const SYNC: &str = "https://github.com/Azure/azure-functions-host/issues/10169";
pub const SETTINGS: &str = "https://github.com/Azure/azure-functions-core-tools/issues/2419";
const ZIP: &str = "https://github.com/Azure/Azure-Functions/issues/2496";
/// `--outfile` holds the parameters alone.
pub const COMPILER: &str = "https://github.com/Azure/bicep/issues/14186";
/// What the CLI shows of an app.
const SHOW: &str = "https://learn.microsoft.com/cli/azure/functionapp#az-functionapp-show";
/// Calls whose answers nobody reads.
pub const INDEX: &str = "https://learn.microsoft.com/cli/azure/reference-index";
/// Of these no public issue was found.
const DOCUMENTED: [&str; 2] = [INDEX, SHOW];
/// The text of it.
const NO_DEPLOYMENT: &str = "https://github.com/Azure/azure-cli/issues/28834";

/// A parameter file as the compiler writes it: a watched account, a workspace, a cluster, an identity that is given.
pub const COMPILED: &str = r#"{
  "parameters": {
    "watchedAccounts": { "value": [{ "resourceId": "/subscriptions/s/resourceGroups/data/providers/Microsoft.Storage/storageAccounts/stUploads" }] },
    "workspaceResourceIds": { "value": ["/subscriptions/s/resourceGroups/ml/providers/Microsoft.MachineLearningServices/workspaces/mlw"] },
    "dataAccess": { "value": { "computePrincipalIds": ["11111111-1111-1111-1111-111111111111"] } },
    "existing": { "value": { "identityResourceId": "/subscriptions/s/resourceGroups/ids/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-given" } }
  }
}"#;

/// What `az` says to a call.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The public issue where somebody has seen it, or one of [`DOCUMENTED`].
    source: &'static str,
    /// `*`: each time.
    times: &'static str,
    pattern: &'static str,
    exit: &'static str,
    text: String,
}

pub fn answer(
    source: &'static str,
    times: &'static str,
    pattern: &'static str,
    exit: &'static str,
    text: &str,
) -> Answer {
    Answer { source, times, pattern, exit, text: text.to_owned() }
}

/// What stage 1 gave out, of a way of delivery.
pub fn told(mode: &str) -> Answer {
    let told = format!("func\n{APP}\nststate\nappi\n22222222-2222-2222-2222-222222222222\n{mode}");
    answer(DEPLOYMENT, "*", "deployment group show*functionAppName.value*", "0", &told)
}

pub fn nothing_deployed() -> Answer {
    let why = "ERROR: (DeploymentNotFound) Deployment 'scorekeeper' could not be found.";
    answer(NO_DEPLOYMENT, "1", "deployment group show*functionAppName.value*", "3", why)
}

/// What `functionapp show` tells of a Flex Consumption app: `{"properties": {"state": …}}`, Resource Manager's own answer. A query of
/// `state` alone, which other plans have, finds nothing in it; a query that is neither fails the play.
pub fn shown(source: &'static str, state: &str) -> [Answer; 2] {
    [
        answer(source, "*", "functionapp show*--query properties.state*", "0", state),
        answer(source, "*", "functionapp show*--query state *", "0", ""),
    ]
}

/// Answers of a deployment at which nothing goes wrong. A play's own come before them.
pub fn smooth() -> Vec<Answer> {
    let stage_2 = r#"{"parameters":{"installation":{"value":{"watchedAccounts":[{"resourceId":"/subscriptions/s/resourceGroups/data/providers/Microsoft.Storage/storageAccounts/stUploads"}]}}}}"#;
    let mut answers = vec![
        told("eventGrid"),
        answer(DEPLOYMENT, "*", "deployment group show*outputs.events.value --output json*", "0", stage_2),
        answer(DEPLOYMENT, "*", "deployment group create*--name scorekeeper --parameters*", "0", ""),
        answer(DEPLOYMENT, "*", "deployment group create*--name scorekeeper-events*", "0", ""),
        answer(
            LOOK,
            "*",
            "deployment group what-if*--validation-level ProviderNoRbac*",
            "0",
            "Resource changes: 30 to create.",
        ),
        answer(COMPILER, "*", "bicep build-params*", "0", COMPILED),
        answer(
            IDENTITY,
            "*",
            "rest --method get*userAssignedIdentities/id-given*",
            "0",
            "33333333-3333-3333-3333-333333333333",
        ),
        answer(
            TOPIC,
            "*",
            "rest --method get*systemTopics/evgt-stuploads*",
            "0",
            "44444444-4444-4444-4444-444444444444",
        ),
        answer(ROLES, "*", "role assignment list --scope *", "0", ""),
        answer(APPS, "*", "functionapp list*", "0", APP),
        answer(SIGN_IN, "*", "rest --method get*authsettingsV2*", "0", "false"),
        answer(SYNC, "*", "rest --method post*/host/default/sync*", "0", ""),
        answer(ZIP, "*", "functionapp deployment source config-zip*", "0", ""),
        answer(FUNCTIONS, "*", "functionapp function list*", "0", "func/BlobCreated\nfunc/Reconcile"),
        answer(SETTINGS, "*", "functionapp config appsettings list*", "0", r#"[{ "name": "SCOREKEEPER_RULES" }]"#),
    ];
    answers.extend(shown(SHOW, "Running"));
    answers
}

/// A play as the fake `az` reads it.
pub fn lines(answers: &[Answer]) -> String {
    let mut lines = String::new();
    for it in answers {
        let by_somebody = ["/issues/", "/pull/"].iter().any(|part| {
            let number = it.source.strip_prefix("https://github.com/").and_then(|rest| rest.split_once(part));
            number.is_some_and(|(_, number)| number.chars().all(|c| c.is_ascii_digit()))
        });
        assert!(by_somebody || DOCUMENTED.contains(&it.source), "who has seen this answer? {it:?}");
        let _ = writeln!(lines, "{}|{}|{}|{}", it.times, it.pattern, it.exit, it.text.replace('\n', "\\n"));
    }
    lines
}

pub struct Play {
    name: String,
    verb: &'static str,
    answers: Vec<Answer>,
    vars: Vec<(&'static str, String)>,
    doctor: Option<i32>,
    rules: i32,
    has_timeout: bool,
    written_down: bool,
}

/// A play, named as its transcript, of one of the script's verbs.
pub fn play(name: &str, verb: &'static str) -> Play {
    Play {
        name: name.to_owned(),
        verb,
        answers: Vec::new(),
        vars: Vec::new(),
        doctor: None,
        rules: 0,
        has_timeout: true,
        written_down: true,
    }
}

impl Play {
    pub fn with_all(mut self, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.answers.extend(answers);
        self
    }

    pub fn with(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    pub fn var(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.vars.push((name, value.into()));
        self
    }

    /// A scorekeeper whose doctor ends with a code.
    pub fn doctor(mut self, code: i32) -> Self {
        self.doctor = Some(code);
        self
    }

    /// And whose check of the rules ends with a code.
    pub fn rules(mut self, code: i32) -> Self {
        self.rules = code;
        self
    }

    /// On a machine that lacks the program `timeout`, as macOS.
    pub fn without_timeout(mut self) -> Self {
        self.has_timeout = false;
        self
    }

    /// Its transcript says nothing that others do not.
    pub fn not_written_down(mut self) -> Self {
        self.written_down = false;
        self
    }

    pub fn run(self) -> Played {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let answers: Vec<Answer> = self.answers.iter().cloned().chain(smooth()).collect();
        fs::write(at("play"), lines(&answers)).unwrap();
        let mut head = format!("# infra/deploy.sh {}\n", self.verb);
        for (name, value) in &self.vars {
            let _ = writeln!(head, "# {name}={value}");
        }
        for it in &self.answers {
            let told = if DOCUMENTED.contains(&it.source) { "documented (no public issue was found)" } else { "as" };
            let _ = writeln!(head, "# {told} in {}", it.source);
        }
        fs::write(at("play.transcript"), head).unwrap();
        let output = || OpenOptions::new().append(true).open(at("play.transcript")).unwrap();
        fs::create_dir(at("bin")).unwrap();
        fs::write(at("scorekeeper.zip"), "").unwrap();
        let mut path = format!("{}:/usr/bin:/bin", root().join("tests/cases/az").canonicalize().unwrap().display());
        if !self.has_timeout {
            let programs = [
                "cat", "date", "dirname", "env", "grep", "mkfifo", "mktemp", "mv", "rm", "sed", "sh", "sleep", "sort",
                "tr",
            ];
            for name in programs {
                let places = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
                symlink(places.iter().find(|program| program.is_file()).unwrap(), at("bin").join(name)).unwrap();
            }
            symlink(root().canonicalize().unwrap().join("tests/cases/az/az"), at("bin/az")).unwrap();
            path = at("bin").display().to_string();
        }
        let mut command = Command::new("/bin/sh");
        command
            .args(["infra/deploy.sh", self.verb])
            .current_dir(root())
            .env_remove("SUBSCRIPTION")
            .env("PATH", path)
            .env("PLAY", at("play"))
            .env("TMPDIR", folder.path())
            .envs([("GROUP", "rg"), ("PARAMETERS", "infra/params/dev.bicepparam")])
            .env("ZIP", at("scorekeeper.zip"))
            .envs([("PAUSE", "0"), ("TRIES", "3"), ("LIMIT", "60")]);
        if let Some(code) = self.doctor {
            let rules = format!("rules) echo \"rules were checked: $*\"; exit {} ;;", self.rules);
            let script =
                format!("#!/bin/sh\ncase $1 in\n{rules}\n*) echo \"doctor was asked: $*\"; exit {code} ;;\nesac\n");
            executable::script(&script, &at("doctor"));
            command.env("DOCTOR", at("doctor"));
        }
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        let status = command.stdout(output()).stderr(output()).status().unwrap();
        let mut transcript = plain(&fs::read_to_string(at("play.transcript")).unwrap(), folder.path());
        let _ = writeln!(transcript, "# ends with {}", status.code().unwrap());
        let unplayed = fs::read_to_string(at("play.unplayed")).unwrap_or_default();
        let name = self.written_down.then_some(self.name);
        Played { name, transcript, unplayed, code: status.code() }
    }
}

/// Without what differs from run to run.
fn plain(transcript: &str, folder: &Path) -> String {
    let mut text = transcript.replace(&format!("{}/", root().canonicalize().unwrap().display()), "");
    let scratch = format!("{}/tmp.", folder.display());
    while let Some(from) = text.find(&scratch) {
        let to = text[from + scratch.len()..].find('/').map_or(text.len(), |at| from + scratch.len() + at);
        text.replace_range(from..to, "SCRATCH");
    }
    text.replace(&folder.display().to_string(), "FOLDER")
}

/// How a play went. Whoever lets go of it has its unplayed calls and its transcript compared: no test can forget that.
#[must_use]
pub struct Played {
    name: Option<String>,
    transcript: String,
    unplayed: String,
    code: Option<i32>,
}

impl Played {
    pub fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.transcript);
        self
    }

    pub fn says(&self, text: &str) -> &Self {
        assert!(self.said().any(|line| line.contains(text)), "`{text}` is missing: {}", self.transcript);
        self
    }

    /// What the script said, without calls, answers and headings.
    pub fn said(&self) -> impl Iterator<Item = &str> {
        self.transcript.lines().filter(|line| !["$ ", "= ", "# "].iter().any(|begin| line.starts_with(begin)))
    }

    /// Whether a call was waited for until its time was over.
    pub fn waited(&self) -> bool {
        self.transcript.contains("\n= no answer\n")
    }

    pub fn calls(&self) -> impl Iterator<Item = &str> {
        self.transcript.lines().filter_map(|line| line.strip_prefix("$ "))
    }

    pub fn count(&self, part: &str) -> usize {
        self.calls().filter(|call| call.contains(part)).count()
    }
}

impl Drop for Played {
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the product")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.unplayed, "", "calls that the play does not know: {}", self.transcript);
        let Some(name) = &self.name else { return };
        let file = root().join(format!("tests/infra/transcripts/{name}.txt"));
        if std::env::var("SCOREKEEPER_WRITE_TRANSCRIPTS").is_ok() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &self.transcript).unwrap();
        }
        let written = fs::read_to_string(&file).unwrap_or_default();
        let lines = self.transcript.lines().zip(written.lines().chain(std::iter::repeat("")));
        let differs = lines.into_iter().find(|(is, was)| is != was);
        assert!(
            self.transcript == written,
            "{}: {differs:?}; the head of play.rs says how to renew it",
            file.display()
        );
    }
}
