//! The assertion by which an application proves that it has the key of a certificate, signed with the cryptography that rustls
//! brings.
//!
//! Source: *Microsoft identity platform application authentication certificate credentials*, assertion format: `PS256`, the
//! certificate by the SHA-256 of its DER form in `x5t#S256`, ten minutes of life at most.

use azure_core::Uuid;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

/// For how long an assertion is good.
const LIFE: Duration = Duration::minutes(10);
/// Clocks of two machines differ: one that begins in the future is refused.
const SKEW: Duration = Duration::minutes(2);

/// Why a file is no certificate to sign in with. Nothing of it is quoted: it holds a private key.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidCertificate {
    #[error("it is a PKCS #12 file (.pfx, .p12)")]
    Pkcs12,
    #[error("it has no certificate (BEGIN CERTIFICATE)")]
    NoCertificate,
    #[error("it has no private key that is not encrypted (BEGIN PRIVATE KEY)")]
    NoKey,
    #[error("its private key cannot be used; RSA with 2048 bits or more is needed")]
    Key,
}

impl InvalidCertificate {
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Pkcs12 | Self::NoKey | Self::NoCertificate => {
                "AZURE_CLIENT_CERTIFICATE_PATH takes a PEM file with certificate and private key: openssl pkcs12 -in FILE.pfx -nodes -out FILE.pem"
            }
            Self::Key => {
                "make a certificate with an RSA key and give it to the application: az ad app credential reset --id CLIENT_ID --create-cert --append"
            }
        }
    }
}

/// An assertion for `audience`, the URL of the token endpoint, by the first certificate of a PEM text.
pub(super) fn assertion(
    pem: &str,
    client_id: &str,
    audience: &str,
    now: OffsetDateTime,
) -> Result<String, InvalidCertificate> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| InvalidCertificate::NoCertificate)?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| InvalidCertificate::NoKey)?;
    let key = any_supported_type(&key).map_err(|_| InvalidCertificate::Key)?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).ok_or(InvalidCertificate::Key)?;
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate));
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": Uuid::new_v4().to_string(),
        "nbf": (now - SKEW).unix_timestamp(),
        "exp": (now + LIFE - SKEW).unix_timestamp(),
    });
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = signer.sign(message.as_bytes()).map_err(|_| InvalidCertificate::Key)?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;

    /// Made for this test with OpenSSL; no application has it.
    const PEM: &str = include_str!("certificate/test_only.pem");
    /// What OpenSSL says of it: thumbprint, and public key.
    const THUMBPRINT: &str = "pdUFFJEr-IenRMXNaCbxapFTbZdh02zFfDjCqfuRSWI";
    const PUBLIC_KEY: &str = "MIIBCgKCAQEA0yFaPp9k2jq1A3LkhFccGp1Xjo/ToCrGTBAxTThHVf06eQgcydSLDgEarPABu/XOa6C1TFkhyLr2sIOTdMnJpyVCVJpyzB7ZbAi3eK5FOzpl3P4yvMy/1zj3UVlqw7V1For0RPdbqLn/qPMTLcmjLMvtjRjIFIHVwXvuIifbsgFm9o7LOHS+JawpgCCzAUaykEyjIHHkRAdr3LQdxWSo5OusHgTXIovV4xxYwTLqCmbUIlOSumJWg3scXPfacYJMm8S67S2A3xDiGMnzOT/Paxc/ItZPYwjXCTEkflJGLArbx1FuezxktWA25SHC8e10BtLAq76iUVZSfLe6i0qPDwIDAQAB";
    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    #[test]
    fn an_assertion_is_signed_with_the_certificates_key_and_names_it() {
        let audience = "https://login.microsoftonline.com/t/oauth2/v2.0/token";
        let assertion = assertion(PEM, "client", audience, NOW).expect("an assertion");
        let parts: Vec<&str> = assertion.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { panic!("{assertion}") };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
        let read = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).expect("JSON");
        assert_eq!(read(header), json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": THUMBPRINT }));
        let mut claims = read(claims);
        let id = claims["jti"].take();
        assert!(id.as_str().is_some_and(|id| Uuid::parse_str(id).is_ok()), "{id}");
        let times = (NOW - Duration::minutes(2), NOW + Duration::minutes(8));
        let (from, until) = (times.0.unix_timestamp(), times.1.unix_timestamp());
        assert_eq!(
            claims,
            json!({ "aud": audience, "iss": "client", "sub": "client", "jti": null, "nbf": from, "exp": until })
        );
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.mapping;
        let (_, algorithms) =
            algorithms.iter().find(|(scheme, _)| *scheme == SignatureScheme::RSA_PSS_SHA256).expect("ring has it");
        let key = STANDARD.decode(PUBLIC_KEY).expect("base64");
        let (signed, _) = assertion.rsplit_once('.').expect("three parts");
        let good = |message: &str| algorithms[0].verify_signature(&key, message.as_bytes(), &decoded(signature));
        assert!(good(signed).is_ok());
        assert!(good(&signed[1..]).is_err(), "it is of this text");
    }

    #[test]
    fn what_is_no_certificate_with_its_key_is_told_without_quoting_it() {
        let (key, certificate) = PEM.split_once("-----BEGIN CERTIFICATE-----").expect("two parts");
        let certificate = format!("-----BEGIN CERTIFICATE-----{certificate}");
        let locked = PEM.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let elliptic = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        for (pem, expected) in [
            ("", "no certificate"),
            ("nothing", "no certificate"),
            (key, "no certificate"),
            (&certificate, "no private key"),
            (&locked, "no private key"),
            (&format!("{certificate}{elliptic}"), "RSA"),
        ] {
            let why = assertion(pem, "client", "https://login.microsoftonline.com/", NOW).expect_err(expected);
            assert!(why.to_string().contains(expected), "{why}: {expected}");
            assert!(!why.remedy().is_empty());
        }
    }
}
