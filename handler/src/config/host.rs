//! What the Functions host says about itself: in variables, and in host.json.

use std::path::PathBuf;
use std::time::Duration;

use super::problems::Refused;
use super::{Reader, Source};

/// What the Functions host says about itself. All empty elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Loopback TCP port to listen on; `None` if no host started us.
    pub port: Option<u16>,
    /// Given anew to each process that a host starts; `None` if no host started us.
    pub worker_id: Option<String>,
    /// The folder of host.json: `FUNCTIONS_APP_ROOT_PATH`, else the working directory.
    pub root: PathBuf,
    /// After this long the host ends the whole process; `None`: never.
    pub function_timeout: Option<Duration>,
    /// Name of the function app, as `WEBSITE_SITE_NAME` tells it; `None` where no platform does.
    pub site: Option<String>,
    /// This instance among the site's.
    pub instance: Option<String>,
    /// ARM id of the site, or a name of its shape.
    pub resource_id: Option<String>,
}

/// The smallest default of any plan. Too short costs the tail of a reconcile run, too long costs the process.
const DEFAULT_TIMEOUT: &str = "00:05:00";
/// What the host takes for no timeout at all.
const NO_TIMEOUT: &str = "-1";
const TIMEOUT: &str = "AzureFunctionsJobHost__functionTimeout";
const PORTS: [&str; 2] = ["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"];

impl Reader<'_> {
    pub(super) fn host(&mut self, root: PathBuf) -> HostFacts {
        let first = |names: &[&str]| names.iter().find_map(|name| self.get(name));
        let worker_id = first(&["FUNCTIONS_CUSTOMHANDLER_WORKER_ID", "FUNCTIONS_HTTPWORKER_ID"]);
        let instance = first(&["WEBSITE_INSTANCE_ID", "WEBSITE_POD_NAME", "CONTAINER_NAME", "HOSTNAME"]);
        let site = first(&["WEBSITE_SITE_NAME"]);
        let resource_id = first(&["WEBSITE_ARM_RESOURCE_ID"]).or_else(|| {
            // `SUBSCRIPTION+WEBSPACE`
            let owner = first(&["WEBSITE_OWNER_NAME"])?;
            let (subscription, _) = owner.split_once('+')?;
            let group = first(&["WEBSITE_RESOURCE_GROUP"])?;
            let site = site.as_deref()?;
            Some(format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites/{site}"))
        });
        let port = self.port();
        let function_timeout = self.function_timeout(&root);
        HostFacts { port, worker_id, root, function_timeout, site, instance, resource_id }
    }

    fn port(&mut self) -> Option<u16> {
        let (name, text) = PORTS.iter().find_map(|name| Some((*name, self.get(name)?)))?;
        match text.parse() {
            Ok(port) if port > 0 => {
                self.understood(PORTS[0], text, Source::Variable(name.to_owned()));
                Some(port)
            }
            _ => {
                self.problem(name, Some(&text), Refused::new("a TCP port, 1 to 65535", "the Functions host sets it"));
                None
            }
        }
    }

    fn function_timeout(&mut self, root: &std::path::Path) -> Option<Duration> {
        const SHOWN: &str = "functionTimeout";
        let file = root.join("host.json");
        let (text, source, name) = if let Some(text) = self.get(TIMEOUT) {
            (text, Source::Variable(TIMEOUT.to_owned()), TIMEOUT)
        } else {
            match in_host_json(&file) {
                Ok(Some(text)) => (text, Source::File(file), SHOWN),
                Ok(None) => (DEFAULT_TIMEOUT.to_owned(), Source::Default(None), SHOWN),
                // The host reads comments and more; what it can read is no reason for us not to start.
                Err(why) => (DEFAULT_TIMEOUT.to_owned(), Source::Default(Some(why.to_string())), SHOWN),
            }
        };
        let timeout = time_span(&text);
        if timeout.is_some() || text == NO_TIMEOUT {
            self.understood(SHOWN, text, source);
            timeout
        } else {
            let expected = "a time span HH:MM:SS of at least one second, or -1";
            let remedy = "write for example 00:10:00, in host.json or in AzureFunctionsJobHost__functionTimeout";
            self.problem(name, Some(&text), Refused::new(expected, remedy));
            None
        }
    }
}

/// Why a host.json says nothing to us.
#[derive(Debug, thiserror::Error)]
enum HostJsonError {
    #[error("host.json cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    #[error("host.json is not plain JSON: {0}")]
    NotPlainJson(#[from] serde_json::Error),
}

/// `functionTimeout` of a host.json; `None` if there is no such file or no such member.
fn in_host_json(file: &std::path::Path) -> Result<Option<String>, HostJsonError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(HostJsonError::Unreadable(why)),
    };
    // Some editors begin the file with a byte order mark.
    let json: serde_json::Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))?;
    Ok(match json.get("functionTimeout") {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    })
}

/// .NET's `[d.]hh:mm:ss[.fraction]` of a second at least.
fn time_span(text: &str) -> Option<Duration> {
    let (hours_and_days, rest) = text.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let (days, hours) = hours_and_days.split_once('.').unwrap_or(("0", hours_and_days));
    let seconds = seconds.split_once('.').map_or(seconds, |(whole, _)| whole);
    let number = |text: &str, max: u64| {
        let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok())?.filter(|n| *n <= max)
    };
    let seconds =
        number(days, 36_500)? * 86_400 + number(hours, 23)? * 3_600 + number(minutes, 59)? * 60 + number(seconds, 59)?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_read_as_dotnet_writes_them() {
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(time_span("00:05:00"), seconds(300));
        assert_eq!(time_span("1.02:03:04.5"), seconds(93_784));
        for bad in ["", "-1", "5", "00:05", "24:00:00", "00:60:00", "00:00:00", "-00:05:00", "a:b:c", "00:00:0x"] {
            assert_eq!(time_span(bad), None, "{bad}");
        }
    }
}
