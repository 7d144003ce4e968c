//! What goes wrong, on its way to the client: the one place where errors become reply codes.

use leveret_amqp::{DecodeError, ReplyCode};
use leveret_broker::{Error, ErrorKind};

/// An AMQP exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(crate) code: ReplyCode,
    pub(crate) text: String,
    pub(crate) ends_connection: bool,
}

impl Exception {
    pub(crate) fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), ends_connection: code.is_hard() }
    }

    /// An exception that ends the channel only, whatever its code.
    pub(crate) fn on_channel(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), ends_connection: false }
    }

    /// The text as RabbitMQ writes it: the code's name first.
    pub(crate) fn reply_text(&self) -> String {
        format!("{} - {}", self.code.name(), self.text)
    }
}

impl From<Error> for Exception {
    fn from(error: Error) -> Self {
        let code = match error.kind {
            ErrorKind::NotFound => ReplyCode::NOT_FOUND,
            ErrorKind::PreconditionFailed => ReplyCode::PRECONDITION_FAILED,
            ErrorKind::AccessRefused => ReplyCode::ACCESS_REFUSED,
            ErrorKind::ResourceLocked => ReplyCode::RESOURCE_LOCKED,
            ErrorKind::CommandInvalid => ReplyCode::COMMAND_INVALID,
            ErrorKind::NotAllowed => ReplyCode::NOT_ALLOWED,
            ErrorKind::NotImplemented => ReplyCode::NOT_IMPLEMENTED,
            ErrorKind::Internal => ReplyCode::INTERNAL_ERROR,
        };
        Self::new(code, error.text)
    }
}

impl From<DecodeError> for Exception {
    fn from(error: DecodeError) -> Self {
        Self::new(error.reply_code(), error.to_string())
    }
}
