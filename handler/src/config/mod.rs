//! Settings: read once at start, checked together, remembered with where each came from.
//!
//! **Every** problem is named at once, so that a deployment needs one correction and not five. Commands end with exit code 64;
//! under the Functions host, which gives up for good when its handler has ended three times, the handler stays, refuses each
//! invocation and says why, so that what it refuses is delivered again. `scorekeeper config` prints what was understood. Nothing
//! below the mains reads the environment; this module reads it through [`Vars`] and never prints a secret.
//!
//! | setting | default | takes |
//! |---|---|---|
//! | `SCOREKEEPER_LEDGER` | the tables of the host's storage account: `AzureWebJobsStorage__tableServiceUri`, else `__accountName`, else an emulator named by `AzureWebJobsStorage` | `https://ACCOUNT.table.core.windows.net`, an emulator's `http://127.0.0.1:10002/devstoreaccount1` (loopback only), or, for the command line alone, `embedded:DIR` |
//! | `SCOREKEEPER_TASK_HUB` | `Scorekeeper` | prefix of the table names: a letter, then letters and digits, 3 to 45 in all |
//! | `SCOREKEEPER_RULES` | `rules.json` beside `host.json` | a path, or the rules' JSON itself (begins with `{`); at most 1 MiB, and as an application setting 100,000 characters. Comments and trailing commas are allowed. Or a blob that holds them, `https://ACCOUNT.blob.core.windows.net/CONTAINER/rules.json`, of at most 1 MiB: the app's identity reads it, and they change without a deployment |
//! | `SCOREKEEPER_RULES_ALLOW_ENDPOINTS` | – | with rules in a blob: the `endpoint.uri` of each batch endpoint that they may name, with commas between |
//! | `SCOREKEEPER_RULES_ALLOW_ACCOUNTS` | – | with rules in a blob: names of the storage accounts whose blobs they may watch (`match.account`) and read, with commas between |
//! | `SCOREKEEPER_RULES_ALLOW_DATASTORES` | `workspaceblobstore` | with rules in a blob: names of the datastores that inputs and outputs may name, with commas between |
//! | `SCOREKEEPER_RULES_ALLOW_WORKSPACES` | – | with rules in a blob: ARM ids of the workspaces that they may name in `endpoint.workspace`, which each of them must, with commas between |
//! | `SCOREKEEPER_RULES_ALLOW_IDENTITIES` | – | with rules in a blob: which of `SCOREKEEPER_IDENTITIES` they may name in `endpoint.identity`, with commas between |
//! | `SCOREKEEPER_RULES_INTERVAL` | `PT1M` | with rules in a blob: ISO 8601 duration from `PT0S` to `PT5M`: for how long the rules that were read are believed before the blob is asked whether they have changed |
//! | `SCOREKEEPER_IDENTITY` | what the next six settings say, else the managed identity | `managedIdentity`, `servicePrincipal`, `workloadIdentity`, `signedIn` (whoever is signed in with the Azure CLI), or a user-assigned identity: `clientId=ID`, `objectId=ID`, `resourceId=/subscriptions/…/userAssignedIdentities/NAME`; with `workloadIdentity:` before it the service principal of `AZURE_TENANT_ID` and `AZURE_CLIENT_ID`, whose application trusts that identity |
//! | `SCOREKEEPER_IDENTITIES` | – | names of further identities, with commas between: rules name them in `endpoint.identity`, for endpoints in other tenants. A name is a letter, then letters and digits, all lower-case. Who `partner` is, `SCOREKEEPER_IDENTITY_PARTNER` says as `SCOREKEEPER_IDENTITY` does of the app, and `SCOREKEEPER_IDENTITY_PARTNER_TENANT_ID`, `…_CLIENT_ID`, `…_CLIENT_SECRET`, `…_CLIENT_SECRET_FILE`, `…_CLIENT_CERTIFICATE_PATH`, `…_FEDERATED_TOKEN_FILE` and `…_AUTHORITY_HOST` as the next seven do |
//! | `AZURE_CLIENT_ID` | the system-assigned identity | client id of a user-assigned managed identity, or of a service principal |
//! | `AZURE_TENANT_ID` | – | of a service principal: id or domain of its tenant |
//! | `AZURE_CLIENT_SECRET` | – | of a service principal: its secret; a Key Vault reference keeps it out of the settings |
//! | `AZURE_CLIENT_SECRET_FILE` | – | the same in a file |
//! | `AZURE_CLIENT_CERTIFICATE_PATH` | – | of a service principal: a PEM file with its certificate and RSA key |
//! | `AZURE_FEDERATED_TOKEN_FILE` | – | of a service principal: a file with a token of an issuer that it trusts, as AKS sets it (workload identity federation) |
//! | `AZURE_AUTHORITY_HOST` | Microsoft Entra ID of the cloud | https URL; http for loopback hosts only |
//! | `AZURE_CLOUD` | `AzureCloud` | `AzureCloud`, `AzureChinaCloud`, `AzureUSGovernment`: chooses Resource Manager, Microsoft Entra ID, and the names of services and hosts |
//! | `SCOREKEEPER_RESOURCE_MANAGER` | that of `AZURE_CLOUD`: `https://management.azure.com` | https URL; http for loopback hosts only |
//! | `SCOREKEEPER_STORAGE_HOSTS` | the cloud's storage hosts alone | further hosts that blobs may lie on, with commas between: `HOST`, or `HOST=http://127.0.0.1:PORT/ACCOUNT` for an emulator. Events of other hosts are skipped, and no token goes there |
//! | `SCOREKEEPER_WATCHED_ACCOUNTS` | – | the storage accounts whose events arrive, with commas between: their containers are swept for rules that name no `match.account`. An account with a DNS zone by its host |
//! | `SCOREKEEPER_DEAD_LETTERS` | – | URL of the container into which Event Grid writes what it could not deliver, `https://ACCOUNT.blob.core.windows.net/CONTAINER`: what lies there is taken in, and moved aside below `~taken-in/` and `~unreadable/` |
//! | `SCOREKEEPER_ENDPOINT_HOSTS` | the cloud's batch endpoint hosts, and this machine | further hosts that rules may name in `endpoint.uri`, with commas between: a gateway or a domain of your own before an endpoint. Tokens for Azure Machine Learning go to no other host |
//! | `SCOREKEEPER_RETENTION` | `P30D` | ISO 8601 duration, at least `P8D`: how long finished scorings are kept. Shorter than a week and a day, a late redelivery could score a blob again |
//! | `SCOREKEEPER_ORPHAN_SCAN_INTERVAL` | `PT10M` | ISO 8601 duration from `PT1S` to `PT6H`, or `off`: how often the workspaces' jobs are looked through for jobs that no scoring needs |
//! | `SCOREKEEPER_PROJECTION` | `on` | `on`, `off`: the tables in the shape of Durable Functions |
//! | `SCOREKEEPER_CONCURRENCY` | `64` | 1 to 1024 invocations at once; more wait. Memory grows by about 1 MiB each |
//! | `SCOREKEEPER_SIGN_IN` | `off` | `required`, `off`: whether App Service Authentication lets nobody in who has not signed in. The templates set it with `app.authentication`; where the platform then has it off, the handler warns at start and `scorekeeper doctor` names a fault |
//! | `SCOREKEEPER_HTTP` | `off` | `on`, `off`: whether the functions `Scorings` and `Operations` answer, by which orchestrators start scorings and ask for them. Whoever has a key of theirs may start what the rules accept |
//! | `SCOREKEEPER_PAGE` | `off` | `on`, `off`: whether the function `Page` shows the ledger at `/api/ops/` to whoever has signed in and has the app role `Reader`, and takes orders of whoever is an `Operator`. Without `SCOREKEEPER_SIGN_IN` it shows nothing |
//! | `SCOREKEEPER_CALLBACK_HOSTS` | `*.datafactory.azure.com` | hosts that a start may name to be told of its end (`callBackUri`), with commas between: `HOST`, or `*.DOMAIN` |
//! | `SCOREKEEPER_LOG` | `info` | a filter as `tracing` has it: `debug`, `info,handler=debug` |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | – | URL of an OpenTelemetry collector, such as `http://127.0.0.1:4318`: spans, metrics and log records go there as `http/protobuf`. Without it nothing is measured or sent |
//! | `OTEL_EXPORTER_OTLP_HEADERS` | – | `NAME=VALUE` with commas between, sent to the collector: keys. Only with https, or a collector on this machine |
//! | `SCOREKEEPER_LOG_FORMAT` | `json` under a host, `text` else | `json`, `text` |
//!
//! Of the Functions host: `FUNCTIONS_CUSTOMHANDLER_PORT` (older: `FUNCTIONS_HTTPWORKER_PORT`),
//! `FUNCTIONS_CUSTOMHANDLER_WORKER_ID`, `FUNCTIONS_APP_ROOT_PATH` (default: the working directory), and
//! `functionTimeout` from `AzureFunctionsJobHost__functionTimeout`, else `host.json`, else five minutes, the smallest
//! default of any plan. Empty variables count as not set: App Service cannot unset an inherited one.

