//! A delivery of events as it came: JSON text, of which no more than one event at a time is looked into.
//!
//! Whoever can call the handler decides what the text holds: 16 MiB of `[0,0,…]` are 8 million values, which as
//! [`Value`](serde_json::Value)s take over a hundred times the text's room. So nothing is built of it: events are cut out of
//! the text as [`RawValue`]s, counted while that is done, and the 5,001st ends it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use self::repair::Piece;

pub mod repair;

/// Events that one delivery may hold. Event Grid's own limit for a batch (`maxEventsPerBatch`, 1 to 5,000).
pub const MAX_EVENTS: usize = 5_000;

/// Strings that hold JSON, and lists of lists, are opened this often; more is nobody's encoding.
pub(crate) const MAX_NESTING: usize = 3;

/// Characters of a text that is not JSON which are handed on: more than anybody keeps of it.
const MAX_KEPT: usize = 64 * 1024;

/// The text of a delivery: one JSON value, or what was there instead of one (see [`repair`]).
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    text: String,
    /// Where in the text the delivery stands, so that it need not be copied out of an envelope.
    at: Range<usize>,
}

/// A delivery has more than [`MAX_EVENTS`] events. Nothing of it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the delivery has more than {MAX_EVENTS} events, which is Event Grid's limit for a batch; nothing of it was taken"
)]
pub struct TooManyEvents;

impl Payload {
    /// A text that is the delivery from its beginning to its end, be it JSON or not.
    pub fn new(text: String) -> Self {
        Self { at: 0..text.len(), text }
    }

    /// What `find` points to within a text, which stays as it is; the whole text if it points to nothing.
    pub fn within(text: String, find: impl FnOnce(&str) -> Option<&RawValue>) -> Self {
        let at = find(&text).and_then(|part| {
            // A part of another text, such as a constant, lies elsewhere.
            let begin = (part.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
            let at = begin..begin + part.get().len();
            text.get(at.clone()).map(|_| at)
        });
        let at = at.unwrap_or(0..text.len());
        Self { text, at }
    }

    /// The delivery alone, without the envelope that it may stand in.
    pub fn text(&self) -> &str {
        &self.text[self.at.clone()]
    }

    /// With strings that hold JSON opened, each in its own memory.
    #[must_use]
    pub fn opened(mut self) -> Self {
        for _ in 0..MAX_NESTING {
            if !self.text().starts_with('"') {
                break;
            }
            let Self { mut text, at } = self;
            text.truncate(at.end);
            text.drain(..at.start);
            let inner = match unescape(text) {
                Ok(inner) => inner,
                Err(NotAString(text)) => return Self::new(text),
            };
            if serde_json::from_str::<&RawValue>(&inner).is_err() && !begins_as_json(&inner) {
                // What was never meant to be JSON stays the string that it is.
                return Self::new(serde_json::Value::String(inner).to_string());
            }
            self = Self::new(inner);
        }
        self
    }

    /// The events: one or many, as object, list, or string that holds either. In a text that is not JSON each event that
    /// can be read is one still; what lies between them is one as well, its beginning as a JSON string, so that it gets a
    /// verdict like any other.
    pub fn events(&self) -> Result<Vec<Cow<'_, RawValue>>, TooManyEvents> {
        let mut found = FoundEvents { events: Vec::new(), room: MAX_EVENTS };
        match serde_json::from_str::<&RawValue>(self.text()) {
            Ok(raw) => found.open(raw, MAX_NESTING)?,
            Err(_) => found.open_damaged(self.text(), MAX_NESTING)?,
        }
        Ok(found.events)
    }
}

/// Whether a text would be an object or a list, were it whole.
fn begins_as_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Shows no text: it may hold signatures.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.at.len())
    }
}

impl From<&serde_json::Value> for Payload {
    fn from(value: &serde_json::Value) -> Self {
        Self::new(value.to_string())
    }
}

/// For hosts that hand a payload over as JSON and not as text.
impl<'de> de::Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self::new(Box::<str>::from(raw).into_string()))
    }
}

