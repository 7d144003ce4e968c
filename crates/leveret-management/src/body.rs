//! Bodies of requests: JSON objects, read field by field, so that a refusal names the field.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use serde_json::{Map, Value};

use crate::error::Refusal;

/// A JSON object; an empty body counts as one without fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body(pub(crate) Map<String, Value>);

impl Body {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(Refusal::bad("not_json: expected an object")),
            Err(error) => Err(Refusal::bad(format!("not_json: {error}"))),
        }
    }

    /// The body of a request, of at most so many bytes.
    pub(crate) async fn read(request: Request, most: usize) -> Result<Self, Refusal> {
        Self::parse(&whole(request, most).await?)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text, `None` where there is none.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a text", other)),
        }
    }

    /// A text that has to be there.
    pub(crate) fn required_text(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// A whole number, also as a text.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => {
                let number =
                    value.as_i64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
                number.map(Some).ok_or_else(|| wrong(name, "a whole number", value))
            }
        }
    }

    /// True or false, also as a text; false where it is not there.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.value(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    /// `tags`: a list of texts, or one text with commas between; `None` where there are none.
    pub(crate) fn tags(&self) -> Result<Option<Vec<String>>, Refusal> {
        match self.value("tags") {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(
                text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(Into::into).collect(),
            )),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong("tags", "texts", item)))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(wrong("tags", "a text or a list of texts", other)),
        }
    }

    /// An object, empty where it is not there. RabbitMQ's clients also write an empty array for one.
    pub(crate) fn object(&self, name: &str) -> Result<Map<String, Value>, Refusal> {
        match self.value(name) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(Value::Array(items)) if items.is_empty() => Ok(Map::new()),
            Some(other) => Err(wrong(name, "an object", other)),
        }
    }
}

pub(crate) fn missing(name: &str) -> Refusal {
    Refusal::bad(format!("key_missing: {name}"))
}

pub(crate) fn wrong(name: &str, expected: &str, found: &Value) -> Refusal {
    let mut found = found.to_string();
    if found.len() > 60 {
        let end = (0..=60).rev().find(|at| found.is_char_boundary(*at)).unwrap_or(0);
        found.truncate(end);
        found.push('…');
    }
    Refusal::bad(format!("{name}: expected {expected}, found {found}"))
}

/// Largest body of a request, in bytes.
const LARGEST_BYTES: usize = 32 << 20;
impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        Self::read(request, LARGEST_BYTES).await
    }
}

/// A body as it came, to be read by whoever asks for it.
pub(crate) struct Unread(pub(crate) Vec<u8>);

impl<S: Sync> FromRequest<S> for Unread {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        whole(request, LARGEST_BYTES).await.map(Self)
    }
}

/// Bytes of a body that is taken in before anything else is done.
const SMALL_BYTES: usize = 8 << 10;

/// The request with its body, if it is small: where one is refused without a look at its body, the connection would else be
/// closed, which a client that goes on with the next request does not expect.
pub(crate) async fn with_small(request: Request) -> Request {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_none_or(|length: usize| length == 0 || length > SMALL_BYTES) {
        return request;
    }
    let (head, body) = request.into_parts();
    // Of one that breaks off there is nothing, and soon no connection.
    let bytes = to_bytes(body, SMALL_BYTES).await.unwrap_or_default();
    Request::from_parts(head, bytes.into())
}

/// Up to so many bytes. Of a longer body as much again is read a few times, so that whoever sends it hears what is wrong
/// instead of a broken connection.
async fn whole(request: Request, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut body = request.into_body();
    let (mut bytes, mut read) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad("the body cannot be read"))?;
        let Ok(data) = frame.into_data() else { continue };
        read += data.len();
        if read <= most {
            bytes.extend_from_slice(&data);
        } else if read > 4 * most {
            break;
        } else {
            bytes = Vec::new();
        }
    }
    if read > most { Err(Refusal::TooLarge) } else { Ok(bytes) }
}
