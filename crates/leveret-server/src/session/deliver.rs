//! Consuming: consumers, `basic.get`, prefetch, and the settling of what was delivered. Acknowledgements that
//! come in one batch are settled together.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_amqp::{ReplyCode, basic, write_method};
use leveret_broker::{
    ChannelConsumer, Consume, ConsumerKey, Effects, Holder, Queue, Receipt, Settlement, split_route,
};
use rustc_hash::FxHashSet;

use super::Session;
use super::channel::{Channel, Mode, QueueTable, Subscription};
use super::publish::REPLY_TO;
use crate::consumer::{ChannelHolder, Consumer, write_content};
use crate::outbox::{Out, Overdue};
use crate::reply::Exception;

/// Settlements of one channel and one kind that have gathered.
#[derive(Default)]
pub(super) struct Settling {
    channel: u16,
    settlement: Option<Settlement>,
    outs: Vec<Out>,
}

/// Settles deliveries at their queues, those of one queue together.
pub(super) fn settle_all(queues: &QueueTable, outs: &[Out], settlement: Settlement, effects: &mut Effects) {
    let mut receipts: Vec<Receipt> = Vec::with_capacity(outs.len());
    for of_one_queue in outs.chunk_by(|a, b| a.queue == b.queue) {
        receipts.clear();
        receipts.extend(of_one_queue.iter().map(|out| out.receipt));
        if let Some(queue) = queues.at(of_one_queue[0].queue) {
            queue.settle(&receipts, settlement, effects);
        }
    }
}

impl Session {
    pub(super) fn qos(&mut self, number: u16, qos: basic::Qos) -> Result<(), Exception> {
        if qos.prefetch_size != 0 {
            return Err(Exception::new(
                ReplyCode::NOT_IMPLEMENTED,
                format!("prefetch_size!=0 ({})", qos.prefetch_size),
            ));
        }
        let channel = self.open_channel(number)?;
        let prefetch_count = qos.prefetch_count;
        if qos.global {
            channel.entry.iter().for_each(|entry| entry.global_prefetch.set(prefetch_count.into()));
            self.deliveries(number, |deliveries| deliveries.prefetch = prefetch_count.into());
        } else {
            channel.entry.iter().for_each(|entry| entry.prefetch.set(prefetch_count.into()));
            channel.prefetch = prefetch_count;
            // As in RabbitMQ, where the one call takes back the other.
            self.deliveries(number, |deliveries| deliveries.prefetch = 0);
        }
        self.send(number, basic::QosOk {});
        self.outbox.resume_stalled(&mut self.effects);
        Ok(())
    }

    pub(super) fn consume(&mut self, number: u16, consume: basic::Consume<'_>) -> Result<(), Exception> {
        let generated;
        let tag = match consume.consumer_tag {
            "" => {
                generated = server_name("amq.ctag-");
                generated.as_str()
            }
            tag => tag,
        };
        let channel = self.open_channel(number)?;
        if channel.consumers.get(tag).is_some_and(|subscription| !subscription.consumer.is_cancelled()) {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(Exception::new(ReplyCode::NOT_ALLOWED, text));
        }
        let queue = if consume.queue == REPLY_TO {
            self.reply_queue(number, consume.no_ack)?
        } else {
            self.queue_to_read(number, consume.queue)?
        };
        self.subscribe(number, tag, &queue, &consume)
    }

