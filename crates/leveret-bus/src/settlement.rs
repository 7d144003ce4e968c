//! The end of a delivery. A [`Settlement`] is used up by what it does, so a message is answered once; and
//! whatever has to be published is confirmed first, so that a crash in between duplicates and never loses.

use std::time::Duration;

use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::time::sleep;

use crate::clock;
use crate::delay::DelayedQueue;
use crate::delivery::Delivery;
use crate::error::PublishError;
use crate::handler::Outcome;
use crate::headers::{ATTEMPTS, FIRST_FAILED_MS, LAST_FAILED_MS, REASON};
use crate::history::{self, shortened};
use crate::message::Message;
use crate::meters;
use crate::parking::parked_queue;
use crate::publisher::Publisher;
use crate::retry::RetryPolicy;

/// Pause before a message goes back to its queue because its copy could not be published.
const PUBLISH_FAILED_PAUSE: Duration = Duration::from_secs(1);
/// Longest reason kept in a header, in bytes: headers have to fit into one frame.
const REASON_LIMIT_BYTES: usize = 1000;

/// Where messages of one worker go when they are not done.
pub(crate) struct Fates {
    pub(crate) queue: String,
    pub(crate) policy: RetryPolicy,
    pub(crate) delayed: DelayedQueue,
    pub(crate) publisher: Publisher,
    pub(crate) meters: meters::Handling,
}

/// What to do with a message, decided.
enum Verdict {
    Done,
    Later(Duration, String),
    Park(String),
}

/// The right to answer one delivery, once.
pub(crate) struct Settlement {
    acker: Acker,
}

impl Settlement {
    pub(crate) fn new(acker: Acker) -> Self {
        Self { acker }
    }

    /// Carries out what the handler decided.
    pub(crate) async fn settle(self, delivery: Delivery, outcome: Outcome, fates: &Fates) {
        let failures = delivery.failures().saturating_add(1);
        let published = match verdict(outcome, failures, &fates.policy) {
            Verdict::Done => {
                fates.meters.done.increment(1);
                Ok(())
            }
            Verdict::Later(delay, reason) => {
                fates.meters.retried.increment(1);
                fates.delayed.publish(failed_copy(delivery, failures, &reason), delay).await
            }
            Verdict::Park(reason) => fates.park(delivery, failures, &reason).await,
        };
        match published {
            Ok(()) => self.ack().await,
            Err(error) => self.give_back(&fates.queue, &error).await,
        }
    }

    async fn ack(self) {
        if let Err(error) = self.acker.ack(BasicAckOptions::default()).await {
            tracing::warn!(%error, "ack failed, the message will come again");
        }
    }

    async fn give_back(self, queue: &str, error: &PublishError) {
        tracing::error!(queue, %error, "a copy could not be published, the message goes back to its queue");
        sleep(PUBLISH_FAILED_PAUSE).await;
        let options = BasicNackOptions { requeue: true, multiple: false };
        if let Err(error) = self.acker.nack(options).await {
            tracing::warn!(%error, "nack failed, the message will come again");
        }
    }
}

impl Fates {
    async fn park(&self, delivery: Delivery, failures: u32, reason: &str) -> Result<(), PublishError> {
        self.meters.parked.increment(1);
        tracing::warn!(queue = self.queue, message_id = delivery.message_id(), reason, "parked");
        let copy = failed_copy(delivery, failures, reason).readdressed("", &parked_queue(&self.queue));
        self.publisher.publish(copy).await
    }
}

fn verdict(outcome: Outcome, failures: u32, policy: &RetryPolicy) -> Verdict {
    let (delay, reason) = match outcome {
        Outcome::Done => return Verdict::Done,
        Outcome::Park { reason } => return Verdict::Park(reason),
        Outcome::Retry { reason } => (policy.draw(failures), reason),
        Outcome::RetryWith { policy, reason } => (policy.draw(failures), reason),
        Outcome::RetryAfter { delay, reason } => (policy.delay_after(failures).map(|_| delay), reason),
    };
    match delay {
        Some(delay) => Verdict::Later(delay, reason),
        None => Verdict::Park(reason),
    }
}

/// The message with its failure written on it.
fn failed_copy(delivery: Delivery, failures: u32, reason: &str) -> Message {
    let now_ms = clock::now_ms();
    let first_ms = delivery.first_failed_ms().unwrap_or(now_ms);
    let mut copy = delivery.into_copy();
    let headers = copy.headers_mut();
    headers.set_integer(ATTEMPTS, failures.into());
    headers.set_integer(FIRST_FAILED_MS, first_ms);
    headers.set_integer(LAST_FAILED_MS, now_ms);
    headers.set_text(REASON, shortened(reason, REASON_LIMIT_BYTES));
    history::add(headers, failures, now_ms, reason);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_beyond_the_last_attempt_parks() {
        let policy = RetryPolicy::fixed(Duration::from_secs(1)).with_attempts(2);
        assert!(matches!(verdict(Outcome::retry("r"), 1, &policy), Verdict::Later(..)));
        assert!(matches!(verdict(Outcome::retry("r"), 2, &policy), Verdict::Park(_)));
        let after = Outcome::retry_after(Duration::from_secs(9), "r");
        let expected = Duration::from_secs(9);
        assert!(matches!(verdict(after, 1, &policy), Verdict::Later(delay, _) if delay == expected));
        let patient = RetryPolicy::list([expected; 4]);
        let with = || Outcome::retry_with(&patient, "r");
        assert!(matches!(verdict(with(), 4, &policy), Verdict::Later(delay, _) if delay == expected));
        assert!(matches!(verdict(with(), 5, &policy), Verdict::Park(_)));
    }
}
