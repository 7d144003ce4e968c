//! The routes that only A has. What they do is decided in `company.rs`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use leveret_web::input::Fields;
use leveret_web::signature::Refused;
use leveret_web::{Answer, Problem, RequestKey};

use super::company::{CompanyA, Verdict};
use crate::transfer::{SIGNATURE_HEADER, TIME_HEADER, Transfer};

/// Of a body that is not believed.
const LOGGED_BYTES: usize = 100;

pub(super) fn routes(company: CompanyA) -> Router {
    Router::new().route("/transfers", post(begin)).route("/callback", post(callback)).with_state(company)
}

/// `POST /transfers {"from","to","money"}`
async fn begin(State(company): State<CompanyA>, key: RequestKey, fields: Fields) -> Result<Answer, Problem> {
    company.begin(&Transfer::wanted(&fields)?, &key).await
}

/// `POST /callback`, the form `tid=…`, signed. Answered in text as the notes agreed: `success` or `error`.
async fn callback(
    State(company): State<CompanyA>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signature = text(SIGNATURE_HEADER);
    let checked = company.settings.secret.check(text(TIME_HEADER), signature, &body);
    checked.map_err(|refused| refuse(refused, &body))?;
    let tid = tid(&body).ok_or_else(|| Problem::field("tid", "must be a number"))?;
    match company.verdict(tid, signature.unwrap_or_default()).await? {
        Verdict::Success => Ok("success".into_response()),
        Verdict::Error => Ok("error".into_response()),
        Verdict::Replayed => Err(refuse(Refused::Replayed, &body)),
    }
}

fn refuse(refused: Refused, body: &[u8]) -> Problem {
    // Anybody may have sent it, and as much of it as they like.
    let begin = String::from_utf8_lossy(body.get(..LOGGED_BYTES).unwrap_or(body));
    tracing::warn!(?begin, length = body.len(), "callback refused: {refused}");
    Problem::new(StatusCode::UNAUTHORIZED, format!("the callback is not believed: {refused}"))
}

fn tid(body: &[u8]) -> Option<i64> {
    std::str::from_utf8(body).ok()?.strip_prefix("tid=")?.parse().ok()
}
