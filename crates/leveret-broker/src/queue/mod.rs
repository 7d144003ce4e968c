//! A queue: messages that wait, messages that are out, and the consumers they go to. Each queue has one lock,
//! and what it sets off elsewhere comes back as [`Effects`] once that lock is released.

mod backlog;
mod chunk;
mod consumers;
mod storage;
mod unacked;

use std::sync::Arc;
use std::task::Waker;

use leveret_amqp::FieldTable;
use leveret_store::{Lsn, StoreError};
use parking_lot::{Mutex, MutexGuard};

use self::backlog::Backlog;
use self::consumers::Consumers;
pub(crate) use self::storage::{MessageMemory, Persistence, QueueStorage, StoreHandle, stored_prefix};
use self::unacked::Unacked;
use crate::{Delivery, Error, Inbox, Mailbox, Message};

pub use self::consumers::{Consume, ConsumerKey};
pub use self::unacked::Receipt;

/// Ready messages from which on a queue whose consumers are slower than its publishers asks these to pause.
pub const CONGESTED_READY: usize = 2000;
/// Ready messages below which paused publishers go on.
const RELAXED_READY: usize = 1000;
/// Deliveries made in one go with the queue locked.
const RUN: u32 = 128;

/// A connection, as the owner of exclusive queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u64);

/// What a queue is declared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueOptions {
    /// Whether it outlives the broker's process.
    pub durable: bool,
    /// The only connection that may use it, and with which it goes.
    pub exclusive: Option<Owner>,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// The `x-` arguments.
    pub arguments: FieldTable,
}

/// A queue. Shared between its virtual host, the routes that lead to it, and its consumers.
pub struct Queue {
    /// Its name, unique in the virtual host.
    pub name: Arc<str>,
    /// What it was declared with.
    pub options: QueueOptions,
    /// Where its persistent messages are kept over a restart, where they are.
    durable: Option<StoreHandle>,
    state: Mutex<State>,
}

/// What an operation on a queue sets off elsewhere. To be carried out by [`Effects::flush`] and by the caller
/// once no lock is held.
#[derive(Default)]
pub struct Effects {
    /// Mailboxes that have something to send.
    pub mailboxes: Vec<Arc<dyn Mailbox>>,
    /// Queues that ask their publishers to pause.
    pub congested: Vec<Arc<Queue>>,
    /// What the store has to commit before what was published counts as kept; `None` where nothing was stored.
    pub position: Option<Lsn>,
    /// Why something that was to be stored was not.
    pub failure: Option<StoreError>,
}

/// The messages of a run that a queue has kept: those from `from` on, numbered from `first_seq`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) from: usize,
    pub(crate) first_seq: u64,
}

impl Effects {
    /// Sends what has gathered in the mailboxes, and what that sets off.
    pub fn flush(&mut self) {
        while let Some(mailbox) = self.mailboxes.pop() {
            mailbox.flush(self);
        }
    }
}

/// How deliveries are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done with: `basic.ack`.
    Acked,
    /// To be delivered again, from its old place: `requeue`.
    Requeued,
    /// Not wanted: `basic.reject` or `basic.nack` without `requeue`.
    Rejected,
}

/// A message fetched by `basic.get`.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What to settle it by; `None` where it was fetched without acknowledgement.
    pub receipt: Option<Receipt>,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// Exchange and routing key as two short strings.
    pub route: Vec<u8>,
    /// Property flags and values, encoded.
    pub properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// Messages that are still ready.
    pub remaining: usize,
}

struct State {
    backlog: Backlog,
    unacked: Unacked,
    consumers: Consumers,
    paused_publishers: Vec<Waker>,
    /// Deliveries since the queue was declared.
    delivered: u64,
    had_consumer: bool,
    deleted: bool,
}

impl Queue {
    /// An empty queue whose messages live in memory.
    #[must_use]
    pub fn new(name: Arc<str>, options: QueueOptions) -> Self {
        Self::with_storage(name, options, None)
    }

    /// A queue with what the store has of it.
    pub(crate) fn with_storage(name: Arc<str>, options: QueueOptions, storage: Option<QueueStorage>) -> Self {
        let durable = storage.as_ref().filter(|storage| storage.durable).map(QueueStorage::handle);
        Self { name, options, durable, state: Mutex::new(State::new(Backlog::new(storage))) }
    }

