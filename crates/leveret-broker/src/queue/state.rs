//! What a queue's lock guards: the messages that wait, those that are out, the consumers, and the moves between them.

use std::sync::{Arc, Weak};
use std::task::Waker;

use super::consumers::{ConsumerKey, Consumers};
use super::counts::QueueCounts;
use super::deduplication::Deduplication;
use super::delivery::counted;
use super::entry::Entry;
use super::overdue::Overdue;
use super::ready::Ready;
use super::rules::{Overflow, QueueRules, QueueType};
use super::storage::QueueStorage;
use super::unacked::{Receipt, Unacked};
use super::undelivered::{RETRY_MS, Undelivered};
use super::{Effects, Fetched, LET_GO_AT_ONCE, RELAXED_READY, RUN, Settlement};
use crate::dead_letter::{DeadLetter, Reason};
use crate::timers::TimerKey;
use crate::{Delivery, Holder, Inbox, Message, Time};

pub(super) struct State {
    pub(super) name: Arc<str>,
    pub(super) rules: Arc<QueueRules>,
    pub(super) ready: Ready,
    pub(super) unacked: Unacked,
    pub(super) consumers: Consumers,
    pub(super) paused_publishers: Vec<Waker>,
    pub(super) counts: QueueCounts,
    /// When somebody last declared it, fetched from it or ceased to consume.
    pub(super) last_used: Time,
    /// When it was last busy, as far as the time was known.
    pub(super) last_busy: Time,
    /// When the queue is going to be ticked.
    pub(super) timer: Option<TimerKey>,
    pub(super) had_consumer: bool,
    pub(super) deleted: bool,
    /// Whether consumers wait for what stands behind messages that have expired or may have: the next tick goes on.
    pub(super) stopped_short: bool,
    /// Of those queues that have a consumer timeout.
    pub(super) overdue: Option<Box<Overdue>>,
    /// Of those that know duplicates.
    pub(super) deduplication: Option<Box<Deduplication>>,
    /// Dead letters that nobody has taken.
    pub(super) undelivered: Option<Box<Undelivered>>,
}

impl State {
    pub(super) fn new(
        name: Arc<str>,
        rules: Arc<QueueRules>,
        storage: Option<QueueStorage>,
        now: Time,
    ) -> Self {
        Self {
            name,
            ready: Ready::new(&rules, storage),
            unacked: Unacked::default(),
            consumers: Consumers::new(rules.single_active_consumer),
            paused_publishers: Vec::new(),
            counts: QueueCounts::default(),
            last_used: now,
            last_busy: now,
            timer: None,
            had_consumer: false,
            deleted: false,
            stopped_short: false,
            overdue: rules.consumer_timeout_ms.map(|_| Box::default()),
            deduplication: rules.deduplication.map(|window| Box::new(Deduplication::new(window))),
            undelivered: None,
            rules,
        }
    }

    /// Notes that something happens.
    #[inline]
    pub(super) fn note_busy(&mut self, now: Time) {
        self.last_busy = self.last_busy.max(now);
    }

    /// When the queue goes if nobody uses it.
    pub(super) fn unused_at(&self) -> Time {
        match self.rules.expires_ms {
            Some(ms) if self.consumers.len() == 0 => self.last_used.plus_ms(ms),
            _ => Time::NEVER,
        }
    }

    /// When the queue next has something to do by itself.
    #[inline]
    pub(super) fn next_due(&mut self) -> Time {
        let holds_back = self.holds_back();
        // What cannot be read now cannot be let go of either, be it too much or not.
        let goes_on = self.stopped_short || (self.is_over() && !holds_back);
        if goes_on && !self.ready.read_failed() {
            return Time::default();
        }
        let expiry = if holds_back { Time::NEVER } else { self.ready.first_expiry() };
        let due = expiry.min(self.unused_at());
        let rarely = [self.retry_read_at(), self.retry_dead_at(), self.overdue_at()];
        rarely.into_iter().fold(due, Time::min)
    }

    /// What could not be read is tried again although nobody asks for it.
    #[inline]
    fn retry_read_at(&self) -> Time {
        if self.ready.read_failed() { self.last_busy.plus_ms(RETRY_MS) } else { Time::NEVER }
    }

    #[inline]
    fn retry_dead_at(&self) -> Time {
        self.undelivered.as_ref().map_or(Time::NEVER, |undelivered| undelivered.retry_at)
    }

    #[inline]
    fn overdue_at(&mut self) -> Time {
        match (&mut self.overdue, self.rules.consumer_timeout_ms) {
            (Some(overdue), Some(ms)) => overdue.next_due(&self.unacked, ms),
            _ => Time::NEVER,
        }
    }