/// Events cut out so far.
struct FoundEvents<'a> {
    events: Vec<Cow<'a, RawValue>>,
    room: usize,
}

impl<'a> FoundEvents<'a> {
    fn push(&mut self, event: Cow<'a, RawValue>) -> Result<(), TooManyEvents> {
        self.room = self.room.checked_sub(1).ok_or(TooManyEvents)?;
        self.events.push(event);
        Ok(())
    }

    fn open(&mut self, raw: &'a RawValue, nesting: usize) -> Result<(), TooManyEvents> {
        match raw.get().as_bytes().first() {
            Some(b'[') if nesting > 0 => {
                let mut full = Ok(());
                let items = Items { found: self, nesting: nesting - 1, full: &mut full };
                // The text is JSON, so reading it ends early for one reason only.
                let _ = serde_json::Deserializer::from_str(raw.get()).deserialize_seq(items);
                full
            }
            Some(b'"') if nesting > 0 => {
                match json_within(raw).filter(|inner| inner.get().starts_with(['{', '[', '"'])) {
                    Some(event) if event.get().starts_with('{') => self.push(Cow::Owned(event)),
                    Some(inner) => self.open_within(|within| within.open(&inner, nesting - 1)),
                    None => match unescape(raw.get().to_owned()) {
                        Ok(inner) if begins_as_json(&inner) => {
                            self.open_within(|within| within.open_damaged(&inner, nesting - 1))
                        }
                        _ => self.push(Cow::Borrowed(raw)),
                    },
                }
            }
            _ => self.push(Cow::Borrowed(raw)),
        }
    }

    /// The events of a text that is not JSON as a whole.
    fn open_damaged(&mut self, text: &'a str, nesting: usize) -> Result<(), TooManyEvents> {
        if !begins_as_json(text) {
            return self.push(Cow::Owned(as_json_string(text)));
        }
        for piece in repair::pieces(text, MAX_EVENTS + 1) {
            match piece {
                Piece::Value(Cow::Borrowed(value)) => self.open(value, nesting)?,
                Piece::Value(Cow::Owned(value)) => self.open_within(|within| within.open(&value, nesting))?,
                Piece::Unreadable(text) => self.push(Cow::Owned(as_json_string(text)))?,
            }
        }
        Ok(())
    }

    /// Opens what lives no longer than the call: events are copied out of it.
    fn open_within<'b>(
        &mut self,
        open: impl FnOnce(&mut FoundEvents<'b>) -> Result<(), TooManyEvents>,
    ) -> Result<(), TooManyEvents> {
        let mut within = FoundEvents { events: Vec::new(), room: self.room };
        open(&mut within)?;
        self.room = within.room;
        self.events.extend(within.events.into_iter().map(|event| Cow::Owned(event.into_owned())));
        Ok(())
    }
}

/// The beginning of a text as a JSON string.
fn as_json_string(text: &str) -> Box<RawValue> {
    let begin: String = text.chars().take(MAX_KEPT).collect();
    // A string is always JSON.
    serde_json::value::to_raw_value(&begin).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The items of a list, one after the other.
struct Items<'f, 'a> {
    found: &'f mut FoundEvents<'a>,
    nesting: usize,
    full: &'f mut Result<(), TooManyEvents>,
}

impl<'a> Visitor<'a> for Items<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut items: S) -> Result<(), S::Error> {
        while let Some(item) = items.next_element::<&'a RawValue>()? {
            if let Err(full) = self.found.open(item, self.nesting) {
                *self.full = Err(full);
                return Err(de::Error::custom(full));
            }
        }
        Ok(())
    }
}

/// The members of an object that are asked for, not looked into; of several with one name the last, as everybody reads
/// JSON. `None`: it is not an object.
pub fn members<'a, const N: usize>(object: &'a RawValue, names: [&str; N]) -> Option<[Option<&'a RawValue>; N]> {
    let mut found = [None; N];
    each_member(object.get(), |name, value| {
        if let Some(at) = names.iter().position(|wanted| *wanted == name) {
            found[at] = Some(value);
        }
    })?;
    Some(found)
}

