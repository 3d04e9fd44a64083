//! A request to an HTTP function on its way through the Functions host: handed on as it came, or as an invocation with the request in
//! it, as the real host was seen to do either.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Value, json};

use super::functions_host::{FunctionsHost, client};

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

/// What a client was answered, as it came: names of headers in lower case.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

/// A request, with the key in address and header.
pub struct Request<'a> {
    pub method: Method,
    pub path: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: Option<String>,
    pub kind: &'static str,
}

impl<'a> Request<'a> {
    pub fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, headers: Vec::new(), body: None, kind: "" }
    }

    pub fn post(path: &'a str, body: Option<&Value>) -> Self {
        Self {
            method: Method::POST,
            path,
            headers: Vec::new(),
            body: body.map(ToString::to_string),
            kind: "application/json",
        }
    }

    /// A form, as a browser sends it.
    pub fn form(path: &'a str, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = "application/x-www-form-urlencoded";
        Self { method: Method::POST, path, headers: Vec::new(), body: Some(body), kind }
    }

    pub fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sends it by way of the host to a function that answers JSON.
    pub async fn by(&self, mode: Mode, host: &FunctionsHost) -> Answered {
        let Raw { status, headers, text } = self.raw(mode, host).await;
        let header = |name: &str| headers.get(name).cloned();
        Answered {
            status,
            location: header("location"),
            retry_after: header("retry-after"),
            continuation: header("x-ms-continuation-token"),
            body: serde_json::from_str(&text).unwrap(),
        }
    }

    /// Sends it by way of the host.
    pub async fn raw(&self, mode: Mode, host: &FunctionsHost) -> Raw {
        let with = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{with}code={KEY}", self.path);
        match mode {
            Mode::Forwarded => self.forwarded(&path, host).await,
            Mode::Plain => self.plain(&path, host).await,
        }
    }

    async fn forwarded(&self, path: &str, host: &FunctionsHost) -> Raw {
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
            request = request.header("Content-Type", self.kind).body(body.clone());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let told = response.headers().iter();
        let headers = told.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        Raw { status, headers, text: response.text().await.unwrap() }
    }

    async fn plain(&self, path: &str, host: &FunctionsHost) -> Raw {
        let mut headers = json!({"Host": ["app.example"], "x-functions-key": [KEY]});
        for (name, value) in &self.headers {
            headers[*name] = json!([value]);
        }
        let mut req = json!({"Url": format!("https://app.example{path}"), "Method": self.method.as_str(), "Query": {"code": KEY}, "Headers": headers, "Params": {"id": null}, "Identities": []});
        if let Some(body) = &self.body {
            req["Headers"]["Content-Length"] = json!([body.len().to_string()]);
            req["Body"] = json!(body);
        }
        let function = match self.path.split(['/', '?']).nth(2) {
            Some("operations") => "Operations",
            Some(ops) if ops.eq_ignore_ascii_case("ops") => "Page",
            _ => "Scorings",
        };
        let answer = host.invoke(function, "6a5b0c6e", "req", &req).await;
        // Anything else is an empty 500 to the client.
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let res = &answer.json()["Outputs"]["res"];
        let headers = res["headers"].as_object().unwrap().iter();
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()));
        Raw {
            status: u16::try_from(res["statusCode"].as_u64().unwrap()).unwrap(),
            headers: headers.collect(),
            text: res["body"].as_str().unwrap().to_owned(),
        }
    }
}
