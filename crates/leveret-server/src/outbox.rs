//! What a connection has to send: frames in one buffer, filled by its own session and by the queues that deliver
//! to it, written by whoever comes first.
//!
//! Beside the buffer stands what has to change together with it: the delivery tags of each channel and what is
//! out under them. Lock order: a queue, then [`Outbox::lock`]; a flush takes no queue with the buffer locked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret_broker::{Channel, Connection, ConsumerKey, Effects, Receipt};
use parking_lot::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::consumer::Consumer;

/// Bytes waiting to be sent from which on no more is delivered until they are gone. Enough to keep the socket
/// busy, little enough to stay in the processor's cache.
const FULL_BYTES: usize = 512 << 10;
/// Times that a flush looks for more before it leaves the rest to the writer, so that no session is kept from its
/// own work by another connection's appetite.
const ROUNDS: usize = 4;
/// Capacity that an empty buffer keeps, in bytes.
const KEPT_BYTES: usize = 64 << 10;

/// The outbox of one connection.
pub(crate) struct Outbox {
    inner: Mutex<Buffer>,
    in_flight: Mutex<InFlight>,
    /// The socket, where any task may write to it; with TLS only the writer may.
    socket: Option<Arc<TcpStream>>,
    /// Wakes the writer.
    pub(crate) wake: Notify,
    /// Tells that all in flight was written, or that the outbox is closed.
    drained: Notify,
    /// Wakes the session: it has something to do that did not come from its client.
    pub(crate) session: Arc<Notify>,
    /// Whether somebody is in `overdue`.
    has_overdue: AtomicBool,
    /// Whether something was handed to the socket since the flag was last cleared.
    pub(crate) has_sent: AtomicBool,
    /// Whether something was taken from the buffer and is not wholly written. A flag of its own, because whoever
    /// locked `in_flight` to have a look would turn away a flush that nobody does afterwards.
    is_writing: AtomicBool,
}

/// Frames that wait, and the channels whose deliveries are among them.
pub(crate) struct Buffer {
    pub(crate) frames: Vec<u8>,
    /// The connection among those of the broker, once it is open.
    pub(crate) entry: Option<Arc<Connection>>,
    pub(crate) channels: FxHashMap<u16, Deliveries>,
    pub(crate) frame_max: u32,
    /// How many of the bytes in `frames` are deliveries, which stop by themselves.
    pub(crate) delivered_bytes: usize,
    /// Channels that hold something for too long.
    overdue: Vec<Overdue>,
    /// Consumers that found no room.
    pub(crate) stalled: Vec<(Arc<Consumer>, ConsumerKey)>,
    /// Somebody is going to flush.
    flush_owed: bool,
    pub(crate) closed: bool,
}

/// A channel that holds a message for longer than its queue allows: its end.
pub(crate) struct Overdue {
    pub(crate) channel: u16,
    /// Which of those that had this number.
    pub(crate) entry: Arc<Channel>,
    pub(crate) timeout_ms: u64,
}

#[derive(Default)]
struct InFlight {
    frames: Vec<u8>,
    sent: usize,
}

/// The deliveries of a channel.
pub(crate) struct Deliveries {
    /// The channel among those of the broker.
    pub(crate) entry: Arc<Channel>,
    next_tag: u64,
    out: VecDeque<Out>,
    settled_in_between: usize,
    /// Settlements that wait for their commit: until then they count as unsettled.
    uncommitted: usize,
    /// How many of those that are out were fetched by `basic.get`, which knows no prefetch.
    fetched: usize,
    /// Most unsettled deliveries on the whole channel, 0 for any number.
    pub(crate) prefetch: u32,
    /// False while the client has asked for silence by `channel.flow`.
    pub(crate) active: bool,
}

/// A delivery that is to be settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    tag: u64,
    /// Which of the channel's queues it is of.
    pub(crate) queue: u32,
    pub(crate) receipt: Receipt,
    settled: bool,
    fetched: bool,
}

impl Deliveries {
    pub(crate) fn new(entry: Arc<Channel>) -> Self {
        Self {
            entry,
            next_tag: 1,
            out: VecDeque::new(),
            settled_in_between: 0,
            uncommitted: 0,
            fetched: 0,
            prefetch: 0,
            active: true,
        }
    }

