//! Entity group transactions: the multipart writer and the parser of what comes back.
//!
//! The service answers 202 even when the transaction failed; then there is exactly one inner answer. A body that cannot
//! be understood to its end must never be taken for success.
//!
//! Sources: *Performing entity group transactions*; RFC 2046 section 5.1.

use app::ports::table_store::json::write_entity;
use app::ports::table_store::{Error, Op, TableName};
use httparse::{EMPTY_HEADER, Header, Response};
use memchr::memmem;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue};

use super::answer::ERROR_CODE;
use super::error::Unreadable;
use super::wire;

/// What the writer's parts are separated by. No part has a line that begins so: bodies are one line of JSON, and header
/// lines begin with a name.
const BATCH: &str = "batch_scorekeeper";
const CHANGES: &str = "changeset_scorekeeper";

const BEFORE_REQUEST: &str = "\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n";
const BEHIND_ADDRESS: &str =
    " HTTP/1.1\r\nAccept: application/json;odata=minimalmetadata\r\nDataServiceVersion: 3.0\r\n";

/// Bytes of a usual operation; the largest row has some three times this.
const USUAL: usize = 1_024;

/// Operations that a transaction of ours has at most, but for a few; a guess, for memory.
const USUAL_PARTS: usize = 8;
/// Header lines of an inner answer; the service sends some eight.
const MAX_HEADERS: usize = 16;

/// The Content-Type of [`write`]'s body.
pub(super) const MULTIPART: HeaderValue = HeaderValue::from_static("multipart/mixed; boundary=batch_scorekeeper");

/// The body of a transaction: one change set, one complete request for each operation.
pub(super) fn write(base: &str, table: &TableName, ops: &[Op]) -> Result<String, Error> {
    let mut out = String::with_capacity(256 + ops.len() * USUAL);
    push(&mut out, &["--", BATCH, "\r\nContent-Type: multipart/mixed; boundary=", CHANGES, "\r\n\r\n"]);
    for op in ops {
        push(&mut out, &["--", CHANGES, BEFORE_REQUEST, wire::method(op).as_str(), " "]);
        wire::write_address(&mut out, base, table, op);
        out.push_str(BEHIND_ADDRESS);
        if let Some(tag) = wire::if_match(op)? {
            push(&mut out, &["If-Match: ", tag, "\r\n"]);
        }
        if let Some(entity) = op.entity() {
            out.push_str("Prefer: return-no-content\r\nContent-Type: application/json\r\n\r\n");
            write_entity(&mut out, entity);
        }
        out.push_str("\r\n");
    }
    push(&mut out, &["--", CHANGES, "--\r\n--", BATCH, "--\r\n"]);
    Ok(out)
}

fn push(out: &mut String, parts: &[&str]) {
    out.extend(parts.iter().copied());
}

/// One inner answer, and of its headers those that count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) status: u16,
    pub(super) etag: Option<&'a str>,
    pub(super) error_code: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// A header's value, if it is text; names are case-insensitive.
fn header<'a>(headers: &[Header<'a>], name: &HeaderName) -> Option<&'a str> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name.as_str()))?;
    std::str::from_utf8(header.value).ok()
}

/// The inner answers, in order. `content_type` is the outer answer's.
pub(super) fn read<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, Unreadable> {
    let mut parts = Vec::with_capacity(USUAL_PARTS);
    collect(content_type, body, 2, &mut parts)?;
    Ok(parts)
}

fn collect<'a>(content_type: &str, body: &'a [u8], depth: u8, parts: &mut Vec<Part<'a>>) -> Result<(), Unreadable> {
    let boundary = boundary(content_type).ok_or_else(|| Unreadable::NoBoundary(content_type.to_owned()))?;
    for section in sections(body, boundary)? {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let (length, headers) = ended(httparse::parse_headers(section, &mut headers)?)?;
        let (kind, inner) = (header(headers, &CONTENT_TYPE).unwrap_or_default(), &section[length..]);
        if is_multipart(kind) {
            if depth == 0 {
                return Err(Unreadable::TooDeep);
            }
            collect(kind, inner, depth - 1, parts)?;
        } else {
            parts.push(part(inner)?);
        }
    }
    Ok(())
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !is_multipart(kind.trim_ascii()) {
        return None;
    }
    parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value.trim().trim_matches('"'))
        .filter(|value| !value.is_empty())
}

