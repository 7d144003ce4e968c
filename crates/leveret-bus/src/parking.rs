//! The parked messages of a queue: looked at, replayed or dropped. They lie in an ordinary queue named
//! `<queue>.parked`, so they are as durable as the broker and any AMQP tool sees them too.

use std::sync::Arc;

use lapin::Channel;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueuePurgeOptions};
use tokio::sync::Mutex;

use crate::delivery::{Delivery, count};
use crate::error::Error;
use crate::headers::{ATTEMPTS, FIRST_FAILED_MS, HISTORY, LAST_FAILED_MS, REASON, REPLAYS};
use crate::history::{self, FailedAttempt};
use crate::link::{self, Link};
use crate::message::{Message, short};
use crate::publisher::Publisher;
use crate::topology::Queue;

/// Name of the queue that takes a queue's parked messages.
pub fn parked_queue(queue: &str) -> String {
    format!("{queue}.parked")
}

/// That queue. It is of type classic whatever a virtual host's default is: a quorum queue counts how often a message is handed
/// out, and after some looks at it would drop it.
pub(crate) fn queue_of_parked(queue: &str) -> Queue {
    Queue::durable(parked_queue(queue)).with_text("x-queue-type", "classic")
}

/// A parked message.
#[derive(Clone, Debug)]
pub struct ParkedMessage {
    /// Its id, by which it is replayed or dropped.
    pub message_id: String,
    /// Why its last attempt failed.
    pub reason: String,
    /// How many attempts failed.
    pub attempts: u32,
    /// When the first failed, milliseconds since 1970 UTC.
    pub first_failed_ms: Option<i64>,
    /// When the last failed, milliseconds since 1970 UTC.
    pub last_failed_ms: Option<i64>,
    /// The attempts that failed, oldest first: at most 20, of which the first is the very first.
    pub history: Vec<FailedAttempt>,
    /// The exchange that it was first published to.
    pub exchange: String,
    /// The routing key that it was first published with.
    pub routing_key: String,
    /// The body.
    pub body: Vec<u8>,
}

/// The parked messages of one queue.
///
/// To look at messages the broker has to hand them out, so while one `Parked` lists or searches, another (in
/// another process) sees fewer. Whatever is not replayed or dropped keeps its place.
#[derive(Clone)]
pub struct Parked {
    link: Arc<Link>,
    publisher: Publisher,
    queue: String,
    one_at_a_time: Arc<Mutex<()>>,
}

impl Parked {
    pub(crate) fn new(link: Arc<Link>, publisher: Publisher, queue: String) -> Self {
        Self { link, publisher, queue, one_at_a_time: Arc::default() }
    }

