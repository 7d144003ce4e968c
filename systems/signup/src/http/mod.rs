//! The HTTP side: a route table, and a file for each group of routes. What the routes do is decided
//! elsewhere.

mod mails;
mod pages;
mod users;

use axum::Router;
use axum::routing::get;
use leveret_web::{Board, parked};
use tokio_util::sync::CancellationToken;

use crate::board::{self, Snapshot};
use crate::signup::Signup;

pub(crate) const OPENAPI: &str = include_str!("../openapi.json");

/// What the routes share.
#[derive(Clone)]
pub(crate) struct App {
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
        .route("/", get(pages::index))
        .route("/events", get(pages::events))
        .route("/users", get(users::list).post(users::register))
        .route("/users/{user_id}", get(users::show))
        .route("/mails", get(mails::list))
        .route("/mails/{name}", get(mails::show))
        .with_state(App { signup: signup.clone(), board })
        .merge(parked::routes(signup.parked.clone(), signup.changed.clone()))
}
