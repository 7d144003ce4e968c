//! Errors as RFC 9457 describes them: `application/problem+json` with status, title and detail.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::Error;
use crate::registration::Invalid;

/// An error as the client sees it.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(serialize_with = "number")]
    status: StatusCode,
    title: &'static str,
    detail: String,
    /// The field of the input that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { status, title, detail: detail.into(), field: None }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn field(field: &'static str, detail: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, kind, Json(self)).into_response()
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::field(invalid.field, invalid.problem)
    }
}

/// What is wrong inside is logged; the client learns only that something is.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        tracing::error!(%error, "a request failed");
        match error {
            Error::Bus(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the broker cannot be reached"),
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database cannot be reached"),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
