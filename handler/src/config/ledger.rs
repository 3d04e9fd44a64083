//! Where the ledger lives: tables of a storage account, an emulator's tables, or a folder.
//!
//! Account keys are taken for loopback emulators only. Against a real account the identity is used, always: a key
//! opens everything in the account, and the shipped infrastructure switches keys off.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use lifecycle::redact::redacted;
use lifecycle::uri::is_loopback;
use url::Url;

use super::problems::Refused;
use super::{Reader, Source};

/// Where the tables of the ledger are: in a folder of this machine, or behind a table endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerLocation {
    /// A folder of this machine.
    Embedded(PathBuf),
    /// Azure Tables of a storage account, or an emulator of it.
    Tables {
        /// The endpoint: no query; a path only with emulators (`http://127.0.0.1:10002/devstoreaccount1`).
        url: Url,
        /// How to be let in.
        auth: TablesAuth,
    },
}

/// How a table endpoint lets us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TablesAuth {
    /// A token of the managed identity, or of whoever is signed in.
    Entra,
    /// An emulator's account and key.
    SharedKeyLite {
        /// Name of the emulator's account, in whose name requests are signed.
        account: String,
        /// Key of the emulator's account in base64, by which requests are signed.
        key: Secret,
    },
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that from now on only [`expose`](Self::expose) shows.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends or signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for LedgerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(folder) => write!(f, "embedded:{}", redacted(&folder.display().to_string())),
            Self::Tables { url, .. } => f.write_str(&redacted(url.as_str().trim_end_matches('/'))),
        }
    }
}

pub(super) const NAME: &str = "SCOREKEEPER_LEDGER";
const STORAGE: &str = "AzureWebJobsStorage";
pub(super) const EXPECTED: &str =
    "https://ACCOUNT.table.core.windows.net, an emulator's http://127.0.0.1:10002/devstoreaccount1 or embedded:DIR";

/// Account and key that every storage emulator knows; published by Microsoft, no secret.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

impl Reader<'_> {
    pub(super) fn ledger(&mut self, root: &Path) -> Option<LedgerLocation> {
        let storage = self.get(STORAGE);
        let connection = storage.as_deref().map(connection_string).unwrap_or_default();
        let by_uri = format!("{STORAGE}__tableServiceUri");
        let by_account = format!("{STORAGE}__accountName");
        let (from, value, read) = if let Some(text) = self.get(NAME) {
            let read = location(&text, root, &connection);
            (NAME.to_owned(), text, read)
        } else if let Some(text) = self.get(&by_uri) {
            let read = location(&text, root, &connection);
            (by_uri, text, read)
        } else if let Some(account) = self.get(&by_account) {
            let read = of_account(&account);
            (by_account, account, read)
        } else if let Some(text) = storage {
            (STORAGE.to_owned(), text, of_connection_string(&connection))
        } else {
            let remedy = "set it, or `AzureWebJobsStorage__accountName` as the Functions host needs it anyway";
            self.problem(NAME, None, Refused::new(EXPECTED, remedy));
            return None;
        };
        match read {
            Ok(ledger) => {
                self.understood(NAME, ledger.to_string(), Source::Variable(from));
                Some(ledger)
            }
            Err(refused) => {
                self.problem(&from, Some(&value), refused);
                None
            }
        }
    }
}

fn of_account(account: &str) -> Result<LedgerLocation, Refused> {
    let good =
        (3..=24).contains(&account.len()) && account.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let url = Url::parse(&format!("https://{account}.table.core.windows.net"));
    match url {
        Ok(url) if good => Ok(LedgerLocation::Tables { url, auth: TablesAuth::Entra }),
        _ => Err(Refused::new(
            "a storage account's name: 3 to 24 lower-case letters and digits",
            "give the name alone, not a URL; for a URL there is AzureWebJobsStorage__tableServiceUri",
        )),
    }
}

fn location(text: &str, root: &Path, connection: &BTreeMap<String, String>) -> Result<LedgerLocation, Refused> {
    let refused = |remedy: &str| Refused::new(EXPECTED, remedy);
    if let Some(folder) = text.strip_prefix("embedded:") {
        if folder.is_empty() {
            return Err(refused("name a folder behind `embedded:`"));
        }
        return Ok(LedgerLocation::Embedded(root.join(folder)));
    }
    let Ok(url) = Url::parse(text) else {
        return Err(refused("a folder begins with `embedded:`, a table endpoint with `https://`"));
    };
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(refused("leave out query, signature and user: the identity is used, not a SAS"));
    }
    match url.scheme() {
        "https" => Ok(LedgerLocation::Tables { url, auth: TablesAuth::Entra }),
        "http" if is_loopback(&url) => {
            let account = url.path_segments().and_then(|mut segments| segments.next()).unwrap_or_default().to_owned();
            let key = if account == EMULATOR_ACCOUNT {
                EMULATOR_KEY
            } else {
                match (connection.get("accountname"), connection.get("accountkey")) {
                    (Some(name), Some(key)) if *name == account && !account.is_empty() => key,
                    _ => {
                        return Err(refused(
                            "an emulator's URL ends in its account; for another than devstoreaccount1 set AzureWebJobsStorage to its connection string too",
                        ));
                    }
                }
            };
            let key = Secret::new(key);
            Ok(LedgerLocation::Tables { url, auth: TablesAuth::SharedKeyLite { account, key } })
        }
        "http" => {
            Err(refused("plain http would send a token in the clear; use https (http is for loopback hosts only)"))
        }
        _ => Err(refused("use https")),
    }
}

/// Members of a connection string, names in lower case.
fn connection_string(text: &str) -> BTreeMap<String, String> {
    let members = text.split(';').filter_map(|member| member.split_once('='));
    members.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())).collect()
}

fn of_connection_string(connection: &BTreeMap<String, String>) -> Result<LedgerLocation, Refused> {
    let emulator = || format!("http://127.0.0.1:10002/{EMULATOR_ACCOUNT}");
    let text = match connection.get("usedevelopmentstorage") {
        Some(flag) if flag.eq_ignore_ascii_case("true") => Some(emulator()),
        _ => connection.get("tableendpoint").cloned(),
    };
    let loopback = text.filter(|text| Url::parse(text).is_ok_and(|url| is_loopback(&url)));
    match loopback {
        // No relative folders in a connection string, so there is no root.
        Some(text) => location(text.trim_end_matches('/'), Path::new("/"), connection),
        None => Err(Refused::new(
            "an emulator's connection string",
            "account keys are not used against a real account; remove it and set AzureWebJobsStorage__accountName, so that the identity is used",
        )),
    }
}
