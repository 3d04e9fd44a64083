//! Calls back those who asked to be told of a scoring's end.
//!
//! The address comes from whoever holds a key of the function app, so that it must lead nowhere else: only by https, only to hosts
//! that a setting names, only to public addresses, to that address alone which was looked at (a name may lead elsewhere a moment
//! later), and never on by a redirect. No token goes along.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use app::ports::{CallFailed, CallbackCaller};
use async_trait::async_trait;
use futures::future::BoxFuture;
use lifecycle::callback::{CallbackHosts, CallbackUri};
use reqwest::header::CONTENT_TYPE;
use url::Url;

use crate::http::unshared;

/// For a call as a whole.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Finds the addresses of a host's name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Calls hosts that may be called back.
pub struct HttpsCallbacks {
    hosts: CallbackHosts,
    lookup: Lookup,
}

impl HttpsCallbacks {
    /// For these hosts; names are looked up as the machine does.
    pub fn new(hosts: CallbackHosts) -> Self {
        let lookup = |host: String| -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, 443)).await?.collect()) })
        };
        Self { hosts, lookup: Arc::new(lookup) }
    }
}

#[async_trait]
impl CallbackCaller for HttpsCallbacks {
    async fn call(&self, uri: &CallbackUri, body: &str) -> Result<(), CallFailed> {
        // The setting may have changed since it was kept.
        let uri = CallbackUri::read(uri.expose(), &self.hosts).map_err(|why| CallFailed::Refused(why.to_string()))?;
        let host = uri.host();
        let addresses = tokio::time::timeout(CALL_TIMEOUT, (self.lookup)(host.to_owned())).await;
        let addresses = addresses.map_err(|_| CallFailed::NotReached(format!("`{host}` was not looked up in time")))?;
        let addresses = addresses.map_err(|why| CallFailed::NotReached(format!("`{host}` has no address: {why}")))?;
        // Of several, one that is not public is enough: nobody who means well has such a name.
        if let Some(inner) = addresses.iter().find(|address| !is_public(address.ip())) {
            return Err(CallFailed::Refused(format!("`{host}` leads to {}, which is no public address", inner.ip())));
        }
        post(uri.url(), &addresses, body, true).await
    }
}

/// Posts to one of these addresses, whatever the URL's host may lead to by now.
async fn post(url: &Url, addresses: &[SocketAddr], body: &str, https_only: bool) -> Result<(), CallFailed> {
    if addresses.is_empty() {
        return Err(CallFailed::NotReached("it has no address".to_owned()));
    }
    let client = unshared()
        .https_only(https_only)
        .resolve_to_addrs(url.host_str().unwrap_or_default(), addresses)
        .timeout(CALL_TIMEOUT)
        .build()
        .map_err(|why| CallFailed::NotReached(format!("no client could be made: {}", why.without_url())))?;
    let request = client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body.to_owned());
    // Without the URL, which holds a secret.
    let answer =
        request.send().await.map_err(|why| CallFailed::NotReached(lifecycle::text::error_chain(&why.without_url())))?;
    let status = answer.status();
    if status.is_success() {
        Ok(())
    } else if status.is_redirection() {
        Err(CallFailed::Refused(format!("it answered {status}, and a redirect is not followed")))
    } else if status.is_client_error() && !matches!(status.as_u16(), 408 | 429) {
        Err(CallFailed::Refused(format!("it answered {status}")))
    } else {
        Err(CallFailed::NotReached(format!("it answered {status}")))
    }
}

