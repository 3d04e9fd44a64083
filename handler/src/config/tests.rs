use std::collections::BTreeMap;
use std::path::Path;

use azure::tokens::ManagedIdentity;

use super::*;

const RULES: &str = r#"{"rules":[{"id":"a","match":{"container": "con"},"endpoint":{"uri":"https://e.r.inference.ml.azure.com/jobs"}}]}"#;

fn read(vars: &[(&str, &str)]) -> Result<Config, Problems> {
    let mut map: BTreeMap<_, _> = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    map.entry("SCOREKEEPER_RULES".to_owned()).or_insert_with(|| RULES.to_owned());
    Config::read(&map, Path::new("/nowhere"))
}

fn good(vars: &[(&str, &str)]) -> Config {
    read(vars).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(vars: &[(&str, &str)]) -> Vec<String> {
    match read(vars) {
        Ok(config) => panic!("read as {config:?}"),
        Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
    }
}

const EMBEDDED: (&str, &str) = ("SCOREKEEPER_LEDGER", "embedded:/data");

/// A rule that watches what could not be delivered, in some account.
const RULES_OF_OWN: &str = r#"{"rules":[{"id":"a","match":{"account":"ACCOUNT","container":"dead-letters"},
    "endpoint":{"uri":"https://heart.westeurope.inference.ml.azure.com/jobs"}}]}"#;

#[test]
fn a_ledger_and_rules_are_enough() {
    let config = good(&[EMBEDDED]);
    assert_eq!(config.ledger, LedgerLocation::Embedded("/data".into()));
    assert_eq!((config.task_hub.as_str(), config.projection, config.concurrency), ("Scorekeeper", true, 64));
    assert_eq!(config.resource_manager.as_str(), "https://management.azure.com/");
    assert_eq!(config.retention, Duration::days(30));
    assert_eq!(config.identity, Identity::Managed(ManagedIdentity::SystemAssigned));
    assert_eq!(config.log, Log { filter: "info".parse().expect("a level"), format: LogFormat::Text });
    assert_eq!(config.host.port, None);
    assert_eq!(config.host.function_timeout, Some(std::time::Duration::from_secs(300)));
}

#[test]
fn all_problems_are_told_at_once_with_name_value_expectation_and_remedy() {
    let messages = problems(&[
        ("SCOREKEEPER_TASK_HUB", "my-hub"),
        ("SCOREKEEPER_RULES", r#"{"rules":[{"id":"a"},{"id":"b"}]}"#),
        ("AZURE_CLIENT_ID", "scorekeeper-identity"),
        ("SCOREKEEPER_RESOURCE_MANAGER", "http://management.azure.com"),
        ("SCOREKEEPER_RETENTION", "P7D"),
        ("SCOREKEEPER_PROJECTION", "yes"),
        ("SCOREKEEPER_CONCURRENCY", "0"),
        ("SCOREKEEPER_SIGN_IN", "yes"),
        ("SCOREKEEPER_LOG", "handler=loud"),
        ("SCOREKEEPER_LOG_FORMAT", "xml"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "70000"),
        ("AzureFunctionsJobHost__functionTimeout", "5 minutes"),
    ]);
    for name in [
        "SCOREKEEPER_LEDGER",
        "SCOREKEEPER_TASK_HUB",
        "AZURE_CLIENT_ID",
        "SCOREKEEPER_RESOURCE_MANAGER",
        "SCOREKEEPER_RETENTION",
        "SCOREKEEPER_PROJECTION",
        "SCOREKEEPER_CONCURRENCY",
        "SCOREKEEPER_SIGN_IN",
        "SCOREKEEPER_LOG",
        "SCOREKEEPER_LOG_FORMAT",
        "FUNCTIONS_CUSTOMHANDLER_PORT",
        "AzureFunctionsJobHost__functionTimeout",
    ] {
        assert_eq!(
            messages.iter().filter(|line| line.starts_with(&format!("`{name}` "))).count(),
            1,
            "{name}: {messages:#?}"
        );
    }
    assert_eq!(
        messages.iter().filter(|line| line.starts_with("`SCOREKEEPER_RULES`")).count(),
        4,
        "both rules: {messages:#?}"
    );
    let in_rules = "`SCOREKEEPER_RULES` is `(inline)`; expected good rules, and rules[1].endpoint (line 1, column 22) is missing; \
                    expected where its scorings go; write \"endpoint\": ";
    assert!(messages.iter().any(|line| line.starts_with(in_rules)), "{messages:#?}");
    let task_hub =
        messages.iter().find(|line| line.starts_with("`SCOREKEEPER_TASK_HUB`")).expect("the task hub's problem");
    assert_eq!(
        task_hub,
        "`SCOREKEEPER_TASK_HUB` is `my-hub`; expected a letter, then letters and digits, 3 to 45 in all; \
         table names are made of it; write for example `Scorekeeper`"
    );
    assert!(messages[0].starts_with("`SCOREKEEPER_LEDGER` is not set; expected https://"), "{}", messages[0]);
}

#[test]
fn what_each_rule_leaves_out_is_shown() {
    let rules = r#"{"rules":[
        {"id":"a","match":{"container":"con","exclude":{"globs":["**/x-*"],"defaults":false}},"endpoint":{"uri":"https://e.r.inference.ml.azure.com/jobs"}},
        {"id":"b","match":{"container":"con"},"endpoint":{"uri":"https://e.r.inference.ml.azure.com/jobs"}}]}"#;
    let config = good(&[EMBEDDED, ("SCOREKEEPER_RULES", rules)]);
    let table = config.table();
    assert!(table.contains("rule a leaves out globs **/x-*\n"), "{table}");
    assert!(table.contains("rule b leaves out by default _temporary/ . "), "{table}");
    assert_eq!(config.json()["rules"][0], serde_json::json!({"id": "a", "leavesOut": "globs **/x-*"}));
}

