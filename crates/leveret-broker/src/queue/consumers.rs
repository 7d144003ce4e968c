//! The consumers of a queue, and which of them is next: those that take deliveries now stand in a rotation, the
//! others wait for a settlement or for room in their mailbox. The rotation is sorted by priority, and goes round among
//! equals. Of a queue with a single active consumer only that one ever stands in it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::{Holder, Mailbox};

/// A consumer at its queue. Never given twice by one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerKey {
    slot: u32,
    generation: u32,
}

/// What a consumer asks for.
pub struct Consume {
    /// Where its deliveries go.
    pub mailbox: Arc<dyn Mailbox>,
    /// Who holds what it got, also when it is cancelled.
    pub holder: Weak<dyn Holder>,
    /// Whether deliveries count as settled at once.
    pub no_ack: bool,
    /// Whether it wants to be the only one.
    pub exclusive: bool,
    /// Most unsettled deliveries it holds at a time, 0 for any number.
    pub prefetch: u32,
    /// `x-priority`: whoever has a higher one comes first.
    pub priority: i64,
}

/// A consumer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerState {
    /// Which one.
    pub key: ConsumerKey,
    /// Whether its deliveries count as settled at once.
    pub no_ack: bool,
    /// Whether it is the only one.
    pub exclusive: bool,
    /// Most unsettled deliveries it holds at a time, 0 for any number.
    pub prefetch: u32,
    /// Its priority.
    pub priority: i64,
    /// Unsettled deliveries it holds.
    pub unsettled: u32,
    /// Whether it may get deliveries: always, unless another one is the single active consumer.
    pub active: bool,
}

pub(super) struct Consumer {
    generation: u32,
    pub(super) mailbox: Arc<dyn Mailbox>,
    pub(super) holder: Weak<dyn Holder>,
    pub(super) no_ack: bool,
    exclusive: bool,
    prefetch: u32,
    priority: i64,
    unsettled: u32,
    /// Its mailbox said that it has no room, and owes a `resume`.
    stalled: bool,
    in_rotation: bool,
}

impl Consumer {
    /// How many deliveries it may get before it has to settle one.
    pub(super) fn credit(&self) -> u32 {
        match self.prefetch {
            0 => u32::MAX,
            prefetch => prefetch.saturating_sub(self.unsettled),
        }
    }
}

#[derive(Default)]
pub(super) struct Consumers {
    slots: Vec<Option<Consumer>>,
    /// Priority and slot of those that take deliveries, highest priority first.
    rotation: VecDeque<(i64, u32)>,
    len: usize,
    next_generation: u32,
    turn: Turn,
}

/// Whose turn it may be.
#[derive(Clone, Copy, Default)]
enum Turn {
    #[default]
    Anybody,
    /// The single active consumer's, if there is one.
    Single(Option<u32>),
}

impl Consumers {
    /// No consumers; of those to come one at a time is active where it says `single`.
    pub(super) fn new(single: bool) -> Self {
        Self { turn: if single { Turn::Single(None) } else { Turn::Anybody }, ..Self::default() }
    }

