//! Settings: each name that the product asks the environment for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use handler::cli::doctor as examination;
use handler::cli::json::JsonArgs;
use handler::config::{Config, LedgerSettings, OURS, Vars, WhichLedger};
use lifecycle::duration::IsoDuration;
use time::Duration;

use super::{assert_hidden, kinds};
use crate::endpoint::WORKSPACE;

/// Settings, and each name that they were asked for.
struct Asked<'a> {
    vars: &'a BTreeMap<String, String>,
    names: RefCell<BTreeSet<String>>,
}

impl Vars for Asked<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.names.borrow_mut().insert(name.to_owned());
        self.vars.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.vars.keys().cloned().collect()
    }
}

const RULES: &str =
    r#"{"rules":[{"id":"a","match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;

/// Good settings of each sort of installation, as what is read depends on what is set.
fn installations() -> Vec<BTreeMap<String, String>> {
    let id = "11111111-2222-3333-4444-555555555555";
    let on_this_machine = [
        ("SCOREKEEPER_LEDGER", "embedded:ledger"),
        ("SCOREKEEPER_RULES", RULES),
        ("SCOREKEEPER_IDENTITIES", "partner"),
        ("SCOREKEEPER_IDENTITY_PARTNER", "managedIdentity"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "7071"),
    ];
    // Rules in a blob, service principals, a collector.
    let in_azure = [
        ("SCOREKEEPER_LEDGER", "https://a.table.core.windows.net"),
        ("SCOREKEEPER_RULES", "https://a.blob.core.windows.net/con/rules.json"),
        ("SCOREKEEPER_RULES_ALLOW_ENDPOINTS", "https://e.example/jobs"),
        ("SCOREKEEPER_RULES_ALLOW_ACCOUNTS", "uploads"),
        ("SCOREKEEPER_RULES_ALLOW_WORKSPACES", WORKSPACE),
        ("AZURE_TENANT_ID", "contoso.com"),
        ("AZURE_CLIENT_ID", id),
        ("AZURE_CLIENT_SECRET", "x"),
        ("SCOREKEEPER_IDENTITIES", "partner"),
        ("SCOREKEEPER_IDENTITY_PARTNER_TENANT_ID", "partner.example"),
        ("SCOREKEEPER_IDENTITY_PARTNER_CLIENT_ID", id),
        ("SCOREKEEPER_IDENTITY_PARTNER_CLIENT_SECRET", "x"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=x"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "7071"),
        ("WEBSITE_SITE_NAME", "app"),
        ("WEBSITE_OWNER_NAME", "s+plan-webspace"),
        ("WEBSITE_RESOURCE_GROUP", "g"),
    ];
    let on_the_hosts_account = [("AzureWebJobsStorage__accountName", "account"), ("SCOREKEEPER_RULES", RULES)];
    let on_the_hosts_tables =
        [("AzureWebJobsStorage__tableServiceUri", "https://a.table.core.windows.net"), ("SCOREKEEPER_RULES", RULES)];
    let on_an_emulator = [("AzureWebJobsStorage", "UseDevelopmentStorage=true"), ("SCOREKEEPER_RULES", RULES)];
    let all: [&[(&str, &str)]; 5] =
        [&on_this_machine, &in_azure, &on_the_hosts_account, &on_the_hosts_tables, &on_an_emulator];
    let hosts = [("SCOREKEEPER_ENDPOINT_HOSTS", "e.example")];
    let owned =
        |vars: &[(&str, &str)]| vars.iter().chain(&hosts).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    all.map(owned).into()
}

/// Settings that are good, but for the one that is planted.
pub(super) fn with_rules(rules: &str) -> BTreeMap<String, String> {
    let mut vars = installations().remove(0);
    vars.insert("SCOREKEEPER_RULES".to_owned(), rules.to_owned());
    vars
}

/// All that commands show of these settings.
pub(super) fn told_of(vars: &dyn Vars) -> String {
    let cwd = Path::new("/nowhere");
    let config = match Config::read(vars, cwd) {
        Ok(config) => format!("{}\n{:#}", config.table(), config.json()),
        Err(problems) => problems.to_string(),
    };
    let ledger = LedgerSettings::read(vars, cwd, &WhichLedger::default());
    let ledger = ledger.map_or_else(|problems| problems.to_string(), |settings| settings.ledger.to_string());
    let mut shown = [config, ledger].join("\n").into_bytes();
    if let Err(report) = examination::settings(vars, cwd) {
        for json in [JsonArgs::TEXT, JsonArgs::ALL] {
            let within = IsoDuration(Duration::MINUTE);
            let args = examination::DoctorArgs { settings: None, app: None, within, quiet: false, json };
            examination::print(&report, &args, &mut shown).unwrap();
        }
    }
    String::from_utf8(shown).unwrap()
}

/// The names that are asked for where these are set.
fn asked(vars: &BTreeMap<String, String>) -> BTreeSet<String> {
    let asked = Asked { vars, names: RefCell::default() };
    told_of(&asked);
    asked.names.into_inner()
}

#[test]
fn no_setting_that_is_asked_for_shows_a_secret_to_any_command() {
    let mut all = BTreeSet::new();
    for good in installations() {
        let problems = Config::read(&good, Path::new("/nowhere")).err().map(|problems| problems.to_string());
        assert_eq!(problems, None, "{good:?}");
        let names = asked(&good);
        for (kind, text) in kinds() {
            for name in &names {
                let alone = text.clone();
                let within =
                    [format!("embedded:{text}"), format!("good.example,{text}"), format!("{} {text}", "x".repeat(190))];
                for value in [alone].into_iter().chain(within) {
                    let mut vars = good.clone();
                    vars.insert(name.clone(), value);
                    assert_hidden(kind, name, &told_of(&vars));
                }
            }
            let mut vars = good.clone();
            vars.insert(format!("SCOREKEEPER_{text}"), "x".to_owned());
            assert_hidden(kind, "a setting's name", &told_of(&vars));
        }
        all.extend(names);
    }
    let further = ["", "_TENANT_ID", "_CLIENT_ID", "_CLIENT_SECRET", "_CLIENT_SECRET_FILE", "_AUTHORITY_HOST"];
    let further = further.map(|rest| format!("SCOREKEEPER_IDENTITY_PARTNER{rest}"));
    let missing: Vec<_> =
        OURS.iter().map(|name| (*name).to_owned()).chain(further).filter(|name| !all.contains(name)).collect();
    assert_eq!(missing, [""; 0], "no installation above has them asked for, so that nothing was planted there");
}
