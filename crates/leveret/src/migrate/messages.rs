//! Messages from the queues of one broker to those of the other: confirmed there, then acknowledged here.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Consumer, ExchangeKind, PublisherConfirm};

use super::queues::{self, Movable};
use super::report::{Moved, Progress, Report};
use super::side::Side;
use crate::failure::Failure;
use crate::http_api::encoded;

/// Messages on their way at a time, in a queue.
const WINDOW: u16 = 1000;
/// The consumer.
const TAG: &str = "leveret-migrate";
/// What exchanges of ours are called at first, and the argument that tells them from others of such a name.
const DETOUR: (&str, &str) = ("leveret.migrate.", "leveret-migrate");
/// How long a queue that should have more may give none.
const SILENCE: Duration = Duration::from_secs(3);

/// Moves the messages of all queues, and notes what was counted.
pub(super) async fn move_all(from: &Side, to: &Side, report: &mut Report) -> Result<(), Failure> {
    for vhost in from.vhosts()? {
        clear_detours(to, &vhost)?;
        let queues = queues::movable(from, &vhost)?;
        let (source, target) = (from.connect(&vhost).await?, to.connect(&vhost).await?);
        for Movable { name: queue, goes_with_consumers } in queues {
            let failed = |error: lapin::Error| Failure::run(format!("queue {queue} in {vhost}: {error}"));
            let channels = Channels {
                source: source.create_channel().await.map_err(failed)?,
                target: target.create_channel().await.map_err(failed)?,
                user: to.user(),
            };
            let before = queues::ready(&channels.source, &queue).await.map_err(failed)?;
            let held = queues::ready(&channels.target, &queue).await.map_err(failed)?;
            let progress = Progress::start(&queue, before);
            let moved = if before == 0 {
                Ok(0)
            } else {
                channels.empty((&queue, goes_with_consumers), before, &progress).await
            };
            progress.finish();
            let (moved, trouble) = match moved {
                Ok(moved) => (moved, None),
                Err(trouble) => (progress.count(), Some(trouble)),
            };
            // A channel that has failed tells no counts: others do.
            let source = source.create_channel().await.map_err(failed)?;
            let target = target.create_channel().await.map_err(failed)?;
            report.add(Moved {
                vhost: vhost.clone(),
                queue: queue.clone(),
                moved,
                left: queues::ready(&source, &queue).await.map_err(failed)?,
                target_before: held,
                target_after: queues::ready(&target, &queue).await.map_err(failed)?,
            });
            if let Some(trouble) = trouble {
                return Err(Failure::run(format!(
                    "queue {queue} in {vhost}: {trouble}; run it again to go on"
                )));
            }
        }
    }
    Ok(())
}

/// Deletes what a migration has left at the target that was killed.
fn clear_detours(to: &Side, vhost: &str) -> Result<(), Failure> {
    let path = format!("/exchanges/{}", encoded(vhost));
    let exchanges = to.management.get(&format!("{path}?columns=name,arguments"))?;
    for exchange in exchanges.as_array().into_iter().flatten() {
        let name = exchange["name"].as_str().unwrap_or_default();
        if name.starts_with(DETOUR.0) && exchange["arguments"][DETOUR.1] == true {
            to.management.delete(&format!("{path}/{}", encoded(name)))?;
        }
    }
    Ok(())
}

struct Channels<'a> {
    source: Channel,
    target: Channel,
    /// Who publishes at the target.
    user: &'a str,
}

/// How messages come out of a queue.
enum Intake {
    Consumer(Box<Consumer>),
    /// One by one. Slower, but there is no consumer whose end would delete the queue.
    Fetched,
}

impl Intake {
    async fn open(source: &Channel, queue: &str, goes_with_consumers: bool) -> lapin::Result<Self> {
        if goes_with_consumers {
            return Ok(Self::Fetched);
        }
        source.basic_qos(WINDOW, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer = source.basic_consume(queue.into(), TAG.into(), options, FieldTable::default());
        Ok(Self::Consumer(Box::new(consumer.await?)))
    }

    /// The next message; `None` where there is none any more.
    async fn next(&mut self, source: &Channel, queue: &str) -> lapin::Result<Option<Delivery>> {
        match self {
            Self::Consumer(consumer) => consumer.next().await.transpose(),
            Self::Fetched => {
                let fetched = source.basic_get(queue.into(), BasicGetOptions::default()).await?;
                Ok(fetched.map(|message| message.delivery))
            }
        }
    }

    async fn close(self, source: &Channel) -> lapin::Result<()> {
        match self {
            Self::Consumer(_) => source.basic_cancel(TAG.into(), BasicCancelOptions::default()).await,
            Self::Fetched => Ok(()),
        }
    }
}

/// What is on its way: the delivery that it was, and the confirm that it waits for.
type OnTheWay = VecDeque<(u64, PublisherConfirm)>;

impl Channels<'_> {
    /// Moves as many messages as there were at first; fewer where somebody else consumes them meanwhile.
    async fn empty(
        &self,
        (queue, goes_with_consumers): (&str, bool),
        count: u32,
        progress: &Progress,
    ) -> Result<u64, String> {
        let failed = |error: lapin::Error| error.to_string();
        self.target.confirm_select(ConfirmSelectOptions::default()).await.map_err(failed)?;
        let intake = Intake::open(&self.source, queue, goes_with_consumers).await.map_err(failed)?;
        let mut detour = None;
        let sent = self.pump(intake, queue, &mut detour, (count, progress)).await;
        if let Some(exchange) = detour {
            let options = ExchangeDeleteOptions::default();
            let deleted = self.target.exchange_delete(exchange.into(), options).await.map_err(failed);
            // What went wrong before is why this does too.
            return sent.and_then(|sent| deleted.map(|()| sent));
        }
        sent
    }