#[test]
fn the_ledger_defaults_to_the_hosts_storage_account() {
    let entra = |vars: &[(&str, &str)]| match good(vars).ledger {
        LedgerLocation::Tables { url, auth: TablesAuth::Entra } => url.to_string(),
        other => panic!("{other:?}"),
    };
    let account = ("AzureWebJobsStorage__accountName", "stscores");
    let own = RULES_OF_OWN.replace("ACCOUNT", "stscores");
    let told = problems(&[account, ("SCOREKEEPER_RULES", &own)]).join("\n");
    assert!(told.contains("rules[0].match.container") && told.contains("the app keeps its code"), "{told}");
    good(&[account, ("SCOREKEEPER_RULES", &RULES_OF_OWN.replace("ACCOUNT", "uploads"))]);
    let uri = ("AzureWebJobsStorage__tableServiceUri", "https://stscores.table.core.chinacloudapi.cn");
    assert_eq!(entra(&[account]), "https://stscores.table.core.windows.net/");
    assert_eq!(entra(&[account, uri]), "https://stscores.table.core.chinacloudapi.cn/");
    let own = ("SCOREKEEPER_LEDGER", "https://other.table.core.windows.net");
    let config = good(&[account, uri, own]);
    assert_eq!(config.ledger.to_string(), "https://other.table.core.windows.net");
    let source =
        |config: &Config| config.settings.iter().find(|s| s.name == "SCOREKEEPER_LEDGER").unwrap().source.clone();
    assert_eq!(source(&config), Source::Variable("SCOREKEEPER_LEDGER".into()));
    assert_eq!(source(&good(&[account])), Source::Variable("AzureWebJobsStorage__accountName".into()));
    assert!(problems(&[("AzureWebJobsStorage__accountName", "https://stscores")])[0].contains("tableServiceUri"));
}

