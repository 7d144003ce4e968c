//! Reading a shelf in order, from the table in memory and from runs, merged. Blocks are read without the core's lock: a
//! pass under the lock says which ones it misses, and is repeated once they are there.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use crate::{
    Damage, StoreError,
    engine::Engine,
    held::{
        HeldKey, HeldRecord, ShelfId,
        arena::Arena,
        run::{Block, RunFile, records},
        shelf::{Entry, Shelf, Shelves, held_record},
    },
};

/// Records of a shelf, in order.
#[derive(Debug, Clone, Default)]
pub struct HeldPage {
    /// The records.
    pub records: Vec<HeldRecord>,
    /// No later record is due before this; `None` where there is none.
    pub next: Option<u64>,
}

/// Blocks that were read, by run and place.
pub(crate) type Blocks = HashMap<(u64, u32), Arc<Vec<u8>>>;

/// Which records are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Those behind this one.
    pub(crate) after: Option<HeldKey>,
    /// Due at this time at the latest.
    pub(crate) until: u64,
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// A block that has to be read.
struct Missing {
    run: Arc<RunFile>,
    number: u32,
    block: Block,
}

/// A section's next record.
struct Head<'a> {
    key: HeldKey,
    section: usize,
    block: usize,
    at: usize,
    bytes: &'a [u8],
}

/// Where a section stands.
enum Stand<'a> {
    At(Head<'a>),
    /// Nothing before this key; the block has to be read to know more.
    Unread(HeldKey, Missing),
    End,
}

/// Blocks kept for what is due next take about so much memory, whatever the number of shelves.
const NEAR_BYTES: usize = 16 << 20;

impl Engine {
    /// The first records of a shelf. Blocks of which some live are kept for the next call.
    pub(crate) fn due_page(&self, shelf: ShelfId, wanted: Wanted) -> Result<HeldPage, StoreError> {
        let mut near = self.near.lock();
        let page = self.held_page(shelf, wanted, near.entry(shelf).or_default())?;
        if page.records.is_empty() {
            near.remove(&shelf);
        }
        let bytes: usize = near.values().flat_map(HashMap::values).map(|block| block.len()).sum();
        if bytes > NEAR_BYTES {
            near.clear();
        }
        Ok(page)
    }

    /// The next records of a shelf. `blocks` keeps what was read between calls that go on.
    pub(crate) fn held_page(
        &self,
        shelf: ShelfId,
        mut wanted: Wanted,
        blocks: &mut Blocks,
    ) -> Result<HeldPage, StoreError> {
        let mut page = HeldPage::default();
        let mut used = Blocks::new();
        loop {
            let missing = {
                let core = self.core.lock();
                let Some(state) = core.shelves.by_id.get(&shelf) else { return Ok(page) };
                state.collect(&core.shelves, &mut wanted, blocks, &mut page)
            };
            if missing.is_empty() {
                self.keep_near(shelf, blocks, used);
                return Ok(page);
            }
            for missing in missing {
                let bytes = self.read_block(shelf, &missing)?;
                let key = (missing.run.number, missing.number);
                used.insert(key, Arc::clone(&bytes));
                blocks.insert(key, bytes);
            }
        }
    }

    /// Blocks from which everything was taken are not needed again.
    fn keep_near(&self, shelf: ShelfId, blocks: &mut Blocks, used: Blocks) {
        let core = self.core.lock();
        let Some(state) = core.shelves.by_id.get(&shelf) else { return };
        blocks.retain(|key, _| {
            used.contains_key(key)
                || state.sections.iter().any(|section| {
                    section.run.number == key.0
                        && section.block_live.get(key.1 as usize).is_some_and(|&live| live > 0)
                })
        });
    }

    fn read_block(&self, shelf: ShelfId, missing: &Missing) -> Result<Arc<Vec<u8>>, StoreError> {
        let Missing { run, number, block } = missing;
        match run.block(block)? {
            Some(bytes) => Ok(Arc::new(bytes)),
            None => {
                self.write_off(shelf, run, *number as usize, block);
                Ok(Arc::default())
            }
        }
    }

