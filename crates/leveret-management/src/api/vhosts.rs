//! Virtual hosts.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leveret_broker::{ErrorKind, Permission, VhostSettings};
use serde_json::Value;

use super::{Route, delete, get, made, post, put};
use crate::App;
use crate::access::Access;
use crate::body::Body;
use crate::error::Refusal;
use crate::json::vhost;
use crate::list::{Columns, Listing};
use crate::parameters::Parameters;
use crate::ranges::Ranges;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/vhosts", "Virtual hosts", list),
        get("/vhosts/{vhost}", "A virtual host", show),
        put(
            "/vhosts/{vhost}",
            "Makes a virtual host or changes it: description, tags, default_queue_type, protected_from_deletion",
            declare,
        ),
        delete("/vhosts/{vhost}", "Deletes a virtual host with everything in it", remove),
        post(
            "/vhosts/{vhost}/deletion/protection",
            "Refuses to delete a virtual host from now on",
            protect::<true>,
        ),
        delete(
            "/vhosts/{vhost}/deletion/protection",
            "Allows for deleting a virtual host again",
            protect::<false>,
        ),
        post(
            "/vhosts/{vhost}/start/{node}",
            "RabbitMQ's start of a virtual host, which always runs here",
            start,
        ),
    ]
}

async fn list(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    let (listing, ranges) = (Listing::from(&parameters)?, Ranges::from(&parameters, app.node.now())?);
    listing.respond_in_pieces(
        access.known_vhosts(&app),
        |vhost| ("", &vhost.name),
        move |vhost, fields| vhost::put((&app, &ranges), vhost, fields),
    )
}

async fn show(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    access.administrator()?;
    let vhost = app.node.broker().vhost(&name).ok_or(Refusal::NotFound)?;
    let now = app.node.now();
    let ranges = Ranges::from(&parameters, now)?;
    if !ranges.is_empty() {
        app.statistics.look_at_vhost(&vhost, now);
    }
    let columns = Columns::from(&parameters);
    Ok(Json(columns.object(|fields| vhost::put((&app, &ranges), &vhost, fields))))
}

async fn declare(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    let broker = app.node.broker();
    let before = broker.vhost(&name).map(|vhost| vhost.settings()).unwrap_or_default();
    let flag = |name: &str, before| if body.value(name).is_some() { body.flag(name) } else { Ok(before) };
    let settings = VhostSettings {
        description: body.text("description")?.map_or(before.description, Into::into),
        tags: body.tags()?.unwrap_or(before.tags),
        default_queue_type: body.text("default_queue_type")?.map(Into::into).or(before.default_queue_type),
        tracing: flag("tracing", before.tracing)?,
        protected_from_deletion: flag("protected_from_deletion", before.protected_from_deletion)?,
    };
    let is_new = broker.put_vhost(&name, settings)?;
    if is_new {
        // As in RabbitMQ: who makes one may use it.
        broker.set_permission(&access.user, &name, Permission::full()?)?;
    }
    Ok(made(is_new))
}

async fn remove(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    match app.node.broker().delete_vhost(&name) {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Refusal::NotFound),
        Err(error) if error.kind == ErrorKind::PreconditionFailed => Err(Refusal::Protected(error.text)),
        Err(error) => Err(error.into()),
    }
}

async fn protect<const PROTECTED: bool>(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    match app.node.broker().protect_vhost(&name, PROTECTED)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::NotFound),
    }
}

async fn start(
    State(app): State<App>,
    access: Access,
    Path((vhost, node)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    if app.node.name() != node {
        return Err(Refusal::bad(format!("there is no node {node}")));
    }
    app.node.broker().vhost(&vhost).ok_or(Refusal::NotFound)?;
    Ok(StatusCode::NO_CONTENT)
}
