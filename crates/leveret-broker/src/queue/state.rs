//! What a queue's lock guards: the messages that wait, those that are out, the consumers, and the moves between them.

use std::sync::Arc;
use std::task::Waker;

use super::backlog::{Backlog, Entry};
use super::consumers::{ConsumerKey, Consumers};
use super::rules::{Overflow, QueueRules};
use super::unacked::{Receipt, Unacked};
use super::{Effects, Fetched, LET_GO_AT_ONCE, RELAXED_READY, RUN, Settlement};
use crate::dead_letter::{DeadLetter, Reason};
use crate::timers::TimerKey;
use crate::{Delivery, Inbox, Message, Time};

pub(super) struct State {
    pub(super) name: Arc<str>,
    pub(super) rules: Arc<QueueRules>,
    pub(super) backlog: Backlog,
    pub(super) unacked: Unacked,
    pub(super) consumers: Consumers,
    pub(super) paused_publishers: Vec<Waker>,
    /// Deliveries since the queue was declared.
    pub(super) delivered: u64,
    /// When somebody last declared it, fetched from it or ceased to consume.
    pub(super) last_used: Time,
    /// When the queue is going to be ticked.
    pub(super) timer: Option<TimerKey>,
    pub(super) had_consumer: bool,
    pub(super) deleted: bool,
}

impl State {
    pub(super) fn new(name: Arc<str>, rules: Arc<QueueRules>, backlog: Backlog, now: Time) -> Self {
        Self {
            name,
            rules,
            last_used: now,
            timer: None,
            backlog,
            unacked: Unacked::default(),
            consumers: Consumers::default(),
            paused_publishers: Vec::new(),
            delivered: 0,
            had_consumer: false,
            deleted: false,
        }
    }

    /// When the queue goes if nobody uses it.
    pub(super) fn unused_at(&self) -> Time {
        match self.rules.expires_ms {
            Some(ms) if self.consumers.len() == 0 => self.last_used.plus_ms(ms),
            _ => Time::NEVER,
        }
    }

    /// Puts other rules in force. An unused queue is so from now on, if it is to go by the new ones.
    pub(super) fn set_rules(&mut self, rules: QueueRules, now: Time) {
        if rules.expires_ms != self.rules.expires_ms {
            self.last_used = now;
        }
        self.rules = Arc::new(rules);
        self.backlog.set_rules(&self.rules);
    }

    /// Whether more waits than may.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.rules.is_over(self.backlog.len(), self.backlog.ready_bytes())
    }

    /// Takes a message into the row; false where the queue is full, and of those that then take no more.
    #[inline]
    pub(super) fn take(&mut self, message: &Message<'_>, now: Time) -> bool {
        if self.rules.may_reject() {
            let bytes = self.backlog.ready_bytes() + message.body.len() as u64;
            if self.rules.is_over(self.backlog.len() + 1, bytes) {
                return false;
            }
        }
        self.backlog.push(message, now);
        true
    }

    pub(super) fn reject(&mut self, message: &Message<'_>, effects: &mut Effects) {
        effects.rejected = true;
        if self.rules.overflow == Overflow::RejectPublishDlx && self.rules.dead_letter_exchange.is_some() {
            effects.dead.push(DeadLetter {
                queue: Arc::clone(&self.name),
                rules: Arc::clone(&self.rules),
                reason: Reason::MaxLength,
                record: message.to_record(),
                route_len: message.route.len(),
                properties_len: message.properties.len(),
                stored: None,
            });
        }
    }

    /// Lets go of the first messages while they have waited long enough or are too many.
    #[inline]
    pub(super) fn let_go(&mut self, effects: &mut Effects) {
        // A bounded number: the queue is ticked again for the rest.
        for _ in 0..LET_GO_AT_ONCE {
            if self.backlog.first_expiry() > effects.now {
                break;
            }
            let Some(entry) = self.backlog.pop() else { break };
            self.dead_letter(entry, Reason::Expired, effects);
        }
        for _ in 0..LET_GO_AT_ONCE {
            if !self.is_over() {
                break;
            }
            let Some(entry) = self.backlog.pop() else { break };
            self.dead_letter(entry, Reason::MaxLength, effects);
        }
        self.backlog.settle_stored();
    }

    /// A message that the queue is done with although nobody wanted it.
    pub(super) fn dead_letter(&mut self, entry: Entry, reason: Reason, effects: &mut Effects) {
        if self.rules.dead_letter_exchange.is_none() {
            return self.backlog.release(entry);
        }
        let parts = self.backlog.parts(&entry);
        let (route_len, properties_len) = (parts.route.len(), parts.properties.len());
        let (record, stored) = self.backlog.bury(&entry);
        let (queue, rules) = (Arc::clone(&self.name), Arc::clone(&self.rules));
        effects.dead.push(DeadLetter { queue, rules, reason, record, route_len, properties_len, stored });
    }

    /// Hands messages straight to a consumer that neither acknowledges nor has anything waiting before them;
    /// returns how many. They are never stored.
    #[inline]
    pub(super) fn hand_on(&mut self, run: &[Message<'_>], effects: &mut Effects) -> usize {
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
    pub(super) fn deliver(&mut self, effects: &mut Effects) {
        while !self.backlog.is_empty() {
            let Self { backlog, unacked, consumers, .. } = self;
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
                    let Some(entry) = backlog.pop() else { break };
                    if entry.expires <= effects.now && expired.len() < LET_GO_AT_ONCE {
                        expired.push(entry);
                        continue;
                    }
                    deliver_one(entry, (backlog, unacked), (!no_ack).then_some(key), inbox);
                    taken += 1;
                }
            });
            if owed {
                effects.mailboxes.push(Arc::clone(&consumer.mailbox));
            }
            self.delivered += u64::from(taken);
            self.consumers.turn_over(key, taken, stalled);
            let none_found = taken == 0 && expired.is_empty();
            expired.into_iter().for_each(|entry| self.dead_letter(entry, Reason::Expired, effects));
            if none_found && !stalled {
                // What is paged out cannot be read now.
                break;
            }
        }
        self.backlog.settle_stored();
        self.backlog.note_memory();
        self.wake_publishers_if_relaxed();
    }

    pub(super) fn fetch(&mut self, no_ack: bool, effects: &mut Effects) -> Option<Fetched> {
        self.let_go(effects);
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
    pub(super) fn settle(&mut self, receipt: Receipt, settlement: Settlement, effects: &mut Effects) {
        let Some(held) = self.unacked.remove(receipt) else { return };
        if let Some(consumer) = held.consumer {
            self.consumers.settled(consumer);
        }
        match settlement {
            Settlement::Acked => self.backlog.release(held.entry),
            Settlement::Rejected => self.dead_letter(held.entry, Reason::Rejected, effects),
            Settlement::Requeued => self.backlog.put_back(held.entry),
        }
    }

    pub(super) fn wake_publishers_if_relaxed(&mut self) {
        if !self.paused_publishers.is_empty() && self.is_relaxed() {
            self.paused_publishers.drain(..).for_each(Waker::wake);
        }
    }

    /// Whether publishers need not wait for consumers, be it that these keep up or that there are none.
    pub(super) fn is_relaxed(&self) -> bool {
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

/// Delivers a message, to be settled where `consumer` names who will.
#[inline]
fn deliver_one(
    entry: Entry,
    (backlog, unacked): (&mut Backlog, &mut Unacked),
    consumer: Option<ConsumerKey>,
    inbox: &mut dyn Inbox,
) {
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
}
