//! One channel of the publisher. It works in rounds: take what waits, send it all, await every confirm, answer.
//!
//! Rounds are what makes returns reliable. lapin hands a `basic.return` to whichever confirm arrives next
//! on the channel, not to the message's own; but a broker always sends a message's return before its confirm, so
//! once all confirms of a round are in, all its returns are too, attached to some confirm or other. They
//! are then paired by message id, and no round holds the same id twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use futures_util::future::join_all;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, PublishError, Returned};
use crate::link::{self, Link};
use crate::message::{Message, Properties, short};
use crate::meters;
use crate::publisher::{Answer, Item, Job};

pub(crate) struct Lane {
    link: Arc<Link>,
    queue: Arc<Mutex<mpsc::Receiver<Job>>>,
    window: usize,
    channel: Option<Channel>,
    waiting: VecDeque<Item>,
    meters: Arc<meters::Publishing>,
}

/// What is known of one message after a round.
enum Fate {
    Settled(Answer),
    /// No confirm came; the words are the reason.
    Open(String),
}

/// The end of a round: a fate for each message, and whether the broker closed the channel over one of them.
struct Round {
    fates: Vec<Fate>,
    channel_lost: bool,
    refused: Option<String>,
}

impl Lane {
    pub(crate) fn new(
        link: Arc<Link>,
        queue: Arc<Mutex<mpsc::Receiver<Job>>>,
        window: usize,
        meters: Arc<meters::Publishing>,
    ) -> Self {
        Self { link, queue, window, channel: None, waiting: VecDeque::new(), meters }
    }

    /// Ends when the last publisher is dropped.
    pub(crate) async fn run(mut self) {
        while self.gather().await {
            while !self.waiting.is_empty() {
                let round = self.take_round();
                self.send(round).await;
            }
        }
    }

    /// Waits for work, then takes along what else is there. False when there will be no more.
    async fn gather(&mut self) -> bool {
        let mut queue = self.queue.lock().await;
        let Some(job) = queue.recv().await else { return false };
        self.waiting.extend(job);
        while self.waiting.len() < self.window {
            let Ok(job) = queue.try_recv() else { break };
            self.waiting.extend(job);
        }
        true
    }

    /// Up to a window of messages with distinct ids.
    fn take_round(&mut self) -> Vec<Item> {
        let mut ids = HashSet::new();
        let mut count = 0;
        for item in self.waiting.iter().take(self.window) {
            if !ids.insert(item.message.message_id()) {
                break;
            }
            count += 1;
        }
        self.waiting.drain(..count).collect()
    }

    async fn send(&mut self, items: Vec<Item>) {
        let Some((channel, items)) = self.open_channel_for(items).await else { return };
        let Round { fates, channel_lost, refused } = publish_round(&channel, &items).await;
        if channel_lost {
            self.channel = None;
        }
        match refused {
            Some(cause) => self.settle_refused(items, fates, &cause).await,
            None => self.answer_all(items, fates),
        }
        if channel_lost && channel.status().connected() {
            // A confirm that comes after its time must not be taken for a later message's.
            link::close(&channel).await;
        }
    }

    /// One message made the broker close the channel, which hides the fate of those behind it. Each open one
    /// is sent again alone, so that only the culprit fails.
    async fn settle_refused(&mut self, items: Vec<Item>, fates: Vec<Fate>, cause: &str) {
        let alone = items.len() == 1;
        for (item, fate) in items.into_iter().zip(fates) {
            match fate {
                Fate::Settled(answer) => self.tell(item, answer),
                Fate::Open(_) if alone => {
                    let message_id = item.message.message_id().to_owned();
                    self.tell(item, Err(PublishError::Rejected { message_id, cause: cause.to_owned() }));
                }
                Fate::Open(_) => Box::pin(self.send(vec![item])).await,
            }
        }
    }

    /// A channel, and those of the messages that still have time when there is one.
    async fn open_channel_for(&mut self, mut items: Vec<Item>) -> Option<(Channel, Vec<Item>)> {
        loop {
            let deadline = items.iter().map(|item| item.deadline).min()?;
            let opened = self.open_channel(deadline).await;
            let now = Instant::now();
            let (late, rest): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.deadline <= now);
            match opened {
                Ok(channel) => {
                    self.refuse_all(late, &Error::Late);
                    return (!rest.is_empty()).then_some((channel, rest));
                }
                Err(error) if late.is_empty() => {
                    self.refuse_all(rest, &error);
                    return None;
                }
                Err(error) => self.refuse_all(late, &error),
            }
            items = rest;
        }
    }

    async fn open_channel(&mut self, deadline: Instant) -> Result<Channel, Error> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = self.link.channel_by(deadline).await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        timeout_at(deadline, confirming).await.map_err(|_| Error::Late)??;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    fn answer_all(&self, items: Vec<Item>, fates: Vec<Fate>) {
        for (item, fate) in items.into_iter().zip(fates) {
            let answer = match fate {
                Fate::Settled(answer) => answer,
                Fate::Open(cause) => {
                    Err(PublishError::Unknown { message_id: item.message.message_id().to_owned(), cause })
                }
            };
            self.tell(item, answer);
        }
    }

    fn refuse_all(&self, items: Vec<Item>, error: &Error) {
        for item in items {
            let message_id = item.message.message_id().to_owned();
            self.tell(item, Err(PublishError::NotSent { message_id, cause: error.to_string() }));
        }
    }

    fn tell(&self, item: Item, answer: Answer) {
        self.meters.count(&answer);
        self.meters.seconds.record(item.started.elapsed());
        // A caller who no longer waits needs no answer.
        let _ = item.answer.send(answer);
    }
}

