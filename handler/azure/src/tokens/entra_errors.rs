//! What to do about a refusal of Microsoft Entra ID, by the code that its sentence begins with.
//!
//! Source: *Microsoft Entra authentication and authorization error codes*.

/// Codes, and what to do. The first that is found counts.
const REMEDIES: [(&[&str], &str); 10] = [
    (
        &["AADSTS7000222"],
        "the client secret has expired: make a new one (az ad app credential reset --id CLIENT_ID --append) and put it into AZURE_CLIENT_SECRET",
    ),
    (
        &["AADSTS7000215"],
        "AZURE_CLIENT_SECRET is not a secret of this application; its value is needed, not the id of the secret",
    ),
    (
        &["AADSTS700016", "AADSTS7000229"],
        "the tenant does not know the application: check AZURE_CLIENT_ID and AZURE_TENANT_ID; in a tenant of its own it needs a service principal (az ad sp create --id CLIENT_ID)",
    ),
    (
        &["AADSTS90002", "AADSTS900021", "AADSTS900023"],
        "there is no such tenant: check AZURE_TENANT_ID, and AZURE_CLOUD if the tenant is in another cloud",
    ),
    (
        &["AADSTS700027", "AADSTS700030", "AADSTS7000214", "AADSTS1000502"],
        "the application does not know this certificate, or it has expired: give it its public part (az ad app credential reset --id CLIENT_ID --cert @FILE --append)",
    ),
    (
        &["AADSTS70021", "AADSTS700211", "AADSTS700212", "AADSTS700213"],
        "no federated credential of the application fits issuer, subject and audience of the token: az ad app federated-credential list --id CLIENT_ID; of a managed identity the subject is its object id, and its tenant that of the application's registration",
    ),
    (
        &["AADSTS700024"],
        "the assertion is too old or of the future: check the clock of this machine, and that the federated token file is renewed",
    ),
    (
        &["AADSTS53003", "AADSTS530003", "AADSTS53000", "AADSTS53001", "AADSTS53004", "AADSTS530032", "AADSTS530034"],
        "a Conditional Access policy of the tenant refuses this sign-in: its administrator finds it in the sign-in logs, and exempts the workload or names its location",
    ),
    (
        &["AADSTS500011", "AADSTS500014", "AADSTS650052", "AADSTS1002012", "AADSTS70011"],
        "the tenant does not know the service that the token is for: check AZURE_CLOUD, which chooses the names of the services",
    ),
    (
        &["AADSTS7000112", "AADSTS50105", "AADSTS501051"],
        "the application is disabled, or nothing is assigned to it: its administrator enables it under Enterprise applications",
    ),
];

/// What to do about a refusal with this sentence.
pub(super) fn remedy(message: &str) -> &'static str {
    let code = message.split(':').next().unwrap_or_default().trim();
    let found = REMEDIES.iter().find(|(codes, _)| codes.contains(&code));
    found.map_or(
        "check AZURE_TENANT_ID, AZURE_CLIENT_ID and the secret, certificate or token file that is set beside them",
        |(_, remedy)| remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_whole_and_stands_in_one_row() {
        let all: Vec<&str> = REMEDIES.iter().flat_map(|(codes, _)| *codes).copied().collect();
        let unique: std::collections::BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(unique.len(), all.len());
        assert!(remedy("AADSTS7000222: The provided client secret keys are expired.").contains("has expired"));
        assert!(remedy("AADSTS700021: something else").starts_with("check AZURE_TENANT_ID"));
        assert!(remedy("").starts_with("check AZURE_TENANT_ID"));
    }
}
