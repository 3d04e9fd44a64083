//! The activities and the action of `orchestrators.md`, as Data Factory and Logic Apps would send them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulator::Timing;

use super::{followed, vars};
use crate::support::cloud::Cloud;
use crate::support::functions_host::FunctionsHost;
use crate::support::http_function::{KEY, MODES, Mode, Request};

const PAGE: &str = include_str!("../../handler/docs/orchestrators.md");

/// What their expressions come to in a run for `inbox/a.csv`.
fn evaluated(text: &str) -> String {
    let values = [
        ("@{activity('Key').output.value}", KEY),
        ("@{body('Key')?['value']}", KEY),
        ("@{pipeline().RunId}", "7f0e2c1a-run"),
        ("@{workflow()['run']['name']}", "08585-run"),
        ("@{pipeline().parameters.folderPath}", "inbox"),
        ("@{pipeline().parameters.fileName}", "a.csv"),
        ("@{decodeUriComponent(substring(uriPath(triggerBody()?['data']?['url']), 1))}", "inbox/a.csv"),
    ];
    let text = values.iter().fold(text.to_owned(), |text, (expression, value)| text.replace(expression, value));
    assert!(!text.contains('@'), "an expression that nobody evaluates: {text}");
    text
}

/// A request that stands on the page: of an activity's `typeProperties`, or an action's `inputs`.
struct Documented {
    name: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

/// All JSON of the page.
fn blocks() -> Vec<Value> {
    let blocks = PAGE.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| serde_json::from_str(block).unwrap_or_else(|why| panic!("{why}: {block}"))).collect()
}

fn documented() -> Vec<Documented> {
    let read = |block: Value| {
        let action = block.as_object().unwrap().values().next().unwrap();
        let sent = block.get("typeProperties").unwrap_or(&action["inputs"]);
        let name = block["type"].as_str().or(action["type"].as_str()).unwrap().to_owned();
        assert_eq!(sent["method"], "POST", "{name}");
        let url = sent["url"].as_str().or(sent["uri"].as_str()).unwrap();
        let path = url.strip_prefix("https://APP.azurewebsites.net").unwrap().to_owned();
        let headers = sent["headers"].as_object().unwrap();
        let headers = headers.iter().map(|(name, value)| (name.clone(), evaluated(value.as_str().unwrap()))).collect();
        let body: Value = serde_json::from_str(&evaluated(&sent["body"].to_string())).unwrap();
        Documented { name, path, headers, body }
    };
    blocks().into_iter().filter(|block| block.get("activities").is_none()).map(read).collect()
}

/// A pipeline of the page, run as Data Factory runs it: Web activities in their order, and those of an Until until its job has ended.
struct Pipeline<'a> {
    simulator: &'a simulator::Handle,
    client: reqwest::Client,
    /// What activities have answered, by their names.
    outputs: BTreeMap<String, Value>,
    parameters: BTreeMap<&'static str, String>,
    /// Tokens of the factory's managed identity.
    managed: String,
}

