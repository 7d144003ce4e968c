//! B's routes.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use leveret_bus::database;
use leveret_web::input::Fields;
use leveret_web::{Answer, Problem, RequestKey, parked};
use serde_json::json;

use super::company::CompanyB;
use super::{log, users};
use crate::books::{Books, Entry};
use crate::page::Pages;
use crate::transfer::account;

pub(super) const OPENAPI: &str = include_str!("openapi.json");

pub(super) fn routes(company: CompanyB, pages: Pages) -> Router {
    let parked = parked::routes(company.parked.clone(), company.changed.clone());
    Router::new()
        .route("/users", post(open_account))
        .route("/transfers/{tid}", get(show))
        .route("/books", get(books))
        .with_state(company)
        .merge(parked)
        .merge(pages.routes())
}

/// `POST /users {"name","money"}`
async fn open_account(
    State(company): State<CompanyB>,
    key: RequestKey,
    fields: Fields,
) -> Result<Answer, Problem> {
    let (name, money) = account(&fields)?;
    let tx = database::begin(&company.db).await?;
    if !users::open(&tx, name, money).await? {
        return Err(Problem::conflict("there is an account of this name"));
    }
    let answer = Answer::new(StatusCode::CREATED, json!({ "name": name, "money": money }));
    key.record(&tx, &answer).await?;
    tx.commit().await?;
    company.changed.notify_one();
    Ok(answer)
}

/// `GET /transfers/{tid}`
async fn show(
    State(company): State<CompanyB>,
    tid: Result<Path<i64>, PathRejection>,
) -> Result<Json<Entry>, Problem> {
    let none = || Problem::not_found("no such transfer has arrived");
    let Path(tid) = tid.map_err(|_| none())?;
    log::find(&company.db, tid).await?.map(|row| Json(row.entry())).ok_or_else(none)
}

/// `GET /books`
async fn books(State(company): State<CompanyB>) -> Result<Json<Books>, Problem> {
    Ok(Json(company.books().await?))
}