#[test]
fn keys_are_for_loopback_emulators_only() {
    let emulator = |vars: &[(&str, &str)]| match good(vars).ledger {
        LedgerLocation::Tables { url, auth: TablesAuth::SharedKeyLite { account, key } } => {
            (url.to_string(), account, key.expose().to_owned())
        }
        other => panic!("{other:?}"),
    };
    let (url, account, key) = emulator(&[("AzureWebJobsStorage", "UseDevelopmentStorage=true")]);
    assert_eq!((url.as_str(), account.as_str()), ("http://127.0.0.1:10002/devstoreaccount1", "devstoreaccount1"));
    assert!(key.starts_with("Eby8vd"));
    let own = "AccountName=mine;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/mine;";
    let mine = ("http://127.0.0.1:9/mine".to_owned(), "mine".to_owned(), "a2V5".to_owned());
    assert_eq!(emulator(&[("AzureWebJobsStorage", own)]), mine);
    assert_eq!(emulator(&[("SCOREKEEPER_LEDGER", "http://127.0.0.1:9/mine"), ("AzureWebJobsStorage", own)]), mine);
    assert!(problems(&[("SCOREKEEPER_LEDGER", "http://127.0.0.1:9/mine")])[0].contains("connection string"));

    let real = "DefaultEndpointsProtocol=https;AccountName=st;AccountKey=c2VjcmV0a2V5;EndpointSuffix=core.windows.net";
    let messages = problems(&[("AzureWebJobsStorage", real)]).join("\n");
    assert!(messages.contains("identity") && messages.contains("AccountName=st"), "{messages}");
    assert!(!messages.contains("c2VjcmV0a2V5"), "{messages}");
    let disguised = "AccountName=st;AccountKey=c2VjcmV0a2V5;TableEndpoint=https://st.table.core.windows.net";
    assert!(problems(&[("AzureWebJobsStorage", disguised)])[0].contains("identity"));
}

#[test]
fn a_ledger_elsewhere_is_refused_without_telling_its_secrets() {
    for (bad, part) in [
        ("http://10.0.0.4:10002/devstoreaccount1", "plain http"),
        ("https://st.table.core.windows.net/?sv=2026&sig=c2VjcmV0", "not a SAS"),
        ("https://me:c2VjcmV0@st.table.core.windows.net", "not a SAS"),
        ("embedded:", "folder"),
        ("/var/ledger", "embedded:"),
        ("ftp://127.0.0.1/x", "https"),
    ] {
        let messages = problems(&[("SCOREKEEPER_LEDGER", bad)]).join("\n");
        assert!(messages.contains(part), "{bad}: {messages}");
        assert!(!messages.contains("c2VjcmV0"), "{messages}");
    }
    let messages = problems(&[EMBEDDED, ("AZURE_CLIENT_ID", "c2VjcmV0")]).join("\n");
    assert!(!messages.contains("c2VjcmV0"), "{messages}");
}

#[test]
fn a_secret_has_no_debug() {
    let config = good(&[("AzureWebJobsStorage", "UseDevelopmentStorage=true")]);
    for shown in [format!("{config:?}"), config.table(), config.json().to_string()] {
        assert!(!shown.contains("Eby8vd"), "{shown}");
    }
}

#[test]
fn each_setting_remembers_where_it_came_from() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("host.json"), r#"{"version":"2.0","functionTimeout":"00:10:00"}"#)
        .expect("written");
    std::fs::write(folder.path().join("rules.json"), RULES).expect("written");
    let root = folder.path().display().to_string();
    let vars = BTreeMap::from(
        [
            ("FUNCTIONS_APP_ROOT_PATH", root.as_str()),
            ("SCOREKEEPER_LEDGER", "embedded:data"),
            ("SCOREKEEPER_TASK_HUB", "Hub"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let config = Config::read(&vars, Path::new("/nowhere")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.ledger, LedgerLocation::Embedded(folder.path().join("data")), "relative to the app's root");
    assert_eq!(config.host.function_timeout, Some(std::time::Duration::from_secs(600)));
    let table = config.table();
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}"));
    assert!(line("SCOREKEEPER_TASK_HUB").ends_with("variable SCOREKEEPER_TASK_HUB"), "{table}");
    assert!(line("SCOREKEEPER_RETENTION").ends_with("default"), "{table}");
    assert!(line("SCOREKEEPER_RULES").contains("rules.json: 1 rule"), "{table}");
    assert!(line("functionTimeout").ends_with("host.json"), "{table}");
    let json = config.json();
    let setting = json["settings"].as_array().expect("a list").iter().find(|s| s["name"] == "SCOREKEEPER_TASK_HUB");
    assert_eq!(
        setting.expect("the task hub"),
        &serde_json::json!({"name": "SCOREKEEPER_TASK_HUB", "value": "Hub", "source": "variable SCOREKEEPER_TASK_HUB"})
    );
}

#[test]
fn whoever_asks_beside_a_host_is_told_that_its_process_logs_json() {
    let shown = |vars: &[(&str, &str)]| {
        let config = good(vars);
        let setting = config.settings.iter().find(|setting| setting.name == "SCOREKEEPER_LOG_FORMAT").unwrap();
        (config.log.format, setting.value.clone())
    };
    assert_eq!(shown(&[EMBEDDED]), (LogFormat::Text, "text here, json under a host".to_owned()));
    let hosted = [EMBEDDED, ("FUNCTIONS_CUSTOMHANDLER_PORT", "7071")];
    assert_eq!(shown(&hosted), (LogFormat::Json, "json".to_owned()));
    assert_eq!(shown(&[EMBEDDED, ("SCOREKEEPER_LOG_FORMAT", "json")]), (LogFormat::Json, "json".to_owned()));
}

#[test]
fn a_host_json_with_comments_does_not_prevent_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("host.json"), "{ // ours\n \"functionTimeout\": \"00:10:00\" }")
        .expect("written");
    let root = folder.path().display().to_string();
    let config = good(&[EMBEDDED, ("FUNCTIONS_APP_ROOT_PATH", &root)]);
    assert_eq!(config.host.function_timeout, Some(std::time::Duration::from_secs(300)));
    assert!(config.table().contains("host.json is not plain JSON"), "{}", config.table());
}

