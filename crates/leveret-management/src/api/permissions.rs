//! Permissions in virtual hosts, and on the routing keys of topic exchanges.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leveret_broker::{Permission, TopicPermission, UserPermission, UserTopicPermission};
use serde_json::Value;

use super::{Route, delete, get, made, put};
use crate::App;
use crate::access::Access;
use crate::body::Body;
use crate::error::Refusal;
use crate::json::administration;
use crate::list::{Columns, Listing};
use crate::parameters::Parameters;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/permissions", "Permissions of all users", list),
        get("/permissions/{vhost}/{user}", "The permissions of a user in a virtual host", show),
        put("/permissions/{vhost}/{user}", "Sets configure, write and read", set),
        delete("/permissions/{vhost}/{user}", "Clears the permissions of a user in a virtual host", clear),
        get("/users/{user}/permissions", "The permissions of a user", of_user),
        get("/vhosts/{vhost}/permissions", "The permissions in a virtual host", of_vhost),
        get("/topic-permissions", "Topic permissions of all users", topics),
        get("/topic-permissions/{vhost}/{user}", "A user's topic permissions in a virtual host", show_topics),
        put("/topic-permissions/{vhost}/{user}", "Sets write and read at an exchange", set_topic),
        delete(
            "/topic-permissions/{vhost}/{user}",
            "Clears a user's topic permissions in a virtual host",
            clear_topics,
        ),
        delete("/topic-permissions/{vhost}/{user}/{exchange}", "Clears those at one exchange", clear_topic),
        get("/users/{user}/topic-permissions", "The topic permissions of a user", topics_of_user),
        get("/vhosts/{vhost}/topic-permissions", "The topic permissions in a virtual host", topics_of_vhost),
    ]
}

fn respond(
    app: &App,
    wanted: impl Fn(&UserPermission) -> bool,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let mut all = app.node.broker().users.permissions();
    all.retain(wanted);
    Listing::from(parameters)?.respond(all, |it| (&it.vhost, &it.user), administration::put)
}

fn respond_topics(
    app: &App,
    wanted: impl Fn(&UserTopicPermission) -> bool,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let mut all = app.node.broker().users.topic_permissions();
    all.retain(wanted);
    Listing::from(parameters)?.respond(all, |it| (&it.vhost, &it.user), administration::put)
}

/// Whether both are there, and the user who asks is an administrator.
fn check(app: &App, access: &Access, user: Option<&str>, vhost: Option<&str>) -> Result<(), Refusal> {
    access.administrator()?;
    let broker = app.node.broker();
    let user_is_missing = user.is_some_and(|user| broker.users.find(user).is_none());
    let vhost_is_missing = vhost.is_some_and(|vhost| broker.vhost(vhost).is_none());
    if user_is_missing || vhost_is_missing { Err(Refusal::NotFound) } else { Ok(()) }
}

async fn list(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    check(&app, &access, None, None)?;
    respond(&app, |_| true, &parameters)
}

async fn of_user(
    State(app): State<App>,
    access: Access,
    Path(user): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    check(&app, &access, Some(&user), None)?;
    respond(&app, |it| it.user == user, &parameters)
}

async fn of_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    check(&app, &access, None, Some(&vhost))?;
    respond(&app, |it| it.vhost == vhost, &parameters)
}

async fn show(
    State(app): State<App>,
    access: Access,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    check(&app, &access, Some(&user), Some(&vhost))?;
    let all = app.node.broker().users.permissions();
    let found = all.into_iter().find(|it| it.user == user && it.vhost == vhost).ok_or(Refusal::NotFound)?;
    Ok(Json(Columns::default().object(|fields| administration::put(&found, fields))))
}

/// As RabbitMQ answers where one of both is not there.
fn ends_missing(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::NotFound => Refusal::bad("vhost_or_user_not_found"),
        other => other,
    }
}

async fn set(
    State(app): State<App>,
    access: Access,
    Path((vhost, user)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    check(&app, &access, Some(&user), Some(&vhost)).map_err(ends_missing)?;
    let [configure, write, read] = ["configure", "write", "read"].map(|name| body.required_text(name));
    let permission = Permission::new(configure?, write?, read?)?;
    Ok(made(app.node.broker().set_permission(&user, &vhost, permission)?))
}

async fn clear(
    State(app): State<App>,
    access: Access,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    check(&app, &access, Some(&user), Some(&vhost))?;
    match app.node.broker().clear_permission(&user, &vhost)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::NotFound),
    }
}

async fn topics(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    check(&app, &access, None, None)?;
    respond_topics(&app, |_| true, &parameters)
}

async fn topics_of_user(
    State(app): State<App>,
    access: Access,
    Path(user): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    check(&app, &access, Some(&user), None)?;
    respond_topics(&app, |it| it.user == user, &parameters)
}

async fn topics_of_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    check(&app, &access, None, Some(&vhost))?;
    respond_topics(&app, |it| it.vhost == vhost, &parameters)
}

async fn show_topics(
    State(app): State<App>,
    access: Access,
    Path((vhost, user)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    check(&app, &access, Some(&user), Some(&vhost))?;
    respond_topics(&app, |it| it.user == user && it.vhost == vhost, &parameters)
}

async fn set_topic(
    State(app): State<App>,
    access: Access,
    Path((vhost, user)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    check(&app, &access, Some(&user), Some(&vhost)).map_err(ends_missing)?;
    let [exchange, write, read] = ["exchange", "write", "read"].map(|name| body.required_text(name));
    let permission = TopicPermission::new(write?, read?)?;
    Ok(made(app.node.broker().set_topic_permission((&user, &vhost, exchange?), permission)?))
}

async fn clear_topics(
    State(app): State<App>,
    access: Access,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    check(&app, &access, Some(&user), Some(&vhost))?;
    app.node.broker().clear_topic_permissions(&user, &vhost, None)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_topic(
    State(app): State<App>,
    access: Access,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    check(&app, &access, Some(&user), Some(&vhost))?;
    app.node.broker().clear_topic_permissions(&user, &vhost, Some(&exchange))?;
    Ok(StatusCode::NO_CONTENT)
}
