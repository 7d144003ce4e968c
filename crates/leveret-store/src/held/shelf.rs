//! The state of all shelves, changed under the core's lock: what is held in memory, what lies in runs, what was
//! taken. No I/O happens here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::{
    held::{
        HeldKey, HeldRecord, Hold, ShelfId,
        arena::{Arena, Place, Spare},
        run::RunFile,
        section::Section,
        snapshot::Snapshot,
        tally::Tally,
    },
    options::Options,
};

/// Memory that a record takes beside its body, about.
const ENTRY_BYTES: usize = 96;
const LARGEST_CHUNK_BYTES: usize = 256 << 10;

/// How much a shelf holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShelfTotals {
    /// Records held.
    pub count: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Those of them that will not survive a restart.
    pub transient_count: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) tag: u64,
    pub(crate) place: Place,
    pub(crate) flags: u16,
    pub(crate) transient: bool,
}

/// One shelf.
pub(crate) struct Shelf {
    pub(crate) id: ShelfId,
    /// The highest number ever given.
    pub(crate) max_number: u64,
    pub(crate) fresh: BTreeMap<HeldKey, Entry>,
    /// What is being written to a run.
    pub(crate) frozen: BTreeMap<HeldKey, Entry>,
    /// What was taken meanwhile.
    pub(crate) taken_frozen: Vec<HeldKey>,
    /// Of what is fresh or frozen.
    pub(crate) tags: BTreeSet<(u64, HeldKey)>,
    pub(crate) sections: Vec<Section>,
    pub(crate) durable: Tally,
    pub(crate) transient: Tally,
    /// Up to here everything was cleared.
    pub(crate) cleared_up_to: u64,
}

/// All shelves.
pub(crate) struct Shelves {
    pub(crate) by_id: HashMap<ShelfId, Box<Shelf>>,
    pub(crate) fresh: Arena,
    pub(crate) frozen: Arena,
    fresh_count: usize,
    frozen_count: usize,
    /// Memory for bodies that is free, to be used again.
    spare: Spare,
    /// A merge has failed.
    pub(crate) no_merge_before: Option<Instant>,
    /// Files that some section lies in, or some manifest may name.
    pub(crate) runs: Vec<Arc<RunFile>>,
    /// What the next manifest says.
    pub(crate) saved: Snapshot,
    pub(crate) flush_asked: bool,
    limit_bytes: usize,
    pub(crate) cell: u64,
}

impl Shelf {
    fn new(id: ShelfId) -> Self {
        Self {
            id,
            max_number: 0,
            fresh: BTreeMap::new(),
            frozen: BTreeMap::new(),
            taken_frozen: Vec::new(),
            tags: BTreeSet::new(),
            sections: Vec::new(),
            durable: Tally::default(),
            transient: Tally::default(),
            cleared_up_to: 0,
        }
    }

    pub(crate) fn tally(&mut self, transient: bool) -> &mut Tally {
        if transient { &mut self.transient } else { &mut self.durable }
    }

    pub(crate) fn totals(&self) -> ShelfTotals {
        ShelfTotals {
            count: self.durable.count + self.transient.count,
            bytes: self.durable.bytes + self.transient.bytes,
            transient_count: self.transient.count,
        }
    }

    /// The section in which a record lives.
    pub(crate) fn section_of(&self, key: HeldKey) -> Option<usize> {
        self.sections.iter().position(|section| section.holds(key))
    }

    pub(crate) fn lives(&self, key: HeldKey) -> bool {
        self.fresh.contains_key(&key) || self.frozen.contains_key(&key) || self.section_of(key).is_some()
    }

    /// Nothing is held before this.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let in_memory =
            [&self.fresh, &self.frozen].into_iter().filter_map(|table| table.keys().next().copied());
        let in_runs = self.sections.iter().filter_map(Section::lower_bound);
        in_memory.chain(in_runs).min().map(|key| key.due)
    }
}

