//! Messages that consumers hold and have not settled: a slab, so that settling one is an index away whatever
//! the order.

use super::consumers::ConsumerKey;
use super::entry::Entry;

/// What a delivery is settled by. Valid for one settlement at the queue that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    slot: u32,
    level: u8,
    seq: u64,
}

/// A message that is out, and with whom; `None` where it was fetched by `basic.get`.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) entry: Entry,
    pub(super) consumer: Option<ConsumerKey>,
}

impl Held {
    #[inline]
    fn is(&self, receipt: Receipt) -> bool {
        self.entry.seq == receipt.seq && self.entry.level == receipt.level
    }
}

#[derive(Debug)]
enum Slot {
    Taken(Held),
    Free { next: Option<u32> },
}

/// The slab.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    slots: Vec<Slot>,
    free: Option<u32>,
    len: usize,
    /// Bytes of the bodies.
    bytes: u64,
}

impl Unacked {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a message is out by that receipt.
    pub(super) fn has(&self, receipt: Receipt) -> bool {
        matches!(self.slots.get(receipt.slot as usize), Some(Slot::Taken(held)) if held.is(receipt))
    }

    /// All that is out, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Taken(held) => Some(&mut held.entry),
            Slot::Free { .. } => None,
        })
    }

    /// The messages that are out.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Taken(held) => Some(&held.entry),
            Slot::Free { .. } => None,
        })
    }

    /// Puts a message in, and lends it out again from where it is now.
    #[inline(always)]
    pub(super) fn insert(&mut self, entry: Entry, consumer: Option<ConsumerKey>) -> (Receipt, &Entry) {
        let (level, seq) = (entry.level, entry.seq);
        self.len += 1;
        self.bytes += u64::from(entry.body_len);
        let held = Slot::Taken(Held { entry, consumer });
        let slot = match self.free {
            Some(slot) => {
                let place = &mut self.slots[slot as usize];
                let Slot::Free { next } = *place else { unreachable!("the free list names taken slots") };
                self.free = next;
                *place = held;
                slot
            }
            None => {
                self.slots.push(held);
                (self.slots.len() - 1) as u32
            }
        };
        let Slot::Taken(held) = &self.slots[slot as usize] else { unreachable!("it was put there just now") };
        (Receipt { slot, level, seq }, &held.entry)
    }

    /// Takes the message out; `None` where the receipt was used before.
    #[inline]
    pub(super) fn remove(&mut self, receipt: Receipt) -> Option<Held> {
        let slot = self.slots.get_mut(receipt.slot as usize)?;
        if !matches!(slot, Slot::Taken(held) if held.is(receipt)) {
            return None;
        }
        let Slot::Taken(held) = std::mem::replace(slot, Slot::Free { next: self.free }) else { return None };
        self.free = Some(receipt.slot);
        self.len -= 1;
        self.bytes -= u64::from(held.entry.body_len);
        if self.len == 0 {
            self.forget_burst();
        }
        Some(held)
    }

    /// Gives back the memory of a burst once nothing is out.
    fn forget_burst(&mut self) {
        if self.slots.capacity() > 4096 {
            *self = Self::default();
        }
    }
}
