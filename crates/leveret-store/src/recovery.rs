//! Opening a data directory: the newest manifest, then the journal from there on, then everything that lives in
//! the old journal moved out of it. What this costs is bounded by the journal's size.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{
    Damage, Options, QueueId, QueueRef, StoreError,
    core::Core,
    engine::{Engine, Listener},
    journal::{
        files::{ClosedFile, JournalFiles, slot_of},
        op::{Op, OpError, Ops},
        pending::Pending,
        scan::FileScan,
    },
    layout::VERSION,
    manifest::{self, Manifest, ManifestFiles},
    rebuild,
    relocate::Keep,
    segment::parse_name,
    stats::Counts,
    storage::Storage,
};

/// What was found when a store was opened.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// The queues that are known, in no order.
    pub queues: Vec<RecoveredQueue>,
    /// Whether the store had been closed in order.
    pub clean: bool,
    /// The file and offset of a torn tail that was cut.
    pub torn_tail: Option<(String, u64)>,
    /// Damage found; more may be found when records are read.
    pub damage: Vec<Damage>,
    /// How long it took.
    pub took: Duration,
}

/// A queue found when a store was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredQueue {
    /// Its handle.
    pub queue: QueueRef,
    /// How many records wait in it.
    pub records: u64,
    /// Their bodies' size in bytes; an estimate where part of a segment is settled.
    pub body_bytes: u64,
    /// The lowest number that waits.
    pub first: Option<u64>,
    /// The highest number ever used, waiting or not. New records must be numbered above.
    pub max_seq: u64,
}

/// A journal file on the disk, and its number.
pub(crate) struct JournalFile {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) nonce: u64,
    pub(crate) size_bytes: u64,
    /// Position of the first valid group.
    pub(crate) start: u64,
    /// Where that group stands; not zero only when what was before it is damaged.
    pub(crate) offset: u64,
}

/// Replays the journal into a core.
pub(crate) struct Replay<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) core: Core,
    /// Groups before this are in the manifest already.
    pub(crate) from: u64,
    /// Where the next group should begin; `None` before the first.
    pub(crate) position: Option<u64>,
    pub(crate) torn_tail: Option<(String, u64)>,
    pub(crate) groups_replayed: u64,
}

pub(crate) fn open(
    storage: Arc<dyn Storage>,
    options: Options,
    listener: Listener,
) -> Result<(Engine, Recovery), StoreError> {
    let began = Instant::now();
    storage.lock(true).map_err(|error| lock_error(&*storage, error))?;
    let names = storage.list().map_err(|error| StoreError::io("list", &storage.location(), error))?;
    let (manifest, invalid) = manifest::read_newest(&*storage)?;
    let manifest_number = manifest.as_ref().map_or(0, |manifest| manifest.number);
    let (core, first_file, clean) = begin(&*storage, &names, manifest, &invalid)?;
    let (mut journal, spare) = survey(&*storage, &names, first_file)?;
    let from = core.pending.start;
    let mut replay =
        Replay { storage: &*storage, core, from, position: None, torn_tail: None, groups_replayed: 0 };
    let damaged = replay.run(first_file, &journal)?;
    let next_file = journal.last().map_or(first_file, |file| file.number + 1);
    let clean = clean && replay.groups_replayed == 0;
    let written_to = replay.position.unwrap_or(from);
    let (core, torn_tail) = replay.finish(next_file, clean);

    let next_slot = names.iter().filter_map(|name| slot_of(name)).max().map_or(0, |slot| slot + 1);
    let mut files =
        JournalFiles::new(Arc::clone(&storage), options.journal_file_bytes, next_slot, written_to);
    for file in journal.drain(..) {
        let damaged = damaged.contains(&file.number);
        files.add_closed(ClosedFile {
            number: file.number,
            name: file.name,
            size_bytes: file.size_bytes,
            damaged,
        });
    }
    spare.into_iter().take(options.journal_files).for_each(|name| files.add_spare(name));
    let manifests = ManifestFiles::new(Arc::clone(&storage), manifest_number);
    let engine = Engine {
        storage,
        options,
        core: Mutex::new(core),
        files: Mutex::new(files),
        house: Mutex::new(manifests),
        listener,
        gathered: Condvar::new(),
        progress: Condvar::new(),
        chores: Mutex::default(),
        chore: Condvar::new(),
        congested: AtomicBool::new(false),
        buffers: Mutex::default(),
        counts: Counts::default(),
    };
    engine.checkpoint(&mut engine.house.lock(), Some(next_file), false, Keep::InMemoryToo)?;
    let recovery = engine.describe(clean, torn_tail, began.elapsed());
    Ok((engine, recovery))
}

