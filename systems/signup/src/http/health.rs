//! Whether the system can do its work now.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::App;

/// `GET /healthz`: 200 when broker and database can be reached, else 503.
pub(super) async fn show(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let health = app.signup.health().await;
    let status = if health.is_good() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let oldest_s = health.depth.and_then(|depth| depth.oldest).map(|oldest| oldest.as_secs_f64());
    let body = json!({
        "broker": health.broker,
        "database": health.depth.is_some(),
        "outbox_unsent": health.depth.map(|depth| depth.unsent),
        "outbox_oldest_s": oldest_s,
    });
    (status, Json(body))
}