/// What stands between the delimiter lines. The closing one must be there, or the body was cut short.
fn sections<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<&'a [u8]>, Unreadable> {
    let delimiter = format!("--{boundary}");
    let mut sections = Vec::with_capacity(USUAL_PARTS);
    let mut begin = None;
    for at in memmem::find_iter(body, &delimiter) {
        // A delimiter is a line of its own.
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        let behind = at + delimiter.len();
        let end = memchr::memchr(b'\n', &body[behind..]).map_or(body.len(), |length| behind + length + 1);
        let closes = match body[behind..end].trim_ascii_end() {
            b"" => false,
            b"--" => true,
            _ => continue,
        };
        if let Some(begin) = begin {
            sections.push(&body[begin..at]);
        }
        if closes {
            return Ok(sections);
        }
        begin = Some(end);
    }
    Err(Unreadable::NotClosed(boundary.to_owned()))
}

fn is_multipart(kind: &str) -> bool {
    kind.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"))
}

/// An `application/http` part: status line, headers, body.
fn part(inner: &[u8]) -> Result<Part<'_>, Unreadable> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut answer = Response::new(&mut headers);
    let length = ended(answer.parse(inner)?)?;
    // Its headers are read as those of that version.
    let status = answer.code.filter(|_| answer.version == Some(1)).ok_or(httparse::Error::Version)?;
    let [etag, error_code] = [&ETAG, &ERROR_CODE].map(|name| header(answer.headers, name));
    Ok(Part { status, etag, error_code, body: inner[length..].trim_ascii() })
}

