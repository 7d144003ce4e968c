//! Where deliveries go: what a consumer's connection offers to the queues.

use std::sync::Arc;

use crate::{ConsumerKey, Effects, Queue, Receipt};

/// A consumer's way out of the broker. A queue calls it with its own lock held, so it must neither block nor
/// call a queue.
pub trait Mailbox: Send + Sync {
    /// Opens the box, lets `fill` put deliveries for the consumer `key` into it, and closes it; a box that is
    /// closed for good never calls `fill`. True where [`Mailbox::flush`] is owed: the box has something to send
    /// that nobody else is going to send.
    fn open(&self, key: ConsumerKey, fill: &mut dyn FnMut(&mut dyn Inbox)) -> bool;

    /// Sends what has gathered. Called without any lock. What that sets off is added to `effects`.
    fn flush(&self, effects: &mut Effects);

    /// Its queue is gone, and the consumer with it. Called without any lock.
    fn cancelled(&self, queue: &Arc<Queue>);
}

/// Whoever holds what a queue has given out, and is to settle it.
pub trait Holder: Send + Sync {
    /// It holds a message for longer than the `timeout_ms` milliseconds that its queue allows. Called without any lock.
    fn overdue(&self, timeout_ms: u64);
}

/// An open mailbox.
pub trait Inbox {
    /// Whether it takes a delivery now. Whoever answers no owes the queue a [`Queue::resume`] once it does.
    fn has_room(&mut self) -> bool;

    /// Takes a delivery.
    fn put(&mut self, delivery: &Delivery<'_>);
}

/// A message on its way to a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// What to settle it by; `None` where the consumer does not acknowledge.
    pub receipt: Option<Receipt>,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// Exchange and routing key as two short strings.
    pub route: &'a [u8],
    /// Property flags and values, encoded.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}
