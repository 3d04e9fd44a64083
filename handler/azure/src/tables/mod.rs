//! The ledger's table in Azure: a thin client for the Table service on the shared HTTP client.
//!
//! There is no official Tables crate for Rust. This one does what the port needs and no more: [`wire`] writes operations
//! and reads entities, [`batch`] does the same for transactions, [`sign`] authorises, [`answer`] says what an answer means.
//!
//! It does not go through `azure_core`'s pipeline: an event costs two transactions, and the pipeline's own request and answer,
//! converted to the client's and back, were a tenth of what an event costs in all.
//!
//! **A write that may have been done is sent once.** A client that sends a POST again after a lost answer is told that the key
//! of its own insert is taken; so a write without an answer is [`Error::Ambiguous`]. What was surely not done (a refused token,
//! a busy service) is sent again, within the time of one write. Reads are repeated a few times.
//!
//! Sources: *Table service REST API*; *Performing entity group transactions*; *Query timeout and pagination*.

mod answer;
mod batch;
mod carrier;
mod error;
mod sign;
pub(super) mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lifecycle::text::error_chain;
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use reqwest::{Method, Request};
use time::OffsetDateTime;
use tokio::time::Instant;
use url::Url;

use crate::http::body::read_body;
use crate::http::retry::Tries;
use crate::http::retry::wished_pause;
use crate::http::{CLIENT_REQUEST_ID, new_request_id};
use app::ports::table_store::json::write_entity;
use app::ports::table_store::{
    Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore, check, check_key, check_range,
};

use answer::{ERROR_CODE, Failure, RequestKind, classify};
use carrier::{Carrier, Shared};
pub use error::SetupError;
use error::{NoAnswer, Unreadable};
pub use sign::Auth;
use sign::MS_DATE;

/// The oldest version known to take Entra tokens for tables; newer ones change nothing that is used here.
const SERVICE_VERSION: HeaderValue = HeaderValue::from_static("2020-12-06");
/// With less metadata queries carry no ETags.
const MINIMAL_METADATA: HeaderValue = HeaderValue::from_static("application/json;odata=minimalmetadata");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_CONTENT: HeaderValue = HeaderValue::from_static("return-no-content");
const VERSION: HeaderName = HeaderName::from_static("x-ms-version");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const DATA_SERVICE_VERSION: HeaderName = HeaderName::from_static("dataserviceversion");
const MAX_DATA_SERVICE_VERSION: HeaderName = HeaderName::from_static("maxdataserviceversion");
const NEXT_PARTITION: HeaderName = HeaderName::from_static("x-ms-continuation-nextpartitionkey");
const NEXT_ROW: HeaderName = HeaderName::from_static("x-ms-continuation-nextrowkey");

/// A whole write, token and answer included. Below Event Grid's 30 s, so that a write of unknown outcome can still be told.
const WRITE_TIMEOUT: Duration = Duration::from_secs(25);
/// A busy service is not asked again when less than this is left of a write's time.
const LAST_TRY: Duration = Duration::from_secs(5);
/// One attempt of a read; the service ends queries after 5 s.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows that the service puts on a page at most.
const MAX_PAGE: usize = 1_000;
/// No answer is longer: a page is at most 1,000 entities and, by the service's rules, far below this.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The tables of one storage account, through the service's REST interface.
#[derive(Debug, Clone)]
pub struct AzureTables {
    /// The account's address, without a slash at its end.
    base: String,
    /// `{account}/$batch`, where entity-group transactions go.
    batch: Url,
    auth: Auth,
    carrier: Arc<dyn Carrier>,
}

impl AzureTables {
    /// A client for the account at `endpoint`, over the process's shared HTTP client. Nothing is sent yet.
    pub fn new(endpoint: &Url, auth: Auth) -> Result<Self, SetupError> {
        Self::over(Arc::new(Shared), endpoint, auth)
    }

    /// The same over a client of its own, which must follow no redirects, repeat nothing, and have a connect timeout.
    pub fn with_client(client: reqwest::Client, endpoint: &Url, auth: Auth) -> Result<Self, SetupError> {
        Self::over(Arc::new(client), endpoint, auth)
    }

