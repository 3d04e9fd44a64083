//! Requests that carry a token and may be repeated: looks at jobs and resources, the cancel, the rules in a blob.

use std::time::Duration;

use app::ports::Inconclusive;
use lifecycle::ServiceRequestId;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, DATE, ETAG, HeaderMap};
use reqwest::{Method, Url};
use time::OffsetDateTime;

use super::body::{BodyError, read_body};
use super::call;
use super::retry::{Tries, may_pass, wished_pause};
use super::{CLIENT_REQUEST_ID, client, new_request_id, request_id};
use crate::tokens::{Audience, Tokens};

/// One try, from the connection to the last byte of the answer.
const TRY: Duration = Duration::from_secs(20);
/// Answers are not read beyond this: a page of a job list has some ten kilobytes.
const MAX_BODY: usize = 8 << 20;

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The service's clock when it answered, to the second.
    pub(crate) date: Option<OffsetDateTime>,
    /// Which version of the resource it shows, as it was given.
    pub(crate) etag: Option<String>,
    /// The service's own id of the answer.
    pub(crate) request_id: Option<ServiceRequestId>,
}

/// What one try came to.
enum Tried {
    /// An answer that no further try would change, whatever its status.
    Final(HttpAnswer),
    /// The service answered 401; with a new token it is asked once more.
    Refused(HttpAnswer),
    /// It may be otherwise at the next try, which the service may have given a time for.
    MayPass(Result<HttpAnswer, Inconclusive>, Option<Duration>),
}

/// Asks, with a token, and repeats a few times what may pass: no connection, no answer, 408, 429, 5xx. A 401 drops the
/// token and is repeated once. Only for requests that may be repeated. The last answer is returned whatever its status.
///
/// All tries of a request have one `x-ms-client-request-id`: they are one question.
pub(crate) async fn ask<A: Audience>(
    tokens: &Tokens<A>,
    method: Method,
    url: &Url,
) -> Result<HttpAnswer, Inconclusive> {
    ask_more(tokens, method, url, &HeaderMap::new(), None, MAX_BODY).await
}

/// The same with headers and perhaps a body; of an answer at most `limit` bytes are taken.
pub(crate) async fn ask_more<A: Audience>(
    tokens: &Tokens<A>,
    method: Method,
    url: &Url,
    headers: &HeaderMap,
    body: Option<&[u8]>,
    limit: usize,
) -> Result<HttpAnswer, Inconclusive> {
    let place = format!("{method} {}{}", url.host_str().unwrap_or_default(), url.path());
    let id = new_request_id();
    let mut tries = Tries::new();
    loop {
        let token = tokens.get().await.map_err(|error| Inconclusive::not_reachable(&*place).caused_by(error))?;
        let bearer = token.bearer_for(url).map_err(|error| Inconclusive::not_asked(&*place).caused_by(error))?;
        let mut request = client().request(method.clone(), url.clone()).header(AUTHORIZATION, bearer).timeout(TRY);
        request = request.header(CLIENT_REQUEST_ID, &id).headers(headers.clone());
        if let Some(body) = body {
            request = request.body(body.to_vec());
        }
        if method == Method::POST {
            request = request.header(CONTENT_LENGTH, 0); // Resource Manager answers 411 without it
        }
        let (outcome, asked) = match answer(request, &place, limit, tokens.now()).await? {
            Tried::Final(got) => return Ok(got),
            Tried::Refused(got) => {
                if tries.renew() {
                    tokens.forget(&token);
                    continue;
                }
                return Ok(got);
            }
            Tried::MayPass(outcome, asked) => (outcome, asked),
        };
        if !tries.again(asked).await {
            return outcome;
        }
    }
}

async fn answer(
    request: reqwest::RequestBuilder,
    place: &str,
    limit: usize,
    now: OffsetDateTime,
) -> Result<Tried, Inconclusive> {
    let response = match call::send(request).await {
        Ok(response) => response,
        Err(error) => {
            return Ok(Tried::MayPass(Err(Inconclusive::not_reachable(place).caused_by(error.without_url())), None));
        }
    };
    let status = response.status().as_u16();
    let asked = wished_pause(response.headers(), now);
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| azure_core::time::parse_rfc7231(date).ok());
    let request_id = request_id(response.headers());
    let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    match read_body(response, limit).await {
        Ok(body) => {
            let got = HttpAnswer { status, body, date, etag, request_id };
            Ok(match status {
                401 => Tried::Refused(got),
                status if may_pass(status) => Tried::MayPass(Ok(got), asked),
                _ => Tried::Final(got),
            })
        }
        // The same would come again.
        Err(error @ BodyError::TooLong(_)) => {
            Err(Inconclusive::not_understood(place).caused_by(error).answered_as(request_id))
        }
        Err(error) => {
            let inconclusive = Inconclusive::not_reachable(place).caused_by(error).answered_as(request_id);
            Ok(Tried::MayPass(Err(inconclusive), asked))
        }
    }
}
