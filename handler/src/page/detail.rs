//! One scoring: its page, and what its outputs hold.

use app::error_chain;
use app::ledger;
use app::reports::{self, ScoringLookup};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use lifecycle::{Order, ScoringId, Status};

use super::orders::{OF_SCORINGS, Offered};
use super::{Site, views};

/// Members of a group that its page shows: while somebody looks, it is drawn every few seconds. The list of the group has all.
const MEMBERS: usize = 100;

pub(super) async fn detail(State(site): State<Site>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    site.live.answer(&headers, move || drawn_detail(site.clone(), id.clone())).await
}

async fn drawn_detail(site: Site, id: String) -> Response {
    let found = match site.scoring("../", &id, MEMBERS).await {
        Ok(ScoringLookup::Scoring(found)) => found,
        Ok(ScoringLookup::Unreadable(row)) => {
            return site.problem("../", StatusCode::INTERNAL_SERVER_ERROR, &row.error);
        }
        Err(response) => return response,
    };
    let now = (site.clock)();
    let orders = match site.orders_of(&found.scoring.id).await {
        Ok(orders) => orders,
        Err(error) => return site.unreadable("../", &error),
    };
    let row = match ScoringId::read(&id) {
        Some(id) => site.ledger.row_shown(&id).await,
        None => Ok(None),
    };
    let row = match row {
        Ok(row) => row.map(|row| laid_out(&row)).unwrap_or_default(),
        Err(error) => return site.unreadable("../", &error),
    };
    let has_results = site.results.is_some() && found.scoring.status == Status::Scored.name();
    views::detail(&site.frame("../"), &views::Detail { found: &found, orders, row: &row, has_results, now })
}

/// JSON as people read it.
fn laid_out(json: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(json).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| json.to_owned())
}

/// What the outputs of a scoring hold.
pub(super) async fn results(State(site): State<Site>, Path(id): Path<String>) -> Response {
    let up = "../../";
    let Some(read) = site.results.clone() else {
        return site.problem(
            up,
            StatusCode::NOT_FOUND,
            "what outputs hold is not shown here: `scorekeeper output --download` gets it",
        );
    };
    let scoring = match ScoringId::read(&id) {
        Some(id) => site.ledger.get(&id).await,
        None => Ok(None),
    };
    match scoring {
        Ok(Some((scoring, _))) if scoring.status == Status::Scored => {
            let path = reports::path(&scoring.blob);
            match read(scoring).await {
                Ok(files) => views::results(&site.frame(up), &path, &id, &files),
                Err(why) => site.problem(up, StatusCode::BAD_GATEWAY, &error_chain(&*why)),
            }
        }
        Ok(_) => site.problem(up, StatusCode::NOT_FOUND, "there is no such scoring, or it is not scored"),
        Err(error) => site.unreadable(up, &error),
    }
}

impl Site {
    /// The orders that would change something of a scoring.
    async fn orders_of(&self, id: &str) -> Result<Vec<&'static str>, ledger::Error> {
        let Some(operator) = &self.operator else { return Ok(Vec::new()) };
        let Some(id) = ScoringId::read(id) else { return Ok(Vec::new()) };
        let Some((scoring, _)) = self.ledger.get(&id).await? else { return Ok(Vec::new()) };
        let now = (self.clock)();
        let mut orders = Vec::new();
        for Offered { word, verb, .. } in OF_SCORINGS {
            let refused = match verb {
                Some(verb) => {
                    let order = Order { verb, by: operator.to_string(), reason: "asked".to_owned() };
                    app::refusal(&self.ledger, &scoring, &order, now).is_some()
                }
                None => app::rescore_refused_now(&scoring).is_some(),
            };
            if !refused {
                orders.push(word);
            }
        }
        Ok(orders)
    }
}