mod cloud;
mod host;
mod hosts;
pub(crate) mod identity;
mod ledger;
pub(crate) mod local;
mod own_accounts;
mod problems;
#[cfg(feature = "cli")]
pub(crate) mod profiles;
mod reading;
mod rules;
mod rules_in_blob;
mod telemetry;
mod vars;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use azure::tokens::Identity;
use lifecycle::callback::CallbackHosts;
use lifecycle::duration::IsoDuration;
use lifecycle::redact::redacted;
use lifecycle::text::one_line;
use lifecycle::watched_output::watched_outputs;
use lifecycle::{BlobPrefix, EndpointHosts, IdentityName, Rules};
use time::Duration;
use tracing_subscriber::filter::Targets;
use url::Url;

pub use lifecycle::rule::Warning;

pub use self::cloud::AzureCloudFacts;
pub use self::host::HostFacts;
pub use self::ledger::{LedgerLocation, Secret, TablesAuth};
pub use self::problems::{Problem, Problems};
#[cfg(feature = "dev")] // for `local`
pub(crate) use self::reading::LOCAL;
pub use self::reading::{LedgerSettings, WhichLedger};
pub use self::rules::RulesText;
pub use self::rules_in_blob::{MAX_RULES_BYTES, RulesAccess, RulesInBlob, given_blob, is_url};
pub use self::telemetry::Otlp;
pub use self::vars::{ProcessVars, Vars};

