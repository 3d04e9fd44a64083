//! The client against recorded shapes, a failing service, and a real socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use reqwest::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use app::ports::table_store::{Entity, IfMatch};

mod any_answer;

/// What the service does with one request.
#[derive(Debug)]
enum Act {
    Answer(u16, Vec<(&'static str, String)>, String),
    NoConnection,
    Reset,
    Silence,
    Late(Duration, Box<Self>),
}

/// The service, in this process: acts in order and keeps what it was asked.
#[derive(Debug, Default)]
struct Service {
    acts: Mutex<VecDeque<Act>>,
    asked: Mutex<Vec<Request>>,
}

#[async_trait]
impl Carrier for Service {
    async fn carry(&self, request: Request) -> Result<Response, NoAnswer> {
        self.asked.lock().unwrap().push(request);
        let mut act = self.acts.lock().unwrap().pop_front().expect("one act per request");
        if let Act::Late(after, then) = act {
            tokio::time::sleep(after).await;
            act = *then;
        }
        match act {
            Act::Answer(status, headers, body) => {
                let mut answer = http::Response::builder().status(status);
                for (name, value) in headers {
                    answer = answer.header(name, value);
                }
                Ok(answer.body(body).unwrap().into())
            }
            Act::NoConnection => Err(NoAnswer::NotSent("by order".to_owned())),
            Act::Reset => Err(NoAnswer::Sent("by order".to_owned())),
            Act::Silence | Act::Late(..) => std::future::pending().await,
        }
    }
}

/// Gives tokens, which it counts, refuses them, or never answers.
#[derive(Debug)]
struct Source {
    identity: Identity,
    given: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Identity {
    Good,
    Failing,
    Hanging,
}

#[async_trait]
impl TokenCredential for Source {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["https://storage.azure.com/.default"]);
        match self.identity {
            Identity::Good => {
                let token = format!("t0ken {}", 1 + self.given.fetch_add(1, Ordering::SeqCst));
                Ok(AccessToken::new(token, time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(99_999)))
            }
            Identity::Failing => Err(azure_core::Error::with_message(ErrorKind::Credential, "no identity here")),
            Identity::Hanging => std::future::pending().await,
        }
    }
}

fn client(identity: Identity, acts: Vec<Act>) -> (AzureTables, Arc<Service>) {
    let service = Arc::new(Service { acts: Mutex::new(acts.into()), asked: Mutex::default() });
    let endpoint = "https://acct.table.core.windows.net/".parse().unwrap();
    (AzureTables::over(Arc::clone(&service) as Arc<dyn Carrier>, &endpoint, tokens(identity)).unwrap(), service)
}

/// From a cache of the product's, as in production.
fn tokens(identity: Identity) -> Auth {
    let clock = Arc::new(|| time::OffsetDateTime::UNIX_EPOCH);
    let source = Source { identity, given: AtomicUsize::new(0) };
    Auth::Entra(crate::tokens::Tokens::new(Arc::new(source), clock))
}

fn good(acts: Vec<Act>) -> (AzureTables, Arc<Service>) {
    client(Identity::Good, acts)
}

fn table() -> TableName {
    TableName::read("JobState").unwrap()
}

fn insert(row: &str) -> Op {
    Op::Insert(Entity::new(Key::new("s0a", row)).with("N", 1))
}

const SERVICE_JSON: &str = "application/json;odata=minimalmetadata";
const TAG: &str = "W/\"datetime'2021-06-09T01%3A17%3A13.2924321Z'\"";

fn error_body(code: &str, message: &str) -> String {
    let value = format!("{message}\nRequestId:5ea2a3c0-1002-0058\nTime:2021-06-09T01:17:13.4011459Z");
    serde_json::json!({"odata.error": {"code": code, "message": {"lang": "en-US", "value": value}}}).to_string()
}

/// An error as the real service sends it: the code is in the body alone.
fn error(status: u16, code: &str, message: &str) -> Act {
    Act::Answer(
        status,
        vec![("content-type", format!("{SERVICE_JSON};streaming=true;charset=utf-8"))],
        error_body(code, message),
    )
}

fn accepted() -> Act {
    Act::Answer(204, vec![("etag", TAG.to_owned())], String::new())
}

fn batch_answer(parts: &[String]) -> Act {
    let mut body =
        "--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_2\r\n\r\n".to_owned();
    for part in parts {
        body = format!(
            "{body}--changesetresponse_2\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{part}\r\n"
        );
    }
    body.push_str("--changesetresponse_2--\r\n--batchresponse_1--\r\n");
    Act::Answer(202, vec![("content-type", "multipart/mixed; boundary=batchresponse_1".to_owned())], body)
}

fn header(request: &Request, name: &'static str) -> Option<String> {
    Some(request.headers().get(name)?.to_str().unwrap().to_owned())
}

fn text(request: &Request) -> String {
    let bytes = request.body().and_then(reqwest::Body::as_bytes).expect("a body in memory");
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_write_carries_the_documented_headers_and_a_token() {
    let (tables, service) = good(vec![accepted()]);
    let op = Op::Merge(Entity::new(Key::new("s0a", "J~1")).with("N", 1), IfMatch::Tag(ETag(TAG.to_owned())));
    assert_eq!(tables.write(&table(), &[op]).await, Ok(vec![Some(ETag(TAG.to_owned()))]));
    let asked = service.asked.lock().unwrap();
    let [request] = &asked[..] else { panic!("{} requests", asked.len()) };
    assert_eq!(request.method(), Method::PATCH);
    let url = "https://acct.table.core.windows.net/JobState(PartitionKey='s0a',RowKey='J~1')";
    assert_eq!(request.url().as_str(), url);
    for (name, value) in [
        ("x-ms-version", "2020-12-06"),
        ("accept", "application/json;odata=minimalmetadata"),
        ("content-type", "application/json"),
        ("prefer", "return-no-content"),
        ("dataserviceversion", "3.0"),
        ("maxdataserviceversion", "3.0;NetFx"),
        ("if-match", TAG),
        ("authorization", "Bearer t0ken 1"),
    ] {
        assert_eq!(header(request, name).as_deref(), Some(value), "{name}");
    }
    assert!(header(request, "x-ms-date").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(text(request), r#"{"N":1,"PartitionKey":"s0a","RowKey":"J~1"}"#);
}

#[tokio::test(start_paused = true)]
async fn each_request_has_an_id_of_its_own_and_its_repetitions_have_the_same() {
    let page = || Act::Answer(200, vec![], r#"{"value":[]}"#.to_owned());
    let done =
        batch_answer(&[format!("HTTP/1.1 204 No Content\r\nETag: {TAG}\r\n\r\n"), "HTTP/1.1 204 x\r\n\r\n".into()]);
    let (tables, service) = good(vec![accepted(), accepted(), done, Act::Reset, page()]);
    tables.create_table(&table()).await.unwrap();
    tables.write(&table(), &[insert("1")]).await.unwrap();
    let delete = Op::Delete(Key::new("s0a", "2"), IfMatch::Any);
    tables.write(&table(), &[insert("1"), delete]).await.unwrap();
    tables.page(&table(), &Range::of_prefix("s0a", "F~"), None).await.unwrap();
    let asked = service.asked.lock().unwrap();
    let ids: Vec<String> = asked.iter().map(|request| header(request, "x-ms-client-request-id").unwrap()).collect();
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    assert_eq!((ids.len(), &ids[3]), (5, &ids[4]), "a read that is repeated is one question");
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{ids:?}");
}

#[tokio::test]
async fn a_refused_token_is_forgotten_and_the_request_tried_once_more() {
    let refused = || error(401, "InvalidAuthenticationInfo", "Lifetime validation failed.");
    let (tables, service) = good(vec![refused(), error(404, "ResourceNotFound", "no such"), refused(), refused()]);
    assert_eq!(tables.get(&table(), &Key::new("p", "r")).await, Ok(None));
    let answer = tables.get(&table(), &Key::new("p", "r")).await;
    assert!(matches!(answer, Err(Error::Denied(_))), "twice is once too often: {answer:?}");
    let asked = std::mem::take(&mut *service.asked.lock().unwrap());
    let tokens: Vec<String> = asked.iter().map(|request| header(request, "authorization").unwrap()).collect();
    assert_eq!(tokens, ["Bearer t0ken 1", "Bearer t0ken 2", "Bearer t0ken 2", "Bearer t0ken 3"]);
    for ops in [vec![insert("1")], vec![insert("1"), insert("2")]] {
        let (tables, service) = good(vec![refused(), refused()]);
        assert!(matches!(tables.write(&table(), &ops).await, Err(Error::Denied(_))));
        assert_eq!(service.asked.lock().unwrap().len(), 2, "a refused token is surely no write");
    }
    let (tables, service) = good(vec![refused(), accepted(), refused(), Act::Answer(204, vec![], String::new())]);
    assert!(tables.write(&table(), &[insert("1")]).await.is_ok());
    assert_eq!(tables.create_table(&table()).await, Ok(()));
    assert_eq!(service.asked.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_has_done_nothing_and_is_asked_again_within_the_time_of_a_write() {
    let busy = || error(503, "ServerBusy", "The server is busy.");
    let (tables, service) = good(vec![busy(), busy(), accepted()]);
    assert!(tables.write(&table(), &[insert("1")]).await.is_ok());
    assert_eq!(service.asked.lock().unwrap().len(), 3);
    let (tables, service) = good(vec![busy(), Act::Answer(204, vec![], String::new())]);
    assert_eq!(tables.create_table(&table()).await, Ok(()));
    assert_eq!(service.asked.lock().unwrap().len(), 2);
    let (tables, service) = good(vec![busy(), busy(), busy()]);
    let begun = Instant::now();
    assert!(matches!(tables.write(&table(), &[insert("1")]).await, Err(Error::Throttled { .. })));
    assert_eq!(service.asked.lock().unwrap().len(), 3);
    assert!(begun.elapsed() < WRITE_TIMEOUT);
    // With less than its last seconds left it is not asked again: nobody would hear the answer.
    let late = || Act::Late(Duration::from_secs(11), Box::new(busy()));
    let (tables, service) = good(vec![late(), late(), accepted()]);
    let begun = Instant::now();
    assert!(matches!(tables.write(&table(), &[insert("1")]).await, Err(Error::Throttled { .. })));
    assert_eq!(service.asked.lock().unwrap().len(), 2);
    assert!(begun.elapsed() < WRITE_TIMEOUT);
}

#[tokio::test]
async fn an_inconclusive_write_is_sent_once_and_may_have_happened() {
    let acts = [
        Act::Reset,
        error(500, "OperationTimedOut", "Operation could not be completed within the permitted time."),
        Act::Answer(502, vec![], "<html>bad gateway</html>".to_owned()),
        Act::Answer(503, vec![("retry-after", "1".to_owned())], String::new()),
        // Done, but its version is not known.
        Act::Answer(204, vec![], String::new()),
    ];
    for act in acts {
        let message = format!("{act:?}");
        let (tables, service) = good(vec![act]);
        let answer = tables.write(&table(), &[insert("1")]).await;
        assert!(matches!(answer, Err(Error::Ambiguous(_))), "{message}: {answer:?}");
        assert_eq!(service.asked.lock().unwrap().len(), 1, "{message}");
    }
}

#[tokio::test]
async fn a_write_that_did_not_leave_surely_did_not_happen() {
    for (identity, acts, requests) in [(Identity::Good, vec![Act::NoConnection], 1), (Identity::Failing, vec![], 0)] {
        let (tables, service) = client(identity, acts);
        for ops in [vec![insert("1")], vec![insert("1"), insert("2")]] {
            service.acts.lock().unwrap().push_back(Act::NoConnection);
            let answer = tables.write(&table(), &ops).await;
            assert!(matches!(answer, Err(Error::Unavailable(_))), "{identity:?}: {answer:?}");
        }
        assert_eq!(service.asked.lock().unwrap().len(), 2 * requests, "{identity:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_and_says_whether_the_write_had_left() {
    let begun = tokio::time::Instant::now();
    let (tables, _) = good(vec![Act::Silence]);
    let answer = tables.write(&table(), &[insert("1")]).await;
    assert_eq!(answer, Err(Error::Ambiguous("no answer within 25 s".to_owned())));
    let (tables, _) = client(Identity::Hanging, vec![]);
    let answer = tables.write(&table(), &[insert("1")]).await;
    assert!(matches!(&answer, Err(Error::Unavailable(why)) if why.contains("no token")), "{answer:?}");
    // Of the second write no more than a token was waited for, which a caller waits for 4.5 s.
    assert_eq!(begun.elapsed(), Duration::from_millis(29_500));
}

#[tokio::test]
async fn throttling_and_denial_are_told_with_what_the_service_said() {
    let busy = Act::Answer(503, vec![("retry-after", "7".to_owned())], error_body("ServerBusy", "The server is busy."));
    let denied = error(403, "AuthorizationPermissionMismatch", "This request is not authorized");
    let (tables, service) = good(vec![busy, denied]);
    let answer = tables.write(&table(), &[insert("1")]).await;
    assert_eq!(answer, Err(Error::Throttled { retry_after: Some(Duration::from_secs(7)) }));
    let answer = tables.write(&table(), &[insert("1")]).await;
    assert!(
        matches!(&answer, Err(Error::Denied(said)) if said.contains("AuthorizationPermissionMismatch")),
        "{answer:?}"
    );
    assert_eq!(service.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_failed_transaction_hides_behind_202_and_is_found() {
    let inner = |status: &str, body: String| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {SERVICE_JSON};charset=utf-8\r\nDataServiceVersion: 3.0;\r\n\r\n{body}\r\n"
        )
    };
    let cases = [
        (
            inner("409 Conflict", error_body("EntityAlreadyExists", "1:The specified entity already exists.")),
            Error::AlreadyExists { op: 1 },
        ),
        (
            inner("412 Precondition Failed", error_body("UpdateConditionNotSatisfied", "0:The update condition")),
            Error::Conflict { op: 0 },
        ),
        (
            inner("404 Not Found", error_body("ResourceNotFound", "1:The specified resource does not exist.")),
            Error::Missing { op: 1 },
        ),
        (
            inner("404 Not Found", error_body("TableNotFound", "0:The table specified does not exist.")),
            Error::TableMissing,
        ),
    ];
    for (part, expected) in cases {
        let (tables, service) = good(vec![batch_answer(&[part])]);
        assert_eq!(tables.write(&table(), &[insert("1"), insert("2")]).await, Err(expected));
        let asked = service.asked.lock().unwrap();
        assert_eq!(asked[0].url().as_str(), "https://acct.table.core.windows.net/$batch");
        assert_eq!(header(&asked[0], "content-type").as_deref(), Some("multipart/mixed; boundary=batch_scorekeeper"));
    }
}

#[tokio::test]
async fn a_transactions_answer_that_is_not_understood_may_be_success() {
    let part = format!("HTTP/1.1 204 No Content\r\nETag: {TAG}\r\n\r\n");
    let without_etag = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    let html = Act::Answer(202, vec![("content-type", "text/html".to_owned())], "<html>".to_owned());
    for act in [
        html,
        batch_answer(std::slice::from_ref(&part)),
        batch_answer(&[]),
        batch_answer(&[part.clone(), without_etag]),
    ] {
        let (tables, _) = good(vec![act]);
        let answer = tables.write(&table(), &[insert("1"), insert("2")]).await;
        assert!(matches!(answer, Err(Error::Ambiguous(_))), "{answer:?}");
    }
    let (tables, _) = good(vec![batch_answer(&[part.clone(), part])]);
    let tag = Some(ETag(TAG.to_owned()));
    assert_eq!(tables.write(&table(), &[insert("1"), insert("2")]).await, Ok(vec![tag.clone(), tag]));
}

#[tokio::test(start_paused = true)]
async fn a_read_is_tried_three_times_and_waits_as_it_is_told() {
    let busy = || Act::Answer(503, vec![("retry-after", "2".to_owned())], error_body("ServerBusy", "busy"));
    let begun = tokio::time::Instant::now();
    let (tables, service) = good(vec![busy(), Act::Reset, error(404, "ResourceNotFound", "The specified resource")]);
    assert_eq!(tables.get(&table(), &Key::new("p", "r")).await, Ok(None));
    assert_eq!(service.asked.lock().unwrap().len(), 3);
    assert_eq!(begun.elapsed(), Duration::from_secs(3), "two that were asked for, one of our own");

    let (tables, service) = good(vec![Act::NoConnection, Act::Silence, Act::Reset]);
    let answer = tables.get(&table(), &Key::new("p", "r")).await;
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    assert_eq!(service.asked.lock().unwrap().len(), 3);

    // A long wait is the caller's to decide.
    let long = Act::Answer(429, vec![("retry-after", "60".to_owned())], String::new());
    let (tables, service) = good(vec![long]);
    let answer = tables.get(&table(), &Key::new("p", "r")).await;
    assert_eq!(answer, Err(Error::Throttled { retry_after: Some(Duration::from_secs(60)) }));
    assert_eq!(service.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_entity_is_absent_only_if_the_service_says_so() {
    let lost = || Act::Answer(404, vec![], "<html>no such host</html>".to_owned());
    let (tables, _) = good(vec![lost(), lost(), lost()]);
    let answer = tables.get(&table(), &Key::new("p", "r")).await;
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    let (tables, _) = good(vec![error(404, "TableNotFound", "The table specified does not exist.")]);
    assert_eq!(tables.get(&table(), &Key::new("p", "r")).await, Err(Error::TableMissing));
}

#[tokio::test]
async fn a_continuation_goes_back_as_it_came_with_the_same_filter() {
    let page = |headers| Act::Answer(200, headers, r#"{"value":[]}"#.to_owned());
    let partition = ("x-ms-continuation-nextpartitionkey", "1!8!czBh&+".to_owned());
    let row = ("x-ms-continuation-nextrowkey", "1!4!Rn4-".to_owned());
    let (tables, service) = good(vec![page(vec![partition.clone(), row]), page(vec![partition]), page(vec![])]);
    let range = Range::of_prefix("it's", "F~");
    let mut from = None;
    let mut pages = 0;
    loop {
        let page = tables.page(&table(), &range, from.as_ref()).await.unwrap();
        assert_eq!(page.rows, []);
        pages += 1;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3, "an empty page with a continuation is not the end");
    let asked = std::mem::take(&mut *service.asked.lock().unwrap());
    let queries: Vec<Vec<(String, String)>> =
        asked.iter().map(|r| r.url().query_pairs().into_owned().collect()).collect();
    let filter = "PartitionKey eq 'it''s' and RowKey ge 'F~' and RowKey lt 'F\u{a0}'";
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let (filter, partition) = (pair("$filter", filter), pair("NextPartitionKey", "1!8!czBh&+"));
    let row = pair("NextRowKey", "1!4!Rn4-");
    assert_eq!(queries, [vec![filter.clone()], vec![filter.clone(), partition.clone(), row], vec![filter, partition]]);
    let foreign = Continuation("elsewhere".to_owned());
    assert!(matches!(tables.page(&table(), &range, Some(&foreign)).await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn a_table_that_is_there_is_made_and_one_that_is_going_is_not() {
    let (tables, _) = good(vec![Act::Answer(204, vec![], String::new())]);
    assert_eq!(tables.create_table(&table()).await, Ok(()));
    let (tables, _) = good(vec![error(409, "TableAlreadyExists", "The table specified already exists.")]);
    assert_eq!(tables.create_table(&table()).await, Ok(()));
    let (tables, _) = good(vec![error(409, "TableBeingDeleted", "The specified table is being deleted.")]);
    assert!(matches!(tables.create_table(&table()).await, Err(Error::Unavailable(_))));
    let (tables, service) = good(vec![Act::Reset]);
    assert!(matches!(tables.create_table(&table()).await, Err(Error::Ambiguous(_))));
    assert_eq!(service.asked.lock().unwrap().len(), 1);
}

#[test]
fn contradicting_settings_are_refused_at_once() {
    let made = |url: &str, auth: Auth| AzureTables::new(&url.parse().unwrap(), auth).map(|_| ());
    let token = || tokens(Identity::Good);
    assert_eq!(made("https://acct.table.core.windows.net", token()), Ok(()));
    assert!(matches!(made("http://127.0.0.1:10002/a", token()), Err(SetupError::TokenWithoutTls(_))));
    let key = Auth::SharedKeyLite { account: "acct".to_owned(), key: Secret::new("c2VjcmV0") };
    assert!(matches!(made("https://acct.table.core.windows.net", key), Err(SetupError::KeyBeyondLoopback(_))));
    for bad in ["https://acct/?sv=1&sig=s3cret", "https://user:s3cret@acct/", "https://acct/#s3cret", "ftp://acct/"] {
        let error = made(bad, token()).unwrap_err();
        assert!(matches!(error, SetupError::Endpoint(_)), "{bad}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

/// The trap that lost updates are made of: the service commits, the connection drops, and a client that sends again is told
/// that the key is taken.
#[tokio::test]
async fn a_lost_answer_on_a_real_socket_is_ambiguous_and_the_write_was_sent_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/acct", listener.local_addr().unwrap()).parse().unwrap();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let mut requests = 0;
        loop {
            let mut socket = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                _ = &mut stopped => return requests,
            };
            // The whole request, then nothing.
            let mut seen = Vec::new();
            while !seen.ends_with(b"\"RowKey\":\"1\"}") {
                assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0);
            }
            requests += 1;
            // Half an answer is none either.
            socket.write_all(b"HTTP/1.1 204 No Con").await.unwrap();
        }
    });
    crate::http::choose_cryptography();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let auth = Auth::SharedKeyLite { account: "acct".to_owned(), key: Secret::new("c2VjcmV0") };
    let tables = AzureTables::with_client(http, &url, auth).unwrap();
    let answer = tables.write(&table(), &[insert("1")]).await;
    assert!(matches!(answer, Err(Error::Ambiguous(_))), "{answer:?}");
    stop.send(()).unwrap();
    assert_eq!(server.await.unwrap(), 1);
    // And with nobody listening any more it surely did not happen.
    let answer = tables.write(&table(), &[insert("1")]).await;
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
}
