//! Whose a token is, by its own words: for the history, which tells people who ordered what.
//!
//! Nothing is decided by it, so that its signature is not looked at: the service that the token is sent to does that. Of the token
//! nothing but the name leaves this module.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lifecycle::text::one_line;
use serde_json::Value;

/// Characters of a holder's name that are kept.
const MAX_NAME: usize = 200;

/// The person that a token was given to, else the application.
///
/// Source: *Access token claims reference* of the Microsoft identity platform: `upn` and `unique_name` in version 1 tokens,
/// `preferred_username` in version 2, `appid` and `azp` for applications.
pub(super) fn holder(token: &str) -> Option<String> {
    let claims = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()?;
    let text = |name: &str| claims.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty());
    let person = ["upn", "preferred_username", "unique_name"].into_iter().find_map(text).map(str::to_owned);
    let application = || ["appid", "azp"].into_iter().find_map(text).map(|id| format!("application {id}"));
    person.or_else(application).map(|name| one_line(&name, MAX_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_names_its_person_else_its_application_and_shows_nothing_else() {
        let token = |claims: Value| format!("e30.{}.SIGNATURE", URL_SAFE_NO_PAD.encode(claims.to_string()));
        for (claims, name) in [
            (json!({"upn": "ann@contoso.com", "appid": "04b07795"}), Some("ann@contoso.com")),
            (json!({"preferred_username": "bob@contoso.com"}), Some("bob@contoso.com")),
            (json!({"unique_name": "live.com#eve@example.com", "upn": " "}), Some("live.com#eve@example.com")),
            (json!({"appid": "1111-2222", "oid": "3333"}), Some("application 1111-2222")),
            (json!({"azp": "4444"}), Some("application 4444")),
            (json!({"oid": "3333"}), None),
            (json!({"upn": 5}), None),
            (json!([]), None),
        ] {
            assert_eq!(holder(&token(claims.clone())).as_deref(), name, "{claims}");
        }
        for opaque in ["", "TOKEN", "a.b.c", "a.e30=.c", "a.ZZZ"] {
            assert_eq!(holder(opaque), None, "{opaque}");
        }
        let hostile = token(json!({"upn": "ann\n\u{1b}[2J"}));
        assert!(holder(&hostile).is_some_and(|name| !name.contains(['\n', '\u{1b}'])));
    }
}
