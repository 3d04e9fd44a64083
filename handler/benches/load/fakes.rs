//! The cloud as far as the handler talks to it, in this process: tables, batch endpoint, identity. Every request is
//! answered at once and counted. Nothing is remembered and no signature is checked: what is measured is the handler.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::net::TcpListener;

use crate::wire::{Message, Wire};

/// What the handler asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    /// The transaction that takes a scoring in: its first operation is an insert.
    Acceptance,
    /// Any other transaction.
    Move,
    /// One operation on an entity.
    Write,
    /// A page of the in-flight index.
    InFlightPage,
    /// A page of any other range.
    OtherPage,
    /// A point read.
    Read,
    /// A table is made.
    CreateTable,
    /// The POST that makes a job.
    Submission,
    /// The GET of a job.
    Look,
    /// A token.
    Token,
    /// Nothing that this bench knows.
    Unknown,
}

const KINDS: [Request; 11] = [
    Request::Acceptance,
    Request::Move,
    Request::Write,
    Request::InFlightPage,
    Request::OtherPage,
    Request::Read,
    Request::CreateTable,
    Request::Submission,
    Request::Look,
    Request::Token,
    Request::Unknown,
];

/// How often each was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; KINDS.len()]);

impl Counts {
    pub(crate) fn of(&self, kind: Request) -> u64 {
        self.0[kind as usize]
    }

    /// All round trips but those for tokens, which are asked for twice a day.
    pub(crate) fn round_trips(&self) -> u64 {
        self.0.iter().sum::<u64>() - self.of(Request::Token)
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|kind| self.0[kind] - before.0[kind]))
    }

    /// Those that were asked for at all, for messages.
    pub(crate) fn shown(&self) -> String {
        let all = KINDS.iter().filter(|kind| self.of(**kind) > 0).map(|kind| format!("{kind:?} {}", self.of(*kind)));
        all.collect::<Vec<_>>().join(", ")
    }
}

/// The fakes; they run until the process ends.
#[derive(Clone)]
pub(crate) struct Fakes(Arc<Shared>);

struct Shared {
    counts: [AtomicU64; KINDS.len()],
    /// The in-flight index: ready answers by part and page.
    index: RwLock<Vec<Vec<Arc<str>>>>,
    /// The last request of each kind as it came, with the port it came to.
    seen: Mutex<BTreeMap<Request, (u16, Arc<Message>)>>,
    remember: AtomicBool,
    tables: u16,
    endpoint: u16,
    transactions: Vec<String>,
}

/// Operations of the largest transaction that is answered.
const MAX_OPERATIONS: usize = 16;

impl Fakes {
    /// Binds two ports, one for the tables and one for the rest, as these are two hosts in reality.
    pub(crate) async fn start() -> std::io::Result<Self> {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (tables, endpoint) = (TcpListener::bind(free).await?, TcpListener::bind(free).await?);
        let shared = Arc::new(Shared {
            counts: Default::default(),
            index: RwLock::default(),
            seen: Mutex::default(),
            remember: false.into(),
            tables: tables.local_addr()?.port(),
            endpoint: endpoint.local_addr()?.port(),
            transactions: (0..=MAX_OPERATIONS).map(committed).collect(),
        });
        tokio::spawn(serve(tables, shared.clone()));
        tokio::spawn(serve(endpoint, shared.clone()));
        Ok(Self(shared))
    }

    /// Address of the account's tables.
    pub(crate) fn ledger(&self) -> String {
        format!("http://127.0.0.1:{}/devstoreaccount1", self.0.tables)
    }