use self::identity::RunBy;
use self::problems::{MAX_SHOWN, MAX_UNDERSTOOD, Refused};
use crate::rules_in_blob::Look;

/// Everything that was set, checked.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the ledger's tables are: in a folder of this machine, or behind a table endpoint.
    pub ledger: LedgerLocation,
    /// Prefix of the table names.
    pub task_hub: String,
    /// Which blobs go where; none if that stands in a blob.
    pub rules: Rules,
    /// The blob that the rules lie in, if they do.
    pub rules_in_blob: Option<RulesInBlob>,
    /// Who the app is to Azure.
    pub identity: Identity,
    /// Who else rules may have an endpoint asked as.
    pub identities: BTreeMap<IdentityName, Identity>,
    /// Base URL of Azure Resource Manager; that of the cloud, unless `SCOREKEEPER_RESOURCE_MANAGER` names another.
    pub resource_manager: Url,
    /// Hosts that blobs may lie on beside the cloud's, and where an emulator stands for one.
    pub storage_hosts: Vec<(String, Option<Url>)>,
    /// Accounts whose containers are swept for rules that name none.
    pub watched_accounts: Vec<String>,
    /// The container of dead letters, if it is known.
    pub dead_letters: Option<BlobPrefix>,
    /// Hosts that a token for Azure Machine Learning may go to.
    pub endpoint_hosts: EndpointHosts,
    /// How long finished scorings are kept.
    pub retention: Duration,
    /// Between two orphan scans of the jobs behind an endpoint; `None`: never.
    pub orphan_scan_interval: Option<Duration>,
    /// Whether the Durable-shaped tables are written.
    pub projection: bool,
    /// Most invocations that run at one time; further ones wait (`SCOREKEEPER_CONCURRENCY`).
    pub concurrency: usize,
    /// Whether App Service Authentication must be on, and let nobody in who has not signed in.
    pub sign_in_required: bool,
    /// Whether the platform says that it does so.
    pub sign_in_on: bool,
    /// Whether the functions that answer HTTP are on.
    pub http: bool,
    /// Whether the page is shown to whoever has signed in.
    pub page: bool,
    /// Hosts that may be called back.
    pub callback_hosts: CallbackHosts,
    /// What is logged, and how.
    pub log: Log,
    /// Where OpenTelemetry goes, if anywhere.
    pub otlp: Option<Otlp>,
    /// What the host said about itself.
    pub host: HostFacts,
    /// Every setting as it was understood, in the order of the table above.
    pub settings: Vec<Setting>,
    /// What looks wrong but does not prevent a start.
    pub warnings: Vec<Warning>,
    /// Outputs that may fall into a place that a rule watches, as far as the rules alone tell.
    pub output_warnings: Vec<Warning>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// What is logged: a level, or levels by target.
    pub filter: Targets,
    /// One record per line in either.
    pub format: LogFormat,
}

