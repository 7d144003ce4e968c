//! The routes that both companies have. What they do is decided in `company.rs`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use leveret_web::input::Fields;
use leveret_web::{Answer, Problem, RequestKey, parked};
use tokio_util::sync::CancellationToken;

use crate::books::{Books, Entry};
use crate::company::Company;
use crate::page::Pages;
use crate::transfer::account;

pub(crate) fn routes(company: &Company, peer: Option<String>, stop: &CancellationToken) -> Router {
    Router::new()
        .route("/users", post(open_account))
        .route("/transfers/{tid}", get(show))
        .route("/books", get(books))
        .with_state(company.clone())
        .merge(parked::routes(company.parked().clone(), company.changed().clone()))
        .merge(Pages::start(company, peer, stop).routes())
}

/// `POST /users {"name","money"}`
async fn open_account(
    State(company): State<Company>,
    key: RequestKey,
    fields: Fields,
) -> Result<Answer, Problem> {
    let (name, money) = account(&fields)?;
    company.open_account(name, money, &key).await
}

/// `GET /transfers/{tid}`
async fn show(
    State(company): State<Company>,
    tid: Result<Path<i64>, PathRejection>,
) -> Result<Json<Entry>, Problem> {
    let none = || Problem::not_found("no such transfer is known here");
    let Path(tid) = tid.map_err(|_| none())?;
    company.entry(tid).await?.map(Json).ok_or_else(none)
}

/// `GET /books`
async fn books(State(company): State<Company>) -> Result<Json<Books>, Problem> {
    Ok(Json(company.books().await?))
}