#[test]
fn no_function_timeout_is_a_setting_too() {
    let timeout = |text| good(&[EMBEDDED, ("AzureFunctionsJobHost__functionTimeout", text)]).host.function_timeout;
    assert_eq!(timeout("-1"), None);
    assert_eq!(timeout("1.00:00:00"), Some(std::time::Duration::from_secs(86_400)));
}

#[test]
fn a_missing_rules_file_is_a_problem_with_its_path() {
    let messages = problems(&[EMBEDDED, ("SCOREKEEPER_RULES", "conf/rules.json")]).join("\n");
    assert!(
        messages.contains("/nowhere/conf/rules.json") && messages.contains("rules.json beside host.json"),
        "{messages}"
    );
}

#[test]
fn a_rules_file_larger_than_a_mebibyte_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rules.json"), " ".repeat(1024 * 1024 + 1)).expect("written");
    let path = folder.path().join("rules.json").display().to_string();
    let messages = problems(&[EMBEDDED, ("SCOREKEEPER_RULES", &path)]).join("\n");
    assert!(messages.contains("more than 1048576 bytes"), "{messages}");
}

#[test]
fn empty_variables_count_as_not_set() {
    assert_eq!(good(&[EMBEDDED, ("SCOREKEEPER_TASK_HUB", " ")]).task_hub, "Scorekeeper");
}

#[test]
fn a_misspelt_setting_is_warned_about() {
    let config = good(&[EMBEDDED, ("SCOREKEEPER_RETENSION", "P30D")]);
    assert!(config.warnings[0].seen.contains("`SCOREKEEPER_RETENSION`"), "{:?}", config.warnings);
    assert!(config.table().contains("warning: `SCOREKEEPER_RETENSION`"));
}

#[test]
fn required_sign_in_that_is_off_is_warned_about_where_a_platform_could_have_it() {
    let warned = |vars: &[(&str, &str)]| {
        good(&[&[EMBEDDED], vars].concat()).table().matches("warning: SCOREKEEPER_SIGN_IN").count()
    };
    let (port, required) = (("FUNCTIONS_CUSTOMHANDLER_PORT", "7071"), ("SCOREKEEPER_SIGN_IN", "required"));
    for (vars, times) in [
        (&[port, required][..], 1),
        (&[port, required, ("WEBSITE_AUTH_ENABLED", "False")], 1),
        (&[port, required, ("WEBSITE_AUTH_ENABLED", "True")], 0),
        (&[port], 0),
        // Settings that are looked at elsewhere do not tell what the platform does.
        (&[required], 0),
    ] {
        assert_eq!(warned(vars), times, "{vars:?}");
    }
}

