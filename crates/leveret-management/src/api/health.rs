//! Health checks: green is 200, red is 503 with what is wrong.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use leveret_broker::{Effects, Properties, QueueOptions, Settlement, Time};
use serde_json::{Value, json};

use super::{Route, get};
use crate::App;
use crate::access::Access;
use crate::error::Refusal;
use crate::json::timestamp;
use crate::messages::{self, Publish};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/health/checks/alarms", "Whether publishers are blocked, or the store has failed", alarms),
        get("/health/checks/local-alarms", "The same of this node", alarms),
        get("/health/checks/store", "Whether the store works, and what damage it has found", store),
        get(
            "/health/checks/certificate-expiration/{within}/{unit}",
            "Whether a certificate ends within so many days, weeks, months or years",
            certificates,
        ),
        get("/health/checks/virtual-hosts", "Whether all virtual hosts run", virtual_hosts),
        get("/health/checks/node-is-mirror-sync-critical", "RabbitMQ's, of clusters", single_node),
        get("/health/checks/node-is-quorum-critical", "RabbitMQ's, of clusters", single_node),
        get("/health/checks/port-listener/{port}", "Whether somebody listens on a port", port_listener),
        get("/health/checks/protocol-listener/{protocol}", "Whether a protocol is spoken", protocol_listener),
        get("/healthchecks/node", "RabbitMQ's older check of the node", node),
        get("/healthchecks/node/{node}", "The same by name", node_by_name),
        get("/aliveness-test/{vhost}", "Publishes a message and fetches it", aliveness),
    ]
}

fn well() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

fn failed(mut detail: Value) -> Response {
    detail["status"] = "failed".into();
    (StatusCode::SERVICE_UNAVAILABLE, Json(detail)).into_response()
}

/// What is wrong, if anything is.
fn trouble(app: &App) -> Option<Value> {
    if let Some(failure) = app.node.status().store_failure {
        return Some(json!({ "reason": format!("the store has failed: {failure}"), "alarms": [] }));
    }
    let resource = match app.node.blocked()? {
        "low on memory" => "memory",
        _ => "disk",
    };
    let alarms = json!([{ "node": app.node.name(), "resource": resource }]);
    Some(json!({ "reason": "There are alarms in effect on the node", "alarms": alarms }))
}

async fn alarms(State(app): State<App>, _access: Access) -> Response {
    trouble(&app).map_or_else(well, failed)
}

async fn store(State(app): State<App>, _access: Access) -> Response {
    let status = app.node.status();
    let damage = json!({ "damage_count": status.damage.len(), "damage": status.damage });
    match status.store_failure {
        Some(failure) => failed(
            json!({ "reason": format!("the store has failed: {failure}"), "damage_count": status.damage.len() }),
        ),
        None => {
            let mut well = damage;
            well["status"] = "ok".into();
            Json(well).into_response()
        }
    }
}

async fn node(State(app): State<App>, _access: Access) -> Response {
    trouble(&app).map_or_else(well, failed)
}

async fn node_by_name(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    if app.node.name() != name {
        return Err(Refusal::NotFound);
    }
    Ok(node(State(app), access).await)
}

async fn certificates(
    State(app): State<App>,
    _access: Access,
    Path((within, unit)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let span_ms = span_ms(&within, &unit)?;
    let latest = app.node.now().plus_ms(span_ms);
    let ending = |ends: &[Time]| -> Vec<Value> {
        ends.iter().filter(|end| **end < latest).map(|end| timestamp(*end)).collect()
    };
    let expired = app.node.listeners().into_iter().filter_map(|listener| {
        let (shown, trusted) = (ending(&listener.certificates), ending(&listener.authorities));
        (!shown.is_empty() || !trusted.is_empty()).then(|| {
            json!({
                "node": app.node.name(),
                "protocol": listener.protocol,
                "interface": listener.address.ip().to_string(),
                "port": listener.address.port(),
                "certfile_expires_on": shown,
                "cacertfile_expires_on": trusted,
            })
        })
    });
    let expired: Vec<Value> = expired.collect();
    if expired.is_empty() {
        return Ok(well());
    }
    Ok(failed(json!({ "reason": "Certificates expiring", "expired": expired })))
}

/// So many of a unit in milliseconds; months and years are as long as they are on average, leap years left out.
fn span_ms(within: &str, unit: &str) -> Result<u64, Refusal> {
    const DAY_MS: u64 = 86_400_000;
    let count: u64 = within.parse().map_err(|_| Refusal::bad("Invalid expiration value."))?;
    let unit_ms = match unit.to_ascii_lowercase().as_str() {
        "days" => DAY_MS,
        "weeks" => 7 * DAY_MS,
        "months" => 365 * DAY_MS / 12,
        "years" => 365 * DAY_MS,
        _ => {
            let reason = "Time unit not recognised. Supported units: days, weeks, months, years.";
            return Err(Refusal::bad(reason));
        }
    };
    Ok(count.saturating_mul(unit_ms))
}

async fn virtual_hosts(_access: Access) -> Response {
    well()
}

async fn single_node(_access: Access) -> Response {
    Json(json!({ "status": "ok", "reason": "single node cluster" })).into_response()
}

async fn port_listener(
    State(app): State<App>,
    _access: Access,
    Path(port): Path<String>,
) -> Result<Response, Refusal> {
    let port: u16 = port.parse().map_err(|_| Refusal::bad(format!("port: expected a port, found {port}")))?;
    let mut ports: Vec<u16> = app.node.listeners().iter().map(|listener| listener.address.port()).collect();
    ports.push(app.statistics.address.port());
    if ports.contains(&port) {
        return Ok(Json(json!({ "status": "ok", "port": port })).into_response());
    }
    Ok(failed(json!({ "reason": "No active listener", "missing": port, "ports": ports })))
}

async fn protocol_listener(State(app): State<App>, _access: Access, Path(asked): Path<String>) -> Response {
    let mut protocols: Vec<&str> = app.node.listeners().iter().map(|listener| listener.protocol).collect();
    protocols.push("http");
    let protocol = match asked.as_str() {
        "amqp" | "amqp091" | "amqp0.9.1" | "amqp0-9-1" => "amqp",
        "amqps" | "amqp091s" | "amqp/ssl" => "amqp/ssl",
        other => other,
    };
    if protocols.contains(&protocol) {
        return Json(json!({ "status": "ok", "protocol": protocol })).into_response();
    }
    failed(json!({ "reason": "No active listener", "missing": asked, "protocols": protocols }))
}

const ALIVENESS_QUEUE: &str = "aliveness-test";

async fn aliveness(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
) -> Result<Response, Refusal> {
    let vhost = access.vhost(&app, &vhost)?;
    let client = access.client(&app, &vhost.name);
    let mut effects = Effects::at(app.node.now());
    let queue = vhost.declare_queue(ALIVENESS_QUEUE, QueueOptions::default(), &client, &mut effects)?.queue;
    messages::carry_out(&vhost, &mut effects);
    let properties = Properties::default().encode();
    let message = Publish {
        exchange: "",
        routing_key: ALIVENESS_QUEUE,
        properties: &properties,
        body: b"test_message",
    };
    messages::publish(&app, &vhost, &message, &client).await?;
    let fetched = messages::fetch(&app, &vhost, &queue, 1, Settlement::Acked);
    if fetched.first().is_some_and(|one| one.message.body == b"test_message") {
        return Ok(well());
    }
    Ok(failed(json!({ "reason": "the message that was published is not there" })))
}