/// How a log record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// One line of text for each record, for people; the default where no host has started the process.
    Text,
}

/// A setting as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// The environment variable's name, or what stands for it where the value is of a file: `functionTimeout`.
    pub name: Cow<'static, str>,
    /// Its value, cut and without secrets.
    pub value: String,
    /// Where the value came from.
    pub source: Source,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The environment variable of this name.
    Variable(String),
    /// The file at this path, such as a host.json.
    File(PathBuf),
    /// The profile of this name.
    Profile(String),
    /// It was not set; with the reason where there is more to say.
    Default(Option<String>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(path) => write!(f, "file {}", redacted(&path.display().to_string())),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::Default(None) => f.write_str("default"),
            Self::Default(Some(why)) => write!(f, "default ({})", redacted(why)),
        }
    }
}

impl serde::Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Names of all settings of ours; a variable that begins like them and is none of them is probably a typing error.
pub const OURS: &[&str] = &[
    "SCOREKEEPER_LEDGER",
    "SCOREKEEPER_TASK_HUB",
    "SCOREKEEPER_RULES",
    rules_in_blob::ENDPOINTS,
    rules_in_blob::ACCOUNTS,
    rules_in_blob::DATASTORES,
    rules_in_blob::WORKSPACES,
    rules_in_blob::INTERVAL,
    rules_in_blob::IDENTITIES,
    identity::NAME,
    identity::FURTHER,
    "SCOREKEEPER_RESOURCE_MANAGER",
    "SCOREKEEPER_STORAGE_HOSTS",
    "SCOREKEEPER_WATCHED_ACCOUNTS",
    "SCOREKEEPER_DEAD_LETTERS",
    "SCOREKEEPER_ENDPOINT_HOSTS",
    "SCOREKEEPER_RETENTION",
    "SCOREKEEPER_ORPHAN_SCAN_INTERVAL",
    "SCOREKEEPER_PROJECTION",
    "SCOREKEEPER_CONCURRENCY",
    "SCOREKEEPER_SIGN_IN",
    "SCOREKEEPER_HTTP",
    "SCOREKEEPER_PAGE",
    "SCOREKEEPER_CALLBACK_HOSTS",
    "SCOREKEEPER_LOG",
    "SCOREKEEPER_LOG_FORMAT",
];

/// The settings, and beside them what a host needs of a handler that cannot use the others: somebody must answer it.
#[derive(Debug)]
pub struct AtStart {
    /// What the host said about itself.
    pub host: HostFacts,
    /// What is logged, and how; by defaults where that was set wrong.
    pub log: Log,
    /// Where OpenTelemetry goes; nowhere if that was set wrong.
    pub otlp: Option<Otlp>,
    /// Most invocations at once; the default if that was set wrong.
    pub concurrency: usize,
    /// Every setting, checked; if one cannot be used, all problems at once.
    pub config: Result<Config, Problems>,
}

impl Config {
    /// Reads everything. `cwd` stands for the app's root if the host named none. `Err` holds all problems.
    pub fn read(vars: &dyn Vars, cwd: &Path) -> Result<Self, Problems> {
        AtStart::read(vars, cwd).config
    }
}