    fn subscribe(
        &mut self,
        number: u16,
        tag: &str,
        queue: &Arc<Queue>,
        consume: &basic::Consume<'_>,
    ) -> Result<(), Exception> {
        let outbox = Arc::clone(&self.outbox);
        let notify_cancel = self.consumer_cancel_notify;
        let priority = consumer_priority(queue, consume)?;
        let index = self.index_of(number, queue)?;
        let Some(holder) = self.holder(number)?.as_ref().map(Arc::downgrade) else { return Ok(()) };
        let channel = self.open_channel(number)?;
        let prefetch = u32::from(channel.prefetch);
        let Some(entry) = channel.entry.clone() else { return Ok(()) };
        let as_seen = (&entry, consume.no_ack);
        let consumer = Consumer::new((number, tag), (queue, index), &outbox, as_seen, notify_cancel);
        let mailbox = Arc::clone(&consumer) as Arc<dyn leveret_broker::Mailbox>;
        let (no_wait, no_ack, exclusive) = (consume.no_wait, consume.no_ack, consume.exclusive);
        let arguments = consume.arguments.to_owned();
        let consume = Consume { mailbox, holder, no_ack, exclusive, prefetch, priority };
        let key = queue.consume(consume)?;
        let told = ChannelConsumer {
            tag: tag.into(),
            queue: Arc::clone(queue),
            key,
            no_ack,
            exclusive,
            prefetch,
            arguments,
        };
        entry.add_consumer(told);
        let mut buffer = self.outbox.lock();
        if !no_wait {
            write_method(number, basic::ConsumeOk { consumer_tag: tag }, &mut buffer.frames);
        }
        consumer.note_answered(&mut buffer);
        if consumer.is_cancelled() {
            entry.remove_consumer(tag);
        }
        drop(buffer);
        let subscription = Subscription { consumer, key, queue: Arc::clone(queue) };
        self.open_channel(number)?.consumers.insert(tag.into(), subscription);
        queue.resume(key, &mut self.effects);
        Ok(())
    }

    /// The queue's number on the channel. A channel that has known many queues forgets those it is done with.
    fn index_of(&mut self, number: u16, queue: &Arc<Queue>) -> Result<u32, Exception> {
        if self.open_channel(number)?.queues.is_crowded() {
            self.sweep_queues(number)?;
        }
        Ok(self.open_channel(number)?.queues.index_of(queue))
    }

    fn sweep_queues(&mut self, number: u16) -> Result<(), Exception> {
        let out: Option<FxHashSet<u32>> =
            self.deliveries(number, |deliveries| deliveries.queues_out().collect());
        let mut used = out.unwrap_or_default();
        let channel = self.open_channel(number)?;
        channel.consumers.retain(|_, subscription| !subscription.consumer.is_cancelled());
        let Channel { consumers, queues, mode, .. } = channel;
        used.extend(consumers.values().map(|subscription| queues.index_of(&subscription.queue)));
        if let Mode::Transaction(transaction) = mode {
            let settled = transaction.settlements.iter().flat_map(|(outs, _)| outs);
            used.extend(settled.map(|out| out.queue));
        }
        queues.sweep(&used);
        Ok(())
    }

    /// Ends the channels that hold a message for longer than its queue allows.
    pub(super) fn end_overdue(&mut self) {
        for Overdue { channel, entry, timeout_ms } in self.outbox.take_overdue() {
            let there = self.channels.get(&channel).and_then(|it| it.entry.as_ref());
            if there.is_some_and(|there| Arc::ptr_eq(there, &entry)) {
                let text = format!(
                    "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} ms. \
                     This timeout value can be configured, see consumers doc guide to learn more"
                );
                let exception = Exception::new(ReplyCode::PRECONDITION_FAILED, text);
                self.fail_channel(channel, &exception, (0, 0));
            }
        }
    }

    /// The queue behind `amq.rabbitmq.reply-to`: one a channel, exclusive, gone with it.
    fn reply_queue(&mut self, number: u16, no_ack: bool) -> Result<Arc<Queue>, Exception> {
        let refuse = |text| Err(Exception::new(ReplyCode::PRECONDITION_FAILED, text));
        if !no_ack {
            return refuse("reply consumer cannot acknowledge");
        }
        if self.open_channel(number)?.reply_queue.is_some() {
            return refuse("reply consumer already set");
        }
        let name = server_name(&format!("{REPLY_TO}."));
        let queue = self.vhost.add_reply_queue(&name, self.effects.now)?;
        self.open_channel(number)?.reply_queue = Some(Arc::clone(&queue));
        Ok(queue)
    }