    /// How many there are.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn count(&self) -> Result<u32, Error> {
        let channel = self.link.channel().await?;
        let count = self.declared(&channel).await?;
        link::close(&channel).await;
        Ok(count)
    }

    /// Up to `limit` of them, oldest first.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn list(&self, limit: usize) -> Result<Vec<ParkedMessage>, Error> {
        let _turn = self.one_at_a_time.lock().await;
        let channel = self.link.channel().await?;
        let mut present = self.declared(&channel).await?;
        let mut found = Vec::new();
        while present > 0 && found.len() < limit {
            let Some(message) = self.next(&channel).await? else { break };
            present = message.message_count;
            found.push(ParkedMessage::new(Delivery::new(message.delivery)));
        }
        // Closing the channel alone would put back what was looked at too, but on RabbitMQ some time later.
        if !found.is_empty() {
            let all = BasicNackOptions { multiple: true, requeue: true };
            channel.basic_nack(0, all).await?;
        }
        link::bounded(async { Ok(channel.close(200, "looked".into()).await?) }).await?;
        Ok(found)
    }

    /// Sends the message with this id back to its queue, with its attempts counted from zero again. False when
    /// there is none.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses. The message may then be both in its queue and still parked.
    pub async fn replay(&self, message_id: &str) -> Result<bool, Error> {
        self.with_one(message_id, async |message| self.replay_one(message).await).await
    }

    /// Sends all that are there now back to their queue, oldest first, and says how many.
    ///
    /// # Errors
    /// As [`replay`](Self::replay).
    pub async fn replay_all(&self) -> Result<u32, Error> {
        let _turn = self.one_at_a_time.lock().await;
        let channel = self.link.channel().await?;
        let present = self.declared(&channel).await?;
        let mut replayed = 0;
        while replayed < present {
            let Some(message) = self.next(&channel).await? else { break };
            self.replay_one(message).await?;
            replayed += 1;
        }
        link::close(&channel).await;
        Ok(replayed)
    }

    /// Throws away the message with this id. False when there is none.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn drop_one(&self, message_id: &str) -> Result<bool, Error> {
        self.with_one(message_id, async |message| ack(&message).await).await
    }

    /// Throws all away, and says how many.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn drop_all(&self) -> Result<u32, Error> {
        // Purging leaves what somebody looks at.
        let _turn = self.one_at_a_time.lock().await;
        let channel = self.link.channel().await?;
        self.declared(&channel).await?;
        let name = short(&parked_queue(&self.queue))?;
        let purging = async { Ok(channel.queue_purge(name, QueuePurgeOptions::default()).await?) };
        let dropped = link::bounded(purging).await?;
        link::close(&channel).await;
        Ok(dropped)
    }

    /// Goes through the queue up to the message with this id. All before it are held meanwhile, and put back by
    /// closing the channel.
    async fn with_one(
        &self,
        message_id: &str,
        act: impl AsyncFnOnce(BasicGetMessage) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let _turn = self.one_at_a_time.lock().await;
        let channel = self.link.channel().await?;
        self.declared(&channel).await?;
        let found = self.search(&channel, message_id).await?;
        let was_there = found.is_some();
        if let Some(message) = found {
            act(message).await?;
        }
        link::close(&channel).await;
        Ok(was_there)
    }

    async fn search(&self, channel: &Channel, message_id: &str) -> Result<Option<BasicGetMessage>, Error> {
        while let Some(message) = self.next(channel).await? {
            let id = message.properties.message_id();
            if id.as_ref().is_some_and(|id| id.as_str() == message_id) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    async fn replay_one(&self, message: BasicGetMessage) -> Result<(), Error> {
        let acker = message.delivery.acker.clone();
        let copy = fresh_copy(Delivery::new(message.delivery)).readdressed("", &self.queue);
        self.publisher.publish(copy).await?;
        acker.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    async fn next(&self, channel: &Channel) -> Result<Option<BasicGetMessage>, Error> {
        let name = short(&parked_queue(&self.queue))?;
        link::bounded(async { Ok(channel.basic_get(name, BasicGetOptions { no_ack: false }).await?) }).await
    }

    /// Declares the parked queue, since there is none before the first worker started, and counts it.
    async fn declared(&self, channel: &Channel) -> Result<u32, Error> {
        link::bounded(queue_of_parked(&self.queue).declare(channel)).await
    }
}

impl ParkedMessage {
    fn new(delivery: Delivery) -> Self {
        let headers = delivery.headers();
        Self {
            message_id: delivery.message_id().to_owned(),
            reason: headers.text(REASON).unwrap_or_default(),
            attempts: count(headers, ATTEMPTS),
            first_failed_ms: headers.integer(FIRST_FAILED_MS),
            last_failed_ms: headers.integer(LAST_FAILED_MS),
            history: history::of(headers),
            exchange: delivery.exchange(),
            routing_key: delivery.routing_key(),
            body: delivery.body().to_vec(),
        }
    }
}

/// The message as if it had never failed, but for the count of replays.
fn fresh_copy(delivery: Delivery) -> Message {
    let replays = delivery.replays().saturating_add(1);
    let mut copy = delivery.into_copy();
    let headers = copy.headers_mut();
    for name in [ATTEMPTS, REASON, FIRST_FAILED_MS, HISTORY, LAST_FAILED_MS] {
        headers.remove(name);
    }
    headers.set_integer(REPLAYS, replays.into());
    copy
}

async fn ack(message: &BasicGetMessage) -> Result<(), Error> {
    message.delivery.acker.ack(BasicAckOptions::default()).await?;
    Ok(())
}
