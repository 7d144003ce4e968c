//! A consumer as its connection sees it: the mailbox that turns deliveries into frames. And a channel as the holder of what
//! it was given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use leveret_amqp::{
    ContentHeader, FrameKind, basic, begin_frame, end_frame, write_body_frames, write_method, write_shortstr,
};
use leveret_broker::{Channel, ConsumerKey, Delivery, Effects, Holder, Inbox, Mailbox, Queue};

use crate::outbox::{Buffer, Deliveries, Outbox, Overdue};

/// A consumer on a channel.
pub(crate) struct Consumer {
    pub(crate) channel: u16,
    pub(crate) tag: String,
    queue: Weak<Queue>,
    no_ack: bool,
    /// Its channel among those of the broker.
    entry: Arc<Channel>,
    /// Which of the channel's queues it consumes from.
    queue_index: u32,
    outbox: Arc<Outbox>,
    /// `basic.deliver` up to the delivery tag.
    method_start: Vec<u8>,
    /// Whether the client wants to hear of a queue that goes.
    notify_cancel: bool,
    /// Changed with the outbox locked, as is `answered`.
    cancelled: AtomicBool,
    /// Whether the client knows of the consumer yet.
    answered: AtomicBool,
    me: Weak<Self>,
}

impl Consumer {
    pub(crate) fn new(
        (channel, tag): (u16, &str),
        (queue, queue_index): (&Arc<Queue>, u32),
        outbox: &Arc<Outbox>,
        (entry, no_ack): (&Arc<Channel>, bool),
        notify_cancel: bool,
    ) -> Arc<Self> {
        let mut method_start = vec![0, 60, 0, 60];
        write_shortstr(tag, &mut method_start);
        Arc::new_cyclic(|me| Self {
            channel,
            tag: tag.into(),
            queue: Arc::downgrade(queue),
            no_ack,
            entry: Arc::clone(entry),
            queue_index,
            outbox: Arc::clone(outbox),
            method_start,
            notify_cancel,
            cancelled: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            me: Weak::clone(me),
        })
    }

    /// Whether its queue is gone.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// The client has been answered; that the queue is gone already, it hears now.
    pub(crate) fn note_answered(&self, buffer: &mut Buffer) {
        self.answered.store(true, Ordering::Relaxed);
        if self.is_cancelled() {
            self.write_cancel(buffer);
        }
    }

    /// A channel that is closed meanwhile hears nothing more.
    fn write_cancel(&self, buffer: &mut Buffer) {
        if self.notify_cancel && buffer.channels.contains_key(&self.channel) {
            let cancel = basic::Cancel { consumer_tag: &self.tag, no_wait: true };
            write_method(self.channel, cancel, &mut buffer.frames);
        }
    }

    /// Asks its queue for what waits.
    pub(crate) fn resume(&self, key: ConsumerKey, effects: &mut Effects) {
        if let Some(queue) = self.queue.upgrade() {
            queue.resume(key, effects);
        }
    }
}

/// A channel as the holder of what it was given.
pub(crate) struct ChannelHolder {
    channel: u16,
    entry: Arc<Channel>,
    outbox: Arc<Outbox>,
}

impl ChannelHolder {
    pub(crate) fn new(channel: u16, entry: &Arc<Channel>, outbox: &Arc<Outbox>) -> Arc<Self> {
        Arc::new(Self { channel, entry: Arc::clone(entry), outbox: Arc::clone(outbox) })
    }
}

impl Holder for ChannelHolder {
    fn overdue(&self, timeout_ms: u64) {
        let (channel, entry) = (self.channel, Arc::clone(&self.entry));
        self.outbox.note_overdue(Overdue { channel, entry, timeout_ms });
    }
}

impl Mailbox for Consumer {
    #[inline]
    fn open(&self, key: ConsumerKey, fill: &mut dyn FnMut(&mut dyn Inbox)) -> bool {
        let mut buffer = self.outbox.lock();
        let buffer = &mut *buffer;
        if buffer.closed {
            return false;
        }
        let Some(deliveries) = buffer.channels.get_mut(&self.channel) else { return false };
        let mut inbox = OpenBox {
            consumer: self,
            frames: &mut buffer.frames,
            deliveries,
            frame_max: buffer.frame_max,
            refused: false,
            redelivered: 0,
        };
        let (before, first) = (inbox.frames.len(), inbox.deliveries.next_tag());
        fill(&mut inbox);
        inbox.deliveries.note_delivered(first, inbox.redelivered, self.no_ack);
        let (refused, delivered_bytes) = (inbox.refused, inbox.frames.len() - before);
        buffer.delivered_bytes += delivered_bytes;
        if refused {
            buffer.stalled.extend(self.me.upgrade().map(|me| (me, key)));
        }
        buffer.owe_flush()
    }

    fn flush(&self, effects: &mut Effects) {
        self.outbox.flush(effects);
    }

    fn cancelled(&self, _queue: &Arc<Queue>) {
        let mut buffer = self.outbox.lock();
        self.cancelled.store(true, Ordering::Release);
        self.entry.remove_consumer(&self.tag);
        if self.answered.load(Ordering::Relaxed) {
            self.write_cancel(&mut buffer);
        }
        drop(buffer);
        let mut effects = Effects::default();
        self.outbox.flush(&mut effects);
        effects.flush();
    }
}

struct OpenBox<'a> {
    consumer: &'a Consumer,
    frames: &'a mut Vec<u8>,
    deliveries: &'a mut Deliveries,
    frame_max: u32,
    refused: bool,
    redelivered: u64,
}

impl Inbox for OpenBox<'_> {
    #[inline]
    fn has_room(&mut self) -> bool {
        let has_room = Buffer::has_room(self.frames, self.deliveries);
        self.refused |= !has_room;
        has_room
    }

    #[inline]
    fn put(&mut self, delivery: &Delivery<'_>) {
        let channel = self.consumer.channel;
        self.redelivered += u64::from(delivery.redelivered);
        let tag = self.deliveries.number(self.consumer.queue_index, delivery.receipt);
        self.frames.reserve(
            self.consumer.method_start.len()
                + delivery.route.len()
                + delivery.properties.len()
                + delivery.body.len()
                + 64,
        );
        let start = begin_frame(FrameKind::Method, channel, self.frames);
        self.frames.extend_from_slice(&self.consumer.method_start);
        self.frames.extend_from_slice(&tag.to_be_bytes());
        self.frames.push(u8::from(delivery.redelivered));
        self.frames.extend_from_slice(delivery.route);
        end_frame(start, self.frames);
        write_content(channel, (delivery.properties, delivery.body), self.frame_max, self.frames);
    }
}

/// Appends a content header and the body in frames of at most `frame_max` bytes.
#[inline]
pub(crate) fn write_content(
    channel: u16,
    (properties, body): (&[u8], &[u8]),
    frame_max: u32,
    frames: &mut Vec<u8>,
) {
    ContentHeader { body_size: body.len() as u64, properties }.write_frame(channel, frames);
    write_body_frames(channel, body, frame_max, frames);
}
