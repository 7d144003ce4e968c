//! Request keys (`Idempotency-Key`): a POST that is sent again with its key gets the answer of the first time, and
//! nothing is done twice.
//!
//! A route that writes to the database records its answer in the transaction of the write, so that both are there or
//! neither. For the others the answer is recorded once it is known; those routes must do no harm when repeated, because
//! a crash in between lets them be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{self, Body};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use leveret_bus::clock;
use leveret_bus::database::{self, Change, Migrations};
use sea_orm::{ActiveValue::Set, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, Schema};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Problem;
use crate::site::Site;

const HEADER: &str = "idempotency-key";
const LONGEST_KEY: usize = 200;
/// How long an answer is kept.
const RETENTION: Duration = Duration::from_secs(24 * 3600);

pub(crate) const MIGRATIONS: Migrations = Migrations::new("leveret_request_key", &[create, index_age]);

/// The key of the request at hand, if it has one.
#[derive(Clone, Debug, Default)]
pub struct RequestKey(Option<Arc<Known>>);

#[derive(Debug)]
struct Known {
    key: String,
    /// Of method, address and body: the same key with another request is the client's mistake.
    fingerprint: String,
    recorded: AtomicBool,
}

/// An answer that can be given again.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    status: StatusCode,
    location: Option<String>,
    body: Value,
}

impl Answer {
    /// An answer of this status and JSON body.
    pub fn new(status: StatusCode, body: Value) -> Self {
        Self { status, location: None, body }
    }

    /// Adds where the new thing is.
    #[must_use]
    pub fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        if let Some(Ok(location)) = self.location.map(HeaderValue::try_from) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl RequestKey {
    /// The key, where there is one.
    pub fn text(&self) -> Option<&str> {
        self.0.as_ref().map(|known| known.key.as_str())
    }

    /// Records the answer in the caller's transaction. Without a key nothing is done.
    ///
    /// # Errors
    /// The same request is being answered elsewhere at this moment (409), and the transaction must be rolled back; or the
    /// database refuses.
    pub async fn record(&self, tx: &impl ConnectionTrait, answer: &Answer) -> Result<(), Problem> {
        let Some(known) = &self.0 else { return Ok(()) };
        let status = i32::from(answer.status.as_u16());
        let body = answer.body.to_string();
        if !add(tx, known, status, answer.location.clone(), body).await? {
            return Err(Problem::conflict("the same request is being answered at this moment")
                .retry_after(Duration::from_secs(1)));
        }
        known.recorded.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestKey {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Answers a POST from the record where it is there, and else sees to it that it will be.
pub(crate) async fn heed(State(site): State<Site>, request: Request, next: Next) -> Response {
    let key = match key(request.headers()) {
        Ok(Some(key)) if request.method() == Method::POST => key,
        Ok(_) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    answer(&site.db, key, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(
    db: &DatabaseConnection,
    key: String,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    // All of it is there: the guard has taken it in.
    let unreadable = |_| Problem::new(StatusCode::BAD_REQUEST, "the body cannot be read");
    let body = body::to_bytes(body, usize::MAX).await.map_err(unreadable)?;
    let address = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let fingerprint = fingerprint(address, &body);
    if let Some(row) = find(db, &key).await? {
        return again(row, &fingerprint);
    }
    let known = Arc::new(Known { key, fingerprint, recorded: AtomicBool::new(false) });
    let mut request = Request::from_parts(parts, Body::from(body));
    request.extensions_mut().insert(RequestKey(Some(Arc::clone(&known))));
    let response = next.run(request).await;
    if !response.status().is_success() {
        // It may have failed because the same request, sent at the same time, was the first to succeed.
        return match find(db, &known.key).await {
            Ok(Some(row)) => again(row, &known.fingerprint),
            _ => Ok(response),
        };
    }
    if known.recorded.load(Ordering::Relaxed) {
        return Ok(response);
    }
    record_late(db, &known, response).await
}

async fn find(db: &DatabaseConnection, key: &str) -> Result<Option<entity::Model>, DbErr> {
    entity::Entity::find_by_id(key).one(db).await
}

/// Records the answer of a route that did not do so itself.
async fn record_late(
    db: &DatabaseConnection,
    known: &Known,
    response: Response,
) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let unreadable = |error| Problem::unavailable(error, "the answer cannot be read");
    let body = body::to_bytes(body, usize::MAX).await.map_err(unreadable)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let location =
        parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    add(db, known, i32::from(parts.status.as_u16()), location, text).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn again(row: entity::Model, fingerprint: &str) -> Result<Response, Problem> {
    if row.fingerprint != fingerprint {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used for another request",
        ));
    }
    let status = u16::try_from(row.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = (status.unwrap_or(StatusCode::OK), row.body).into_response();
    let headers = response.headers_mut();
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(Ok(location)) = row.location.map(HeaderValue::try_from) {
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "an Idempotency-Key has 1 to 200 characters of visible ASCII",
        )),
    }
}

fn fingerprint(address: &str, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(address).chain_update([0]).chain_update(body).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// False when there is a record already.
async fn add(
    db: &impl ConnectionTrait,
    known: &Known,
    status: i32,
    location: Option<String>,
    body: String,
) -> Result<bool, DbErr> {
    let row = entity::ActiveModel {
        request_key: Set(known.key.clone()),
        fingerprint: Set(known.fingerprint.clone()),
        status: Set(status),
        location: Set(location),
        body: Set(body),
        answered_ms: Set(clock::now_ms()),
    };
    database::insert_if_absent(db, row, [entity::Column::RequestKey]).await
}

/// Forgets answers that nobody will ask for again.
pub(crate) async fn purge(db: &DatabaseConnection) {
    let before_ms = clock::now_ms().saturating_sub(clock::ms(RETENTION));
    let forgotten = database::forget::<entity::Entity>(db, entity::Column::AnsweredMs, before_ms).await;
    if let Err(error) = forgotten {
        tracing::warn!(%error, "old request keys could not be removed");
    }
}

fn create(schema: &Schema) -> Vec<Change> {
    vec![Change::table(schema, entity::Entity)]
}

/// For those who forget often.
fn index_age(_: &Schema) -> Vec<Change> {
    vec![Change::index("leveret_request_key_answered", entity::Entity, [entity::Column::AnsweredMs])]
}

mod entity {
    //! One row a key.
    #![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "leveret_request_key")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub request_key: String,
        pub fingerprint: String,
        pub status: i32,
        pub location: Option<String>,
        #[sea_orm(column_type = "Text")]
        pub body: String,
        pub answered_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
