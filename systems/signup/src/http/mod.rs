//! The HTTP side: a route table, and a file for each group of routes. What the routes do is decided
//! elsewhere.

mod events;
mod health;
mod mails;
mod pages;
mod parked;
mod problem;
mod users;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::signup::Signup;
use problem::Problem;

/// Largest request body, in bytes.
const LARGEST_BODY_BYTES: usize = 64 * 1024;

/// What the routes share.
#[derive(Clone)]
pub(crate) struct App {
    signup: Signup,
    board: Board,
    stop: CancellationToken,
}

pub(crate) fn router(signup: Signup, board: Board, stop: CancellationToken) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/style.css", get(pages::style))
        .route("/live.js", get(pages::script))
        .route("/events", get(events::stream))
        .route("/users", get(users::list).post(users::register))
        .route("/users/{user_id}", get(users::show))
        .route("/parked", get(parked::list).delete(parked::drop_all))
        .route("/parked/replay", post(parked::replay_all))
        .route("/parked/{message_id}", delete(parked::drop_one))
        .route("/parked/{message_id}/replay", post(parked::replay))
        .route("/mails", get(mails::list))
        .route("/mails/{name}", get(mails::show))
        .route("/healthz", get(health::show))
        .fallback(async || Problem::not_found("there is no such page"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method")
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .layer(middleware::from_fn(refuse_foreign_pages))
        .layer(middleware::from_fn(guard_page))
        .with_state(App { signup, board, stop })
}

/// Keeps other sites' pages, opened in the same browser, from changing anything here.
async fn refuse_foreign_pages(request: Request, next: Next) -> Response {
    let from = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let is_foreign = matches!(from, Some("cross-site" | "same-site"));
    if is_foreign && !request.method().is_safe() {
        return Problem::new(StatusCode::FORBIDDEN, "only this site's own page may do that").into_response();
    }
    next.run(request).await
}

/// Lets pages load nothing but what comes from here.
async fn guard_page(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
