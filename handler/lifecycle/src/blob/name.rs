//! A blob's name, from the two places in an event that tell it.
//!
//! `subject` is documented to have it as it is, `data.url` may have it raw, percent-encoded, or anything in between, and
//! both have been seen otherwise. A name is an identity: whatever reading makes two names of one, or one of two, scores
//! the wrong blob. So a name is what both can be read as; what they cannot agree on is refused and never guessed.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::invalid::InvalidBlob;
use crate::text::one_line;

/// Where blobs without a container in their URL live.
pub(super) const ROOT: &str = "$root";
/// What of a subject comes before the container.
const SUBJECT: &str = "/blobServices/default/containers/";
/// Characters of a blob's name, by the limits of Azure Storage.
pub(crate) const MAX_PATH: usize = 1_024;
/// Bytes of what a URL has of one: each takes four bytes at most, and each of those three characters in its encoding.
const MAX_SPELLED: usize = 13_000;
/// Stands where a character was lost.
const LOST: char = char::REPLACEMENT_CHARACTER;

/// Container and path of a blob, percent-decoded; a URL of one segment alone names a blob of the root container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) container: String,
    pub(super) path: String,
}

impl Name {
    /// From what stands behind the host in `data.url`, alone. `shown` is the URL for messages.
    pub(super) fn of_url(rest: &str, shown: &dyn Fn() -> String) -> Result<Self, InvalidBlob> {
        let rest = match rest.rsplit_once('?') {
            // A signature is the one query that is known to be found on blobs' URLs.
            Some((before, query)) if has_signature(query) => before,
            Some(_) => return Err(InvalidBlob::Query(shown())),
            None => rest,
        };
        let (container, path) = rest.split_once('/').unwrap_or((ROOT, rest));
        let read = |text| match decoded(text) {
            Decoded::Text(text) => Ok(text.into_owned()),
            Decoded::NotUtf8 => Err(InvalidBlob::NotUtf8(shown())),
            // Nobody's encoding, so it is none.
            Decoded::NotEncoded => Ok(str::to_owned(text)),
        };
        let name = Self { container: read(container)?, path: read(path)? };
        if name.path.contains(LOST) { Err(InvalidBlob::Lost(shown())) } else { Ok(name) }
    }

    /// What stands behind the host in a URL that no subject comes with, each way that it may be meant: percent-encoded, and as it
    /// is. For what a blob was called before, where a reading that names no blob does no harm.
    pub(super) fn readings(rest: &str) -> Vec<Self> {
        let rest = rest.rsplit_once('?').filter(|(_, query)| has_signature(query)).map_or(rest, |(before, _)| before);
        let (container, path) = rest.split_once('/').unwrap_or((ROOT, rest));
        let name = |path: &str| Self { container: read(container).into_owned(), path: path.to_owned() };
        let encoded = read(path);
        let mut readings = vec![name(&encoded)];
        if encoded != path {
            readings.push(name(path));
        }
        readings
    }

    /// From `subject` and what stands behind the host in `data.url`. A subject of another form says nothing.
    pub(super) fn of_both(subject: &str, rest: &str, shown: &dyn Fn() -> String) -> Result<Self, InvalidBlob> {
        let Some((container, name)) = subject.strip_prefix(SUBJECT).and_then(|rest| rest.split_once("/blobs/")) else {
            return Self::of_url(rest, shown);
        };
        if name.len() > MAX_SPELLED || rest.len() > 2 * MAX_SPELLED {
            return Err(InvalidBlob::TooLong);
        }
        let disagree = || InvalidBlob::Disagree {
            subject: one_line(&format!("{container}/{name}"), 600),
            url: one_line(rest, 600),
        };
        let spelled = match rest.split_once('/') {
            Some((spelled, path)) if spells(spelled, container) => path,
            _ if container == ROOT => rest,
            _ => return Err(disagree()),
        };
        match agreed(name, spelled) {
            Some(path) => Ok(Self { container: container.to_owned(), path: path.into_owned() }),
            None if name.contains(LOST) && (spelled.contains(LOST) || read(spelled).contains(LOST)) => {
                Err(InvalidBlob::Lost(one_line(&format!("{container}/{name}"), 600)))
            }
            None => Err(disagree()),
        }
    }
}

