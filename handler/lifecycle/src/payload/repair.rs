//! What can still be read of a delivery that is not the JSON that it should be.
//!
//! A writer's file name with half of a surrogate pair, a byte that is no UTF-8, a raw tab: each is one character of one
//! event, and each makes the whole text unreadable to a parser. Here such a text is repaired where its meaning is certain,
//! and cut where it is not, so that what stays unreadable costs its own event alone. Nothing is guessed: U+FFFD stands
//! where a character was lost, and whoever reads a name asks for it.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::value::RawValue;

/// Sequences of bytes that are no UTF-8 which a text may have. More of them are no damage but another format: a
/// compressed body, UTF-16. It also bounds how much longer than its bytes the text can be.
const MAX_LOST: usize = 1_000;
/// Bytes in which a value must end to be found in a damaged text. Event Grid's events are far smaller. With
/// [`MAX_FAILURES`] it bounds the work: a body of 64 MiB could hold millions of beginnings that each lead to its end.
const WINDOW: usize = 256 * 1024;
/// Places in a damaged text where a value was expected and not found, before the rest is given up as one.
const MAX_FAILURES: usize = 1_000;

/// A body is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is no text: more than {MAX_LOST} sequences of its bytes are no UTF-8")]
pub struct NoText;

/// The text of a body, without a byte order mark; U+FFFD stands for bytes that are no UTF-8.
pub fn text(body: Vec<u8>) -> Result<String, NoText> {
    let mut text = match String::from_utf8(body) {
        Ok(text) => text,
        Err(error) => {
            let body = error.as_bytes();
            let lost = body.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty());
            if lost.take(MAX_LOST + 1).count() > MAX_LOST {
                return Err(NoText);
            }
            String::from_utf8_lossy(body).into_owned()
        }
    };
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// One piece of a damaged text.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// A value that can be read, perhaps after a repair that loses nothing.
    Value(Cow<'a, RawValue>),
    /// What lies between two values.
    Unreadable(&'a str),
}

/// The items of a damaged list, or the values of a damaged text that is none, at most `max` of them.
///
/// An item is what a parser takes for one. After one that it does not take, the next is looked for where a comma and an
/// opening brace lead to a whole object: in a valid string neither can stand unescaped, so that no name can make one.
pub(super) fn pieces(text: &str, max: usize) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut failures = 0;
    let text = text.trim();
    let list = text.strip_prefix('[');
    let mut rest = list.unwrap_or(text);
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() || pieces.len() >= max || (list.is_some() && rest.starts_with(']')) {
            // What comes after the list's end belongs to somebody else, such as an envelope.
            return pieces;
        }
        if let Some((value, length)) = first_value(rest) {
            pieces.push(Piece::Value(Cow::Borrowed(value)));
            rest = &rest[length..];
            continue;
        }
        failures += 1;
        let end = next_object(rest, &mut failures);
        let (bad, good) = rest.split_at(end);
        pieces.push(
            repaired(bad).map_or(Piece::Unreadable(bad.trim_end_matches([',', ' ', '\n', '\r', '\t'])), |value| {
                Piece::Value(Cow::Owned(value))
            }),
        );
        rest = good;
    }
}

