//! Storage accounts that the app has for itself: those of the Functions host.

use lifecycle::id::AccountName;
use url::Url;

use super::Reader;

const ACCOUNT: &str = "AzureWebJobsStorage__accountName";
const SERVICES: [&str; 3] = [
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
];

impl Reader<'_> {
    /// As the host's own settings name them; none for an emulator.
    pub(super) fn own_accounts(&self) -> Vec<AccountName> {
        let of_uri = |name: &&str| {
            let url = Url::parse(&self.get(name)?).ok().filter(|url| url.scheme() == "https")?;
            url.host_str()?.split('.').next().map(str::to_owned)
        };
        let named = SERVICES.iter().filter_map(of_uri).chain(self.get(ACCOUNT));
        let mut own: Vec<AccountName> = named.filter_map(|name| name.trim().parse().ok()).collect();
        own.dedup();
        own
    }
}
