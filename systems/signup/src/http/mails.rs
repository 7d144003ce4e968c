//! The mails that arrived as files.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use leveret_web::Problem;
use serde_json::{Value, json};

use super::App;

const MAILS_LISTED: usize = 1000;

/// `GET /mails`: newest first.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mails = app.signup.mails().latest(MAILS_LISTED).await.map_err(unreadable)?;
    let entry = |mail: &crate::MailFile| json!({ "name": mail.name, "arrived_ms": mail.arrived_ms, "size_bytes": mail.size_bytes });
    Ok(Json(mails.iter().map(entry).collect()))
}

/// `GET /mails/{name}`: the mail's source.
pub(super) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let mail = app.signup.mails().read(&name).await.map_err(unreadable)?;
    let mail = mail.ok_or_else(|| Problem::not_found("there is no such mail"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], mail))
}

fn unreadable(error: std::io::Error) -> Problem {
    Problem::unavailable(error, "the mail folder cannot be read")
}
