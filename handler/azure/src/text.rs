//! What a service said, made fit for people: one line, cut, without secrets.
//!
//! Azure answers errors in three shapes (Azure ML's document, Resource Manager's, plain text of the front door), and
//! proxies add HTML. None of them may make us fail, and some quote URLs that hold signatures.

use lifecycle::text::fit;
use serde_json::Value;

/// `details` inside `details`: the service wraps the inner document as text into the outer one's message.
const MAX_DEPTH: usize = 4;
/// Codes of one document that are kept.
const MAX_CODES: usize = 16;
/// An answer's code and text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ServiceError {
    /// The code of the outermost error, cut; `None` if the document names none.
    pub(crate) code: Option<String>,
    pub(crate) text: String,
    /// The text before it was cut.
    pub(crate) whole: String,
    /// Every code of the document, the outermost first; none if it is none of the service's.
    pub(crate) codes: Vec<String>,
    /// It is an `error` as Azure's services write it: what a proxy says has codes as well.
    pub(crate) enveloped: bool,
    /// It lists what is wrong with the members of the request.
    pub(crate) validation: bool,
}

/// Reads an error body of any shape.
pub(crate) fn parse_service_error(body: &[u8]) -> ServiceError {
    let text = String::from_utf8_lossy(body);
    let trimmed = text.trim();
    let mut said = match serde_json::from_str::<Value>(trimmed) {
        Ok(value) => of_document(&value, 0),
        Err(_) if trimmed.starts_with('<') => ServiceError { text: title(trimmed), ..ServiceError::default() },
        Err(_) => ServiceError { text: trimmed.to_owned(), ..ServiceError::default() },
    };
    said.whole = std::mem::take(&mut said.text);
    said.text = fit(&said.whole);
    if said.text.is_empty() {
        said.text.push_str("no further text");
    }
    said.code = said.code.map(|code| fit(&code));
    said
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
        return ServiceError { text: text.clone(), ..ServiceError::default() };
    }
    // Run history wraps twice: error.error.
    let mut error = value;
    while let Some(inner) = member(error, "error").filter(|inner| inner.is_object()) {
        error = inner;
    }
    let texts = |name: &str| member(error, name).and_then(Value::as_str).map(str::to_owned);
    let code = texts("code").filter(|code| !code.is_empty());
    let enveloped = !std::ptr::eq(error, value);
    let codes = code.iter().cloned().collect();
    let mut said = ServiceError { code, codes, enveloped, ..ServiceError::default() };
    let mut inner = error;
    while let Some(deeper) = member(inner, "innerError").filter(|_| said.codes.len() < MAX_CODES) {
        said.codes.extend(member(deeper, "code").and_then(Value::as_str).map(str::to_owned));
        inner = deeper;
    }
    let Some(message) = texts("message").or_else(|| texts("error_description")).or_else(|| texts("error")) else {
        said.validation = true;
        said.text = problem_details(error).unwrap_or_else(|| {
            said.validation = false;
            value.to_string()
        });
        return said;
    };
    let mut parts = vec![unwrapped(&message, depth, &mut said)];
    for detail in member(error, "details").and_then(Value::as_array).into_iter().flatten().take(5) {
        let inner = of_document(detail, depth + 1);
        said.take_codes(&inner);
        let text = unwrapped(&inner.text, depth + 1, &mut said);
        let text = inner.code.map_or_else(|| text.clone(), |code| format!("({code}) {text}"));
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    said.text = parts.join(" ");
    said
}

impl ServiceError {
    fn take_codes(&mut self, inner: &Self) {
        self.codes.extend(inner.codes.iter().take(MAX_CODES.saturating_sub(self.codes.len())).cloned());
        self.validation |= inner.validation;
    }
}