impl Shelves {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            by_id: HashMap::new(),
            fresh: Arena::default(),
            frozen: Arena::default(),
            fresh_count: 0,
            frozen_count: 0,
            spare: Spare::default(),
            no_merge_before: None,
            runs: Vec::new(),
            saved: Snapshot::default(),
            flush_asked: false,
            limit_bytes: options.held_bytes,
            cell: options.held_cell.max(1),
        }
    }

    pub(crate) fn shelf(&mut self, id: ShelfId) -> &mut Shelf {
        self.by_id.entry(id).or_insert_with(|| Box::new(Shelf::new(id)))
    }

    /// Memory that records take which are in no run yet.
    fn fresh_bytes(&self) -> usize {
        self.fresh.size_bytes() + self.fresh_count * ENTRY_BYTES
    }

    pub(crate) fn is_full(&self) -> bool {
        self.fresh_bytes() >= self.limit_bytes
    }

    /// Whether the table is to be written now. What made it full may have been taken meanwhile: then the next time is
    /// asked for anew.
    pub(crate) fn wants_flush(&mut self) -> bool {
        self.flush_asked &= self.is_full();
        self.is_full()
    }

    /// More comes in than runs can be written. What is being written counts too.
    pub(crate) fn is_congested(&self) -> bool {
        let frozen_bytes = self.frozen.size_bytes() + self.frozen_count * ENTRY_BYTES;
        self.fresh_bytes() + frozen_bytes >= self.limit_bytes.saturating_mul(3)
    }

    /// Size of the runs in which nothing lives, of which only the manifest has to hear.
    pub(crate) fn dead_bytes(&self) -> u64 {
        let durable = self.runs.iter().filter(|run| !run.transient);
        let size: u64 = durable.map(|run| run.size_bytes).sum();
        let mut living: Vec<_> =
            self.by_id.values().flat_map(|shelf| &shelf.sections).map(|section| &section.run).collect();
        living.retain(|run| !run.transient);
        living.sort_unstable_by_key(|run| run.number);
        living.dedup_by_key(|run| run.number);
        size.saturating_sub(living.iter().map(|run| run.size_bytes).sum())
    }

    /// The number of the shelf's next record.
    pub(crate) fn next_number(&mut self, id: ShelfId) -> u64 {
        self.shelf(id).max_number + 1
    }

    /// Holds a record under a number.
    pub(crate) fn hold(&mut self, hold: &Hold<'_>, number: u64) -> HeldKey {
        let key = HeldKey { due: hold.due, number };
        let chunk_bytes = (self.limit_bytes / 64).min(LARGEST_CHUNK_BYTES);
        let place = self.fresh.put(hold.body, chunk_bytes, &mut self.spare);
        let cell = self.cell;
        let shelf = self.shelf(hold.shelf);
        shelf.max_number = shelf.max_number.max(number);
        shelf.tally(hold.transient).add(cell, hold.due, u64::from(place.len));
        if hold.tag != 0 {
            shelf.tags.insert((hold.tag, key));
        }
        let entry = Entry { tag: hold.tag, place, flags: hold.flags, transient: hold.transient };
        shelf.fresh.insert(key, entry);
        self.fresh_count += 1;
        key
    }

    /// Takes a record, whose body is so long; says whether a restart would have found it, or `None` where it is not
    /// held.
    pub(crate) fn take(&mut self, id: ShelfId, key: HeldKey, body_bytes: u64) -> Option<bool> {
        let cell = self.cell;
        let shelf = self.by_id.get_mut(&id)?;
        let transient = if let Some(entry) = shelf.fresh.remove(&key) {
            self.fresh.free(entry.place);
            self.fresh_count -= 1;
            shelf.tags.remove(&(entry.tag, key));
            entry.transient
        } else if let Some(entry) = shelf.frozen.remove(&key) {
            shelf.taken_frozen.push(key);
            shelf.tags.remove(&(entry.tag, key));
            entry.transient
        } else {
            let index = shelf.section_of(key)?;
            let section = &mut shelf.sections[index];
            section.take(key);
            let transient = section.run.transient;
            if section.is_dead() && section.taken.is_none() {
                shelf.sections.swap_remove(index);
            }
            transient
        };
        shelf.tally(transient).remove(cell, key.due, body_bytes);
        Some(!transient)
    }

    /// Forgets everything on a shelf; returns how many records that were.
    pub(crate) fn clear(&mut self, id: ShelfId) -> u64 {
        let Some(shelf) = self.by_id.get_mut(&id) else { return 0 };
        let count = shelf.totals().count;
        for (_, entry) in std::mem::take(&mut shelf.fresh) {
            self.fresh.free(entry.place);
            self.fresh_count -= 1;
        }
        shelf.frozen.clear();
        shelf.taken_frozen.clear();
        shelf.tags.clear();
        shelf.sections.clear();
        (shelf.durable, shelf.transient) = (Tally::default(), Tally::default());
        shelf.cleared_up_to = shelf.max_number;
        count
    }

    pub(crate) fn delete(&mut self, id: ShelfId) -> u64 {
        let count = self.clear(id);
        self.by_id.remove(&id);
        count
    }

    /// A record that is in memory.
    pub(crate) fn in_memory(&self, id: ShelfId, key: HeldKey) -> Option<HeldRecord> {
        let shelf = self.by_id.get(&id)?;
        let fresh = shelf.fresh.get(&key).map(|entry| (&self.fresh, entry));
        let (arena, entry) = fresh.or_else(|| shelf.frozen.get(&key).map(|entry| (&self.frozen, entry)))?;
        Some(held_record(arena, key, entry))
    }

    /// What is fresh becomes frozen, to be written to a run.
    pub(crate) fn freeze_tables(&mut self) {
        self.frozen = std::mem::take(&mut self.fresh);
        self.frozen_count = std::mem::take(&mut self.fresh_count);
        for shelf in self.by_id.values_mut() {
            shelf.frozen = std::mem::take(&mut shelf.fresh);
            shelf.taken_frozen.clear();
        }
    }

    /// Gives back the memory that was not used since the last call.
    pub(crate) fn give_back_spare(&mut self) -> Vec<Vec<u8>> {
        self.spare.unused()
    }

    /// What was frozen is in a run, or nowhere any more. Returns memory that is not needed, to be dropped without the lock.
    #[must_use]
    pub(crate) fn forget_frozen(&mut self) -> Vec<Vec<u8>> {
        let superfluous = std::mem::take(&mut self.frozen).give_back(&mut self.spare, self.limit_bytes);
        self.frozen_count = 0;
        for shelf in self.by_id.values_mut() {
            for (key, entry) in std::mem::take(&mut shelf.frozen) {
                shelf.tags.remove(&(entry.tag, key));
            }
            shelf.taken_frozen = Vec::new();
        }
        superfluous
    }
}