/// Calls `each` with every member of an object, in the order of the text. `None`: the text is not a JSON object; `each` may
/// have been called with what comes before the place where that shows.
pub fn each_member<'a>(object: &'a str, each: impl FnMut(&str, &'a RawValue)) -> Option<()> {
    let mut reader = serde_json::Deserializer::from_str(object);
    reader.deserialize_map(Members(each)).ok()?;
    reader.end().ok()
}

struct Members<F>(F);

impl<'a, F: FnMut(&str, &'a RawValue)> Visitor<'a> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut members: M) -> Result<(), M::Error> {
        // Names are borrowed from the text, or for a moment from the reader where they hold escapes.
        while let Some(name) = members.next_key_seed(Name)? {
            let value = members.next_value::<&'a RawValue>()?;
            (self.0)(&name, value);
        }
        Ok(())
    }
}

struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Cow<'a, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Bytes of a JSON string that is looked at as a text; longer is not a URL, no ETag and no name.
const MAX_STRING: usize = 96 * 1024;

/// The text of a JSON string, borrowed where nothing in it is escaped; U+FFFD stands for half of a surrogate pair, which is
/// good syntax and no character. `None`: it is no string, or far too long for anything that is read from an event.
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    if raw.get().len() > MAX_STRING {
        return None;
    }
    match serde_json::Deserializer::from_str(raw.get()).deserialize_str(Name) {
        Ok(text) => Some(text),
        Err(_) => unescape(raw.get().to_owned()).ok().map(Cow::Owned),
    }
}

/// The JSON that a string holds. `None`: it is no string, or holds something else.
pub fn json_within(raw: &RawValue) -> Option<Box<RawValue>> {
    let string = raw.get().starts_with('"').then(|| raw.get().to_owned())?;
    RawValue::from_string(unescape(string).ok()?).ok()
}

/// What was given, which is not a JSON string; back to whoever gave it, as it may have megabytes.
#[derive(Debug, PartialEq)]
struct NotAString(String);