    /// Puts other rules in force. An unused queue is so from now on, if it is to go by the new ones.
    pub(super) fn set_rules(&mut self, rules: QueueRules, now: Time) {
        if rules.expires_ms != self.rules.expires_ms {
            self.last_used = now;
        }
        match (rules.consumer_timeout_ms, &mut self.overdue) {
            (Some(_), None) => self.overdue = Some(Box::default()),
            (None, Some(_)) => self.overdue = None,
            _ => {}
        }
        let ttl_is_other = rules.message_ttl_ms != self.rules.message_ttl_ms;
        self.rules = Arc::new(rules);
        let Self { ready, unacked, rules, .. } = self;
        ready.set_rules(rules);
        if ttl_is_other {
            unacked.iter_mut().for_each(|entry| ready.renew(entry));
        }
    }

    /// Whether more waits than may, so that the oldest have to go. A queue that refuses messages keeps what it has, also
    /// where more came back than there is room for.
    #[inline]
    pub(super) fn is_over(&mut self) -> bool {
        let has_limit = self.rules.max_length.is_some() || self.rules.max_length_bytes.is_some();
        if !has_limit || self.rules.overflow != Overflow::DropHead {
            return false;
        }
        let bytes = self.limited_bytes();
        self.rules.is_over(self.ready.len(), bytes)
    }

    /// Bytes that count for `x-max-length-bytes`; 0 where there is no such limit.
    fn limited_bytes(&mut self) -> u64 {
        if self.rules.max_length_bytes.is_some() { self.ready.limited_bytes() } else { 0 }
    }

    /// Takes a message into the row; false where the queue is full, and of those that then take no more.
    #[inline]
    pub(super) fn take(&mut self, level: u8, message: &Message<'_>, now: Time) -> bool {
        if self.rules.may_reject() {
            // What it cannot get rid of takes its room too, as in RabbitMQ.
            let (dead, dead_bytes) =
                self.undelivered.as_ref().map_or((0, 0), |it| (it.len(), it.body_bytes()));
            let bytes = self.limited_bytes() + dead_bytes + message.body.len() as u64;
            if self.rules.is_over(self.ready.len() + dead + 1, bytes) {
                return false;
            }
        }
        self.ready.push(level, message, now);
        true
    }

    pub(super) fn reject(&mut self, message: &Message<'_>, effects: &mut Effects) {
        effects.rejected = true;
        self.counts.refused += 1;
        if self.rules.overflow == Overflow::RejectPublishDlx && self.rules.dead_letter_exchange.is_some() {
            effects.dead.push(DeadLetter {
                queue: Arc::clone(&self.name),
                rules: Arc::clone(&self.rules),
                reason: Reason::MaxLength,
                record: message.to_record(),
                route_len: message.route.len(),
                properties_len: message.properties.len(),
                is_owed: false,
                stored: None,
                taken_by: None,
            });
        }
    }

    /// Whether so many dead letters wait for somebody who takes them that what expires or is too many stays in the row.
    #[inline]
    pub(super) fn holds_back(&self) -> bool {
        self.undelivered.as_ref().is_some_and(|undelivered| undelivered.len() >= LET_GO_AT_ONCE)
    }

    /// Lets go of the first messages while they have waited long enough or are too many.
    #[inline]
    pub(super) fn let_go(&mut self, effects: &mut Effects) {
        if !self.holds_back() {
            self.let_expired_go(effects);
            self.let_too_many_go(effects);
        }
        self.ready.settle_stored();
    }

    /// A bounded number: the queue is ticked again for the rest.
    #[inline]
    fn let_expired_go(&mut self, effects: &mut Effects) {
        for _ in 0..LET_GO_AT_ONCE {
            if self.ready.first_expiry() > effects.now {
                break;
            }
            let Some(entry) = self.ready.pop() else { break };
            self.dead_letter(entry, Reason::Expired, effects);
        }
    }

    #[inline]
    fn let_too_many_go(&mut self, effects: &mut Effects) {
        for _ in 0..LET_GO_AT_ONCE {
            if !self.is_over() {
                break;
            }
            let Some(entry) = self.ready.pop() else { break };
            self.dead_letter(entry, Reason::MaxLength, effects);
        }
    }