impl AtStart {
    /// Reads everything, as [`Config::read`] does; what a process needs to tell of problems is there even if there are some.
    pub fn read(vars: &dyn Vars, cwd: &Path) -> Self {
        let mut reader = Reader { vars, problems: Vec::new(), settings: Vec::new() };
        let root = reader.get("FUNCTIONS_APP_ROOT_PATH").map_or_else(|| cwd.to_owned(), PathBuf::from);
        let ledger = reader.ledger(&root);
        let task_hub = reader.read("SCOREKEEPER_TASK_HUB", "Scorekeeper", task_hub);
        let (rules, rules_in_blob) = match reader.blob_of_rules() {
            // They are read when the first invocation comes.
            Some(url) => (Some(Rules::default()), reader.rules_in_blob(&url)),
            None => (reader.rules(&root), None),
        };
        let resource_manager = reader.resource_manager();
        let identity = reader.identity(&resource_manager, RunBy::Host);
        let identities = reader.further_identities(&resource_manager, rules.as_ref());
        let storage_hosts = reader.read("SCOREKEEPER_STORAGE_HOSTS", "", hosts::read);
        let watched_accounts = reader.read("SCOREKEEPER_WATCHED_ACCOUNTS", "", hosts::read_accounts);
        let dead_letters = reader.read("SCOREKEEPER_DEAD_LETTERS", "", hosts::read_container);
        let endpoint_hosts = reader.endpoint_hosts(&resource_manager, rules.as_ref(), rules_in_blob.as_ref());
        let retention = reader.read("SCOREKEEPER_RETENTION", "P30D", retention);
        let orphan_scan_interval = reader.read("SCOREKEEPER_ORPHAN_SCAN_INTERVAL", "PT10M", orphan_scan_interval);
        let projection = reader.read("SCOREKEEPER_PROJECTION", "on", on_or_off);
        let concurrency = reader.read("SCOREKEEPER_CONCURRENCY", "64", concurrency);
        let sign_in_required = reader.read("SCOREKEEPER_SIGN_IN", "off", required_or_off);
        let sign_in_on = sign_in_is_off(vars).is_none();
        let http = reader.read("SCOREKEEPER_HTTP", "off", off_or_on);
        let page = reader.read("SCOREKEEPER_PAGE", "off", off_or_on);
        let callback_hosts = reader.read("SCOREKEEPER_CALLBACK_HOSTS", "*.datafactory.azure.com", |text| {
            CallbackHosts::read(text).map_err(|why| Refused::new(why.to_string(), "leave it out for Data Factory's"))
        });
        let filter = reader.read("SCOREKEEPER_LOG", "info", |text| {
            text.parse::<Targets>()
                .map_err(|why| Refused::new(format!("a log filter ({why})"), "write for example `info,handler=debug`"))
        });
        let hosted = ["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT", "AWS_LAMBDA_RUNTIME_API"];
        let hosted = hosted.iter().any(|name| reader.get(name).is_some());
        let format = reader.log_format(hosted);
        let host = reader.host(root);
        let (otlp, not_exported) = reader.otlp(&host);
        let warnings = unknown_settings(vars)
            .chain(not_exported)
            .chain((hosted && sign_in_required).then(|| sign_in_is_off(vars)).flatten())
            .chain(rules.iter().flat_map(Rules::warnings))
            .chain(rules.as_ref().and_then(|rules| not_swept(rules, &watched_accounts)))
            .collect();
        let output_warnings = rules.as_ref().map(watched_output_warnings).unwrap_or_default();
        let Reader { problems, settings, .. } = reader;
        let log = Log { filter, format };
        // Each is `None` only together with a problem.
        let config = match (ledger, rules, identity) {
            (Some(ledger), Some(rules), Some(identity)) if problems.is_empty() => Ok(Config {
                ledger,
                task_hub,
                rules,
                rules_in_blob,
                identity,
                identities,
                resource_manager,
                storage_hosts,
                watched_accounts,
                dead_letters,
                endpoint_hosts,
                retention,
                orphan_scan_interval,
                projection,
                concurrency,
                sign_in_required,
                sign_in_on,
                http,
                page,
                callback_hosts,
                log: log.clone(),
                otlp: otlp.clone(),
                host: host.clone(),
                settings,
                warnings,
                output_warnings,
            }),
            _ => Err(Problems(problems)),
        };
        Self { host, log, otlp, concurrency, config }
    }
}

impl Config {
    /// The settings as a table: name, value, source; then the warnings.
    pub fn table(&self) -> String {
        use std::fmt::Write as _;
        let width = |column: fn(&Setting) -> usize| self.settings.iter().map(column).max().unwrap_or_default();
        let (names, values) = (width(|s| s.name.len()), width(|s| s.value.chars().count()).min(72));
        let mut text = String::new();
        for Setting { name, value, source } in &self.settings {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:names$}  {value:values$}  {source}");
        }
        for rule in &self.rules {
            let _ = writeln!(
                text,
                "rule {} leaves out {}",
                rule.id,
                one_line(&rule.matches.exclude.to_string(), MAX_SHOWN)
            );
        }
        for rule in &self.rules {
            let Some(identity) = &rule.endpoint.identity else { continue };
            let _ = writeln!(text, "rule {} has its endpoint asked as the identity {identity}", rule.id);
        }
        for warning in self.all_warnings() {
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }

