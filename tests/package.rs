//! The three places that name the functions agree: the definitions that are shipped, the routes that the handler
//! mounts, and `host.json`. What the Functions host makes of the zip is tested beside the packaging, in `handler/xtask`.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(root().join(path)).unwrap()).unwrap()
}

/// Every function's definition, by the name of its folder.
fn definitions() -> BTreeMap<String, Value> {
    let folders = fs::read_dir(root().join("function-definitions")).unwrap();
    let names = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| (name.clone(), json(format!("function-definitions/{name}/function.json")))).collect()
}

#[test]
fn every_definition_has_a_mounted_function_and_the_other_way_round() {
    let mut mounted = handler::functions::NAMES.to_vec();
    mounted.sort_unstable();
    assert_eq!(definitions().into_keys().collect::<Vec<_>>(), mounted);
}

#[test]
fn the_host_starts_the_executable_that_this_workspace_builds() {
    let description = &json("host.json")["customHandler"]["description"];
    let built = Path::new(env!("CARGO_BIN_EXE_scorekeeper")).file_name().unwrap().to_str();
    assert_eq!(description["defaultExecutablePath"].as_str(), built);
    assert_eq!(description["arguments"], serde_json::json!(["serve"]));
}

/// `default` would let in what the host's own libraries log, each request to its storage account among it: some 68,000 records a day
/// from an instance that does nothing, none of them sampled. What is named is what the queries read; the host's own filter lets
/// its other categories through. `Host.Aggregator` would write seven records into `customMetrics` for each half minute in which a function
/// was invoked, which nothing reads.
#[test]
fn the_host_logs_what_the_queries_read_and_not_each_request_of_its_own() {
    let host = json("host.json");
    let levels = host["logging"]["logLevel"].as_object().unwrap();
    let named: Vec<(&str, &str)> =
        levels.iter().map(|(name, level)| (name.as_str(), level.as_str().unwrap())).collect();
    let expected = [
        ("Azure.Storage.Queues.QueueServiceClient", "Warning"),
        ("Function", "Information"),
        ("Host.Aggregator", "Warning"),
        ("Host.Function.Console", "Information"),
        ("Host.Results", "Information"),
    ];
    assert_eq!(named, expected);
}

/// Only a function with one HTTP trigger and one HTTP output is handed requests as they came; all others get their envelope. With an
/// empty prefix an outsider's `POST /BlobCreated` would be one of these, and reach the handler as an invocation.
#[test]
fn requests_are_handed_on_below_a_prefix_to_functions_that_check_who_asks() {
    let host = json("host.json");
    for switch in ["enableForwardingHttpRequest", "enableProxyingHttpRequest"] {
        assert_eq!(host["customHandler"][switch], true, "{switch}");
    }
    assert_eq!(host["extensions"]["http"]["routePrefix"], "api");
    for (name, definition) in definitions() {
        let bindings = definition["bindings"].as_array().unwrap();
        let kinds: Vec<&str> = bindings.iter().map(|binding| binding["type"].as_str().unwrap()).collect();
        if !kinds.contains(&"httpTrigger") {
            assert!(!kinds.contains(&"http"), "{name}");
            continue;
        }
        assert_eq!(kinds, ["httpTrigger", "http"], "{name}");
        let route = bindings[0]["route"].as_str().unwrap();
        let told = (bindings[0]["authLevel"].as_str().unwrap(), bindings[0]["name"].as_str().unwrap());
        if name == handler::functions::PAGE {
            // Browsers send no key; whoever has not signed in is answered nothing. Its path is no function's name.
            assert_eq!((told, route), (("anonymous", "req"), "ops/{*path}"));
            continue;
        }
        assert_eq!(told, ("function", "req"), "{name}");
        assert_eq!(
            route.split('/').next(),
            Some(name.to_lowercase().as_str()),
            "routes are names, so that none hides another"
        );
        assert!(!route.contains('*'), "{name}: {route}");
    }
}

/// A minute between tries and a day of them: as long as Event Grid would have tried.
#[test]
fn a_queued_event_that_the_ledger_refuses_is_retried_for_a_day_before_it_is_poison() {
    let queue = &definitions()["BlobCreatedFromQueue"]["bindings"][0];
    assert_eq!((&queue["type"], &queue["connection"]), (&"queueTrigger".into(), &"AzureWebJobsStorage".into()));
    let settings = &json("host.json")["extensions"]["queues"];
    assert_eq!((&settings["maxDequeueCount"], &settings["visibilityTimeout"]), (&1440.into(), &"00:01:00".into()));
    // Event Grid writes base64.
    assert_eq!(settings["messageEncoding"], "base64");
}

/// A fixed schedule would need a new package for every change, and `runOnStartup` a run at every scale-out.
#[test]
fn the_timers_schedule_is_a_setting_and_missed_runs_are_caught_up() {
    for (function, schedule) in [("Reconcile", "%RECONCILE_SCHEDULE%"), ("Sweep", "%SWEEP_SCHEDULE%")] {
        let timer = &definitions()[function]["bindings"][0];
        assert_eq!(timer["schedule"], schedule);
        assert_eq!(timer["useMonitor"], true);
        assert_eq!(timer["runOnStartup"], false);
    }
}