fn ended<T>(head: httparse::Status<T>) -> Result<T, Unreadable> {
    match head {
        httparse::Status::Complete(head) => Ok(head),
        httparse::Status::Partial => Err(Unreadable::HeadNotEnded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use app::ports::table_store::{ETag, Entity, IfMatch, Key};

    const TYPE: &str = "multipart/mixed; boundary=batchresponse_8b0ab9f1-0d2e-4a3b-a1a8-8c7ab3b6a1a9";

    fn answer(inner: &str) -> Vec<u8> {
        let text = format!(
            "--batchresponse_8b0ab9f1-0d2e-4a3b-a1a8-8c7ab3b6a1a9\n\
             Content-Type: multipart/mixed; boundary=changesetresponse_0f2b\n\n{inner}\
             --changesetresponse_0f2b--\n--batchresponse_8b0ab9f1-0d2e-4a3b-a1a8-8c7ab3b6a1a9--\n"
        );
        text.replace('\n', "\r\n").into_bytes()
    }

    fn accepted(etag: &str) -> String {
        format!(
            "--changesetresponse_0f2b\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n\
             HTTP/1.1 204 No Content\nX-Content-Type-Options: nosniff\nCache-Control: no-cache\n\
             Preference-Applied: return-no-content\nDataServiceVersion: 3.0;\nLocation: https://acct/T(PartitionKey='p',RowKey='1')\n\
             DataServiceId: https://acct/T(PartitionKey='p',RowKey='1')\nETag: {etag}\n\n\n"
        )
    }

    #[test]
    fn a_transaction_is_written_as_documented() {
        let table = TableName::read("JobState").unwrap();
        let tag = IfMatch::Tag(ETag("W/\"1\"".to_owned()));
        let ops = [
            Op::Insert(Entity::new(Key::new("p", "1")).with("A", "x\r\n--batch_scorekeeper--")),
            Op::Merge(Entity::new(Key::new("p", "2")), tag.clone()),
            Op::Delete(Key::new("p", "3"), tag),
            Op::Upsert(Entity::new(Key::new("p", "4"))),
        ];
        let expected = r#"--batch_scorekeeper
Content-Type: multipart/mixed; boundary=changeset_scorekeeper

--changeset_scorekeeper
Content-Type: application/http
Content-Transfer-Encoding: binary

POST https://acct/JobState HTTP/1.1
Accept: application/json;odata=minimalmetadata
DataServiceVersion: 3.0
Prefer: return-no-content
Content-Type: application/json

{"A":"x\r\n--batch_scorekeeper--","PartitionKey":"p","RowKey":"1"}
--changeset_scorekeeper
Content-Type: application/http
Content-Transfer-Encoding: binary

PATCH https://acct/JobState(PartitionKey='p',RowKey='2') HTTP/1.1
Accept: application/json;odata=minimalmetadata
DataServiceVersion: 3.0
If-Match: W/"1"
Prefer: return-no-content
Content-Type: application/json

{"PartitionKey":"p","RowKey":"2"}
--changeset_scorekeeper
Content-Type: application/http
Content-Transfer-Encoding: binary

DELETE https://acct/JobState(PartitionKey='p',RowKey='3') HTTP/1.1
Accept: application/json;odata=minimalmetadata
DataServiceVersion: 3.0
If-Match: W/"1"

--changeset_scorekeeper
Content-Type: application/http
Content-Transfer-Encoding: binary

PUT https://acct/JobState(PartitionKey='p',RowKey='4') HTTP/1.1
Accept: application/json;odata=minimalmetadata
DataServiceVersion: 3.0
Prefer: return-no-content
Content-Type: application/json

{"PartitionKey":"p","RowKey":"4"}
--changeset_scorekeeper--
--batch_scorekeeper--
"#;
        let written = write("https://acct", &table, &ops).unwrap();
        assert_eq!(written, expected.replace('\n', "\r\n"));
    }

    #[test]
    fn a_committed_transaction_gives_its_parts_in_order() {
        let body = answer(&[accepted("W/\"1\""), accepted("W/\"2\"")].concat());
        let parts = read(TYPE, &body).unwrap();
        assert_eq!(
            parts.iter().map(|p| (p.status, p.etag)).collect::<Vec<_>>(),
            [(204, Some("W/\"1\"")), (204, Some("W/\"2\""))]
        );
    }

    #[test]
    fn a_failed_transaction_gives_its_one_error_with_the_body() {
        let body = r#"{"odata.error":{"code":"EntityAlreadyExists","message":{"lang":"en-US","value":"1:The specified entity already exists.\nRequestId:1\nTime:2"}}}"#;
        let inner = format!(
            "--changesetresponse_0f2b\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n\
             HTTP/1.1 409 Conflict\nX-Content-Type-Options: nosniff\nContent-Type: application/json;odata=minimalmetadata;\
             streaming=true;charset=utf-8\n\n{body}\n"
        );
        let whole = answer(&inner);
        let parts = read(TYPE, &whole).unwrap();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].status, 409);
        assert_eq!(parts[0].body, body.as_bytes());
    }

    #[test]
    fn a_boundary_may_be_quoted_and_lines_may_end_in_lf() {
        let body = answer(&accepted("W/\"1\""));
        let quoted = TYPE.replace("boundary=", "charset=utf-8; Boundary=\"") + "\"";
        assert_eq!(read(&quoted, &body).unwrap().len(), 1);
        let lf = String::from_utf8(body).unwrap().replace("\r\n", "\n");
        assert_eq!(read(TYPE, lf.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn a_delimiter_counts_only_as_a_line_of_its_own() {
        let boundary = "batchresponse_8b0ab9f1-0d2e-4a3b-a1a8-8c7ab3b6a1a9";
        let inner = format!("X: a --{boundary}--\n--{boundary}x\n--{boundary}- -\n");
        let body = format!("--{boundary}\t \n{inner}--{boundary}--\n");
        assert_eq!(sections(body.as_bytes(), boundary).unwrap(), [inner.as_bytes()]);
        assert!(sections(inner.as_bytes(), boundary).is_err());
        assert_eq!(sections(format!("--{boundary}--").as_bytes(), boundary).unwrap(), [b""; 0]);
    }

    #[test]
    fn a_body_that_ends_early_is_never_understood() {
        let whole = answer(&[accepted("W/\"1\""), accepted("W/\"2\"")].concat());
        // The last CRLF is no part of the message.
        for length in 0..whole.len() - 2 {
            assert!(read(TYPE, &whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
        assert!(read("application/json", &whole).is_err());
        assert!(read("multipart/mixed", &whole).is_err());
    }
}
