//! What differs between Azure's clouds.

use azure::resource_manager::PUBLIC_CLOUD;
use lifecycle::MlDomains;
use url::Url;

/// What differs between Azure's public cloud and the sovereign ones: addresses, domains and audiences of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AzureCloudFacts {
    /// Its name, as the Azure CLI has it.
    pub name: &'static str,
    /// Base URL of its Microsoft Entra ID, where service principals get their tokens.
    pub authority: &'static str,
    /// The audience of a managed identity's token by which an application there proves who it is.
    pub token_exchange: &'static str,
    /// Its Resource Manager, which is also the audience of tokens for it.
    pub resource_manager: &'static str,
    /// What follows `ACCOUNT.blob.` in the host names of its storage accounts.
    pub storage_domain: &'static str,
    /// The audience of tokens for Azure Machine Learning.
    pub ml_audience: &'static str,
    /// Where its batch endpoints are.
    pub ml: MlDomains,
}

/// The clouds that there are.
const CLOUDS: [AzureCloudFacts; 3] = [
    AzureCloudFacts {
        name: "AzureCloud",
        authority: "https://login.microsoftonline.com",
        token_exchange: "api://AzureADTokenExchange",
        resource_manager: PUBLIC_CLOUD,
        storage_domain: "core.windows.net",
        ml_audience: "https://ml.azure.com",
        ml: MlDomains { inference: "inference.ml.azure.com", api: "api.azureml.ms" },
    },
    AzureCloudFacts {
        name: "AzureChinaCloud",
        authority: "https://login.chinacloudapi.cn",
        token_exchange: "api://AzureADTokenExchangeChina",
        resource_manager: "https://management.chinacloudapi.cn",
        storage_domain: "core.chinacloudapi.cn",
        ml_audience: "https://ml.azure.cn",
        ml: MlDomains { inference: "inference.ml.azure.cn", api: "api.ml.azure.cn" },
    },
    AzureCloudFacts {
        name: "AzureUSGovernment",
        authority: "https://login.microsoftonline.us",
        token_exchange: "api://AzureADTokenExchangeUSGov",
        resource_manager: "https://management.usgovcloudapi.net",
        storage_domain: "core.usgovcloudapi.net",
        ml_audience: "https://ml.azure.us",
        ml: MlDomains { inference: "inference.ml.azure.us", api: "api.ml.azure.us" },
    },
];

impl AzureCloudFacts {
    /// The cloud of this Resource Manager; `None` for one of somebody's own, such as the simulator's.
    pub fn of(resource_manager: &Url) -> Option<&'static Self> {
        let address = resource_manager.as_str().trim_end_matches('/');
        CLOUDS.iter().find(|cloud| cloud.resource_manager == address)
    }

    /// The cloud of this name; SDKs call the public one `AzurePublicCloud` and `AzurePublic`, too.
    pub fn named(name: &str) -> Option<&'static Self> {
        let known = match name.to_ascii_lowercase().as_str() {
            "azurepublic" | "azurepubliccloud" => "AzureCloud",
            "azurechina" => "AzureChinaCloud",
            "azuregovernment" | "azureusgovernmentcloud" => "AzureUSGovernment",
            _ => name,
        };
        CLOUDS.iter().find(|cloud| cloud.name.eq_ignore_ascii_case(known))
    }
}