    fn unsettled(&self) -> usize {
        self.out.len() - self.settled_in_between - self.fetched
    }

    /// Brings up to date what is told of the channel.
    #[inline]
    fn note_unacked(&self) {
        self.entry.unacked.set((self.out.len() - self.settled_in_between) as u64);
    }

    /// Notes what was delivered under the tags from `first` on.
    #[inline]
    pub(crate) fn note_delivered(&self, first: u64, redelivered: u64, no_ack: bool) {
        let counts = &self.entry.counts;
        let count = if no_ack { &counts.deliver_no_ack } else { &counts.deliver };
        count.add(self.next_tag - first);
        counts.redeliver.add(redelivered);
        self.note_unacked();
    }

    /// The tag of the next delivery.
    pub(crate) fn next_tag(&self) -> u64 {
        self.next_tag
    }

    fn has_room(&self) -> bool {
        let counts = self.unsettled() + self.uncommitted;
        self.active && (self.prefetch == 0 || counts < self.prefetch as usize)
    }

    /// The queues that something is out of.
    pub(crate) fn queues_out(&self) -> impl Iterator<Item = u32> {
        self.out.iter().filter(|out| !out.settled).map(|out| out.queue)
    }

    /// The next delivery tag, and what is out under it.
    #[inline]
    pub(crate) fn number(&mut self, queue: u32, receipt: Option<Receipt>) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        if let Some(receipt) = receipt {
            self.out.push_back(Out { tag, queue, receipt, settled: false, fetched: false });
        }
        tag
    }

    /// The same for a message that was fetched.
    pub(crate) fn number_fetched(&mut self, queue: u32, receipt: Option<Receipt>) -> u64 {
        let tag = self.number(queue, receipt);
        if let Some(out) = self.out.back_mut().filter(|out| out.tag == tag) {
            out.fetched = true;
            self.fetched += 1;
        }
        self.note_unacked();
        tag
    }

    /// Takes out what is settled by `tag`, with `multiple` all before it too, tag 0 then meaning all. False
    /// where the tag is unknown.
    #[must_use]
    pub(crate) fn take(&mut self, tag: u64, multiple: bool, taken: &mut Vec<Out>) -> bool {
        let before = taken.len();
        let known = self.take_out(tag, multiple, taken);
        if self.fetched > 0 {
            self.fetched -= count_fetched(&taken[before..]);
        }
        self.note_unacked();
        known
    }

    /// Counts these, which were taken out, against the prefetch until their transaction ends.
    pub(crate) fn hold_until_commit(&mut self, taken: &[Out]) {
        self.uncommitted += taken.len() - count_fetched(taken);
    }

    /// The transaction has ended.
    pub(crate) fn end_transaction(&mut self) {
        self.uncommitted = 0;
    }

    fn take_out(&mut self, tag: u64, multiple: bool, taken: &mut Vec<Out>) -> bool {
        if multiple && tag == 0 {
            self.take_first(self.out.len(), taken);
            return true;
        }
        let Ok(at) = self.out.binary_search_by_key(&tag, |out| out.tag) else { return false };
        if self.out[at].settled {
            return false;
        }
        if multiple {
            self.take_first(at + 1, taken);
        } else {
            taken.push(self.out[at]);
            self.settle_at(at);
        }
        true
    }

    /// Takes out what is not settled of the first `count`.
    fn take_first(&mut self, count: usize, taken: &mut Vec<Out>) {
        let before = taken.len();
        if self.settled_in_between == 0 {
            // Copied in one piece, not one by one.
            let (front, back) = self.out.as_slices();
            let of_front = count.min(front.len());
            taken.extend_from_slice(&front[..of_front]);
            taken.extend_from_slice(&back[..count - of_front]);
            self.out.drain(..count);
        } else {
            taken.extend(self.out.drain(..count).filter(|out| !out.settled));
        }
        self.settled_in_between -= count - (taken.len() - before);
    }

    /// Undoes [`Deliveries::take`].
    pub(crate) fn put_back(&mut self, outs: Vec<Out>) {
        let others = std::mem::take(&mut self.out);
        let mut all: Vec<Out> = others.into_iter().filter(|out| !out.settled).chain(outs).collect();
        all.sort_by_key(|out| out.tag);
        self.fetched = count_fetched(&all);
        self.out = all.into();
        self.settled_in_between = 0;
        self.note_unacked();
    }

    fn settle_at(&mut self, at: usize) {
        self.out[at].settled = true;
        self.settled_in_between += 1;
        while self.out.front().is_some_and(|out| out.settled) {
            self.out.pop_front();
            self.settled_in_between -= 1;
        }
        if self.settled_in_between > 1024 && self.settled_in_between > self.out.len() / 2 {
            self.out.retain(|out| !out.settled);
            self.settled_in_between = 0;
        }
    }
}

