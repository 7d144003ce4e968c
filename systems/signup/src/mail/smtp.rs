//! Mails through a mail server.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lettre::message::Message;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::{MailError, MailSender};

/// Sends by SMTP, a connection a mail.
#[derive(Clone, Debug)]
pub struct SmtpSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl SmtpSender {
    /// A sender to the server of this URL: `smtp://host:port`, `smtps://user:password@host` for TLS from the start,
    /// `smtp://host?tls=required` for STARTTLS.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn new(url: &str) -> Result<Self, MailError> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(MailError::new)?;
        Ok(Self { transport: transport.build() })
    }
}

impl MailSender for SmtpSender {
    fn send<'a>(&'a self, _: &'a str, mail: &'a Message) -> BoxFuture<'a, Result<(), MailError>> {
        async move {
            let sent = self.transport.send(mail.clone()).await;
            sent.map(drop).map_err(|error| MailError(whole_story(&error)))
        }
        .boxed()
    }
}

/// The error with its causes: lettre keeps the server's words in the innermost.
fn whole_story(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !story.contains(&words) {
            story = format!("{story}: {words}");
        }
        cause = inner.source();
    }
    story
}
