//! Policies and operator policies, runtime parameters, global parameters, and the limits of virtual hosts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leveret_broker::{Effects, GlobalParameter, Parameter, Policy, PolicyKind, Vhost, VhostLimits};
use serde_json::{Map, Value};

use super::{Route, delete, get, made, put};
use crate::App;
use crate::access::Access;
use crate::body::{Body, missing};
use crate::error::Refusal;
use crate::json::administration::{self, edited};
use crate::list::{Columns, Listing};
use crate::parameters::Parameters;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/policies", "Policies", policies::<USERS>),
        get("/policies/{vhost}", "The policies of a virtual host", policies_of::<USERS>),
        get("/policies/{vhost}/{name}", "A policy", policy::<USERS>),
        put(
            "/policies/{vhost}/{name}",
            "Sets a policy: pattern, definition, apply-to, priority",
            set_policy::<USERS>,
        ),
        delete("/policies/{vhost}/{name}", "Clears a policy", clear_policy::<USERS>),
        get("/operator-policies", "Operator policies", policies::<OPERATORS>),
        get(
            "/operator-policies/{vhost}",
            "The operator policies of a virtual host",
            policies_of::<OPERATORS>,
        ),
        get("/operator-policies/{vhost}/{name}", "An operator policy", policy::<OPERATORS>),
        put("/operator-policies/{vhost}/{name}", "Sets an operator policy", set_policy::<OPERATORS>),
        delete("/operator-policies/{vhost}/{name}", "Clears an operator policy", clear_policy::<OPERATORS>),
        get("/parameters", "Runtime parameters, policies left out", parameters),
        get("/parameters/{component}", "The parameters of a component", parameters_of_component),
        get("/parameters/{component}/{vhost}", "Those of a virtual host", parameters_of_vhost),
        get("/parameters/{component}/{vhost}/{name}", "A parameter", parameter),
        put("/parameters/{component}/{vhost}/{name}", "Sets a parameter to `value`", set_parameter),
        delete("/parameters/{component}/{vhost}/{name}", "Clears a parameter", clear_parameter),
        get("/global-parameters", "Global parameters", global_parameters),
        get("/global-parameters/{name}", "A global parameter", global_parameter),
        put("/global-parameters/{name}", "Sets a global parameter to `value`", set_global_parameter),
        delete("/global-parameters/{name}", "Clears a global parameter", clear_global_parameter),
        get("/vhost-limits", "The limits of virtual hosts", limits),
        get("/vhost-limits/{vhost}", "The limits of a virtual host", limits_of),
        put("/vhost-limits/{vhost}/{name}", "Sets max-connections or max-queues to `value`", set_limit),
        delete("/vhost-limits/{vhost}/{name}", "Clears a limit", clear_limit),
    ]
}

/// Users' policies, or operators': what is asked of both is the same but for who may set them.
const USERS: bool = false;
const OPERATORS: bool = true;

const fn kind(operators: bool) -> PolicyKind {
    if operators { PolicyKind::Operator } else { PolicyKind::User }
}

fn respond_policies(
    vhosts: Vec<Arc<Vhost>>,
    kind: PolicyKind,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let each = vhosts.into_iter().flat_map(|vhost| {
        let policies = vhost.policies(kind);
        policies.into_iter().map(move |policy| (Arc::clone(&vhost.name), policy))
    });
    Listing::from(parameters)?.respond(
        each.collect(),
        |(vhost, policy)| (vhost, &policy.name),
        |(vhost, policy), fields| administration::put_policy(vhost, policy, fields),
    )
}

async fn policies<const OF: bool>(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond_policies(access.vhosts(&app), kind(OF), &parameters)
}

async fn policies_of<const OF: bool>(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond_policies(vec![access.vhost(&app, &vhost)?], kind(OF), &parameters)
}

async fn policy<const OF: bool>(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    check_kind(&access, kind(OF))?;
    let vhost = access.vhost(&app, &vhost)?;
    let policies = vhost.policies(kind(OF));
    let policy = policies.iter().find(|policy| policy.name == name).ok_or(Refusal::NotFound)?;
    Ok(Json(Columns::default().object(|fields| administration::put_policy(&vhost.name, policy, fields))))
}

/// What operators set, policymakers may not set or look at one by one, as in RabbitMQ.
fn check_kind(access: &Access, kind: PolicyKind) -> Result<(), Refusal> {
    match kind {
        PolicyKind::User => access.policymaker(),
        PolicyKind::Operator => access.administrator(),
    }
}

async fn set_policy<const OF: bool>(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    check_kind(&access, kind(OF))?;
    let vhost = access.vhost(&app, &vhost)?;
    let mut value = Map::new();
    for field in ["pattern", "definition", "priority", "apply-to"] {
        value.extend(body.value(field).map(|it| (field.to_owned(), it.clone())));
    }
    for field in ["pattern", "definition"] {
        body.value(field).ok_or_else(|| missing(field))?;
    }
    let policy = Policy::from_json(&name, &Value::Object(value), kind(OF))?;
    let mut effects = Effects::at(app.node.now());
    let is_new = vhost.set_policy(kind(OF), &policy, &mut effects)?;
    crate::messages::carry_out(&vhost, &mut effects);
    Ok(made(is_new))
}

