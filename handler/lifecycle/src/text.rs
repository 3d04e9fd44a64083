//! Foreign texts made fit for people: one line, cut, without secrets.
//!
//! The order matters: a secret is masked before the text is cut, as half of one has no shape any more and is still most of
//! a key.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;

use crate::redact::redacted;

/// Characters of an error text that are kept; what says more than this is in the log of whoever said it.
pub const MAX_TEXT: usize = 1_000;

/// One line of at most [`MAX_TEXT`] characters without secrets.
pub fn fit(text: &str) -> String {
    one_line(text, MAX_TEXT)
}

/// One line of at most `most` characters without secrets; `…` stands for what was cut off.
pub fn one_line(text: &str, max: usize) -> String {
    // Nearly all events and error texts are like that, and are not taken apart.
    if text.len() <= max && is_plain_line(text) {
        return match redacted(text) {
            Cow::Borrowed(text) => text.to_owned(),
            Cow::Owned(masked) => cut(masked, max),
        };
    }
    // Cut roughly before the work and exactly after it: the bodies of answers may have megabytes. The last word goes with
    // the cut, be it a key of which the rest would not be known as one.
    let rough = clipped(text, max.saturating_mul(8).max(MAX_TEXT));
    let rough = match rough.rfind(char::is_whitespace) {
        Some(at) if rough.len() < text.len() => &rough[..at],
        _ => rough,
    };
    let words = rough.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    cut(redacted(&line).into_owned(), max)
}

fn cut(line: String, max: usize) -> String {
    match clipped(&line, max) {
        whole if whole.len() == line.len() => line,
        cut => format!("{cut}…"),
    }
}

/// Whether a text is one line of ASCII already, its words apart by one space each.
fn is_plain_line(text: &str) -> bool {
    is_printable_ascii(text) && !text.starts_with(' ') && !text.ends_with(' ') && !text.contains("  ")
}

/// Whether a text has neither control characters nor any beyond ASCII.
pub fn is_printable_ascii(text: &str) -> bool {
    !any_of_eight(text, |eight| (eight & each(0x80)) | below(eight, b' ') | equal(eight, 0x7f))
}

/// Whether a text is, between quotes, JSON as it stands.
pub fn is_plain_in_json(text: &str) -> bool {
    !any_of_eight(text, |eight| below(eight, b' ') | equal(eight, b'"') | equal(eight, b'\\'))
}

/// Looks at a text eight bytes at a time; `found` gives other than 0 if one of them is what is looked for. By hand: all texts that are
/// logged or kept come here, and the package is compiled for size, where no loop over bytes is vectorised.
fn any_of_eight(text: &str, found: impl Fn(u64) -> u64) -> bool {
    let (eights, rest) = text.as_bytes().as_chunks();
    let mut last = *b"        ";
    last[..rest.len()].copy_from_slice(rest);
    eights.iter().chain([&last]).any(|eight| found(u64::from_le_bytes(*eight)) != 0)
}

/// A number of eight bytes that each are this one.
const fn each(byte: u8) -> u64 {
    u64::MAX / 255 * byte as u64
}

/// Other than 0 if one of the eight bytes is smaller than `limit`, which is 128 at most.
const fn below(eight: u64, limit: u8) -> u64 {
    eight.wrapping_sub(each(limit)) & !eight & each(0x80)
}

/// Other than 0 if one of the eight bytes is this one.
const fn equal(eight: u64, byte: u8) -> u64 {
    below(eight ^ each(byte), 1)
}

/// A text as it may meet a terminal: control characters, and characters that are not seen and change how others are (the
/// direction of writing, joiners, tags), become JSON's escapes (`\u001b`, `\u202e`). Names of blobs are anybody's, and a
/// terminal obeys what it is sent.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_unseen)
}

/// The same for a text of several lines, which may be JSON and stays it: there these characters stand within strings. Tabs, which
/// divide values, are seen as such.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_unseen(c) && c != '\n' && c != '\t')
}

