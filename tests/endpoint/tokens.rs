//! The token cache: one request for many callers, renewed early, useful while the identity endpoint is down.

use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use azure::tokens::{Identity, MachineLearning, ManagedIdentity, Storage};
use azure_core::error::{Error, ErrorKind};
use reqwest::Url;
use tokio::sync::Semaphore;

use super::*;
use crate::support::canned::{self, Canned, Reply};

/// A clock that the test moves.
#[derive(Clone)]
struct Hands(Arc<Mutex<OffsetDateTime>>);

impl Hands {
    fn at(now: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    fn clock(&self) -> Clock {
        let hands = self.0.clone();
        Arc::new(move || *hands.lock().unwrap())
    }

    fn forward(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

/// Answers when it is let, with an hour of life, or with an error.
#[derive(Debug)]
struct Gate {
    asked: AtomicUsize,
    gate: Semaphore,
    broken: Mutex<Option<u16>>,
}

impl Gate {
    fn open() -> Arc<Self> {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(Self { asked: AtomicUsize::new(0), gate, broken: Mutex::default() })
    }

    fn closed() -> Arc<Self> {
        Arc::new(Self { asked: AtomicUsize::new(0), gate: Semaphore::new(0), broken: Mutex::default() })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn breaks(&self, status: Option<u16>) {
        *self.broken.lock().unwrap() = status;
    }
}

/// The expiry is told by the scope's own clock: `NOW` plus an hour for each token.
#[async_trait::async_trait]
impl TokenCredential for Gate {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let number = 1 + self.asked.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        if let Some(status) = *self.broken.lock().unwrap() {
            let kind = ErrorKind::HttpResponse { status: status.into(), error_code: None, raw_response: None };
            return Err(Error::with_message(kind, "broken"));
        }
        let hours = i64::try_from(number).unwrap();
        Ok(AccessToken::new(format!("token-{number}"), NOW + Duration::hours(hours)))
    }
}

async fn text<A: azure::tokens::Audience>(tokens: &Tokens<A>) -> String {
    let url = Url::parse("https://x.example/").unwrap();
    tokens.get().await.unwrap().bearer_for(&url).unwrap().to_str().unwrap().to_owned()
}

/// Lets everything that is ready run.
async fn tick_until_final() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hundred_cold_callers_make_one_request() {
    let source = Gate::closed();
    let tokens: Tokens<MachineLearning> = Tokens::new(source.clone(), clock());
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { text(&tokens).await })
        })
        .collect();
    tick_until_final().await;
    // One of them gives up: the others must not lose their request with it.
    callers[0].abort();
    source.gate.add_permits(1);
    for caller in callers.into_iter().skip(1) {
        assert_eq!(caller.await.unwrap(), "Bearer token-1");
    }
    assert_eq!(source.asked(), 1);
}