/// The one name that both are, if there is one without a lost character.
fn agreed<'a>(subject: &'a str, spelled: &'a str) -> Option<Cow<'a, str>> {
    let without_query = spelled.rsplit_once('?').map(|(before, _)| before);
    let urls = || std::iter::once(spelled).chain(without_query);
    let whole = |name: &Cow<'_, str>| !name.contains(LOST);
    // As documented: the subject is the name, and the URL spells it.
    let as_documented = urls().any(|url| spells(url, subject)).then_some(Cow::Borrowed(subject));
    // The other way round, and both encoded.
    let the_other = || urls().find(|url| spells(subject, url)).map(Cow::Borrowed);
    let both_encoded = || match decoded(subject) {
        Decoded::Text(name) => urls().any(|url| read(url) == name).then_some(name),
        _ => None,
    };
    if let Some(name) = as_documented.or_else(the_other).or_else(both_encoded) {
        return Some(name).filter(whole);
    }
    // Characters were lost in one of them.
    let mut readings = urls().flat_map(|url| [read(url), Cow::Borrowed(url)]);
    let found = if subject.contains(LOST) {
        readings.find(|name| is_rest_of(subject, name))
    } else {
        readings.any(|rest| is_rest_of(&rest, subject)).then_some(Cow::Borrowed(subject))
    };
    found.filter(whole)
}

/// Whether `url` has each character of `name` as it is or percent-encoded, in whatever mixture. A `%25` may be either, so
/// every place that can be reached is followed.
fn spells(url: &str, name: &str) -> bool {
    if url == name {
        return true;
    }
    let (url, mut places, mut next) = (url.as_bytes(), vec![0], Vec::new());
    for byte in name.bytes() {
        for at in places.drain(..) {
            next.extend((url.get(at) == Some(&byte)).then_some(at + 1));
            next.extend((escaped(url, at) == Some(byte)).then_some(at + 3));
        }
        next.sort_unstable();
        next.dedup();
        std::mem::swap(&mut places, &mut next);
        if places.is_empty() {
            return false;
        }
    }
    places.contains(&url.len())
}

/// The byte whose percent-encoding begins here.
fn escaped(text: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = text.get(at..at + 3)? else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// What comes of decoding a text.
enum Decoded<'a> {
    Text(Cow<'a, str>),
    NotUtf8,
    /// A `%` without two hex digits: whoever wrote it did not encode.
    NotEncoded,
}

fn decoded(text: &str) -> Decoded<'_> {
    let bytes = text.as_bytes();
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && escaped(bytes, at).is_none()) {
        return Decoded::NotEncoded;
    }
    percent_decode_str(text).decode_utf8().map_or(Decoded::NotUtf8, Decoded::Text)
}

/// Decoded if it is encoded.
fn read(text: &str) -> Cow<'_, str> {
    match decoded(text) {
        Decoded::Text(text) => text,
        Decoded::NotUtf8 | Decoded::NotEncoded => Cow::Borrowed(text),
    }
}

/// Whether `damaged` is what may be left of `name`: where characters were lost others that are not ASCII stand.
fn is_rest_of(damaged: &str, name: &str) -> bool {
    let (mut damaged, mut name) = (damaged, name);
    if !damaged.contains(LOST) {
        return false;
    }
    while !damaged.is_empty() || !name.is_empty() {
        let run = |text: &str, ascii: bool| text.find(|c: char| c.is_ascii() != ascii).unwrap_or(text.len());
        for ascii in [true, false] {
            let (left, whole) = (damaged.split_at(run(damaged, ascii)), name.split_at(run(name, ascii)));
            if left.0 != whole.0 && (ascii || !left.0.contains(LOST) || whole.0.is_empty()) {
                return false;
            }
            (damaged, name) = (left.1, whole.1);
        }
    }
    true
}

