//! What a queue has done since it was declared, and what it is now: read at any time, kept up to date under the queue's
//! lock.

use crate::Time;

/// What has happened to a queue's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Taken from publishers, dead letters and delayed messages included.
    pub published: u64,
    /// Handed to consumers that acknowledge.
    pub delivered: u64,
    /// Handed to consumers that do not.
    pub delivered_no_ack: u64,
    /// Of those of both kinds, the ones that had been delivered before.
    pub redelivered: u64,
    /// Fetched, to be acknowledged.
    pub got: u64,
    /// Fetched without.
    pub got_no_ack: u64,
    /// Acknowledged.
    pub acked: u64,
    /// Given back to be delivered again.
    pub requeued: u64,
    /// Let go of because a consumer rejected them.
    pub rejected: u64,
    /// Because they had waited long enough.
    pub expired: u64,
    /// Because too many waited.
    pub dropped: u64,
    /// Because they had come back too often.
    pub over_delivery_limit: u64,
    /// Not taken because the queue was full.
    pub refused: u64,
    /// Not taken because they had been published before.
    pub duplicates: u64,
}

/// A queue at one moment. Bytes are those of bodies; after a restart messages that were not read back yet count as none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages that wait to be delivered.
    pub ready: usize,
    /// Their bytes.
    pub ready_bytes: u64,
    /// Messages that are delivered and not settled.
    pub unacked: usize,
    /// Their bytes.
    pub unacked_bytes: u64,
    /// Messages, waiting or out, that are kept over a restart.
    pub persistent: usize,
    /// Their bytes.
    pub persistent_bytes: u64,
    /// Waiting messages that are on the disk alone.
    pub paged_out: usize,
    /// Their bytes.
    pub paged_out_bytes: u64,
    /// Dead letters that wait for a target which takes them.
    pub undelivered: usize,
    /// Memory of waiting messages and of those dead letters, in bytes.
    pub memory_bytes: usize,
    /// Consumers.
    pub consumers: usize,
    /// Of those, the ones that would get a message now.
    pub consumers_with_room: usize,
    /// What has happened so far.
    pub counts: QueueCounts,
    /// When a message last came or went, or a consumer did.
    pub idle_since: Time,
    /// When the first waiting message was published.
    pub head_published: Option<Time>,
}

/// A waiting message that somebody looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// When it was published to the queue.
    pub published: Time,
    /// When it has waited long enough; [`Time::NEVER`] for most.
    pub expires: Time,
    /// Exchange and routing key as two short strings.
    pub route: Vec<u8>,
    /// Property flags and values, encoded.
    pub properties: Vec<u8>,
    /// The body, or as much of it as was asked for.
    pub body: Vec<u8>,
    /// Bytes of the whole body.
    pub body_bytes: usize,
}