#[tokio::test]
async fn from_half_life_on_one_renewal_runs_in_the_background() {
    let source = Gate::closed();
    let hands = Hands::at(NOW);
    let tokens: Tokens<MachineLearning> = Tokens::new(source.clone(), hands.clock());
    source.gate.add_permits(1);
    assert_eq!(text(&tokens).await, "Bearer token-1");
    hands.forward(Duration::minutes(29));
    assert_eq!(text(&tokens).await, "Bearer token-1");
    tick_until_final().await;
    assert_eq!(source.asked(), 1);

    hands.forward(Duration::minutes(2));
    for _ in 0..20 {
        assert_eq!(text(&tokens).await, "Bearer token-1", "nobody waits for the renewal");
    }
    tick_until_final().await;
    assert_eq!(source.asked(), 2);
    source.gate.add_permits(1);
    tick_until_final().await;
    assert_eq!(text(&tokens).await, "Bearer token-2");
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_valid_token_serves_while_the_identity_endpoint_fails() {
    let source = Gate::open();
    let hands = Hands::at(NOW);
    let tokens: Tokens<MachineLearning> = Tokens::new(source.clone(), hands.clock());
    assert_eq!(text(&tokens).await, "Bearer token-1");
    source.breaks(Some(500));

    hands.forward(Duration::minutes(58));
    let before = tokio::time::Instant::now();
    assert_eq!(text(&tokens).await, "Bearer token-1");
    assert_eq!(before.elapsed(), std::time::Duration::ZERO, "served at once");
    tokio::time::sleep(std::time::Duration::from_secs(5)).await; // virtual: the renewal gives up
    assert_eq!(source.asked(), 4, "three tries");
    assert_eq!(text(&tokens).await, "Bearer token-1");
    tick_until_final().await;
    assert_eq!(source.asked(), 4, "and no more within the minute");

    // In its last seconds it is tried to get a better one, but the old one is better than none.
    hands.forward(Duration::seconds(100));
    assert_eq!(text(&tokens).await, "Bearer token-1");

    hands.forward(Duration::minutes(1));
    let before = tokio::time::Instant::now();
    let error = tokens.get().await.unwrap_err().to_string();
    assert!(before.elapsed() < std::time::Duration::from_secs(5), "{:?}", before.elapsed());
    assert!(error.contains("https://ml.azure.com") && error.contains("500"), "{error}");

    source.breaks(None);
    assert!(tokens.get().await.is_ok(), "a failure is not remembered");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_silent_is_waited_for_a_few_seconds() {
    let tokens: Tokens<Storage> = Tokens::new(Gate::closed(), clock());
    let before = tokio::time::Instant::now();
    let error = tokens.get().await.unwrap_err().to_string();
    assert!(before.elapsed() < std::time::Duration::from_secs(5));
    assert!(error.contains("https://storage.azure.com") && error.contains("whoever asks next"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_slower_than_its_callers_still_gives_a_token_to_the_next() {
    let source = Gate::closed();
    let tokens: Tokens<Storage> = Tokens::new(source.clone(), clock());
    let before = tokio::time::Instant::now();
    assert!(tokens.get().await.is_err());
    assert!(before.elapsed() < std::time::Duration::from_secs(5));
    // It answers after six seconds and more.
    source.gate.add_permits(1);
    tick_until_final().await;
    let before = tokio::time::Instant::now();
    assert_eq!(text(&tokens).await, "Bearer token-1");
    assert_eq!((source.asked(), before.elapsed()), (1, std::time::Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_not_repeated_and_name_their_remedy() {
    for (status, remedy) in [(400, "AZURE_CLIENT_ID"), (404, "AZURE_CLIENT_ID"), (403, "IDENTITY_HEADER")] {
        let source = Gate::open();
        source.breaks(Some(status));
        let tokens: Tokens<Storage> = Tokens::new(source.clone(), clock());
        let error = tokens.get().await.unwrap_err().to_string();
        assert!(error.contains(remedy), "{error}");
        assert_eq!(source.asked(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_forgotten_token_is_not_given_out_again() {
    let source = Gate::open();
    let tokens: Tokens<MachineLearning> = Tokens::new(source.clone(), clock());
    let first = tokens.get().await.unwrap();
    tokens.forget(&first);
    assert_eq!(text(&tokens).await, "Bearer token-2");
    tokens.forget(&first);
    assert_eq!(text(&tokens).await, "Bearer token-2", "a late refusal does not drop its successor");
}

#[tokio::test]
async fn a_panic_in_the_source_ends_one_request_only() {
    #[derive(Debug)]
    struct Panics(Source);
    #[async_trait::async_trait]
    impl TokenCredential for Panics {
        async fn get_token(
            &self,
            scopes: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            let token = self.0.get_token(scopes, None).await?;
            assert!(self.0.asked.load(Ordering::SeqCst) > 1, "the first time");
            Ok(token)
        }
    }
    let tokens: Tokens<MachineLearning> = Tokens::new(Arc::new(Panics(Source::default())), clock());
    assert!(tokens.get().await.is_err());
    assert!(tokens.get().await.is_ok());
}

#[tokio::test]
async fn tokens_travel_encrypted_or_not_at_all() {
    let tokens: Tokens<MachineLearning> = Tokens::new(Gate::open(), clock());
    let token = tokens.get().await.unwrap();
    for good in ["https://e.example/jobs", "http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/"] {
        assert!(token.bearer_for(&Url::parse(good).unwrap()).is_ok(), "{good}");
    }
    for bad in ["http://e.example/jobs", "http://10.0.0.1/", "http://127.0.0.1.example/", "ftp://127.0.0.1/"] {
        let refused = token.bearer_for(&Url::parse(bad).unwrap()).unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("https") && !refused.contains("token-1"), "{refused}");
    }
    assert!(!format!("{token:?} {tokens:?}").contains("token-1"));
    let header = token.bearer_for(&Url::parse("https://e.example/").unwrap()).unwrap();
    assert!(!format!("{header:?}").contains("token-1"), "a header that logs hide");
}

#[tokio::test]
async fn storage_clients_get_storage_tokens_only() {
    let tokens: Tokens<Storage> = Tokens::new(Gate::open(), clock());
    assert_eq!(
        tokens.get_token(&["https://storage.azure.com/.default"], None).await.unwrap().token.secret(),
        "token-1"
    );
    assert!(tokens.get_token(&["https://vault.azure.net/.default"], None).await.is_err());
}

#[tokio::test]
async fn other_clouds_have_other_names() {
    let source = Arc::new(Source::default());
    let tokens: Tokens<MachineLearning> = Tokens::of_resource(source, clock(), "https://ml.azure.us/");
    assert_eq!(text(&tokens).await, "Bearer https://ml.azure.us/.default#1");
}

/// Runs [`in_a_function_app`] in a process of its own, whose environment is that of a Function app.
async fn function_app(server: &Canned, check: &str) -> String {
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "endpoint::tokens::in_a_function_app", "--ignored", "--nocapture"])
        .env("IDENTITY_ENDPOINT", server.url("/msi/token"))
        .env("IDENTITY_HEADER", "header-secret")
        .env("HTTP_PROXY", format!("http://{}", Canned::nobody().await)) // must not get our requests
        .env("CHECK", check)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

fn issued(token: &str, expires: OffsetDateTime) -> canned::Answer {
    let expires = expires.unix_timestamp().to_string(); // a string, as App Service has it
    canned::json(200, &json!({ "access_token": token, "expires_on": expires, "resource": "r", "token_type": "Bearer" }))
}

#[tokio::test]
#[ignore = "a part of the tests below, which give it the environment of a Function app"]
#[expect(clippy::disallowed_methods, reason = "this process was started for its environment")]
async fn in_a_function_app() {
    let Ok(check) = std::env::var("CHECK") else { return };
    let kind = |client_id: Option<&str>| {
        client_id.map_or(ManagedIdentity::SystemAssigned, |id| ManagedIdentity::ClientId(id.to_owned()))
    };
    let hands = Hands::at(NOW);
    let tokens =
        |kind: ManagedIdentity| Tokens::<MachineLearning>::new(Identity::Managed(kind).source(), hands.clock());
    match check.as_str() {
        "cold" => {
            let tokens = tokens(kind(Some("client-7")));
            let all = futures::future::join_all((0..100).map(|_| text(&tokens))).await;
            assert!(all.iter().all(|text| text == "Bearer one"), "{all:?}");
        }
        "named" => {
            for kind in [ManagedIdentity::ObjectId("object-7".into()), ManagedIdentity::ResourceId("/a/b c".into())] {
                assert_eq!(text(&tokens(kind)).await, "Bearer one");
            }
        }
        "failing" => {
            let tokens = tokens(kind(None));
            assert_eq!(text(&tokens).await, "Bearer one");
            // Inside the last five minutes, where azure_identity itself would make everybody wait.
            hands.forward(Duration::minutes(57));
            let before = Instant::now();
            assert_eq!(text(&tokens).await, "Bearer one");
            assert!(before.elapsed() < std::time::Duration::from_secs(1), "{:?}", before.elapsed());
            hands.forward(Duration::minutes(5));
            let before = Instant::now();
            let error = tokens.get().await.unwrap_err().to_string();
            assert!(before.elapsed() < std::time::Duration::from_secs(6), "{:?}", before.elapsed());
            assert!(error.contains("https://ml.azure.com") && error.contains("500"), "{error}");
        }
        "renewed" => {
            let tokens = tokens(kind(None));
            let first = tokens.get().await.unwrap();
            tokens.forget(&first);
            assert_eq!(text(&tokens).await, "Bearer two", "azure_identity's own cache is not in the way");
        }
        "unreadable" => {
            let error = tokens(kind(None)).get().await.unwrap_err().to_string();
            assert!(error.contains("could not be read") && !error.contains("SECRET"), "{error}");
        }
        "refused" => {
            let error = tokens(kind(Some("client-7"))).get().await.unwrap_err().to_string();
            assert!(error.contains("No identity client-7") && error.contains("AZURE_CLIENT_ID"), "{error}");
            assert!(!error.contains("SECRET"), "{error}");
        }
        "limited" => {
            let error = tokens(kind(None)).get().await.unwrap_err().to_string();
            assert!(error.contains("429") && error.contains("tried again"), "{error}");
        }
        other => panic!("{other}"),
    }
    println!("{check} was checked");
}

#[tokio::test]
async fn a_user_assigned_identity_is_asked_once_for_a_hundred_callers() {
    let server = Canned::start().await;
    server.at("GET /msi/token", issued("one", NOW + Duration::hours(1)));
    assert!(function_app(&server, "cold").await.contains("cold was checked"));
    let requests = server.requests();
    let [request] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!(request.header("x-identity-header"), Some("header-secret"));
    let url = Url::parse(&server.url(&request.target)).unwrap();
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in
        [("api-version", "2019-08-01"), ("resource", "https://ml.azure.com"), ("client_id", "client-7")]
    {
        assert!(query.contains(&(name.to_owned(), value.to_owned())), "{query:?}");
    }
}

#[tokio::test]
async fn an_identity_that_is_named_by_object_id_or_arm_id_is_asked_for_by_it() {
    let server = Canned::start().await;
    server.at("GET /msi/token", issued("one", NOW + Duration::hours(1)));
    assert!(function_app(&server, "named").await.contains("named was checked"));
    let targets: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
    let [object, resource] = targets.as_slice() else { panic!("{targets:?}") };
    assert!(object.ends_with("&principal_id=object-7"), "{object}");
    assert!(resource.ends_with("&mi_res_id=%2Fa%2Fb+c"), "{resource}");
}

#[tokio::test]
async fn a_system_assigned_identity_survives_a_failing_endpoint() {
    let server = Canned::start().await;
    server.at("GET /msi/token", issued("one", NOW + Duration::hours(1)));
    server.at("GET /msi/token", canned::text(500, "down"));
    assert!(function_app(&server, "failing").await.contains("failing was checked"));
    assert!(!server.requests()[0].target.contains("client_id"));
}

#[tokio::test]
async fn a_forgotten_managed_identity_token_is_really_renewed() {
    let server = Canned::start().await;
    server.next(issued("one", NOW + Duration::hours(1))).next(issued("two", NOW + Duration::hours(1)));
    assert!(function_app(&server, "renewed").await.contains("renewed was checked"));
}

#[tokio::test]
async fn an_unreadable_token_is_not_quoted() {
    let server = Canned::start().await;
    server.at(
        "GET /msi/token",
        Reply::from(canned::text(200, "{\"access_token\": \"SECRET\", \"expires_on\": \"soon\"}")),
    );
    assert!(function_app(&server, "unreadable").await.contains("unreadable was checked"));
}

#[tokio::test]
async fn the_identity_endpoints_own_message_is_shown_without_secrets() {
    let server = Canned::start().await;
    let body = json!({ "statusCode": 400, "message": "No identity client-7, see https://a/?sig=SECRET" });
    server.at("GET /msi/token", canned::json(400, &body));
    assert!(function_app(&server, "refused").await.contains("refused was checked"));
    assert_eq!(server.requests().len(), 1, "it is not repeated");
}

#[tokio::test]
async fn an_identity_endpoint_that_asks_to_wait_long_is_not_asked_meanwhile() {
    let server = Canned::start().await;
    server.at("GET /msi/token", canned::text(429, "too many requests").header("Retry-After", "60"));
    assert!(function_app(&server, "limited").await.contains("limited was checked"));
    assert_eq!(server.requests().len(), 1, "it counts what comes too early");
}
