//! The worker on the queue: one message is one user to be welcomed by mail.
//!
//! A mail is not sent twice for one message id, except in one window: when the process dies, the connection to the mail
//! server breaks or times out, or the database is away for long, after the mail server took the mail and before that is
//! written down here. Nobody
//! can then know, and a mail too many is better than none. The `Message-ID` is the same in both.

use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use leveret_bus::lease::{self, Claim, Lease};
use leveret_bus::{Delivery, Error, Handler, Outcome, Text, clock, database};
use leveret_web::trace;
use sea_orm::DatabaseConnection;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::mail::{self, MailError, MailSender};
use crate::store::{attempt, notify, user};

/// What the right to send a message's mail is claimed for.
const LEASE: &str = "welcome";
/// Pause before what has happened is written down again, after the database refused.
const WRITE_AGAIN: Duration = Duration::from_millis(200);
/// How long that is tried: nobody else gets the message meanwhile, and whoever got it would send the mail again.
const WRITE_FOR: Duration = Duration::from_secs(600);

/// Sends the mails.
pub(crate) struct Welcome {
    pub(crate) db: DatabaseConnection,
    pub(crate) sender: Arc<dyn MailSender>,
    pub(crate) from: Mailbox,
    pub(crate) delays: Vec<Duration>,
    pub(crate) mail_timeout: Duration,
    pub(crate) changed: Arc<Notify>,
}

impl Handler for Welcome {
    type Message = Text;

    async fn handle(&self, Text(body): Text, delivery: &Delivery) -> Outcome {
        let Ok(user_id) = body.trim().parse() else {
            return Outcome::park("the body is not a user id");
        };
        let outcome = trace::handling(delivery, self.welcome(user_id, delivery)).await;
        self.changed.notify_one();
        outcome.unwrap_or_else(Outcome::retry)
    }
}

impl Welcome {
    /// An error is the database's, and the message comes again; the mail server's are outcomes.
    async fn welcome(&self, user_id: i64, delivery: &Delivery) -> Result<Outcome, Error> {
        let Some(user) = user::find(&self.db, user_id).await? else {
            return Ok(Outcome::park(format!("there is no user {user_id}")));
        };
        if self.gave_up(user_id, delivery).await? {
            return Ok(Outcome::park("gave up before"));
        }
        if let Some(rest) = self.not_yet_due(user_id, delivery).await? {
            return Ok(Outcome::retry_after(rest, "a copy of a message that is due then"));
        }
        // Longer than a mail can take: when it runs out, its holder is not sending any more.
        let length = self.mail_timeout.saturating_mul(2);
        let lease = match lease::claim(&self.db, LEASE, delivery.message_id(), length).await? {
            Claim::Mine(lease) => lease,
            Claim::Done => return Ok(Outcome::Done),
            // No worker waits for it: the holder may have died, and others have mails to send. A lease that lasts longer than
            // one can was taken before the clock was set back.
            Claim::Busy { until_ms } => {
                return Ok(Outcome::retry_after(
                    from_now(until_ms).min(length),
                    "another is sending this mail",
                ));
            }
        };
        match self.send(&user, delivery.message_id()).await {
            Ok(()) => self.succeeded(&user, delivery, &lease).await,
            Err(error) => self.failed(&user, delivery, &lease, error).await,
        }
    }

    /// True for a message that was given up and comes again only because its parking was cut short. One that comes
    /// from the parked queue is tried afresh.
    async fn gave_up(&self, user_id: i64, delivery: &Delivery) -> Result<bool, Error> {
        let replay = i32::try_from(delivery.replays()).unwrap_or(i32::MAX);
        if replay > 0 {
            notify::grant_replay(&self.db, user_id, replay).await?;
        }
        Ok(notify::find(&self.db, user_id).await?.is_some_and(|count| count.gave_up()))
    }

    /// How long it is until the next attempt that was promised: a message that comes earlier is a copy, such as one that came
    /// again because its delayed copy was not confirmed, though it was there. Nothing is due later than the longest pause, unless
    /// the clock was set back.
    async fn not_yet_due(&self, user_id: i64, delivery: &Delivery) -> Result<Option<Duration>, Error> {
        let due_ms = attempt::next_due_ms(&self.db, user_id, delivery.message_id()).await?;
        let longest = self.delays.iter().max().copied().unwrap_or_default();
        Ok(due_ms.map(from_now).filter(|rest| !rest.is_zero() && *rest <= longest))
    }

    async fn send(&self, user: &user::Model, message_id: &str) -> Result<(), MailError> {
        let mail = mail::welcome(&self.from, user, message_id)?;
        let name = format!("welcome-{}-{message_id}", user.user_id);
        let sending = self.sender.send(&name, &mail);
        timeout(self.mail_timeout, sending)
            .await
            .unwrap_or_else(|_| Err(MailError(format!("no answer within {:?}", self.mail_timeout))))
    }

    async fn succeeded(
        &self,
        user: &user::Model,
        delivery: &Delivery,
        lease: &Lease,
    ) -> Result<Outcome, Error> {
        tracing::info!(user_id = user.user_id, attempt = delivery.attempt(), "mail sent");
        let start = Instant::now();
        while let Err(error) = self.write_sent(user.user_id, delivery.message_id(), lease).await {
            if start.elapsed() >= WRITE_FOR {
                return Err(error);
            }
            tracing::warn!(user_id = user.user_id, %error, "a mail is out, and this could not be written down yet");
            sleep(WRITE_AGAIN).await;
        }
        Ok(Outcome::Done)
    }

    async fn write_sent(&self, user_id: i64, message_id: &str, lease: &Lease) -> Result<(), Error> {
        let tx = database::begin(&self.db).await?;
        lease.done(&tx).await?;
        attempt::add(&tx, user_id, message_id, None, None).await?;
        Ok(tx.commit().await?)
    }

    async fn failed(
        &self,
        user: &user::Model,
        delivery: &Delivery,
        lease: &Lease,
        error: MailError,
    ) -> Result<Outcome, Error> {
        let tx = database::begin(&self.db).await?;
        let count = notify::count_failure(&tx, user.user_id, self.limit()).await?;
        let delay = self.delay_after(&count);
        let next_due_ms = delay.map(|delay| clock::now_ms().saturating_add(clock::ms(delay)));
        attempt::add(&tx, user.user_id, delivery.message_id(), Some(error.to_string()), next_due_ms).await?;
        lease.release(&tx).await?;
        tx.commit().await?;
        tracing::warn!(user_id = user.user_id, failures = count.notifynum, ?delay, %error, "mail not sent");
        Ok(match delay {
            Some(delay) => Outcome::retry_after(delay, error),
            None => Outcome::park(format!("gave up after {} failures: {error}", count.notifynum)),
        })
    }

    /// The number of failures that ends it.
    fn limit(&self) -> i32 {
        i32::try_from(self.delays.len()).unwrap_or(i32::MAX).saturating_add(1)
    }

    /// The pause before the next attempt; `None` when there is none.
    fn delay_after(&self, count: &notify::Model) -> Option<Duration> {
        if count.gave_up() {
            return None;
        }
        let step = usize::try_from(count.notifynum).unwrap_or(1).saturating_sub(1);
        self.delays.get(step).or(self.delays.last()).copied()
    }
}

/// How long it is until then; nothing where it is past.
fn from_now(at_ms: i64) -> Duration {
    let left_ms = at_ms.saturating_sub(clock::now_ms());
    Duration::from_millis(u64::try_from(left_ms).unwrap_or_default())
}