    pub(super) fn cancel(&mut self, number: u16, cancel: basic::Cancel<'_>) -> Result<(), Exception> {
        if let Some(subscription) = self.open_channel(number)?.consumers.remove(cancel.consumer_tag) {
            self.cancel_subscription(&subscription);
            let of_replies = |queue: &mut Arc<Queue>| Arc::ptr_eq(queue, &subscription.queue);
            if let Some(queue) = self.open_channel(number)?.reply_queue.take_if(of_replies) {
                self.vhost.delete_reply_queue(&queue.name);
            }
        }
        if let Some(entry) = &self.open_channel(number)?.entry {
            entry.remove_consumer(cancel.consumer_tag);
        }
        self.answer(number, cancel.no_wait, basic::CancelOk { consumer_tag: cancel.consumer_tag });
        Ok(())
    }

    fn cancel_subscription(&mut self, subscription: &Subscription) {
        if subscription.queue.cancel(subscription.key, &mut self.effects) {
            self.vhost.delete_unused(&subscription.queue, self.effects.now);
        }
    }

    /// Ends the channel's part in each of its queues in one go: its consumers, and what it `held`.
    pub(super) fn leave_queues(&mut self, channel: &mut Channel, held: &[Out]) {
        let mut leaving: BTreeMap<u32, (Vec<ConsumerKey>, Vec<Receipt>)> = BTreeMap::new();
        for subscription in channel.consumers.values() {
            let index = channel.queues.index_of(&subscription.queue);
            leaving.entry(index).or_default().0.push(subscription.key);
        }
        for out in held {
            leaving.entry(out.queue).or_default().1.push(out.receipt);
        }
        for (index, (consumers, receipts)) in leaving {
            let Some(queue) = channel.queues.at(index) else { continue };
            if queue.leave(&consumers, &receipts, &mut self.effects) {
                self.vhost.delete_unused(queue, self.effects.now);
            }
        }
    }

    pub(super) fn get(&mut self, number: u16, get: basic::Get<'_>) -> Result<(), Exception> {
        let queue = self.queue_to_read(number, get.queue)?;
        let holder = self.holder(number)?;
        let Some(fetched) = self.vhost.get(&queue, get.no_ack, holder.as_ref(), &mut self.effects) else {
            self.open_channel(number)?.count(|counts| counts.get_empty.add(1));
            self.send(number, basic::GetEmpty { cluster_id: "" });
            return Ok(());
        };
        self.open_channel(number)?.count(|counts| {
            if get.no_ack { &counts.get_no_ack } else { &counts.get }.add(1);
            counts.redeliver.add(u64::from(fetched.redelivered));
        });
        // The channel remembers queues that something of it is out of, and no others.
        let index = if fetched.receipt.is_some() { self.index_of(number, &queue)? } else { 0 };
        let (exchange, routing_key) = split_route(&fetched.route);
        let mut buffer = self.outbox.lock();
        let tag = buffer
            .channels
            .get_mut(&number)
            .map(|deliveries| deliveries.number_fetched(index, fetched.receipt));
        let get_ok = basic::GetOk {
            delivery_tag: tag.unwrap_or_default(),
            redelivered: fetched.redelivered,
            exchange,
            routing_key,
            message_count: u32::try_from(fetched.remaining).unwrap_or(u32::MAX),
        };
        write_method(number, get_ok, &mut buffer.frames);
        write_content(number, (&fetched.properties, &fetched.body), self.frame_max, &mut buffer.frames);
        self.overfull = buffer.is_overfull();
        Ok(())
    }

    fn holder(&mut self, number: u16) -> Result<Option<Arc<dyn Holder>>, Exception> {
        let outbox = Arc::clone(&self.outbox);
        let Channel { entry: Some(entry), holder, .. } = self.open_channel(number)? else { return Ok(None) };
        let holder = holder.get_or_insert_with(|| ChannelHolder::new(number, entry, &outbox));
        Ok(Some(Arc::clone(holder) as Arc<dyn Holder>))
    }

