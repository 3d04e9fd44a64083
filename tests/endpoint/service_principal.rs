//! A service principal before a Microsoft Entra ID of the test, which looks at what it is sent.

use azure::tokens::{Identity, MachineLearning, Proof, ServicePrincipal};
use reqwest::Url;
use serde_json::Value;

use super::*;
use crate::support::canned::{self, Canned};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/azure/src/tokens/certificate/test_only.pem");

fn tokens(server: &Canned, proof: Proof) -> Tokens<MachineLearning> {
    let principal = ServicePrincipal {
        authority: server.url("/").parse().unwrap(),
        tenant: "contoso.com".to_owned(),
        client_id: "client-7".to_owned(),
        proof,
    };
    Tokens::of_resource(Identity::ServicePrincipal(principal).source(), clock(), "https://ml.azure.us")
}

/// The fields of a form, without those that all requests have.
fn sent(request: &canned::Recorded) -> Vec<(String, String)> {
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let common =
        [("grant_type", "client_credentials"), ("client_id", "client-7"), ("scope", "https://ml.azure.us/.default")];
    for (name, value) in common {
        assert!(fields.iter().any(|(n, v)| n == name && v == value), "{name}: {fields:?}");
    }
    fields.into_iter().filter(|(name, _)| !common.iter().any(|(common, _)| common == name)).collect()
}

fn issued(token: &str) -> canned::Answer {
    canned::json(200, &json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": token }))
}

async fn bearer(tokens: &Tokens<MachineLearning>) -> String {
    let url = Url::parse("https://x.example/").unwrap();
    tokens.get().await.unwrap().bearer_for(&url).unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_proof_is_sent_to_the_tenant_of_the_authority_as_the_protocol_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let server = Canned::start().await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let assertion_type = pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let federated = file("token", "eyJ.federated.token\n");
    for (proof, expected) in [
        (Proof::Secret("s3+cr/et~".into()), vec![pair("client_secret", "s3+cr/et~")]),
        (Proof::SecretFile(file("secret", "in-a-file\r\n")), vec![pair("client_secret", "in-a-file")]),
        (
            Proof::FederatedToken(federated.clone()),
            vec![pair("client_assertion", "eyJ.federated.token"), assertion_type.clone()],
        ),
    ] {
        server.next(issued("one"));
        assert_eq!(bearer(&tokens(&server, proof)).await, "Bearer one");
        let request = server.requests().pop().unwrap();
        assert_eq!(request.target, "/contoso.com/oauth2/v2.0/token");
        assert_eq!(sent(&request), expected);
    }
    // What is rotated is read again, without a restart.
    let tokens = tokens(&server, Proof::FederatedToken(federated));
    server.next(issued("one")).next(issued("two"));
    let first = tokens.get().await.unwrap();
    file("token", "eyJ.rotated.token");
    tokens.forget(&first);
    assert_eq!(bearer(&tokens).await, "Bearer two");
    assert_eq!(sent(&server.requests().pop().unwrap())[0], pair("client_assertion", "eyJ.rotated.token"));
}

#[tokio::test]
async fn a_certificate_signs_an_assertion_for_this_token_endpoint_alone() {
    let server = Canned::start().await;
    server.next(issued("one"));
    assert_eq!(bearer(&tokens(&server, Proof::Certificate(CERTIFICATE.into()))).await, "Bearer one");
    let fields = sent(&server.requests().pop().unwrap());
    let assertion = &fields.iter().find(|(name, _)| name == "client_assertion").unwrap().1;
    let part = |index: usize| -> Value {
        use base64::Engine as _;
        let part = assertion.split('.').nth(index).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    // The thumbprint that OpenSSL tells of the certificate.
    assert_eq!(part(0)["x5t#S256"], "pdUFFJEr-IenRMXNaCbxapFTbZdh02zFfDjCqfuRSWI");
    assert_eq!(part(1)["aud"], server.url("/contoso.com/oauth2/v2.0/token"));
    assert_eq!((&part(1)["iss"], &part(1)["sub"]), (&json!("client-7"), &json!("client-7")));
}

#[tokio::test]
async fn a_refusal_gives_cause_and_remedy_is_not_repeated_and_quotes_no_secret() {
    for (status, code, text, remedy) in [
        (401, 7_000_222, "The provided client secret keys for app 'client-7' are expired.", "has expired"),
        (401, 7_000_215, "Invalid client secret provided.", "not the id of the secret"),
        (400, 700_016, "Application with identifier 'client-7' was not found.", "AZURE_TENANT_ID"),
        (400, 90_002, "Tenant 'contoso.com' not found.", "AZURE_CLOUD"),
        (
            401,
            700_027,
            "The certificate with identifier used to sign the client assertion is not registered.",
            "public part",
        ),
        (400, 700_213, "No matching federated identity record found.", "federated-credential list"),
        (401, 700_024, "Client assertion is not within its valid time range.", "clock"),
        (400, 53_003, "Access has been blocked by Conditional Access policies.", "Conditional Access policy"),
        (400, 500_011, "The resource principal named https://ml.azure.us was not found in the tenant.", "AZURE_CLOUD"),
        (400, 1, "Something new.", "AZURE_CLIENT_ID"),
    ] {
        let server = Canned::start().await;
        let description = format!("AADSTS{code}: {text} Trace ID: 1111 Correlation ID: 2222 Timestamp: 2026-07-21");
        let body = json!({ "error": "invalid_client", "error_description": description, "error_codes": [code] });
        server.next(canned::json(status, &body));
        let error = tokens(&server, Proof::Secret("PLANTED".into())).get().await.unwrap_err().to_string();
        assert!(error.contains("https://ml.azure.us") && error.contains("Microsoft Entra ID answered"), "{error}");
        assert!(error.contains(&format!("AADSTS{code}")) && error.contains(remedy), "{error}");
        assert!(!error.contains("PLANTED") && !error.contains("Trace ID"), "{error}");
        assert_eq!(server.requests().len(), 1, "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_with_its_file_and_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let server = Canned::start().await;
    for (proof, said, remedy) in [
        (Proof::SecretFile(folder.path().join("none")), "none cannot be read", "check the path"),
        (Proof::SecretFile(file("empty", b" \n")), "is empty", "check the path"),
        (Proof::FederatedToken(file("large", &vec![b'a'; 70_000])), "larger than", "check the path"),
        (Proof::Certificate(file("a.pem", b"nothing")), "no certificate", "openssl pkcs12"),
        (Proof::Certificate(file("a.pfx", &[0x30, 0x82, 0xff])), "PKCS #12", "openssl pkcs12"),
        (
            Proof::Secret("@Microsoft.KeyVault(SecretUri=https://v/s)".into()),
            "Key Vault reference",
            "Key Vault Secrets User",
        ),
    ] {
        let error = tokens(&server, proof).get().await.unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(remedy), "{said}: {error}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_secret_goes_to_no_authority_in_the_clear() {
    let principal = ServicePrincipal {
        authority: "http://login.example.com/".parse().unwrap(),
        tenant: "contoso.com".to_owned(),
        client_id: "client-7".to_owned(),
        proof: Proof::Secret("PLANTED".into()),
    };
    let tokens = Tokens::<MachineLearning>::new(Identity::ServicePrincipal(principal).source(), clock());
    let error = tokens.get().await.unwrap_err().to_string();
    assert!(error.contains("AZURE_AUTHORITY_HOST") && !error.contains("PLANTED"), "{error}");
}
