//! Flushing: the table in memory is frozen between two groups and written to a run, so that memory stays small and the
//! journal can be shortened.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    StoreError,
    core::Core,
    engine::Engine,
    held::{
        HeldKey, ShelfId,
        arena::Chunks,
        run::{RunFile, RunRecord, SectionIndex},
        run_writer::RunWriter,
        section::Section,
        shelf::{Entry, Shelf},
        snapshot::Snapshot,
    },
    seq_set::SeqSet,
};

/// What is to be written, sorted by shelf and key.
struct Frozen {
    records: Vec<(ShelfId, HeldKey, Entry)>,
    chunks: Chunks,
    snapshot: Snapshot,
    /// Numbers for the runs, durable and transient.
    numbers: [u64; 2],
}

/// A run that was written, and what is in it.
pub(crate) struct WrittenRun {
    pub(crate) run: Arc<RunFile>,
    pub(crate) sections: Vec<(ShelfId, Arc<SectionIndex>, SeqSet)>,
}

impl Engine {
    /// Writes what is held in memory to a run. A manifest has to follow, to gain from it. Only one at a time: called with
    /// `house` locked.
    pub(crate) fn flush_held(&self) -> Result<(), StoreError> {
        let mut frozen = self.commit_at(Core::freeze_held)?;
        for transient in [false, true] {
            let Some(written) = self.write_frozen(&frozen, transient)? else { continue };
            if !transient {
                let synced = self.storage.sync_directory();
                synced.map_err(|error| StoreError::io("sync", &self.storage.location(), error))?;
                for (shelf, index, live) in &written.sections {
                    let run = Arc::clone(&written.run);
                    let section = Section::whole(run, Arc::clone(index), live.clone());
                    frozen.snapshot.add(*shelf, &section);
                }
            }
            // What is to be dropped is dropped without the lock.
            let _old = self.core.lock().install_frozen(written);
        }
        let snapshot = std::mem::take(&mut frozen.snapshot);
        // From here on nobody else has the chunks.
        drop(frozen);
        let _superfluous = {
            let mut core = self.core.lock();
            core.shelves.saved = snapshot;
            core.shelves.flush_asked = false;
            core.shelves.forget_frozen()
        };
        // Whoever has the files locked looks himself.
        if let Some(files) = self.files.try_lock() {
            self.note_congestion(&files);
        }
        Ok(())
    }

    fn write_frozen(&self, frozen: &Frozen, transient: bool) -> Result<Option<WrittenRun>, StoreError> {
        let mut records =
            frozen.records.iter().filter(|(_, _, entry)| entry.transient == transient).peekable();
        if records.peek().is_none() {
            return Ok(None);
        }
        let number = frozen.numbers[usize::from(transient)];
        let mut writer = RunWriter::begin(&*self.patient, number, transient, self.options.held_block_bytes)?;
        let mut numbers = HashMap::<ShelfId, Vec<u64>>::new();
        for (shelf, key, entry) in records {
            let body = entry.place.of(&frozen.chunks);
            writer.put(*shelf, RunRecord { key: *key, tag: entry.tag, flags: entry.flags, body })?;
            numbers.entry(*shelf).or_default().push(key.number);
        }
        let (run, sections) = writer.finish()?;
        let sections = sections.into_iter().map(|(shelf, index)| {
            let mut numbers = numbers.remove(&shelf).unwrap_or_default();
            numbers.sort_unstable();
            (shelf, Arc::new(index), numbers.into_iter().collect())
        });
        let sections = sections.collect();
        Ok(Some(WrittenRun { run: Arc::new(run), sections }))
    }
}

impl Core {
    fn freeze_held(&mut self) -> Frozen {
        let snapshot = Snapshot::of(self);
        let numbers = [self.next_segment, self.next_segment + 1];
        self.next_segment += 2;
        self.shelves.freeze_tables();
        let mut shelves: Vec<_> =
            self.shelves.by_id.values().filter(|shelf| !shelf.frozen.is_empty()).collect();
        shelves.sort_unstable_by_key(|shelf| shelf.id);
        let mut records = Vec::with_capacity(shelves.iter().map(|shelf| shelf.frozen.len()).sum());
        for shelf in shelves {
            records.extend(shelf.frozen.iter().map(|(key, entry)| (shelf.id, *key, *entry)));
        }
        Frozen { records, chunks: self.shelves.frozen.chunks(), snapshot, numbers }
    }

    /// Puts a run in the place of what was frozen, which is given back.
    fn install_frozen(&mut self, written: WrittenRun) -> Vec<BTreeMap<HeldKey, Entry>> {
        let WrittenRun { run, sections } = written;
        let mut old = Vec::new();
        for (id, index, live) in sections {
            let Some(shelf) = self.shelves.by_id.get_mut(&id) else { continue };
            if shelf.cleared_up_to >= index.last_number {
                continue;
            }
            let mut section = Section::whole(Arc::clone(&run), index, live);
            for &key in &shelf.taken_frozen {
                if section.holds(key) {
                    section.take(key);
                }
            }
            if !section.is_dead() {
                shelf.sections.push(section);
            }
            // What is taken from here on is taken from the section.
            old.push(shelf.thaw(run.transient));
        }
        self.shelves.runs.push(run);
        old
    }
}

impl Shelf {
    /// Forgets what is frozen of one class, and gives it back.
    fn thaw(&mut self, transient: bool) -> BTreeMap<HeldKey, Entry> {
        let old = std::mem::take(&mut self.frozen);
        if !self.tags.is_empty() {
            for (key, entry) in old.iter().filter(|(_, entry)| entry.transient == transient) {
                self.tags.remove(&(entry.tag, *key));
            }
        }
        if !transient && self.transient.count > 0 {
            let others = old.iter().filter(|(_, entry)| entry.transient);
            self.frozen = others.map(|(key, entry)| (*key, *entry)).collect();
        }
        old
    }
}
