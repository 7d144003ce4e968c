//! What a request brings: a JSON body, read field by field, so that what is wrong with it is said of the field, and the
//! id in its path.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Problem;

/// A JSON object.
#[derive(Clone, Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The text of a field.
    ///
    /// # Errors
    /// It is missing, or something else.
    pub fn text(&self, field: &'static str) -> Result<&str, Problem> {
        match self.0.get(field) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Problem::field(field, "must be text")),
            None => Err(Problem::field(field, "is missing")),
        }
    }

    /// The whole number of a field.
    ///
    /// # Errors
    /// It is missing, or something else, or does not fit 64 bits.
    pub fn integer(&self, field: &'static str) -> Result<i64, Problem> {
        match self.0.get(field) {
            Some(Value::Number(number)) => {
                number.as_i64().ok_or_else(|| Problem::field(field, "must be a whole number of 64 bits"))
            }
            Some(_) => Err(Problem::field(field, "must be a number")),
            None => Err(Problem::field(field, "is missing")),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await? {
            Json(Value::Object(fields)) => Ok(Self(fields)),
            Json(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body must be a JSON object")),
        }
    }
}

/// The id in a path: a number or text. Where it is no such thing, there is nothing of that id.
#[derive(Clone, Copy, Debug)]
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Problem::not_found("there is nothing of this id"))
    }
}

/// A short piece of text, such as a name: neither empty nor longer than `longest` letters, and without control
/// characters. Space around it does not count.
///
/// # Errors
/// What is wrong with it.
pub fn name<'a>(field: &'static str, text: &'a str, longest: usize) -> Result<&'a str, Problem> {
    match text.trim() {
        "" => Err(Problem::field(field, "must not be empty")),
        text if text.chars().count() > longest => {
            Err(Problem::field(field, format!("must not be longer than {longest} letters")))
        }
        text if text.chars().any(char::is_control) => {
            Err(Problem::field(field, "must not have control characters"))
        }
        text => Ok(text),
    }
}
