//! Where OpenTelemetry goes, by the standard's own variables: one of them switches it on for the Functions host and for us.

use std::time::Duration;

use lifecycle::uri::may_carry_secrets;
use url::Url;

use super::problems::Refused;
use super::{HostFacts, Reader, Source, Warning};

/// Base URL of the collector; nothing is sent where this is not set.
pub(super) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Headers that go with each export. They may hold keys: the value is never shown, and asks for https.
pub(super) const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const DISABLED: &str = "OTEL_SDK_DISABLED";
/// The one protocol that is spoken.
const PROTOBUF: &str = "http/protobuf";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The OpenTelemetry collector that traces, metrics and log records are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// Its base URL; signals are sent to `v1/traces`, `v1/metrics` and `v1/logs` below it.
    pub endpoint: Url,
    /// How long one export may take (`OTEL_EXPORTER_OTLP_TIMEOUT`).
    pub timeout: Duration,
    /// What the app is called there.
    pub service: String,
    /// This instance among the app's.
    pub instance: Option<String>,
    /// ARM id of the app.
    pub resource_id: Option<String>,
}

impl Reader<'_> {
    /// The collector, if one is set; and what speaks against its use although it is.
    pub(super) fn otlp(&mut self, host: &HostFacts) -> (Option<Otlp>, Option<Warning>) {
        let Some(text) = self.get(ENDPOINT) else {
            self.understood(ENDPOINT, "off", Source::Default(None));
            return (None, None);
        };
        let has_headers = self.get(HEADERS).is_some();
        let endpoint = match endpoint(&text, has_headers) {
            Ok(endpoint) => endpoint,
            Err(refused) => {
                self.problem(ENDPOINT, Some(&text), refused);
                return (None, None);
            }
        };
        self.understood(ENDPOINT, &text, Source::Variable(ENDPOINT.to_owned()));
        if has_headers {
            // Never what they are: all of it may be a key.
            self.understood(HEADERS, "(set)", Source::Variable(HEADERS.to_owned()));
        }
        if self.get(DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            self.understood(DISABLED, "true", Source::Variable(DISABLED.to_owned()));
            return (None, None);
        }
        // It may be meant for the host, which speaks more: no reason to take no events.
        let protocol = self.get(PROTOCOL).filter(|protocol| protocol != PROTOBUF);
        if let Some(protocol) = protocol {
            return (None, Some(not_spoken(&protocol)));
        }
        let timeout = self.get(TIMEOUT).map_or(Ok(DEFAULT_TIMEOUT), |text| timeout(&text));
        let timeout = timeout.unwrap_or_else(|refused| {
            let text = self.get(TIMEOUT);
            self.problem(TIMEOUT, text.as_deref(), refused);
            DEFAULT_TIMEOUT
        });
        let service = self.get(SERVICE).or_else(|| host.site.clone()).unwrap_or_else(|| "scorekeeper".to_owned());
        let (instance, resource_id) = (host.instance.clone(), host.resource_id.clone());
        (Some(Otlp { endpoint, timeout, service, instance, resource_id }), None)
    }
}

fn endpoint(text: &str, has_headers: bool) -> Result<Url, Refused> {
    let remedy = "write for example `http://127.0.0.1:4318`, or leave it out to send nothing";
    let url = Url::parse(text).map_err(|why| Refused::new(format!("the URL of a collector ({why})"), remedy))?;
    let plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !plain || !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        let expected = "an http or https URL without query, user and password";
        return Err(Refused::new(expected, format!("{remedy}; keys belong into {HEADERS}")));
    }
    if has_headers && !may_carry_secrets(&url) {
        let expected = format!("an https URL, as {HEADERS} is set and may hold keys (http for loopback hosts only)");
        return Err(Refused::new(expected, format!("use https, or remove {HEADERS}")));
    }
    Ok(url)
}

fn timeout(text: &str) -> Result<Duration, Refused> {
    let milliseconds = text.parse().ok().filter(|milliseconds| (1..=60_000).contains(milliseconds));
    milliseconds
        .map(Duration::from_millis)
        .ok_or_else(|| Refused::new("milliseconds from 1 to 60000", "leave it out for 10000"))
}

fn not_spoken(protocol: &str) -> Warning {
    Warning {
        seen: format!(
            "{PROTOCOL} is `{}`, so that nothing is sent to {ENDPOINT}",
            lifecycle::text::one_line(protocol, 40)
        ),
        cause: format!("{PROTOBUF} is the one protocol that is spoken here; the Functions host speaks grpc, too"),
        remedy: format!(
            "set {PROTOCOL} to {PROTOBUF}, which both speak, and the port of {ENDPOINT} to that of http (4318)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::AtStart;
    use super::*;

    const RULES: &str = r#"{"rules": [{"id": "a", "match": {"container": "con"}, "endpoint": {"uri": "https://e.r.inference.ml.azure.com/jobs"}}]}"#;

    fn read(vars: &[(&str, &str)]) -> AtStart {
        let mut all: BTreeMap<String, String> = [("SCOREKEEPER_LEDGER", "embedded:x"), ("SCOREKEEPER_RULES", RULES)]
            .iter()
            .chain(vars)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.retain(|_, value| !value.is_empty());
        AtStart::read(&all, Path::new("/"))
    }

    #[test]
    fn one_setting_switches_it_on_and_without_it_nothing_does() {
        assert_eq!(read(&[(SERVICE, "x"), (PROTOCOL, PROTOBUF), (HEADERS, "k=v")]).otlp, None);
        let on = read(&[(ENDPOINT, "http://collector:4318")]).otlp.expect("on");
        assert_eq!(
            (on.endpoint.as_str(), on.timeout, &*on.service),
            ("http://collector:4318/", DEFAULT_TIMEOUT, "scorekeeper")
        );
        let named =
            read(&[(ENDPOINT, "https://c.example/otlp"), ("WEBSITE_SITE_NAME", "func-scores"), (TIMEOUT, "500")]);
        let named = named.otlp.expect("on");
        assert_eq!((&*named.service, named.timeout), ("func-scores", Duration::from_millis(500)));
        assert_eq!(read(&[(ENDPOINT, "http://c:4318"), (DISABLED, "TRUE")]).otlp, None);
    }

    #[test]
    fn a_protocol_for_the_host_alone_costs_telemetry_and_no_event() {
        let read = read(&[(ENDPOINT, "http://c:4317"), (PROTOCOL, "grpc")]);
        assert_eq!(read.otlp, None);
        let warnings: Vec<String> =
            read.config.expect("it takes events").all_warnings().map(ToString::to_string).collect();
        assert!(warnings.iter().any(|warning| warning.contains("grpc") && warning.contains(PROTOBUF)), "{warnings:?}");
    }

    #[test]
    fn keys_travel_encrypted_or_stay_on_this_machine_and_are_never_shown() {
        const KEY: &str = "api-key=5f2c0e7b";
        for (url, taken) in [
            ("https://c.example", true),
            ("http://127.0.0.1:4318", true),
            ("http://c.example:4318", false),
            ("ftp://c.example", false),
            ("https://user:5f2c0e7b@c.example", false),
            ("https://c.example/?key=5f2c0e7b", false),
            ("c.example:4318", false),
        ] {
            let read = read(&[(ENDPOINT, url), (HEADERS, KEY)]);
            assert_eq!(read.config.is_ok(), taken, "{url}");
            let told = match &read.config {
                Ok(config) => format!("{}{}", config.table(), config.json()),
                Err(problems) => problems.to_string(),
            };
            assert!(told.contains(ENDPOINT) && !told.contains("5f2c0e7b"), "{told}");
        }
    }
}
