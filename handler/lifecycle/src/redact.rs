//! The one redactor: everything that is printed, logged, shown or recorded for people goes through [`redacted`].
//!
//! Foreign texts quote what they were given: a service the URL with its signature, a parser the setting that it could not
//! read. Nobody can list all of them, so the text itself is looked at:
//!
//! * **allowed by name**: the query of a URL (`azureml://` has none, and a blob's name has `%3F` there). Members that are known
//!   to be harmless stay, all others lose their value;
//! * **refused by name**: `AccountKey=…`, `"clientSecret": "…"`, `x-functions-key: …` and the like, in connection strings,
//!   JSON, headers and forms;
//! * **refused by shape**: bearer and other `Authorization` values, JSON Web Tokens, long Base64 with its padding (account,
//!   Service Bus and function keys), Entra client secrets, user and password of a URL.
//!
//! Each is found in plain, percent-encoded (also twice) and JSON-escaped form: a SAS inside another URL's query is as good a
//! key as one beside it. What is masked is one value and never structure, so that JSON stays JSON. Where the end of a value
//! cannot be known, too much is masked and never too little.
//!
//! Not found: a password that stands alone, without a name or a shape.

mod giveaways;

use std::borrow::Cow;

use giveaways::{MIN_KEY, is_base64, may_hold_secret};

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// Members of a URL's query that may be seen: what says where, when and what, and lets nobody in. Among them are all parts
/// of a SAS but its signature: its expiry and permissions are what people look for.
const HARMLESS_QUERY: &[&str] = &[
    "api-version",
    "comp",
    "restype",
    "prefix",
    "delimiter",
    "marker",
    "maxresults",
    "include",
    "timeout",
    "snapshot",
    "versionid",
    "$filter",
    "$top",
    "$select",
    "nextpartitionkey",
    "nextrowkey",
    "page",
    "status",
    "rule",
    "resource",
    "client_id",
    "wsid",
    "tid",
    "flight",
    "sv",
    "ss",
    "srt",
    "sr",
    "sp",
    "st",
    "se",
    "spr",
    "sip",
    "si",
    "sdd",
    "skoid",
    "sktid",
    "skt",
    "ske",
    "sks",
    "skv",
    "saoid",
    "suoid",
    "scid",
];
/// Names that end so have a secret for their value.
const SECRET_NAMES: &[&str] = &[
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "sig",
    "signature",
    "sas",
    "authorization",
    "identity-header",
    "identity_header",
    "bearer",
];
/// And these do not, although they end so: where an entity lies is not who may read it.
const HARMLESS_NAMES: &[&str] = &["partitionkey", "rowkey", "publickey", "public_key", "public-key"];
/// Names that are also words: before a colon they are a member's name only where it or its value is in quotes.
const WORDS: &[&str] = &["key", "token", "secret", "sig", "signature", "sas", "bearer"];
/// Words before a credential in an `Authorization` header.
const SCHEMES: &[&str] = &["bearer", "basic", "sharedkey", "sharedkeylite", "sharedaccesssignature"];

/// Characters behind `eyJ` (the beginning of a JSON object in Base64) that make a token of it.
const MIN_JWT: usize = 10;
/// Layers of percent-encoding that are looked through.
const MAX_LAYERS: u8 = 3;

