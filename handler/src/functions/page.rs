//! `Page`: the page behind App Service Authentication, for whoever has a role in its app registration.
//!
//! Browsers send no key, so the host checks none here (`authLevel: anonymous`), and everything hangs on the sign-in: without the
//! operator's setting that the platform asks for it, and the platform's own word that it does, nothing is shown to anybody, as a
//! principal's header may then be anybody's. A form is believed by a cookie that only this page's own answers set, and that browsers do
//! not send with what another site posts: instances come and go, so that none of them can keep a token.

use std::sync::Arc;

use app::ports::Clock;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use azure_core::Uuid;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Deserialize;
use tower::ServiceExt as _;

use super::http::{HttpAnswer, HttpRequest};
use super::{Failure, Function};
use crate::config::{LedgerLocation, WhichLedger};
use crate::page::{self, Live, Measured, PageOptions};
use crate::rules_in_blob::CurrentApp;

/// The first segment of the page's path below the host's prefix: no other function's, as the host takes the first route that
/// matches, by the alphabet of functions' names.
pub const ROUTE: &str = "ops";
/// The role that may look.
const READER: &str = "Reader";
/// The role that may look, and order.
const OPERATOR: &str = "Operator";
/// `__Host-`: no other host, and no page of another path, can set it.
const COOKIE: &str = "__Host-scorekeeper-form";
/// Seconds between two looks: each is an invocation.
const REFRESH: u32 = 15;
/// A page is cut by its rows; nothing that is shown comes near.
const MAX_PAGE: usize = 16 << 20;

/// Whether there is a page, what it is about, and whom it is shown to.
#[derive(Clone)]
pub struct PageAccess {
    /// An operator has opened it.
    pub on: bool,
    /// The platform lets nobody in who has not signed in, and says who that is.
    pub signed_in: bool,
    /// Where the ledger lies, for the commands that the page runs.
    pub place: LedgerLocation,
    /// The options that name this ledger in the commands which the page shows.
    pub which: WhichLedger,
}

/// Whoever has signed in, as App Service says it.
#[derive(Deserialize)]
struct Principal {
    #[serde(default)]
    claims: Vec<Claim>,
    #[serde(default)]
    role_typ: Option<String>,
}

#[derive(Deserialize)]
struct Claim {
    typ: String,
    val: String,
}

impl Principal {
    /// Out of the header; `None`: there is none, or it is no principal.
    fn read(header: &str) -> Option<Self> {
        serde_json::from_slice(&STANDARD.decode(header.trim()).ok()?).ok()
    }

    fn has(&self, role: &str) -> bool {
        let is_of_roles = |typ: &str| typ == "roles" || self.role_typ.as_deref() == Some(typ);
        self.claims.iter().any(|claim| is_of_roles(&claim.typ) && claim.val == role)
    }
}

/// What whoever looks may do: look alone, or also give orders, which the history tells of by this name.
#[derive(Debug, PartialEq, Eq)]
enum Viewer {
    Reader,
    Operator(String),
}

impl PageAccess {
    /// Who asks, or why nobody is answered.
    fn viewer(&self, request: &HttpRequest) -> Result<Viewer, HttpAnswer> {
        if !self.on {
            let why = "the page is switched off; SCOREKEEPER_PAGE=on opens it to whoever signs in";
            return Err(HttpAnswer::problem(404, "SwitchedOff", why));
        }
        if !self.signed_in {
            let why = "the page is shown behind App Service Authentication alone; deploy with app.authentication, which switches that on";
            return Err(HttpAnswer::problem(403, "NoSignIn", why));
        }
        let principal = request.header("x-ms-client-principal").and_then(|header| Principal::read(&header));
        let name = request.header("x-ms-client-principal-name").filter(|name| !name.trim().is_empty());
        let Some((principal, name)) = principal.zip(name) else {
            return Err(HttpAnswer::problem(401, "NotSignedIn", "sign in: App Service Authentication is required"));
        };
        if principal.has(OPERATOR) {
            Ok(Viewer::Operator(name))
        } else if principal.has(READER) {
            Ok(Viewer::Reader)
        } else {
            let why = format!(
                "you have signed in and have neither role here: ask for {READER} or {OPERATOR} of the app registration"
            );
            Err(HttpAnswer::problem(403, "NoRole", &why))
        }
    }
}

/// Makes the function that shows the page of the ledger. What fails is an answer with an HTTP status, never a failed invocation.
pub fn page(app: impl Into<CurrentApp>, access: PageAccess) -> impl Function<HttpRequest, Output = HttpAnswer> {
    let (app, access, measured) = (app.into(), Arc::new(access), Measured::default());
    service_fn(move |LambdaEvent { payload, .. }: LambdaEvent<HttpRequest>| {
        let (app, access, measured) = (app.clone(), Arc::clone(&access), measured.clone());
        async move {
            let answered = answer(&app, &access, measured, &payload).await;
            Ok::<_, Failure>(answered.unwrap_or_else(|refused| refused))
        }
    })
}

