//! The ledger's table in Azure: a thin client for the Table service on `azure_core`'s public pipeline.
//!
//! There is no official Tables crate for Rust. This one does what the port needs and no more: [`wire`] writes operations
//! and reads entities, [`batch`] does the same for transactions, [`sign`] authorises, [`answer`] says what an answer means.
//!
//! **A write that may have been done is sent once.** The pipeline's default policy sends a POST again after a lost answer, and
//! a successful insert then reports that its key is taken; so its retries are off, and a write without an answer is
//! [`Error::Ambiguous`]. What was surely not done (a refused token, a busy service, no connection) is sent again, within the
//! time of one write. Reads are repeated a few times.
//!
//! Sources: *Table service REST API*; *Performing entity group transactions*; *Query timeout and pagination*.

mod answer;
mod batch;
mod error;
mod sign;
pub(super) mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{
    ACCEPT, CLIENT_REQUEST_ID, CONTENT_TYPE, ERROR_CODE, ETAG, HeaderName, Headers, IF_MATCH, MS_DATE, PREFER, VERSION,
};
use azure_core::http::{Context, Method, Request, Transport};
use futures::TryStreamExt as _;
use lifecycle::text::error_chain;
use time::OffsetDateTime;
use tokio::time::Instant;
use url::Url;

use crate::http::new_request_id;
use crate::http::retry::{Tries, retry_after};
use app::ports::table_store::{
    Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore, check, check_key, check_range,
};

use answer::{Failure, RequestKind, classify};
pub use error::SetupError;
use error::{NoAnswer, Unreadable};
pub use sign::Auth;

/// The oldest version known to take Entra tokens for tables; newer ones change nothing that is used here.
const SERVICE_VERSION: &str = "2020-12-06";
/// With less metadata queries carry no ETags.
const JSON: &str = "application/json;odata=minimalmetadata";
const DATA_SERVICE_VERSION: HeaderName = HeaderName::from_static("dataserviceversion");
const MAX_DATA_SERVICE_VERSION: HeaderName = HeaderName::from_static("maxdataserviceversion");
const NEXT_PARTITION: HeaderName = HeaderName::from_static("x-ms-continuation-nextpartitionkey");
const NEXT_ROW: HeaderName = HeaderName::from_static("x-ms-continuation-nextrowkey");

/// A whole write, token and answer included. Below Event Grid's 30 s, so that a write of unknown outcome can still be told.
const WRITE_TIMEOUT: Duration = Duration::from_secs(25);
/// A write is not sent again when less than this is left of its time.
const LAST_TRY: Duration = Duration::from_secs(5);
/// One attempt of a read; the service ends queries after 5 s.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// No answer is longer: a page is at most 1,000 entities and, by the service's rules, far below this.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A storage account's tables.
#[derive(Debug, Clone)]
pub struct AzureTables {
    /// The account's address, without a slash at its end.
    base: String,
    auth: Auth,
    transport: Transport,
}

impl AzureTables {
    /// A client for the account at `endpoint`. Nothing is sent yet. `transport` is the process's shared HTTP client; it
    /// should follow no redirects and have a connect timeout.
    pub fn new(endpoint: &Url, auth: Auth, transport: Transport) -> Result<Self, SetupError> {
        let plain = matches!(endpoint.scheme(), "http" | "https")
            && endpoint.has_host()
            && endpoint.username().is_empty()
            && endpoint.password().is_none()
            && endpoint.query().is_none()
            && endpoint.fragment().is_none();
        if !plain {
            // Without user and query: these may be secrets.
            let shown =
                format!("{}://{}{}", endpoint.scheme(), endpoint.host_str().unwrap_or_default(), endpoint.path());
            return Err(SetupError::Endpoint(shown));
        }
        auth.check(endpoint)?;
        Ok(Self { base: endpoint.as_str().trim_end_matches('/').to_owned(), auth, transport })
    }

    fn request(method: Method, url: &str) -> Result<Request, Error> {
        // Everything variable in it is percent-encoded; a failure here is a defect, not an outage.
        let url = Url::parse(url).map_err(|error| Error::Refused(format!("no address can be made: {error}")))?;
        let mut request = Request::new(url, method);
        request.insert_header(VERSION, SERVICE_VERSION);
        request.insert_header(ACCEPT, JSON);
        request.insert_header(DATA_SERVICE_VERSION, "3.0");
        request.insert_header(MAX_DATA_SERVICE_VERSION, "3.0;NetFx");
        request.insert_header(CLIENT_REQUEST_ID, new_request_id());
        Ok(request)
    }

