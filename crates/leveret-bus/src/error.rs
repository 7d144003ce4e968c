//! What can go wrong on the bus. A publish has its own error, because what its caller should do next
//! depends on which of its cases happened.

use crate::message::Message;

/// Anything but a publish that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker could not be reached, refused the log-in, or closed the connection or channel.
    #[error("broker: {0}")]
    Broker(#[from] lapin::Error),
    /// The broker did not answer within the time allowed.
    #[error("broker: no answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// The broker did not answer before the deadline.
    #[error("broker: no answer in time")]
    Late,
    /// The bus was closed.
    #[error("the bus is closed")]
    Closed,
    /// The URL of a broker or a database cannot be read.
    #[error("URL: {0}")]
    Url(String),
    /// A publish that was part of the operation failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The database refused or could not be reached.
    #[error("database: {0}")]
    Database(#[from] sea_orm::DbErr),
    /// A cron expression cannot be read, or never comes true.
    #[error("cron expression: {0}")]
    Cron(String),
    /// All 1,024 worker ids of snowflakes are held by others.
    #[error("no worker id is free")]
    NoWorkerId,
    /// A value could not be turned into JSON or back.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Why a publish did not end in the broker's confirm.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The broker has the message's exchange, but no queue is bound for its key: nothing was stored.
    /// Only for mandatory messages, which is the default.
    #[error("returned by the broker: {} {}", .0.reply_code, .0.reply_text)]
    Returned(Box<Returned>),
    /// The broker answered that it could not take responsibility for the message. Nothing was stored,
    /// or not everywhere; sending again is right.
    #[error("refused by the broker (nack) for message {message_id}")]
    Nacked {
        /// Id of the message.
        message_id: String,
    },
    /// The connection was lost, or the time was up, after the message was written and before its confirm
    /// came. It may have arrived or not: send it again under the same message id.
    #[error("unknown whether message {message_id} arrived: {cause}")]
    Unknown {
        /// Id of the message.
        message_id: String,
        /// What cut the answer off.
        cause: String,
    },
    /// The message was never written, because no connection came up in time, or the bus is closed.
    #[error("message {message_id} was not sent: {cause}")]
    NotSent {
        /// Id of the message.
        message_id: String,
        /// What was in the way.
        cause: String,
    },
    /// The broker closed the channel on this very message: its exchange does not exist, or the user
    /// may not write to it. Sending again without a change elsewhere is pointless.
    #[error("rejected by the broker for message {message_id}: {cause}")]
    Rejected {
        /// Id of the message.
        message_id: String,
        /// The broker's own words.
        cause: String,
    },
    /// The message cannot be written down in AMQP: a name, key or property exceeds 255 bytes.
    #[error("message cannot be encoded: {0}")]
    Invalid(String),
}

/// An unroutable message as the broker gave it back.
#[derive(Clone, Debug)]
pub struct Returned {
    /// The broker's code, 312 for "no route".
    pub reply_code: u16,
    /// The broker's words.
    pub reply_text: String,
    /// The message.
    pub message: Message,
}