impl Pipeline<'_> {
    fn evaluated(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.parameters {
            text = text.replace(&format!("@{{pipeline().parameters.{name}}}"), value);
        }
        while let Some((before, rest)) = text.split_once("@{activity('") {
            let (expression, after) = rest.split_once('}').unwrap();
            let (name, member) = expression.split_once("').output.").unwrap();
            let value = &self.outputs[name][member];
            text = [before, value.as_str().unwrap_or_else(|| panic!("{expression} of {}", self.outputs[name])), after]
                .concat();
        }
        assert!(!text.contains('@'), "an expression that nobody evaluates: {text}");
        text
    }

    async fn web(&mut self, activity: &Value) {
        let of = &activity["typeProperties"];
        // What stands for Azure here is the simulator.
        let url = self.evaluated(of["url"].as_str().unwrap());
        let url = url.replace("https://login.microsoftonline.com", &self.simulator.origin());
        let mut request = self.client.request(of["method"].as_str().unwrap().parse().unwrap(), url);
        for (name, value) in of["headers"].as_object().into_iter().flatten() {
            request = request.header(name, self.evaluated(value.as_str().unwrap()));
        }
        if let Some(authentication) = of.get("authentication") {
            assert_eq!(authentication, &json!({ "type": "MSI", "resource": "https://ml.azure.com" }));
            request = request.bearer_auth(&self.managed);
        }
        match &of["body"] {
            Value::Null => {}
            Value::String(form) => request = request.body(self.evaluated(form)),
            body => request = request.body(self.evaluated(&body.to_string())),
        }
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        self.outputs.insert(activity["name"].as_str().unwrap().to_owned(), answer.json().await.unwrap());
    }

    async fn run(&mut self, pipeline: &Value) {
        for activity in pipeline["activities"].as_array().unwrap() {
            if activity["type"] == "WebActivity" {
                self.web(activity).await;
                continue;
            }
            assert_eq!(activity["type"], "Until");
            let of = &activity["typeProperties"];
            let [look, pause] = of["activities"].as_array().unwrap().as_slice() else { panic!("{of}") };
            assert_eq!((&look["name"], &pause["type"]), (&json!("Look"), &json!("Wait")));
            let ends = |status: &str| of["expression"].as_str().unwrap().contains(&format!("'{status}')"));
            let mut every = tokio::time::interval(std::time::Duration::from_millis(50));
            loop {
                self.web(look).await;
                if ends(self.outputs["Look"]["properties"]["status"].as_str().unwrap()) {
                    break;
                }
                every.tick().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pipelines_that_the_page_sets_beside_ours_make_their_job_and_wait_for_it() {
    let pipelines: Vec<Value> = blocks().into_iter().filter(|block| block.get("activities").is_some()).collect();
    let names: Vec<&str> = pipelines.iter().map(|pipeline| pipeline["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ByManagedIdentity", "ByServicePrincipal"]);
    let cloud = Cloud::start().await;
    let vars = cloud.vars("ledger");
    std::fs::create_dir_all(cloud.root().join("scores")).unwrap();
    std::fs::write(cloud.root().join("scores/a.csv"), "x\n1\n").unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}?api-version=2019-08-01&resource=https://ml.azure.com", vars["IDENTITY_ENDPOINT"]);
    let token = client.get(url).header("X-IDENTITY-HEADER", &vars["IDENTITY_HEADER"]).send().await.unwrap();
    let token: Value = token.json().await.unwrap();
    for (run, pipeline) in pipelines.iter().enumerate() {
        let output = format!("azureml://datastores/workspaceblobstore/paths/by-pipeline/{run}.csv");
        let parameters = [
            ("endpoint_uri", cloud.simulator.scoring_uri("heart")),
            ("endpoint_input_uri", "azureml://datastores/workspaceblobstore/paths/a.csv".to_owned()),
            ("endpoint_output_uri", output),
            ("poll_interval", "120".to_owned()),
            ("tenant_id", "contoso.example".to_owned()),
            ("client_id", "11111111-2222-3333-4444-555555555555".to_owned()),
            ("client_secret", "PLANTED~secret".to_owned()),
        ];
        let managed = token["access_token"].as_str().unwrap().to_owned();
        let (client, outputs) = (client.clone(), BTreeMap::new());
        let mut running =
            Pipeline { simulator: &cloud.simulator, client, outputs, parameters: parameters.into(), managed };
        running.run(pipeline).await;
        assert_eq!(running.outputs["Look"]["properties"]["status"], "Completed", "{}", names[run]);
        assert!(cloud.root().join(format!("scores/by-pipeline/{run}.csv")).is_file());
    }
    assert_eq!(cloud.simulator.jobs().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_activities_and_the_action_of_the_page_are_sent_and_followed_to_the_end() {
    let all = documented();
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["WebActivity", "WebHook", "Http"]);
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    cloud.upload("a.csv", "x\n1\n");
    for mode in MODES {
        let vars = vars(&cloud, &format!("ledger-{mode:?}"));
        let mut host = FunctionsHost::start(cloud.root(), &vars).await;
        let before = cloud.simulator.jobs().len();
        for one in &all {
            let mut body = one.body.clone();
            if one.name == "WebHook" {
                // Data Factory adds it. Nobody is called at this name, which leads nowhere.
                body["callBackUri"] = json!("https://nowhere.invalid.datafactory.azure.com/cb?ptoken=SECRETSECRET");
            }
            for _ in 0..2 {
                let headers = one.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("x-functions-key"));
                let request = headers
                    .filter(|(name, _)| mode == Mode::Plain || !name.eq_ignore_ascii_case("content-type"))
                    .fold(Request::post(&one.path, Some(&body)), |request, (name, value)| request.with(name, value));
                let started = request.by(mode, &host).await;
                assert_eq!(started.status, 202, "{mode:?} {}: {started:?}", one.name);
                let ended = followed(&host, mode, started).await;
                assert_eq!((ended.status, &ended.body["runtimeStatus"]), (200, &json!("Completed")), "{}", one.name);
            }
        }
        assert_eq!(cloud.simulator.jobs().len() - before, 1, "three orchestrators, each twice, and one blob version");
        let printed = [host.process().stdout().join("\n"), host.process().stderr()].concat();
        assert!(!printed.contains("SECRETSECRET") && !printed.contains(KEY), "{mode:?}");
        let told = cloud.told(&vars, &["list"]).await.to_string();
        assert!(!told.contains("SECRETSECRET"));
    }
}