    /// Sends once and reads the answer to its end, within `timeout`. A token that is refused is forgotten.
    ///
    /// Straight to the transport: the pipeline of `azure_core` would repeat, log and box what is done here in a few lines.
    async fn exchange(&self, request: &mut Request, timeout: Duration) -> Result<Answer, NoAnswer> {
        // What failed before this was set surely did not happen.
        let sent = AtomicBool::new(false);
        let attempt = async {
            // The service refuses a request that is more than 15 minutes old.
            request.insert_header(MS_DATE, azure_core::time::to_rfc7231(&now()));
            let token = self.auth.authorize(request).await?;
            sent.store(true, Ordering::Relaxed);
            let response = match self.transport.send(&Context::new(), request).await {
                Ok(response) => response,
                Err(error) if *error.kind() == ErrorKind::Connection => return Err(NoAnswer::not_sent(error)),
                Err(error) => return Err(NoAnswer::Sent(error_chain(&error))),
            };
            let (status, headers, mut stream) = response.deconstruct();
            let status = u16::from(status);
            if status == 401 {
                self.auth.forget(token.as_ref());
            }
            let mut body = Vec::new();
            let body = loop {
                match stream.try_next().await {
                    Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER_BYTES => break Err(Unreadable::TooLong),
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                    Ok(None) => break Ok(body),
                    Err(error) => break Err(Unreadable::Cut(error)),
                }
            };
            Ok(Answer { status, headers, body })
        };
        match tokio::time::timeout(timeout, attempt).await {
            Ok(outcome) => outcome,
            Err(_) if sent.load(Ordering::Relaxed) => {
                Err(NoAnswer::Sent(format!("no answer within {} s", timeout.as_secs())))
            }
            Err(_) => Err(NoAnswer::NotSent(format!("no token within {} s", timeout.as_secs()))),
        }
    }

    /// A write. Gives the answer if it is a success. A refused token is surely no write: once more with a new one.
    async fn change(&self, mut request: Request, kind: RequestKind, end: Instant) -> Result<Answer, Error> {
        let mut tries = Tries::new();
        loop {
            return match self.exchange(&mut request, end.saturating_duration_since(Instant::now())).await {
                Ok(answer) if (200..300).contains(&answer.status) => Ok(answer),
                Ok(answer) if answer.status == 401 && tries.renew() => continue,
                Ok(answer) => Err(classify(kind, &answer.failure())),
                Err(NoAnswer::NotSent(why)) => Err(Error::Unavailable(why)),
                Err(NoAnswer::Sent(why)) => Err(Error::Ambiguous(why)),
            };
        }
    }

    async fn write_once(&self, table: &TableName, ops: &[Op], end: Instant) -> Result<Vec<Option<ETag>>, Error> {
        match ops {
            [op] => self.write_one(table, op, end).await,
            ops => self.write_many(table, ops, end).await,
        }
    }

