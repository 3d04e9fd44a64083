//! What of a blob's URL comes before its name: scheme, host, and the account.
//!
//! One account has many hosts. They are written as one, or a blob would be scored once for each.

use url::Url;

use super::invalid::InvalidBlob;
use crate::uri::{is_plain_host, without_query};

/// What follows `ACCOUNT.blob.` in Azure's clouds; the last one has a zone (`z01` to `z99`) before `blob`.
const STORAGE_SUFFIXES: [&str; 5] =
    ["core.windows.net", "core.chinacloudapi.cn", "core.usgovcloudapi.net", "core.cloudapi.de", "storage.azure.net"];

/// A URL taken apart where its host ends.
#[derive(Debug)]
pub(super) struct Host<'a> {
    /// Scheme, host and port in one spelling; for path-style URLs of emulators with the account behind them.
    pub(super) base: String,
    /// The first label of the host, or of an emulator's path-style URL the first segment behind it.
    pub(super) account: String,
    /// What follows, without the slash before it, exactly as it was given.
    pub(super) rest: &'a str,
}

/// Takes the host off a URL. Only the host goes through a URL parser: that of browsers drops, resolves and rewrites
/// characters behind it which belong to blobs' names.
pub(super) fn split(url: &str) -> Result<Host<'_>, InvalidBlob> {
    let shown = || without_query(url).to_owned();
    let no_url = |source| InvalidBlob::NoUrl { url: shown(), source };
    let (scheme, behind) = url.split_once("://").ok_or_else(|| no_url(url::ParseError::RelativeUrlWithoutBase))?;
    let scheme = scheme.trim_start().to_ascii_lowercase();
    if !matches!(scheme.as_str(), "https" | "http") {
        return Err(InvalidBlob::Scheme(shown()));
    }
    let end = behind.find(['/', '?', '#', '\\']).unwrap_or(behind.len());
    let (authority, rest) = behind.split_at(end);
    let rest = rest.strip_prefix('/').ok_or_else(|| InvalidBlob::NoPath(shown()))?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if authority.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(no_url(url::ParseError::InvalidDomainCharacter));
    }
    // As nearly all are written.
    if is_plain_host(authority)
        && let Some(azure) = in_azure(authority)
    {
        let account = authority.split('.').next().unwrap_or_default().to_owned();
        return Ok(Host { base: ["https://", &azure].concat(), account, rest });
    }
    let parsed = Url::parse(&format!("{scheme}://{authority}/")).map_err(no_url)?;
    let host = parsed.host_str().unwrap_or_default().trim_end_matches('.');
    if let Some(azure) = in_azure(host) {
        let account = host.split('.').next().unwrap_or_default().to_owned();
        // Azure Storage is one service on both schemes, on their own ports only.
        return Ok(Host { base: format!("https://{azure}"), account, rest });
    }
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    let base = format!("{scheme}://{host}{port}");
    if !matches!(parsed.host(), Some(url::Host::Domain(_))) || host == "localhost" {
        let (account, rest) = rest.split_once('/').unwrap_or((rest, ""));
        return Ok(Host { base: format!("{base}/{account}"), account: account.to_owned(), rest });
    }
    // A custom domain, or a private cloud's: nothing is known of its other names.
    let account = host.split('.').next().unwrap_or_default().to_owned();
    Ok(Host { base, account, rest })
}

/// The `blob` host of an account in Azure: without `privatelink`, which only DNS needs, and whether it came as `dfs` or not.
fn in_azure(host: &str) -> Option<String> {
    let (account, mut rest) = host.split_once('.')?;
    let mut zone = None;
    while let Some((label, behind)) = rest.split_once('.') {
        match label {
            "privatelink" => {}
            _ if zone.is_none() && is_zone(label) => zone = Some(label),
            "blob" | "dfs" => {
                let zone = zone.map(|zone| format!(".{zone}")).unwrap_or_default();
                return STORAGE_SUFFIXES.contains(&behind).then(|| format!("{account}{zone}.blob.{behind}"));
            }
            _ => return None,
        }
        rest = behind;
    }
    None
}

fn is_zone(label: &str) -> bool {
    label.strip_prefix('z').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_of_an_account_is_one_and_a_custom_domain_is_left_alone() {
        let base = |url: &str| {
            let host = split(url).unwrap_or_else(|why| panic!("{url}: {why}"));
            assert_eq!(host.rest, "c/a b?#%41", "{url}");
            host.base
        };
        for host in [
            "https://uploads.blob.core.windows.net",
            "https://uploads.blob.core.windows.net.",
            "HTTPS://UPLOADS.Blob.core.windows.net:443",
            "http://uploads.blob.core.windows.net",
            "https://uploads.dfs.core.windows.net",
            "https://uploads.privatelink.blob.core.windows.net",
            "https://uploads.privatelink.dfs.core.windows.net.:443",
            "https://user:pw@uploads.blob.core.windows.net",
        ] {
            assert_eq!(base(&format!("{host}/c/a b?#%41")), "https://uploads.blob.core.windows.net", "{host}");
        }
        for host in [
            "https://uploads.z12.blob.storage.azure.net",
            "https://uploads.z12.dfs.storage.azure.net",
            "https://uploads.z12.privatelink.blob.storage.azure.net",
            "https://uploads.privatelink.z12.blob.storage.azure.net",
        ] {
            assert_eq!(base(&format!("{host}/c/a b?#%41")), "https://uploads.z12.blob.storage.azure.net", "{host}");
        }
        for (host, left) in [
            ("https://data.dfs.example.com", "https://data.dfs.example.com"),
            ("https://Data.Example.com.:8443", "https://data.example.com:8443"),
            ("http://privatelink.blob.example.com:80", "http://privatelink.blob.example.com"),
            ("http://127.0.0.1:10000/acct", "http://127.0.0.1:10000/acct"),
            ("http://[::1]:10000/acct", "http://[::1]:10000/acct"),
        ] {
            assert_eq!(base(&format!("{host}/c/a b?#%41")), left);
        }
    }
}
