//! A queue: messages that wait, messages that are out, and the consumers they go to. Each queue has one lock,
//! and what it sets off elsewhere comes back as [`Effects`] once that lock is released.

mod arguments;
mod backlog;
mod chunk;
mod consumers;
mod rules;
mod state;
mod storage;
mod unacked;

use std::sync::Arc;
use std::task::Waker;

use leveret_amqp::FieldTable;
use leveret_store::{Lsn, StoreError};
use parking_lot::{Mutex, MutexGuard};

use self::backlog::Backlog;
use self::state::State;
pub(crate) use self::storage::{
    MessageMemory, PREFIX_BYTES, Persistence, QueueStorage, StoreHandle, stored_lens, stored_prefix,
};
use crate::dead_letter::DeadLetter;
use crate::timers::Timers;
use crate::{Applied, Error, Mailbox, Message, Time};

pub(crate) use self::arguments::{COMPARED_ARGUMENTS, check_properties};
pub use self::arguments::{check_operator_policy, check_policy};
pub use self::consumers::{Consume, ConsumerKey};
pub use self::rules::{DeadLetterStrategy, Overflow, QueueRules, QueueType, Window};
pub use self::unacked::Receipt;

/// Ready messages from which on a queue whose consumers are slower than its publishers asks these to pause.
pub const CONGESTED_READY: usize = 2000;
/// Ready messages below which paused publishers go on.
const RELAXED_READY: usize = 1000;
/// Messages let go of in one go, being expired or too many.
const LET_GO_AT_ONCE: usize = 1000;
/// Deliveries made in one go with the queue locked.
const RUN: u32 = 128;

/// A connection, as the owner of exclusive queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u64);

impl Owner {
    /// No connection: owner of nothing.
    pub const NOBODY: Self = Self(0);
}

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
    applied: Mutex<Applied>,
    timers: Option<Arc<Timers>>,
    /// Where its persistent messages are kept over a restart, where they are.
    durable: Option<StoreHandle>,
    state: Mutex<State>,
}

/// What an operation on a queue sets off elsewhere, to be carried out once no lock is held: by
/// [`Vhost::carry_out`](crate::Vhost::carry_out), then by [`Effects::flush`], and by the caller.
#[derive(Default)]
pub struct Effects {
    /// The time of all that is done with these effects.
    pub now: Time,
    /// Mailboxes that have something to send.
    pub mailboxes: Vec<Arc<dyn Mailbox>>,
    /// Queues that ask their publishers to pause.
    pub congested: Vec<Arc<Queue>>,
    /// What the store has to commit before what was published counts as kept; `None` where nothing was stored.
    pub position: Option<Lsn>,
    /// Why something that was to be stored was not.
    pub failure: Option<StoreError>,
    /// Whether a queue has refused the message, being full.
    pub rejected: bool,
    /// Messages on their way to a dead-letter exchange.
    pub(crate) dead: Vec<DeadLetter>,
    /// Queues that nobody has used for too long.
    pub(crate) unused: Vec<Arc<Queue>>,
}

/// The messages of a run that a queue has kept: those in `from..to`, numbered from `first_seq`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) first_seq: u64,
}

impl Effects {
    /// No effects yet, of something that is done at that time.
    #[must_use]
    pub fn at(now: Time) -> Self {
        Self { now, ..Self::default() }
    }