/// The value that a text begins with, and its length.
fn first_value(text: &str) -> Option<(&RawValue, usize)> {
    let mut values = serde_json::Deserializer::from_str(window(text)).into_iter::<&RawValue>();
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

fn window(text: &str) -> &str {
    let end = (0..=text.len().min(WINDOW)).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// Where the next whole object begins that follows a comma; the end of the text if there is none.
fn next_object(text: &str, failures: &mut usize) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find('{').map(|at| from + at) {
        from = at + 1;
        if !text[..at].trim_end().ends_with(',') {
            continue;
        }
        if first_value(&text[at..]).is_some() {
            return at;
        }
        *failures += 1;
        if *failures > MAX_FAILURES {
            break;
        }
    }
    text.len()
}

/// The value of a text in whose strings control characters stand unescaped. JSON forbids that, and there is one meaning
/// that it can have.
fn repaired(text: &str) -> Option<Box<RawValue>> {
    let escaped = controls_escaped(window(text))?;
    first_value(&escaped).map(|(value, _)| value.to_owned())
}

/// With control characters within strings escaped; `None`: there are none.
pub(super) fn controls_escaped(text: &str) -> Option<String> {
    let (mut within, mut backslash) = (false, false);
    let mut escaped = String::new();
    let mut copied = 0;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !backslash => within = !within,
            '\0'..='\u{1f}' if within => {
                escaped.push_str(&text[copied..at]);
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
                copied = at + c.len_utf8();
            }
            _ => {}
        }
        backslash = c == '\\' && within && !backslash;
    }
    (copied > 0).then(|| escaped + &text[copied..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        let shown = |piece: &Piece<'_>| match piece {
            Piece::Value(value) => format!("+{}", value.get()),
            Piece::Unreadable(text) => format!("-{text}"),
        };
        pieces(text, 100).iter().map(shown).collect()
    }

    #[test]
    fn an_unreadable_item_costs_itself_alone_wherever_it_stands() {
        for bad in [r#"{"a":"\x"}"#, r#"{"a":NaN}"#, r#"{"a":1"#, r#"{"a":"b}"#, "{a:1}", "nul", "\u{fffd}"] {
            for (text, expected) in [
                (
                    format!(r#"[{bad},{{"b":2}},{{"c":"d,{{"}}]"#),
                    [format!("-{bad}"), r#"+{"b":2}"#.into(), r#"+{"c":"d,{"}"#.into()],
                ),
                (
                    format!(r#"[{{"b":2}} , {bad} ,{{"c":3}}]"#),
                    [r#"+{"b":2}"#.into(), format!("-{bad}"), r#"+{"c":3}"#.into()],
                ),
            ] {
                assert_eq!(cut(&text), expected, "{text}");
            }
        }
        assert_eq!(cut(r#"[{"a":1},{"b":"#), [r#"+{"a":1}"#, r#"-{"b":"#], "broken off");
        assert_eq!(cut("[{\"a\":1}]},\"Metadata\":{}}"), [r#"+{"a":1}"#], "the rest of an envelope is no event");
        assert_eq!(cut("{\"a\":1}\n{\"b\":2}"), [r#"+{"a":1}"#, r#"+{"b":2}"#], "one event a line");
        assert_eq!(cut("half {"), ["-half {"]);
    }

    #[test]
    fn control_characters_in_a_string_lose_nothing() {
        let text = "[{\"a\":\"x\ty\\\\\n\"},{\"b\":2}]";
        assert_eq!(cut(text), [r#"+{"a":"x\u0009y\\\u000a"}"#, r#"+{"b":2}"#]);
        let value: serde_json::Value = serde_json::from_str(&controls_escaped(text).expect("some")).expect("JSON");
        assert_eq!(value[0]["a"], "x\ty\\\n");
        assert_eq!(controls_escaped("[\n\"a\"]"), None, "between values they are white space");
    }

    #[test]
    fn bytes_that_are_no_characters_cost_one_each_up_to_a_limit() {
        assert_eq!(text(b"\xef\xbb\xbf{\"a\":\"\xff\"}".to_vec()).as_deref(), Ok("{\"a\":\"\u{fffd}\"}"));
        assert!(text(vec![0xff; MAX_LOST]).is_ok());
        assert_eq!(text(vec![0xff; MAX_LOST + 1]), Err(NoText));
    }

    #[test]
    fn beginnings_without_an_end_are_given_up_after_a_while() {
        let nested = r#",{"a":[0"#.repeat(100_000);
        let pieces = pieces(&nested, 5_000);
        assert!(pieces.len() <= 2, "{}", pieces.len());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_cut_without_losing_a_good_neighbour(bad in "[ -~\u{fffd}\t\n]{0,40}") {
            let good = r#"{"eventType":"x"}"#;
            let pieces = cut(&format!("[{good},{bad},{good}]"));
            proptest::prop_assert_eq!(&pieces[0], &format!("+{good}"));
            let quotes = bad.matches(['"', '\\', '{', '[', ']', '}']).count();
            proptest::prop_assert!(quotes > 0 || pieces.last() == Some(&format!("+{good}")), "{:?}", pieces);
        }
    }
}