    /// A read: repeated as others that only look, all tries under one request id. `understand` makes sense of a 200.
    async fn read<T>(
        &self,
        url: &str,
        understand: impl Fn(&Headers, &[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, Error> {
        let mut request = Self::request(Method::Get, url)?;
        let mut tries = Tries::new();
        loop {
            let (error, wish) = match self.exchange(&mut request, READ_TIMEOUT).await {
                Ok(answer) if answer.status == 200 => match answer
                    .body
                    .and_then(|body| understand(&answer.headers, &body))
                {
                    Ok(value) => return Ok(value),
                    Err(why) => (Error::Unavailable(format!("the answer is unreadable: {}", error_chain(&why))), None),
                },
                Ok(answer) if answer.status == 401 && tries.renew() => continue,
                Ok(answer) => match classify(RequestKind::Read, &answer.failure()) {
                    error @ Error::Throttled { retry_after } => (error, retry_after),
                    error @ Error::Unavailable(_) => (error, None),
                    error => return Err(error),
                },
                Err(NoAnswer::NotSent(why) | NoAnswer::Sent(why)) => (Error::Unavailable(why), None),
            };
            if !tries.again(wish).await {
                return Err(error);
            }
        }
    }

    async fn write_one(&self, table: &TableName, op: &Op, end: Instant) -> Result<Vec<Option<ETag>>, Error> {
        let plain = wire::request(&self.base, table, op)?;
        let mut request = Self::request(plain.method, &plain.url)?;
        if let Some(tag) = plain.if_match {
            request.insert_header(IF_MATCH, tag);
        }
        if let Some(body) = plain.body {
            request.insert_header(PREFER, "return-no-content");
            request.insert_header(CONTENT_TYPE, "application/json");
            request.set_body(body);
        }
        let answer = self.change(request, RequestKind::Write { single: true }, end).await?;
        Ok(vec![etag(op, header(&answer.headers, &ETAG))?])
    }

    async fn write_many(&self, table: &TableName, ops: &[Op], end: Instant) -> Result<Vec<Option<ETag>>, Error> {
        let body = batch::write(&self.base, table, ops)?;
        let mut request = Self::request(Method::Post, &format!("{}/$batch", self.base))?;
        request.insert_header(CONTENT_TYPE, batch::content_type());
        request.set_body(body);
        let kind = RequestKind::Write { single: false };
        let answer = self.change(request, kind, end).await?;
        let content_type = header(&answer.headers, &CONTENT_TYPE).unwrap_or_default();
        // Whether it was done is written where nobody can read it.
        let unreadable = |why: &dyn std::error::Error| {
            Error::Ambiguous(format!("the answer to a transaction is unreadable: {}", error_chain(why)))
        };
        let body = answer.body.as_deref().map_err(|why| unreadable(why))?;
        let parts = batch::read(content_type, body).map_err(|why| unreadable(&why))?;
        if let Some(part) = parts.iter().find(|part| !(200..300).contains(&part.status)) {
            let failure = answer::failure(part.status, part.header(ERROR_CODE.as_str()), None, part.body);
            return Err(match classify(kind, &failure) {
                // None of ours: what it says of the transaction is not to be relied on.
                Error::AlreadyExists { op } | Error::Conflict { op } | Error::Missing { op } if op >= ops.len() => {
                    unreadable(&Unreadable::Operation { named: op, of: ops.len() })
                }
                error => error,
            });
        }
        if parts.len() != ops.len() {
            return Err(unreadable(&Unreadable::Parts { parts: parts.len(), operations: ops.len() }));
        }
        ops.iter().zip(&parts).map(|(op, part)| etag(op, part.header("etag"))).collect()
    }
}

/// What the operation's answer says of its new version.
fn etag(op: &Op, header: Option<&str>) -> Result<Option<ETag>, Error> {
    match (op, header) {
        (Op::Delete(..), _) => Ok(None),
        (_, Some(tag)) if wire::is_etag(tag) => Ok(Some(ETag(tag.to_owned()))),
        // It is done, but in which version? Reading back tells.
        (_, _) => Err(Error::Ambiguous("the answer has no ETag".to_owned())),
    }
}

#[async_trait]
impl TableStore for AzureTables {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        let mut request = Self::request(Method::Post, &format!("{}/Tables", self.base))?;
        request.insert_header(PREFER, "return-no-content");
        request.insert_header(CONTENT_TYPE, "application/json");
        request.set_body(serde_json::json!({ "TableName": table.as_str() }).to_string());
        match self.change(request, RequestKind::CreateTable, Instant::now() + WRITE_TIMEOUT).await {
            // Somebody else was first.
            Err(Error::AlreadyExists { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        check_key(key)?;
        let url = format!("{}/{table}{}", self.base, wire::address(key));
        match self.read(&url, |_, body| wire::one(body)).await {
            Ok(row) => Ok(Some(row)),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn page(&self, table: &TableName, range: &Range, from: Option<&Continuation>) -> Result<Page, Error> {
        check_range(range)?;
        let mut url = format!("{}/{table}()?$filter={}", self.base, filter(range));
        if let Some(continuation) = from {
            let Ok((partition, row)) = serde_json::from_str::<(String, Option<String>)>(&continuation.0) else {
                return Err(Error::Refused("a continuation that this store did not give".to_owned()));
            };
            url = format!("{url}&NextPartitionKey={}", wire::encoded(&partition));
            if let Some(row) = row {
                url = format!("{url}&NextRowKey={}", wire::encoded(&row));
            }
        }
        self.read(&url, |headers, body| {
            let next = header(headers, &NEXT_PARTITION).map(|partition| (partition, header(headers, &NEXT_ROW)));
            let next = next.map(|next| Continuation(serde_json::json!(next).to_string()));
            Ok(Page { rows: wire::many(body)?, next })
        })
        .await
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        check(ops)?;
        let end = Instant::now() + WRITE_TIMEOUT;
        let mut tries = Tries::new();
        loop {
            match self.write_once(table, ops, end).await {
                // The service says that it did nothing. An invocation has the time; its event would come back in a minute.
                Err(Error::Throttled { retry_after })
                    if Instant::now() + retry_after.unwrap_or_default() + LAST_TRY < end
                        && tries.again(retry_after).await => {}
                outcome => return outcome,
            }
        }
    }
}

/// The range as a filter, percent-encoded. Only these comparisons are answered from the index.
fn filter(range: &Range) -> String {
    let literal = |text: &str| format!("%27{}%27", wire::quoted(text));
    format!(
        "PartitionKey%20eq%20{}%20and%20RowKey%20ge%20{}%20and%20RowKey%20lt%20{}",
        literal(&range.partition),
        literal(&range.from),
        literal(&range.below)
    )
}

struct Answer {
    status: u16,
    headers: Headers,
    /// Its body, or why there is no whole one.
    body: Result<Vec<u8>, Unreadable>,
}

impl Answer {
    fn failure(&self) -> Failure {
        let wish = retry_after(|name| header(&self.headers, &HeaderName::from_static(name)), now());
        // The status stands, whatever became of the text.
        let body = self.body.as_deref().unwrap_or_default();
        answer::failure(self.status, header(&self.headers, &ERROR_CODE), wish, body)
    }
}

/// A header's text. `Headers::get_optional_str` makes an error object, with a stack trace, of each that is not there.
fn header<'a>(headers: &'a Headers, name: &HeaderName) -> Option<&'a str> {
    headers.get_optional_with(name, |value| Ok::<_, std::convert::Infallible>(value.as_str())).ok().flatten()
}

#[expect(clippy::disallowed_methods, reason = "the moment of sending is part of the protocol, not of a decision")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests;