fn escaped(text: &str, unseen: impl Fn(char) -> bool) -> Cow<'_, str> {
    if is_printable_ascii(text) || !text.contains(&unseen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if unseen(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Unicode's control characters, line separators and those format characters (`Cf`) that nobody sees.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// The first characters of a text. Not for texts that are foreign: see [`one_line`].
pub fn clipped(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text; // no text has more characters than bytes
    }
    text.char_indices().nth(max).map_or(text, |(at, _)| &text[..at])
}

/// A word of a shell's command. What people copy from our texts holds names from rules and from services, so they are quoted unless
/// they are plain.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// An error and its causes on one line, without secrets: what the topmost one says is rarely why. A cause that is quoted
/// by the one above is not told again.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    fit(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_line_of_bounded_length() {
        assert_eq!(one_line(" a\r\n\tb\u{0}c ", 10), "a b c");
        assert_eq!(one_line(&"ä".repeat(5_000), 7), format!("{}…", "ä".repeat(7)));
        assert_eq!(one_line("", 7), "");
    }

    #[test]
    fn a_plain_line_is_what_taking_it_apart_would_make_of_it() {
        for (text, line) in [
            ("a b", "a b"),
            ("", ""),
            (" a b", "a b"),
            ("a b ", "a b"),
            ("a  b", "a b"),
            ("a\u{7f}b", "a b"),
            ("?sig=abcdef&se=1", "?sig=***&se=1"),
            ("?sig=a", "?sig=…"),
        ] {
            let max = if line.ends_with('…') { 5 } else { 20 };
            assert_eq!(one_line(text, max), line, "{text:?}");
        }
    }

    #[test]
    fn each_byte_is_seen_wherever_it_stands_among_others() {
        for c in ('\0'..='\u{ff}').chain(['\u{2028}']) {
            for length in 0..18 {
                for (before, after) in
                    [("a".repeat(length), String::new()), ("~".repeat(length), "a".repeat(17 - length))]
                {
                    let text = format!("{before}{c}{after}");
                    assert_eq!(is_printable_ascii(&text), matches!(c, ' '..='~'), "{text:?}");
                    let quoted = serde_json::to_string(&text).expect("JSON");
                    assert_eq!(is_plain_in_json(&text), quoted.len() == text.len() + 2, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_in_place_of_being_done() {
        assert_eq!(visible("a\u{1b}]0;x\u{7}\u{9b}2J\nb\r"), "a\\u001b]0;x\\u0007\\u009b2J\\u000ab\\u000d");
        assert_eq!(visible("gnp.\u{202e}csv\u{2069}\u{200b}\u{e0041}"), "gnp.\\u202ecsv\\u2069\\u200b\\udb40\\udc41");
        assert!(matches!(visible("ünï 👩 \\u001b"), Cow::Borrowed(_)));
        let json = serde_json::json!({"a": "x\u{202e}\u{9b}\u{1b}\u{e0041}", "b": ["\u{2028}"]});
        let shown = visible_lines(&format!("{json:#}")).into_owned();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("still JSON"), json);
        assert!(shown.chars().all(|c| c == '\n' || !is_unseen(c)) && shown.lines().count() > 3, "{shown}");
    }

    #[test]
    fn a_secret_is_masked_before_the_text_is_cut() {
        let key = format!("{}==", "aB3/".repeat(21) + "aB");
        for before in 0..1_100 {
            let text = format!("{}{} {key}", "x".repeat(before % 97), " y".repeat(before));
            assert!(!one_line(&text, 50).contains("aB3/aB3/"), "{before}");
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Told>>,
    }

    #[test]
    fn an_error_chain_tells_each_cause_once_and_no_secret() {
        let bottom = Told { text: "GET https://a/?sig=c2VjcmV0: reset", source: None };
        let middle = Told { text: "reset", source: Some(Box::new(bottom)) };
        let top = Told { text: "not sent: reset", source: Some(Box::new(middle)) };
        assert_eq!(error_chain(&top), "not sent: reset: GET https://a/?sig=*** reset");
    }
}