/// Whether a query has a shared access signature.
fn has_signature(query: &str) -> bool {
    query.split('&').any(|pair| pair.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("sig=")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(subject: &str, url: &str) -> Result<String, InvalidBlob> {
        let subject = format!("{SUBJECT}claims/blobs/{subject}");
        Name::of_both(&subject, &format!("claims/{url}"), &|| url.to_owned()).map(|name| name.path)
    }

    #[test]
    fn the_name_is_what_both_can_be_read_as() {
        for (subject, url, name) in [
            ("a.csv", "a.csv", "a.csv"),
            ("report#1.csv", "report#1.csv", "report#1.csv"),
            ("report#1.csv", "report%231.csv", "report#1.csv"),
            ("what?.csv", "what?.csv", "what?.csv"),
            ("what?.csv", "what%3F.csv?sv=1&sig=x", "what?.csv"),
            ("what?.csv", "what?.csv?sv=1&sig=x", "what?.csv"),
            ("a%20b.csv", "a%20b.csv", "a%20b.csv"),
            ("a%20b.csv", "a%2520b.csv", "a%20b.csv"),
            ("a%%3Ab.csv", "a%%3Ab.csv", "a%%3Ab.csv"),
            ("a%:b.csv", "a%%3Ab.csv", "a%:b.csv"),
            ("a%41 b.csv", "a%41%20b.csv", "a%41 b.csv"),
            ("a%20b.csv", "a b.csv", "a b.csv"),
            ("a%2fb.csv", "a%2Fb.csv", "a/b.csv"),
            ("a+b.csv", "a%2Bb.csv", "a+b.csv"),
            ("a\\b.csv ", "a%5Cb.csv%20", "a\\b.csv "),
            ("ä/\u{1F600}.csv", "%C3%A4%2F%f0%9F%98%80.csv", "ä/\u{1F600}.csv"),
            ("t\u{fffd}\u{fffd}.csv", "t%F0%9F%92%8E.csv", "t\u{1F48E}.csv"),
            ("t\u{fffd}\u{fffd}.csv", "t\u{1F48E}.csv", "t\u{1F48E}.csv"),
            ("t\u{1F48E}.csv", "t%EF%BF%BD.csv", "t\u{1F48E}.csv"),
        ] {
            assert_eq!(both(subject, url).as_deref(), Ok(name), "{subject} and {url}");
        }
    }

    #[test]
    fn two_names_are_refused_with_both_spellings_and_a_lost_one_is_called_lost() {
        for (subject, url) in
            [("a.csv", "b.csv"), ("report", "report#1.csv"), ("aA.csv", "a%42.csv"), ("a.csv", "a.csv/")]
        {
            let why = both(subject, url).unwrap_err();
            assert!(matches!(why, InvalidBlob::Disagree { .. }), "{why}");
            assert!(why.to_string().contains(subject) && why.to_string().contains(url), "{why}");
        }
        assert!(matches!(both("t\u{fffd}.csv", "tx.csv"), Err(InvalidBlob::Disagree { .. })));
        assert!(matches!(both("t\u{fffd}.csv", "t.csv"), Err(InvalidBlob::Disagree { .. })));
        for url in ["t\u{fffd}.csv", "t%EF%BF%BD.csv", "t%ef%bf%bd%EF%BF%BD.csv"] {
            assert!(matches!(both("t\u{fffd}.csv", url), Err(InvalidBlob::Lost(_))), "{url}");
        }
        let other = Name::of_both(&format!("{SUBJECT}photos/blobs/a"), "claims/a", &String::new);
        assert!(matches!(other, Err(InvalidBlob::Disagree { .. })));
    }

    #[test]
    fn a_url_alone_is_read_as_encoded_unless_it_cannot_be() {
        let alone =
            |url: &str| Name::of_url(url, &|| url.to_owned()).map(|name| format!("{}|{}", name.container, name.path));
        for (url, name) in [
            ("c/a%20b.csv", "c|a b.csv"),
            ("c/50%.csv", "c|50%.csv"),
            ("c/report#1.csv", "c|report#1.csv"),
            ("c/a.csv?sv=1&SIG=x", "c|a.csv"),
            ("root.txt", "$root|root.txt"),
        ] {
            assert_eq!(alone(url).as_deref(), Ok(name));
        }
        assert!(matches!(alone("c/what?.csv"), Err(InvalidBlob::Query(_))));
        assert!(matches!(alone("c/%FF.csv"), Err(InvalidBlob::NotUtf8(_))));
        assert!(matches!(alone("c/%EF%BF%BD.csv"), Err(InvalidBlob::Lost(_))));
    }

    #[test]
    fn a_url_alone_has_two_readings_where_its_encoding_is_not_known() {
        let readings = |rest: &str| Name::readings(rest).into_iter().map(|name| name.path).collect::<Vec<_>>();
        for (rest, names) in [
            ("c/d/a.csv", &["d/a.csv"][..]),
            ("c/a%20b.csv", &["a b.csv", "a%20b.csv"]),
            ("c/a?b.csv", &["a?b.csv"]),
            ("c/a?b%20c.csv", &["a?b c.csv", "a?b%20c.csv"]),
            ("c/100%.csv", &["100%.csv"]),
            ("c/a?b.csv?sv=1&sig=x", &["a?b.csv"]),
        ] {
            assert_eq!(readings(rest), names, "{rest}");
        }
    }

    #[test]
    fn a_blob_of_the_root_container_may_have_it_in_its_url_or_not() {
        for rest in ["r.txt", "$root/r.txt", "%24root/r.txt"] {
            let name = Name::of_both(&format!("{SUBJECT}$root/blobs/r.txt"), rest, &String::new);
            assert_eq!(name, Ok(Name { container: ROOT.to_owned(), path: "r.txt".to_owned() }), "{rest}");
        }
    }
}
