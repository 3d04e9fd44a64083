//! Hosts that blobs may lie on. An event names a host, and a token of the app's identity would follow it there: so only
//! the cloud's own storage hosts are asked, and those that a setting names.

use std::collections::BTreeMap;

use url::Url;

use crate::blob::BlobVersion;
use crate::id::AccountName;
use crate::uri::{is_loopback, is_plain_host};

/// Suffixes of the public cloud: the usual one, and that of accounts with a DNS zone of their own.
const PUBLIC: [&str; 2] = ["core.windows.net", "storage.azure.net"];

/// A host that is none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a storage host of this cloud (ACCOUNT.blob.…), and SCOREKEEPER_STORAGE_HOSTS does not name it")]
pub struct ForeignHost(pub String);

/// Hosts that blobs may lie on, and where each is reached. The default permits none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageHosts {
    /// What follows `ACCOUNT.blob.` in the cloud, in lower case; the first is that of accounts that are named without a host.
    suffixes: Vec<String>,
    named: BTreeMap<String, Option<Url>>,
    /// URLs of accounts whose containers are listed.
    watched: Vec<String>,
}

impl StorageHosts {
    /// Those of the cloud with this suffix (`core.windows.net`): `ACCOUNT.blob.…` and `ACCOUNT.dfs.…`, also of a DNS zone
    /// (`ACCOUNT.z01.blob.…`) and by private link (`ACCOUNT.privatelink.blob.…`).
    pub fn of_cloud(suffix: &str) -> Self {
        let suffix = suffix.to_ascii_lowercase();
        let suffixes =
            if PUBLIC.contains(&suffix.as_str()) { PUBLIC.map(str::to_owned).to_vec() } else { vec![suffix] };
        Self { suffixes, named: BTreeMap::new(), watched: Vec::new() }
    }

    /// And this host; with where it is reached, if that is elsewhere: an emulator, the simulator.
    #[must_use]
    pub fn and(mut self, host: &str, reached: Option<Url>) -> Self {
        self.named.insert(host.to_ascii_lowercase(), reached);
        self
    }

    /// And events come from this account: a name, or its host where that is not the usual one. Of a rule that names no account, its
    /// containers are listed.
    #[must_use]
    pub fn watching(mut self, account: &str) -> Self {
        let account = account.to_ascii_lowercase();
        let url = if account.contains("://") {
            Some(account)
        } else if account.contains('.') {
            Some(format!("https://{account}"))
        } else {
            self.usual_url(&account)
        };
        self.watched.extend(url);
        self
    }

    fn usual_url(&self, account: &str) -> Option<String> {
        let named = self.named.keys().find(|host| host.split('.').next() == Some(account));
        let usual = || Some(format!("{account}.blob.{}", self.suffixes.first()?));
        named.cloned().or_else(usual).map(|host| format!("https://{host}"))
    }

    /// URLs of the accounts whose containers are listed for a rule: of the one that it names, else of all that are watched.
    pub fn watched(&self, account: Option<&AccountName>) -> Vec<String> {
        let Some(account) = account else { return self.watched.clone() };
        let is_it = |url: &&String| {
            let any = format!("{url}/c/-");
            BlobVersion::read(&any, "-").is_ok_and(|blob| *account == *blob.account)
        };
        self.watched.iter().find(is_it).cloned().or_else(|| self.usual_url(account)).into_iter().collect()
    }

    /// Whether a blob may lie there.
    pub fn permits(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.named.contains_key(&host) || self.suffixes.iter().any(|suffix| is_account(&host, suffix))
    }

    /// Whether a blob of this URL is to be asked about.
    pub fn check(&self, url: &str) -> Result<(), ForeignHost> {
        // As nearly all are written.
        let authority = url.strip_prefix("https://").and_then(|behind| behind.split(['/', '?', '#', '\\']).next());
        if authority.is_some_and(|host| is_plain_host(host) && self.permits(host)) {
            return Ok(());
        }
        let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        if self.permits(&host) { Ok(()) } else { Err(ForeignHost(host)) }
    }

    /// Whether something on this machine that a setting names, such as an emulator, is reached at this URL: a token that is
    /// shown to it in the clear does not leave the machine.
    pub fn is_emulator(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let reached = || self.named.values().flatten().any(|reached| reached.origin() == url.origin());
        url.scheme() == "http" && is_loopback(url) && (self.named.contains_key(&host) || reached())
    }

    /// Where a blob is asked for.
    pub fn reach(&self, url: &Url) -> Result<Url, ForeignHost> {
        self.check(url.as_str())?;
        let host = url.host_str().unwrap_or_default();
        let Some(Some(reached)) = self.named.get(&host.to_ascii_lowercase()) else { return Ok(url.clone()) };
        let mut there = reached.clone();
        there.set_path(&format!("{}{}", reached.path().trim_end_matches('/'), url.path()));
        Ok(there)
    }
}

