//! The activities and the action of `orchestrators.md`, as Data Factory and Logic Apps would send them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulator::Timing;

use super::wire::{KEY, MODES, Mode, Request};
use super::{followed, vars};
use crate::support::cloud::Cloud;
use crate::support::functions_host::FunctionsHost;

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

fn documented() -> Vec<Documented> {
    let blocks = PAGE.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let read = |block: &str| {
        let block: Value = serde_json::from_str(block).unwrap_or_else(|why| panic!("{why}: {block}"));
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
    blocks.map(read).collect()
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
