//! A request of an orchestrator on its way through the Functions host: handed on as it came, or as an invocation with the request in
//! it, as the real host was seen to do either.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::functions_host::{FunctionsHost, client};

/// A key as the host lets it through to the handler.
pub const KEY: &str = "Zx8kQ2vN4mT7wR1pL9sD3fG6hJ0aUeYi";

/// How the host hands requests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `enableForwardingHttpRequest`: as they came.
    Forwarded,
    /// Neither setting: as JSON.
    Plain,
}

pub const MODES: [Mode; 2] = [Mode::Forwarded, Mode::Plain];

/// What a client was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub status: u16,
    pub location: Option<String>,
    pub retry_after: Option<String>,
    pub continuation: Option<String>,
    pub body: Value,
}

impl Answered {
    /// The kind of a refusal.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// A request, with the key in address and header.
pub struct Request<'a> {
    pub method: Method,
    pub path: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: Option<String>,
}

impl<'a> Request<'a> {
    pub fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, headers: Vec::new(), body: None }
    }

    pub fn post(path: &'a str, body: Option<&Value>) -> Self {
        Self { method: Method::POST, path, headers: Vec::new(), body: body.map(ToString::to_string) }
    }

    pub fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sends it by way of the host.
    pub async fn by(&self, mode: Mode, host: &FunctionsHost) -> Answered {
        let with = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{with}code={KEY}", self.path);
        match mode {
            Mode::Forwarded => self.forwarded(&path, host).await,
            Mode::Plain => self.plain(&path, host).await,
        }
    }

    async fn forwarded(&self, path: &str, host: &FunctionsHost) -> Answered {
        // The client's own Host, as the real one hands it on.
        let mut request = client()
            .request(self.method.clone(), format!("http://127.0.0.1:{}{path}", host.port()))
            .header("Host", "app.example")
            .header("x-functions-key", KEY)
            .header("X-Azure-Functions-InvocationId", "6a5b0c6e");
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = &self.body {
            request = request.header("Content-Type", "application/json").body(body.clone());
        }
        let response = request.send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (location, retry_after) = (header("location"), header("retry-after"));
        let (continuation, status) = (header("x-ms-continuation-token"), response.status().as_u16());
        let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        Answered { status, location, retry_after, continuation, body }
    }

    async fn plain(&self, path: &str, host: &FunctionsHost) -> Answered {
        let mut headers = json!({"Host": ["app.example"], "x-functions-key": [KEY]});
        for (name, value) in &self.headers {
            headers[*name] = json!([value]);
        }
        let mut req = json!({"Url": format!("https://app.example{path}"), "Method": self.method.as_str(), "Query": {"code": KEY}, "Headers": headers, "Params": {"id": null}, "Identities": []});
        if let Some(body) = &self.body {
            req["Headers"]["Content-Length"] = json!([body.len().to_string()]);
            req["Body"] = json!(body);
        }
        let function = if self.path.starts_with("/api/operations") { "Operations" } else { "Scorings" };
        let answer = host.invoke(function, "6a5b0c6e", "req", &req).await;
        // Anything else is an empty 500 to the client.
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let res = &answer.json()["Outputs"]["res"];
        let headers = res["headers"].as_object().unwrap();
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str().unwrap().to_owned())
        };
        Answered {
            status: u16::try_from(res["statusCode"].as_u64().unwrap()).unwrap(),
            location: header("location"),
            retry_after: header("retry-after"),
            continuation: header("x-ms-continuation-token"),
            body: serde_json::from_str(res["body"].as_str().unwrap()).unwrap(),
        }
    }
}