    /// Where its persistent messages are kept over a restart.
    pub(crate) fn durable(&self) -> Option<&StoreHandle> {
        self.durable.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Takes the messages in their order, and hands on what consumers take now. What is to be kept over a restart is
    /// not stored by this, see [`Route::publish`](crate::Route::publish).
    pub(crate) fn publish(self: &Arc<Self>, run: &[Message<'_>], effects: &mut Effects) -> Kept {
        let state = &mut *self.lock();
        if state.deleted {
            return Kept { from: run.len(), first_seq: 0 };
        }
        let from = state.hand_on(run, effects);
        let first_seq = state.backlog.next_seq();
        for message in &run[from..] {
            state.backlog.push(message);
        }
        state.deliver(effects);
        if state.backlog.len() > CONGESTED_READY {
            state.backlog.page_out_if_large();
            if state.consumers.len() > 0 {
                effects.congested.push(Arc::clone(self));
            }
        }
        Kept { from, first_seq }
    }

    /// Adds a consumer. It gets its first delivery after [`Queue::resume`], so that the client can be answered
    /// before.
    ///
    /// # Errors
    /// `AccessRefused` where another consumer is exclusive, or this one wants to be and is not alone.
    pub fn consume(&self, consume: Consume) -> Result<ConsumerKey, Error> {
        let mut state = self.lock();
        if state.deleted {
            return Err(Error::not_found(format!("no queue '{}'", self.name)));
        }
        if state.consumers.any_exclusive() || (consume.exclusive && state.consumers.len() > 0) {
            return Err(Error::refused(format!("queue '{}' in exclusive use", self.name)));
        }
        state.had_consumer = true;
        Ok(state.consumers.add(consume))
    }

    /// Takes a consumer away; what it holds stays out. True where the queue is now to be deleted, being
    /// auto-delete.
    #[must_use]
    pub fn cancel(&self, key: ConsumerKey) -> bool {
        let mut state = self.lock();
        let was_there = state.consumers.remove(key).is_some();
        state.wake_publishers_if_relaxed();
        was_there && self.options.auto_delete && state.consumers.len() == 0
    }

    /// Delivers to a consumer whose mailbox has room again.
    pub fn resume(&self, key: ConsumerKey, effects: &mut Effects) {
        let mut state = self.lock();
        state.consumers.resume(key);
        state.deliver(effects);
    }

    /// Takes the first ready message.
    #[must_use]
    pub fn get(&self, no_ack: bool) -> Option<Fetched> {
        self.lock().fetch(no_ack)
    }

    /// Settles deliveries, all in one way. A receipt is good for one settlement.
    pub fn settle(&self, receipts: &[Receipt], settlement: Settlement, effects: &mut Effects) {
        let mut state = self.lock();
        for receipt in receipts {
            state.settle(*receipt, settlement);
        }
        state.deliver(effects);
    }

    /// Drops all ready messages; returns how many.
    pub fn purge(&self) -> usize {
        let mut state = self.lock();
        let out: Vec<u64> = state.unacked.iter().map(|entry| entry.seq).collect();
        let count = state.backlog.clear(&out);
        state.wake_publishers_if_relaxed();
        count
    }

    /// Messages that wait to be delivered.
    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.lock().backlog.len()
    }

    /// Messages that are delivered and not settled.
    #[must_use]
    pub fn unacked_count(&self) -> usize {
        self.lock().unacked.len()
    }

    /// Consumers it has now.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.lock().consumers.len()
    }

    /// Deliveries it has made since it was declared.
    #[must_use]
    pub fn delivered_count(&self) -> u64 {
        self.lock().delivered
    }

    /// Notes what was delivered, before the store is closed in order.
    pub(crate) fn note_delivered(&self) {
        self.lock().backlog.note_delivered();
    }

    /// Whether publishers should still pause; if so, `waker` is woken when they need not any more.
    #[must_use]
    pub fn is_congested(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        let congested = !state.deleted && !state.is_relaxed();
        if congested && !state.paused_publishers.iter().any(|other| other.will_wake(waker)) {
            state.paused_publishers.push(waker.clone());
        }
        congested
    }

    /// Ends the queue unless `keep` says why not. Returns how many ready messages went with it, and the
    /// mailboxes to be told. Only for the topology that drops the queue with it.
    pub(crate) fn delete(
        &self,
        keep: impl FnOnce(QueueUse) -> Option<Error>,
    ) -> Result<(usize, Vec<Arc<dyn Mailbox>>), Error> {
        let mut state = self.lock();
        let in_use = QueueUse {
            ready: state.backlog.len(),
            consumers: state.consumers.len(),
            had_consumer: state.had_consumer,
        };
        if let Some(error) = keep(in_use) {
            return Err(error);
        }
        let ready = state.backlog.len();
        let mailboxes = state.consumers.drain().into_iter().map(|consumer| consumer.mailbox).collect();
        let paused = std::mem::take(&mut state.paused_publishers);
        state.backlog.delete_stored();
        *state = State { deleted: true, ..State::new(Backlog::new(None)) };
        paused.into_iter().for_each(Waker::wake);
        Ok((ready, mailboxes))
    }
}

/// What speaks for or against deleting a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueUse {
    pub(crate) ready: usize,
    pub(crate) consumers: usize,
    pub(crate) had_consumer: bool,
}

impl State {
    fn new(backlog: Backlog) -> Self {
        Self {
            backlog,
            unacked: Unacked::default(),
            consumers: Consumers::default(),
            paused_publishers: Vec::new(),
            delivered: 0,
            had_consumer: false,
            deleted: false,
        }
    }