    /// A message that the queue is done with although nobody wanted it.
    pub(super) fn dead_letter(&mut self, entry: Entry, reason: Reason, effects: &mut Effects) {
        match reason {
            Reason::Rejected => self.counts.rejected += 1,
            Reason::Expired => self.counts.expired += 1,
            Reason::MaxLength => self.counts.dropped += 1,
            Reason::DeliveryLimit => self.counts.over_delivery_limit += 1,
        }
        if self.rules.dead_letter_exchange.is_none() {
            return self.ready.release(entry);
        }
        let parts = self.ready.parts(&entry);
        let (route_len, properties_len) = (parts.route.len(), parts.properties.len());
        let (record, stored) = self.ready.bury(&entry);
        let (queue, rules) = (Arc::clone(&self.name), Arc::clone(&self.rules));
        effects.dead.push(DeadLetter {
            queue,
            rules,
            reason,
            record,
            route_len,
            properties_len,
            is_owed: true,
            stored,
            taken_by: None,
        });
    }

    /// Keeps a dead letter that nobody has taken, to try again later.
    pub(super) fn keep_dead(&mut self, letter: DeadLetter, now: Time) {
        self.undelivered.get_or_insert_default().keep(letter, now);
    }

    /// Priorities and numbers of the dead letters that the store has and nobody has taken.
    pub(super) fn stored_dead(&self) -> Vec<(u8, u64)> {
        self.undelivered.iter().flat_map(|undelivered| undelivered.stored()).collect()
    }

    /// Sends dead letters that nobody has taken once more, by the rules that are in force now.
    pub(super) fn retry_dead(&mut self, effects: &mut Effects) {
        if self.retry_dead_at() > effects.now {
            return;
        }
        let Some(mut undelivered) = self.undelivered.take() else { return };
        effects.dead.extend(undelivered.take(self, effects.now));
        self.undelivered = (undelivered.len() > 0).then_some(undelivered);
    }

    /// Has those told that hold something for too long.
    pub(super) fn note_overdue(&mut self, effects: &mut Effects) {
        let (Some(overdue), Some(timeout_ms)) = (&mut self.overdue, self.rules.consumer_timeout_ms) else {
            return;
        };
        let late = overdue.take_due(&self.unacked, timeout_ms, effects.now);
        effects.overdue.extend(late.into_iter().map(|holder| (holder, timeout_ms)));
    }

