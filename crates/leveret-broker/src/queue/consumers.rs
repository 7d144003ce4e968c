//! The consumers of a queue, and which of them is next: those that take deliveries now stand in a rotation, the
//! others wait for a settlement or for room in their mailbox.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Mailbox;

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
    /// Whether deliveries count as settled at once.
    pub no_ack: bool,
    /// Whether it wants to be the only one.
    pub exclusive: bool,
    /// Most unsettled deliveries it holds at a time, 0 for any number.
    pub prefetch: u32,
}

pub(super) struct Consumer {
    generation: u32,
    pub(super) mailbox: Arc<dyn Mailbox>,
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
    prefetch: u32,
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
    rotation: VecDeque<u32>,
    len: usize,
    next_generation: u32,
}

impl Consumers {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn any_exclusive(&self) -> bool {
        self.iter().any(|consumer| consumer.exclusive)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.slots.iter().flatten()
    }

    /// Adds a consumer that takes nothing until it is resumed.
    pub(super) fn add(&mut self, consume: Consume) -> ConsumerKey {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let consumer = Consumer {
            generation,
            mailbox: consume.mailbox,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch: consume.prefetch,
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
        ConsumerKey { slot: slot as u32, generation }
    }

    pub(super) fn remove(&mut self, key: ConsumerKey) -> Option<Consumer> {
        self.at(key)?;
        let consumer = self.slots[key.slot as usize].take()?;
        self.rotation.retain(|slot| *slot != key.slot);
        self.len -= 1;
        Some(consumer)
    }

    /// Takes all consumers out.
    pub(super) fn drain(&mut self) -> Vec<Consumer> {
        let all = self.slots.drain(..).flatten().collect();
        *self = Self { next_generation: self.next_generation, ..Self::default() };
        all
    }

    /// The consumer whose turn it is, and whether it is the only one that takes deliveries.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(ConsumerKey, &mut Consumer, bool)> {
        let slot = *self.rotation.front()?;
        let alone = self.rotation.len() == 1;
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
        self.rotation.pop_front();
        if goes_on {
            self.rotation.push_back(key.slot);
        }
    }

    /// One delivery of this consumer is settled.
    #[inline]
    pub(super) fn settled(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.at(key) {
            consumer.unsettled = consumer.unsettled.saturating_sub(1);
            self.rejoin(key);
        }
    }

    /// The consumer's mailbox has room again.
    pub(super) fn resume(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.at(key) else { return };
        consumer.stalled = false;
        self.rejoin(key);
    }

    fn rejoin(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.at(key) else { return };
        if !consumer.in_rotation && !consumer.stalled && consumer.credit() > 0 {
            consumer.in_rotation = true;
            self.rotation.push_back(key.slot);
        }
    }

    fn at(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        let consumer = self.slots.get_mut(key.slot as usize)?.as_mut()?;
        (consumer.generation == key.generation).then_some(consumer)
    }
}
