//! Signing up, and asking where a mail stands.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::App;
use super::problem::Problem;
use crate::registration::Registration;
use crate::signup::Registered;
use crate::view::User;

const USERS_LISTED: u64 = 100;

/// `POST /users {"name","email"}`
pub(super) async fn register(
    State(app): State<App>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(body) = body?;
    let registration = Registration::new(text(&body, "name")?, text(&body, "email")?)?;
    match app.signup.register(&registration).await? {
        Registered::New { user_id } => {
            let place = [(header::LOCATION, format!("/users/{user_id}"))];
            Ok((StatusCode::CREATED, place, Json(json!({ "user_id": user_id }))).into_response())
        }
        Registered::EmailTaken => {
            Err(Problem::new(StatusCode::CONFLICT, "somebody has signed up with this address"))
        }
    }
}

/// `GET /users`: the last who signed up, newest first.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<User>>, Problem> {
    Ok(Json(app.signup.latest_users(USERS_LISTED).await?))
}

/// `GET /users/{id}`
pub(super) async fn show(
    State(app): State<App>,
    user_id: Result<Path<i64>, PathRejection>,
) -> Result<Json<User>, Problem> {
    let none = || Problem::not_found("there is no such user");
    let Path(user_id) = user_id.map_err(|_| none())?;
    app.signup.user(user_id).await?.map(Json).ok_or_else(none)
}

/// The text of a field, or what is wrong with it.
fn text<'a>(body: &'a Value, field: &'static str) -> Result<&'a str, Problem> {
    let Value::Object(fields) = body else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "the body must be a JSON object"));
    };
    match fields.get(field) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Problem::field(field, "must be text")),
        None => Err(Problem::field(field, "is missing")),
    }
}