    /// What should live in a block that is damaged is lost, which is reported.
    pub(crate) fn write_off(&self, shelf: ShelfId, run: &RunFile, number: usize, block: &Block) {
        let mut core = self.core.lock();
        let Some(state) = core.shelves.by_id.get_mut(&shelf) else { return };
        let Some(section) = state.sections.iter_mut().find(|section| section.run.number == run.number) else {
            return;
        };
        let lost = section.write_off(number);
        if lost == 0 {
            return;
        }
        run.note_damage();
        let last = section.index.blocks.get(number + 1).map_or(u64::MAX, |next| next.first.due);
        let bytes = u64::from(lost) * section.index.body_bytes / section.index.records().max(1);
        state.tally(run.transient).lose(u64::from(lost), bytes);
        state.sections.retain(|section| !section.is_dead() || section.taken.is_some());
        let first = block.first.due;
        core.report(Damage {
            file: run.name(),
            offset: RunFile::offset_of(block),
            queue: None,
            lost_records: Some(lost.into()),
            what: format!("checksum of a block of shelf {}, due {first} to {last}", shelf.0),
        });
    }
}

impl Shelf {
    /// Adds what is wanted to the page, as far as its blocks are there; returns those that are missing. Then
    /// `wanted` says what is still wanted.
    fn collect(
        &self,
        shelves: &Shelves,
        wanted: &mut Wanted,
        blocks: &Blocks,
        page: &mut HeldPage,
    ) -> Vec<Missing> {
        let from = wanted.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut fresh = Row::new(&self.fresh, &shelves.fresh, from);
        let mut frozen = Row::new(&self.frozen, &shelves.frozen, from);
        let (mut heads, mut missing) = (Vec::new(), Vec::new());
        let mut later = None::<u64>;
        for section in 0..self.sections.len() {
            match self.seek(section, wanted.after, blocks) {
                Stand::At(head) if head.key.due <= wanted.until => heads.push(head),
                Stand::Unread(key, block) if key.due <= wanted.until => missing.push(block),
                Stand::At(Head { key, .. }) | Stand::Unread(key, _) => later = earlier(later, Some(key.due)),
                Stand::End => {}
            }
        }
        if !missing.is_empty() {
            return missing;
        }
        loop {
            let head = heads.iter().enumerate().min_by_key(|(_, head)| head.key);
            let head = head.map(|(at, head)| (head.key, at));
            let in_memory = [fresh.key(), frozen.key()].into_iter().flatten().min();
            let Some(first) = head.map(|(key, _)| key).into_iter().chain(in_memory).min() else { break };
            let is_full = page.records.len() >= wanted.count || wanted.bytes == 0;
            if first.due > wanted.until || is_full {
                later = earlier(later, Some(first.due));
                break;
            }
            wanted.after = Some(first);
            let record = match head.filter(|(key, _)| *key == first) {
                None if fresh.key() == Some(first) => fresh.take(),
                None => frozen.take(),
                Some((_, at)) => {
                    let head = heads.swap_remove(at);
                    let transient = self.sections[head.section].run.transient;
                    let record =
                        records(head.bytes, head.at).next().map(|(_, record)| record.to_held(transient));
                    match self.walk(head.section, head.block, head.at, Some(first), blocks) {
                        Stand::At(head) if head.key.due <= wanted.until => heads.push(head),
                        Stand::Unread(key, block) if key.due <= wanted.until => missing.push(block),
                        Stand::At(Head { key, .. }) | Stand::Unread(key, _) => {
                            later = earlier(later, Some(key.due));
                        }
                        Stand::End => {}
                    }
                    record
                }
            };
            let Some(record) = record else { continue };
            wanted.bytes = wanted.bytes.saturating_sub(record.body.len().max(1));
            page.records.push(record);
            if !missing.is_empty() {
                return missing;
            }
        }
        page.next = later;
        Vec::new()
    }

