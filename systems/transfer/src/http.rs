//! The routes that both companies have. What they do is decided in `company.rs`.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use leveret_bus::Outbox;
use leveret_web::input::{Fields, Id};
use leveret_web::{Answer, Front, Problem, RequestKey};

use crate::books::{Books, Entry, Side};
use crate::company::Company;
use crate::log;
use crate::page::CompanyPage;
use crate::transfer::account;

/// All that a company shows: its page, its `own` routes, and those that both have. B has no outbox.
pub(crate) fn front(
    company: &Company,
    own: Router,
    outbox: Option<Outbox>,
    peer: Option<&str>,
) -> Front<CompanyPage> {
    let shared = Router::new()
        .route("/users", post(open_account))
        .route("/transfers/{tid}", get(show))
        .route("/books", get(books))
        .with_state(company.clone());
    Front {
        openapi: match company.side {
            Side::A => include_str!("a/openapi.json"),
            Side::B => include_str!("b/openapi.json"),
        },
        routes: own.merge(shared),
        page: CompanyPage::new(company, peer),
        parked: company.parked.clone(),
        outbox,
        changed: Arc::clone(&company.changed),
    }
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
async fn show(State(company): State<Company>, Id(tid): Id<i64>) -> Result<Json<Entry>, Problem> {
    let entry = log::find(&company.db, tid).await?;
    entry.map(Json).ok_or_else(|| Problem::not_found("no such transfer is known here"))
}

/// `GET /books`
async fn books(State(company): State<Company>) -> Result<Json<Books>, Problem> {
    Ok(Json(company.books().await?))
}
