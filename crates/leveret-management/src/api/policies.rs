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
use crate::json::administration;
use crate::list::{Columns, Listing};
use crate::parameters::Parameters;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/policies", "Policies", policies),
        get("/policies/{vhost}", "The policies of a virtual host", policies_of),
        get("/policies/{vhost}/{name}", "A policy", policy),
        put("/policies/{vhost}/{name}", "Sets a policy: pattern, definition, apply-to, priority", set_policy),
        delete("/policies/{vhost}/{name}", "Clears a policy", clear_policy),
        get("/operator-policies", "Operator policies", operator_policies),
        get("/operator-policies/{vhost}", "The operator policies of a virtual host", operator_policies_of),
        get("/operator-policies/{vhost}/{name}", "An operator policy", operator_policy),
        put("/operator-policies/{vhost}/{name}", "Sets an operator policy", set_operator_policy),
        delete("/operator-policies/{vhost}/{name}", "Clears an operator policy", clear_operator_policy),
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

async fn policies(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.policymaker()?;
    respond_policies(access.vhosts(&app), PolicyKind::User, &parameters)
}

async fn operator_policies(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.policymaker()?;
    respond_policies(access.vhosts(&app), PolicyKind::Operator, &parameters)
}

async fn policies_of(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.policymaker()?;
    respond_policies(vec![access.vhost(&app, &vhost)?], PolicyKind::User, &parameters)
}

async fn operator_policies_of(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.policymaker()?;
    respond_policies(vec![access.vhost(&app, &vhost)?], PolicyKind::Operator, &parameters)
}

fn shown(vhost: &Vhost, kind: PolicyKind, name: &str) -> Result<Json<Value>, Refusal> {
    let policies = vhost.policies(kind);
    let policy = policies.iter().find(|policy| policy.name == name).ok_or(Refusal::NotFound)?;
    Ok(Json(Columns::default().object(|fields| administration::put_policy(&vhost.name, policy, fields))))
}

async fn policy(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    access.policymaker()?;
    shown(&*access.vhost(&app, &vhost)?, PolicyKind::User, &name)
}

async fn operator_policy(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    access.policymaker()?;
    shown(&*access.vhost(&app, &vhost)?, PolicyKind::Operator, &name)
}

fn set(app: &App, vhost: &Vhost, kind: PolicyKind, name: &str, body: &Body) -> Result<StatusCode, Refusal> {
    let mut value = Map::new();
    for field in ["pattern", "definition", "priority", "apply-to"] {
        value.extend(body.value(field).map(|it| (field.to_owned(), it.clone())));
    }
    for field in ["pattern", "definition"] {
        body.value(field).ok_or_else(|| missing(field))?;
    }
    let policy = Policy::from_json(name, &Value::Object(value), kind)?;
    let mut effects = Effects::at(app.node.now());
    let is_new = vhost.set_policy(kind, &policy, &mut effects)?;
    crate::messages::carry_out(vhost, &mut effects);
    Ok(made(is_new))
}

fn clear(app: &App, vhost: &Vhost, kind: PolicyKind, name: &str) -> Result<StatusCode, Refusal> {
    let mut effects = Effects::at(app.node.now());
    let was_there = vhost.clear_policy(kind, name, &mut effects)?;
    crate::messages::carry_out(vhost, &mut effects);
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NotFound) }
}

async fn set_policy(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    access.policymaker()?;
    set(&app, &*access.vhost(&app, &vhost)?, PolicyKind::User, &name, &body)
}

async fn set_operator_policy(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    set(&app, &*access.vhost(&app, &vhost)?, PolicyKind::Operator, &name, &body)
}

async fn clear_policy(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    access.policymaker()?;
    clear(&app, &*access.vhost(&app, &vhost)?, PolicyKind::User, &name)
}

async fn clear_operator_policy(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    clear(&app, &*access.vhost(&app, &vhost)?, PolicyKind::Operator, &name)
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

/// What operators set, policymakers may not.
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
    respond_limits(access.vhosts(&app), &parameters)
}

async fn limits_of(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond_limits(vec![access.vhost(&app, &vhost)?], &parameters)
}

fn change_limit(vhost: &Vhost, name: &str, value: Option<Value>) -> Result<StatusCode, Refusal> {
    let mut object = match serde_json::to_value(vhost.limits()) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    match value {
        Some(value) => object.insert(name.into(), value),
        None => object.remove(name),
    };
    vhost.set_limits(VhostLimits::from_json(&Value::Object(object))?)?;
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
