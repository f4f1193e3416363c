//! `/metrics`, `/livez`, `/readyz`.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::config::Readiness;
use crate::dispatch::Pause;
use crate::host::Views;
use crate::ports::Health;

/// OpenMetrics, as Prometheus asks for it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Nothing while the host starts.
pub(super) type Started = Arc<OnceLock<Views>>;

pub(super) fn router(views: Started) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(views)
}

async fn metrics(State(views): State<Started>) -> Response {
    match views.get() {
        Some(views) => {
            let kind = [(header::CONTENT_TYPE, OPENMETRICS)];
            (kind, views.metrics.encode()).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
    }
}

/// 200 while everything that is asked for is there, 503 with the reasons otherwise.
async fn readyz(State(views): State<Started>) -> impl IntoResponse {
    let (ready, waiting) = match views.get() {
        Some(views) => {
            let waiting = waiting(views);
            let ready = waiting.is_empty() || views.readiness == Readiness::Process;
            (ready, waiting)
        }
        None => (false, vec![json!({ "reason": "the host is starting" })]),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({ "ready": ready, "waiting": waiting })))
}

fn waiting(views: &Views) -> Vec<Value> {
    let brokers = views
        .brokers
        .iter()
        .filter_map(|(name, broker)| match broker.health() {
            Health::Ready => None,
            Health::Waiting(reason) => Some(json!({ "broker": &**name, "reason": reason })),
        });
    let paused = views.subscriptions.iter().flat_map(|s| {
        s.paused().into_iter().filter_map(|why| match why {
            Pause::Destination(reason) => Some(json!({
                "plugin": &*s.spec().plugin,
                "subscription": &*s.spec().name,
                "reason": reason,
            })),
            Pause::Breaker | Pause::Asked | Pause::Halted => None,
        })
    });
    brokers.chain(paused).collect()
}