    /// Takes note of an acknowledgement of either kind; tag and whether all before it are meant too.
    pub(super) fn settle_tag(
        &mut self,
        number: u16,
        (tag, multiple): (u64, bool),
        settlement: Settlement,
    ) -> Result<(), Exception> {
        if self.settling.channel != number || self.settling.settlement != Some(settlement) {
            self.settle();
            self.settling.channel = number;
            self.settling.settlement = Some(settlement);
        }
        let outs = &mut self.settling.outs;
        let before = outs.len();
        let known =
            self.outbox.lock().channels.get_mut(&number).is_some_and(|it| it.take(tag, multiple, outs));
        if !known {
            let text = format!("unknown delivery tag {tag}");
            return Err(Exception::new(ReplyCode::PRECONDITION_FAILED, text));
        }
        let taken = before..outs.len();
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        if settlement == Settlement::Acked {
            channel.count(|counts| counts.ack.add(taken.len() as u64));
        }
        if let Channel { mode: Mode::Transaction(transaction), entry, .. } = channel {
            entry.iter().for_each(|entry| entry.acks_uncommitted.add(taken.len() as u64));
            let outs: Vec<Out> = self.settling.outs.drain(taken).collect();
            if let Some(deliveries) = self.outbox.lock().channels.get_mut(&number) {
                deliveries.hold_until_commit(&outs);
            }
            transaction.settlements.push((outs, settlement));
        }
        Ok(())
    }

    /// Settles what has gathered.
    pub(super) fn settle(&mut self) {
        if self.settling.outs.is_empty() {
            return;
        }
        let Some(settlement) = self.settling.settlement else { return };
        if let Some(channel) = self.channels.get(&self.settling.channel) {
            settle_all(&channel.queues, &self.settling.outs, settlement, &mut self.effects);
        }
        self.settling.outs.clear();
        // Whoever asks next finds the dead letters where they belong.
        self.vhost.carry_out(&mut self.effects);
        self.outbox.resume_stalled(&mut self.effects);
    }

    /// What is given back or rejected comes before what is published after it, in queues and in the journal. Nobody can tell
    /// where acknowledgements come: they go on gathering.
    #[inline]
    pub(super) fn settle_before_publish(&mut self) {
        if self.settling.settlement != Some(Settlement::Acked) {
            self.settle();
        }
    }

    pub(super) fn recover(&mut self, number: u16, requeue: bool, answer: bool) -> Result<(), Exception> {
        if !requeue {
            return Err(Exception::new(ReplyCode::NOT_IMPLEMENTED, "requeue=false"));
        }
        let mut outs = Vec::new();
        self.deliveries(number, |deliveries| deliveries.take(0, true, &mut outs));
        // Before what comes again.
        self.answer(number, !answer, basic::RecoverOk {});
        let channel = self.channels.get(&number);
        if let Some(channel) = channel {
            settle_all(&channel.queues, &outs, Settlement::Requeued, &mut self.effects);
        }
        self.outbox.resume_stalled(&mut self.effects);
        Ok(())
    }

    /// The queue of that name, an empty name meaning the one declared last on the channel, for a client that wants its
    /// messages.
    pub(super) fn queue_to_read(&mut self, number: u16, name: &str) -> Result<Arc<Queue>, Exception> {
        let name = self.queue_name(number, name)?;
        Ok(self.vhost.queue_to_read(&name, &self.client)?)
    }

    pub(super) fn queue_name(&mut self, number: u16, name: &str) -> Result<String, Exception> {
        if !name.is_empty() {
            return Ok(name.into());
        }
        match self.open_channel(number)?.last_queue.as_str() {
            "" => Err(Exception::new(ReplyCode::NOT_FOUND, "no previously declared queue")),
            last => Ok(last.into()),
        }
    }
}

/// The `x-priority` of a consumer: any integer.
fn consumer_priority(queue: &Queue, consume: &basic::Consume<'_>) -> Result<i64, Exception> {
    let Some(value) = consume.arguments.find("x-priority") else { return Ok(0) };
    value.as_i64().ok_or_else(|| {
        let text = format!("invalid arg 'x-priority' for queue '{}': expected an integer", queue.name);
        Exception::new(ReplyCode::PRECONDITION_FAILED, text)
    })
}

/// A name that nobody else has.
pub(super) fn server_name(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::now_v7().simple())
}