#[test]
fn under_a_host_the_log_is_json_unless_said_otherwise() {
    let port = ("FUNCTIONS_HTTPWORKER_PORT", "7071");
    let config = good(&[EMBEDDED, port]);
    assert_eq!((config.log.format, config.host.port), (LogFormat::Json, Some(7071)), "the older name counts too");
    assert_eq!(good(&[EMBEDDED, port, ("SCOREKEEPER_LOG_FORMAT", "text")]).log.format, LogFormat::Text);
    assert_eq!(good(&[EMBEDDED, ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")]).log.format, LogFormat::Json);
}

#[test]
fn the_site_is_named_by_its_arm_id() {
    let composed = good(&[
        EMBEDDED,
        ("WEBSITE_OWNER_NAME", "11111111-2222-3333-4444-555555555555+rg-scores-westeurope"),
        ("WEBSITE_RESOURCE_GROUP", "rg-scores"),
        ("WEBSITE_SITE_NAME", "func-scores"),
        ("WEBSITE_POD_NAME", "pod-1"),
    ])
    .host;
    assert_eq!(
        composed.resource_id.as_deref(),
        Some(
            "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-scores/providers/Microsoft.Web/sites/func-scores"
        )
    );
    assert_eq!((composed.site.as_deref(), composed.instance.as_deref()), (Some("func-scores"), Some("pod-1")));
}

#[test]
fn an_endpoint_on_a_foreign_host_is_refused_with_value_place_and_remedy() {
    let rules =
        r#"{"rules":[{"id":"a","match":{"container":"claims"},"endpoint":{"uri":"https://gateway.example/jobs"}}]}"#;
    let told = problems(&[EMBEDDED, ("SCOREKEEPER_RULES", rules)]).join("\n");
    for part in [
        "`https://gateway.example/jobs`",
        "rule `a`",
        "`endpoint.uri`",
        "`gateway.example`",
        "SCOREKEEPER_ENDPOINT_HOSTS",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let named = ("SCOREKEEPER_ENDPOINT_HOSTS", "Gateway.example");
    assert_eq!(good(&[EMBEDDED, ("SCOREKEEPER_RULES", rules), named]).rules.iter().count(), 1);
    assert!(problems(&[EMBEDDED, ("SCOREKEEPER_ENDPOINT_HOSTS", "https://gateway.example")])[0].contains("HOST"));
}

#[test]
fn each_cloud_has_its_own_endpoint_hosts_and_this_machine_is_of_all() {
    let read_with = |manager: &str, host: &str| {
        let rules = format!(
            r#"{{"rules":[{{"id":"a","match":{{"container":"claims"}},"endpoint":{{"uri":"{host}/jobs"}}}}]}}"#
        );
        read(&[EMBEDDED, ("SCOREKEEPER_RULES", &rules), ("SCOREKEEPER_RESOURCE_MANAGER", manager)]).is_ok()
    };
    let clouds = [
        ("https://management.azure.com", "https://heart.westeurope.inference.ml.azure.com"),
        ("https://management.chinacloudapi.cn", "https://heart.chinaeast2.inference.ml.azure.cn"),
        ("https://management.usgovcloudapi.net", "https://heart.usgovvirginia.inference.ml.azure.us"),
    ];
    for (manager, _) in clouds {
        for (other, host) in clouds {
            assert_eq!(read_with(manager, host), manager == other, "{manager} {host}");
        }
        assert!(read_with(manager, "http://127.0.0.1:7071"), "{manager}");
    }
    assert!(!read_with("http://127.0.0.1:1", clouds[0].1), "a simulator's tokens are for nobody else");
}

/// Without it, a rule that names no account has a warning that it is not swept.
const WATCHED: (&str, &str) = ("SCOREKEEPER_WATCHED_ACCOUNTS", "uploads");

#[test]
fn outputs_in_a_watched_place_are_a_warning_with_the_rule_and_an_example() {
    let warned = |prefix: &str, datastore: &str| {
        let rules = serde_json::json!({"rules": [{"id": "a", "match": {"container": "claims", "prefix": prefix},
            "endpoint": {"uri": "https://e.r.inference.ml.azure.com/jobs"}, "outputs": {"score": {"type": "UriFolder",
            "uri": format!("azureml://datastores/{datastore}/paths/out/{{scoring.id}}/{{attempt}}/")}}}]});
        let config = good(&[EMBEDDED, WATCHED, ("SCOREKEEPER_RULES", &rules.to_string())]);
        let (table, json) = (config.table(), config.json());
        assert_eq!(json["warnings"].as_array().unwrap().len(), table.matches("warning: ").count(), "{table}");
        table.lines().find(|line| line.starts_with("warning: ")).map(str::to_owned)
    };
    let warning = warned("", "claims").expect("a warning");
    for part in ["rule `a`: output `score`, such as `out/", "datastore `claims`", "container `claims`", "match.prefix"]
    {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    assert_eq!(warned("in/", "claims"), None, "elsewhere in the container");
    assert_eq!(warned("", "workspaceblobstore"), None, "the workspace's own container has another name");
}

#[test]
fn inputs_that_are_the_same_for_all_scorings_are_a_warning() {
    let rules = r#"{"rules":[{"id":"a","match":{"container":"claims"},"endpoint":{"uri":"https://e.r.inference.ml.azure.com/jobs"},
        "inputs":{"folder":{"type":"UriFolder","uri":"azureml://datastores/d/paths/in/"}}}]}"#;
    let config = good(&[EMBEDDED, WATCHED, ("SCOREKEEPER_RULES", rules)]);
    assert!(config.warnings[0].seen.contains("no input says which blob"), "{:?}", config.warnings);
    assert!(config.warnings[0].remedy.contains("{blob.url}"), "{:?}", config.warnings);
    assert_eq!(good(&[EMBEDDED, WATCHED]).warnings, []);
}

const IN_BLOB: [(&str, &str); 4] = [
    ("SCOREKEEPER_RULES", "https://acct.blob.core.windows.net/config/rules.json"),
    (
        "SCOREKEEPER_RULES_ALLOW_ENDPOINTS",
        "https://e.r.inference.ml.azure.com/jobs, https://f.r.inference.ml.azure.com/jobs",
    ),
    ("SCOREKEEPER_RULES_ALLOW_ACCOUNTS", "uploads"),
    (
        "SCOREKEEPER_RULES_ALLOW_WORKSPACES",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w",
    ),
];

#[test]
fn rules_may_lie_in_a_blob_and_what_they_may_name_is_set_beside() {
    let config = good(&[&[EMBEDDED], &IN_BLOB[..]].concat());
    let in_blob = config.rules_in_blob.expect("a blob");
    assert_eq!((in_blob.blob.account.as_str(), in_blob.blob.container.as_str()), ("acct", "config"));
    assert_eq!((in_blob.endpoints.len(), in_blob.accounts.len(), in_blob.workspaces.len()), (2, 1, 1));
    assert_eq!((in_blob.datastores[0].as_str(), in_blob.interval), ("workspaceblobstore", Duration::MINUTE));
    assert_eq!(config.rules.iter().count(), 0, "they are read when an invocation comes");
}

#[test]
fn a_blob_of_rules_is_told_what_is_wrong_with_it_all_at_once() {
    let messages =
        problems(&[EMBEDDED, ("SCOREKEEPER_RULES", "https://acct.blob.core.windows.net/config/rules.json?sig=SECRET")]);
    assert_eq!(messages.len(), 4, "{messages:?}");
    assert!(messages[3].starts_with("`SCOREKEEPER_RULES_ALLOW_WORKSPACES` is not set"), "{messages:?}");
    assert!(messages[0].contains("without a SAS") && !messages[0].contains("SECRET"), "{messages:?}");
    assert!(messages[1].starts_with("`SCOREKEEPER_RULES_ALLOW_ENDPOINTS` is not set"), "{messages:?}");
    assert!(messages[2].starts_with("`SCOREKEEPER_RULES_ALLOW_ACCOUNTS` is not set"), "{messages:?}");
    for (name, value, told) in [
        ("SCOREKEEPER_RULES", "https://acct.blob.core.windows.net/", "a blob with the rules"),
        ("SCOREKEEPER_RULES_ALLOW_ENDPOINTS", "https://e.example/jobs", "SCOREKEEPER_ENDPOINT_HOSTS"),
        ("SCOREKEEPER_RULES_ALLOW_ENDPOINTS", "e.r.inference.ml.azure.com", "write for each https://ENDPOINT"),
        ("SCOREKEEPER_RULES_ALLOW_ACCOUNTS", "Uploads", "write for each ACCOUNT"),
        ("SCOREKEEPER_RULES_ALLOW_DATASTORES", "a/b", "write for each DATASTORE"),
        ("SCOREKEEPER_RULES_ALLOW_WORKSPACES", "w", "write for each /subscriptions"),
        ("SCOREKEEPER_RULES_INTERVAL", "PT6M", "from PT0S to PT5M"),
    ] {
        let mut vars = [&[EMBEDDED], &IN_BLOB[..]].concat();
        vars.retain(|(other, _)| *other != name);
        vars.push((name, value));
        let messages = problems(&vars);
        assert!(messages.len() == 1 && messages[0].contains(told), "{name} {value}: {messages:?}");
    }
}
