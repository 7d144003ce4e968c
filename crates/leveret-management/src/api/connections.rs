//! Connections, channels and consumers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use leveret_broker::Connection;
use serde_json::{Value, json};

use super::{Route, delete, get};
use crate::App;
use crate::access::Access;
use crate::error::Refusal;
use crate::json::connection::{self, OnChannel, OnConnection};
use crate::list::{Columns, Listing};
use crate::parameters::Parameters;
use crate::ranges::Ranges;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/connections", "Open connections", list),
        get("/connections/{name}", "A connection", show),
        delete("/connections/{name}", "Closes a connection; the header X-Reason says why", close),
        get("/connections/{name}/channels", "The channels of a connection", channels_of_connection),
        get("/connections/username/{user}", "The connections of a user", list_of_user),
        delete("/connections/username/{user}", "Closes the connections of a user", close_of_user),
        get("/vhosts/{vhost}/connections", "The connections to a virtual host", list_of_vhost),
        get("/vhosts/{vhost}/channels", "The channels of a virtual host", channels_of_vhost),
        get("/channels", "Open channels", channels),
        get("/channels/{name}", "A channel", channel),
        get("/consumers", "Consumers", consumers),
        get("/consumers/{vhost}", "The consumers of a virtual host", consumers_of_vhost),
    ]
}

/// The connections that the user sees: all, or only their own.
fn visible(app: &App, access: &Access) -> Vec<Arc<Connection>> {
    let all = app.node.broker().connections.list().into_iter();
    all.filter(|connection| access.is_monitor() || connection.options.user == access.user).collect()
}

fn named(app: &App, access: &Access, name: &str) -> Result<Arc<Connection>, Refusal> {
    let all = app.node.broker().connections.list();
    let found = all.into_iter().find(|connection| connection.name == name).ok_or(Refusal::NotFound)?;
    access.owner(&found.options.user, access.is_monitor())?;
    Ok(found)
}

fn respond(
    app: &App,
    connections: Vec<Arc<Connection>>,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let (app, ranges) = (app.clone(), Ranges::from(parameters, app.node.now())?);
    Listing::from(parameters)?.respond_in_pieces(
        connections,
        |connection| ("", &connection.name),
        move |connection, fields| {
            connection::put((&app.statistics, &ranges), app.node.name(), connection, fields);
        },
    )
}

async fn list(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    respond(&app, visible(&app, &access), &parameters)
}

async fn list_of_user(
    State(app): State<App>,
    access: Access,
    Path(user): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let all = visible(&app, &access).into_iter();
    respond(&app, all.filter(|connection| connection.options.user == user).collect(), &parameters)
}

async fn list_of_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.vhost(&app, &vhost)?;
    let all = visible(&app, &access).into_iter();
    respond(&app, all.filter(|connection| *connection.options.vhost == *vhost).collect(), &parameters)
}

async fn show(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    let connection = named(&app, &access, &name)?;
    let (node, now) = (app.node.name(), app.node.now());
    let ranges = Ranges::from(&parameters, now)?;
    if !ranges.is_empty() {
        app.statistics.look_at_connection(&connection, now);
    }
    let statistics = (&*app.statistics, &ranges);
    Ok(Json(
        Columns::from(&parameters).object(|fields| connection::put(statistics, node, &connection, fields)),
    ))
}

fn reason(headers: &HeaderMap) -> String {
    let given = headers.get("x-reason").and_then(|reason| reason.to_str().ok()).filter(|it| !it.is_empty());
    given.unwrap_or("Closed via management plugin").chars().take(200).collect()
}

async fn close(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let connection = named(&app, &access, &name)?;
    access.owner(&connection.options.user, access.is_administrator())?;
    connection.close(&reason(&headers));
    Ok(StatusCode::NO_CONTENT)
}

