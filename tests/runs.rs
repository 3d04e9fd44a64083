//! `scorekeeper run` as a person runs it from an empty folder: what it prints, what it leaves, and its exit code for each outcome.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::Timing;

use crate::support::cloud::{Cloud, with_rule};
use crate::support::functions_host::{FunctionsHost, SCOREKEEPER};

/// Settings of a person's machine: where the cloud is, and no ledger or rules.
fn of_a_person(cloud: &Cloud) -> BTreeMap<String, String> {
    let mut vars = cloud.vars("unused");
    for name in ["SCOREKEEPER_LEDGER", "SCOREKEEPER_RULES"] {
        vars.remove(name);
    }
    vars.insert("SCOREKEEPER_STORAGE_HOSTS".to_owned(), cloud.simulator.storage_hosts());
    vars
}

struct Ran {
    code: i32,
    out: String,
    errors: String,
}

async fn ran(folder: &Path, vars: &BTreeMap<String, String>, args: &[&str]) -> Ran {
    let mut process = tokio::process::Command::new(SCOREKEEPER);
    let output = process.arg("run").args(args).current_dir(folder).env_clear().envs(vars).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), errors: text(output.stderr) }
}

const BLOB: &str = "https://acct.blob.core.windows.net/inbox/a.csv";

/// What differs from run to run, by what it is.
fn without_names(told: &str) -> String {
    let mut lines = Vec::new();
    for line in told.lines() {
        let words = line.split(' ').map(|word| {
            let is_id = |part: &str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            match word {
                word if word.contains("://") => {
                    word.split('/').map(|part| if is_id(part) { "ID" } else { part }).collect::<Vec<_>>().join("/")
                }
                word if word.contains('-') && word.split('-').count() > 2 => "JOB".to_owned(),
                word => word.to_owned(),
            }
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_uploads_scores_at_a_named_endpoint_and_downloads_from_an_empty_folder() {
    let cloud = Cloud::with_writable_inbox().await;
    let vars = of_a_person(&cloud);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.csv"), "x,y\n1,2\n").unwrap();
    let (uri, workspace) = (cloud.simulator.scoring_uri("heart"), cloud.simulator.workspace_id());
    let at = ["--endpoint", &uri, "--workspace", &workspace, BLOB];
    let run = async |more: &[&str]| ran(folder.path(), &vars, &[&at[..], more].concat()).await;

    let dry = run(&["--dry-run", "--deployment", "v7", "--settings", r#"{"miniBatchSize": 5}"#]).await;
    assert_eq!(dry.code, 0, "{}", dry.errors);
    assert!(dry.out.starts_with(&format!("POST {uri}\nazureml-model-deployment: v7\n\n{{")), "{}", dry.out);
    let body: Value = serde_json::from_str(dry.out.split_once("\n\n").unwrap().1).unwrap();
    assert_eq!(body["properties"]["InputData"]["input_data"]["Uri"], BLOB);
    assert_eq!((&body["properties"]["miniBatchSize"], cloud.simulator.jobs().len()), (&json!(5), 0));

    // Before anything is begun.
    let nowhere = run(&["--upload", "mine.csv", "--download", "mine.csv/out"]).await;
    assert_eq!((nowhere.code, nowhere.out.as_str()), (1, ""), "{}", nowhere.errors);
    assert!(nowhere.errors.contains("the folder `mine.csv/out` cannot be made"), "{}", nowhere.errors);

    let done = run(&["--upload", "mine.csv", "--download", "out"]).await;
    assert_eq!(done.code, 0, "{}{}", done.out, done.errors);
    let expected = "https://acct.blob.core.windows.net/inbox/a.csv  uploaded, 8 bytes\n\
        inbox/a.csv  submitting\n\
        inbox/a.csv  running  job JOB\n\
        inbox/a.csv  scored  azureml://datastores/workspaceblobstore/paths/scorekeeper/run/ID/1/predictions.csv\n\
        out/predictions.csv  ";
    let told = without_names(&done.out);
    assert!(told.starts_with(expected), "{told}");
    let predictions = std::fs::read_to_string(folder.path().join("out/predictions.csv")).unwrap();
    assert!(predictions.starts_with("row,") || !predictions.is_empty(), "{predictions}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing else is left: {left:?}");
    assert_eq!(cloud.simulator.jobs().len(), 1);

    // What is there is not overwritten unasked.
    let again = run(&["--upload", "mine.csv", "--wait"]).await;
    assert!(again.code == 1 && again.errors.contains("--force overwrites it"), "{}", again.errors);
    let again = run(&["--upload", "mine.csv", "--force", "--download", "out"]).await;
    assert_eq!(again.code, 0, "{}{}", again.out, again.errors);
    // And without --wait it ends when the job runs.
    let left = run(&[]).await;
    assert!(left.code == 0 && left.out.contains("Nobody looks after these jobs"), "{}{}", left.out, left.errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_well_is_told_with_an_exit_code_of_its_own() {
    let cloud = Cloud::with_timing(Timing { running: Duration::from_secs(600), ..Timing::default() }).await;
    let vars = of_a_person(&cloud);
    let folder = tempfile::tempdir().unwrap();
    cloud.upload("a.csv", "x\n1\n");
    let (uri, workspace) = (cloud.simulator.scoring_uri("heart"), cloud.simulator.workspace_id());
    let at = ["--endpoint", uri.as_str(), "--workspace", workspace.as_str()];
    let run = async |more: &[&str]| ran(folder.path(), &vars, &[&at[..], more].concat()).await;
    let slow = run(&[BLOB, "--wait", "--timeout", "2s"]).await;
    assert!(slow.code == 6 && slow.out.contains("did not come to its end in time"), "{}{}", slow.out, slow.errors);
    let none = run(&["https://acct.blob.core.windows.net/inbox/none.csv", "--wait"]).await;
    assert!(none.code == 1 && none.out.contains("refused: there is no blob"), "{}{}", none.out, none.errors);
    // Literals are not for a model: the endpoint refuses it.
    let bad = run(&[BLOB, "--wait", "--input", "n=3", "--input", "input_data={blob.url}"]).await;
    assert!(bad.code == 1 && bad.out.contains("inbox/a.csv  failed  400 UserError"), "{}{}", bad.out, bad.errors);
    let foreign = ran(folder.path(), &vars, &["--endpoint", "https://evil.example/jobs", BLOB]).await;
    assert!(foreign.code != 0 && foreign.errors.contains("evil.example"), "{}", foreign.errors);
    for usage in [
        vec!["--endpoint", "nonsense", BLOB],
        vec!["--endpoint", &uri, "no-url"],
        vec!["--endpoint", &uri, BLOB, "--settings", "[]"],
        vec!["--endpoint", &uri, BLOB, "--output", "score=azureml://datastores/d/paths/fixed.csv"],
        vec!["--endpoint", &uri, "--rule", "claims", BLOB],
        vec![BLOB],
    ] {
        let wrong = ran(folder.path(), &vars, &usage).await;
        assert_eq!(wrong.code, 64, "{usage:?}: {}{}", wrong.out, wrong.errors);
    }
    assert_eq!(cloud.simulator.jobs().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_rule_the_app_scores_what_a_person_orders_and_the_history_tells_it() {
    let cloud = Cloud::start().await;
    let mut vars = cloud.vars("ledger");
    vars.insert("SCOREKEEPER_STORAGE_HOSTS".to_owned(), cloud.simulator.storage_hosts());
    let members = [
        ("match", json!({"account": "acct", "container": "inbox", "suffix": ".csv"})),
        ("pollInterval", json!("PT0.05S")),
        ("outputTimeout", json!("PT5S")),
    ];
    let vars = with_rule(vars, &members);
    let folder = tempfile::tempdir().unwrap();
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    cloud.upload("a.csv", "x\n1\n");
    cloud.upload("a.txt", "x\n1\n");
    // The ledger is made by the first run.
    host.invoke("Reconcile", "tick", "timer", &json!({})).await.value();
    let (mut ends, out) = (Vec::new(), folder.path().join("out"));
    let (out, txt) = (out.to_str().unwrap(), "https://acct.blob.core.windows.net/inbox/a.txt");
    for args in [
        vec!["--rule", "claims", BLOB, "--download", out],
        vec!["--rule", "claims", BLOB, "--wait"],
        vec!["--rule", "claims", BLOB, "--wait", "--again"],
        vec!["--rule", "claims", txt, "--wait"],
        vec!["--rule", "none", BLOB, "--wait"],
    ] {
        let running = ran(folder.path(), &vars, &args);
        tokio::pin!(running);
        let nothing = json!({});
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                ticked = host.invoke("Reconcile", "tick", "timer", &nothing) => { ticked.value(); }
            }
        };
        ends.push((ended.code, ended.out.clone() + &ended.errors));
    }
    let codes: Vec<i32> = ends.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0, 0, 0, 1, 1], "{ends:?}");
    assert!(
        ends[0].1.contains("ordered: the next reconcile run starts it") && ends[0].1.contains("  scored  "),
        "{ends:?}"
    );
    assert!(folder.path().join("out/predictions.csv").exists());
    assert!(ends[3].1.contains("refused: started by ") && ends[3].1.contains("does not accept"), "{ends:?}");
    assert!(ends[4].1.contains("there is no rule `none`"), "{ends:?}");
    assert_eq!(cloud.simulator.jobs().len(), 2, "the second order has joined, the third is a generation of its own");
    let dry = ran(folder.path(), &vars, &["--rule", "claims", BLOB, "--dry-run"]).await;
    assert!(dry.code == 0 && dry.out.starts_with("POST "), "{}{}", dry.out, dry.errors);
}

/// A transcript of `run` in each way in which it ends, with its exit code.
struct Transcript(String);

impl Transcript {
    fn add(&mut self, typed: &str, ran: &Ran, uri: &str) {
        let told = without_names(&format!("{}{}", ran.out, ran.errors));
        // Ports and folders are those of one run.
        let origin = uri.split_once("/endpoints").map_or(uri, |(origin, _)| origin);
        let told = told.replace(origin, "http://ENDPOINT");
        self.0.extend(["$ scorekeeper run ", typed, "\n", told.trim_end()]);
        self.0.extend([format!("\n(exit code {})\n\n", ran.code)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_outcome_of_a_run_is_told_as_the_transcript_has_it_with_its_exit_code() {
    let cloud = Cloud::with_writable_inbox().await;
    let mut vars = of_a_person(&cloud);
    vars.insert("SCOREKEEPER_LOG".to_owned(), "off".to_owned());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.csv"), "x,y\n1,2\n").unwrap();
    let (uri, workspace) = (cloud.simulator.scoring_uri("heart"), cloud.simulator.workspace_id());
    let fault = |kind, path: &str| simulator::Fault::new(simulator::Route::Invoke, kind).matching(path);
    let failed = simulator::FaultKind::Failed { by: simulator::JobFailure::PackageMissing };
    cloud
        .simulator
        .set_faults(vec![fault(failed, "fails.csv"), fault(simulator::FaultKind::Stuck, "stuck.csv")])
        .unwrap();
    for path in ["fails.csv", "stuck.csv", "stopped.csv"] {
        cloud.upload(path, "x\n1\n");
    }
    let at = ["--endpoint", &uri, "--workspace", &workspace];
    let blob = |path: &str| format!("https://acct.blob.core.windows.net/inbox/{path}");
    let mut transcript = Transcript(String::new());
    let (uploaded, fails, stuck, none) = (blob("a.csv"), blob("fails.csv"), blob("stuck.csv"), blob("none.csv"));
    for (typed, args) in [
        (
            "--endpoint URI --upload mine.csv --download out BLOB",
            vec![uploaded.as_str(), "--upload", "mine.csv", "--download", "out"],
        ),
        ("--endpoint URI --wait BLOB", vec![fails.as_str(), "--wait"]),
        ("--endpoint URI --wait --timeout 2s BLOB", vec![stuck.as_str(), "--wait", "--timeout", "2s"]),
        ("--endpoint URI --wait BLOB", vec![none.as_str(), "--wait"]),
        ("--endpoint URI --upload none.csv BLOB", vec![uploaded.as_str(), "--upload", "none.csv"]),
    ] {
        let ran = ran(folder.path(), &vars, &[&at[..], &args].concat()).await;
        transcript.add(typed, &ran, &uri);
    }
    // Somebody stops its job in the studio.
    let stopped = blob("stopped.csv");
    cloud.simulator.set_faults(vec![fault(simulator::FaultKind::Stuck, "stopped.csv")]).unwrap();
    let running = [&at[..], &[stopped.as_str(), "--wait"]].concat();
    let running = ran(folder.path(), &vars, &running);
    let stop = async {
        let is_it = |job: &simulator::JobView| job.inputs.values().any(|uri| uri.ends_with("stopped.csv"));
        let jobs = cloud.simulator.until(|jobs| jobs.iter().any(is_it)).await;
        let name = jobs.iter().find(|job| is_it(job)).unwrap().name.clone();
        let token = token(&vars, "https://management.azure.com").await;
        let url = format!("{}{workspace}/jobs/{name}/cancel?api-version=2025-12-01", cloud.simulator.origin());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.post(url).bearer_auth(token).send().await.unwrap().error_for_status().unwrap();
    };
    let (stopped, ()) = tokio::join!(running, stop);
    transcript.add("--endpoint URI --wait BLOB", &stopped, &uri);
    // What is uploaded meanwhile, or taken away, is not what was to be scored.
    for (path, newer) in [("changed.csv", Some("x\n1\n2\n")), ("taken.csv", None)] {
        cloud.upload(path, "x\n1\n");
        let blob = blob(path);
        let running = [&at[..], &[blob.as_str(), "--wait"]].concat();
        let meanwhile = async {
            let is_it = |job: &simulator::JobView| job.inputs.values().any(|uri| uri.ends_with(path));
            cloud.simulator.until(|jobs| jobs.iter().any(is_it)).await;
            match newer {
                Some(newer) => cloud.upload(path, newer),
                None => std::fs::remove_file(cloud.root().join("in").join(path)).unwrap(),
            }
        };
        let (ran, ()) = tokio::join!(ran(folder.path(), &vars, &running), meanwhile);
        transcript.add("--endpoint URI --wait BLOB", &ran, &uri);
    }
    let golden = include_str!("cli/transcript-of-runs.txt").replace("\r\n", "\n");
    if transcript.0 != golden {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transcript-of-runs.txt");
        std::fs::write(&path, &transcript.0).unwrap();
        panic!("{}\nIf it is right as it is now: cp {} tests/cli/transcript-of-runs.txt", transcript.0, path.display());
    }
}

/// A token for this audience, as the simulator's identity endpoint gives one.
async fn token(vars: &BTreeMap<String, String>, audience: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}?api-version=2019-08-01&resource={audience}", vars["IDENTITY_ENDPOINT"]);
    let answer = client.get(url).header("X-IDENTITY-HEADER", &vars["IDENTITY_HEADER"]).send().await.unwrap();
    let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_asks_as_whoever_is_signed_in_with_either_of_azures_command_lines() {
    for tool in ["az", "azd"] {
        let cloud = Cloud::start().await;
        let mut vars = of_a_person(&cloud);
        let folder = tempfile::tempdir().unwrap();
        let tools = folder.path().join("tools");
        std::fs::create_dir(&tools).unwrap();
        for (name, audience) in [
            ("ml", "https://ml.azure.com"),
            ("storage", "https://storage.azure.com"),
            ("manager", "https://management.azure.com"),
        ] {
            let token = token(&vars, audience).await;
            let answer = match tool {
                "az" => json!({ "accessToken": token, "expires_on": 4_000_000_000_u64, "tokenType": "Bearer" }),
                _ => json!({ "token": token, "expiresOn": "2096-10-02T07:06:40Z" }),
            };
            std::fs::write(tools.join(name), answer.to_string()).unwrap();
        }
        let tools_at = tools.display();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {tools_at}/asked\ncase \"$*\" in\n  *ml.azure.com*) cat {tools_at}/ml ;;\n  \
             *storage.azure.com*) cat {tools_at}/storage ;;\n  *) cat {tools_at}/manager ;;\nesac\n"
        );
        crate::support::executable::script(&script, &tools.join(tool));
        // Nothing gives this process an identity of its own.
        vars.retain(|name, _| !name.starts_with("IDENTITY_"));
        vars.insert("PATH".to_owned(), format!("{tools_at}:/usr/bin:/bin"));
        cloud.upload("a.csv", "x,y\n1,2\n");
        let (uri, workspace) = (cloud.simulator.scoring_uri("heart"), cloud.simulator.workspace_id());
        let at = ["--endpoint", uri.as_str(), "--workspace", &workspace, BLOB, "--download", "out"];
        let done = ran(folder.path(), &vars, &at).await;
        assert_eq!(done.code, 0, "{tool}: {}{}", done.out, done.errors);
        assert!(folder.path().join("out/predictions.csv").is_file());
        let asked = std::fs::read_to_string(tools.join("asked")).unwrap();
        for audience in ["https://ml.azure.com/.default", "https://storage.azure.com/.default"] {
            assert!(asked.contains(audience), "{tool}: {asked}");
        }
        // Signed out, nobody else is asked in their place.
        crate::support::executable::script("#!/bin/sh\necho 'run az login' >&2\nexit 1\n", &tools.join(tool));
        let out = ran(folder.path(), &vars, &[&at[..5], &["--wait", "--timeout", "2s"]].concat()).await;
        assert!(out.code != 0 && cloud.simulator.jobs().len() == 1, "{tool}: {}{}", out.out, out.errors);
    }
}

/// A wish that is of no use beside another option is no wish that is dropped without a word.
#[tokio::test]
async fn an_option_that_the_others_leave_without_use_is_refused_and_nothing_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let at = ["--endpoint", "https://heart.westeurope.inference.ml.azure.com/jobs", BLOB];
    let under = ["--rule", "claims", BLOB];
    let mut cases: Vec<(Vec<&str>, &str)> = Vec::new();
    for (option, value) in
        [("--deployment", "v7"), ("--workspace", "w"), ("--input", "a=b"), ("--output", "a=b"), ("--settings", "{}")]
    {
        cases.push(([&["run"], &under[..], &[option, value]].concat(), "cannot be used with"));
    }
    for more in [vec!["--param", "a=b"], vec!["--again"]] {
        cases.push(([&["run"], &at[..], &more].concat(), "cannot be used with"));
    }
    for (more, said) in [
        (vec!["--force"], "--force overwrites what --upload or --download meets"),
        (vec!["--input", "a=1", "--input", "a=2"], "--input names `a` twice"),
        (vec!["--output", "a=1", "--output", "a=2"], "--output names `a` twice"),
    ] {
        cases.push(([&["run"], &at[..], &more].concat(), said));
    }
    cases.push(([&["run"], &under[..], &["--param", "a=1", "--param", "a=2"]].concat(), "--param names `a` twice"));
    for option in ["--rule", "--prefix"] {
        cases.push((vec!["replay", BLOB, option, "claims", "--reason", "x"], "cannot be used with"));
    }
    cases.push((vec!["replay", BLOB, "--since", "24h", "--reason", "x"], "cannot be used with"));
    cases.push((vec!["breaker", "--rule", "claims", "--deployment", "v7"], "cannot be used with"));
    cases.push((vec!["breaker", "--history", "--reason", "x"], "cannot be used with"));
    cases.push((vec!["limit", "--history", "--reason", "x"], "cannot be used with"));
    for option in ["--ledger", "--data"] {
        cases.push((vec!["coverage", option, "x", "--since", "2026-07-21"], "cannot be used with"));
    }
    for (args, said) in cases {
        let mut process = tokio::process::Command::new(SCOREKEEPER);
        let output = process.args(&args).current_dir(folder.path()).env_clear().output().await.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: {told}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is begun");
    // What the app would refuse is told of before it is asked.
    let rules = json!({"rules": [{"id": "claims", "match": {"container": "inbox"}, "endpoint": {"uri": at[1]}}]});
    let vars = BTreeMap::from([("SCOREKEEPER_RULES".to_owned(), rules.to_string())]);
    let dry = ran(folder.path(), &vars, &["--rule", "claims", BLOB, "--dry-run", "--param", "a=1"]).await;
    assert_eq!(dry.code, 64, "{}", dry.out);
    assert!(dry.errors.contains("rule `claims` declares no parameter `a`"), "{}", dry.errors);
}
