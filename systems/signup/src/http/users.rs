//! Signing up, and asking where a mail stands.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use leveret_web::input::Fields;
use leveret_web::{Answer, Problem, RequestKey};

use super::App;
use crate::registration::{Invalid, Registration};
use crate::signup::Registered;
use crate::view::User;

const USERS_LISTED: u64 = 100;

/// `POST /users {"name","email"}`
pub(super) async fn register(
    State(app): State<App>,
    key: RequestKey,
    fields: Fields,
) -> Result<Answer, Problem> {
    let invalid = |Invalid { field, problem }| Problem::field(field, problem);
    let registration = Registration::new(fields.text("name")?, fields.text("email")?).map_err(invalid)?;
    match app.signup.register(&registration, &key).await? {
        Registered::New { user_id } => Ok(Registered::answer(user_id)),
        Registered::EmailTaken => Err(Problem::conflict("somebody has signed up with this address")),
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