    async fn pump(
        &self,
        mut intake: Intake,
        queue: &str,
        detour: &mut Option<String>,
        (count, progress): (u32, &Progress),
    ) -> Result<u64, String> {
        let failed = |error: lapin::Error| error.to_string();
        let mut on_the_way = OnTheWay::new();
        let mut sent = 0;
        while sent < u64::from(count) {
            let next = intake.next(&self.source, queue);
            let delivery = match tokio::time::timeout(SILENCE, next).await.map(|next| next.map_err(failed)) {
                Ok(next) => match next? {
                    Some(delivery) => delivery,
                    None => break,
                },
                // All that the window allows may be on its way.
                Err(_) if on_the_way.is_empty() => break,
                Err(_) => {
                    self.settle(&mut on_the_way, 0, progress).await?;
                    continue;
                }
            };
            let tag = delivery.delivery_tag;
            let confirm = self.send(queue, delivery, detour).await.map_err(failed)?;
            on_the_way.push_back((tag, confirm));
            sent += 1;
            if on_the_way.len() >= usize::from(WINDOW) / 2 {
                self.settle(&mut on_the_way, usize::from(WINDOW) / 4, progress).await?;
            }
        }
        self.settle(&mut on_the_way, 0, progress).await?;
        intake.close(&self.source).await.map_err(failed)?;
        // What came beyond the count goes back to its queue.
        self.source.close(200, "done".into()).await.map_err(failed)?;
        Ok(sent)
    }

    async fn send(
        &self,
        queue: &str,
        delivery: Delivery,
        detour: &mut Option<String>,
    ) -> lapin::Result<PublisherConfirm> {
        let Delivery { properties, data, .. } = delivery;
        let exchange =
            if has_copies(&properties) { self.detour(queue, detour).await? } else { String::new() };
        let is_ours = properties.user_id().as_ref().is_none_or(|user| user.as_str() == self.user);
        let properties = if is_ours { properties } else { without_user(&properties) };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        self.target.basic_publish(exchange.into(), queue.into(), options, &data, properties).await
    }

    /// A fanout exchange that leads to the queue only. A message with a `CC` header would be routed again by the default
    /// exchange, to the queues that the header names.
    async fn detour(&self, queue: &str, detour: &mut Option<String>) -> lapin::Result<String> {
        if let Some(exchange) = detour {
            return Ok(exchange.clone());
        }
        let exchange = format!("{}{:016x}", DETOUR.0, fastrand::u64(..));
        // Deleted at the end; where it never comes to that, with its queue or by the next migration.
        let passing = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
        let name = || exchange.as_str().into();
        let mut ours = FieldTable::default();
        ours.insert(DETOUR.1.into(), AMQPValue::Boolean(true));
        self.target.exchange_declare(name(), ExchangeKind::Fanout, passing, ours).await?;
        let none = QueueBindOptions::default();
        self.target.queue_bind(queue.into(), name(), "".into(), none, FieldTable::default()).await?;
        Ok(detour.insert(exchange).clone())
    }

    /// Waits for confirms until so few are still on their way, and acknowledges what was confirmed.
    async fn settle(
        &self,
        on_the_way: &mut OnTheWay,
        rest: usize,
        progress: &Progress,
    ) -> Result<(), String> {
        let mut confirmed = None;
        let mut trouble = None;
        while on_the_way.len() > rest
            && let Some((tag, confirm)) = on_the_way.pop_front()
        {
            trouble = match confirm.await {
                Ok(Confirmation::Ack(None)) => None,
                Ok(Confirmation::Nack(_)) => Some("the target's queue is full".to_owned()),
                Ok(_) => Some("the target's queue is gone".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if trouble.is_some() {
                break;
            }
            confirmed = Some(tag);
            progress.one();
        }
        if let Some(tag) = confirmed {
            let acked = self.source.basic_ack(tag, BasicAckOptions { multiple: true }).await;
            acked.map_err(|error| error.to_string())?;
        }
        trouble.map_or(Ok(()), Err)
    }
}

fn has_copies(properties: &BasicProperties) -> bool {
    properties.headers().as_ref().is_some_and(|headers| headers.contains_key("CC"))
}

/// A broker takes a message from nobody but the user that its `user_id` names.
fn without_user(properties: &BasicProperties) -> BasicProperties {
    let mut rest = BasicProperties::default();
    macro_rules! keep {
        ($($field:ident $with:ident)*) => {
            $(if let Some(value) = properties.$field() { rest = rest.$with(value.clone()); })*
        };
    }
    keep! {
        content_type with_content_type content_encoding with_content_encoding headers with_headers
        delivery_mode with_delivery_mode priority with_priority correlation_id with_correlation_id
        reply_to with_reply_to expiration with_expiration message_id with_message_id
        timestamp with_timestamp kind with_type app_id with_app_id cluster_id with_cluster_id
    }
    rest
}
