//! A queue: messages that wait, messages that are out, and the consumers they go to. Each queue has one lock,
//! and what it sets off elsewhere comes back as [`Effects`] once that lock is released.

mod arguments;
mod backlog;
mod chunk;
mod consumers;
mod counts;
mod deduplication;
mod delivery;
mod effects;
mod entry;
mod group;
mod look;
mod overdue;
mod ready;
mod rules;
mod state;
mod storage;
mod to_store;
mod unacked;
mod undelivered;
mod unread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use leveret_amqp::FieldTable;
use parking_lot::{Condvar, Mutex, MutexGuard};

use self::effects::Kept;
use self::state::State;
pub(crate) use self::storage::{
    Keeps, LEVEL_SHIFT, PREFIX_BYTES, Persistence, QueueStorage, StoreHandle, level_id, stored_lens,
    stored_prefix,
};
pub(crate) use self::to_store::ToStore;
use crate::dead_letter::DeadLetter;
use crate::timers::Timers;
use crate::{Applied, Error, Holder, Mailbox, Message, Time};

pub(crate) use self::arguments::{COMPARED_ARGUMENTS, check_properties};
pub use self::arguments::{check_operator_policy, check_policy};
pub use self::consumers::{Consume, ConsumerKey, ConsumerState};
pub use self::counts::{Peeked, QueueCounts, QueueStats};
pub use self::effects::Effects;
pub use self::group::Group;
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
    /// Whether it is noted among those that something has happened to.
    has_moved: AtomicBool,
    /// Where its persistent messages are kept over a restart, where they are.
    durable: Option<StoreHandle>,
    /// Whether that is so for all of its messages.
    stores_all: bool,
    /// Whether each message has to be looked at by itself: for its priority, or for what it is called.
    one_by_one: bool,
    state: Mutex<State>,
    /// Told when a message whose duplicates wait for it is in the journal.
    arrived: Condvar,
}

/// How deliveries are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done with: `basic.ack`.
    Acked,
    /// To be delivered again, from its old place: `requeue`.
    Requeued,
    /// As that, but whoever gives it back has only looked at it: where returns are counted this is none.
    PutBack,
    /// Not wanted: `basic.reject` or `basic.nack` without `requeue`.
    Rejected,
}

impl Settlement {
    fn gives_back(self) -> bool {
        matches!(self, Self::Requeued | Self::PutBack)
    }
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
        let durable = storage.as_ref().filter(|storage| storage.is_durable()).map(QueueStorage::handle);
        let stores_all = rules.queue_type == QueueType::Quorum;
        let one_by_one = rules.max_priority > 0 || rules.deduplication.is_some();
        let mut state = State::new(Arc::clone(&name), Arc::new(rules), storage, now);
        if let (Some(known), Some(handle)) = (&mut state.deduplication, &durable) {
            known.restore(handle, now);
        }
        let state = Mutex::new(state);
        let applied = Mutex::default();
        Self {
            name,
            options,
            applied,
            timers,
            has_moved: AtomicBool::new(false),
            durable,
            stores_all,
            one_by_one,
            state,
            arrived: Condvar::new(),
        }
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

