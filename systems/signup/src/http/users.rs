//! Signing up, and asking where a mail stands.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use leveret_web::input::Fields;
use leveret_web::{Answer, Problem, RequestKey};

use super::App;
use crate::registration::Registration;
use crate::signup;
use crate::view::User;

const USERS_LISTED: u64 = 100;

/// `POST /users {"name","email"}`
pub(super) async fn register(
    State(app): State<App>,
    key: RequestKey,
    fields: Fields,
) -> Result<Answer, Problem> {
    let registration = Registration::new(fields.text("name")?, fields.text("email")?)?;
    let user_id = app.signup.register(&registration, &key).await?;
    Ok(signup::answer(user_id))
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
