//! The broker as a whole: overview, nodes, who one is, and what RabbitMQ's clients ask for beside.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leveret_broker::CLUSTER_NAME;
use serde_json::{Value, json};

use super::{Route, delete, get, put};
use crate::App;
use crate::access::Access;
use crate::body::Body;
use crate::error::Refusal;
use crate::json::overview;
use crate::list::{Columns, Listing};
use crate::parameters::Parameters;
use crate::ranges::Ranges;
use crate::statistics;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/overview", "The broker at a glance: totals, rates, listeners", show),
        get("/nodes", "The nodes, of which there is one", nodes),
        get("/nodes/{name}", "The node", node),
        get("/nodes/{name}/memory", "How much memory the node has", memory),
        put("/cluster-name", "Names the broker: name", set_cluster_name),
        get("/cluster-name", "The node's name, which is the cluster's", cluster_name),
        get("/whoami", "Name and tags of the user who asks", whoami),
        get("/auth", "How one can log in", auth),
        get("/auth/attempts/{node}", "Log-ins by protocol", attempts),
        get("/auth/attempts/{node}/source", "Log-ins by where they come from, which is not kept", sources),
        delete("/auth/attempts/{node}", "Counts log-ins anew", forget_attempts),
        get("/extensions", "What extends the management: nothing", extensions),
        get("/feature-flags", "RabbitMQ's feature flags, but for streams'", feature_flags),
        put("/feature-flags/{name}/enable", "Says whether a feature flag is on", enable),
        get("/deprecated-features", "What is to go, of which there is nothing", extensions),
        get("/deprecated-features/used", "What of that is used", extensions),
        delete("/reset", "Forgets all samples: rates and charts begin anew", reset),
        delete("/reset/{node}", "The same of this node", reset_node),
        get("/statistics/history", "Samples of the whole broker over the last ten minutes", history),
    ]
}

async fn show(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    let (columns, ranges) = (Columns::from(&parameters), Ranges::from(&parameters, app.node.now())?);
    Ok(Json(columns.object(|fields| overview::put((&app, &ranges), access.is_monitor(), fields))))
}

async fn nodes(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    access.monitor()?;
    let (status, ranges) = (app.node.status(), Ranges::from(&parameters, app.node.now())?);
    Listing::from(&parameters)?.respond(
        vec![status],
        // There is one.
        |_| ("", ""),
        |status, fields| overview::put_node((&app, &ranges), status, fields),
    )
}

async fn node(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    access.monitor()?;
    check_node(&app, &name)?;
    let (status, ranges) = (app.node.status(), Ranges::from(&parameters, app.node.now())?);
    let columns = Columns::from(&parameters);
    Ok(Json(columns.object(|fields| overview::put_node((&app, &ranges), &status, fields))))
}

/// Whether that is the node's name: there is no other.
fn check_node(app: &App, name: &str) -> Result<(), Refusal> {
    if app.node.name() == name { Ok(()) } else { Err(Refusal::NotFound) }
}

async fn cluster_name(State(app): State<App>, _access: Access) -> Json<Value> {
    Json(json!({ "name": overview::cluster_name(&app) }))
}

async fn set_cluster_name(State(app): State<App>, access: Access, body: Body) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    let name = body.required_text("name")?;
    app.node.broker().set_global_parameter(CLUSTER_NAME, name.into())?;
    Ok(StatusCode::NO_CONTENT)
}

async fn memory(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    access.monitor()?;
    check_node(&app, &name)?;
    Ok(Json(overview::memory(&app.node.status())))
}

async fn whoami(access: Access) -> Json<Value> {
    Json(json!({ "name": access.user, "tags": access.tags }))
}

async fn auth() -> Json<Value> {
    Json(json!({ "oauth_enabled": false, "enable_uaa": false, "uaa_client_id": "", "uaa_location": "" }))
}

async fn attempts(
    State(app): State<App>,
    access: Access,
    Path(node): Path<String>,
) -> Result<Json<Value>, Refusal> {
    access.monitor()?;
    check_node(&app, &node)?;
    let (succeeded, failed) = (app.logins.succeeded(), app.logins.failed());
    Ok(Json(json!([{
        "protocol": "http",
        "auth_attempts": succeeded + failed,
        "auth_attempts_failed": failed,
        "auth_attempts_succeeded": succeeded,
    }])))
}

async fn sources(
    State(app): State<App>,
    access: Access,
    Path(node): Path<String>,
) -> Result<Json<Value>, Refusal> {
    access.monitor()?;
    check_node(&app, &node)?;
    Ok(Json(json!([])))
}

async fn forget_attempts(
    State(app): State<App>,
    access: Access,
    Path(node): Path<String>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    check_node(&app, &node)?;
    app.logins.reset();
    Ok(StatusCode::NO_CONTENT)
}

async fn reset(State(app): State<App>, access: Access) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    statistics::reset(&app);
    Ok(StatusCode::NO_CONTENT)
}

async fn reset_node(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    check_node(&app, &name)?;
    reset(State(app), access).await
}

async fn extensions(_access: Access) -> Json<Value> {
    Json(json!([]))
}

/// All are on. That of streams, which there are none of, is left out: tools that turn on whatever is off would fail.
const FEATURE_FLAGS: [(&str, &str); 8] = [
    ("classic_mirrored_queue_version", "Support setting version for classic mirrored queues"),
    ("drop_unroutable_metric", "Count unroutable publishes to be dropped in stats"),
    ("empty_basic_get_metric", "Count AMQP `basic.get` on empty queues in stats"),
    ("implicit_default_bindings", "Bindings of the default exchange are implicit"),
    ("maintenance_mode_status", "Maintenance mode status"),
    ("quorum_queue", "Support queues of type `quorum`"),
    ("user_limits", "Limits for users"),
    ("virtual_host_metadata", "Virtual host metadata"),
];

async fn enable(access: Access, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    if FEATURE_FLAGS.iter().all(|(flag, _)| *flag != name) {
        return Err(Refusal::bad(format!("unsupported: there is no feature flag {name}")));
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn feature_flags(access: Access) -> Result<Json<Value>, Refusal> {
    access.administrator()?;
    let flags = FEATURE_FLAGS.iter().map(|(name, description)| {
        json!({
            "name": name, "desc": description, "doc_url": "", "state": "enabled", "stability": "stable",
            "provided_by": "leveret",
        })
    });
    Ok(Json(flags.collect()))
}

async fn history(State(app): State<App>, _access: Access) -> Json<Value> {
    Json(overview::history(&app.statistics.history()))
}
