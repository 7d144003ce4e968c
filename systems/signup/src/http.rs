//! The routes. What they do is decided in `signup.rs`, and what the page shows in `board.rs`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use leveret_web::input::Fields;
use leveret_web::page::Lang;
use leveret_web::{Answer, Board, Problem, RequestKey, parked};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::board::{self, Snapshot};
use crate::mail::MailFile;
use crate::page;
use crate::registration::Registration;
use crate::signup::{self, Signup};
use crate::view::User;

pub(crate) const OPENAPI: &str = include_str!("openapi.json");

const USERS_LISTED: u64 = 100;
const MAILS_LISTED: usize = 1000;

#[derive(Clone)]
struct App {
    signup: Signup,
    board: Board<Snapshot>,
}

pub(crate) fn routes(signup: &Signup, stop: &CancellationToken) -> Router {
    let gathering = signup.clone();
    let board = Board::start(signup.changed.clone(), stop.clone(), move |known| {
        let signup = gathering.clone();
        async move { board::gather(&signup, &known).await }
    });
    Router::new()
        .route("/", get(index))
        .route("/events", get(events))
        .route("/users", get(users).post(register))
        .route("/users/{user_id}", get(user))
        .route("/mails", get(mails))
        .route("/mails/{name}", get(mail))
        .with_state(App { signup: signup.clone(), board })
        .merge(parked::routes(signup.parked.clone(), signup.changed.clone()))
}

/// `GET /`
async fn index(State(app): State<App>, lang: Lang) -> Html<String> {
    let snapshot = board::gather(&app.signup, &Snapshot::default()).await;
    Html(page::whole(&snapshot, lang).into_string())
}

/// `GET /events`: the page's live part, anew when it has changed.
async fn events(State(app): State<App>, lang: Lang) -> impl IntoResponse {
    app.board.stream(move |snapshot| page::live(snapshot, lang))
}

/// `POST /users {"name","email"}`
async fn register(State(app): State<App>, key: RequestKey, fields: Fields) -> Result<Answer, Problem> {
    let registration = Registration::new(fields.text("name")?, fields.text("email")?)?;
    let user_id = app.signup.register(&registration, &key).await?;
    Ok(signup::answer(user_id))
}

/// `GET /users`: the last who signed up, newest first.
async fn users(State(app): State<App>) -> Result<Json<Vec<User>>, Problem> {
    Ok(Json(app.signup.latest_users(USERS_LISTED).await?))
}

/// `GET /users/{id}`: where the mail stands, with every attempt.
async fn user(
    State(app): State<App>,
    user_id: Result<Path<i64>, PathRejection>,
) -> Result<Json<User>, Problem> {
    let none = || Problem::not_found("there is no such user");
    let Path(user_id) = user_id.map_err(|_| none())?;
    app.signup.user(user_id).await?.map(Json).ok_or_else(none)
}

/// `GET /mails`: those that arrived as files, newest first.
async fn mails(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mails = app.signup.mails().latest(MAILS_LISTED).await.map_err(unreadable)?;
    let entry = |mail: &MailFile| json!({ "name": mail.name, "arrived_ms": mail.arrived_ms, "size_bytes": mail.size_bytes });
    Ok(Json(mails.iter().map(entry).collect()))
}

/// `GET /mails/{name}`: the mail's source.
async fn mail(State(app): State<App>, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    let mail = app.signup.mails().read(&name).await.map_err(unreadable)?;
    let mail = mail.ok_or_else(|| Problem::not_found("there is no such mail"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], mail))
}

fn unreadable(error: std::io::Error) -> Problem {
    Problem::unavailable(error, "the mail folder cannot be read")
}
