//! The shelves as a manifest has them, or, without one, as the runs have them; and what becomes of files that nobody
//! names.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Damage, StoreError,
    core::Core,
    engine::Engine,
    held::{
        ShelfId,
        run::{RunFile, SectionIndex, parse_name, records, run_name},
        section::Section,
        snapshot::{SectionSnapshot, ShelfSnapshot, Snapshot},
    },
    seq_set::SeqSet,
    storage::Storage,
};

type Found = HashMap<u64, (Arc<RunFile>, HashMap<ShelfId, Arc<SectionIndex>>)>;

/// The lowest number that no run has had.
pub(crate) fn next_run(names: &[String]) -> u64 {
    names.iter().filter_map(|name| parse_name(name)).map(|(number, _)| number + 1).max().unwrap_or(1)
}

/// Puts the shelves of a manifest into the core. A run that is not there is lost; one that cannot be read now may be
/// readable at the next start, so that there is none with less than what it holds.
pub(crate) fn from_snapshot(
    storage: &dyn Storage,
    core: &mut Core,
    snapshot: Snapshot,
) -> Result<(), StoreError> {
    let mut found = Found::new();
    for &(number, size_bytes) in &snapshot.runs {
        let (run, sections) = match RunFile::open(storage, number, size_bytes) {
            Err(error) if error.is_not_found() => {
                core.report(damage(run_name(number, false), 0, None, error.to_string()));
                continue;
            }
            opened => opened?,
        };
        let run = Arc::new(run);
        core.shelves.runs.push(Arc::clone(&run));
        let sections = sections.into_iter().map(|(id, index)| (id, Arc::new(index)));
        found.insert(number, (run, sections.collect()));
    }
    for shelf in &snapshot.shelves {
        restore_shelf(core, shelf, &found)?;
    }
    core.shelves.saved = snapshot;
    Ok(())
}

fn restore_shelf(core: &mut Core, saved: &ShelfSnapshot, found: &Found) -> Result<(), StoreError> {
    let shelf = core.shelves.shelf(saved.id);
    shelf.max_number = saved.max_number;
    shelf.durable = saved.tally.clone();
    let mut lost = Vec::new();
    for section in &saved.sections {
        let run = found.get(&section.run);
        let restored = match run {
            Some((run, indexes)) => restore_section(section, run, indexes.get(&saved.id))?,
            None => None,
        };
        let wanted: u64 = section.block_live.iter().map(|&live| u64::from(live)).sum();
        let missing = wanted.saturating_sub(restored.as_ref().map_or(0, Section::count));
        if missing > 0 {
            run.inspect(|(run, _)| run.note_damage());
            lost.push((section.run, missing));
        }
        shelf.sections.extend(restored.filter(|restored| !restored.is_dead()));
    }
    let average = shelf.durable.bytes / shelf.durable.count.max(1);
    for (_, count) in &lost {
        shelf.durable.lose(*count, count * average);
    }
    for (run, count) in lost {
        let what = format!("records of shelf {} in this run are not readable", saved.id.0);
        core.report(damage(run_name(run, false), 0, Some(count), what));
    }
    Ok(())
}

/// What is there of a shelf's part of a run.
fn restore_section(
    saved: &SectionSnapshot,
    run: &Arc<RunFile>,
    index: Option<&Arc<SectionIndex>>,
) -> Result<Option<Section>, StoreError> {
    let Some(index) = index else { return Ok(None) };
    let (live, block_live) = if index.blocks.len() == saved.block_live.len() {
        (saved.live.clone(), saved.block_live.clone())
    } else {
        living(saved, run, index)?
    };
    Ok(Some(Section::new(Arc::clone(run), Arc::clone(index), live, block_live)))
}

/// What lives in which block, by the records themselves: the index was made anew, and blocks are missing in it.
fn living(
    saved: &SectionSnapshot,
    run: &RunFile,
    index: &SectionIndex,
) -> Result<(SeqSet, Vec<u32>), StoreError> {
    let (mut live, mut block_live) = (SeqSet::default(), vec![0; index.blocks.len()]);
    for (block, count) in index.blocks.iter().zip(&mut block_live) {
        let bytes = run.block(block)?.unwrap_or_default();
        let numbers = records(&bytes, 0).map(|(_, record)| record.key.number);
        for number in numbers.filter(|&number| saved.live.contains(number)) {
            live.insert(number);
            *count += 1;
        }
    }
    Ok((live, block_live))
}

/// Takes everything that the runs have as held: what was taken may be back.
pub(crate) fn from_runs(storage: &dyn Storage, names: &[String], core: &mut Core) -> Result<(), StoreError> {
    for name in names {
        let Some((number, false)) = parse_name(name) else { continue };
        let size_bytes = RunFile::open_any(storage, name)?.size_bytes;
        let (run, _) = RunFile::open(storage, number, size_bytes)?;
        let run = Arc::new(run);
        let mut live = HashMap::<ShelfId, SeqSet>::new();
        let mut doubles = Vec::new();
        let cell = core.shelves.cell;
        let sections = run.scan(|id, record| {
            let shelf = core.shelves.shelf(id);
            shelf.max_number = shelf.max_number.max(record.key.number);
            live.entry(id).or_default().insert(record.key.number);
            // A run and the one that was made of it may both be there.
            if shelf.section_of(record.key).is_some() {
                doubles.push((id, record.key));
            } else {
                shelf.durable.add(cell, record.key.due, record.body.len() as u64);
            }
        })?;
        for (id, index) in sections {
            let live = live.remove(&id).unwrap_or_default();
            let mut section = Section::whole(Arc::clone(&run), Arc::new(index), live);
            doubles.iter().filter(|(other, _)| *other == id).for_each(|(_, key)| section.take(*key));
            if !section.is_dead() {
                core.shelves.shelf(id).sections.push(section);
            }
        }
        if run.is_damaged() {
            core.report(damage(name.clone(), 0, None, "blocks of this run are not readable".into()));
        }
        core.shelves.runs.push(run);
    }
    Ok(())
}

/// Removes runs that no manifest names: their records stand in the journal, or nobody wants them.
pub(crate) fn remove_unnamed(storage: &dyn Storage, names: &[String], core: &Core) {
    for name in names {
        let unnamed = parse_name(name)
            .is_some_and(|(number, transient)| transient || !core.shelves.saved.names(number));
        if unnamed && let Err(error) = storage.remove(name) {
            tracing::warn!("cannot remove {name}: {error}");
        }
    }
}

fn damage(file: String, offset: u64, lost_records: Option<u64>, what: String) -> Damage {
    Damage { file, offset, queue: None, lost_records, what }
}

impl Engine {
    /// Removes the runs in which nothing lives, and which the last manifest does not name.
    pub(crate) fn remove_dead_runs(&self) {
        let dead = {
            let mut core = self.core.lock();
            let shelves = &mut core.shelves;
            let living: Vec<u64> = shelves
                .by_id
                .values()
                .flat_map(|shelf| shelf.sections.iter().map(|section| section.run.number))
                .collect();
            let is_needed = |run: &Arc<RunFile>| {
                (!run.transient && shelves.saved.names(run.number)) || living.contains(&run.number)
            };
            let (needed, dead): (Vec<_>, Vec<_>) =
                std::mem::take(&mut shelves.runs).into_iter().partition(is_needed);
            core.shelves.runs = needed;
            dead
        };
        dead.iter().for_each(|run| self.discard(&run.name(), run.is_damaged()));
    }
}
