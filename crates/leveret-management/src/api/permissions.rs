//! Permissions in virtual hosts, and on the routing keys of topic exchanges.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leveret_broker::{Permission, TopicPermission, UserPermission, UserTopicPermission, Users};
use serde::Serialize;
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
        get("/permissions", "Permissions of all users", list::<UserPermission>),
        get("/permissions/{vhost}/{user}", "The permissions of a user in a virtual host", show),
        put("/permissions/{vhost}/{user}", "Sets configure, write and read", set),
        delete("/permissions/{vhost}/{user}", "Clears the permissions of a user in a virtual host", clear),
        get("/users/{user}/permissions", "The permissions of a user", of_user::<UserPermission>),
        get("/vhosts/{vhost}/permissions", "The permissions in a virtual host", of_vhost::<UserPermission>),
        get("/topic-permissions", "Topic permissions of all users", list::<UserTopicPermission>),
        get("/topic-permissions/{vhost}/{user}", "A user's topic permissions in a virtual host", show_topics),
        put("/topic-permissions/{vhost}/{user}", "Sets write and read at an exchange", set_topic),
        delete(
            "/topic-permissions/{vhost}/{user}",
            "Clears a user's topic permissions in a virtual host",
            clear_topics,
        ),
        delete("/topic-permissions/{vhost}/{user}/{exchange}", "Clears those at one exchange", clear_topic),
        get(
            "/users/{user}/topic-permissions",
            "The topic permissions of a user",
            of_user::<UserTopicPermission>,
        ),
        get(
            "/vhosts/{vhost}/topic-permissions",
            "The topic permissions in a virtual host",
            of_vhost::<UserTopicPermission>,
        ),
    ]
}

/// Permissions of one kind: users', or their topic permissions.
trait Kind: Serialize {
    fn all(users: &Users) -> Vec<Self>
    where
        Self: Sized;
    /// Virtual host and user.
    fn key(&self) -> (&str, &str);
}

impl Kind for UserPermission {
    fn all(users: &Users) -> Vec<Self> {
        users.permissions()
    }

    fn key(&self) -> (&str, &str) {
        (&self.vhost, &self.user)
    }
}

impl Kind for UserTopicPermission {
    fn all(users: &Users) -> Vec<Self> {
        users.topic_permissions()
    }

    fn key(&self) -> (&str, &str) {
        (&self.vhost, &self.user)
    }
}

/// Those of a user, of a virtual host, of both, or all. Somebody or something that is not there is a refusal.
fn respond<P: Kind>(
    app: &App,
    access: &Access,
    (user, vhost): (Option<&str>, Option<&str>),
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    check(app, access, user, vhost)?;
    let mut all = P::all(&app.node.broker().users);
    all.retain(|it| {
        let (of_vhost, of_user) = it.key();
        vhost.is_none_or(|vhost| vhost == of_vhost) && user.is_none_or(|user| user == of_user)
    });
    Listing::from(parameters)?.respond(all, P::key, administration::put)
}

/// Whether both are there, and the user who asks is an administrator.
fn check(app: &App, access: &Access, user: Option<&str>, vhost: Option<&str>) -> Result<(), Refusal> {
    access.administrator()?;
    let broker = app.node.broker();
    let user_is_missing = user.is_some_and(|user| broker.users.find(user).is_none());
    let vhost_is_missing = vhost.is_some_and(|vhost| broker.vhost(vhost).is_none());
    if user_is_missing || vhost_is_missing { Err(Refusal::NotFound) } else { Ok(()) }
}

async fn list<P: Kind>(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond::<P>(&app, &access, (None, None), &parameters)
}

async fn of_user<P: Kind>(
    State(app): State<App>,
    access: Access,
    Path(user): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond::<P>(&app, &access, (Some(&user), None), &parameters)
}

async fn of_vhost<P: Kind>(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond::<P>(&app, &access, (None, Some(&vhost)), &parameters)
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

async fn show_topics(
    State(app): State<App>,
    access: Access,
    Path((vhost, user)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    // As in RabbitMQ: a user without any has none to show.
    check(&app, &access, Some(&user), Some(&vhost))?;
    let all = app.node.broker().users.topic_permissions();
    if all.iter().all(|it| it.key() != (vhost.as_str(), user.as_str())) {
        return Err(Refusal::NotFound);
    }
    respond::<UserTopicPermission>(&app, &access, (Some(&user), Some(&vhost)), &parameters)
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
