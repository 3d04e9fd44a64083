//! Hosts that a token for Azure Machine Learning may go to. A rule and a row of the ledger name the endpoint, an answer names
//! the run history: so only the cloud's own hosts are asked, and those that a setting names.

use std::collections::BTreeSet;

use url::Url;

use crate::uri::is_loopback;

/// A host that is none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{host}` is no host of a batch endpoint of this cloud ({expected}), and SCOREKEEPER_ENDPOINT_HOSTS does not name it"
)]
pub struct ForeignEndpointHost {
    /// The host that was to be asked.
    pub host: String,
    /// What the hosts of this cloud look like.
    expected: String,
}

/// Where a cloud has its batch endpoints and the services behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MlDomains {
    /// What follows `ENDPOINT.REGION.` in an invoke URI (`inference.ml.azure.com`).
    pub inference: &'static str,
    /// What follows `REGION.` at the run history, and in the path form of an invoke URI (`api.azureml.ms`).
    pub api: &'static str,
}

/// Hosts that a token for Azure Machine Learning may go to. The default permits this machine alone, where no token leaves
/// it: what answers there is the simulator, or a tunnel of whoever set it up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointHosts {
    cloud: Option<MlDomains>,
    named: BTreeSet<String>,
}

impl EndpointHosts {
    /// Those of a cloud: `ENDPOINT.REGION.` before its inference domain, `REGION.` before that of its services.
    pub fn of_cloud(domains: MlDomains) -> Self {
        Self { cloud: Some(domains), named: BTreeSet::new() }
    }

    /// And this host: a gateway or a custom domain before an endpoint.
    #[must_use]
    pub fn and(mut self, host: &str) -> Self {
        self.named.insert(host.to_ascii_lowercase());
        self
    }

    /// Whether a token may go to this URL's host.
    pub fn check(&self, url: &Url) -> Result<(), ForeignEndpointHost> {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let of_cloud = |MlDomains { inference, api }| labels(&host, inference) == 2 || labels(&host, api) == 1;
        if is_loopback(url) || self.named.contains(&host) || self.cloud.is_some_and(of_cloud) {
            return Ok(());
        }
        let expected = self.cloud.map_or_else(
            || "which has none that are known".to_owned(),
            |domains| format!("ENDPOINT.REGION.{}", domains.inference),
        );
        Err(ForeignEndpointHost { host, expected })
    }
}

/// How many labels stand before the domain; 0 if it is another one, or if what stands there is no name.
fn labels(host: &str, domain: &str) -> usize {
    let Some(front) = host.strip_suffix(domain).and_then(|front| front.strip_suffix('.')) else { return 0 };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if front.split('.').all(is_label) { front.split('.').count() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: MlDomains = MlDomains { inference: "inference.ml.azure.com", api: "api.azureml.ms" };
    const CHINA: MlDomains = MlDomains { inference: "inference.ml.azure.cn", api: "api.ml.azure.cn" };

    fn permits(hosts: &EndpointHosts, url: &str) -> bool {
        hosts.check(&Url::parse(url).expect("a URL")).is_ok()
    }

    #[test]
    fn the_clouds_own_endpoint_hosts_are_permitted_and_those_of_no_other_cloud() {
        let (public, china) = (EndpointHosts::of_cloud(PUBLIC), EndpointHosts::of_cloud(CHINA));
        for url in [
            "https://heart.westeurope.inference.ml.azure.com/jobs",
            "https://HEART.WestEurope.inference.ml.azure.com./jobs",
            "https://westeurope.api.azureml.ms/history/v1.0",
        ] {
            assert!(permits(&public, url) && !permits(&china, url), "{url}");
        }
        for url in ["https://heart.chinaeast2.inference.ml.azure.cn/jobs", "https://chinaeast2.api.ml.azure.cn/history"]
        {
            assert!(permits(&china, url) && !permits(&public, url), "{url}");
        }
    }

    #[test]
    fn a_token_for_azure_ml_goes_to_no_other_host() {
        let hosts = EndpointHosts::of_cloud(PUBLIC).and("ml-gateway.contoso.example");
        for url in [
            "https://heart.westeurope.inference.ml.azure.com.evil.example/jobs",
            "https://evil.example/heart.westeurope.inference.ml.azure.com/jobs",
            "https://heart.westeurope.inference.ml.azure.com@evil.example/jobs",
            "https://heart.westeurope.evilinference.ml.azure.com/jobs",
            "https://inference.ml.azure.com/jobs",
            "https://heart.inference.ml.azure.com/jobs",
            "https://a.heart.westeurope.inference.ml.azure.com/jobs",
            "https://x.westeurope.api.azureml.ms/",
            "https://x.ml-gateway.contoso.example/jobs",
            "https://169.254.169.254/jobs",
        ] {
            assert!(!permits(&hosts, url), "{url}");
        }
        assert!(permits(&hosts, "https://ML-Gateway.contoso.example/jobs"));
    }

    #[test]
    fn this_machine_is_always_permitted_and_a_foreign_host_is_told_with_the_remedy() {
        let none = EndpointHosts::default();
        assert!(
            permits(&none, "http://127.0.0.1:7071/endpoints/heart/jobs") && permits(&none, "http://localhost:1/jobs")
        );
        let why = EndpointHosts::of_cloud(PUBLIC).check(&Url::parse("https://e.example/jobs").expect("a URL"));
        let why = why.expect_err("foreign").to_string();
        for part in ["`e.example`", "ENDPOINT.REGION.inference.ml.azure.com", "SCOREKEEPER_ENDPOINT_HOSTS"] {
            assert!(why.contains(part), "{why}");
        }
    }
}
