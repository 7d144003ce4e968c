//! Whether the system lives, and whether it can do its work now.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::site::Site;

/// `GET /health`: 200 as long as the process answers at all.
pub(crate) async fn alive(State(site): State<Site>) -> Json<Value> {
    Json(json!({ "system": site.name }))
}

/// `GET /ready`: 200 when broker and database can be reached and the system is not about to end, else 503.
pub(crate) async fn ready(State(site): State<Site>) -> (StatusCode, Json<Value>) {
    let broker = site.bus.is_up().await;
    let database = site.db.ping().await.is_ok();
    let ending = site.stop.is_cancelled();
    let depth = match &site.outbox {
        Some(outbox) => outbox.depth().await.ok(),
        None => None,
    };
    let is_ready = broker && database && !ending;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "broker": broker,
        "database": database,
        "ending": ending,
        "outbox_unsent": depth.map(|depth| depth.unsent),
        "outbox_oldest_s": depth.and_then(|depth| depth.oldest).map(|oldest| oldest.as_secs_f64()),
    });
    (status, Json(body))
}