fn lock_error(storage: &dyn Storage, error: io::Error) -> StoreError {
    let directory = storage.location();
    match error.kind() {
        io::ErrorKind::WouldBlock => StoreError::InUse { directory },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly { directory, source: Arc::new(error) }
        }
        _ => StoreError::io("lock", &directory, error),
    }
}

/// The core as the manifest has it; or, without one, as the segments have it.
fn begin(
    storage: &dyn Storage,
    names: &[String],
    manifest: Option<Manifest>,
    invalid: &[String],
) -> Result<(Core, u64, bool), StoreError> {
    let next_segment =
        names.iter().filter_map(|name| parse_name(name)).map(|(_, number, _)| number + 1).max();
    let next_segment = next_segment.unwrap_or(1);
    let Some(manifest) = manifest else {
        let mut core = Core::new(Pending::new(1, 0), next_segment);
        if !is_fresh(storage, names, invalid)? {
            rebuild::from_segments(storage, names, invalid, &mut core)?;
        }
        return Ok((core, 1, false));
    };
    let mut core = Core::new(Pending::new(manifest.first_file, manifest.position), next_segment);
    for state in manifest.queues {
        let queue = core.open_queue(state.id);
        if let Some(slot) = core.queue(queue) {
            *slot = state;
        }
    }
    reconcile(storage, names, &mut core);
    Ok((core, manifest.first_file, manifest.clean))
}

/// Without a manifest: whether there never was one. The first may have been torn.
fn is_fresh(storage: &dyn Storage, names: &[String], invalid: &[String]) -> Result<bool, StoreError> {
    let has_segments = names.iter().any(|name| parse_name(name).is_some());
    Ok(invalid.len() < manifest::NAMES.len() && !has_segments && survey(storage, names, 0)?.0.is_empty())
}

/// Reports segments that are named but not there, and removes those that are there but not named.
fn reconcile(storage: &dyn Storage, names: &[String], core: &mut Core) {
    let mut wanted = HashSet::new();
    let mut missing = Vec::new();
    let there: HashSet<&str> = names.iter().map(String::as_str).collect();
    for state in core.queues.iter_mut().flatten() {
        state.segments.retain(|segment| {
            let name = segment.name();
            let is_there = there.contains(name.as_str());
            if is_there {
                wanted.insert(name);
            } else {
                missing.push((name, segment.queue, segment.live.len()));
            }
            is_there
        });
    }
    for (file, queue, lost) in missing {
        let what = "the segment is missing".into();
        core.report(Damage { file, offset: 0, queue: Some(queue), lost_records: Some(lost), what });
    }
    for name in names.iter().filter(|name| parse_name(name).is_some() && !wanted.contains(*name)) {
        if let Err(error) = storage.remove(name) {
            tracing::warn!("cannot remove {name}: {error}");
        }
    }
}

/// The journal's files from `first_file` on in their order, and those that are free to be used.
pub(crate) fn survey(
    storage: &dyn Storage,
    names: &[String],
    first_file: u64,
) -> Result<(Vec<JournalFile>, Vec<String>), StoreError> {
    let (mut journal, mut spare) = (Vec::new(), Vec::new());
    for name in names.iter().filter(|name| slot_of(name).is_some()) {
        let mut scan = FileScan::open(storage, name)?;
        match scan.identify(first_file)? {
            Some(header) => journal.push(JournalFile {
                name: name.clone(),
                number: header.file,
                nonce: header.nonce,
                size_bytes: scan.size_bytes,
                start: header.start,
                offset: scan.offset,
            }),
            None => spare.push(name.clone()),
        }
    }
    journal.sort_unstable_by_key(|file| file.number);
    Ok((journal, spare))
}