async fn answer(
    app: &CurrentApp,
    access: &PageAccess,
    measured: Measured,
    request: &HttpRequest,
) -> Result<HttpAnswer, HttpAnswer> {
    let viewer = access.viewer(request)?;
    let Some(path) = request.below(ROUTE) else {
        // Relative links would lead out of the page's own path. Of the address nothing is known but its end.
        return Ok(HttpAnswer::json(302, &serde_json::json!({})).with("Location", format!("{ROUTE}/")));
    };
    let is_post = request.method.eq_ignore_ascii_case("POST");
    // Browsers say where a form stands; a tool says nothing, and has no cookie of a person's.
    if is_post && request.header("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return Err(HttpAnswer::problem(403, "OtherSite", "forms of other sites are not taken"));
    }
    let known = request.header("cookie").and_then(|cookies| token(&cookies));
    // Nobody's form has the one that is made here: a form without its cookie is refused.
    let token = known.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    let is_new = known.is_none() && !is_post && matches!(viewer, Viewer::Operator(_));
    let operator = match viewer {
        Viewer::Reader => None,
        Viewer::Operator(name) => Some(name),
    };
    let now = app.clone();
    let clock: Clock = Arc::new(move || now.now());
    let router = page::router(PageOptions {
        ledger: app.ledger().clone(),
        place: access.place.clone(),
        clock,
        title: "Scorekeeper".to_owned(),
        which: access.which.clone(),
        operator,
        token: token.clone(),
        live: Live::Polled(REFRESH),
        measured,
        // By the app's own rights, which whoever sees the ledger need not have.
        results: None,
    });
    let asked = Request::builder().method(if is_post { "POST" } else { "GET" }).uri(path);
    let asked = asked.body(Body::from(request.body.clone().unwrap_or_default()));
    let Ok(asked) = asked else {
        return Err(HttpAnswer::problem(400, "Address", "the address is none"));
    };
    let Ok(response) = router.oneshot(asked).await;
    let answer = html(response).await?;
    let cookie = || format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Lax");
    Ok(if is_new { answer.with("Set-Cookie", cookie()) } else { answer })
}

/// The value of the page's own cookie, if it is one that the page has set.
fn token(cookies: &str) -> Option<String> {
    let own = cookies.split([';', ',']).filter_map(|one| one.trim().split_once('='));
    let (_, value) = own.into_iter().find(|(name, _)| *name == COOKIE)?;
    Uuid::parse_str(value).is_ok().then(|| value.to_owned())
}

async fn html(response: Response) -> Result<HttpAnswer, HttpAnswer> {
    let (parts, body) = response.into_parts();
    let failed = |why: &str| HttpAnswer::problem(StatusCode::INTERNAL_SERVER_ERROR.as_u16(), "Page", why);
    let bytes = to_bytes(body, MAX_PAGE).await.map_err(|why| failed(&why.to_string()))?;
    let body = String::from_utf8(bytes.into()).map_err(|why| failed(&why.to_string()))?;
    Ok(HttpAnswer { status_code: parts.status.as_u16(), headers: told(&parts.headers), body })
}

/// Headers, but for what whoever writes the answer works out itself.
fn told(headers: &HeaderMap) -> std::collections::BTreeMap<String, String> {
    let told = headers.iter().filter(|(name, _)| **name != header::CONTENT_LENGTH);
    told.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(headers: &[(&str, &str)]) -> HttpRequest {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        HttpRequest { url: "/api/ops/".to_owned(), method: "GET".to_owned(), headers, body: None }
    }

    fn principal(typ: &str, role: &str) -> String {
        let claims = json!({"auth_typ": "aad", "role_typ": "of-roles", "claims": [{"typ": "name", "val": OPERATOR}, {"typ": typ, "val": role}]});
        STANDARD.encode(claims.to_string())
    }

    #[test]
    fn a_principal_is_believed_where_sign_in_is_required_and_by_its_roles_alone() {
        let of = |on, signed_in| PageAccess {
            on,
            signed_in,
            place: LedgerLocation::Embedded("ledger".into()),
            which: WhichLedger::default(),
        };
        let operator = principal("roles", OPERATOR);
        let signed = |principal: &str| {
            asked(&[("X-MS-CLIENT-PRINCIPAL", principal), ("x-ms-client-principal-name", "ann@contoso.com")])
        };
        let refused = |access: &PageAccess, request: &HttpRequest| access.viewer(request).unwrap_err().status_code;
        assert_eq!(refused(&of(false, true), &signed(&operator)), 404);
        assert_eq!(refused(&of(true, false), &signed(&operator)), 403);
        let open = of(true, true);
        assert_eq!(open.viewer(&signed(&operator)).unwrap(), Viewer::Operator("ann@contoso.com".to_owned()));
        assert_eq!(open.viewer(&signed(&principal("of-roles", READER))).unwrap(), Viewer::Reader);
        for none in [principal("roles", "Owner"), principal("groups", OPERATOR), STANDARD.encode("{}")] {
            assert_eq!(refused(&open, &signed(&none)), 403, "{none}");
        }
        for no_principal in ["", "e30", "%%%", "bnVsbA=="] {
            assert_eq!(refused(&open, &signed(no_principal)), 401, "{no_principal}");
        }
        assert_eq!(refused(&open, &asked(&[("x-ms-client-principal", &operator)])), 401);
        assert_eq!(refused(&open, &asked(&[("x-ms-client-principal-name", "ann")])), 401);
    }

    #[test]
    fn the_cookie_is_found_among_others_and_is_ours() {
        let own = "0e7b1f5a-6ac5-4f2e-9f3e-7c3f0d3a9a11";
        for cookies in [
            format!("{COOKIE}={own}"),
            format!("a=b; {COOKIE}={own}; c"),
            format!("AppServiceAuthSession=x=, {COOKIE}={own}"),
        ] {
            assert_eq!(token(&cookies).as_deref(), Some(own), "{cookies}");
        }
        for cookies in ["", "a=b", &format!("{COOKIE}="), &format!("{COOKIE}=guessed"), &format!("x{COOKIE}={own}")] {
            assert_eq!(token(cookies), None, "{cookies}");
        }
    }
}
