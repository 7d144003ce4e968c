//! How values become bodies and bodies values: JSON, text and plain bytes; other formats by implementing the two traits
//! for a wrapper of one's own, as [`Json`] does.

use std::convert::Infallible;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::delivery::Delivery;

/// What a message can be made of, with [`Message::of`](crate::Message::of).
pub trait Body {
    /// The content type that the message gets.
    const CONTENT_TYPE: Option<&'static str>;
    /// Why a value has no such form.
    type Error: std::fmt::Display;

    /// Makes the body.
    ///
    /// # Errors
    /// The value has no such form.
    fn encode(&self) -> Result<Vec<u8>, Self::Error>;
}

impl<T: Serialize> Body for Json<T> {
    const CONTENT_TYPE: Option<&'static str> = Some("application/json");
    type Error = serde_json::Error;

    fn encode(&self) -> Result<Vec<u8>, Self::Error> {
        serde_json::to_vec(&self.0)
    }
}

impl Body for Text {
    const CONTENT_TYPE: Option<&'static str> = Some("text/plain");
    type Error = Infallible;

    fn encode(&self) -> Result<Vec<u8>, Self::Error> {
        Ok(self.0.clone().into_bytes())
    }
}

impl Body for Bytes {
    const CONTENT_TYPE: Option<&'static str> = None;
    type Error = Infallible;

    fn encode(&self) -> Result<Vec<u8>, Self::Error> {
        Ok(self.0.clone())
    }
}

/// What a handler takes: how the body becomes a value. Implement it for a type of your own to read another format. A body that does not is parked at once, since trying again
/// would not help.
pub trait Payload: Sized + Send {
    /// Why a body is no such value; its text becomes the reason on the parked message.
    type Error: std::fmt::Display;

    /// Makes the value.
    ///
    /// # Errors
    /// The body is no such value.
    fn decode(delivery: &Delivery) -> Result<Self, Self::Error>;
}

/// A body in JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send> Payload for Json<T> {
    type Error = serde_json::Error;

    fn decode(delivery: &Delivery) -> Result<Self, Self::Error> {
        serde_json::from_slice(delivery.body()).map(Json)
    }
}

/// A body of UTF-8 text.
#[derive(Clone, Debug, PartialEq)]
pub struct Text(pub String);

impl Payload for Text {
    type Error = std::str::Utf8Error;

    fn decode(delivery: &Delivery) -> Result<Self, Self::Error> {
        std::str::from_utf8(delivery.body()).map(|text| Text(text.to_owned()))
    }
}

/// A body as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Bytes(pub Vec<u8>);

impl Payload for Bytes {
    type Error = Infallible;

    fn decode(delivery: &Delivery) -> Result<Self, Self::Error> {
        Ok(Self(delivery.body().to_vec()))
    }
}