async fn publish_round(channel: &Channel, items: &[Item]) -> Round {
    let results = confirm_all(channel, items).await;
    let refused = results.iter().find_map(|result| result.as_ref().err().and_then(Failure::refusal));
    let channel_lost = results.iter().any(|result| matches!(result, Err(Failure::Lost(_) | Failure::Late)));
    let (confirms, mut returns) = split(results);
    let fates = confirms.into_iter().zip(items).map(|(confirm, item)| {
        let sure = !channel_lost || !confirm.carried_another(item.message.message_id());
        settle(confirm, item, &mut returns, sure)
    });
    Round { fates: fates.collect(), channel_lost, refused }
}

/// Writes all messages, then awaits all confirms, each until its message's deadline.
async fn confirm_all(channel: &Channel, items: &[Item]) -> Vec<Result<Confirmation, Failure>> {
    // `join_all` starts the publishes in order, and each puts its frames in line before it first waits.
    let writing = items.iter().map(|item| timeout_at(item.deadline, write(channel, &item.message)));
    let written = join_all(writing).await;
    let mut results = Vec::with_capacity(items.len());
    for (written, item) in written.into_iter().zip(items) {
        results.push(match written {
            Ok(Ok(confirm)) => match timeout_at(item.deadline, confirm).await {
                Ok(confirmed) => confirmed.map_err(Failure::Lost),
                Err(_) => Err(Failure::Late),
            },
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Late),
        });
    }
    results
}

/// Why a publish has no confirmation.
enum Failure {
    Invalid(PublishError),
    Lost(lapin::Error),
    Late,
}

impl Failure {
    /// The broker's words where it closed the channel, and only that, over a message.
    fn refusal(&self) -> Option<String> {
        match self {
            Self::Lost(error) if error.is_amqp_soft_error() => Some(error.to_string()),
            _ => None,
        }
    }
}

async fn write(channel: &Channel, message: &Message) -> Result<PublisherConfirm, Failure> {
    let exchange = short(message.exchange()).map_err(Failure::Invalid)?;
    let key = short(message.routing_key()).map_err(Failure::Invalid)?;
    let properties = message.properties().to_amqp().map_err(Failure::Invalid)?;
    let options = BasicPublishOptions { mandatory: message.is_mandatory(), immediate: false };
    let publishing = channel.basic_publish(exchange, key, options, message.body(), properties);
    publishing.await.map_err(Failure::Lost)
}

/// A confirm apart from the return that lapin attached to it, which may be another message's.
enum Confirmed {
    Ack { carried: Option<String> },
    Nack,
    Failed(Failure),
}

impl Confirmed {
    /// True where the confirm came while another message's return was still unclaimed. Then its own may have been
    /// behind that one, to be attached to a later confirm, which a broken round never sees.
    fn carried_another(&self, message_id: &str) -> bool {
        matches!(self, Self::Ack { carried: Some(id) } if id != message_id)
    }
}

fn split(results: Vec<Result<Confirmation, Failure>>) -> (Vec<Confirmed>, HashMap<String, Returned>) {
    let mut returns = HashMap::new();
    let mut keep = |message: Option<Box<Returned>>| {
        let returned = message?;
        let id = returned.message.message_id().to_owned();
        returns.insert(id.clone(), *returned);
        Some(id)
    };
    let confirmed = results.into_iter().map(|result| match result {
        Ok(Confirmation::Ack(message)) => Confirmed::Ack { carried: keep(message.map(returned)) },
        Ok(Confirmation::Nack(message)) => {
            keep(message.map(returned));
            Confirmed::Nack
        }
        Ok(Confirmation::NotRequested) => Confirmed::Nack,
        Err(failure) => Confirmed::Failed(failure),
    });
    (confirmed.collect(), returns)
}

fn settle(confirmed: Confirmed, item: &Item, returns: &mut HashMap<String, Returned>, sure: bool) -> Fate {
    let message_id = item.message.message_id();
    if let Some(returned) = returns.remove(message_id) {
        return Fate::Settled(Err(PublishError::Returned(Box::new(returned))));
    }
    match confirmed {
        Confirmed::Ack { .. } if sure => Fate::Settled(Ok(())),
        Confirmed::Ack { .. } => {
            Fate::Open("the channel was lost before it was clear whether it returned".into())
        }
        Confirmed::Nack => Fate::Settled(Err(PublishError::Nacked { message_id: message_id.to_owned() })),
        Confirmed::Failed(Failure::Invalid(error)) => Fate::Settled(Err(error)),
        Confirmed::Failed(Failure::Lost(error)) => Fate::Open(error.to_string()),
        Confirmed::Failed(Failure::Late) => Fate::Open("no confirm in time".into()),
    }
}

fn returned(back: BasicReturnMessage) -> Box<Returned> {
    let delivery = back.delivery;
    let properties = Properties::from_amqp(&delivery.properties);
    let (exchange, key) = (delivery.exchange.to_string(), delivery.routing_key.to_string());
    let message = Message::from_parts(exchange, key, delivery.data, properties, true);
    Box::new(Returned { reply_code: back.reply_code, reply_text: back.reply_text.to_string(), message })
}