    fn over(carrier: Arc<dyn Carrier>, endpoint: &Url, auth: Auth) -> Result<Self, SetupError> {
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
        let base = endpoint.as_str().trim_end_matches('/').to_owned();
        let mut batch = endpoint.clone();
        batch.set_path(&format!("{}/$batch", endpoint.path().trim_end_matches('/')));
        Ok(Self { base, batch, auth, carrier })
    }

    fn request(method: Method, url: &str) -> Result<Request, Error> {
        // Everything variable in it is percent-encoded; a failure here is a defect, not an outage.
        let url = Url::parse(url).map_err(|error| Error::Refused(format!("no address can be made: {error}")))?;
        Self::request_to(method, url)
    }

    fn request_to(method: Method, url: Url) -> Result<Request, Error> {
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.insert(VERSION, SERVICE_VERSION);
        headers.insert(ACCEPT, MINIMAL_METADATA);
        headers.insert(DATA_SERVICE_VERSION, HeaderValue::from_static("3.0"));
        headers.insert(MAX_DATA_SERVICE_VERSION, HeaderValue::from_static("3.0;NetFx"));
        headers.insert(CLIENT_REQUEST_ID, value(new_request_id())?);
        Ok(request)
    }

    /// Sends once and reads the answer to its end, within `timeout`. A token that is refused is forgotten.
    async fn exchange(&self, mut request: Request, timeout: Duration) -> Result<Answer, NoAnswer> {
        // What failed before this was set surely did not happen.
        let sent = AtomicBool::new(false);
        let attempt = async {
            // The service refuses a request that is more than 15 minutes old.
            let date = HeaderValue::try_from(httpdate::fmt_http_date(now().into())).map_err(NoAnswer::not_sent)?;
            request.headers_mut().insert(MS_DATE, date);
            let token = self.auth.authorize(&mut request).await?;
            sent.store(true, Ordering::Relaxed);
            let mut response = self.carrier.carry(request).await?;
            let status = response.status().as_u16();
            if status == 401 {
                self.auth.forget(token.as_ref());
            }
            let headers = std::mem::take(response.headers_mut());
            let body = read_body(response, MAX_ANSWER_BYTES).await.map_err(Unreadable::from);
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
    async fn change(&self, request: Request, kind: RequestKind, end: Instant) -> Result<Answer, Error> {
        let mut tries = Tries::new();
        let mut next = Some(request);
        loop {
            // Only a body that is a stream cannot be copied, and there is none here.
            let Some(request) = next.take() else { return Err(Error::Unavailable("nothing was sent".to_owned())) };
            next = request.try_clone();
            return match self.exchange(request, end.saturating_duration_since(Instant::now())).await {
                Ok(answer) if (200..300).contains(&answer.status) => Ok(answer),
                Ok(answer) if answer.status == 401 && next.is_some() && tries.renew() => continue,
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
        understand: impl Fn(&HeaderMap, &[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, Error> {
        let id = value(new_request_id())?;
        let mut tries = Tries::new();
        loop {
            let mut request = Self::request(Method::GET, url)?;
            request.headers_mut().insert(CLIENT_REQUEST_ID, id.clone());
            let (error, wish) = match self.exchange(request, READ_TIMEOUT).await {
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
        let mut url = String::new();
        wire::write_address(&mut url, &self.base, table, op);
        let mut request = Self::request(wire::method(op), &url)?;
        if let Some(tag) = wire::if_match(op)? {
            request.headers_mut().insert(IF_MATCH, value(tag.to_owned())?);
        }
        if let Some(entity) = op.entity() {
            let mut body = String::new();
            write_entity(&mut body, entity);
            set_json(&mut request, body);
        }
        let answer = self.change(request, RequestKind::Write { single: true }, end).await?;
        Ok(vec![etag(op, header(&answer.headers, &ETAG))?])
    }

    async fn write_many(&self, table: &TableName, ops: &[Op], end: Instant) -> Result<Vec<Option<ETag>>, Error> {
        let body = batch::write(&self.base, table, ops)?;
        let mut request = Self::request_to(Method::POST, self.batch.clone())?;
        request.headers_mut().insert(CONTENT_TYPE, batch::MULTIPART);
        *request.body_mut() = Some(body.into());
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
            let failure = answer::failure(part.status, part.error_code, None, part.body);
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
        ops.iter().zip(&parts).map(|(op, part)| etag(op, part.etag)).collect()
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
        let mut request = Self::request(Method::POST, &format!("{}/Tables", self.base))?;
        set_json(&mut request, serde_json::json!({ "TableName": table.as_str() }).to_string());
        let end = Instant::now() + WRITE_TIMEOUT;
        let mut tries = Tries::new();
        loop {
            let request = request.try_clone().ok_or_else(|| Error::Unavailable("nothing was sent".to_owned()))?;
            match self.change(request, RequestKind::CreateTable, end).await {
                Err(Error::Throttled { retry_after }) if may_be_repeated(&mut tries, retry_after, end).await => {}
                // Somebody else was first.
                Err(Error::AlreadyExists { .. }) => return Ok(()),
                other => return other.map(drop),
            }
        }
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        check_key(key)?;
        let mut url = format!("{}/{table}", self.base);
        wire::write_key(&mut url, key);
        match self.read(&url, |_, body| wire::one(body)).await {
            Ok(row) => Ok(Some(row)),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        check_range(range)?;
        let mut url = format!("{}/{table}()?$filter={}", self.base, filter(range));
        if max < MAX_PAGE {
            url.push_str("&$top=");
            url.push_str(&max.max(1).to_string());
        }
        if let Some(continuation) = from {
            let Ok((partition, row)) = serde_json::from_str::<(String, Option<String>)>(&continuation.0) else {
                return Err(Error::Refused("a continuation that this store did not give".to_owned()));
            };
            url.push_str("&NextPartitionKey=");
            wire::write_encoded(&mut url, &partition);
            if let Some(row) = row {
                url.push_str("&NextRowKey=");
                wire::write_encoded(&mut url, &row);
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
                Err(Error::Throttled { retry_after }) if may_be_repeated(&mut tries, retry_after, end).await => {}
                outcome => return outcome,
            }
        }
    }
}

/// Waits until a change that was throttled may be sent again: the service says that it did nothing, an invocation has the time
/// until `end`, and its event would come back in a minute. `false`: there is no further try.
async fn may_be_repeated(tries: &mut Tries, asked: Option<Duration>, end: Instant) -> bool {
    Instant::now() + asked.unwrap_or_default() + LAST_TRY < end && tries.again(asked).await
}

/// A value that changes from request to request; what is put into one is checked before, so that a failure is a defect.
fn value(text: String) -> Result<HeaderValue, Error> {
    HeaderValue::try_from(text).map_err(|error| Error::Refused(format!("no header can be made: {error}")))
}

fn set_json(request: &mut Request, body: String) {
    request.headers_mut().insert(PREFER, NO_CONTENT);
    request.headers_mut().insert(CONTENT_TYPE, JSON);
    *request.body_mut() = Some(body.into());
}

/// The range as a filter, percent-encoded. Only these comparisons are answered from the index.
fn filter(range: &Range) -> String {
    let mut filter = String::new();
    for (comparison, text) in [
        ("PartitionKey%20eq%20%27", &range.partition),
        ("%27%20and%20RowKey%20ge%20%27", &range.from),
        ("%27%20and%20RowKey%20lt%20%27", &range.below),
    ] {
        filter.push_str(comparison);
        wire::write_quoted(&mut filter, text);
    }
    filter.push_str("%27");
    filter
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    /// Its body, or why there is no whole one.
    body: Result<Vec<u8>, Unreadable>,
}

impl Answer {
    fn failure(&self) -> Failure {
        let wish = wished_pause(&self.headers, now());
        // The status stands, whatever became of the text.
        let body = self.body.as_deref().unwrap_or_default();
        answer::failure(self.status, header(&self.headers, &ERROR_CODE), wish, body)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[expect(clippy::disallowed_methods, reason = "the moment of sending is part of the protocol, not of a decision")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests;