    pub(super) fn is_single(&self) -> bool {
        matches!(self.turn, Turn::Single(_))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn any_exclusive(&self) -> bool {
        self.slots.iter().flatten().any(|consumer| consumer.exclusive)
    }

    /// How many would get a message now.
    pub(super) fn with_room(&self) -> usize {
        self.rotation.len()
    }

    /// All of them, as they are now.
    pub(super) fn states(&self) -> Vec<ConsumerState> {
        let there = (0u32..).zip(&self.slots).filter_map(|(slot, it)| it.as_ref().map(|it| (slot, it)));
        there
            .map(|(slot, consumer)| ConsumerState {
                key: ConsumerKey { slot, generation: consumer.generation },
                no_ack: consumer.no_ack,
                exclusive: consumer.exclusive,
                prefetch: consumer.prefetch,
                priority: consumer.priority,
                unsettled: consumer.unsettled,
                active: self.may_take(slot),
            })
            .collect()
    }

    fn may_take(&self, slot: u32) -> bool {
        match self.turn {
            Turn::Anybody => true,
            Turn::Single(active) => active == Some(slot),
        }
    }

    /// Adds a consumer that takes nothing until it is resumed.
    pub(super) fn add(&mut self, consume: Consume) -> ConsumerKey {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let consumer = Consumer {
            generation,
            mailbox: consume.mailbox,
            holder: consume.holder,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch: consume.prefetch,
            priority: consume.priority,
            unsettled: 0,
            stalled: true,
            in_rotation: false,
        };
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(consumer);
        self.len += 1;
        if let Turn::Single(active @ None) = &mut self.turn {
            *active = Some(slot as u32);
        }
        ConsumerKey { slot: slot as u32, generation }
    }

    pub(super) fn remove(&mut self, key: ConsumerKey) -> Option<Consumer> {
        self.at(key)?;
        let consumer = self.slots[key.slot as usize].take()?;
        self.rotation.retain(|(_, slot)| *slot != key.slot);
        self.len -= 1;
        if self.is_single() && self.may_take(key.slot) {
            self.activate_next();
        }
        Some(consumer)
    }

    /// The active consumer is gone: of the others the one with the highest priority takes over, of equals the oldest.
    fn activate_next(&mut self) {
        let there = (0u32..).zip(&self.slots).filter_map(|(slot, it)| it.as_ref().map(|it| (slot, it)));
        let age = |consumer: &Consumer| self.next_generation.wrapping_sub(consumer.generation);
        let next = there.max_by_key(|(_, consumer)| (consumer.priority, age(consumer)));
        let next = next.map(|(slot, consumer)| ConsumerKey { slot, generation: consumer.generation });
        self.turn = Turn::Single(next.map(|key| key.slot));
        if let Some(key) = next {
            self.rejoin(key);
        }
    }

    /// Takes all consumers out.
    pub(super) fn drain(&mut self) -> Vec<Consumer> {
        let all = self.slots.drain(..).flatten().collect();
        *self = Self { next_generation: self.next_generation, ..Self::new(self.is_single()) };
        all
    }

    /// The consumer whose turn it is, and whether it shares it with no other of its priority.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(ConsumerKey, &mut Consumer, bool)> {
        let (priority, slot) = *self.rotation.front()?;
        let alone = self.rotation.get(1).is_none_or(|(other, _)| *other < priority);
        let consumer = self.slots[slot as usize].as_mut()?;
        let key = ConsumerKey { slot, generation: consumer.generation };
        Some((key, consumer, alone))
    }

    /// Ends the turn of the consumer that [`Consumers::next`] named, which got so many deliveries.
    #[inline]
    pub(super) fn turn_over(&mut self, key: ConsumerKey, delivered: u32, stalled: bool) {
        let Some(consumer) = self.at(key) else { return };
        if !consumer.no_ack {
            consumer.unsettled += delivered;
        }
        consumer.stalled |= stalled;
        let goes_on = !stalled && consumer.credit() > 0;
        consumer.in_rotation = goes_on;
        let priority = consumer.priority;
        self.rotation.pop_front();
        if goes_on {
            self.join(priority, key.slot);
        }
    }

    /// Puts a consumer behind those of its priority.
    #[inline]
    fn join(&mut self, priority: i64, slot: u32) {
        if self.rotation.back().is_none_or(|(last, _)| *last >= priority) {
            self.rotation.push_back((priority, slot));
        } else {
            let at = self.rotation.partition_point(|(other, _)| *other >= priority);
            self.rotation.insert(at, (priority, slot));
        }
    }

    /// One delivery of this consumer is settled.
    #[inline]
    pub(super) fn settled(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.at(key) {
            consumer.unsettled = consumer.unsettled.saturating_sub(1);
            if !consumer.in_rotation {
                self.rejoin(key);
            }
        }
    }

    /// The consumer's mailbox has room again.
    pub(super) fn resume(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.at(key) else { return };
        consumer.stalled = false;
        self.rejoin(key);
    }

    fn rejoin(&mut self, key: ConsumerKey) {
        let may_take = self.may_take(key.slot);
        let Some(consumer) = self.at(key) else { return };
        if may_take && !consumer.in_rotation && !consumer.stalled && consumer.credit() > 0 {
            consumer.in_rotation = true;
            let priority = consumer.priority;
            self.join(priority, key.slot);
        }
    }

    fn at(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        let consumer = self.slots.get_mut(key.slot as usize)?.as_mut()?;
        (consumer.generation == key.generation).then_some(consumer)
    }
}
