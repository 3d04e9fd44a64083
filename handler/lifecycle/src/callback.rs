//! Where an orchestrator wants to be told of a scoring's end. Its query is a secret that it is known by; and whoever asks could
//! have us call anybody, so that only hosts that a setting names are called, by https.

use std::fmt;

use url::{Host, Url};

use crate::text::one_line;

/// Bytes of such a URI.
const MAX_URI: usize = 4_000;
/// Characters of a host that are shown.
const SHOWN: usize = 200;

/// Hosts on which Data Factory and Synapse wait for a call back.
const DATA_FACTORY: &str = "*.datafactory.azure.com";

/// Hosts that may be called back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackHosts(Vec<String>);

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host name; expected HOST, or *.DOMAIN for all below one")]
pub struct InvalidCallbackHost(String);

impl CallbackHosts {
    /// Those of Data Factory and Synapse alone, as where SCOREKEEPER_CALLBACK_HOSTS is not set.
    pub fn data_factory() -> Self {
        Self(vec![DATA_FACTORY.to_owned()])
    }

    /// Reads a list with commas between.
    pub fn read(text: &str) -> Result<Self, InvalidCallbackHost> {
        let hosts = text.split(',').map(str::trim).filter(|host| !host.is_empty());
        let read = |host: &str| {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let label =
                |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            // An address is no name: none is called, whatever a setting says.
            let good =
                name.contains('.') && name.split('.').all(label) && matches!(Host::parse(name), Ok(Host::Domain(_)));
            if good { Ok(host.to_ascii_lowercase()) } else { Err(InvalidCallbackHost(one_line(host, SHOWN))) }
        };
        hosts.map(read).collect::<Result<_, _>>().map(Self)
    }

    fn permit(&self, host: &str) -> bool {
        let permits = |one: &String| match one.strip_prefix('*') {
            Some(domain) => host.len() > domain.len() && host.ends_with(domain),
            None => host == one,
        };
        self.0.iter().any(permits)
    }
}

/// Where to tell of an end.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackUri(Url);

/// Why nobody is told there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCallback {
    /// It is no URI, or a long one.
    #[error("`callBackUri` is no https URI of at most 4,000 characters")]
    NoUri,
    /// It is not asked by https.
    #[error("`callBackUri` begins with `{0}:`; expected https")]
    NotHttps(String),
    /// Its host is not known.
    #[error(
        "`callBackUri` names host `{0}`, which may not be called back; SCOREKEEPER_CALLBACK_HOSTS names those that may"
    )]
    Host(String),
    /// It has a name or password, another port or a fragment.
    #[error("`callBackUri` has a user name, a port or a fragment; expected https://HOST/PATH?QUERY")]
    Extra,
}

impl CallbackUri {
    /// Reads what somebody asks for.
    pub fn read(text: &str, hosts: &CallbackHosts) -> Result<Self, InvalidCallback> {
        let uri = Self::from_row(text)?;
        let host = uri.host();
        if hosts.permit(host) { Ok(uri) } else { Err(InvalidCallback::Host(one_line(host, SHOWN))) }
    }

    /// Reads what was read once, and kept.
    pub fn from_row(text: &str) -> Result<Self, InvalidCallback> {
        let url = Url::parse(text).ok().filter(|_| text.len() <= MAX_URI).ok_or(InvalidCallback::NoUri)?;
        if url.scheme() != "https" {
            return Err(InvalidCallback::NotHttps(one_line(url.scheme(), SHOWN)));
        }
        if !url.username().is_empty() || url.password().is_some() || url.port().is_some() || url.fragment().is_some() {
            return Err(InvalidCallback::Extra);
        }
        match url.host() {
            Some(Host::Domain(_)) => Ok(Self(url)),
            Some(address) => Err(InvalidCallback::Host(address.to_string())),
            None => Err(InvalidCallback::NoUri),
        }
    }

    /// All of it, the secret too: for the row that keeps it and the request that is made of it.
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// The same as a URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Its host, always a name and never an address: the part of the URI that may be shown.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// Its host alone: path and query are known to whom they were told.
impl fmt::Debug for CallbackUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackUri(https://{}/…)", self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_a_named_host_is_a_call_back() {
        let hosts = CallbackHosts::data_factory();
        let good = CallbackUri::read("https://dpeastus.svc.datafactory.azure.com/dataplane/cb/1?ptoken=SECRET", &hosts)
            .unwrap();
        assert!(!format!("{good:?}").contains("SECRET"));
        assert_eq!(good.expose(), "https://dpeastus.svc.datafactory.azure.com/dataplane/cb/1?ptoken=SECRET");
        for bad in [
            "http://x.svc.datafactory.azure.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://2130706433/",
            "https://169.254.169.254/metadata/instance",
            "https://localhost/",
            "https://datafactory.azure.com/",
            "https://evil.example/?x=.datafactory.azure.com",
            "https://x.datafactory.azure.com.evil.example/",
            "https://xdatafactory.azure.com/",
            "https://ann:pw@x.datafactory.azure.com/",
            "https://x.datafactory.azure.com:8443/",
            "https://x.datafactory.azure.com/#f",
            "file:///etc/passwd",
            "x",
        ] {
            assert!(CallbackUri::read(bad, &hosts).is_err(), "{bad}");
        }
        // No address, whatever hosts there are; and nothing that would not fit into a row.
        for address in ["https://127.0.0.1/", "https://[::1]/", "https://2130706433/"] {
            assert!(matches!(CallbackUri::from_row(address), Err(InvalidCallback::Host(_))), "{address}");
        }
        let long = format!("https://x.svc.datafactory.azure.com/{}", "x".repeat(MAX_URI));
        assert_eq!(CallbackUri::read(&long, &hosts), Err(InvalidCallback::NoUri));
    }

    #[test]
    fn a_setting_names_hosts_and_never_an_address() {
        let hosts = CallbackHosts::read("Hooks.example.com, *.logic.azure.com").unwrap();
        assert!(CallbackUri::read("https://hooks.example.com/x", &hosts).is_ok());
        assert!(CallbackUri::read("https://prod-1.eastus.logic.azure.com/x", &hosts).is_ok());
        for bad in ["127.0.0.1", "localhost", "*", "*.", "a b.example", "x.example/y", "169.254.169.254", "[::1]"] {
            assert!(CallbackHosts::read(bad).is_err(), "{bad}");
        }
    }
}