fn count_fetched(outs: &[Out]) -> usize {
    outs.iter().filter(|out| out.fetched).count()
}

impl Buffer {
    /// Whether a delivery on that channel may be added.
    #[inline]
    pub(crate) fn has_room(frames: &[u8], deliveries: &Deliveries) -> bool {
        frames.len() < FULL_BYTES && deliveries.has_room()
    }

    /// Whether so many answers wait that no more should be added. Deliveries do not count: a client may publish
    /// before it reads them.
    pub(crate) fn is_overfull(&self) -> bool {
        self.frames.len() - self.delivered_bytes > 2 * FULL_BYTES
    }

    /// For whoever flushes: whether there is more to send, which is then his to send.
    fn goes_on(&mut self) -> bool {
        self.flush_owed = !self.frames.is_empty();
        self.flush_owed
    }

    /// Takes what waits, and leaves `empty` in its place.
    fn take_frames(&mut self, empty: Vec<u8>) -> Vec<u8> {
        self.flush_owed = false;
        self.delivered_bytes = 0;
        if let Some(entry) = &self.entry {
            entry.sent_bytes.add(self.frames.len() as u64);
            entry.sent.add(u64::from(!self.frames.is_empty()));
        }
        std::mem::replace(&mut self.frames, empty)
    }

    /// Notes that somebody has to flush; true where that is the caller.
    pub(crate) fn owe_flush(&mut self) -> bool {
        let newly = !self.flush_owed && !self.frames.is_empty();
        self.flush_owed |= newly;
        newly
    }
}

