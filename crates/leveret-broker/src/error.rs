//! Why an operation is refused, in RabbitMQ's words. Which reply code goes with it is decided where frames
//! are written.

use thiserror::Error;

/// A refusal, with the text for the client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct Error {
    /// What kind of refusal.
    pub kind: ErrorKind,
    /// What is wrong, naming the object and argument.
    pub text: String,
}

/// The kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such object.
    NotFound,
    /// The object or the message is not as the operation demands.
    PreconditionFailed,
    /// The user may not, or nobody may.
    AccessRefused,
    /// The queue belongs to another connection.
    ResourceLocked,
    /// The operation makes no sense.
    CommandInvalid,
    /// The connection may not.
    NotAllowed,
    /// The protocol has it, Leveret has not.
    NotImplemented,
    /// The broker cannot: its disk has failed it.
    Internal,
}

macro_rules! constructors {
    ($($name:ident $kind:ident;)*) => {
        impl Error {
            $(pub(crate) fn $name(text: impl Into<String>) -> Self {
                Self { kind: ErrorKind::$kind, text: text.into() }
            })*
        }
    };
}

constructors! {
    not_found NotFound;
    precondition PreconditionFailed;
    refused AccessRefused;
    locked ResourceLocked;
    invalid CommandInvalid;
    internal Internal;
    not_allowed NotAllowed;
}

impl Error {
    /// RabbitMQ's text for a declaration that differs from what is there.
    pub(crate) fn inequivalent(
        argument: &str,
        object: &str,
        received: impl std::fmt::Display,
        current: impl std::fmt::Display,
    ) -> Self {
        Self::precondition(format!(
            "inequivalent arg '{argument}' for {object}: received '{received}' but current is '{current}'"
        ))
    }
}

/// Names are short strings of AMQP.
///
/// # Errors
/// `PreconditionFailed` where it is too long.
pub(crate) fn check_name(kind: &str, name: &str) -> Result<(), Error> {
    if name.len() > 255 {
        let beginning = &name[..name.floor_char_boundary(40)];
        return Err(Error::precondition(format!("{kind} '{beginning}…' is longer than 255 bytes")));
    }
    Ok(())
}
