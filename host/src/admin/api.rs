//! `/api/v1`: what runs, and the few things one can ask of it.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::dispatch::{Pause, Subscription};
use crate::host::Views;

pub(super) fn router(views: Views, token: Option<String>) -> Router {
    Router::new()
        .route("/api/v1/plugins", get(plugins))
        .route("/api/v1/subscriptions", get(subscriptions))
        .route("/api/v1/subscriptions/{plugin}/{name}/pause", post(pause))
        .route("/api/v1/subscriptions/{plugin}/{name}/resume", post(resume))
        .with_state(views)
        .layer(middleware::from_fn_with_state(Arc::new(token), authorise))
}

/// With a token configured, every call must present it.
async fn authorise(
    State(token): State<Arc<Option<String>>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = &*token else {
        return next.run(request).await;
    };
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    if given.is_some_and(|given| same(given.as_bytes(), token.as_bytes())) {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, "a bearer token is required\n").into_response()
    }
}

/// Compares without telling, by its time, how much was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (x, y)| differ | (x ^ y)) == 0
}

async fn plugins(State(views): State<Views>) -> Json<Value> {
    let all = views.catalog.all();
    let shown = all.iter().map(|plugin| {
        let status = plugin.status();
        json!({
            "name": &*status.name,
            "state": if status.version.is_some() { "STARTED" } else { "STOPPED" },
            "instances": status.instances,
            "memory": status.memory,
            "version": status.version.map(|v| json!({
                "digest": &*v.digest,
                "path": v.path,
                "instances": v.instances,
            })),
        })
    });
    Json(json!({ "plugins": shown.collect::<Vec<_>>() }))
}

async fn subscriptions(State(views): State<Views>) -> Json<Value> {
    let shown: Vec<Value> = views.subscriptions.iter().map(show).collect();
    Json(json!({ "subscriptions": shown }))
}

fn show(subscription: &Subscription) -> Value {
    let spec = subscription.spec();
    let paused = subscription.paused();
    json!({
        "plugin": &*spec.plugin,
        "name": &*spec.name,
        "broker": subscription.broker(),
        "source": &*spec.address,
        "group": &*spec.group,
        "state": if paused.is_empty() { "STARTED" } else { "PAUSED" },
        "paused": paused.iter().map(reason).collect::<Vec<_>>(),
        "in_hand": subscription.in_hand(),
        "lag": subscription.metrics().waiting.get(),
        "pending": subscription.metrics().pending.get(),
    })
}

fn reason(why: &Pause) -> String {
    match why {
        Pause::Destination(reason) => reason.clone(),
        Pause::Breaker => "the breaker is open".into(),
        Pause::Asked => "asked for".into(),
        Pause::Halted => "a dead letter halted it".into(),
    }
}

async fn pause(State(views): State<Views>, Path(which): Path<(String, String)>) -> Response {
    act(&views, &which, Subscription::pause)
}

async fn resume(State(views): State<Views>, Path(which): Path<(String, String)>) -> Response {
    act(&views, &which, Subscription::resume)
}

fn act(
    views: &Views,
    (plugin, name): &(String, String),
    action: impl Fn(&Subscription),
) -> Response {
    let found = views
        .subscriptions
        .iter()
        .find(|s| *s.spec().plugin == **plugin && *s.spec().name == **name);
    match found {
        Some(subscription) => {
            action(subscription);
            Json(show(subscription)).into_response()
        }
        None => (
            StatusCode::NOT_FOUND,
            format!("no subscription {plugin}/{name}\n"),
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"ab"));
        assert!(!same(b"", b"a"));
    }
}