    /// Where a section goes on after a key.
    fn seek<'a>(&self, index: usize, after: Option<HeldKey>, blocks: &'a Blocks) -> Stand<'a> {
        let section = &self.sections[index];
        let block = after.map_or(0, |after| section.index.block_of(after));
        self.walk(index, block, 0, after, blocks)
    }

    fn walk<'a>(
        &self,
        index: usize,
        from: usize,
        at: usize,
        after: Option<HeldKey>,
        blocks: &'a Blocks,
    ) -> Stand<'a> {
        let section = &self.sections[index];
        let mut next = section.next_block(from);
        while let Some(number) = next {
            let block = section.index.blocks[number];
            let Some(bytes) = blocks.get(&(section.run.number, number as u32)) else {
                let missing = Missing { run: Arc::clone(&section.run), number: number as u32, block };
                return Stand::Unread(block.first.max(after.unwrap_or_default()), missing);
            };
            let start = if number == from { at } else { 0 };
            let found = records(bytes, start).find(|(_, record)| {
                after.is_none_or(|after| record.key > after) && section.live.contains(record.key.number)
            });
            if let Some((at, record)) = found {
                return Stand::At(Head { key: record.key, section: index, block: number, at, bytes });
            }
            next = section.next_block(number + 1);
        }
        Stand::End
    }
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// What lies in memory, in order.
struct Row<'a> {
    entries: std::iter::Peekable<std::collections::btree_map::Range<'a, HeldKey, Entry>>,
    arena: &'a Arena,
}

impl<'a> Row<'a> {
    fn new(table: &'a BTreeMap<HeldKey, Entry>, arena: &'a Arena, from: Bound<HeldKey>) -> Self {
        Self { entries: table.range((from, Bound::Unbounded)).peekable(), arena }
    }

    fn key(&mut self) -> Option<HeldKey> {
        self.entries.peek().map(|(key, _)| **key)
    }

    fn take(&mut self) -> Option<HeldRecord> {
        self.entries.next().map(|(key, entry)| held_record(self.arena, *key, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Drive, Hold, MemoryStorage, Options, Store};

    const SHELF: ShelfId = ShelfId(1);

    fn store() -> Store {
        let mut options = Options { drive: Drive::Manual, held_bytes: 64 << 10, ..Options::default() };
        options.held_block_bytes = 4 << 10;
        Store::open_on(Arc::new(MemoryStorage::default()), options, |_| {}).expect("opens").0
    }

    fn fill(store: &Store) {
        let hold = Hold { shelf: SHELF, due: 5, tag: 0, flags: 0, transient: false, body: &[&[7; 200]] };
        while !store.engine.core.lock().shelves.is_full() {
            store.batch(|batch| batch.hold(&hold)).expect("open").expect("room");
        }
    }

    fn take_all(store: &Store) {
        let page = store.due(SHELF, 5, usize::MAX, usize::MAX).expect("reads");
        let taken = store.batch(|batch| {
            page.records.iter().all(|record| batch.take(SHELF, record.key, record.body.len() as u64))
        });
        assert!(taken.expect("open"));
    }

    #[test]
    fn blocks_are_kept_no_longer_than_something_is_due() {
        let store = store();
        fill(&store);
        store.maintain().expect("keeps house");
        store.due(SHELF, 5, 1, usize::MAX).expect("reads");
        assert_eq!(store.engine.near.lock().len(), 1);
        take_all(&store);
        assert!(store.due(SHELF, 5, 1, usize::MAX).expect("reads").records.is_empty());
        assert!(store.engine.near.lock().is_empty());
        fill(&store);
        store.maintain().expect("keeps house");
        store.due(SHELF, 5, 1, usize::MAX).expect("reads");
        store.delete_shelf(SHELF).expect("open");
        assert!(store.engine.near.lock().is_empty());
    }

    #[test]
    fn a_table_that_was_emptied_before_it_was_written_is_written_when_it_is_full_again() {
        let store = store();
        fill(&store);
        assert!(std::mem::take(&mut store.engine.chores.lock().due), "somebody is to write it");
        take_all(&store);
        store.maintain().expect("keeps house");
        fill(&store);
        assert!(store.engine.chores.lock().due, "again");
    }
}
