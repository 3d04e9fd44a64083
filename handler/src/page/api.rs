//! The page's JSON, for scripts that ask it.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lifecycle::redact::redacted;
use serde::Serialize;

use app::reports::{self, ScoringLookup};

use super::{Question, Site};

pub(super) async fn scorings(State(site): State<Site>, asked: Question) -> Response {
    match site.rows("../", &asked, usize::MAX).await {
        Ok(rows) => json(&site, &rows),
        Err(answer) => answer,
    }
}

pub(super) async fn scoring(State(site): State<Site>, Path(id): Path<String>) -> Response {
    match site.scoring("../../", &id, usize::MAX).await {
        Ok(ScoringLookup::Scoring(detail)) => json(&site, &detail),
        Ok(ScoringLookup::Unreadable(row)) => json(&site, &row),
        Err(response) => response,
    }
}

pub(super) async fn pending(State(site): State<Site>) -> Response {
    match reports::pending(&site.ledger).await {
        Ok(pending) => json(&site, &pending),
        Err(error) => site.unreadable("../", &error),
    }
}

pub(super) async fn limits(State(site): State<Site>) -> Response {
    match site.ledger.readable_controls().await {
        Ok((controls, _)) => json(&site, &reports::limits(&controls)),
        Err(error) => site.unreadable("../", &error),
    }
}

pub(super) async fn breakers(State(site): State<Site>) -> Response {
    match site.ledger.readable_controls().await {
        Ok((controls, _)) => json(&site, &reports::breakers(&controls)),
        Err(error) => site.unreadable("../", &error),
    }
}

/// JSON without secrets, whatever the reports have let through.
fn json(site: &Site, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            let json = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, json)], redacted(&text).into_owned()).into_response()
        }
        Err(why) => {
            site.problem("../", StatusCode::INTERNAL_SERVER_ERROR, &format!("this cannot be shown as JSON: {why}"))
        }
    }
}
