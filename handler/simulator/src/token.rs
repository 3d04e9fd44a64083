//! A token, opaque to clients: audience, end and a nonce, signed with the identity header. Nothing is kept, so memory does
//! not grow with the tokens and a restart does not end them.

use azure_core::Uuid;
use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::call::Call;
use crate::shared::Shared;

/// Audience `https://ml.azure.com`, without the slash that some clients add.
fn normal(audience: &str) -> String {
    audience.trim_end_matches('/').to_owned()
}

fn sign(shared: &Shared, claims: &str) -> Option<String> {
    let key = Secret::new(STANDARD.encode(&shared.options.identity_header));
    // Fails only for a key that is not base64.
    hmac_sha256(claims, &key).ok()
}

/// A token for an audience and its end in Unix seconds; `None` if it cannot be signed.
pub(super) fn issue(shared: &Shared, audience: &str) -> Option<(String, i64)> {
    let now = shared.options.clock.now();
    let end = (now + shared.options.token_lifetime).unix_timestamp();
    let claims =
        json!({ "aud": normal(audience), "iat": now.unix_timestamp(), "exp": end, "jti": Uuid::new_v4().to_string() })
            .to_string();
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let signature = URL_SAFE_NO_PAD.encode(sign(shared, &claims)?);
    Some((format!("{claims}.{signature}"), end))
}

/// The claims of a token that we signed.
fn claims(shared: &Shared, token: &str) -> Option<Value> {
    let (claims, signature) = token.split_once('.')?;
    if URL_SAFE_NO_PAD.encode(sign(shared, claims)?) != signature {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// How long ago the call's token was issued.
pub(super) fn age(shared: &Shared, call: &Call, now: OffsetDateTime) -> Option<time::Duration> {
    let token = call.header("authorization")?.strip_prefix("Bearer ")?;
    let issued = OffsetDateTime::from_unix_timestamp(claims(shared, token)?["iat"].as_i64()?).ok()?;
    Some(now - issued)
}

/// The audience of a token that we signed and that is still good.
pub(super) fn audience(shared: &Shared, token: &str) -> Option<String> {
    let claims = claims(shared, token)?;
    let good = claims["exp"].as_i64()? > shared.options.clock.now().unix_timestamp();
    good.then(|| claims["aud"].as_str().map(str::to_owned)).flatten()
}
