//! Opening a data directory: the newest manifest, then the journal from there on, then everything that lives in
//! the old journal moved out of it. What this costs is bounded by the journal's size.

use std::{
    collections::HashSet,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Damage, Options, QueueRef, StoreError,
    core::Core,
    engine::{Engine, Listener},
    held::{ShelfId, restore},
    journal::{
        files::{ClosedFile, JournalFiles, slot_of},
        pending::Pending,
    },
    manifest::{self, Manifest, ManifestFiles},
    rebuild,
    relocate::Keep,
    replay::{Replay, survey},
    segment::parse_name,
    storage::{PatientStorage, Storage},
};

/// What was found when a store was opened.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// The queues that are known, in no order.
    pub queues: Vec<RecoveredQueue>,
    /// The shelves that are known, in no order.
    pub shelves: Vec<ShelfId>,
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
    let (core, first_file, clean) = begin(&*storage, &options, &names, manifest, &invalid)?;
    let (journal, spare) = survey(&*storage, &names, first_file)?;
    let next_file = journal.last().map_or(first_file, |file| file.number + 1);
    let mut replay = Replay::new(&*storage, core);
    let damaged = replay.run(first_file, &journal)?;
    let replayed = replay.finish(next_file, clean);

    let patient = Arc::new(PatientStorage::new(Arc::clone(&storage)));
    let own: Arc<dyn Storage> = Arc::clone(&patient) as _;
    let mut files = JournalFiles::new(Arc::clone(&own), options.journal_file_bytes, replayed.written_to);
    names.iter().filter_map(|name| slot_of(name)).for_each(|slot| files.reserve_slot(slot));
    for file in journal {
        let (damaged, number) = (damaged.contains(&file.number), file.number);
        files.add_closed(ClosedFile { number, name: file.name, size_bytes: file.size_bytes, damaged });
    }
    let manifests = ManifestFiles::new(own, manifest_number);
    let engine = Engine::new((storage, patient), options, listener, replayed.core, files, manifests);
    engine.take_spare(spare);
    engine.checkpoint(&mut engine.house.lock(), Some(next_file), false, Keep::InMemoryToo)?;
    let recovery = engine.describe(replayed.clean, replayed.torn_tail, began.elapsed());
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
    options: &Options,
    names: &[String],
    manifest: Option<Manifest>,
    invalid: &[String],
) -> Result<(Core, u64, bool), StoreError> {
    let next_segment =
        names.iter().filter_map(|name| parse_name(name)).map(|(_, number, _)| number + 1).max();
    let next_segment = next_segment.unwrap_or(1).max(restore::next_run(names));
    let Some(manifest) = manifest else {
        let mut core = Core::new(Pending::new(1, 0), next_segment, options);
        if !is_fresh(storage, names, invalid)? {
            rebuild::from_segments(storage, names, invalid, &mut core)?;
            restore::from_runs(storage, names, &mut core)?;
        }
        return Ok((core, 1, false));
    };
    let mut core = Core::new(Pending::new(manifest.first_file, manifest.position), next_segment, options);
    for state in manifest.queues {
        let queue = core.open_queue(state.id);
        if let Some(slot) = core.queue(queue) {
            *slot = state;
        }
    }
    reconcile(storage, names, &mut core);
    restore::from_snapshot(storage, &mut core, manifest.held)?;
    restore::remove_unnamed(storage, names, &core);
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

impl Engine {
    /// Keeps as many spare journal files as there is use for.
    fn take_spare(&self, mut names: Vec<String>) {
        let superfluous = names.split_off(names.len().min(self.options.journal_files));
        names.into_iter().for_each(|name| self.files.lock().add_spare(name));
        superfluous.iter().for_each(|name| self.discard(name, false));
    }

    fn describe(&self, clean: bool, torn_tail: Option<(String, u64)>, took: Duration) -> Recovery {
        let core = self.core.lock();
        let queues = core.queues().map(|(queue, state)| {
            let (records, body_bytes) = state.durable_totals();
            RecoveredQueue {
                queue,
                records,
                body_bytes,
                first: state.first_durable(),
                max_seq: state.max_seq.max(state.purged_up_to),
            }
        });
        let shelves = core.shelves.by_id.keys().copied().collect();
        Recovery { queues: queues.collect(), shelves, clean, torn_tail, damage: core.damage.clone(), took }
    }
}