    /// Hands messages straight to a consumer that neither acknowledges nor has anything waiting before them;
    /// returns how many. They are never stored.
    #[inline]
    pub(super) fn hand_on(&mut self, run: &[Message<'_>], effects: &mut Effects) -> usize {
        // What a full queue takes does not depend on who waits for it.
        if !self.ready.is_empty() || self.rules.may_reject() {
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
            self.counts.delivered_no_ack += taken as u64;
            self.consumers.turn_over(key, taken as u32, taken < turn.len());
        }
        handed_on
    }

    /// Delivers what waits to the consumers that take it, in turn. What has expired is let go of instead, a bounded number;
    /// where the time is not known, nothing that expires some time is touched. The next tick goes on from there.
    #[inline]
    pub(super) fn deliver(&mut self, effects: &mut Effects) {
        let (late, mut may_go) = match effects.now {
            Time(0) => (Time::NEVER, 0),
            now => (now, LET_GO_AT_ONCE),
        };
        self.stopped_short = false;
        while !self.ready.is_empty() && !self.stopped_short {
            let Self { ready, unacked, consumers, overdue, counts, stopped_short, .. } = self;
            let Some((key, consumer, alone)) = consumers.next() else { break };
            let turn = if alone { consumer.credit().min(RUN) } else { 1 };
            let no_ack = consumer.no_ack;
            let mut taken = 0;
            let mut stalled = true;
            let mut expired = Vec::new();
            let owed = consumer.mailbox.open(key, &mut |inbox| {
                stalled = false;
                while taken < turn {
                    if !inbox.has_room() {
                        stalled = true;
                        break;
                    }
                    let Some(entry) = ready.pop() else { break };
                    // One that expires this moment is in time for a consumer that takes it at once.
                    if entry.expires < late {
                        if expired.len() == may_go {
                            ready.undo_pop(entry);
                            *stopped_short = true;
                            break;
                        }
                        expired.push(entry);
                        continue;
                    }
                    counts.redelivered += u64::from(entry.redelivered);
                    let receipt = deliver_one(entry, (ready, unacked), (!no_ack).then_some(key), inbox);
                    if let (Some(overdue), Some(receipt)) = (overdue.as_mut(), receipt) {
                        overdue.note(receipt, Weak::clone(&consumer.holder), effects.now);
                    }
                    taken += 1;
                }
            });
            if owed {
                effects.mailboxes.push(Arc::clone(&consumer.mailbox));
            }
            *(if no_ack { &mut counts.delivered_no_ack } else { &mut counts.delivered }) += u64::from(taken);
            self.consumers.turn_over(key, taken, stalled);
            let none_found = taken == 0 && expired.is_empty();
            may_go -= expired.len();
            expired.into_iter().for_each(|entry| self.dead_letter(entry, Reason::Expired, effects));
            if none_found && !stalled {
                // What is paged out cannot be read now, or it has to wait for the tick.
                break;
            }
        }
        self.ready.settle_stored();
        self.ready.note_memory();
        self.wake_publishers_if_relaxed();
    }

    /// Takes the first message, for somebody to hold it if it is to be settled; none where too many before it have expired
    /// to be let go of at once.
    pub(super) fn fetch(
        &mut self,
        no_ack: bool,
        holder: Option<&Arc<dyn Holder>>,
        effects: &mut Effects,
    ) -> Option<Fetched> {
        if self.holds_back() {
            // What has expired is not held back from whoever wants what stands behind it.
            self.let_expired_go(effects);
        }
        self.let_go(effects);
        if self.ready.first_expiry() <= effects.now {
            return None;
        }
        let entry = self.ready.pop()?;
        self.counts.redelivered += u64::from(entry.redelivered);
        let parts = self.ready.parts(&entry);
        let properties = counted(&entry, parts.properties);
        let mut fetched = Fetched {
            receipt: None,
            redelivered: entry.redelivered,
            route: parts.route.to_vec(),
            properties: properties.unwrap_or_else(|| parts.properties.to_vec()),
            body: parts.body.to_vec(),
            remaining: self.ready.len(),
        };
        if no_ack {
            self.counts.got_no_ack += 1;
            self.ready.release(entry);
            self.ready.settle_stored();
        } else {
            self.counts.got += 1;
            let (receipt, _) = self.unacked.insert(entry, None);
            fetched.receipt = Some(receipt);
            if let (Some(overdue), Some(holder)) = (&mut self.overdue, holder) {
                overdue.note(receipt, Arc::downgrade(holder), effects.now);
            }
        }
        Some(fetched)
    }

    #[inline]
    pub(super) fn settle(&mut self, receipt: Receipt, settlement: Settlement, effects: &mut Effects) {
        let Some(held) = self.unacked.remove(receipt) else { return };
        if let Some(consumer) = held.consumer {
            self.consumers.settled(consumer);
        }
        match settlement {
            Settlement::Acked => {
                self.counts.acked += 1;
                self.ready.release(held.entry);
            }
            Settlement::Rejected => self.dead_letter(held.entry, Reason::Rejected, effects),
            Settlement::Requeued => self.requeue(held.entry, effects),
            Settlement::PutBack => {
                self.counts.requeued += 1;
                self.ready.put_back(held.entry);
            }
        }
    }

    fn requeue(&mut self, mut entry: Entry, effects: &mut Effects) {
        self.counts.requeued += 1;
        if self.rules.queue_type == QueueType::Quorum {
            entry.returns = entry.returns.saturating_add(1);
            if self.rules.delivery_limit.is_some_and(|limit| u64::from(entry.returns) > limit) {
                return self.dead_letter(entry, Reason::DeliveryLimit, effects);
            }
            self.ready.store_returns(&entry);
        }
        self.ready.put_back(entry);
    }

    pub(super) fn wake_publishers_if_relaxed(&mut self) {
        if !self.paused_publishers.is_empty() && self.is_relaxed() {
            self.paused_publishers.drain(..).for_each(Waker::wake);
        }
    }

    /// Whether publishers need not wait for consumers, be it that these keep up or that there are none.
    pub(super) fn is_relaxed(&self) -> bool {
        self.ready.len() <= RELAXED_READY || self.consumers.len() == 0
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

/// Delivers a message, to be settled where `consumer` names who will: by the receipt returned.
#[inline]
fn deliver_one(
    entry: Entry,
    (ready, unacked): (&mut Ready, &mut Unacked),
    consumer: Option<ConsumerKey>,
    inbox: &mut dyn Inbox,
) -> Option<Receipt> {
    let Some(key) = consumer else {
        put(&entry, ready, None, inbox);
        ready.release(entry);
        return None;
    };
    let (receipt, entry) = unacked.insert(entry, Some(key));
    put(entry, ready, Some(receipt), inbox);
    Some(receipt)
}

// Inlined, as what it calls: it happens once a message, and the calls cost more than what they do.
#[inline(always)]
fn put(entry: &Entry, ready: &Ready, receipt: Option<Receipt>, inbox: &mut dyn Inbox) {
    let parts = ready.parts(entry);
    let counted = counted(entry, parts.properties);
    inbox.put(&Delivery {
        receipt,
        redelivered: entry.redelivered,
        route: parts.route,
        properties: counted.as_deref().unwrap_or(parts.properties),
        body: parts.body,
    });
}