/// `ACCOUNT[.ZONE][.privatelink].{blob,dfs}.SUFFIX`, and nothing in front of it.
fn is_account(host: &str, suffix: &str) -> bool {
    let Some(front) = host.strip_suffix(suffix).and_then(|front| front.strip_suffix('.')) else { return false };
    let mut labels = front.rsplit('.');
    if !matches!(labels.next(), Some("blob" | "dfs")) {
        return false;
    }
    let mut labels: Vec<&str> = labels.collect();
    let account = labels.pop().unwrap_or_default();
    // `-secondary`, `-internetrouting` and the like belong to the account's own names.
    let named = account.len() >= 3 && account.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_zone = |label: &str| {
        label
            .strip_prefix('z')
            .is_some_and(|number| matches!(number.len(), 1..=3) && number.bytes().all(|digit| digit.is_ascii_digit()))
    };
    named && labels.len() <= 2 && labels.iter().all(|label| *label == "privatelink" || is_zone(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_account_is_listed_at_its_host_and_an_unnamed_one_at_all_watched_hosts() {
        let hosts =
            StorageHosts::of_cloud("core.windows.net").watching("Uploads").watching("scans.z12.blob.storage.azure.net");
        let all = ["https://uploads.blob.core.windows.net", "https://scans.z12.blob.storage.azure.net"];
        assert_eq!(hosts.watched(None), all);
        let of = |account: &str| hosts.watched(Some(&account.parse().unwrap()));
        assert_eq!(of("scans"), ["https://scans.z12.blob.storage.azure.net"]);
        assert_eq!(of("other"), ["https://other.blob.core.windows.net"], "a rule that names it is enough");
        let none = StorageHosts::default();
        assert!(none.watched(None).is_empty() && none.watched(Some(&"uploads".parse().unwrap())).is_empty());
        let emulated = none.and("local.blob.localhost", None).watching("http://127.0.0.1:10000/devstoreaccount1");
        assert_eq!(emulated.watched(Some(&"local".parse().unwrap())), ["https://local.blob.localhost"]);
        assert_eq!(
            emulated.watched(Some(&"devstoreaccount1".parse().unwrap())),
            ["http://127.0.0.1:10000/devstoreaccount1"]
        );
    }

    #[test]
    fn the_clouds_own_hosts_are_permitted_in_all_their_forms() {
        let hosts = StorageHosts::of_cloud("core.windows.net");
        for host in [
            "uploads.blob.core.windows.net",
            "UPLOADS.DFS.core.windows.net",
            "uploads.blob.core.windows.net.",
            "uploads-secondary.blob.core.windows.net",
            "uploads.privatelink.blob.core.windows.net",
            "uploads.z17.blob.storage.azure.net",
            "uploads.z17.privatelink.dfs.storage.azure.net",
        ] {
            assert!(hosts.permits(host), "{host}");
        }
        let china = StorageHosts::of_cloud("core.chinacloudapi.cn");
        assert!(china.permits("upl.blob.core.chinacloudapi.cn") && !china.permits("upl.blob.core.windows.net"));
    }

    #[test]
    fn no_other_host_is() {
        let hosts = StorageHosts::of_cloud("core.windows.net");
        for host in [
            "",
            "core.windows.net",
            "blob.core.windows.net",
            "uploads.core.windows.net",
            "uploads.queue.core.windows.net",
            "uploads.blob.core.windows.net.evil.example",
            "uploads.blob.core.windows.netx",
            "uploads.blob.evilcore.windows.net",
            "evil.example",
            "a.evil.uploads.blob.core.windows.net",
            "uploads.zone.blob.core.windows.net",
            "uploads.z1.z2.z3.blob.core.windows.net",
            "uploads.blob.core.chinacloudapi.cn",
            "localhost",
            "127.0.0.1",
            "169.254.169.254",
        ] {
            assert!(!hosts.permits(host), "{host}");
            assert!(!StorageHosts::default().permits(host), "{host}");
        }
    }

    #[test]
    fn a_named_host_is_reached_where_the_setting_says_with_its_path_unchanged() {
        let there = Url::parse("http://127.0.0.1:1000/local/").expect("a URL");
        let hosts = StorageHosts::default().and("local.blob.localhost", Some(there)).and("files.example", None);
        let reach = |url: &str| hosts.reach(&Url::parse(url).expect("a URL")).map(String::from);
        let name = "inbox/a%20b%23%3F%2520.csv";
        let expected = Ok(format!("http://127.0.0.1:1000/local/{name}"));
        assert_eq!(reach(&format!("https://local.blob.localhost/{name}")), expected);
        assert_eq!(reach("https://files.example/c/x"), Ok("https://files.example/c/x".to_owned()));
        assert_eq!(reach("https://x.files.example/c/x"), Err(ForeignHost("x.files.example".to_owned())));
    }

    #[test]
    fn an_emulator_is_on_this_machine_and_named() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let there = StorageHosts::default().and("local.blob.localhost", Some(url("http://127.0.0.1:1000/local")));
        assert!(there.is_emulator(&url("http://127.0.0.1:1000/local/outbox/x")));
        for other in ["http://127.0.0.1:1001/local/x", "https://127.0.0.1:1000/x", "http://10.0.0.1:1000/x"] {
            assert!(!there.is_emulator(&url(other)), "{other}");
        }
        assert!(StorageHosts::default().and("127.0.0.1", None).is_emulator(&url("http://127.0.0.1:7/a/c/x")));
        assert!(!StorageHosts::default().and("10.0.0.1", None).is_emulator(&url("http://10.0.0.1:7/a/c/x")));
    }
}
