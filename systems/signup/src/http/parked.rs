//! Mails given up: listed, tried again, thrown away.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use leveret_bus::ParkedMessage;
use serde::Serialize;
use serde_json::{Value, json};

use super::App;
use super::problem::Problem;

const PARKED_LISTED: usize = 1000;

/// A parked message as the API shows it.
#[derive(Serialize)]
pub(super) struct Entry {
    message_id: String,
    /// The message's body.
    user_id: String,
    reason: String,
    attempts: u32,
    first_failed_ms: Option<i64>,
    last_failed_ms: Option<i64>,
}

impl From<ParkedMessage> for Entry {
    fn from(message: ParkedMessage) -> Self {
        Self {
            message_id: message.message_id,
            user_id: String::from_utf8_lossy(&message.body).into_owned(),
            reason: message.reason,
            attempts: message.attempts,
            first_failed_ms: message.first_failed_ms,
            last_failed_ms: message.last_failed_ms,
        }
    }
}

/// `GET /parked`: oldest first.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<Entry>>, Problem> {
    let parked = app.signup.parked(PARKED_LISTED).await?;
    Ok(Json(parked.into_iter().map(Entry::from).collect()))
}

/// `POST /parked/replay`
pub(super) async fn replay_all(State(app): State<App>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "replayed": app.signup.replay_all().await? })))
}

/// `POST /parked/{message_id}/replay`
pub(super) async fn replay(
    State(app): State<App>,
    Path(message_id): Path<String>,
) -> Result<StatusCode, Problem> {
    done(app.signup.replay(&message_id).await?)
}

/// `DELETE /parked`
pub(super) async fn drop_all(State(app): State<App>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "dropped": app.signup.drop_all_parked().await? })))
}

/// `DELETE /parked/{message_id}`
pub(super) async fn drop_one(
    State(app): State<App>,
    Path(message_id): Path<String>,
) -> Result<StatusCode, Problem> {
    done(app.signup.drop_parked(&message_id).await?)
}

fn done(was_there: bool) -> Result<StatusCode, Problem> {
    if was_there {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("there is no such parked message"))
}
