//! The ledger's table in Azure: a thin client for the Table service on `azure_core`'s public pipeline.
//!
//! There is no official Tables crate for Rust. This one does what the port needs and no more: [`wire`] writes operations
//! and reads entities, [`batch`] does the same for transactions, [`sign`] authorises, [`answer`] says what an answer means.
//!
//! **A write is sent once.** The pipeline's default policy sends a POST again after a lost answer, and a successful insert
//! then reports that its key is taken; so its retries are off, and a write without an answer is [`Error::Ambiguous`]. Reads
//! are repeated a few times here.
//!
//! Sources: *Table service REST API*; *Performing entity group transactions*; *Query timeout and pagination*.

mod answer;
mod batch;
mod sign;
pub(super) mod wire;

use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{
    ACCEPT, CONTENT_TYPE, ERROR_CODE, ETAG, HeaderName, Headers, IF_MATCH, PREFER, VERSION,
};
use azure_core::http::{
    ClientOptions, Context, Method, Pipeline, PipelineStreamOptions, Request, RetryOptions, Transport,
};
use futures::TryStreamExt as _;
use lifecycle::text::chain;
use url::Url;

use app::ports::table_store::{
    Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore, check, check_key, check_range,
};

use answer::{Failure, RequestKind, classify};
pub use sign::Auth;
use sign::SentFlag;

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
/// One attempt of a read; the service ends queries after 5 s.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const READ_ATTEMPTS: u32 = 3;
const READ_PAUSE: Duration = Duration::from_millis(100);
/// A longer wait is the caller's to decide.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// No answer is longer: a page is at most 1,000 entities and, by the service's rules, far below this.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why a client cannot be made: the settings contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The address is none of a table endpoint.
    #[error(
        "`{0}` is no table endpoint; give it as https://ACCOUNT.table.core.windows.net, without user, query or fragment"
    )]
    Endpoint(String),
    /// A token must not travel in clear text.
    #[error("{0} is not https; Entra tokens are sent over TLS only")]
    TokenWithoutTls(Url),
    /// Account keys are for emulators.
    #[error("{0} is not on this machine; account keys are for emulators only, use a managed identity")]
    KeyBeyondLoopback(Url),
}

