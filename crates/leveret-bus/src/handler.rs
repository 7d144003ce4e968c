//! What a user of the worker writes: one method, whose return value says what becomes of the message.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use crate::delivery::Delivery;
use crate::payload::Payload;
use crate::retry::RetryPolicy;

/// Deals with the messages of a queue.
///
/// ```
/// use leveret_bus::{Delivery, Handler, Outcome, Text};
///
/// struct Greeter;
///
/// impl Handler for Greeter {
///     type Message = Text;
///
///     async fn handle(&self, Text(name): Text, delivery: &Delivery) -> Outcome {
///         println!("hello {name}, attempt {}", delivery.attempt());
///         Outcome::Done
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// What the body is: [`Json<T>`](crate::Json), [`Text`](crate::Text), [`Bytes`](crate::Bytes) or a type of one's
    /// own.
    type Message: Payload;

    /// Deals with one message. It may be called again for the same message, after a crash even if it had come to
    /// its end, so it should do no harm the second time; [`inbox`](crate::inbox) helps. A panic counts as
    /// [`Outcome::Retry`].
    fn handle(&self, message: Self::Message, delivery: &Delivery) -> impl Future<Output = Outcome> + Send;
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Outcome {
    /// It is done with.
    Done,
    /// It failed and comes back as the worker's [`RetryPolicy`](crate::RetryPolicy) says, or is parked if that
    /// was the last attempt.
    Retry {
        /// Why, for whoever looks.
        reason: String,
    },
    /// The same, but after this pause instead of the policy's.
    RetryAfter {
        /// The pause.
        delay: Duration,
        /// Why, for whoever looks.
        reason: String,
    },
    /// The same, but by this policy instead of the worker's: which one may depend on the error.
    RetryWith {
        /// The policy.
        policy: Box<RetryPolicy>,
        /// Why, for whoever looks.
        reason: String,
    },
    /// It will never succeed as things are: to the parked queue.
    Park {
        /// Why, for whoever looks.
        reason: String,
    },
}

impl Outcome {
    /// [`Outcome::Retry`].
    pub fn retry(reason: impl Display) -> Self {
        Self::Retry { reason: reason.to_string() }
    }

    /// [`Outcome::RetryAfter`].
    pub fn retry_after(delay: Duration, reason: impl Display) -> Self {
        Self::RetryAfter { delay, reason: reason.to_string() }
    }

    /// [`Outcome::RetryWith`].
    pub fn retry_with(policy: &RetryPolicy, reason: impl Display) -> Self {
        Self::RetryWith { policy: Box::new(policy.clone()), reason: reason.to_string() }
    }

    /// [`Outcome::Park`].
    pub fn park(reason: impl Display) -> Self {
        Self::Park { reason: reason.to_string() }
    }
}

/// An error means [`Outcome::Retry`], so that a handler can be written with `?`.
impl<E: Display> From<Result<(), E>> for Outcome {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => Self::retry(error),
        }
    }
}
