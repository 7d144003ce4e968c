//! What a manifest says of the shelves: their state at the instant at which the table in memory was frozen, with the
//! run that was made of it. The journal from there on leads to the present.

use crate::{
    core::Core,
    held::{ShelfId, section::Section, tally::Tally},
    layout::{Fields, PutFields},
    seq_set::SeqSet,
};

#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// Groups up to here are contained.
    pub(crate) position: u64,
    /// Later groups stand in this journal file or a later one.
    pub(crate) file: u64,
    /// The runs it names, each with its length.
    pub(crate) runs: Vec<(u64, u64)>,
    pub(crate) shelves: Vec<ShelfSnapshot>,
}

#[derive(Debug, Clone)]
pub(crate) struct ShelfSnapshot {
    pub(crate) id: ShelfId,
    pub(crate) max_number: u64,
    pub(crate) tally: Tally,
    pub(crate) sections: Vec<SectionSnapshot>,
}

#[derive(Debug, Clone)]
pub(crate) struct SectionSnapshot {
    pub(crate) run: u64,
    pub(crate) live: SeqSet,
    pub(crate) block_live: Vec<u32>,
}

impl SectionSnapshot {
    pub(crate) fn of(section: &Section) -> Self {
        let (live, block_live) = (section.live.clone(), section.block_live.clone());
        Self { run: section.run.number, live, block_live }
    }
}

impl Snapshot {
    /// The state now, which stands between two groups. What is in memory is left out.
    pub(crate) fn of(core: &Core) -> Self {
        let mut snapshot = Self { position: core.pending.start, file: core.pending.file, ..Self::default() };
        for shelf in core.shelves.by_id.values() {
            let durable = shelf.sections.iter().filter(|section| !section.run.transient);
            let sections: Vec<_> = durable.clone().map(SectionSnapshot::of).collect();
            snapshot.runs.extend(durable.map(|section| (section.run.number, section.run.size_bytes)));
            let (id, max_number, tally) = (shelf.id, shelf.max_number, shelf.durable.clone());
            snapshot.shelves.push(ShelfSnapshot { id, max_number, tally, sections });
        }
        snapshot.runs.sort_unstable();
        snapshot.runs.dedup();
        snapshot
    }

    pub(crate) fn names(&self, run: u64) -> bool {
        self.runs.binary_search_by_key(&run, |(number, _)| *number).is_ok()
    }

    /// Adds a section of a run that was written since.
    pub(crate) fn add(&mut self, shelf: ShelfId, section: &Section) {
        let run = (section.run.number, section.run.size_bytes);
        if let Err(at) = self.runs.binary_search(&run) {
            self.runs.insert(at, run);
        }
        if let Some(shelf) = self.shelves.iter_mut().find(|other| other.id == shelf) {
            shelf.sections.push(SectionSnapshot::of(section));
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.position);
        out.put_u64(self.file);
        out.put_u32(self.runs.len() as u32);
        for &(number, size_bytes) in &self.runs {
            out.put_u64(number);
            out.put_u64(size_bytes);
        }
        out.put_u32(self.shelves.len() as u32);
        for shelf in &self.shelves {
            out.put_u64(shelf.id.0);
            out.put_u64(shelf.max_number);
            shelf.tally.encode(out);
            out.put_u32(shelf.sections.len() as u32);
            for section in &shelf.sections {
                out.put_u64(section.run);
                section.live.encode(out);
                out.put_u32(section.block_live.len() as u32);
                section.block_live.iter().for_each(|&live| out.put_u32(live));
            }
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (position, file, runs) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let runs = (0..runs).map(|_| Some((fields.u64()?, fields.u64()?))).collect::<Option<_>>()?;
        let shelves = fields.u32()?;
        let shelves = (0..shelves).map(|_| decode_shelf(fields)).collect::<Option<_>>()?;
        Some(Self { position, file, runs, shelves })
    }
}

fn decode_shelf(fields: &mut Fields<'_>) -> Option<ShelfSnapshot> {
    let (id, max_number) = (ShelfId(fields.u64()?), fields.u64()?);
    let tally = Tally::decode(fields)?;
    let sections = fields.u32()?;
    let sections = (0..sections).map(|_| {
        let (run, live, blocks) = (fields.u64()?, SeqSet::decode(fields)?, fields.u32()?);
        let block_live = (0..blocks).map(|_| fields.u32()).collect::<Option<_>>()?;
        Some(SectionSnapshot { run, live, block_live })
    });
    Some(ShelfSnapshot { id, max_number, tally, sections: sections.collect::<Option<_>>()? })
}
