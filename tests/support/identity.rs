//! The simulator's identity endpoint, asked as App Service's is.

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use time::Duration;

/// A managed identity of the simulator's app.
#[derive(Debug)]
pub struct Identity {
    http: reqwest::Client,
    endpoint: String,
    header: String,
    clock: simulator::Clock,
}

impl Identity {
    /// `endpoint` and `header` as the platform tells an app; `clock` is the one that tokens end by.
    pub fn new(endpoint: String, header: &str, clock: simulator::Clock) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, endpoint, header: header.to_owned(), clock }
    }
}

#[async_trait]
impl TokenCredential for Identity {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let resource = scopes[0].trim_end_matches("/.default");
        let query = [("api-version", "2019-08-01"), ("resource", resource)];
        let url = reqwest::Url::parse_with_params(&self.endpoint, query).unwrap();
        let answer = self.http.get(url).header("X-IDENTITY-HEADER", &self.header).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        Ok(AccessToken::new(token, self.clock.now() + Duration::HOUR))
    }
}
