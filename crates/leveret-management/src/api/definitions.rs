//! Definitions in and out, of the whole broker or of one virtual host.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use leveret_broker::{Definitions, Effects};
use serde_json::Value;

use super::{Route, get, post};
use crate::App;
use crate::access::Access;
use crate::body::Body;
use crate::error::Refusal;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/definitions", "All definitions: users, virtual hosts, permissions, policies, topology", export),
        post("/definitions", "Imports definitions; what is there already stays", import),
        get("/definitions/{vhost}", "The definitions of a virtual host", export_vhost),
        post("/definitions/{vhost}", "Imports definitions into a virtual host", import_vhost),
    ]
}

async fn export(State(app): State<App>, access: Access) -> Result<Json<Value>, Refusal> {
    access.administrator()?;
    Ok(Json(app.node.broker().definitions().to_json()))
}

async fn export_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
) -> Result<Json<Value>, Refusal> {
    access.administrator()?;
    let vhost = access.vhost(&app, &vhost)?;
    Ok(Json(app.node.broker().definitions_of(&vhost).to_vhost_json()))
}

fn take(app: &App, definitions: &Definitions) -> Result<StatusCode, Refusal> {
    let mut effects = Effects::at(app.node.now());
    app.node.broker().import(definitions, &mut effects)?;
    effects.flush();
    Ok(StatusCode::NO_CONTENT)
}

async fn import(State(app): State<App>, access: Access, Body(body): Body) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    take(&app, &Definitions::from_json(&Value::Object(body))?)
}

async fn import_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    Body(body): Body,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    access.vhost(&app, &vhost)?;
    take(&app, &Definitions::from_vhost_json(&Value::Object(body), &vhost)?)
}