async fn close_of_user(
    State(app): State<App>,
    access: Access,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    if user != access.user {
        access.administrator()?;
    }
    let all = app.node.broker().connections.list();
    let reason = reason(&headers);
    all.iter().filter(|connection| connection.options.user == user).for_each(|it| it.close(&reason));
    Ok(StatusCode::NO_CONTENT)
}

fn channels_on(connections: Vec<Arc<Connection>>) -> Vec<OnConnection> {
    let each = connections.into_iter().flat_map(|connection| {
        let channels = connection.channels();
        channels.into_iter().map(move |channel| (Arc::clone(&connection), channel))
    });
    each.collect()
}

fn respond_channels(
    app: &App,
    channels: Vec<OnConnection>,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let (app, ranges) = (app.clone(), Ranges::from(parameters, app.node.now())?);
    let named: Vec<(String, OnConnection)> =
        channels.into_iter().map(|one| (connection::channel_name(&one.0, &one.1), one)).collect();
    Listing::from(parameters)?.respond_in_pieces(
        named,
        |(name, _)| ("", name),
        move |(_, one), fields| {
            connection::put_channel((&app.statistics, &ranges), app.node.name(), one, fields);
        },
    )
}

async fn channels(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond_channels(&app, channels_on(visible(&app, &access)), &parameters)
}

async fn channels_of_connection(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond_channels(&app, channels_on(vec![named(&app, &access, &name)?]), &parameters)
}

async fn channels_of_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.vhost(&app, &vhost)?;
    let all = visible(&app, &access).into_iter();
    let connections = all.filter(|connection| *connection.options.vhost == *vhost).collect();
    respond_channels(&app, channels_on(connections), &parameters)
}

async fn channel(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    let (node, now) = (app.node.name(), app.node.now());
    let mut all = channels_on(app.node.broker().connections.list()).into_iter();
    let one = all.find(|(connection, channel)| connection::channel_name(connection, channel) == name);
    let one = one.ok_or(Refusal::NotFound)?;
    access.owner(&one.0.options.user, access.is_monitor())?;
    let on_it = |consumer: &OnChannel| Arc::ptr_eq(&consumer.channel, &one.1);
    let consumers: Vec<_> = consumers_on(vec![Arc::clone(&one.0)]).into_iter().filter(on_it).collect();
    let ranges = Ranges::from(&parameters, now)?;
    if !ranges.is_empty() {
        app.statistics.look_at_channel(one.0.id, &one.1, now);
    }
    Ok(Json(Columns::from(&parameters).object(|fields| {
        connection::put_channel((&app.statistics, &ranges), node, &one, fields);
        fields.put("consumer_details", || connection::consumers(node, &consumers));
        fields.put("deliveries", || json!([]));
        fields.put("publishes", || json!([]));
    })))
}

/// The consumers on these connections.
pub(crate) fn consumers_on(connections: Vec<Arc<Connection>>) -> Vec<OnChannel> {
    let each = channels_on(connections).into_iter().flat_map(|(connection, channel)| {
        let consumers = channel.consumers();
        consumers.into_iter().map(move |consumer| OnChannel {
            connection: Arc::clone(&connection),
            channel: Arc::clone(&channel),
            consumer,
        })
    });
    each.collect()
}

fn respond_consumers(
    app: &App,
    access: &Access,
    vhost: Option<&str>,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let node = app.node.name();
    let all = visible(app, access).into_iter();
    let connections =
        all.filter(|connection| vhost.is_none_or(|vhost| *connection.options.vhost == *vhost)).collect();
    Listing::from(parameters)?.respond(
        consumers_on(connections),
        |on| (&on.connection.options.vhost, &on.consumer.tag),
        |on, fields| connection::put_consumer(node, on, fields),
    )
}

async fn consumers(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond_consumers(&app, &access, None, &parameters)
}

async fn consumers_of_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    Access::find_vhost(&app, &vhost)?;
    respond_consumers(&app, &access, Some(&vhost), &parameters)
}