/// What ASP.NET says of a body that it cannot take (RFC 9457): `{"title": …, "errors": {"$.properties": ["…"]}}`.
fn problem_details(error: &Value) -> Option<String> {
    let errors = member(error, "errors")?.as_object()?;
    let lines = errors.iter().flat_map(|(name, whys)| {
        let whys = whys.as_array().into_iter().flatten().filter_map(Value::as_str);
        whys.map(move |why| format!("{name}: {why}"))
    });
    let lines = lines.collect::<Vec<_>>().join("; ");
    let title = member(error, "title").and_then(Value::as_str).unwrap_or("The request is not valid.");
    (!lines.is_empty()).then(|| format!("{title} {lines}"))
}

/// A message that is itself a document, or that holds a list of validation errors (FluentValidation), printed in whatever way.
fn unwrapped(message: &str, depth: usize, said: &mut ServiceError) -> String {
    if depth < MAX_DEPTH
        && message.trim_start().starts_with('{')
        && let Ok(inner) = serde_json::from_str::<Value>(message)
    {
        let inner = of_document(&inner, depth + 1);
        said.take_codes(&inner);
        return inner.code.map_or_else(|| inner.text.clone(), |code| format!("({code}) {}", inner.text));
    }
    for (at, _) in message.match_indices('[').filter(|(at, _)| message[at + 1..].trim_start().starts_with('{')) {
        let mut values = serde_json::Deserializer::from_str(&message[at..]).into_iter::<Vec<Value>>();
        let Some(Ok(list)) = values.next() else { continue };
        let sentences: Vec<String> = list.iter().filter_map(sentence).collect();
        if !sentences.is_empty() {
            said.validation = true;
            let rest = &message[at + values.byte_offset()..];
            return format!("{}{}{rest}", &message[..at], sentences.join("; "));
        }
    }
    message.to_owned()
}

/// One validation error as a sentence.
fn sentence(item: &Value) -> Option<String> {
    let text = |name| member(item, name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let why = text("ErrorMessage")?;
    Some(match (text("PropertyName"), member(item, "AttemptedValue")) {
        (Some(what), Some(Value::String(value))) => format!("{what}: {why} (it was `{value}`)"),
        (Some(what), Some(value @ (Value::Number(_) | Value::Bool(_)))) => format!("{what}: {why} (it was `{value}`)"),
        (Some(what), _) => format!("{what}: {why}"),
        (None, _) => why.to_owned(),
    })
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
    fn a_list_of_validation_errors_is_told_as_sentences_however_it_is_printed() {
        let list = serde_json::json!([
            { "PropertyName": "OutputData.Values[0].JobOutputType", "ErrorMessage": "Must be 'uri_file'.", "AttemptedValue": "uri_folder" },
            { "PropertyName": "MiniBatchSize", "ErrorMessage": "Must be positive.", "AttemptedValue": -1 },
            { "PropertyName": "", "ErrorMessage": "One input is missing.", "AttemptedValue": null }
        ]);
        let told = "Errors [see below]: OutputData.Values[0].JobOutputType: Must be 'uri_file'. (it was `uri_folder`); \
            MiniBatchSize: Must be positive. (it was `-1`); One input is missing. Correct them.";
        let pretty = serde_json::to_string_pretty(&list).expect("a list");
        for printed in
            [list.to_string(), pretty.clone(), pretty.replace('\n', "\r\n\t"), format!("[ {}", &list.to_string()[1..])]
        {
            let message = format!("Errors [see below]: {printed} Correct them.");
            let outer = serde_json::json!({ "error": { "code": "UserError", "message": message } });
            let inner = serde_json::json!({ "error": { "code": "UserError", "message": outer.to_string() } });
            assert_eq!(parse_service_error(outer.to_string().as_bytes()).text, told);
            let said = parse_service_error(inner.to_string().as_bytes());
            assert_eq!((said.text, said.validation), (format!("(UserError) {told}"), true));
        }
        let problem = r#"{"title":"One or more validation errors occurred.","status":400,"errors":{"$.properties":["Not an object.","Empty."]}}"#;
        assert_eq!(
            parse_service_error(problem.as_bytes()).text,
            "One or more validation errors occurred. $.properties: Not an object.; $.properties: Empty."
        );
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