impl Replay<'_> {
    /// Walks over all files; returns the numbers of those in which damage was found.
    pub(crate) fn run(&mut self, first_file: u64, files: &[JournalFile]) -> Result<HashSet<u64>, StoreError> {
        let mut damaged = HashSet::new();
        let mut expected = first_file;
        for (index, file) in files.iter().enumerate() {
            if file.number != expected {
                self.report(
                    &file.name,
                    0,
                    format!("journal files {expected} to {} are missing", file.number - 1),
                );
                self.position = None;
            }
            expected = file.number + 1;
            let next = files.get(index + 1).map(|next| next.start);
            if self.replay_file(file, next)? {
                damaged.insert(file.number);
            }
        }
        Ok(damaged)
    }

    fn replay_file(&mut self, file: &JournalFile, next_start: Option<u64>) -> Result<bool, StoreError> {
        let mut scan = FileScan::open(self.storage, &file.name)?;
        scan.expect(file.number, file.nonce);
        let mut damaged = file.offset > 0;
        if damaged {
            self.report(&file.name, 0, "the file's first groups are not readable".into());
            scan.offset = file.offset;
            self.position = None;
        }
        loop {
            damaged |= self.replay_groups(&mut scan)?;
            let (offset, position) = (scan.offset, self.position.unwrap_or(0));
            if next_start.is_some_and(|start| start == position) {
                return Ok(damaged);
            }
            if scan.resync(position)?.is_some() {
                let what = format!("groups up to offset {} are not readable", scan.offset);
                self.report(&file.name, offset, what);
                self.position = None;
                damaged = true;
                continue;
            }
            if next_start.is_some() {
                self.report(&file.name, offset, "groups at the file's end are missing".into());
                self.position = None;
                return Ok(true);
            }
            self.note_tail(&mut scan, offset)?;
            return Ok(damaged);
        }
    }

    /// Replays groups as long as they are valid and continue each other.
    fn replay_groups(&mut self, scan: &mut FileScan) -> Result<bool, StoreError> {
        let mut damaged = false;
        let name = scan.name.clone();
        loop {
            let offset = scan.offset;
            let Some((header, body)) = scan.group()? else { return Ok(damaged) };
            if self.position.is_some_and(|position| position != header.start) {
                self.report(&name, offset, format!("groups up to position {} are missing", header.start));
                damaged = true;
            }
            self.position = Some(header.end);
            if header.end > self.from {
                self.groups_replayed += 1;
                self.apply(header.file, body, &name, offset)?;
            }
        }
    }

    fn apply(&mut self, file: u64, body: &[u8], name: &str, offset: u64) -> Result<(), StoreError> {
        for op in Ops::new(body) {
            match op {
                Ok(op) => self.core.replay(file, op),
                Err(OpError::Unknown { version, .. }) => {
                    let found = VERSION.max(u16::from(version)).saturating_add(1);
                    return Err(StoreError::NewerFormat { file: name.into(), found, supported: VERSION });
                }
                Err(OpError::Malformed) => self.report(name, offset, "a malformed operation".into()),
            }
        }
        Ok(())
    }

    fn note_tail(&mut self, scan: &mut FileScan, offset: u64) -> Result<(), StoreError> {
        if scan.begins_a_group(offset)? {
            tracing::warn!(file = %scan.name, offset, "cut a torn tail: the last commit was not finished");
            self.torn_tail = Some((scan.name.clone(), offset));
        }
        Ok(())
    }

    fn report(&mut self, file: &str, offset: u64, what: String) {
        self.core.report(Damage { file: file.to_owned(), offset, queue: None, lost_records: None, what });
    }

    /// The core, ready to gather its first group.
    fn finish(self, next_file: u64, clean: bool) -> (Core, Option<(String, u64)>) {
        let mut core = self.core;
        let position = self.position.unwrap_or(0).max(self.from);
        core.pending.file = next_file;
        core.pending.start = position;
        core.pending.end = position;
        core.committed = position;
        if !clean {
            for state in core.queues.iter_mut().flatten() {
                state.redelivered_up_to = state.max_seq;
            }
        }
        (core, self.torn_tail)
    }
}

impl Core {
    fn replay(&mut self, file: u64, op: Op<'_>) {
        match op {
            Op::Append(append) => {
                for (id, seq) in append.targets() {
                    self.replay_append(file, id, seq, append.body.len());
                }
            }
            Op::Settle { queue, ranges } => {
                for (first, count) in ranges {
                    self.replay_settle(queue, first, count);
                }
            }
            Op::Purge { queue, up_to, keep } => self.apply_purge(queue, up_to, &keep.collect::<Vec<_>>()),
            Op::Delete { queue } => self.apply_delete(queue),
        }
    }

    fn replay_append(&mut self, file: u64, id: QueueId, seq: u64, body_bytes: usize) {
        let queue = self.open_queue(id);
        if let Some(state) = self.queue(queue) {
            // It is here twice when the journal was being shortened.
            state.journal_remove(seq);
            if !state.in_segment(seq) {
                state.journal_insert(file, seq, body_bytes);
            }
        }
    }
}

impl Engine {
    fn describe(&self, clean: bool, torn_tail: Option<(String, u64)>, took: Duration) -> Recovery {
        let core = self.core.lock();
        let queues = core.queues().map(|(queue, state)| {
            let (records, body_bytes) = state.durable_totals();
            RecoveredQueue {
                queue,
                records,
                body_bytes,
                first: state.first_durable(),
                max_seq: state.max_seq,
            }
        });
        Recovery { queues: queues.collect(), clean, torn_tail, damage: core.damage.clone(), took }
    }
}
