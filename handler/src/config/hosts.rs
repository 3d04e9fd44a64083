//! Hosts that blobs may lie on beside the cloud's own.

use lifecycle::BlobPrefix;
use lifecycle::id::AccountName;
use url::{Host, Url};

use super::problems::Refused;

/// `HOST[,HOST…]`, each perhaps with `=URL`: where an emulator on this machine stands for it.
pub(super) fn read(text: &str) -> Result<Vec<(String, Option<Url>)>, Refused> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(entry).collect()
}

/// Reads `HOST[,HOST…]`; one that is no host name refuses all of them.
pub(super) fn read_names(text: &str) -> Result<Vec<String>, Refused> {
    let names = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    names
        .map(|entry| {
            name(entry).ok_or_else(|| {
                Refused::new(
                    format!("host names with commas between, `{entry}` is none"),
                    "write HOST, without https:// and path",
                )
            })
        })
        .collect()
}

/// Names of storage accounts with commas between; or their hosts, where these are not the usual ones, or URLs of an emulator's.
pub(super) fn read_accounts(text: &str) -> Result<Vec<String>, Refused> {
    let is_emulator =
        |text: &str| Url::parse(text).is_ok_and(|url| url.scheme() == "http" && lifecycle::uri::is_loopback(&url));
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let account = |entry: &str| {
        let known = entry.parse::<AccountName>().is_ok() || name(entry).is_some() || is_emulator(entry);
        known.then(|| entry.to_owned()).ok_or_else(|| {
            Refused::new(
                format!("names of storage accounts with commas between, `{entry}` is none"),
                "write ACCOUNT, or its host ACCOUNT.z01.blob.storage.azure.net where it has a DNS zone",
            )
        })
    };
    entries.map(account).collect()
}

/// URL of a container, or nothing.
pub(super) fn read_container(text: &str) -> Result<Option<BlobPrefix>, Refused> {
    let text = text.trim().trim_end_matches('/');
    if text.is_empty() {
        return Ok(None);
    }
    let refused = || {
        Refused::new("the URL of a container", "write https://ACCOUNT.blob.core.windows.net/CONTAINER, without a query")
    };
    let url = Url::parse(text).map_err(|_| refused())?;
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && lifecycle::uri::is_loopback(&url);
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let (account, container) = text.rsplit_once('/').ok_or_else(refused)?;
    let place = BlobPrefix::new(account, container, "").map_err(|_| refused())?;
    // A path of a blob would be taken for a container of another account.
    (is_safe && is_plain && place.container_url() == text).then_some(Some(place)).ok_or_else(refused)
}

fn name(text: &str) -> Option<String> {
    // A pattern is a host to a URL's reader, and would be compared as it is written: with nothing.
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    match Host::parse(text) {
        Ok(Host::Domain(name)) if is_name(&name) && (name.contains('.') || name == "localhost") => Some(name),
        Ok(Host::Ipv4(ip)) => Some(ip.to_string()),
        _ => None,
    }
}

fn entry(entry: &str) -> Result<(String, Option<Url>), Refused> {
    let refused = || {
        Refused::new(
            format!("host names with commas between, `{entry}` is none"),
            "write HOST, without https:// and path, or HOST=http://127.0.0.1:PORT/ACCOUNT for an emulator on this machine",
        )
    };
    let (host, reached) = entry.split_once('=').map_or((entry, None), |(host, url)| (host, Some(url)));
    let host = name(host).ok_or_else(refused)?;
    let Some(reached) = reached else { return Ok((host, None)) };
    let url = Url::parse(reached).map_err(|_| refused())?;
    // A token that follows there does not leave this machine.
    let emulator = url.scheme() == "http" && lifecycle::uri::is_loopback(&url);
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if emulator && plain { Ok((host, Some(url))) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_alone_or_with_where_an_emulator_stands_for_them() {
        let good = read("Files.Example.com , local.blob.localhost=http://127.0.0.1:10000/local").expect("good hosts");
        assert_eq!(good[0], ("files.example.com".to_owned(), None));
        assert_eq!(good[1].0, "local.blob.localhost");
        assert_eq!(good[1].1.as_ref().map(Url::as_str), Some("http://127.0.0.1:10000/local"));
        assert_eq!(read("").expect("none"), []);
        for bad in [
            "https://files.example.com",
            "files.example.com/x",
            "com",
            "*.example.com",
            "a.example=http://files.example/x",
            "a.example=https://127.0.0.1/x",
            "a.example=http://127.0.0.1/x?sig=1",
            "a.example=",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn watched_accounts_are_names_hosts_or_an_emulators() {
        let good = "uploads, scans.z12.blob.storage.azure.net,http://127.0.0.1:10000/devstoreaccount1";
        assert_eq!(read_accounts(good).expect("good").len(), 3);
        for bad in ["up loads", "https://uploads.blob.core.windows.net", "*.blob.core.windows.net"] {
            assert!(read_accounts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_container_of_dead_letters_is_its_url() {
        for good in
            ["https://ststate.blob.core.windows.net/dead-letters", "http://127.0.0.1:10000/devstoreaccount1/dead"]
        {
            let read = read_container(&format!("{good}/ ")).expect("good");
            assert_eq!(read.map(|place| place.container_url()).as_deref(), Some(good));
        }
        assert_eq!(read_container("").expect("none"), None);
        for bad in [
            "dead-letters",
            "https://ststate.blob.core.windows.net",
            "http://ststate.blob.core.windows.net/dead-letters",
            "https://ststate.blob.core.windows.net/dead-letters/x",
            "https://ststate.blob.core.windows.net/dead-letters?sig=x",
        ] {
            assert!(read_container(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_before_endpoints_are_names_alone() {
        assert_eq!(read_names("Gateway.Example.com, 10.0.0.7").expect("good"), ["gateway.example.com", "10.0.0.7"]);
        for bad in
            ["https://gateway.example.com", "gateway.example.com/jobs", "*.example.com", "com", "a.example=b.example"]
        {
            assert!(read_names(bad).is_err(), "{bad}");
        }
    }
}