/// Whether an address is one of the internet: none of this machine, of its networks, or of the platform.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    /// Azure's own services for what runs on it.
    const PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    let [a, b, c, _] = address.octets();
    let inner = address.is_private() || address.is_loopback() || address.is_link_local() || address == PLATFORM;
    let special = match (a, b, c) {
        (0 | 224..=255, ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _) => true,
        _ => address.is_documentation(),
    };
    !inner && !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [a, b, ..] = address.segments();
    // Global unicast, without what leads elsewhere in disguise (Teredo, 6to4) and what is for documentation.
    (0x2000..0x4000).contains(&a) && a != 0x2002 && !(a == 0x2001 && (b < 0x200 || b == 0xdb8)) && a != 0x3fff
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const URI: &str = "https://x.svc.datafactory.azure.com/cb?ptoken=SECRET";

    fn leading_to(addresses: &[&str]) -> (HttpsCallbacks, Arc<Mutex<Vec<String>>>) {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443)).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let lookup = move |host: String| -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            seen.lock().unwrap().push(host);
            let addresses = addresses.clone();
            Box::pin(async move { Ok(addresses) })
        };
        (HttpsCallbacks { hosts: CallbackHosts::data_factory(), lookup: Arc::new(lookup) }, asked)
    }

    #[tokio::test]
    async fn a_name_that_leads_to_an_inner_address_is_not_called() {
        for inner in [
            "127.0.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            for addresses in [vec![inner], vec!["20.42.0.1", inner]] {
                let (callbacks, asked) = leading_to(&addresses);
                let failed = callbacks.call(&CallbackUri::from_row(URI).unwrap(), "{}").await.unwrap_err();
                let CallFailed::Refused(why) = &failed else { panic!("{inner}: {failed:?}") };
                assert!(why.contains("no public address") && !why.contains("SECRET"), "{why}");
                assert_eq!(*asked.lock().unwrap(), ["x.svc.datafactory.azure.com"], "looked up once");
            }
        }
        for public in ["20.42.0.1", "8.8.8.8", "2603:1030::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn a_host_that_the_setting_does_not_name_any_more_is_not_even_looked_up() {
        let (callbacks, asked) = leading_to(&["20.42.0.1"]);
        let uri = CallbackUri::from_row("https://evil.example/cb?ptoken=SECRET").unwrap();
        assert!(matches!(callbacks.call(&uri, "{}").await, Err(CallFailed::Refused(_))));
        assert!(asked.lock().unwrap().is_empty());
    }

    /// A server that answers each connection so, and keeps what it was sent.
    async fn answering(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = vec![0; 4096];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                kept.lock().unwrap().push(String::from_utf8_lossy(&buffer[..read]).into_owned());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (address, seen)
    }

    #[tokio::test]
    async fn the_address_that_was_looked_at_is_called_and_a_redirect_is_not_followed() {
        let answers = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", true),
            ("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", false),
            (
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                false,
            ),
        ];
        for (answer, good) in answers {
            let (address, seen) = answering(answer).await;
            // A name that no resolver knows: only the given address can be meant.
            let url = Url::parse(&format!("http://pinned.invalid:{}/cb?ptoken=SECRET", address.port())).unwrap();
            let called = post(&url, &[address], r#"{"id":"1"}"#, false).await;
            assert_eq!(called.is_ok(), good, "{called:?}");
            let seen = seen.lock().unwrap().clone();
            assert_eq!(seen.len(), 1, "nothing is called after a redirect: {seen:?}");
            assert!(seen[0].starts_with("POST /cb?ptoken=SECRET") && !seen[0].to_lowercase().contains("authorization"));
            if let Err(failed) = called {
                assert!(matches!(&failed, CallFailed::Refused(why) if !why.contains("SECRET")), "{failed:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_tried_again_and_tells_no_secret() {
        let (address, _) = answering("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let url = Url::parse(&format!("http://pinned.invalid:{}/cb?ptoken=SECRET", address.port())).unwrap();
        assert!(matches!(post(&url, &[address], "{}", false).await, Err(CallFailed::NotReached(_))));
        // Not by https: it is not even sent.
        let (address, seen) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let url = Url::parse(&format!("http://pinned.invalid:{}/cb?ptoken=SECRET", address.port())).unwrap();
        let failed = post(&url, &[address], "{}", true).await.unwrap_err();
        assert!(matches!(&failed, CallFailed::NotReached(why) if !why.contains("SECRET")), "{failed:?}");
        assert!(seen.lock().unwrap().is_empty());
    }
}
