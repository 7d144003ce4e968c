//! A message on its way to the broker: where to, what, and its properties. What arrives is a
//! [`Delivery`](crate::Delivery).

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde::Serialize;
use uuid::Uuid;

use crate::error::{Error, PublishError};
use crate::headers::Headers;
use crate::payload::Body;
use crate::trace;

/// AMQP's delivery mode of a message that is to survive a broker's restart.
const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

/// A message to be published. Persistent and mandatory unless said otherwise; it has a message id (UUID
/// version 7) from the start, so that sending it twice can be told from two messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    exchange: String,
    routing_key: String,
    body: Vec<u8>,
    properties: Properties,
    mandatory: bool,
}

/// What a message carries beside its body, in a form that can be stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Properties {
    pub(crate) message_id: String,
    pub(crate) headers: Headers,
    /// All the rest, with message id and headers empty.
    pub(crate) other: BasicProperties,
}

impl Message {
    /// A message with a body of bytes, without a content type.
    pub fn bytes(
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let message_id = Uuid::now_v7().to_string();
        let other = BasicProperties::default().with_delivery_mode(PERSISTENT);
        Self {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            body: body.into(),
            properties: Properties { message_id, headers: Headers::default(), other },
            mandatory: true,
        }
    }

    /// A message of text, content type `text/plain`.
    pub fn text(
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        body: impl Into<String>,
    ) -> Self {
        Self::bytes(exchange, routing_key, body.into()).with_kind_of_content("text/plain")
    }

    /// A message of a value as JSON, content type `application/json`.
    ///
    /// # Errors
    /// [`Error::Json`] when the value has no JSON form.
    pub fn json<T: Serialize>(
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        value: &T,
    ) -> Result<Self, Error> {
        let body = serde_json::to_vec(value)?;
        Ok(Self::bytes(exchange, routing_key, body).with_kind_of_content("application/json"))
    }

    /// A message of any kind of [`Body`], one's own included.
    ///
    /// # Errors
    /// [`PublishError::Invalid`] when the value has no such form.
    pub fn of<B: Body>(
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        body: &B,
    ) -> Result<Self, PublishError> {
        let bytes = body.encode().map_err(|error| PublishError::Invalid(error.to_string()))?;
        let message = Self::bytes(exchange, routing_key, bytes);
        Ok(match B::CONTENT_TYPE {
            Some(content_type) => message.with_kind_of_content(content_type),
            None => message,
        })
    }

    /// Sets the message id in place of the generated one. It names the message for good: a copy sent again
    /// has the same.
    pub fn with_message_id(mut self, message_id: impl Into<String>) -> Self {
        self.properties.message_id = message_id.into();
        self
    }

    /// Adds a text header.
    pub fn with_header(mut self, name: &str, text: impl Into<String>) -> Self {
        self.properties.headers.set_text(name, text);
        self
    }

    /// Makes the message transient: it is gone when the broker restarts.
    pub fn transient(mut self) -> Self {
        self.properties.other = self.properties.other.with_delivery_mode(TRANSIENT);
        self
    }

    /// Lets the broker drop the message in silence when no queue is bound for it.
    pub fn optional(mut self) -> Self {
        self.mandatory = false;
        self
    }

    /// Where it goes.
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The routing key.
    pub fn routing_key(&self) -> &str {
        &self.routing_key
    }

    /// The id.
    pub fn message_id(&self) -> &str {
        &self.properties.message_id
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.properties.headers
    }

    /// The headers, to be changed.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.properties.headers
    }

    /// True where the broker must return what it cannot route.
    pub fn is_mandatory(&self) -> bool {
        self.mandatory
    }

    /// The message as part of the present trace, unless it belongs to one already.
    pub(crate) fn traced(mut self) -> Self {
        trace::inject(&mut self.properties.headers);
        self
    }

    /// The same message to another place. Its life time (`expiration`) and `user-id` do not go along: the
    /// one would cut a delay short, the other would be refused from another user.
    pub(crate) fn readdressed(mut self, exchange: &str, routing_key: &str) -> Self {
        let rest = Rest::of(&self.properties.other);
        self.properties.other = rest.into_properties();
        self.exchange = exchange.to_owned();
        self.routing_key = routing_key.to_owned();
        self
    }

    pub(crate) fn from_parts(
        exchange: String,
        routing_key: String,
        body: Vec<u8>,
        properties: Properties,
        mandatory: bool,
    ) -> Self {
        Self { exchange, routing_key, body, properties, mandatory }
    }

    pub(crate) fn properties(&self) -> &Properties {
        &self.properties
    }

    fn with_kind_of_content(mut self, content_type: &'static str) -> Self {
        self.properties.other = self.properties.other.with_content_type(content_type.into());
        self
    }
}

impl Properties {
    /// Takes a received message's properties apart; one without an id gets one.
    pub(crate) fn from_amqp(properties: &BasicProperties) -> Self {
        let message_id = match properties.message_id() {
            Some(id) if !id.as_str().is_empty() => id.to_string(),
            _ => Uuid::now_v7().to_string(),
        };
        let headers = Headers::from_table(properties.headers().clone().unwrap_or_default());
        Self { message_id, headers, other: Rest::with_life_time(properties).into_properties() }
    }

    /// Puts the properties together as they go on the wire.
    pub(crate) fn to_amqp(&self) -> Result<BasicProperties, PublishError> {
        let message_id = short(&self.message_id)?;
        let properties = self.other.clone().with_message_id(message_id);
        if self.headers.is_empty() {
            return Ok(properties);
        }
        Ok(properties.with_headers(self.headers.clone().into_table()))
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        self.other.content_type().as_ref().map(ShortString::as_str)
    }
}

/// The properties that a copy of a message keeps, apart from id and headers. `BasicProperties` can only
/// be built up, not taken from, so a copy without some of them is built anew.
struct Rest<'a> {
    from: &'a BasicProperties,
    life_time: bool,
}

impl<'a> Rest<'a> {
    fn of(from: &'a BasicProperties) -> Self {
        Self { from, life_time: false }
    }

    fn with_life_time(from: &'a BasicProperties) -> Self {
        Self { from, life_time: true }
    }

    fn into_properties(self) -> BasicProperties {
        let from = self.from;
        let mut to = BasicProperties::default();
        macro_rules! keep {
            ($($name:ident => $with:ident),*) => {
                $(if let Some(value) = from.$name().clone() { to = to.$with(value); })*
            };
        }
        keep!(content_type => with_content_type, content_encoding => with_content_encoding,
            delivery_mode => with_delivery_mode, priority => with_priority,
            correlation_id => with_correlation_id, reply_to => with_reply_to,
            timestamp => with_timestamp, kind => with_type, app_id => with_app_id);
        if self.life_time {
            keep!(expiration => with_expiration, user_id => with_user_id);
        }
        to
    }
}

/// A name, key or property as AMQP's short string.
pub(crate) fn short(text: &str) -> Result<ShortString, PublishError> {
    ShortString::try_new(text)
        .map_err(|_| PublishError::Invalid(format!("{} bytes where AMQP allows 255", text.len())))
}

/// A table of arguments from pairs.
pub(crate) fn table<const N: usize>(entries: [(&'static str, AMQPValue); N]) -> FieldTable {
    entries
        .into_iter()
        .map(|(name, value)| (ShortString::from(name), value))
        .collect::<std::collections::BTreeMap<_, _>>()
        .into()
}
