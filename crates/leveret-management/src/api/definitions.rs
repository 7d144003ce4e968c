//! Definitions in and out, of the whole broker or of one virtual host.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use leveret_broker::{Definitions, Effects, Error};
use serde_json::Value;

use super::{Route, get, post};
use crate::App;
use crate::access::Access;
use crate::beside::beside;
use crate::body::{Body, Unread};
use crate::error::Refusal;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/definitions", "All definitions: users, virtual hosts, permissions, policies, topology", export),
        post("/definitions", "Imports definitions; what is there already stays", import),
        get("/definitions/{vhost}", "The definitions of a virtual host", export_vhost),
        post("/definitions/{vhost}", "Imports definitions into a virtual host", import_vhost),
    ]
}

async fn export(State(app): State<App>, access: Access) -> Result<Response, Refusal> {
    access.administrator()?;
    beside(move || Ok(Json(app.node.broker().definitions()).into_response())).await
}

async fn export_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
) -> Result<Response, Refusal> {
    access.administrator()?;
    let vhost = access.vhost(&app, &vhost).map_err(missing_is_bad)?;
    beside(move || Ok(Json(app.node.broker().definitions_of(&vhost).to_vhost_json()).into_response())).await
}

/// As RabbitMQ answers here.
fn missing_is_bad(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Missing(reason) => Refusal::Bad(reason),
        other => other,
    }
}

async fn take(
    app: App,
    bytes: Vec<u8>,
    read: impl FnOnce(Value) -> Result<Definitions, Error> + Send + 'static,
) -> Result<StatusCode, Refusal> {
    beside(move || {
        let body = Body::parse(&bytes)?;
        drop(bytes);
        let definitions = read(Value::Object(body.0))?;
        let mut effects = Effects::at(app.node.now());
        app.node.broker().import(&definitions, &mut effects)?;
        effects.flush();
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

async fn import(
    State(app): State<App>,
    access: Access,
    Unread(bytes): Unread,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    take(app, bytes, Definitions::from_json).await
}

async fn import_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    Unread(bytes): Unread,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    access.vhost(&app, &vhost)?;
    take(app, bytes, move |json| Definitions::from_vhost_json(json, &vhost)).await
}