    /// Takes the messages in their order, and hands on what consumers take now; `keep` is told which it has kept. What is
    /// to be kept over a restart is not stored by this, see [`Route::publish`](crate::Route::publish).
    #[inline]
    pub(crate) fn publish(
        self: &Arc<Self>,
        run: &[Message<'_>],
        effects: &mut Effects,
        mut keep: impl FnMut(Kept),
    ) {
        if !self.one_by_one {
            return keep(self.publish_run(run, effects));
        }
        for (at, message) in run.iter().enumerate() {
            let kept = self.publish_one(message, effects);
            keep(Kept { from: kept.from + at, to: kept.to + at, ..kept });
        }
    }

    fn publish_run(self: &Arc<Self>, run: &[Message<'_>], effects: &mut Effects) -> Kept {
        let state = &mut *self.lock();
        if state.deleted {
            effects.gone = true;
            return Kept::NOTHING;
        }
        self.take_run(state, 0, run, effects)
    }

    fn publish_one(self: &Arc<Self>, message: &Message<'_>, effects: &mut Effects) -> Kept {
        let state = &mut *self.lock();
        if state.deleted {
            effects.gone = true;
            return Kept::NOTHING;
        }
        let now = effects.now;
        let name = state.deduplication.as_ref().and_then(|it| it.name(message, &self.name, now));
        if let (Some(known), Some(name)) = (&state.deduplication, &name)
            && known.knows(name, now)
        {
            state.counts.duplicates += 1;
            name.note_duplicate(self, effects);
            return Kept::NOTHING;
        }
        let level = state.ready.level_of(message);
        let refused = state.counts.refused;
        let kept = self.take_run(state, level, std::slice::from_ref(message), effects);
        // A publisher that is refused may try again.
        if let (Some(known), Some(name)) = (&mut state.deduplication, name)
            && state.counts.refused == refused
        {
            let name = known.remember(name, now);
            if self.durable.is_some() && (self.stores_all || message.persistent) {
                known.note_on_its_way(name, self, effects);
            }
        }
        kept
    }

    /// A message whose duplicates wait for it is in the journal, or never will be.
    fn note_arrived(&self, name: &[u8]) {
        if let Some(known) = &mut self.lock().deduplication {
            known.note_arrived(name);
        }
        self.arrived.notify_all();
    }

    /// A duplicate is kept once the message that was published before it is. Where the store refuses that one, so is
    /// the duplicate.
    fn confirm_duplicate(&self, name: &[u8], effects: &mut Effects) {
        let Some(handle) = &self.durable else { return };
        let mut state = self.lock();
        while state.deduplication.as_ref().is_some_and(|known| known.is_on_its_way(name)) {
            self.arrived.wait(&mut state);
            effects.rejected |= state.deduplication.as_ref().is_some_and(|known| known.has_forgotten(name));
        }
        drop(state);
        match handle.position() {
            Ok(position) => effects.position = Some(position),
            Err(error) => effects.failure = Some(error),
        }
    }

    #[inline]
    fn take_run(
        self: &Arc<Self>,
        state: &mut State,
        level: u8,
        run: &[Message<'_>],
        effects: &mut Effects,
    ) -> Kept {
        state.note_busy(effects.now);
        let from = state.hand_on(run, effects);
        let first_seq = state.ready.next_seq(level);
        let refused = |message: &Message<'_>| !state.take(level, message, effects.now);
        let to = run[from..].iter().position(refused).map_or(run.len(), |taken| from + taken);
        state.counts.published += to as u64;
        for message in &run[to..] {
            state.reject(message, effects);
        }
        state.deliver(effects);
        state.let_go(effects);
        self.arm(state);
        state.ready.page_out_if_large();
        if state.ready.len() > CONGESTED_READY && state.consumers.len() > 0 {
            effects.congested.push(Arc::clone(self));
        }
        Kept { from, to, first_seq, level, all: self.stores_all }
    }

    /// The store has refused these messages, which the queue has kept: they live in memory alone, and may be published
    /// again.
    pub(crate) fn note_unstored(&self, kept: Kept, refused: &[Message<'_>]) {
        let state = &mut *self.lock();
        if let Some(known) = &mut state.deduplication {
            refused.iter().for_each(|message| known.forget(message, &self.name));
        }
        let seqs = kept.first_seq..kept.first_seq + (kept.to - kept.from) as u64;
        let State { ready, unacked, .. } = state;
        ready.note_unstored(kept.level, seqs.clone());
        for entry in unacked.iter_mut().filter(|it| it.level == kept.level && seqs.contains(&it.seq)) {
            ready.note_unstored_out(entry);
        }
    }

    /// Adds a consumer. It gets its first delivery after [`Queue::resume`], so that the client can be answered
    /// before.
    ///
    /// # Errors
    /// `AccessRefused` where another consumer is exclusive, or this one wants to be and is not alone, or the queue has
    /// a single active consumer anyway.
    pub fn consume(&self, consume: Consume) -> Result<ConsumerKey, Error> {
        let mut state = self.lock();
        if state.deleted {
            return Err(Error::not_found(format!("no queue '{}'", self.name)));
        }
        let refuses_exclusive = state.consumers.is_single() || state.consumers.len() > 0;
        if state.consumers.any_exclusive() || (consume.exclusive && refuses_exclusive) {
            return Err(Error::refused(format!("queue '{}' in exclusive use", self.name)));
        }
        state.had_consumer = true;
        Ok(state.consumers.add(consume))
    }

    /// Takes a consumer away; what it holds stays out. True where the queue is now to be deleted, being
    /// auto-delete.
    #[must_use]
    pub fn cancel(self: &Arc<Self>, key: ConsumerKey, effects: &mut Effects) -> bool {
        self.leave(&[key], &[], effects)
    }

    /// Takes consumers away and gives back what was `held`, and only then delivers: whoever takes over gets all of it in its
    /// order. True where the queue is now to be deleted, being auto-delete.
    #[must_use]
    pub fn leave(
        self: &Arc<Self>,
        consumers: &[ConsumerKey],
        held: &[Receipt],
        effects: &mut Effects,
    ) -> bool {
        let state = &mut *self.lock();
        let before = state.consumers.len();
        for key in consumers {
            state.consumers.remove(*key);
            state.last_used = effects.now;
        }
        let has_lost_some = state.consumers.len() < before;
        self.settle_in(state, held, Settlement::Requeued, effects);
        has_lost_some && self.options.auto_delete && state.consumers.len() == 0
    }

    /// Delivers to a consumer whose mailbox has room again.
    pub fn resume(self: &Arc<Self>, key: ConsumerKey, effects: &mut Effects) {
        let state = &mut *self.lock();
        state.note_busy(effects.now);
        state.consumers.resume(key);
        state.deliver(effects);
        self.arm(state);
    }

    /// Takes the first ready message, for a holder who is told when it is held for too long; none where so many before it have
    /// expired that these have to be dealt with first, see [`Vhost::get`](crate::Vhost::get).
    #[must_use]
    pub fn get(
        self: &Arc<Self>,
        no_ack: bool,
        holder: Option<&Arc<dyn Holder>>,
        effects: &mut Effects,
    ) -> Option<Fetched> {
        let state = &mut *self.lock();
        state.last_used = effects.now;
        state.note_busy(effects.now);
        let fetched = state.fetch(no_ack, holder, effects);
        self.arm(state);
        fetched
    }

    /// Whether the first message has expired.
    pub(crate) fn is_expiring(&self, now: Time) -> bool {
        self.lock().ready.first_expiry() <= now
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
        state.retry_dead(effects);
        state.note_overdue(effects);
        // What could not be read before, or stood behind what has expired, may go on now.
        if state.ready.read_failed() || state.stopped_short {
            state.note_busy(effects.now);
            state.deliver(effects);
        }
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
        self.note_moved();
        let due = state.next_due();
        // One that is deleted must not be held on to.
        let is_due = due < Time::NEVER && !state.deleted;
        let earlier = is_due && state.timer.is_none_or(|(set, _)| due < set);
        if let Some(timers) = self.timers.as_ref().filter(|_| earlier) {
            state.timer = Some(timers.set(due, self, state.timer));
        }
    }

    /// Notes for the statistics that something has happened to it.
    #[inline]
    fn note_moved(self: &Arc<Self>) {
        if self.has_moved.load(Ordering::Relaxed) {
            return;
        }
        if let Some(timers) = &self.timers {
            // Set before it is noted: whoever takes it from the list at once clears it afterwards.
            self.has_moved.store(true, Ordering::Relaxed);
            if !timers.moved.note(self) {
                self.has_moved.store(false, Ordering::Relaxed);
            }
        }
    }

    /// What happens from now on is to be noted again.
    pub(crate) fn note_looked_at(&self) {
        self.has_moved.store(false, Ordering::Relaxed);
    }

    /// Settles deliveries, all in one way. A receipt is good for one settlement.
    pub fn settle(self: &Arc<Self>, receipts: &[Receipt], settlement: Settlement, effects: &mut Effects) {
        self.settle_in(&mut self.lock(), receipts, settlement, effects);
    }

    fn settle_in(
        self: &Arc<Self>,
        state: &mut State,
        receipts: &[Receipt],
        settlement: Settlement,
        effects: &mut Effects,
    ) {
        state.note_busy(effects.now);
        for receipt in receipts {
            state.settle(*receipt, settlement, effects);
        }
        if settlement.gives_back()
            && let Some(overdue) = &mut state.overdue
        {
            overdue.forget_returned(&state.unacked);
        }
        state.deliver(effects);
        if settlement.gives_back() {
            state.let_go(effects);
        }
        self.arm(state);
    }

    /// Drops all ready messages, but not the dead letters that wait for a target; returns how many.
    pub fn purge(self: &Arc<Self>) -> usize {
        let state = &mut *self.lock();
        self.note_moved();
        let count = state.ready.clear(state.unacked.iter(), &state.stored_dead());
        state.wake_publishers_if_relaxed();
        count
    }

    /// Notes what was delivered, before the store is closed in order.
    pub(crate) fn note_delivered(&self) {
        self.lock().ready.note_delivered();
    }

    /// Whether publishers should still pause; if so, `waker` is woken when they need not any more. Whoever does not wait for that
    /// says so by [`Queue::end_pause`].
    #[must_use]
    pub fn is_congested(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        let congested = !state.deleted && !state.is_relaxed();
        if congested && !state.paused_publishers.iter().any(|other| other.will_wake(waker)) {
            state.paused_publishers.push(waker.clone());
        }
        congested
    }

    /// Forgets a publisher that goes on, woken or not.
    pub fn end_pause(&self, waker: &Waker) {
        self.lock().paused_publishers.retain(|other| !other.will_wake(waker));
    }

    /// Ends the queue unless `keep` says why not. Returns how many ready messages went with it, and the
    /// mailboxes to be told. Only for the topology that drops the queue with it.
    pub(crate) fn delete(
        &self,
        keep: impl FnOnce(QueueUse) -> Option<Error>,
    ) -> Result<(usize, Vec<Arc<dyn Mailbox>>), Error> {
        let mut state = self.lock();
        let ready = state.ready.len();
        let in_use = QueueUse {
            ready,
            consumers: state.consumers.len(),
            had_consumer: state.had_consumer,
            unused_at: state.unused_at(),
        };
        if let Some(error) = keep(in_use) {
            return Err(error);
        }
        let mailboxes = state.consumers.drain().into_iter().map(|consumer| consumer.mailbox).collect();
        let paused = std::mem::take(&mut state.paused_publishers);
        state.ready.delete_stored();
        if let (Some(timers), Some(set)) = (&self.timers, state.timer.take()) {
            timers.unset(set);
        }
        if let (Some(_), Some(handle)) = (&state.deduplication, &self.durable) {
            handle.delete_names();
        }
        let rules = Arc::clone(&state.rules);
        *state = State { deleted: true, ..State::new(Arc::clone(&self.name), rules, None, state.last_used) };
        paused.into_iter().for_each(Waker::wake);
        Ok((ready, mailboxes))
    }

    /// Takes a dead letter back that nobody has taken.
    pub(crate) fn keep_dead(self: &Arc<Self>, letter: DeadLetter, now: Time) {
        let state = &mut *self.lock();
        if !state.deleted {
            state.keep_dead(letter, now);
            self.arm(state);
        }
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
