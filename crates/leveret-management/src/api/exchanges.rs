//! Exchanges: listing, declaring, deleting, publishing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leveret_broker::{ExchangeOptions, ListedExchange};
use serde_json::{Value, json};

use super::{Route, delete, get, post, put};
use crate::App;
use crate::access::Access;
use crate::body::Body;
use crate::error::Refusal;
use crate::json::{exchange, message};
use crate::list::{Columns, Listing};
use crate::messages::{self, Publish};
use crate::parameters::Parameters;
use crate::ranges::Ranges;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/exchanges", "Exchanges", list),
        get("/exchanges/{vhost}", "The exchanges of a virtual host", list_of_vhost),
        get("/exchanges/{vhost}/{exchange}", "An exchange", show),
        put("/exchanges/{vhost}/{exchange}", "Declares an exchange", declare),
        delete(
            "/exchanges/{vhost}/{exchange}",
            "Deletes an exchange; if-unused=true only without bindings",
            remove,
        ),
        post(
            "/exchanges/{vhost}/{exchange}/publish",
            "Publishes a message and waits until it is kept",
            publish,
        ),
    ]
}

type Listed = (String, ListedExchange);

fn respond(app: &App, listed: Vec<Listed>, parameters: &Parameters) -> Result<Response, Refusal> {
    let ranges = Ranges::from(parameters, app.node.now())?;
    let statistics = Arc::clone(&app.statistics);
    Listing::from(parameters)?.respond_in_pieces(
        listed,
        |(vhost, exchange)| (vhost, &exchange.name),
        move |(vhost, exchange), fields| exchange::put((&statistics, &ranges), vhost, exchange, fields),
    )
}

async fn list(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    let vhosts = access.vhosts(&app).into_iter();
    let all = vhosts.flat_map(|vhost| {
        vhost
            .exchanges()
            .into_iter()
            .map(move |exchange| (vhost.name.to_string(), exchange))
            .collect::<Vec<_>>()
    });
    respond(&app, all.collect(), &parameters)
}

async fn list_of_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let exchanges = access.vhost(&app, &vhost)?.exchanges();
    respond(&app, exchanges.into_iter().map(|exchange| (vhost.clone(), exchange)).collect(), &parameters)
}

/// In paths the default exchange is `amq.default`.
pub(crate) fn from_path(name: &str) -> &str {
    if name == "amq.default" { "" } else { name }
}

async fn show(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    let vhost = access.vhost(&app, &vhost)?;
    let name = from_path(&name);
    let found = vhost.exchanges().into_iter().find(|exchange| *exchange.name == *name);
    let exchange = found.ok_or(Refusal::NotFound)?;
    let now = app.node.now();
    let ranges = Ranges::from(&parameters, now)?;
    if !ranges.is_empty() {
        app.statistics.look_at_exchange(&vhost, &exchange, now);
    }
    Ok(Json(Columns::from(&parameters).object(|fields| {
        exchange::put((&app.statistics, &ranges), &vhost.name, &exchange, fields);
        fields.put("incoming", || json!([]));
        fields.put("outgoing", || json!([]));
    })))
}

async fn declare(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let vhost = access.vhost(&app, &vhost)?;
    let is_new = vhost.exchanges().iter().all(|exchange| *exchange.name != *name);
    let options = ExchangeOptions {
        kind: body.text("type")?.unwrap_or("direct").into(),
        // As in RabbitMQ what is declared over HTTP is durable unless something else is said.
        durable: body.value("durable").is_none() || body.flag("durable")?,
        auto_delete: body.flag("auto_delete")?,
        internal: body.flag("internal")?,
        arguments: message::to_table("arguments", &body.object("arguments")?)?,
    };
    vhost.declare_exchange(from_path(&name), options, &access.client(&app, &vhost.name))?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

async fn remove(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<StatusCode, Refusal> {
    let vhost = access.vhost(&app, &vhost)?;
    let name = from_path(&name);
    if vhost.exchanges().iter().all(|exchange| *exchange.name != *name) {
        return Err(Refusal::NotFound);
    }
    vhost.delete_exchange(name, parameters.flag("if-unused"), &access.client(&app, &vhost.name))?;
    Ok(StatusCode::NO_CONTENT)
}

/// As RabbitMQ answers what a channel would be closed for.
fn as_channel(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Missing(text) => Refusal::Bad(format!("404 NOT_FOUND - {text}")),
        other => other,
    }
}

async fn publish(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let (vhost, client) = access.channel(&app, &vhost)?;
    if body.value("properties").is_none() {
        return Err(crate::body::missing("properties"));
    }
    let routing_key = body.required_text("routing_key")?;
    let exchange = from_path(&name);
    if routing_key.len() > 255 || exchange.len() > 255 {
        return Err(Refusal::bad("routing_key: longer than 255 bytes"));
    }
    let payload = message::to_payload(&body)?;
    let limit = app.node.max_message_bytes();
    if payload.len() as u64 > limit {
        return Err(Refusal::bad(format!(
            "payload: {} bytes are more than the {limit} allowed",
            payload.len()
        )));
    }
    let properties = message::to_properties(body.object("properties")?)?;
    let message = Publish { exchange, routing_key, properties: &properties, body: &payload };
    let routed = messages::publish(&app, &vhost, &message, &client).await.map_err(as_channel)?;
    Ok(Json(json!({ "routed": routed })))
}
