//! The check: reads manifests, journal and segments with all of their checksums.

use std::path::Path;

use crate::{
    Damage, Options, StoreError,
    core::Core,
    held::{ShelfId, restore, run::RunFile},
    inspect::lock_shared,
    journal::pending::Pending,
    manifest,
    replay::{Replay, survey},
    segment::{
        Segment,
        block::{BlockRecords, FILE_HEADER_BYTES, FileHeader},
        cursor::{BlockCursor, Found},
    },
    seq_set::SeqSet,
    storage::{DirectoryStorage, Storage},
};

const READ_BYTES: usize = 1 << 20;

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Whether the store was closed in order.
    pub clean: bool,
    /// Queues known.
    pub queues: u64,
    /// Records that wait and are readable.
    pub live_records: u64,
    /// Shelves known.
    pub shelves: u64,
    /// Records that are held and readable.
    pub held_records: u64,
    /// Segments that the manifest names.
    pub segments: u64,
    /// Journal files in use.
    pub journal_files: u64,
    /// Groups in the journal after the manifest.
    pub groups: u64,
    /// A torn tail that the next start will cut: file and offset.
    pub torn_tail: Option<(String, u64)>,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// Checks a data directory.
///
/// # Errors
/// [`StoreError::InUse`] while a store is open on it, [`StoreError::NewerFormat`], or what the disk says.
pub fn check(directory: &Path) -> Result<CheckReport, StoreError> {
    check_on(&DirectoryStorage::new(directory))
}

/// [`check`] on another storage than a directory.
///
/// # Errors
/// As [`check`].
pub fn check_on(storage: &dyn Storage) -> Result<CheckReport, StoreError> {
    lock_shared(storage)?;
    let names = storage.list().map_err(|error| StoreError::io("list", &storage.location(), error))?;
    let (manifest, invalid) = manifest::read_newest(storage)?;
    let mut report = CheckReport::default();
    let options = Options::default();
    let mut core = Core::new(Pending::new(1, 0), 1, &options);
    let mut first_file = 1;
    if let Some(manifest) = manifest {
        core = Core::new(Pending::new(manifest.first_file, manifest.position), 1, &options);
        (first_file, report.clean) = (manifest.first_file, manifest.clean);
        for state in manifest.queues {
            let queue = core.open_queue(state.id);
            if let Some(slot) = core.queue(queue) {
                *slot = state;
            }
        }
        restore::from_snapshot(storage, &mut core, manifest.held)?;
    }
    let (journal, _) = survey(storage, &names, first_file)?;
    let mut replay = Replay::new(storage, core);
    replay.run(first_file, &journal)?;
    report.journal_files = journal.len() as u64;
    report.groups = replay.groups_replayed;
    report.clean &= replay.groups_replayed == 0;
    report.torn_tail = replay.torn_tail.take();
    check_segments(storage, &replay.core, &mut report)?;
    check_shelves(&replay.core, &mut report)?;
    report.damage.extend(std::mem::take(&mut replay.core.damage));
    report.damage.extend(invalid.into_iter().map(|file| Damage {
        file,
        offset: 0,
        queue: None,
        lost_records: None,
        what: "the manifest is torn or damaged; the other one counts".into(),
    }));
    Ok(report)
}

fn check_shelves(core: &Core, report: &mut CheckReport) -> Result<(), StoreError> {
    for shelf in core.shelves.by_id.values() {
        report.shelves += 1;
        report.held_records += shelf.fresh.len() as u64;
        for section in &shelf.sections {
            for (number, block) in section.index.blocks.iter().enumerate() {
                let live = section.block_live[number];
                match section.run.block(block)? {
                    Some(_) => report.held_records += u64::from(live),
                    None => report.damage.push(damaged_block(
                        shelf.id,
                        &section.run,
                        RunFile::offset_of(block),
                        live,
                    )),
                }
            }
        }
    }
    Ok(())
}

fn damaged_block(shelf: ShelfId, run: &RunFile, offset: u64, live: u32) -> Damage {
    let what = format!("checksum of a block of shelf {}", shelf.0);
    Damage { file: run.name(), offset, queue: None, lost_records: Some(live.into()), what }
}

fn check_segments(storage: &dyn Storage, core: &Core, report: &mut CheckReport) -> Result<(), StoreError> {
    for (_, state) in core.queues() {
        report.queues += 1;
        report.live_records += state.journal.iter().map(|set| set.seqs.len()).sum::<u64>();
        for segment in &state.segments {
            report.segments += 1;
            report.live_records += check_segment(storage, segment, &mut report.damage)?;
        }
    }
    Ok(())
}

/// Returns how many live records are readable.
fn check_segment(
    storage: &dyn Storage,
    segment: &Segment,
    damage: &mut Vec<Damage>,
) -> Result<u64, StoreError> {
    let name = segment.name();
    let mut note = |offset: u64, what: &str, lost_records: Option<u64>| {
        let queue = Some(segment.queue);
        damage.push(Damage { file: name.clone(), offset, queue, lost_records, what: what.to_owned() });
    };
    let Ok(file) = storage.open(&name, false) else {
        note(0, "the segment is missing", Some(segment.live.len()));
        return Ok(0);
    };
    let mut header = [0; FILE_HEADER_BYTES];
    file.read_at(&mut header, 0).map_err(|error| StoreError::io("read", &name, error))?;
    if FileHeader::decode(&header).is_none_or(|header| header.queue != segment.queue) {
        note(0, "the segment's header", None);
    }
    let end = segment.extent.size_bytes;
    let mut cursor = BlockCursor::new(name.clone(), file, 0, end, READ_BYTES, Vec::new());
    let mut found_live = SeqSet::default();
    while let Some(found) = cursor.next()? {
        match found {
            Found::Bad { offset, what } => note(offset, what, None),
            Found::Block { header, offset } => {
                let block = &cursor.block(offset)[..header.block_bytes()];
                let live = BlockRecords::new(block).map(|record| record.seq);
                live.filter(|&seq| segment.live.contains(seq)).for_each(|seq| {
                    found_live.insert(seq);
                });
            }
        }
    }
    let lost = segment.live.len() - found_live.len();
    if lost > 0 {
        note(0, "live records are not readable", Some(lost));
    }
    Ok(found_live.len())
}