async fn clear_policy<const OF: bool>(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    check_kind(&access, kind(OF))?;
    let vhost = access.vhost(&app, &vhost)?;
    let mut effects = Effects::at(app.node.now());
    let was_there = vhost.clear_policy(kind(OF), &name, &mut effects)?;
    crate::messages::carry_out(&vhost, &mut effects);
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NotFound) }
}

fn respond_parameters(
    vhosts: &[Arc<Vhost>],
    wanted: impl Fn(&Parameter) -> bool,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let all = vhosts.iter().flat_map(|vhost| vhost.parameters()).filter(wanted);
    Listing::from(parameters)?.respond(all.collect(), |it| (&it.vhost, &it.name), administration::put)
}

async fn parameters(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.policymaker()?;
    let is_policy = |it: &Parameter| it.component == PolicyKind::User.component();
    respond_parameters(&access.vhosts(&app), |it| !is_policy(it), &parameters)
}

async fn parameters_of_component(
    State(app): State<App>,
    access: Access,
    Path(component): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.policymaker()?;
    respond_parameters(&access.vhosts(&app), |it| it.component == component, &parameters)
}

async fn parameters_of_vhost(
    State(app): State<App>,
    access: Access,
    Path((component, vhost)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.policymaker()?;
    respond_parameters(&[access.vhost(&app, &vhost)?], |it| it.component == component, &parameters)
}

async fn parameter(
    State(app): State<App>,
    access: Access,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    access.policymaker()?;
    let mut all = access.vhost(&app, &vhost)?.parameters().into_iter();
    let found = all.find(|it| it.component == component && it.name == name).ok_or(Refusal::NotFound)?;
    Ok(Json(Columns::default().object(|fields| administration::put(&found, fields))))
}

/// What is no policy, policymakers may not set.
fn check_component(access: &Access, component: &str) -> Result<(), Refusal> {
    if component == PolicyKind::User.component() { access.policymaker() } else { access.administrator() }
}

async fn set_parameter(
    State(app): State<App>,
    access: Access,
    Path((component, vhost, name)): Path<(String, String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    check_component(&access, &component)?;
    let vhost = access.vhost(&app, &vhost)?;
    // Definitions may bring along what others understand, and keep it; who sets it here expects it to do something.
    if !Parameter::is_understood(&component) {
        return Err(Refusal::bad(format!("Validation failed\n\ncomponent {component} not found")));
    }
    let value = body.value("value").ok_or_else(|| missing("value"))?.clone();
    let mut effects = Effects::at(app.node.now());
    let is_new = vhost.set_parameter(&component, &name, value, &mut effects)?;
    crate::messages::carry_out(&vhost, &mut effects);
    Ok(made(is_new))
}

async fn clear_parameter(
    State(app): State<App>,
    access: Access,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    check_component(&access, &component)?;
    let vhost = access.vhost(&app, &vhost)?;
    let mut effects = Effects::at(app.node.now());
    let was_there = vhost.clear_parameter(&component, &name, &mut effects)?;
    crate::messages::carry_out(&vhost, &mut effects);
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NotFound) }
}

async fn global_parameters(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.policymaker()?;
    let all = app.node.broker().global_parameters();
    Listing::from(&parameters)?.respond(all, |it| ("", &it.name), administration::put)
}

async fn global_parameter(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    access.policymaker()?;
    let value = app.node.broker().global_parameter(&name).ok_or(Refusal::NotFound)?;
    let found = GlobalParameter { name, value };
    Ok(Json(Columns::default().object(|fields| administration::put(&found, fields))))
}

async fn set_global_parameter(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    let value = body.value("value").ok_or_else(|| missing("value"))?.clone();
    Ok(made(app.node.broker().set_global_parameter(&name, value)?))
}

async fn clear_global_parameter(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    match app.node.broker().clear_global_parameter(&name)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::NotFound),
    }
}

fn respond_limits(mut vhosts: Vec<Arc<Vhost>>, parameters: &Parameters) -> Result<Response, Refusal> {
    vhosts.retain(|vhost| vhost.limits() != VhostLimits::default());
    Listing::from(parameters)?.respond(
        vhosts,
        |vhost| ("", &vhost.name),
        |vhost, fields| administration::put_limits(("vhost", &vhost.name), &vhost.limits(), fields),
    )
}

async fn limits(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    respond_limits(access.known_vhosts(&app), &parameters)
}

async fn limits_of(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond_limits(vec![access.known_vhost(&app, &vhost)?], &parameters)
}

fn change_limit(vhost: &Vhost, name: &str, value: Option<Value>) -> Result<StatusCode, Refusal> {
    let limits = VhostLimits::from_json(&edited(&vhost.limits(), name, value))?;
    vhost.set_limits(limits)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_limit(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    let value = body.number("value")?.ok_or_else(|| missing("value"))?;
    change_limit(&*access.vhost(&app, &vhost)?, &name, Some(value.into()))
}

async fn clear_limit(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    change_limit(&*access.vhost(&app, &vhost)?, &name, None)
}
