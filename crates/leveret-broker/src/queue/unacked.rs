//! Messages that consumers hold and have not settled: a slab, so that settling one is an index away whatever
//! the order.

use super::backlog::Entry;
use super::consumers::ConsumerKey;

/// What a delivery is settled by. Valid for one settlement at the queue that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    slot: u32,
    seq: u64,
}

/// A message that is out, and with whom; `None` where it was fetched by `basic.get`.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) entry: Entry,
    pub(super) consumer: Option<ConsumerKey>,
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
}

impl Unacked {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The messages that are out.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Taken(held) => Some(&held.entry),
            Slot::Free { .. } => None,
        })
    }

    #[inline]
    pub(super) fn insert(&mut self, entry: Entry, consumer: Option<ConsumerKey>) -> Receipt {
        let seq = entry.seq;
        let held = Slot::Taken(Held { entry, consumer });
        self.len += 1;
        let slot = match self.free {
            Some(slot) => {
                let was = std::mem::replace(&mut self.slots[slot as usize], held);
                let Slot::Free { next } = was else { unreachable!("the free list names taken slots") };
                self.free = next;
                slot
            }
            None => {
                self.slots.push(held);
                (self.slots.len() - 1) as u32
            }
        };
        Receipt { slot, seq }
    }

    /// The receipt that [`Unacked::insert`] gives next, for the entry with that `seq`.
    #[inline]
    pub(super) fn next_receipt(&self, seq: u64) -> Receipt {
        Receipt { slot: self.free.unwrap_or(self.slots.len() as u32), seq }
    }

    /// Takes the message out; `None` where the receipt was used before.
    #[inline]
    pub(super) fn remove(&mut self, receipt: Receipt) -> Option<Held> {
        let slot = self.slots.get_mut(receipt.slot as usize)?;
        if !matches!(slot, Slot::Taken(held) if held.entry.seq == receipt.seq) {
            return None;
        }
        let Slot::Taken(held) = std::mem::replace(slot, Slot::Free { next: self.free }) else { return None };
        self.free = Some(receipt.slot);
        self.len -= 1;
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
