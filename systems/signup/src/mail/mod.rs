//! Sending mail. A [`MailSender`] is anything that takes a finished mail; there is one for mail servers, and
//! one that writes files.

mod folder;
mod smtp;

use futures_util::future::BoxFuture;
use lettre::Address;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message, MessageBuilder};

pub use folder::{MailFile, MailFolder};
pub use smtp::SmtpSender;

use crate::store::user;

/// Takes mails.
pub trait MailSender: Send + Sync {
    /// Sends a mail. `name` is unique to the mail, and the same when it is sent again.
    fn send<'a>(&'a self, name: &'a str, mail: &'a Message) -> BoxFuture<'a, Result<(), MailError>>;
}

/// Why a mail was not sent; the text is what the page shows.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MailError(pub String);

impl MailError {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The mail that welcomes a user. Its `Message-ID` comes from the message's id, so that a mail sent twice
/// can be recognised by who receives it.
pub(crate) fn welcome(from: &Mailbox, user: &user::Model, message_id: &str) -> Result<Message, MailError> {
    let address: Address = user.email.parse().map_err(MailError::new)?;
    let id = format!("<{message_id}@{}>", from.email.domain());
    MessageBuilder::new()
        .message_id(Some(id))
        .from(from.clone())
        .to(Mailbox::new(Some(user.user_name.clone()), address))
        .subject(format!("Welcome, {}", user.user_name))
        .header(ContentType::TEXT_PLAIN)
        .body(format!("Dear {},\r\n\r\nyou are signed up. Welcome!\r\n", user.user_name))
        .map_err(MailError::new)
}
