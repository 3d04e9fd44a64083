//! Where tokens are asked for: the managed identity's endpoint (App Service, api-version 2019-08-01) and the
//! client-credentials grant of Entra, v1 and v2. What a token is stands in `token.rs`.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use azure_core::Uuid;
use serde_json::json;

use crate::answer::{json, plain};
use crate::call::Call;
use crate::shared::Shared;
use crate::token::issue;

/// Bytes of a form that are read.
const MAX_FORM: usize = 16 * 1024;

/// Which version of Entra's token endpoint is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// The form names a `resource`; numbers in the answer are strings.
    V1,
    /// The form names a `scope`; numbers in the answer are numbers.
    V2,
}

/// Answers a managed identity as App Service does; `X-IDENTITY-HEADER` must be the one of the options.
pub(super) fn managed(shared: &Shared, call: &Call) -> Response {
    let refuse =
        |status: StatusCode, message: &str| json(status, &json!({ "statusCode": status.as_u16(), "message": message }));
    if call.header("x-identity-header") != Some(shared.options.identity_header.as_str()) {
        return refuse(StatusCode::UNAUTHORIZED, "X-IDENTITY-HEADER is missing or wrong");
    }
    if call.query("api-version") != Some("2019-08-01") {
        return refuse(StatusCode::BAD_REQUEST, "api-version must be 2019-08-01");
    }
    let Some(resource) = call.query("resource").filter(|resource| !resource.is_empty()) else {
        return refuse(StatusCode::BAD_REQUEST, "resource is missing");
    };
    let Some((token, end)) = issue(shared, resource) else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the token cannot be signed");
    };
    let client = call.query("client_id").map_or_else(|| Uuid::nil().to_string(), str::to_owned);
    json(
        StatusCode::OK,
        &json!({
            "access_token": token,
            "expires_on": end.to_string(),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": client,
        }),
    )
}

/// Answers the client-credentials grant; any id and secret will do, unless the options name a service principal.
pub(super) async fn client(shared: &Shared, body: Body, version: Version) -> Response {
    let refuse = |status, error: &str, description: &str| {
        json(status, &json!({ "error": error, "error_description": description }))
    };
    let Ok(form) = axum::body::to_bytes(body, MAX_FORM).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large.");
    };
    let field =
        |name: &str| url::form_urlencoded::parse(&form).find(|(n, _)| n == name).map(|(_, value)| value.into_owned());
    if field("grant_type").as_deref() != Some("client_credentials") {
        return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", "AADSTS70003: use client_credentials");
    }
    let (id, secret) = (field("client_id").unwrap_or_default(), field("client_secret").unwrap_or_default());
    let known = shared.options.client.as_ref().is_none_or(|client| client.id == id && client.secret == secret);
    if id.is_empty() || secret.is_empty() || !known {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client", "AADSTS7000215: Invalid client secret provided.");
    }
    let audience = match version {
        Version::V1 => field("resource"),
        Version::V2 => field("scope").and_then(|scope| scope.strip_suffix("/.default").map(str::to_owned)),
    };
    let Some(audience) = audience.filter(|audience| !audience.is_empty()) else {
        let (error, text) = match version {
            Version::V1 => ("invalid_resource", "AADSTS500011: the resource is missing"),
            Version::V2 => ("invalid_scope", "AADSTS70011: the scope must end in /.default"),
        };
        return refuse(StatusCode::BAD_REQUEST, error, text);
    };
    let Some((token, end)) = issue(shared, &audience) else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the token cannot be signed");
    };
    let left = shared.options.token_lifetime.as_secs();
    let body = match version {
        Version::V1 => json!({
            "token_type": "Bearer",
            "expires_in": left.to_string(),
            "ext_expires_in": left.to_string(),
            "expires_on": end.to_string(),
            "resource": audience,
            "access_token": token,
        }),
        Version::V2 => {
            json!({ "token_type": "Bearer", "expires_in": left, "ext_expires_in": left, "access_token": token })
        }
    };
    json(StatusCode::OK, &body)
}
