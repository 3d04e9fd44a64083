//! What tests put into emulated storage and take out of it, and tokens for it. By hand and apart from the product's own
//! clients, so that neither checks itself.

use std::sync::atomic::{AtomicU32, Ordering};

use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::http::Url;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::azurite;

/// A name that nobody had before in this run: letters and digits, the first a capital letter.
pub fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("T{}n{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The emulator's clock, which is this machine's.
#[expect(clippy::disallowed_methods, reason = "tokens and signatures hold in real time")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// An emulator's blobs, with its account's key.
pub struct Account {
    client: reqwest::Client,
    /// `http://127.0.0.1:port/account`.
    base: String,
}

impl Account {
    pub fn new(client: reqwest::Client, base: String) -> Self {
        Self { client, base }
    }

    /// A new container; if it is public, anybody may read and list its blobs.
    pub async fn container(&self, public: bool) -> String {
        let name = fresh_name().to_lowercase();
        let access: &[_] = if public { &[("x-ms-blob-public-access", "container")] } else { &[] };
        self.put_signed(&format!("{}/{name}?restype=container", self.base), access, "").await;
        name
    }

    /// Writes a blob; gives the date that the storage gave it.
    pub async fn put(&self, container: &str, path: &str, text: &str) -> OffsetDateTime {
        let response = self.write(container, path, text, &[]).await;
        azure_core::time::parse_rfc7231(response.headers()["last-modified"].to_str().unwrap()).unwrap()
    }

    /// Writes a blob with index tags, as a query has them; gives its ETag.
    pub async fn put_tagged(&self, container: &str, path: &str, tags: &str) -> String {
        let response = self.write(container, path, "x", &[("x-ms-tags", tags)]).await;
        response.headers()["etag"].to_str().unwrap().to_owned()
    }

    /// The URL of a blob.
    pub fn url(&self, container: &str, path: &str) -> String {
        format!("{}/{container}/{path}", self.base)
    }

    async fn write(&self, container: &str, path: &str, text: &str, more: &[(&str, &str)]) -> reqwest::Response {
        let path: Vec<_> =
            path.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
        let url = format!("{}/{container}/{}", self.base, path.join("/"));
        self.put_signed(&url, more, text).await
    }

    /// A PUT with Shared Key, of a blob or of what its query says.
    async fn put_signed(&self, url: &str, more: &[(&str, &str)], text: &str) -> reqwest::Response {
        let url: Url = url.parse().unwrap();
        let date = azure_core::time::to_rfc7231(&now());
        let is_blob = !url.query_pairs().any(|(name, _)| name == "restype");
        let kind: &[_] = if is_blob { &[("x-ms-blob-type", "BlockBlob")] } else { &[] };
        let mut headers = [more, kind, &[("x-ms-date", date.as_str()), ("x-ms-version", "2021-12-02")]].concat();
        headers.sort_unstable();
        let canonical: String = headers.iter().flat_map(|(name, value)| [*name, ":", *value, "\n"]).collect();
        let query = url.query().map(|query| format!("\n{}", query.replace('=', ":"))).unwrap_or_default();
        let length = if text.is_empty() { String::new() } else { text.len().to_string() };
        let content = format!("\n\n\n{length}\n\n\n\n\n\n\n\n\n");
        let signed = format!("PUT{content}{canonical}/{}{}{query}", azurite::ACCOUNT, url.path());
        let signature = azure_core::hmac::hmac_sha256(&signed, &Secret::new(azurite::KEY)).unwrap();
        let mut request = self.client.put(url).header("content-length", text.len()).body(text.to_owned());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let authorization = format!("SharedKey {}:{signature}", azurite::ACCOUNT);
        let response = request.header("authorization", authorization).send().await.unwrap();
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
        response
    }
}

/// Rows of an emulator's table as the wire has them, the first page; `partition` alone if it is given.
pub async fn raw_rows(
    (url, account, key): (&str, &str, &str),
    table: &str,
    partition: Option<&str>,
) -> Vec<serde_json::Map<String, Value>> {
    let filter = partition.map(|key| format!("?$filter=PartitionKey%20eq%20'{key}'")).unwrap_or_default();
    let url: Url = format!("{url}/{table}(){filter}").parse().unwrap();
    let date = azure_core::time::to_rfc7231(&now());
    let signed = format!("{date}\n/{account}{}", url.path());
    let signature = azure_core::hmac::hmac_sha256(&signed, &Secret::new(key.to_owned())).unwrap();
    let request = azurite::client()
        .get(url)
        .header("x-ms-date", date)
        .header("x-ms-version", "2020-12-06")
        .header("accept", "application/json;odata=minimalmetadata")
        .header("authorization", format!("SharedKeyLite {account}:{signature}"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    let mut body: Value = response.json().await.unwrap();
    serde_json::from_value(body["value"].take()).unwrap()
}

/// Gives tokens as Entra does, but without a signature: the emulator checks everything else.
#[derive(Debug, Default)]
pub struct Entra {
    /// The audience of every token; without it the one that is asked for.
    pub audience: Option<&'static str>,
}

#[async_trait::async_trait]
impl TokenCredential for Entra {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let [scope] = scopes else { panic!("one scope: {scopes:?}") };
        let audience = self.audience.unwrap_or(scope.strip_suffix("/.default").expect("a scope of a resource"));
        let (begun, ends) = (now() - Duration::minutes(5), now() + Duration::hours(1));
        let claims = json!({
            "aud": audience,
            "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
            "iat": begun.unix_timestamp(), "nbf": begun.unix_timestamp(), "exp": ends.unix_timestamp(),
        });
        let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.c2lnbmF0dXJl", part(json!({ "alg": "RS256", "typ": "JWT" })), part(claims));
        Ok(AccessToken::new(token, ends))
    }
}
