//! App Service Authentication over the function app: it must leave out what Azure itself calls, and be on where the settings ask for it.

use serde_json::Value;

use crate::examination::Examination;
use crate::finding::{Check, Finding};
use crate::remedy::{ResourceId, shell};
use app::ports::management::Audience;

const SITES: &str = "2024-11-01";
/// Event Grid's way in. It calls with a key of the platform and has not signed in.
const EVENTS: &str = "/runtime/webhooks/eventgrid";
/// The host's own way in: keys, triggers, status.
const HOST: &str = "/admin/host/status";

impl Examination {
    /// Whether sign-in keeps out Event Grid or the platform, or lets in whom it should not.
    pub(super) async fn sign_in(&self) -> Finding {
        const CHECK: Check = Check::SignIn;
        if let Some(blind) = self.no_token_reason(Audience::ResourceManager) {
            return Finding::skipped(CHECK, blind);
        }
        let Some(site) = &self.at.site else {
            return Finding::unknown(CHECK, "which function app this is is not known", "--app with its ARM id");
        };
        let seen = self.queries.resource(&format!("{site}/config/authsettingsV2"), SITES).await;
        let settings = match seen {
            Ok(settings) => settings,
            Err(error) => {
                return Self::not_visible(CHECK, &error, "Microsoft.Web/sites/config/read (role Reader) on the app");
            }
        };
        let kept_out = |path: &str| keeps_out(&settings, path);
        // The function of the other way of delivery is switched off: nobody calls it.
        let pushed = !self.at.switched_off.iter().any(|function| function == "BlobCreated");
        match (kept_out(EVENTS) && pushed, kept_out(HOST)) {
            (false, false) if self.at.sign_in_required && !is_asked(&settings) => Finding::fault(
                CHECK,
                "SCOREKEEPER_SIGN_IN is `required`, and App Service Authentication asks nobody to sign in",
                "whoever reaches the app gets in without",
                "deploy with app.authentication, which switches it on; or remove SCOREKEEPER_SIGN_IN from the app's settings",
            ),
            (false, false) => Finding::ok(CHECK, "nothing that Azure calls has to sign in"),
            (true, _) => Finding::fault(
                CHECK,
                "App Service Authentication covers /runtime/*",
                "Event Grid is answered 401, and events are dead-lettered after a day",
                remedy(site),
            ),
            (false, true) => Finding::warning(
                CHECK,
                "App Service Authentication covers /admin/*",
                "tools that ask the host for its state or its keys are answered 401",
                remedy(site),
            ),
        }
    }
}

/// Whether whoever calls is asked to sign in, wherever that is not left out.
fn is_asked(settings: &Value) -> bool {
    let member = |at: &str| settings.pointer(&format!("/properties/{at}"));
    let is_true = |at: &str| member(at).and_then(Value::as_bool).unwrap_or(false);
    let action = member("globalValidation/unauthenticatedClientAction").and_then(Value::as_str);
    let asks = match action {
        Some(action) => !action.eq_ignore_ascii_case("AllowAnonymous"),
        None => is_true("globalValidation/requireAuthentication"),
    };
    is_true("platform/enabled") && asks
}

/// Whether whoever has not signed in is turned away from a path.
fn keeps_out(settings: &Value, path: &str) -> bool {
    let excluded = settings.pointer("/properties/globalValidation/excludedPaths").and_then(Value::as_array);
    let excluded = excluded.map_or(&[][..], Vec::as_slice);
    is_asked(settings) && !excluded.iter().filter_map(Value::as_str).any(|one| covers(one, path))
}

/// An excluded path ends with `*` for all below it.
fn covers(excluded: &str, path: &str) -> bool {
    match excluded.strip_suffix('*') {
        Some(begin) => path.starts_with(&begin.to_ascii_lowercase()),
        None => path.eq_ignore_ascii_case(excluded),
    }
}

fn remedy(site: &str) -> String {
    let place = ResourceId::read(site).map_or("--resource-group GROUP --name APP".to_owned(), |id| {
        format!("{} --name {}", id.place(), shell(id.name))
    });
    format!(
        "deploy with app.authentication, which excludes both; or: az webapp auth update {place} --excluded-paths '[/runtime/*, /admin/*]' (extension authV2)"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_sign_in_that_is_on_asks_for_it_and_does_not_leave_the_path_out_keeps_out() {
        let settings = |enabled: bool, action: Value, excluded: Value| {
            json!({"properties": {"platform": {"enabled": enabled},
                "globalValidation": {"requireAuthentication": true, "unauthenticatedClientAction": action, "excludedPaths": excluded}}})
        };
        let redirect = || json!("RedirectToLoginPage");
        for (settings, kept_out) in [
            (settings(false, redirect(), json!([])), false),
            (settings(true, redirect(), json!([])), true),
            (settings(true, redirect(), Value::Null), true),
            (settings(true, Value::Null, json!(["/health"])), true),
            (settings(true, json!("Return401"), json!(["/runtime"])), true),
            (settings(true, json!("AllowAnonymous"), json!([])), false),
            (settings(true, redirect(), json!(["/runtime/*", "/admin/*"])), false),
            (settings(true, redirect(), json!(["/Runtime/Webhooks/*"])), false),
            (settings(true, redirect(), json!(["/*"])), false),
            (json!({}), false),
        ] {
            assert_eq!(keeps_out(&settings, EVENTS), kept_out, "{settings}");
        }
    }
}