    /// Settings, rules and warnings as JSON, as `config --json` prints them; values are cut and without secrets.
    pub fn json(&self) -> serde_json::Value {
        let rule = |rule: &lifecycle::Rule| {
            let left_out = one_line(&rule.matches.exclude.to_string(), MAX_SHOWN);
            let mut shown = serde_json::json!({ "id": rule.id, "leavesOut": left_out });
            if let Some(identity) = &rule.endpoint.identity {
                shown["identity"] = serde_json::json!(identity);
            }
            shown
        };
        let rules: Vec<_> = self.rules.iter().map(rule).collect();
        let warnings: Vec<_> = self.all_warnings().collect();
        serde_json::json!({ "settings": self.settings, "rules": rules, "warnings": warnings })
    }

    /// With what a look at the blob of the rules has shown.
    pub(crate) fn rules_seen(&mut self, seen: Option<Look>) {
        let (Some(seen), Some(in_blob)) = (seen, &self.rules_in_blob) else { return };
        let shown = format!("{}: {seen}", in_blob.url);
        for setting in self.settings.iter_mut().filter(|setting| setting.name == rules::NAME) {
            setting.value = redacted(&shown).into_owned();
        }
        if let Look::Good(rules, _) = seen {
            self.warnings.extend(rules.warnings());
            self.warnings.extend(not_swept(&rules, &self.watched_accounts));
            self.output_warnings = watched_output_warnings(&rules);
            self.rules = rules;
        }
    }

    /// Everything that looks wrong but does not prevent a start.
    pub fn all_warnings(&self) -> impl Iterator<Item = &Warning> {
        self.warnings.iter().chain(&self.output_warnings)
    }
}

/// Variables that begin as our settings do and are none.
fn unknown_settings(vars: &dyn Vars) -> impl Iterator<Item = Warning> {
    // Of whoever works at a terminal; no app has one.
    let is_profile = |name: &str| cfg!(feature = "cli") && name == "SCOREKEEPER_PROFILE";
    let is_ours = move |name: &str| OURS.contains(&name) || is_profile(name) || identity::is_of_further(name, vars);
    let unknown = move |name: &String| name.starts_with("SCOREKEEPER_") && !is_ours(name);
    vars.names().into_iter().filter(unknown).map(|name| Warning {
        seen: format!("`{}` is not a setting and was ignored", redacted(&name)),
        cause: "it is probably a typing error".to_owned(),
        remedy: format!("correct the name, or remove it; there are {}", OURS.join(", ")),
    })
}

/// Sign-in that is asked for and not there: the platform tells each process by `WEBSITE_AUTH_ENABLED` whether it is on. Nothing is
/// refused for that, or the events of an hour in which somebody tries something in the portal would be dead-lettered.
fn sign_in_is_off(vars: &dyn Vars) -> Option<Warning> {
    const NAME: &str = "WEBSITE_AUTH_ENABLED";
    let value = vars.get(NAME).unwrap_or_default();
    (!value.trim().eq_ignore_ascii_case("true")).then(|| Warning {
        seen: format!("SCOREKEEPER_SIGN_IN is `required`, and App Service Authentication is off ({NAME} is `{}`)", one_line(&value, MAX_SHOWN)),
        cause: "somebody has switched it off beside the templates, or the setting stands where no platform signs anybody in".to_owned(),
        remedy: "deploy with app.authentication, which switches it on; or remove the setting".to_owned(),
    })
}