    /// Sends what has gathered in the mailboxes, and what that sets off.
    pub fn flush(&mut self) {
        // Consumers that go on now may be of any virtual host: what has expired is left to the queues' timers.
        let now = std::mem::take(&mut self.now);
        while let Some(mailbox) = self.mailboxes.pop() {
            mailbox.flush(self);
        }
        self.now = now;
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

impl Queue {
    /// An empty queue whose messages live in memory.
    #[must_use]
    pub fn new(name: Arc<str>, options: QueueOptions, rules: QueueRules) -> Self {
        Self::with_storage(name, options, rules, None, (None, Time::default()))
    }

    /// A queue with what the store has of it.
    pub(crate) fn with_storage(
        name: Arc<str>,
        options: QueueOptions,
        rules: QueueRules,
        storage: Option<QueueStorage>,
        (timers, now): (Option<Arc<Timers>>, Time),
    ) -> Self {
        let durable = storage.as_ref().filter(|storage| storage.durable).map(QueueStorage::handle);
        let rules = Arc::new(rules);
        let backlog = Backlog::new(Arc::clone(&rules), storage);
        let state = Mutex::new(State::new(Arc::clone(&name), Arc::clone(&rules), backlog, now));
        let applied = Mutex::default();
        Self { name, options, applied, timers, durable, state }
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<QueueRules> {
        Arc::clone(&self.lock().rules)
    }

    /// Puts other rules in force, for what waits too: messages expire by them, and too many are let go. What only
    /// arguments decide stays as it was declared.
    pub fn set_rules(self: &Arc<Self>, rules: QueueRules, effects: &mut Effects) {
        let state = &mut *self.lock();
        if state.deleted || *state.rules == rules {
            return;
        }
        state.set_rules(rules, effects.now);
        state.let_go(effects);
        self.arm(state);
    }

    /// The policies that apply to it.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// Notes which policies its rules are of.
    pub(crate) fn note_applied(&self, applied: Applied) {
        *self.applied.lock() = applied;
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
            return Kept { from: 0, to: 0, first_seq: 0 };
        }
        let from = state.hand_on(run, effects);
        let first_seq = state.backlog.next_seq();
        let refused = |message: &Message<'_>| !state.take(message, effects.now);
        let to = run[from..].iter().position(refused).map_or(run.len(), |taken| from + taken);
        for message in &run[to..] {
            state.reject(message, effects);
        }
        state.deliver(effects);
        state.let_go(effects);
        self.arm(state);
        state.backlog.page_out_if_large();
        if state.backlog.len() > CONGESTED_READY && state.consumers.len() > 0 {
            effects.congested.push(Arc::clone(self));
        }
        Kept { from, to, first_seq }
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
    pub fn cancel(self: &Arc<Self>, key: ConsumerKey, effects: &mut Effects) -> bool {
        let state = &mut *self.lock();
        let was_there = state.consumers.remove(key).is_some();
        state.last_used = effects.now;
        self.arm(state);
        state.wake_publishers_if_relaxed();
        was_there && self.options.auto_delete && state.consumers.len() == 0
    }

    /// Delivers to a consumer whose mailbox has room again.
    pub fn resume(self: &Arc<Self>, key: ConsumerKey, effects: &mut Effects) {
        let state = &mut *self.lock();
        state.consumers.resume(key);
        state.deliver(effects);
        self.arm(state);
    }

    /// Takes the first ready message.
    #[must_use]
    pub fn get(self: &Arc<Self>, no_ack: bool, effects: &mut Effects) -> Option<Fetched> {
        let state = &mut *self.lock();
        state.last_used = effects.now;
        let fetched = state.fetch(no_ack, effects);
        self.arm(state);
        fetched
    }

    /// Notes that somebody has declared it anew; false where it is gone.
    #[must_use]
    pub fn note_use(self: &Arc<Self>, effects: &mut Effects) -> bool {
        let state = &mut *self.lock();
        state.last_used = effects.now;
        self.arm(state);
        !state.deleted
    }

    /// Has the queue ticked then, or earlier.
    pub(crate) fn tick_at(self: &Arc<Self>, due: Time) {
        let state = &mut *self.lock();
        if let Some(timers) = &self.timers {
            state.timer = Some(timers.set(due, self, state.timer));
        }
    }

    /// Does what is due: lets expired messages go, and the queue itself where nobody has used it.
    pub(crate) fn tick(self: &Arc<Self>, effects: &mut Effects) {
        let state = &mut *self.lock();
        if state.deleted {
            return;
        }
        state.timer = None;
        state.let_go(effects);
        if state.unused_at() <= effects.now {
            effects.unused.push(Arc::clone(self));
            return;
        }
        self.arm(state);
    }

    /// Sees to it that the queue is ticked when it next has to.
    #[inline]
    fn arm(self: &Arc<Self>, state: &mut State) {
        let due = if state.is_over() {
            Time::default()
        } else {
            state.backlog.first_expiry().min(state.unused_at())
        };
        let earlier = due < Time::NEVER && state.timer.is_none_or(|(set, _)| due < set);
        if let Some(timers) = self.timers.as_ref().filter(|_| earlier) {
            state.timer = Some(timers.set(due, self, state.timer));
        }
    }

    /// Settles deliveries, all in one way. A receipt is good for one settlement.
    pub fn settle(self: &Arc<Self>, receipts: &[Receipt], settlement: Settlement, effects: &mut Effects) {
        let state = &mut *self.lock();
        for receipt in receipts {
            state.settle(*receipt, settlement, effects);
        }
        state.deliver(effects);
        if settlement == Settlement::Requeued {
            state.let_go(effects);
        }
        self.arm(state);
    }

    /// Drops all ready messages; returns how many.
    pub fn purge(&self) -> usize {
        let mut state = self.lock();
        let stored = state.unacked.iter().filter(|entry| entry.persistent || entry.on_disk);
        let out: Vec<u64> = stored.map(|entry| entry.seq).collect();
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
            unused_at: state.unused_at(),
        };
        if let Some(error) = keep(in_use) {
            return Err(error);
        }
        let ready = state.backlog.len();
        let mailboxes = state.consumers.drain().into_iter().map(|consumer| consumer.mailbox).collect();
        let paused = std::mem::take(&mut state.paused_publishers);
        state.backlog.delete_stored();
        let rules = Arc::clone(&state.rules);
        let nothing = Backlog::new(Arc::clone(&rules), None);
        *state =
            State { deleted: true, ..State::new(Arc::clone(&self.name), rules, nothing, state.last_used) };
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
    /// When it goes if nobody uses it.
    pub(crate) unused_at: Time,
}