    /// Invoke URI of the batch endpoint.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/jobs", self.0.endpoint)
    }

    /// The identity endpoint.
    pub(crate) fn identity(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.0.endpoint)
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts(std::array::from_fn(|kind| self.0.counts[kind].load(Ordering::Relaxed)))
    }

    /// From now on the last request of each kind is kept, or no longer.
    pub(crate) fn remember(&self, whether: bool) {
        self.0.remember.store(whether, Ordering::Relaxed);
    }

    /// The last request of a kind, with the port it came to.
    pub(crate) fn last(&self, kind: Request) -> Option<(u16, Arc<Message>)> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned()
    }

    /// What the in-flight index holds: JSON of pages, by part.
    pub(crate) fn fill(&self, index: Vec<Vec<Arc<str>>>) {
        *self.0.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let Ok(mut wire) = Wire::new(stream) else { return };
            while let Ok(Some(request)) = wire.read().await {
                let (kind, answer) = shared.answer(&request);
                shared.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
                if shared.remember.load(Ordering::Relaxed) {
                    let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.insert(kind, (port, Arc::new(request)));
                }
                if wire.send(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

impl Shared {
    fn answer(&self, request: &Message) -> (Request, String) {
        let mut words = request.start().split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = target.strip_prefix("/devstoreaccount1/");
        match (method, path, target) {
            ("POST", Some("$batch"), _) => {
                let operations = request.body.windows(11).filter(|bytes| bytes == b" HTTP/1.1\r\n").count();
                let answer = self.transactions.get(operations).cloned();
                let first = request.body.windows(9).find(|bytes| bytes.starts_with(b"\r\n\r\n") && bytes[4] != b'-');
                let kind = match first {
                    Some(b"\r\n\r\nPOST ") => Request::Acceptance,
                    _ => Request::Move,
                };
                (kind, answer.unwrap_or_else(|| plain("400 Bad Request", "")))
            }
            ("POST", Some("Tables"), _) => (Request::CreateTable, no_content(false)),
            ("POST" | "PUT" | "PATCH", Some(_), _) => (Request::Write, no_content(true)),
            ("DELETE", Some(_), _) => (Request::Write, no_content(false)),
            ("GET", Some(query), _) if query.contains("()?") => self.page(query),
            ("GET", Some(_), _) => (
                Request::Read,
                plain("404 Not Found", r#"{"odata.error":{"code":"ResourceNotFound","message":{"value":"none"}}}"#),
            ),
            ("POST", None, "/jobs") => {
                let n = self.counts[Request::Submission as usize].load(Ordering::Relaxed);
                (Request::Submission, plain("201 Created", &job(&format!("batchjob-{n:012}"), "Preparing")))
            }
            ("GET", None, look) if look.starts_with("/jobs/") => {
                (Request::Look, plain("200 OK", &job(&look["/jobs/".len()..], "Running")))
            }
            ("GET", None, token) if token.starts_with("/token?") => {
                // Valid until the year 2100.
                let body = r#"{"access_token":"bench","expires_on":"4102444800","resource":"bench","token_type":"Bearer","client_id":"bench"}"#;
                (Request::Token, plain("200 OK", body))
            }
            _ => (Request::Unknown, plain("404 Not Found", "{}")),
        }
    }

    /// A page; the continuation is its number.
    fn page(&self, query: &str) -> (Request, String) {
        let part = query.split("RowKey%20ge%20%27F~").nth(1).and_then(|rest| rest.get(..1));
        let Some(part) = part.and_then(|digit| usize::from_str_radix(digit, 16).ok()) else {
            return (Request::OtherPage, plain("200 OK", r#"{"value":[]}"#));
        };
        let number = query.split("NextRowKey=").nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let pages = index.get(part).map_or(&[][..], Vec::as_slice);
        let body = pages.get(number).map_or(r#"{"value":[]}"#, |page| &**page);
        let next = number + 1;
        let more = if next < pages.len() {
            format!("x-ms-continuation-NextPartitionKey: s00\r\nx-ms-continuation-NextRowKey: {next}\r\n")
        } else {
            String::new()
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json;odata=minimalmetadata\r\n{more}Content-Length: {length}\r\n\r\n{body}"
        );
        (Request::InFlightPage, answer)
    }
}

const ETAG: &str = "W/\"datetime'2026-07-21T10%3A00%3A00.1234567Z'\"";

fn plain(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn no_content(etag: bool) -> String {
    let etag = if etag { format!("ETag: {ETAG}\r\n") } else { String::new() };
    format!("HTTP/1.1 204 No Content\r\n{etag}DataServiceVersion: 3.0\r\n\r\n")
}

/// The answer to a transaction of so many operations, as the service writes it.
fn committed(operations: usize) -> String {
    let mut body = String::from(
        "--batchresponse_8b0ab9f1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_0f2b\r\n\r\n",
    );
    for _ in 0..operations {
        // Writing to a String cannot fail.
        let _ = write!(
            body,
            "--changesetresponse_0f2b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
             HTTP/1.1 204 No Content\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-cache\r\n\
             Preference-Applied: return-no-content\r\nDataServiceVersion: 3.0;\r\nETag: {ETAG}\r\n\r\n\r\n"
        );
    }
    body.push_str("--changesetresponse_0f2b--\r\n--batchresponse_8b0ab9f1--\r\n");
    format!(
        "HTTP/1.1 202 Accepted\r\nContent-Type: multipart/mixed; boundary=batchresponse_8b0ab9f1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A job resource with the members of a real one, about 1 kB.
fn job(name: &str, status: &str) -> String {
    format!(
        r#"{{"id":"/subscriptions/0a1b2c3d-1111-2222-3333-444455556666/resourceGroups/rg-claims-prod-weu/providers/Microsoft.MachineLearningServices/workspaces/mlw-claims/batchEndpoints/claims/jobs/{name}","name":"{name}","type":"Microsoft.MachineLearningServices/workspaces/batchEndpoints/jobs","properties":{{"description":null,"tags":{{}},"properties":{{}},"interactionEndpoints":{{"Tracking":{{"endpoint":"azureml://westeurope.api.azureml.ms/mlflow/v1.0/subscriptions/0a1b2c3d","status":null}},"Studio":{{"endpoint":"https://ml.azure.com/runs/{name}?wsid=/subscriptions/0a1b2c3d-1111-2222-3333-444455556666/resourcegroups/rg-claims-prod-weu/workspaces/mlw-claims","status":null}}}},"status":"{status}","provisioningState":"Creating","experimentName":"claims","miniBatchSize":10,"errorThreshold":-1}},"systemData":{{"createdAt":"2026-07-21T10:00:00.0000000+00:00","createdByType":"Application"}}}}"#
    )
}
