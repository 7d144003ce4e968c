//! Virtual hosts.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;

use super::{Route, get};
use crate::App;
use crate::access::Access;
use crate::error::Refusal;
use crate::json::overview;
use crate::list::{Columns, Listing};
use crate::parameters::Parameters;

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/vhosts", "Virtual hosts", list), get("/vhosts/{vhost}", "A virtual host", show)]
}

async fn list(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    let node = app.node.status().name;
    Listing::from(&parameters)?.respond(
        access.vhosts(&app),
        |vhost| ("", &vhost.name),
        |vhost, fields| overview::put_vhost(&app, &node, vhost, fields),
    )
}

async fn show(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    let vhost = app.node.broker().vhost(&name).ok_or(Refusal::NotFound)?;
    access.vhost(&app, &name)?;
    let node = app.node.status().name;
    Ok(Json(Columns::from(&parameters).object(|fields| overview::put_vhost(&app, &node, &vhost, fields))))
}