/// Outputs that fall into a watched place if their datastore is the container that is watched. Which one it is only the
/// workspace knows, and the doctor asks it. Here a rule is told of any datastore that may hold its own uploads, as its outputs
/// would come round again, and of another rule's container only where a name says that it is the datastore's.
pub(crate) fn watched_output_warnings(rules: &Rules) -> Vec<Warning> {
    // Their containers are called `azureml…`.
    const OF_WORKSPACE: [&str; 2] = ["workspaceblobstore", "workspaceartifactstore"];
    let all = rules.iter().flat_map(|rule| {
        watched_outputs(rules, rule, |place, watcher| {
            let is = |name: &str| place.datastore.eq_ignore_ascii_case(name);
            let of_workspace = OF_WORKSPACE.iter().any(|name| is(name));
            is(&watcher.matches.container) || (watcher.id == rule.id && !of_workspace)
        })
    });
    let warning = |it: lifecycle::watched_output::WatchedOutput<'_>| Warning {
        seen: format!(
            "rule `{}`: output `{}`, such as `{}`, falls into the place that rule `{}` watches if datastore `{}` is its \
             container `{}`",
            it.rule.id, it.output, it.example, it.watched_by.id, it.datastore, it.watched_by.matches.container
        ),
        cause: "each output is then an event more that is skipped, and what other tools write beside it is scored"
            .to_owned(),
        remedy:
            "write to a container that no rule watches, or narrow `match.prefix`; `scorekeeper doctor` looks at the \
                 datastore"
                .to_owned(),
    };
    all.map(warning).collect()
}

/// Rules that are to be swept, and of which nobody says in which account.
fn not_swept(rules: &Rules, watched_accounts: &[String]) -> Option<Warning> {
    let without_account = |rule: &lifecycle::Rule| rule.matches.account.is_none() && watched_accounts.is_empty();
    let ids = rules.not_swept(without_account);
    let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
    (!ids.is_empty()).then(|| Warning {
        seen: format!("rule `{}` is not swept: it names no `match.account`, and SCOREKEEPER_WATCHED_ACCOUNTS names none", ids.join("`, `")),
        cause: "a blob whose event is lost is scored by nobody".to_owned(),
        remedy: "set SCOREKEEPER_WATCHED_ACCOUNTS to the accounts whose events arrive, or write `match.account`, or `\"sweep\": \"off\"`".to_owned(),
    })
}

/// Reads settings one by one, collecting what was understood and what was not.
struct Reader<'a> {
    vars: &'a dyn Vars,
    problems: Vec<Problem>,
    settings: Vec<Setting>,
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.vars.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn understood(&mut self, name: impl Into<Cow<'static, str>>, value: impl AsRef<str>, source: Source) {
        // Also a value that was taken may hold a secret: a path, a URL, the name of a file.
        self.settings.push(Setting { name: name.into(), value: one_line(value.as_ref(), MAX_UNDERSTOOD), source });
    }

    fn problem(&mut self, name: &str, value: Option<&str>, refused: Refused) {
        self.problems.push(Problem::new(name, value, refused));
    }

    /// A setting with a default. After a problem it goes on with the default, to find further problems.
    fn read<T>(&mut self, name: &'static str, default: &str, parse: impl Fn(&str) -> Result<T, Refused>) -> T {
        if let Some(text) = self.get(name) {
            match parse(&text) {
                Ok(value) => {
                    self.understood(name, text, Source::Variable(name.to_owned()));
                    return value;
                }
                Err(refused) => self.problem(name, Some(&text), refused),
            }
        } else {
            self.understood(name, default, Source::Default(None));
        }
        parse(default).unwrap_or_else(|_| unreachable!("the default of {name} is valid"))
    }

    /// Hosts that a token for Azure Machine Learning may go to; a rule whose endpoint is none of them is a problem, before any
    /// token is asked for.
    fn endpoint_hosts(
        &mut self,
        resource_manager: &Url,
        rules: Option<&Rules>,
        in_blob: Option<&RulesInBlob>,
    ) -> EndpointHosts {
        let cloud = AzureCloudFacts::of(resource_manager)
            .map_or_else(EndpointHosts::default, |it| EndpointHosts::of_cloud(it.ml));
        let named = self.read("SCOREKEEPER_ENDPOINT_HOSTS", "", hosts::read_names);
        let hosts = named.iter().fold(cloud, |hosts, host| hosts.and(host));
        for rule in rules.into_iter().flatten() {
            let Err(foreign) = hosts.check(rule.endpoint.uri.url()) else { continue };
            self.problem(
                "SCOREKEEPER_RULES",
                Some(lifecycle::uri::without_query(rule.endpoint.uri.as_str())),
                Refused::new(
                    format!("a batch endpoint in `endpoint.uri` of the rule `{}` ({foreign})", rule.id),
                    "correct endpoint.uri, or name the host in SCOREKEEPER_ENDPOINT_HOSTS if a gateway of yours stands there",
                ),
            );
        }
        for uri in in_blob.iter().flat_map(|it| &it.endpoints) {
            let Err(foreign) = hosts.check(uri.url()) else { continue };
            let remedy =
                "correct it, or name the host in SCOREKEEPER_ENDPOINT_HOSTS if a gateway of yours stands there";
            let refused = Refused::new(format!("batch endpoints ({foreign})"), remedy);
            self.problem(rules_in_blob::ENDPOINTS, Some(uri.as_str()), refused);
        }
        hosts
    }

    /// Whoever asks beside a host which settings its app has must not be shown what holds for this process alone.
    fn log_format(&mut self, hosted: bool) -> LogFormat {
        const NAME: &str = "SCOREKEEPER_LOG_FORMAT";
        let by_default = if hosted { LogFormat::Json } else { LogFormat::Text };
        let Some(text) = self.get(NAME) else {
            self.understood(NAME, if hosted { "json" } else { "text here, json under a host" }, Source::Default(None));
            return by_default;
        };
        match text.as_str() {
            "json" | "text" => {
                self.understood(NAME, &text, Source::Variable(NAME.to_owned()));
                if text == "json" { LogFormat::Json } else { LogFormat::Text }
            }
            _ => {
                let remedy = "leave it out: a host gets json, a terminal text";
                self.problem(NAME, Some(&text), Refused::new("`json` or `text`", remedy));
                by_default
            }
        }
    }
}