    /// Hands messages straight to a consumer that neither acknowledges nor has anything waiting before them;
    /// returns how many. They are never stored.
    #[inline]
    fn hand_on(&mut self, run: &[Message<'_>], effects: &mut Effects) -> usize {
        if !self.backlog.is_empty() {
            return 0;
        }
        let mut handed_on = 0;
        while handed_on < run.len() {
            let Some((key, consumer, alone)) = self.consumers.next() else { break };
            if !consumer.no_ack {
                break;
            }
            let turn = if alone { &run[handed_on..] } else { &run[handed_on..=handed_on] };
            let mut taken = 0;
            let owed = consumer.mailbox.open(key, &mut |inbox| {
                while taken < turn.len() && inbox.has_room() {
                    inbox.put(&handed_over(&turn[taken]));
                    taken += 1;
                }
            });
            if owed {
                effects.mailboxes.push(Arc::clone(&consumer.mailbox));
            }
            handed_on += taken;
            self.delivered += taken as u64;
            self.consumers.turn_over(key, taken as u32, taken < turn.len());
        }
        handed_on
    }

    /// Delivers what waits to the consumers that take it, in turn.
    #[inline]
    fn deliver(&mut self, effects: &mut Effects) {
        while !self.backlog.is_empty() {
            let Self { backlog, unacked, consumers, .. } = self;
            let Some((key, consumer, alone)) = consumers.next() else { break };
            let turn = if alone { consumer.credit().min(RUN) } else { 1 };
            let no_ack = consumer.no_ack;
            let mut taken = 0;
            let mut stalled = true;
            let owed = consumer.mailbox.open(key, &mut |inbox| {
                stalled = false;
                while taken < turn {
                    if !inbox.has_room() {
                        stalled = true;
                        break;
                    }
                    if !deliver_one(backlog, unacked, (!no_ack).then_some(key), inbox) {
                        break;
                    }
                    taken += 1;
                }
            });
            if owed {
                effects.mailboxes.push(Arc::clone(&consumer.mailbox));
            }
            self.delivered += u64::from(taken);
            self.consumers.turn_over(key, taken, stalled);
            if taken == 0 && !stalled {
                // What is paged out cannot be read now.
                break;
            }
        }
        self.backlog.settle_stored();
        self.wake_publishers_if_relaxed();
    }

    fn fetch(&mut self, no_ack: bool) -> Option<Fetched> {
        let entry = self.backlog.pop()?;
        self.delivered += 1;
        let parts = self.backlog.parts(&entry);
        let mut fetched = Fetched {
            receipt: None,
            redelivered: entry.redelivered,
            route: parts.route.to_vec(),
            properties: parts.properties.to_vec(),
            body: parts.body.to_vec(),
            remaining: self.backlog.len(),
        };
        if no_ack {
            self.backlog.release(entry);
            self.backlog.settle_stored();
        } else {
            fetched.receipt = Some(self.unacked.insert(entry, None));
        }
        Some(fetched)
    }

    #[inline]
    fn settle(&mut self, receipt: Receipt, settlement: Settlement) {
        let Some(held) = self.unacked.remove(receipt) else { return };
        if let Some(consumer) = held.consumer {
            self.consumers.settled(consumer);
        }
        match settlement {
            Settlement::Acked | Settlement::Rejected => self.backlog.release(held.entry),
            Settlement::Requeued => self.backlog.put_back(held.entry),
        }
    }

    fn wake_publishers_if_relaxed(&mut self) {
        if !self.paused_publishers.is_empty() && self.is_relaxed() {
            self.paused_publishers.drain(..).for_each(Waker::wake);
        }
    }

    /// Whether publishers need not wait for consumers, be it that these keep up or that there are none.
    fn is_relaxed(&self) -> bool {
        self.backlog.len() <= RELAXED_READY || self.consumers.len() == 0
    }
}

fn handed_over<'a>(message: &Message<'a>) -> Delivery<'a> {
    Delivery {
        receipt: None,
        redelivered: false,
        route: message.route,
        properties: message.properties,
        body: message.body,
    }
}

/// Delivers the first waiting message, to be settled where `consumer` names who will. False where none waits.
#[inline]
fn deliver_one(
    backlog: &mut Backlog,
    unacked: &mut Unacked,
    consumer: Option<ConsumerKey>,
    inbox: &mut dyn Inbox,
) -> bool {
    let Some(entry) = backlog.pop() else { return false };
    let redelivered = entry.redelivered;
    let parts = backlog.parts(&entry);
    let delivery = Delivery {
        receipt: None,
        redelivered,
        route: parts.route,
        properties: parts.properties,
        body: parts.body,
    };
    match consumer {
        None => {
            inbox.put(&delivery);
            backlog.release(entry);
        }
        Some(key) => {
            // The delivery borrows the entry, so it is put before the entry moves into the slab.
            let receipt = unacked.next_receipt(entry.seq);
            inbox.put(&Delivery { receipt: Some(receipt), ..delivery });
            unacked.insert(entry, Some(key));
        }
    }
    true
}