/// The text without secrets; the same text, unchanged and uncopied, if nothing in it looks like one.
pub fn redacted(text: &str) -> Cow<'_, str> {
    if !may_hold_secret(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let units = decoded(text);
    let scan = Scan { units: &units };
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    let (mut in_url, mut in_query) = (false, false);
    while at < units.len() {
        if scan.is("://", at) {
            // What follows a name on a datastore is a part of that name.
            in_url = in_query || !scan.is_before("azureml", at);
        } else if scan.ends_word(at) {
            (in_url, in_query) = (false, false);
        } else if in_url && units[at].byte == b'?' && units[at].layer == 0 {
            // `%3F` is a sign of a blob's name.
            in_query = true;
        }
        match scan.secret(at, in_query) {
            // A value that goes back before what was masked already has lost its beginning there.
            Some((from, to)) if from < to && scan.offset(from, text) >= copied => {
                let value = scan.offset(from, text)..scan.offset(to, text);
                if text[value.clone()] != *MASK {
                    out.push_str(&text[copied..value.start]);
                    out.push_str(MASK);
                    copied = value.end;
                }
                at = to.max(at + 1);
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// A byte of the decoded text.
#[derive(Clone, Copy)]
struct Unit {
    byte: u8,
    /// Where it begins in the text.
    at: usize,
    /// How often it was encoded: 0 for what stands there plainly.
    layer: u8,
}

/// The text with `%XX` and `\u00XX` decoded, layer by layer.
fn decoded(text: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = text.bytes().enumerate().map(|(at, byte)| Unit { byte, at, layer: 0 }).collect();
    for layer in 1..=MAX_LAYERS {
        let (mut kept, mut at) = (0, 0);
        while at < units.len() {
            let hex = |offset: usize| {
                let digit =
                    |offset: usize| char::from(units.get(at + offset).map_or(b' ', |unit| unit.byte)).to_digit(16);
                u8::try_from(digit(offset)? * 16 + digit(offset + 1)?).ok()
            };
            let escaped = || units[at..].iter().map(|unit| unit.byte).take(4).eq(*b"\\u00");
            let Unit { byte, at: begin, layer: here } = units[at];
            let (byte, layer, length) = match byte {
                b'%' => hex(1).map(|byte| (byte, layer, 3)),
                // JSON writes `&` so, but never the `=` beside it: both are of one layer. A quote written so is none of JSON's.
                b'\\' if escaped() => hex(4).map(|byte| (byte, if byte == b'"' { layer } else { here }, 6)),
                _ => None,
            }
            .unwrap_or((byte, here, 1));
            units[kept] = Unit { byte, at: begin, layer };
            (kept, at) = (kept + 1, at + length);
        }
        if kept == units.len() {
            break;
        }
        units.truncate(kept);
    }
    units
}

/// Units from the first to before the second.
type Span = (usize, usize);

struct Scan<'a> {
    units: &'a [Unit],
}

impl Scan<'_> {
    /// The secret that this unit gives away, which may begin before it.
    fn secret(&self, at: usize, in_query: bool) -> Option<Span> {
        match self.byte(at)? {
            b'=' => self.member(at, in_query),
            b':' => self.user(at).or_else(|| self.member(at, in_query)),
            b' ' | b'+' => self.credential(at),
            b'J' => self.json_web_token(at),
            b'~' => self.client_secret(at),
            byte if is_base64(byte) => self.key(at),
            _ => None,
        }
    }

    /// `name=value`, `"name": "value"`, `name: value`; `at` is the sign between.
    fn member(&self, at: usize, of_url: bool) -> Option<Span> {
        let (name, quoted, before) = self.name(at)?;
        let in_query = matches!(before, Some(b'?' | b'&'));
        let is_assigned = self.byte(at) == Some(b'=');
        let plainly = self.units[at].layer == 0;
        let ends_as =
            |names: &[&str]| names.iter().any(|end| name.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with(end));
        let known = ends_as(SECRET_NAMES) && !ends_as(HARMLESS_NAMES);
        let mut from = at + 1;
        while self.byte(from) == Some(b' ') {
            from += 1;
        }
        let depth = self.backslashes(from);
        let open = from + depth;
        let is_secret = if of_url && in_query && is_assigned && plainly {
            !HARMLESS_QUERY.contains(&name.as_str())
        } else if is_assigned {
            known || (in_query && name == "code")
        } else {
            known && (quoted || self.is_quote(open) || !WORDS.contains(&name.as_str()))
        };
        if !is_secret {
            return None;
        }
        if self.is_quote(open) {
            return Some((open + 1, self.closing(open, depth)));
        }
        // A number, a list, nothing: no secret of JSON, and a mask would break it.
        if quoted && !is_assigned {
            return None;
        }
        // A field that is masked already: a row of several is read once more as a line.
        if self.is(MASK, from) && self.byte(from + MASK.len()) == Some(b',') {
            return Some((from, from + MASK.len()));
        }
        let to = self.end(from, self.units[at].layer, in_query);
        if before == Some(b'/') && is_assigned && !in_query {
            return Some((from, self.end_of_segment(from, to, self.units[at].layer)));
        }
        let scheme: String =
            self.units[from..to].iter().map(|unit| char::from(unit.byte.to_ascii_lowercase())).collect();
        match SCHEMES.contains(&scheme.as_str()) {
            true if to + 1 < self.units.len() => Some((to + 1, self.end(to + 1, self.units[at].layer, false))),
            true => None,
            false => Some((from, to)),
        }
    }

    /// The name before a sign, in lower case, whether it is quoted, and what stands before it.
    fn name(&self, sign: usize) -> Option<(String, bool, Option<u8>)> {
        let back = |mut at: usize, is: &dyn Fn(u8) -> bool| {
            while at > 0 && is(self.units[at - 1].byte) {
                at -= 1;
            }
            at
        };
        let mut to = back(sign, &|byte| byte == b' ');
        let quoted = to > 0 && self.is_quote(to - 1);
        if quoted {
            to = back(to - 1, &|byte| byte == b'\\');
        }
        let from = back(to, &|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$'));
        let name = self.units[from..to].iter().map(|unit| char::from(unit.byte.to_ascii_lowercase())).collect();
        (from < to).then(|| (name, quoted, from.checked_sub(1).map(|before| self.units[before].byte)))
    }

    /// The end of a value without quotes. What is encoded more often than the sign before it belongs to the value.
    fn end(&self, from: usize, layer: u8, in_query: bool) -> usize {
        let mut at = from;
        while let Some(unit) = self.units.get(at) {
            if unit.byte == b'\\' && unit.layer == 0 {
                // What escapes the quote behind it is left, or the quote would be another one.
                let backslashes = self.backslashes(at);
                if self.is_quote(at + backslashes) {
                    break;
                }
                at += backslashes - 1;
            } else if unit.layer <= layer {
                let ends = match unit.byte {
                    b'"' | b'`' | b'<' | b'>' | b';' => true,
                    b'&' | b'#' => in_query,
                    byte => byte.is_ascii_whitespace(),
                };
                if ends {
                    break;
                }
            }
            at += 1;
        }
        at.min(self.units.len())
    }

    /// The end of a value in a segment of a path, as partitions of data have it (`/token=eu/part.csv`): before the next slash, or the
    /// whole text where that ends as Base64 does, which has slashes of its own.
    fn end_of_segment(&self, from: usize, to: usize, layer: u8) -> usize {
        if to == from || self.byte(to - 1) == Some(b'=') || self.key(from).is_some() {
            return to;
        }
        let is_slash = |unit: &Unit| unit.byte == b'/' && unit.layer <= layer;
        self.units[from..to].iter().position(is_slash).map_or(to, |length| from + length)
    }

    /// Before the quote that closes the one at `open`, which has so many backslashes before it: none in JSON, one in JSON
    /// inside of JSON, three one layer further in. A quote of the value itself has more, one of the texts around it fewer.
    fn closing(&self, open: usize, depth: usize) -> usize {
        let quote = self.units[open];
        let mut at = open + 1;
        while let Some(unit) = self.units.get(at) {
            let backslashes = self.backslashes(at);
            let closes = self.units.get(at + backslashes);
            if closes.is_some_and(|unit| (unit.byte, unit.layer) == (quote.byte, quote.layer)) {
                if backslashes < depth {
                    return at;
                }
                if backslashes % (2 * (depth + 1)) == depth {
                    return at + backslashes - depth;
                }
            }
            // An enclosing text of the other kind of quotes may end first; what it holds is masked to its end.
            if unit.byte == b'"' && unit.layer == 0 && quote.byte == b'\'' {
                return at;
            }
            at += backslashes + 1;
        }
        self.units.len()
    }

    /// How many backslashes stand here.
    fn backslashes(&self, at: usize) -> usize {
        self.units.get(at..).unwrap_or_default().iter().take_while(|unit| (unit.byte, unit.layer) == (b'\\', 0)).count()
    }

    /// What stands between `://` and the last `@` of `://user:password@host`.
    fn user(&self, at: usize) -> Option<Span> {
        if !self.is("://", at) {
            return None;
        }
        let from = at + 3;
        let ends =
            |byte: u8| matches!(byte, b'/' | b'?' | b'#' | b'"' | b'<' | b'>' | b'`') || byte.is_ascii_whitespace();
        let authority = self.units[from..].iter().take_while(|unit| !ends(unit.byte)).count();
        let host = self.units[from..from + authority].iter().rposition(|unit| unit.byte == b'@')?;
        Some((from, from + host))
    }

    /// What follows `Bearer` and the like. A word of small letters is prose: "a bearer token".
    fn credential(&self, at: usize) -> Option<Span> {
        let letters = self.units[..at].iter().rev().take_while(|unit| unit.byte.is_ascii_alphabetic()).count();
        let scheme: String =
            self.units[at - letters..at].iter().map(|unit| char::from(unit.byte.to_ascii_lowercase())).collect();
        if !SCHEMES.contains(&scheme.as_str()) {
            return None;
        }
        let from = at + self.units[at..].iter().take_while(|unit| matches!(unit.byte, b' ' | b'+')).count();
        let to = self.end(from, self.units[at].layer, true);
        let is_prose = |unit: &Unit| unit.byte.is_ascii_lowercase() || matches!(unit.byte, b'.' | b',' | b':' | b')');
        (!self.units[from..to].iter().all(is_prose)).then_some((from, to))
    }

    /// `eyJ…`, at its `J`, with whatever follows of it. A letter before it makes it part of a word (`keyJson`).
    fn json_web_token(&self, at: usize) -> Option<Span> {
        let from = at.checked_sub(2).filter(|from| self.is("eyJ", *from))?;
        if from > 0 && self.units[from - 1].byte.is_ascii_alphabetic() {
            return None;
        }
        let is_part = |unit: &&Unit| is_base64(unit.byte) || matches!(unit.byte, b'.' | b'=');
        let length = self.units[at + 1..].iter().take_while(is_part).count();
        (length >= MIN_JWT).then_some((from, at + 1 + length))
    }

    /// `abc8Q~…`: three characters, a digit, `Q~`, at the `~`.
    fn client_secret(&self, at: usize) -> Option<Span> {
        let from = at.checked_sub(5)?;
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        let begins = self.byte(at - 1) == Some(b'Q') && self.byte(at - 2)?.is_ascii_digit();
        let length = self.units[at + 1..].iter().take_while(|unit| is_part(unit.byte)).count();
        let is_one = begins && length >= 30 && self.units[from..at].iter().all(|unit| is_part(unit.byte));
        is_one.then_some((from, at + 1 + length))
    }

    /// Base64 with its padding, from its beginning.
    fn key(&self, at: usize) -> Option<Span> {
        if at > 0 && is_base64(self.units[at - 1].byte) {
            return None;
        }
        let length = self.units[at..].iter().take_while(|unit| is_base64(unit.byte)).count();
        let digits = &self.units[at..at + length];
        let has = |is: fn(&u8) -> bool| digits.iter().any(|unit| is(&unit.byte));
        let mixed = || has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
        let padding = self.units[at + length..].iter().take_while(|unit| unit.byte == b'=').count();
        let to = at + length + padding;
        // `region/year=2026` goes on behind the sign.
        let is_whole = !self.byte(to).is_some_and(|byte| byte.is_ascii_alphanumeric());
        (length >= MIN_KEY && (1..=2).contains(&padding) && is_whole && mixed()).then_some((at, to))
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.units.get(at).map(|unit| unit.byte)
    }

    fn is(&self, text: &str, at: usize) -> bool {
        self.units[at..].iter().map(|unit| unit.byte).take(text.len()).eq(text.bytes())
    }

    /// Whether this text stands before a unit.
    fn is_before(&self, text: &str, at: usize) -> bool {
        at.checked_sub(text.len()).is_some_and(|from| self.is(text, from))
    }

    fn is_quote(&self, at: usize) -> bool {
        matches!(self.byte(at), Some(b'"' | b'\''))
    }

    fn ends_word(&self, at: usize) -> bool {
        let Unit { byte, layer, .. } = self.units[at];
        layer == 0 && (byte.is_ascii_whitespace() || matches!(byte, b'"' | b'<' | b'>'))
    }

    /// Where a unit begins in the text.
    fn offset(&self, at: usize, text: &str) -> usize {
        self.units.get(at).map_or(text.len(), |unit| unit.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An account key as they are: 64 bytes in Base64.
    const KEY: &str = "c2VjcmV0+c2VjcmV0/c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0AB3g==";
    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL21sIn0.c2ln-bmF0_dXJl";

    #[test]
    fn secrets_are_masked_and_what_stands_around_them_stays() {
        let url = "https://a.blob.core.windows.net/c/p";
        for (text, expected) in [
            (format!("{url}?sv=1&sig=c2VjcmV0%2B&se=2 and more"), format!("{url}?sv=1&sig=***&se=2 and more")),
            (format!("{url}?unheard=c2VjcmV0&comp=list"), format!("{url}?unheard=***&comp=list")),
            (
                "copy?from=x%3Fsv%3D1%26SIG%3Dc2Vj%252B%26se%3D2 x".into(),
                "copy?from=x%3Fsv%3D1%26SIG%3D***%26se%3D2 x".into(),
            ),
            ("x%253Fsig%253Dc2Vj%252526x%2526se".into(), "x%253Fsig%253D***%2526se".into()),
            (r"https://a/p?sv=1\u0026sig=c2Vj\u0026se=2".into(), r"https://a/p?sv=1\u0026sig=***\u0026se=2".into()),
            (
                "AccountName=st;AccountKey=c2Vj+/==;EndpointSuffix=x".into(),
                "AccountName=st;AccountKey=***;EndpointSuffix=x".into(),
            ),
            ("Server=x;User ID=me;Password = a&b,c!;X=1".into(), "Server=x;User ID=me;Password = ***;X=1".into()),
            (format!("Authorization: Bearer {JWT}, then"), "Authorization: Bearer *** then".into()),
            (format!("Bearer%20{JWT}%20x"), "Bearer%20***%20x".into()),
            (format!("SharedKeyLite acct:{KEY} x"), "SharedKeyLite *** x".into()),
            (format!("the task hub `{JWT}` is none"), "the task hub `***` is none".into()),
            (format!("told {KEY}, twice"), "told ***, twice".into()),
            ("https://me:pass@word@host/x".into(), "https://***@host/x".into()),
            (r#"{"clientSecret": "a\"b", "n": 1}"#.into(), r#"{"clientSecret": "***", "n": 1}"#.into()),
            (
                r#"{"m":"{\"password\":\"abc\\\\\",\"x\":\"y\"}"}"#.into(),
                r#"{"m":"{\"password\":\"***\",\"x\":\"y\"}"}"#.into(),
            ),
            (r#"{"max_token": 5, "token": null}"#.into(), r#"{"max_token": 5, "token": null}"#.into()),
            ("x-functions-key: abc==".into(), "x-functions-key: ***".into()),
            (r#"Held { secret: "abc", at: 1 }"#.into(), r#"Held { secret: "***", at: 1 }"#.into()),
            ("f/x?code=abc==".into(), "f/x?code=***".into()),
            ("https://h/p?x=abc&y=d".into(), "https://h/p?x=***&y=***".into()),
            ("https://h/p?sv=azureml://d&y=abc".into(), "https://h/p?sv=azureml://d&y=***".into()),
            ("azureml://datastores/d/paths/q?sig=abc".into(), "azureml://datastores/d/paths/q?sig=***".into()),
            ("https://h/c/q%3Fsv=1&sig=abc".into(), "https://h/c/q%3Fsv=1&sig=***".into()),
            ("ren/token=eu/x/part.csv, ren/sig=3/p".into(), "ren/token=***/x/part.csv, ren/sig=***/p".into()),
            (format!("c/key={KEY}"), "c/key=***".into()),
            ("https://h/c/token=ab/cd==".into(), "https://h/c/token=***".into()),
            ("x/password%3Deu%2Fx".into(), "x/password%3D***%2Fx".into()),
            ("7,ren/password=***,scored,2".into(), "7,ren/password=***,scored,2".into()),
            ("secret abc8Q~aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB".into(), "secret ***".into()),
        ] {
            assert_eq!(redacted(&text), expected, "{text}");
            assert_eq!(redacted(&expected), expected, "again");
        }
    }

    #[test]
    fn what_is_no_secret_is_not_touched() {
        for text in [
            "no token for https://ml.azure.com: the identity endpoint answered 400; check the bearer token.",
            "exit code=42, code: UserError, the key: taken, a basic plan",
            "T(PartitionKey='s0a',RowKey='J~1')?$filter=x",
            "https://acct.table.core.windows.net/T()?NextPartitionKey=1!4!czBh&NextRowKey=1",
            "https://ml.azure.com/runs/x?wsid=/subscriptions/s/workspaces/w&tid=1",
            "azureml://datastores/d/paths/scores/aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789/region/year=2026/p.csv",
            "azureml://datastores/d/paths/q?x=1.csv/0123/1/predictions.csv",
            "inbox/q?x=1&y=2.csv, https://a.blob.core.windows.net/c/q%3Fx=1&y=2.csv",
            "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 keyJsonFilePathOfTheRule",
            "at 10:00:00, user@example.com, 100%",
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    /// Kinds of secrets, each in its usual dress.
    fn planted() -> impl Strategy<Value = (String, String)> {
        let token = "[A-Za-z0-9]{8}[A-Za-z0-9_-]{8,30}";
        prop_oneof![
            (token, token).prop_map(|(a, b)| (format!("eyJhbGciOi{a}.{b}"), a)),
            (prop::sample::select(vec!["Bearer ", "bearer ", "Bearer%20", "Authorization: Bearer "]), token)
                .prop_map(|(scheme, a)| (format!("{scheme}X1{a}"), a)),
            (
                prop::sample::select(vec![
                    "?sv=1&sig=",
                    "&SIG=",
                    "%26sig%3D",
                    "%3Fsig%3d",
                    "%2526sig%253D",
                    r"\u0026sig="
                ]),
                token
            )
                .prop_map(|(name, a)| (format!("{name}{a}%2B"), a)),
            (
                prop::sample::select(vec![
                    "AccountKey=",
                    "SharedAccessKey=",
                    "Password=",
                    "pwd=",
                    "client_secret=",
                    "accessToken="
                ]),
                token
            )
                .prop_map(|(name, a)| (format!("{name}{a}/+=="), a)),
            "[A-Za-z0-9+/]{80}".prop_map(|a| (format!("aB3{a}xyz=="), a)),
            (token, token).prop_map(|(a, b)| (format!("https://{a}:{b}@host.example/x"), b)),
            token.prop_map(|a| (format!("https://host.example/api/f?code={a}=="), a)),
            (prop::sample::select(vec!["clientSecret", "password", "x-functions-key", "token"]), token)
                .prop_map(|(name, a)| (format!(r#"{{"{name}":"{a}"}}"#), a)),
        ]
    }

    proptest! {
        #[test]
        fn a_secret_of_any_kind_is_found_anywhere_and_found_once((dress, secret) in planted(), before in "([ -~]{0,20}[ \"'`(])?", after in "([ \"'`<>][ -~]{0,20})?") {
            let text = format!("{before}{dress}{after}");
            let shown = redacted(&text);
            prop_assert!(!shown.contains(&secret), "{} became {}", text, shown);
            prop_assert_eq!(redacted(&shown), shown.as_ref(), "{}", text);
        }

        #[test]
        fn any_text_is_taken_and_json_stays_json(text in "\\PC{0,60}", (dress, secret) in planted(), name in "[a-zA-Z]{1,12}|password|token|sig") {
            let _ = redacted(&text);
            for value in [serde_json::json!({ &name: &text, "x": [&dress] }), serde_json::json!({ "m": serde_json::json!({ &name: &dress, "n": 5 }).to_string() })] {
                let line = value.to_string();
                let shown = redacted(&line);
                prop_assert!(!shown.contains(&secret), "{} became {}", line, shown);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{} became {}", line, shown);
            }
        }
    }
}
