//! Users and their limits.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leveret_broker::{HashAlgorithm, PasswordHash, User, UserLimits};
use serde_json::Value;

use super::{Route, delete, get, made, post, put};
use crate::App;
use crate::access::Access;
use crate::body::{Body, missing, wrong};
use crate::error::Refusal;
use crate::json::administration::{self, edited};
use crate::list::{Columns, Listing};
use crate::parameters::Parameters;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/users", "Users", list),
        get("/users/without-permissions", "Users who may enter no virtual host", without_permissions),
        post("/users/bulk-delete", "Deletes the users in the list `users`", remove_many),
        get("/users/{user}", "A user", show),
        put("/users/{user}", "Makes a user or changes it: tags, and password or password_hash", declare),
        delete("/users/{user}", "Deletes a user with all permissions", remove),
        get("/user-limits", "The limits of users", limits),
        get("/user-limits/{user}", "The limits of a user", limits_of),
        put(
            "/user-limits/{user}/{limit}",
            "Sets max-connections or max-channels of a user to `value`",
            set_limit,
        ),
        delete("/user-limits/{user}/{limit}", "Clears a limit of a user", clear_limit),
    ]
}

fn respond(users: Vec<User>, parameters: &Parameters) -> Result<Response, Refusal> {
    Listing::from(parameters)?.respond(users, |user| ("", &user.name), administration::put)
}

async fn list(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    access.administrator()?;
    respond(app.node.broker().users.all(), &parameters)
}

async fn without_permissions(
    State(app): State<App>,
    access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    access.administrator()?;
    let users = &app.node.broker().users;
    let permissions = users.permissions();
    let mut all = users.all();
    all.retain(|user| permissions.iter().all(|permission| permission.user != user.name));
    respond(all, &parameters)
}

fn named(app: &App, name: &str) -> Result<User, Refusal> {
    app.node.broker().users.find(name).ok_or(Refusal::NotFound)
}

async fn show(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    access.administrator()?;
    let user = named(&app, &name)?;
    Ok(Json(Columns::default().object(|fields| administration::put(&user, fields))))
}

async fn declare(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    let tags = body.tags()?.ok_or_else(|| Refusal::bad("tags_not_present"))?;
    let broker = app.node.broker();
    let limits = broker.users.limits(&name);
    let password = match (body.text("password_hash")?, body.text("password")?) {
        (Some(hash), _) => PasswordHash::imported(hash, algorithm(&body)?)?,
        (None, Some(password)) => {
            let password = password.to_owned();
            // Hashing takes milliseconds by design.
            let hashed = tokio::task::spawn_blocking(move || PasswordHash::of(&password)).await;
            hashed.map_err(|error| Refusal::Unavailable(error.to_string()))??
        }
        (None, None) => PasswordHash::default(),
    };
    Ok(made(broker.put_user(User { name, password, tags, limits })?))
}

fn algorithm(body: &Body) -> Result<HashAlgorithm, Refusal> {
    match body.value("hashing_algorithm") {
        None => Ok(HashAlgorithm::default()),
        Some(name) => serde_json::from_value(name.clone())
            .map_err(|error| Refusal::bad(format!("hashing_algorithm: {error}"))),
    }
}

async fn remove(
    State(app): State<App>,
    access: Access,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    named(&app, &name)?;
    app.node.broker().delete_user(&name)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_many(State(app): State<App>, access: Access, body: Body) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    let users = body.value("users").ok_or_else(|| missing("users"))?;
    let names = users.as_array().ok_or_else(|| wrong("users", "a list of names", users))?;
    let broker = app.node.broker();
    let check = |name: &Value| {
        let name = name.as_str().ok_or_else(|| wrong("users", "names", name))?;
        broker.users.find(name).ok_or_else(|| Refusal::bad(format!("no_such_user: {name}")))
    };
    // All of them, before any is gone.
    let users: Vec<User> = names.iter().map(check).collect::<Result<_, _>>()?;
    for user in users {
        broker.delete_user(&user.name)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn limits(
    State(app): State<App>,
    _access: Access,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond_limits(app.node.broker().users.all(), &parameters)
}

async fn limits_of(
    State(app): State<App>,
    _access: Access,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond_limits(vec![named(&app, &name)?], &parameters)
}

fn respond_limits(mut users: Vec<User>, parameters: &Parameters) -> Result<Response, Refusal> {
    users.retain(|user| user.limits != UserLimits::default());
    Listing::from(parameters)?.respond(
        users,
        |user| ("", &user.name),
        |user, fields| administration::put_limits(("user", &user.name), &user.limits, fields),
    )
}

async fn set_limit(
    State(app): State<App>,
    access: Access,
    Path((name, limit)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    let value = body.number("value")?.ok_or_else(|| missing("value"))?;
    change_limit(&app, &name, &limit, Some(value.into()))
}

async fn clear_limit(
    State(app): State<App>,
    access: Access,
    Path((name, limit)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    change_limit(&app, &name, &limit, None)
}

fn change_limit(app: &App, name: &str, limit: &str, value: Option<Value>) -> Result<StatusCode, Refusal> {
    let user = named(app, name).map_err(|_| Refusal::bad(format!("no_such_user: {name}")))?;
    let limits = UserLimits::from_json(&edited(&user.limits, limit, value))?;
    app.node.broker().set_user_limits(name, limits)?;
    Ok(StatusCode::NO_CONTENT)
}