fn task_hub(text: &str) -> Result<String, Refused> {
    let good = (3..=45).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
        && text.as_bytes()[0].is_ascii_alphabetic();
    if good {
        Ok(text.to_owned())
    } else {
        let expected = "a letter, then letters and digits, 3 to 45 in all";
        Err(Refused::new(expected, "table names are made of it; write for example `Scorekeeper`"))
    }
}

fn resource_manager(text: &str) -> Result<Url, Refused> {
    let refused = || {
        Refused::new(
            "an https URL without path and query (http for loopback hosts only)",
            "leave it out for the public cloud; a sovereign cloud has its own, for example https://management.chinacloudapi.cn",
        )
    };
    let url = Url::parse(text).map_err(|_| refused())?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.path() == "/";
    if lifecycle::uri::may_carry_secrets(&url) && plain && url.password().is_none() { Ok(url) } else { Err(refused()) }
}

fn on_or_off(text: &str) -> Result<bool, Refused> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Refused::new("`on` or `off`", "leave it out for `on`")),
    }
}

fn off_or_on(text: &str) -> Result<bool, Refused> {
    on_or_off(text).map_err(|_| Refused::new("`on` or `off`", "leave it out for `off`"))
}

fn required_or_off(text: &str) -> Result<bool, Refused> {
    match text {
        "required" => Ok(true),
        "off" => Ok(false),
        _ => Err(Refused::new("`required` or `off`", "leave it out for `off`")),
    }
}

fn orphan_scan_interval(text: &str) -> Result<Option<Duration>, Refused> {
    if text == "off" {
        return Ok(None);
    }
    let remedy = "leave it out for PT10M";
    let IsoDuration(period) =
        text.parse::<IsoDuration>().map_err(|why| Refused::new(format!("`off` or a duration ({why})"), remedy))?;
    if (Duration::SECOND..=Duration::hours(6)).contains(&period) {
        Ok(Some(period))
    } else {
        Err(Refused::new("`off` or from PT1S to PT6H", remedy))
    }
}

fn concurrency(text: &str) -> Result<usize, Refused> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or_else(|| Refused::new("a number from 1 to 1024", "leave it out for 64"))
}

fn retention(text: &str) -> Result<Duration, Refused> {
    let remedy = "leave it out for P30D";
    let IsoDuration(period) =
        text.parse::<IsoDuration>().map_err(|why| Refused::new(format!("a duration ({why})"), remedy))?;
    if period < lifecycle::intake::MIN_RETENTION {
        return Err(Refused::new("at least P8D, or a late redelivery could score a blob again", remedy));
    }
    Ok(period)
}

#[cfg(test)]
mod tests;