/// The text of a JSON string, made in the memory of the string itself: the text is never longer. `serde_json` would hold
/// it three times meanwhile, and such a string may be all of a large body; and it refuses all of it for half of a surrogate
/// pair, for which U+FFFD stands here.
fn unescape(json: String) -> Result<String, NotAString> {
    let is_string = json.len() >= 2 && json.starts_with('"') && serde_json::from_str::<&RawValue>(&json).is_ok();
    if !is_string {
        return Err(NotAString(json));
    }
    let mut bytes = json.into_bytes();
    let end = bytes.trim_ascii_end().len() - 1;
    let (mut read, mut write) = (1, 0);
    while read < end {
        let plain = bytes[read..end].iter().position(|byte| *byte == b'\\').unwrap_or(end - read);
        bytes.copy_within(read..read + plain, write);
        (read, write) = (read + plain, write + plain);
        if let Some((character, length)) = escape(&bytes[read..end]) {
            let mut utf8 = [0; 4];
            let utf8 = character.encode_utf8(&mut utf8).as_bytes();
            bytes[write..write + utf8.len()].copy_from_slice(utf8);
            (read, write) = (read + length, write + utf8.len());
        }
    }
    bytes.truncate(write);
    // Whole characters were moved, so it is UTF-8 still.
    String::from_utf8(bytes).map_err(|error| NotAString(String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The character of an escape and the escape's length; its syntax was checked before.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 6)?.strip_prefix(b"\\u")?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let plain = match *text.get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = unit(0)?;
            let second = (0xd800..0xdc00).contains(&first).then(|| unit(6)).flatten();
            let character = char::decode_utf16([Some(first), second].into_iter().flatten()).next()?;
            // What follows a first half and is no second one is a character of its own.
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            return Some((character, 6 * character.len_utf16()));
        }
        itself => char::from(itself),
    };
    Some((plain, 2))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(payload: &Payload) -> Vec<String> {
        payload.events().expect("not too many").iter().map(|event| event.get().to_owned()).collect()
    }

    #[test]
    fn five_thousand_events_are_taken_and_one_more_is_refused_in_every_encoding() {
        let list = |n: usize| format!("[{}]", vec!["0"; n].join(","));
        for n in [MAX_EVENTS, MAX_EVENTS + 1] {
            let half = n / 2;
            let nested = format!("[{},{}]", list(half), json!(list(n - half)));
            for text in [list(n), json!(list(n)).to_string(), nested] {
                let events = Payload::new(text).events().map(|events| events.len());
                assert_eq!(events, if n == MAX_EVENTS { Ok(n) } else { Err(TooManyEvents) });
            }
        }
    }

    #[test]
    fn a_part_of_a_text_is_the_delivery_without_being_copied() {
        let text = r#"{"Data": {"event": [1, {"a":2}]}, "Metadata": {}}"#.to_owned();
        let payload = Payload::within(text.clone(), |text| {
            let [data] = members(serde_json::from_str(text).ok()?, ["Data"])?;
            let [event] = members(data?, ["event"])?;
            event
        });
        assert_eq!(
            (payload.text(), texts(&payload)),
            (r#"[1, {"a":2}]"#, vec!["1".to_owned(), r#"{"a":2}"#.to_owned()])
        );
        assert_eq!(Payload::within(text.clone(), |_| None).text(), text);
        assert_eq!(Payload::within(text.clone(), |_| serde_json::from_str("7").ok()).text(), text, "of another text");
    }

    #[test]
    fn strings_are_opened_as_long_as_json_is_in_them() {
        let opened = |value: serde_json::Value| Payload::from(&value).opened().text().to_owned();
        assert_eq!(opened(json!("[1]")), "[1]");
        assert_eq!(opened(json!(json!("[1]").to_string())), "[1]");
        assert_eq!(opened(json!("half {")), r#""half {""#);
        assert_eq!(opened(json!(null)), "null");
    }

    proptest::proptest! {
        #[test]
        fn a_string_is_unescaped_as_serde_does(text in "\\PC{0,20}[\"\\\\/\u{8}\n\t\u{c}\r\u{1F600}é]{0,6}\\PC{0,5}", all: bool) {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
            let json = if all { format!("\"{units}\"") } else { json!(text).to_string() };
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&json).expect("a string"), &*text);
            proptest::prop_assert_eq!(unescape(json), Ok(text));
        }

        #[test]
        fn what_is_no_string_is_given_back(text in "\"?[a\\\\u\"dD8Cc0]{0,14}\"?") {
            let ours = unescape(text.clone());
            match serde_json::from_str::<String>(&text) {
                Ok(theirs) => proptest::prop_assert_eq!(ours, Ok(theirs)),
                // Half of a surrogate pair is all that serde refuses in a string that it calls JSON.
                Err(_) if text.starts_with('"') && serde_json::from_str::<&RawValue>(&text).is_ok() => {
                    proptest::prop_assert!(ours.is_ok_and(|text| text.contains(char::REPLACEMENT_CHARACTER)));
                }
                Err(_) => proptest::prop_assert_eq!(ours, Err(NotAString(text))),
            }
        }
    }

    #[test]
    fn members_are_found_by_name_the_last_of_several() {
        let raw: &RawValue = serde_json::from_str(r#"{"a":1,"\u0062":"x\n","a":[2]}"#).expect("JSON");
        let [a, b, c] = members(raw, ["a", "b", "c"]).expect("an object");
        assert_eq!(
            (a.map(RawValue::get), b.and_then(string).as_deref(), c.map(RawValue::get)),
            (Some("[2]"), Some("x\n"), None)
        );
        let list: &RawValue = serde_json::from_str("[1]").expect("JSON");
        assert!(members(list, ["a"]).is_none() && string(list).is_none());
    }

    #[test]
    fn a_text_that_is_no_json_is_one_event() {
        assert_eq!(texts(&Payload::new("half {".to_owned())), [r#""half {""#]);
        assert_eq!(format!("{:?}", Payload::new("sig=SECRET".to_owned())), "Payload(10 bytes)");
    }
}
