//! The routes. What they do is decided in `signup.rs`.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use leveret_web::input::{Fields, Id};
use leveret_web::{Answer, Problem, RequestKey};
use serde_json::{Value, json};

use crate::mail::MailFile;
use crate::registration::Registration;
use crate::signup::{self, Signup};
use crate::view::User;

pub(crate) const OPENAPI: &str = include_str!("openapi.json");

const USERS_LISTED: u64 = 100;
const MAILS_LISTED: usize = 1000;

pub(crate) fn routes(signup: Signup) -> Router {
    Router::new()
        .route("/users", get(users).post(register))
        .route("/users/{user_id}", get(user))
        .route("/mails", get(mails))
        .route("/mails/{name}", get(mail))
        .with_state(signup)
}

/// `POST /users {"name","email"}`
async fn register(State(signup): State<Signup>, key: RequestKey, fields: Fields) -> Result<Answer, Problem> {
    let registration = Registration::new(fields.text("name")?, fields.text("email")?)?;
    let user_id = signup.register(&registration, &key).await?;
    Ok(signup::answer(user_id))
}

/// `GET /users`: the last who signed up, newest first.
async fn users(State(signup): State<Signup>) -> Result<Json<Vec<User>>, Problem> {
    Ok(Json(signup.latest_users(USERS_LISTED).await?))
}

/// `GET /users/{id}`: where the mail stands, with every attempt.
async fn user(State(signup): State<Signup>, Id(user_id): Id<i64>) -> Result<Json<User>, Problem> {
    let user = signup.user(user_id).await?;
    user.map(Json).ok_or_else(|| Problem::not_found("there is no such user"))
}

/// `GET /mails`: those that arrived as files, newest first.
async fn mails(State(signup): State<Signup>) -> Result<Json<Value>, Problem> {
    let mails = signup.mails().latest(MAILS_LISTED).await.map_err(unreadable)?;
    let entry = |mail: &MailFile| json!({ "name": mail.name, "arrived_ms": mail.arrived_ms, "size_bytes": mail.size_bytes });
    Ok(Json(mails.iter().map(entry).collect()))
}

/// `GET /mails/{name}`: the mail's source.
async fn mail(State(signup): State<Signup>, Id(name): Id<String>) -> Result<impl IntoResponse, Problem> {
    let mail = signup.mails().read(&name).await.map_err(unreadable)?;
    let mail = mail.ok_or_else(|| Problem::not_found("there is no such mail"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], mail))
}

fn unreadable(error: std::io::Error) -> Problem {
    Problem::unavailable(error, "the mail folder cannot be read")
}
