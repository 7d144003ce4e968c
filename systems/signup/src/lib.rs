//! Sign-up: who signs up gets a welcome mail, and a mail that fails is tried again with growing delays.
//!
//! `POST /users` writes the user and the message about it in one transaction; a relay publishes the message to
//! `UserExchange`; a worker on `UserQueue` sends the mail. A failure is counted in `user_notify`, and the message comes
//! back after 3 s, 6 s, 12 s, 24 s. After the fifth failure it is parked in `UserQueue.parked`, from where it can be
//! replayed.
//!
//! [`run`] starts all of it in this process:
//!
//! ```no_run
//! # async fn example() -> Result<(), leveret_signup::StartError> {
//! let settings = leveret_signup::Settings { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
//! let running = leveret_signup::run(settings).await?;
//! println!("open {}", running.url());
//! running.shutdown().await;
//! # Ok(()) }
//! ```

mod http;
mod mail;
mod page;
mod registration;
mod running;
mod settings;
mod signup;
mod store;
mod view;
mod welcome;

pub use leveret_web::StartError;
pub use mail::{MailError, MailFile, MailFolder, MailSender, SmtpSender};
pub use registration::Registration;
pub use running::{Running, run};
pub use settings::{Names, Settings};
pub use signup::Signup;
pub use view::{Attempt, State, User};