impl Outbox {
    /// An empty outbox, written by anybody where `socket` is there, else by the writer alone.
    pub(crate) fn new(socket: Option<Arc<TcpStream>>, frame_max: u32) -> Self {
        let inner = Buffer {
            frames: Vec::new(),
            entry: None,
            channels: FxHashMap::default(),
            frame_max,
            delivered_bytes: 0,
            overdue: Vec::new(),
            stalled: Vec::new(),
            flush_owed: false,
            closed: false,
        };
        Self {
            inner: Mutex::new(inner),
            in_flight: Mutex::default(),
            socket,
            wake: Notify::new(),
            session: Arc::default(),
            has_overdue: AtomicBool::new(false),
            drained: Notify::new(),
            has_sent: AtomicBool::new(false),
            is_writing: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.inner.lock()
    }

    /// Sends what has gathered as far as the socket takes it now; the writer is woken for the rest.
    pub(crate) fn flush(&self, effects: &mut Effects) {
        let Some(socket) = &self.socket else { return self.wake.notify_one() };
        for _ in 0..ROUNDS {
            // Whoever holds the lock looks at the buffer again after letting go of it.
            let Some(mut in_flight) = self.in_flight.try_lock() else { return };
            match self.write_some(socket, &mut in_flight) {
                Ok(true) => {}
                Ok(false) => return self.wake.notify_one(),
                Err(_) => return self.close(),
            }
            drop(in_flight);
            self.resume_stalled(effects);
            if !self.lock().goes_on() {
                return;
            }
        }
        self.wake.notify_one();
    }

    /// True when all that had gathered is written, false when the socket takes no more.
    fn write_some(&self, socket: &TcpStream, in_flight: &mut InFlight) -> std::io::Result<bool> {
        if in_flight.sent == in_flight.frames.len() && !self.take_frames(in_flight) {
            return Ok(true);
        }
        while in_flight.sent < in_flight.frames.len() {
            match socket.try_write(&in_flight.frames[in_flight.sent..]) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(n) => in_flight.sent += n,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            self.has_sent.store(true, Ordering::Relaxed);
        }
        self.note_drained();
        Ok(true)
    }

    /// Moves what has gathered into flight; false where there is nothing.
    fn take_frames(&self, in_flight: &mut InFlight) -> bool {
        in_flight.sent = 0;
        if in_flight.frames.capacity() > KEPT_BYTES
            && in_flight.frames.len() < in_flight.frames.capacity() / 4
        {
            in_flight.frames = Vec::new();
        }
        in_flight.frames.clear();
        let mut buffer = self.lock();
        in_flight.frames = buffer.take_frames(std::mem::take(&mut in_flight.frames));
        let is_some = !in_flight.frames.is_empty();
        self.is_writing.store(is_some, Ordering::Release);
        is_some
    }

    /// All that was taken is written.
    pub(crate) fn note_drained(&self) {
        self.is_writing.store(false, Ordering::Release);
        self.drained.notify_waiters();
    }

    /// For the writer of a connection with TLS: what has gathered, swapped for an empty buffer.
    pub(crate) fn take(&self, empty: Vec<u8>) -> Vec<u8> {
        let mut buffer = self.lock();
        let frames = buffer.take_frames(empty);
        self.is_writing.store(!frames.is_empty(), Ordering::Release);
        frames
    }

    /// Whether something waits for the socket.
    pub(crate) fn is_writing(&self) -> bool {
        self.is_writing.load(Ordering::Acquire)
    }

    /// Lets consumers go on that had no room and have it now. Whoever calls it flushes afterwards.
    pub(crate) fn resume_stalled(&self, effects: &mut Effects) {
        for (consumer, key) in self.take_resumable() {
            consumer.resume(key, effects);
        }
    }

    /// Has the session end a channel.
    pub(crate) fn note_overdue(&self, overdue: Overdue) {
        self.lock().overdue.push(overdue);
        self.has_overdue.store(true, Ordering::Release);
        self.session.notify_one();
    }

    /// The channels that hold something for too long.
    #[inline]
    pub(crate) fn take_overdue(&self) -> Vec<Overdue> {
        if !self.has_overdue.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.has_overdue.store(false, Ordering::Release);
        std::mem::take(&mut self.lock().overdue)
    }

    /// Whether [`Outbox::has_drained`] would return at once.
    pub(crate) fn has_drained_now(&self) -> bool {
        !self.lock().is_overfull()
    }

    /// Waits until the outbox is not overfull, or closed, so that a client which sends requests and does not read the
    /// answers has to wait for itself.
    pub(crate) async fn has_drained(&self) {
        loop {
            let drained = self.drained.notified();
            let goes_on = {
                let buffer = self.lock();
                buffer.closed || !buffer.is_overfull()
            };
            if goes_on {
                return;
            }
            drained.await;
        }
    }

    /// Waits until everything is handed to the socket, or the outbox is closed.
    pub(crate) async fn sent_all(&self) {
        loop {
            let drained = self.drained.notified();
            if self.is_closed() || (self.lock().frames.is_empty() && !self.is_writing()) {
                return;
            }
            drained.await;
        }
    }

    fn take_resumable(&self) -> Vec<(Arc<Consumer>, ConsumerKey)> {
        let mut buffer = self.lock();
        if buffer.stalled.is_empty() || buffer.frames.len() >= FULL_BYTES / 2 {
            return Vec::new();
        }
        // Else each delivery that this brings would ask for the flush that the caller does anyway.
        buffer.flush_owed = true;
        let Buffer { stalled, channels, .. } = &mut *buffer;
        let has_room = |consumer: &Consumer| channels.get(&consumer.channel).is_none_or(Deliveries::has_room);
        stalled.extract_if(.., |(consumer, _)| has_room(consumer)).collect()
    }

    /// Takes no deliveries any more, and drops what was not sent. What is out stays known: whoever ends the
    /// channels gives it back to its queues.
    pub(crate) fn close(&self) {
        let mut buffer = self.lock();
        buffer.closed = true;
        buffer.take_frames(Vec::new());
        buffer.stalled.clear();
        drop(buffer);
        self.wake.notify_one();
        self.drained.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }
}
