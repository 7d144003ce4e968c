//! Refusals of the API, with RabbitMQ's status codes and words.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leveret_broker::{Error, ErrorKind};
use serde_json::json;

/// Why a request is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody has logged in.
    LoginMissing,
    /// Name or password are wrong.
    LoginFailed,
    /// The user may not.
    NotAuthorised(String),
    /// The request is not to be made from there.
    Forbidden(String),
    /// There is no such object.
    NotFound,
    /// There is something missing that the request names.
    Missing(String),
    /// The request is wrong.
    Bad(String),
    /// The page asked for is not there.
    Page(&'static str, String),
    /// The object is not to be deleted.
    Protected(String),
    /// The body is too large.
    TooLarge,
    /// The broker cannot.
    Unavailable(String),
}

impl Refusal {
    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Self::Bad(reason.into())
    }

    fn parts(&self) -> (StatusCode, &str, String) {
        match self {
            Self::LoginMissing => (StatusCode::UNAUTHORIZED, "not_authorized", "Login failed".into()),
            Self::LoginFailed => (StatusCode::UNAUTHORIZED, "not_authorized", "Login failed".into()),
            Self::NotAuthorised(reason) => (StatusCode::UNAUTHORIZED, "not_authorised", reason.clone()),
            Self::Forbidden(reason) => (StatusCode::FORBIDDEN, "forbidden", reason.clone()),
            Self::NotFound => (StatusCode::NOT_FOUND, "Object Not Found", "Not Found".into()),
            Self::Missing(reason) => (StatusCode::NOT_FOUND, "not_found", reason.clone()),
            Self::Bad(reason) => (StatusCode::BAD_REQUEST, "bad_request", reason.clone()),
            Self::Page(error, reason) => (StatusCode::BAD_REQUEST, error, reason.clone()),
            Self::Protected(reason) => {
                (StatusCode::PRECONDITION_FAILED, "precondition_failed", reason.clone())
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "Payload exceeds body size limit".into())
            }
            Self::Unavailable(reason) => {
                (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason.clone())
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, reason) = self.parts();
        let mut response = (status, axum::Json(json!({ "error": error, "reason": reason }))).into_response();
        if self == Self::LoginMissing {
            let challenge = HeaderValue::from_static("Basic realm=\"Leveret Management\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// As RabbitMQ's API translates what its channels refuse.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::AccessRefused => Self::NotAuthorised("Access refused.".into()),
            ErrorKind::Internal => Self::Unavailable(error.text),
            ErrorKind::NotFound => Self::Missing(error.text),
            _ => Self::Bad(error.text),
        }
    }
}