/// A storage account's tables.
#[derive(Debug, Clone)]
pub struct AzureTables {
    /// The account's address, without a slash at its end.
    base: String,
    pipeline: Pipeline,
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
        let options =
            ClientOptions { retry: RetryOptions::none(), transport: Some(transport), ..ClientOptions::default() };
        let policies = auth.policies(endpoint)?;
        let version = option_env!("CARGO_PKG_VERSION");
        let pipeline = Pipeline::new(Some("scorekeeper-tables"), version, options, Vec::new(), policies, None);
        Ok(Self { base: endpoint.as_str().trim_end_matches('/').to_owned(), pipeline })
    }

    fn request(method: Method, url: &str) -> Result<Request, Error> {
        // Everything variable in it is percent-encoded; a failure here is a defect, not an outage.
        let url = Url::parse(url).map_err(|error| Error::Refused(format!("no address can be made: {error}")))?;
        let mut request = Request::new(url, method);
        request.insert_header(VERSION, SERVICE_VERSION);
        request.insert_header(ACCEPT, JSON);
        request.insert_header(DATA_SERVICE_VERSION, "3.0");
        request.insert_header(MAX_DATA_SERVICE_VERSION, "3.0;NetFx");
        Ok(request)
    }

    /// Sends once and reads the answer to its end, within `patience`.
    async fn exchange(&self, mut request: Request, timeout: Duration) -> Result<Answer, NoAnswer> {
        let left = SentFlag::default();
        let context = Context::new().with_value(left.clone());
        let attempt = async {
            let options = PipelineStreamOptions { skip_checks: true, ..PipelineStreamOptions::default() };
            let response = self.pipeline.stream(&context, &mut request, Some(options)).await?;
            let (status, headers, mut stream) = response.deconstruct();
            let mut body = Vec::new();
            let mut cut = None;
            loop {
                match stream.try_next().await {
                    Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER_BYTES => body.extend_from_slice(&chunk),
                    Ok(Some(_)) => break cut = Some("the answer is too long".to_owned()),
                    Ok(None) => break,
                    Err(error) => break cut = Some(error_chain(&error)),
                }
            }
            Ok::<_, azure_core::Error>(Answer { status: status.into(), headers, body, cut })
        };
        match tokio::time::timeout(timeout, attempt).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if left.is_set() && *error.kind() != ErrorKind::Connection => {
                Err(NoAnswer::Sent(error_chain(&error)))
            }
            Ok(Err(error)) => Err(NoAnswer::NotSent(error_chain(&error))),
            Err(_) if left.is_set() => Err(NoAnswer::Sent(format!("no answer within {} s", timeout.as_secs()))),
            Err(_) => Err(NoAnswer::NotSent(format!("no token within {} s", timeout.as_secs()))),
        }
    }

    /// A write: sent once. Gives the answer if it is a success.
    async fn change(&self, request: Request, kind: RequestKind) -> Result<Answer, Error> {
        match self.exchange(request, WRITE_TIMEOUT).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(answer),
            Ok(answer) => Err(classify(kind, &answer.failure())),
            Err(NoAnswer::NotSent(why)) => Err(Error::Unavailable(why)),
            Err(NoAnswer::Sent(why)) => Err(Error::Ambiguous(why)),
        }
    }

    /// A read: up to [`READ_ATTEMPTS`] times. `understand` makes sense of a 200.
    async fn read<T>(&self, url: &str, understand: impl Fn(&Answer) -> Result<T, String>) -> Result<T, Error> {
        let mut pause = READ_PAUSE;
        for attempt in 1.. {
            let error = match self.exchange(Self::request(Method::Get, url)?, READ_TIMEOUT).await {
                Ok(answer) if answer.status == 200 => match answer.whole().and_then(|()| understand(&answer)) {
                    Ok(value) => return Ok(value),
                    Err(why) => Error::Unavailable(format!("the answer is unreadable: {why}")),
                },
                Ok(answer) => classify(RequestKind::Read, &answer.failure()),
                Err(NoAnswer::NotSent(why) | NoAnswer::Sent(why)) => Error::Unavailable(why),
            };
            let wait = match &error {
                Error::Throttled { retry_after } => retry_after.unwrap_or_default().max(pause),
                Error::Unavailable(_) => pause,
                _ => return Err(error),
            };
            if attempt == READ_ATTEMPTS || wait > MAX_PAUSE {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause *= 4;
        }
        unreachable!("the last attempt returns")
    }

    async fn write_one(&self, table: &TableName, op: &Op) -> Result<Vec<Option<ETag>>, Error> {
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
        let answer = self.change(request, RequestKind::Write { single: true }).await?;
        Ok(vec![etag(op, answer.headers.get_optional_str(&ETAG))?])
    }

    async fn write_many(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        let body = batch::write(&self.base, table, ops)?;
        let mut request = Self::request(Method::Post, &format!("{}/$batch", self.base))?;
        request.insert_header(CONTENT_TYPE, batch::content_type());
        request.set_body(body);
        let kind = RequestKind::Write { single: false };
        let answer = self.change(request, kind).await?;
        let content_type = answer.headers.get_optional_str(&CONTENT_TYPE).unwrap_or_default();
        let unreadable = |why: String| Error::Ambiguous(format!("the answer to a transaction is unreadable: {why}"));
        answer.whole().map_err(unreadable)?;
        let parts = batch::read(content_type, &answer.body).map_err(unreadable)?;
        if let Some(part) = parts.iter().find(|part| !(200..300).contains(&part.status)) {
            let failure = answer::failure(part.status, part.header(ERROR_CODE.as_str()), None, part.body);
            return Err(match classify(kind, &failure) {
                // None of ours: what it says of the transaction is not to be relied on.
                Error::AlreadyExists { op } | Error::Conflict { op } | Error::Missing { op } if op >= ops.len() => {
                    unreadable(format!("it names operation {op} of {}", ops.len()))
                }
                error => error,
            });
        }
        if parts.len() != ops.len() {
            return Err(unreadable(format!("{} parts for {} operations", parts.len(), ops.len())));
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
        match self.exchange(request, WRITE_TIMEOUT).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => match answer.failure() {
                Failure { status: 409, code, .. } if code == "TableAlreadyExists" => Ok(()),
                failure => Err(classify(RequestKind::Write { single: true }, &failure)),
            },
            Err(NoAnswer::NotSent(why)) => Err(Error::Unavailable(why)),
            Err(NoAnswer::Sent(why)) => Err(Error::Ambiguous(why)),
        }
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        check_key(key)?;
        let url = format!("{}/{table}{}", self.base, wire::address(key));
        match self.read(&url, |answer| wire::one(&answer.body)).await {
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
        self.read(&url, |answer| {
            let header = |name: HeaderName| answer.headers.get_optional_string(&name);
            let next = header(NEXT_PARTITION).map(|partition| (partition, header(NEXT_ROW)));
            let next = next.map(|next| Continuation(serde_json::json!(next).to_string()));
            Ok(Page { rows: wire::many(&answer.body)?, next })
        })
        .await
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        check(ops)?;
        match ops {
            [op] => self.write_one(table, op).await,
            ops => self.write_many(table, ops).await,
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

/// Why there is no answer.
enum NoAnswer {
    /// Surely not done: no token, no connection.
    NotSent(String),
    /// It left; nobody knows.
    Sent(String),
}

struct Answer {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
    /// Why the body ends early, if it does.
    cut: Option<String>,
}

impl Answer {
    fn whole(&self) -> Result<(), String> {
        self.cut.clone().map_or(Ok(()), Err)
    }

    fn failure(&self) -> Failure {
        let code = self.headers.get_optional_str(&ERROR_CODE);
        answer::failure(self.status, code, answer::retry_after(&self.headers), &self.body)
    }
}

#[cfg(test)]
mod tests;