pub(crate) fn held_record(arena: &Arena, key: HeldKey, entry: &Entry) -> HeldRecord {
    let Entry { tag, place, flags, transient } = *entry;
    HeldRecord { key, tag, flags, transient, body: arena.get(place).to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold_until(shelves: &mut Shelves, is_enough: fn(&Shelves) -> bool) -> usize {
        let hold = Hold { shelf: ShelfId(1), due: 5, tag: 0, flags: 0, transient: false, body: &[&[7; 200]] };
        let mut count = 0;
        while !is_enough(shelves) {
            let number = shelves.next_number(hold.shelf);
            shelves.hold(&hold, number);
            count += 1;
        }
        count
    }

    #[test]
    fn what_is_being_written_counts_as_memory_until_it_is() {
        let options = Options { held_bytes: 256 << 10, ..Options::default() };
        let mut shelves = Shelves::new(&options);
        let full = hold_until(&mut shelves, Shelves::is_full);
        shelves.freeze_tables();
        assert!(!shelves.is_full() && !shelves.is_congested());
        let more = hold_until(&mut shelves, Shelves::is_congested);
        // Give or take a chunk.
        assert!(more <= 2 * full + 20, "{more} gathered while {full} are written");
        drop(shelves.forget_frozen());
        assert!(!shelves.is_congested());
    }
}
