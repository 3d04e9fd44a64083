//! What a service said, made fit for people: one line, cut, without secrets.
//!
//! Azure answers errors in three shapes (Azure ML's document, Resource Manager's, plain text of the front door), and
//! proxies add HTML. None of them may make us fail, and some quote URLs that hold signatures.

use lifecycle::text::fit;
use serde_json::Value;

/// `details` inside `details`: the service wraps the inner document as text into the outer one's message.
const MAX_DEPTH: usize = 4;
/// An answer's code and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) code: Option<String>,
    pub(crate) text: String,
}

/// Reads an error body of any shape.
pub(crate) fn parse_service_error(body: &[u8]) -> ServiceError {
    let text = String::from_utf8_lossy(body);
    let trimmed = text.trim();
    let said = match serde_json::from_str::<Value>(trimmed) {
        Ok(value) => of_document(&value, 0),
        Err(_) if trimmed.starts_with('<') => ServiceError { code: None, text: title(trimmed) },
        Err(_) => ServiceError { code: None, text: trimmed.to_owned() },
    };
    let mut text = fit(&said.text);
    if text.is_empty() {
        text.push_str("no further text");
    }
    ServiceError { code: said.code.map(|code| fit(&code)), text }
}

/// A member in any casing: the service takes and gives `inputData`, `InputData` and worse.
pub(crate) fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let members = value.as_object()?;
    let found = members
        .get(name)
        .or_else(|| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

fn of_document(value: &Value, depth: usize) -> ServiceError {
    if let Value::String(text) = value {
        return ServiceError { code: None, text: text.clone() };
    }
    // Run history wraps twice: error.error.
    let mut error = value;
    while let Some(inner) = member(error, "error").filter(|inner| inner.is_object()) {
        error = inner;
    }
    let texts = |name: &str| member(error, name).and_then(Value::as_str).map(str::to_owned);
    let code = texts("code").filter(|code| !code.is_empty());
    let Some(message) = texts("message").or_else(|| texts("error_description")).or_else(|| texts("error")) else {
        return ServiceError { code, text: value.to_string() };
    };
    let mut parts = vec![unwrapped(&message, depth)];
    for detail in member(error, "details").and_then(Value::as_array).into_iter().flatten().take(5) {
        let said = of_document(detail, depth + 1);
        let text = match said.code {
            Some(code) => format!("({code}) {}", unwrapped(&said.text, depth + 1)),
            None => unwrapped(&said.text, depth + 1),
        };
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    ServiceError { code, text: parts.join(" ") }
}

/// A message that is itself a document, or that ends in a list of validation errors (FluentValidation).
fn unwrapped(message: &str, depth: usize) -> String {
    if depth < MAX_DEPTH
        && message.trim_start().starts_with('{')
        && let Ok(inner) = serde_json::from_str::<Value>(message)
    {
        let said = of_document(&inner, depth + 1);
        return said.code.map_or_else(|| said.text.clone(), |code| format!("({code}) {}", said.text));
    }
    let Some(at) = message.find("[{") else { return message.to_owned() };
    let mut values = serde_json::Deserializer::from_str(&message[at..]).into_iter::<Vec<Value>>();
    let Some(Ok(list)) = values.next() else { return message.to_owned() };
    let lines: Vec<String> = list
        .iter()
        .filter_map(|item| {
            let text = |name| member(item, name).and_then(Value::as_str);
            let (what, why) = (text("PropertyName")?, text("ErrorMessage")?);
            Some(match text("AttemptedValue") {
                Some(value) => format!("{what}: {why} (it was `{value}`)"),
                None => format!("{what}: {why}"),
            })
        })
        .collect();
    if lines.is_empty() { message.to_owned() } else { format!("{}{}", &message[..at], lines.join("; ")) }
}

fn title(html: &str) -> String {
    let lower = html.to_ascii_lowercase(); // same byte positions: only ASCII changes
    let inside = lower.find("<title>").and_then(|at| {
        let from = at + "<title>".len();
        lower[from..].find("</title>").map(|len| html[from..from + len].trim())
    });
    match inside {
        Some(title) if !title.is_empty() => format!("a page with the title `{title}`"),
        _ => "a page, not an answer of the service".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(body: &str) -> (String, String) {
        let said = parse_service_error(body.as_bytes());
        (said.code.unwrap_or_default(), said.text)
    }

    #[test]
    fn the_three_shapes_and_others_are_read() {
        let fluent = r#"{"error":{"code":"UserError","severity":null,"message":"The Job request provided has the following validation errors: [{\"PropertyName\":\"OutputData.Values[0].JobOutputType\",\"ErrorMessage\":\"Job output type must be 'uri_file'.\",\"AttemptedValue\":\"uri_folder\",\"ErrorCode\":\"PredicateValidator\"}]","details":[]},"correlation":{"operation":"1"}}"#;
        let (code, text) = pair(fluent);
        assert_eq!(code, "UserError");
        assert_eq!(
            text,
            "The Job request provided has the following validation errors: OutputData.Values[0].JobOutputType: Job output type must be 'uri_file'. (it was `uri_folder`)"
        );
        let wrapped = r#"{"error":{"code":"ServiceError","message":"Received 500 from a service request","details":[{"code":"InternalServerError","message":"{\"error\":{\"code\":\"Inner\",\"message\":\"the real cause\"}}"}]}}"#;
        assert_eq!(
            pair(wrapped),
            (
                "ServiceError".into(),
                "Received 500 from a service request (InternalServerError) (Inner) the real cause".into()
            )
        );
        let arm = r#"{"error":{"code":"AuthorizationFailed","message":"no permission","additionalInfo":[]}}"#;
        assert_eq!(pair(arm), ("AuthorizationFailed".into(), "no permission".into()));
        let plain = "No valid deployments to route to.\nPlease check";
        assert_eq!(pair(plain), (String::new(), "No valid deployments to route to. Please check".into()));
        assert_eq!(pair("<html><head><TITLE>502 Bad Gateway</TITLE>").1, "a page with the title `502 Bad Gateway`");
        assert_eq!(pair("\"just text\"").1, "just text");
        assert_eq!(pair("").1, "no further text");
    }

    #[test]
    fn no_body_makes_us_fail() {
        for body in [
            "null",
            "[]",
            "{}",
            "{\"error\":null}",
            "{\"error\":{\"error\":{}}}",
            "{\"error\":[1]}",
            "\u{0}",
            "[{",
            "<",
            "<title>",
        ] {
            assert!(!parse_service_error(body.as_bytes()).text.is_empty(), "{body}");
        }
        assert!(!parse_service_error(&[0xff, 0xfe, b'{']).text.is_empty());
    }

    #[test]
    fn what_is_said_is_cut_and_holds_no_secret() {
        let long = parse_service_error("ä".repeat(5_000).as_bytes()).text;
        assert_eq!(long.chars().count(), 1_001);
        let told =
            parse_service_error(br#"{"error":{"code":"Bearer SECRET1","message":"see https://a/p?sig=SECRET2&se=2"}}"#);
        assert_eq!((told.code.as_deref(), told.text.as_str()), (Some("Bearer ***"), "see https://a/p?sig=***&se=2"));
    }
}
