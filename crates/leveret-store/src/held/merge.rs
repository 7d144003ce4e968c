//! Merging runs: many of one size become one bigger, so that their number grows with the logarithm of what is held;
//! and those of which little lives are rewritten, so that what was taken costs no disk.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    StoreError,
    core::Core,
    engine::Engine,
    held::{
        HeldKey, ShelfId,
        merged_tags::MergedTags,
        run::{RunFile, SectionIndex, records, run_name},
        run_writer::RunWriter,
        section::Section,
    },
    manifest::ManifestFiles,
    seq_set::SeqSet,
};

/// So many runs of about one size are too many,
const MANY: usize = 32;
/// and so many of them, the oldest, are merged at once.
const AT_ONCE: usize = 16;
/// A run is of the next size when it is so many times as large.
const STEP: u64 = 8;
/// A run with less than one of this many records alive is sparse.
const SPARSE: u64 = 4;
/// After so many records a merge looks whether something more urgent is to be done,
const STRIDE: usize = 4096;
/// or after so many bytes of their bodies.
const STRIDE_BYTES: usize = 8 << 20;
/// After a merge that failed there is none for so long.
const REST: Duration = Duration::from_secs(60);

/// Why a merge ended early.
enum Halt {
    /// It could not read or write. The runs are as they were: nothing is lost but the work.
    Failed(StoreError),
    /// The store is stopping.
    Stopping,
    /// Something failed that the store cannot do without.
    Fatal(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A merged run, what it has of each shelf, and the numbers of the records in it.
type Merged = (RunFile, Vec<(ShelfId, SectionIndex)>, HashMap<ShelfId, SeqSet>);

/// One shelf's part of a run that is merged.
struct Input {
    shelf: ShelfId,
    run: Arc<RunFile>,
    index: Arc<SectionIndex>,
    block: usize,
    /// What lived of the block when it was read.
    bytes: Vec<u8>,
    rows: std::vec::IntoIter<(HeldKey, usize)>,
}

impl Engine {
    /// Merges runs as long as it is worth it; says whether a manifest is needed to gain from it.
    pub(crate) fn merge_held(&self, manifests: &mut ManifestFiles) -> Result<bool, StoreError> {
        let mut merged = false;
        loop {
            let runs = self.core.lock().runs_to_merge(self.options.held_bytes as u64);
            let Some(runs) = runs else { return Ok(merged) };
            let transient = runs[0].transient;
            let (number, inputs) = self.core.lock().begin_merge(&runs);
            match self.copy_living(number, transient, inputs, manifests) {
                Ok((run, sections, copied)) => {
                    self.core.lock().install_merged(&runs, Arc::new(run), sections, &copied);
                    merged |= !transient;
                }
                Err(halt) => {
                    self.core.lock().abandon_merge(&runs);
                    self.discard(&run_name(number, transient), false);
                    return self.after_halt(halt).map(|()| merged);
                }
            }
        }
    }

    fn after_halt(&self, halt: Halt) -> Result<(), StoreError> {
        match halt {
            Halt::Fatal(error) => Err(error),
            Halt::Stopping => Ok(()),
            Halt::Failed(error) => {
                tracing::warn!(%error, "held records are not merged for now");
                self.core.lock().shelves.no_merge_before = Some(Instant::now() + REST);
                Ok(())
            }
        }
    }

    fn copy_living(
        &self,
        number: u64,
        transient: bool,
        mut inputs: Vec<Input>,
        manifests: &mut ManifestFiles,
    ) -> Result<Merged, Halt> {
        let writer = RunWriter::begin(&*self.storage, number, transient, self.options.held_block_bytes)?;
        let mut writer = writer.without_tags();
        let mut copied = HashMap::<ShelfId, SeqSet>::new();
        inputs.sort_by_key(|input| input.shelf);
        let (mut count, mut bytes) = (0, 0);
        for of_shelf in inputs.chunk_by_mut(|a, b| a.shelf == b.shelf) {
            let shelf = of_shelf[0].shelf;
            for input in of_shelf.iter_mut() {
                self.load(input)?;
            }
            let copied = copied.entry(shelf).or_default();
            while let Some(input) = nearest(of_shelf) {
                let Some((key, at)) = input.rows.next() else { break };
                if let Some((_, record)) = records(&input.bytes, at).next() {
                    bytes += record.body.len();
                    writer.put(shelf, record)?;
                    copied.insert(key.number);
                }
                if input.rows.as_slice().is_empty() {
                    self.load(input)?;
                }
                count += 1;
                if count >= STRIDE || bytes >= STRIDE_BYTES {
                    (count, bytes) = (0, 0);
                    self.look_up(manifests)?;
                }
            }
        }
        self.copy_tags(&mut writer, &inputs, &copied, manifests)?;
        let (run, sections) = writer.finish()?;
        if !transient {
            // Others' names may be lost with this one.
            let synced = self.storage.sync_directory();
            synced.map_err(|error| Halt::Fatal(StoreError::io("sync", &self.storage.location(), error)))?;
        }
        Ok((run, sections, copied))
    }

    fn copy_tags(
        &self,
        writer: &mut RunWriter,
        inputs: &[Input],
        copied: &HashMap<ShelfId, SeqSet>,
        manifests: &mut ManifestFiles,
    ) -> Result<(), Halt> {
        let mut count = 0;
        for (section, shelf) in writer.end_records().into_iter().enumerate() {
            let Some(copied) = copied.get(&shelf) else { continue };
            let sections = inputs.iter().filter(|input| input.shelf == shelf);
            let sections = sections.map(|input| (Arc::clone(&input.run), Arc::clone(&input.index)));
            for row in MergedTags::new(sections, copied) {
                writer.put_tag(section, row?)?;
                count += 1;
                if count % STRIDE == 0 {
                    self.look_up(manifests)?;
                }
            }
        }
        Ok(())
    }

    /// Does in the midst of a merge what cannot wait for its end.
    fn look_up(&self, manifests: &mut ManifestFiles) -> Result<(), Halt> {
        {
            let core = self.core.lock();
            core.check().map_err(Halt::Fatal)?;
            if core.stopping {
                return Err(Halt::Stopping);
            }
        }
        self.keep_urgent(manifests).map_err(Halt::Fatal)
    }

    /// Reads the next block in which something lives.
    fn load(&self, input: &mut Input) -> Result<(), StoreError> {
        while input.rows.as_slice().is_empty() {
            let Some(block) = input.index.blocks.get(input.block) else { return Ok(()) };
            let number = input.block;
            input.block += 1;
            if !self.core.lock().shelves.has_live(input.shelf, input.run.number, number) {
                continue;
            }
            let Some(bytes) = input.run.block(block)? else {
                self.write_off(input.shelf, &input.run, number, block);
                continue;
            };
            input.bytes = bytes;
            let core = self.core.lock();
            let Some(shelf) = core.shelves.by_id.get(&input.shelf) else { return Ok(()) };
            let section = shelf.sections.iter().find(|section| section.run.number == input.run.number);
            let Some(section) = section else { return Ok(()) };
            let rows = records(&input.bytes, 0).map(|(at, record)| (record.key, at));
            let live = rows.filter(|(key, _)| section.live.contains(key.number));
            input.rows = live.collect::<Vec<_>>().into_iter();
        }
        Ok(())
    }
}

fn nearest(inputs: &mut [Input]) -> Option<&mut Input> {
    let next = |input: &Input| input.rows.as_slice().first().map(|(key, _)| *key);
    inputs.iter_mut().filter(|input| next(input).is_some()).min_by_key(|input| next(input))
}

impl super::shelf::Shelves {
    fn has_live(&self, shelf: ShelfId, run: u64, block: usize) -> bool {
        let section = self
            .by_id
            .get(&shelf)
            .and_then(|shelf| shelf.sections.iter().find(|section| section.run.number == run));
        section.is_some_and(|section| section.block_live.get(block).is_some_and(|&live| live > 0))
    }
}

impl Core {
    /// The runs that should become one.
    fn runs_to_merge(&self, full_bytes: u64) -> Option<Vec<Arc<RunFile>>> {
        let rests = self.shelves.no_merge_before.is_some_and(|end| Instant::now() < end);
        if rests || self.stopping {
            return None;
        }
        let mut live = HashMap::<u64, u64>::new();
        for section in self.shelves.by_id.values().flat_map(|shelf| &shelf.sections) {
            *live.entry(section.run.number).or_default() += section.live.len();
        }
        let size = |run: &RunFile| (run.size_bytes / full_bytes.max(1)).max(1).ilog(STEP);
        for transient in [false, true] {
            let of_class = || {
                let runs = self.shelves.runs.iter().filter(|run| run.transient == transient);
                runs.filter(|run| live.contains_key(&run.number))
            };
            let sparse = |run: &&Arc<RunFile>| live[&run.number] * SPARSE < run.records;
            let dead =
                |run: &RunFile| run.size_bytes - run.size_bytes * live[&run.number] / run.records.max(1);
            let sparse: Vec<_> = of_class().filter(sparse).take(AT_ONCE).cloned().collect();
            if sparse.iter().map(|run| dead(run)).sum::<u64>() > full_bytes {
                return Some(sparse);
            }
            let largest = of_class().map(|run| size(run)).max().unwrap_or(0);
            for wanted in 0..=largest {
                let same: Vec<_> = of_class().filter(|run| size(run) == wanted).cloned().collect();
                if same.len() >= MANY {
                    return Some(same.into_iter().take(AT_ONCE).collect());
                }
            }
        }
        None
    }

    fn begin_merge(&mut self, runs: &[Arc<RunFile>]) -> (u64, Vec<Input>) {
        let number = self.next_segment;
        self.next_segment += 1;
        let mut inputs = Vec::new();
        for shelf in self.shelves.by_id.values_mut() {
            let id = shelf.id;
            for section in shelf.sections.iter_mut().filter(|section| is_of(section, runs)) {
                section.taken = Some(Vec::new());
                inputs.push(Input {
                    shelf: id,
                    run: Arc::clone(&section.run),
                    index: Arc::clone(&section.index),
                    block: 0,
                    bytes: Vec::new(),
                    rows: Vec::new().into_iter(),
                });
            }
        }
        (number, inputs)
    }

    /// The runs stay, as they are by now.
    fn abandon_merge(&mut self, runs: &[Arc<RunFile>]) {
        for shelf in self.shelves.by_id.values_mut() {
            shelf.sections.iter_mut().filter(|section| is_of(section, runs)).for_each(|it| it.taken = None);
            shelf.sections.retain(|section| !section.is_dead());
        }
    }

    /// Puts the merged run in the place of the others; what was taken meanwhile stays taken.
    fn install_merged(
        &mut self,
        runs: &[Arc<RunFile>],
        run: Arc<RunFile>,
        sections: Vec<(ShelfId, SectionIndex)>,
        copied: &HashMap<ShelfId, SeqSet>,
    ) {
        let mut indexes: HashMap<_, _> = sections.into_iter().collect();
        for shelf in self.shelves.by_id.values_mut() {
            let (old, others): (Vec<_>, Vec<_>) =
                std::mem::take(&mut shelf.sections).into_iter().partition(|section| is_of(section, runs));
            shelf.sections = others;
            // What was cleared meanwhile has no old sections any more.
            let (Some(index), false) = (indexes.remove(&shelf.id), old.is_empty()) else { continue };
            let live = copied.get(&shelf.id).cloned().unwrap_or_default();
            let mut section = Section::whole(Arc::clone(&run), Arc::new(index), live);
            for key in old.into_iter().flat_map(|old| old.taken.unwrap_or_default()) {
                if section.live.contains(key.number) {
                    section.take(key);
                }
            }
            if !section.is_dead() {
                shelf.sections.push(section);
            }
        }
        self.shelves.runs.push(run);
    }
}

fn is_of(section: &Section, runs: &[Arc<RunFile>]) -> bool {
    runs.iter().any(|run| run.number == section.run.number)
}
