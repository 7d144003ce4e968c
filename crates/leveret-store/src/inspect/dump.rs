//! The dump: journal operations and segment records one after another, as they stand on the disk.

use std::{path::Path, sync::Arc};

use crate::{
    HeldKey, QueueId, ShelfId, StoreError,
    held::run::{self, RunFile, RunRecord, Walked, records},
    inspect::lock_shared,
    journal::{
        op::{HeldOp, Op, Ops},
        scan::FileScan,
    },
    replay::survey,
    segment::{
        block::BlockRecords,
        cursor::{BlockCursor, Found},
        parse_name,
    },
    storage::{DirectoryStorage, Storage},
};

const READ_BYTES: usize = 1 << 20;

/// One thing on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DumpEntry {
    /// A record appended in the journal.
    Append {
        /// Name of the file.
        file: String,
        /// Offset of its group.
        offset: u64,
        /// The caller's bits.
        flags: u16,
        /// Queues and numbers.
        targets: Vec<(QueueId, u64)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Records settled in the journal.
    Settle {
        /// Name of the file.
        file: String,
        /// Offset of its group.
        offset: u64,
        /// The queue.
        queue: QueueId,
        /// First numbers and how many.
        ranges: Vec<(u64, u64)>,
    },
    /// A purge in the journal.
    Purge {
        /// Name of the file.
        file: String,
        /// Offset of its group.
        offset: u64,
        /// The queue.
        queue: QueueId,
        /// The last number purged.
        up_to: u64,
        /// Numbers kept.
        keep: Vec<u64>,
    },
    /// A queue deleted in the journal.
    Delete {
        /// Name of the file.
        file: String,
        /// Offset of its group.
        offset: u64,
        /// The queue.
        queue: QueueId,
    },
    /// Records marked in the journal.
    Mark {
        /// Name of the file.
        file: String,
        /// Offset of its group.
        offset: u64,
        /// The queue.
        queue: QueueId,
        /// Numbers and marks.
        marks: Vec<(u64, u64)>,
    },
    /// A record in a segment, settled or not.
    Record {
        /// Name of the file.
        file: String,
        /// Offset of its block.
        offset: u64,
        /// The queue.
        queue: QueueId,
        /// Its number.
        seq: u64,
        /// The caller's bits.
        flags: u16,
        /// The body.
        body: Vec<u8>,
    },
    /// A record held in the journal.
    Hold {
        /// Name of the file.
        file: String,
        /// Offset of its group.
        offset: u64,
        /// The shelf.
        shelf: ShelfId,
        /// Its place.
        key: HeldKey,
        /// The caller's bits.
        flags: u16,
        /// The body.
        body: Vec<u8>,
    },
    /// Records taken off a shelf in the journal.
    Take {
        /// Name of the file.
        file: String,
        /// Offset of its group.
        offset: u64,
        /// The shelf.
        shelf: ShelfId,
        /// Their places.
        taken: Vec<HeldKey>,
    },
    /// A shelf cleared or deleted in the journal.
    Clear {
        /// Name of the file.
        file: String,
        /// Offset of its group.
        offset: u64,
        /// The shelf.
        shelf: ShelfId,
    },
    /// A record in a run, taken or not.
    Held {
        /// Name of the file.
        file: String,
        /// Offset of its block.
        offset: u64,
        /// The shelf.
        shelf: ShelfId,
        /// Its place.
        key: HeldKey,
        /// The caller's bits.
        flags: u16,
        /// The body.
        body: Vec<u8>,
    },
    /// Something unreadable.
    Unreadable {
        /// Name of the file.
        file: String,
        /// Where.
        offset: u64,
        /// Why.
        what: String,
    },
}

/// Everything in a data directory, the journal first. A group or a block is in memory at a time.
///
/// # Errors
/// [`StoreError::InUse`] while a store is open on it, or what the disk says.
pub fn dump(
    directory: &Path,
) -> Result<impl Iterator<Item = Result<DumpEntry, StoreError>> + use<>, StoreError> {
    dump_on(Arc::new(DirectoryStorage::new(directory)))
}

/// [`dump`] on another storage than a directory.
///
/// # Errors
/// As [`dump`].
pub fn dump_on(
    storage: Arc<dyn Storage>,
) -> Result<impl Iterator<Item = Result<DumpEntry, StoreError>> + use<>, StoreError> {
    lock_shared(&*storage)?;
    let names = storage.list().map_err(|error| StoreError::io("list", &storage.location(), error))?;
    let (journal, _) = survey(&*storage, &names, 0)?;
    let journal = journal.into_iter().map(|file| file.name);
    let is_record_file = |name: &String| parse_name(name).is_some() || run::parse_name(name).is_some();
    let files: Vec<_> = journal.chain(names.into_iter().filter(is_record_file)).collect();
    Ok(files.into_iter().flat_map(move |name| {
        let pieces = if let Some((queue, ..)) = parse_name(&name) {
            SegmentDump::open(&*storage, name, queue).map(Pieces::Segment)
        } else if run::parse_name(&name).is_some() {
            RunDump::open(&*storage, name).map(Pieces::Run)
        } else {
            FileScan::open(&*storage, &name).map(Pieces::Journal)
        };
        pieces.map_or_else(FileDump::failed, FileDump::new)
    }))
}

enum Pieces {
    Journal(FileScan),
    Segment(SegmentDump),
    Run(RunDump),
}

/// The entries of one file, a piece of it at a time.
struct FileDump {
    pieces: Option<Pieces>,
    ready: std::vec::IntoIter<Result<DumpEntry, StoreError>>,
}

impl FileDump {
    fn new(pieces: Pieces) -> Self {
        Self { pieces: Some(pieces), ready: Vec::new().into_iter() }
    }

    fn failed(error: StoreError) -> Self {
        Self { pieces: None, ready: vec![Err(error)].into_iter() }
    }

    fn load(&mut self) -> Option<Vec<Result<DumpEntry, StoreError>>> {
        let loaded = match self.pieces.as_mut()? {
            Pieces::Journal(scan) => journal_piece(scan),
            Pieces::Segment(segment) => segment.piece(),
            Pieces::Run(run) => run.piece(),
        };
        match loaded {
            Ok(entries) => entries.map(|entries| entries.into_iter().map(Ok).collect()),
            Err(error) => {
                self.pieces = None;
                Some(vec![Err(error)])
            }
        }
    }
}

impl Iterator for FileDump {
    type Item = Result<DumpEntry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Some(entry);
            }
            self.ready = self.load()?.into_iter();
        }
    }
}

fn journal_piece(scan: &mut FileScan) -> Result<Option<Vec<DumpEntry>>, StoreError> {
    let (file, offset) = (scan.name.clone(), scan.offset);
    let Some((_, body)) = scan.group()? else { return Ok(None) };
    let entries = Ops::new(body).map(|op| match op {
        Ok(op) => journal_entry(op, file.clone(), offset),
        Err(error) => DumpEntry::Unreadable { file: file.clone(), offset, what: format!("{error:?}") },
    });
    Ok(Some(entries.collect()))
}

fn journal_entry(op: Op<'_>, file: String, offset: u64) -> DumpEntry {
    match op {
        Op::Append(append) => DumpEntry::Append {
            file,
            offset,
            flags: append.flags,
            targets: append.targets().collect(),
            body: append.body.to_vec(),
        },
        Op::Settle { queue, ranges } => DumpEntry::Settle { file, offset, queue, ranges: ranges.collect() },
        Op::Purge { queue, up_to, keep } => {
            DumpEntry::Purge { file, offset, queue, up_to, keep: keep.collect() }
        }
        Op::Delete { queue } => DumpEntry::Delete { file, offset, queue },
        Op::Mark { queue, marks } => DumpEntry::Mark { file, offset, queue, marks: marks.collect() },
        Op::Held(op) => held_entry(op, file, offset),
    }
}

fn held_entry(op: HeldOp<'_>, file: String, offset: u64) -> DumpEntry {
    match op {
        HeldOp::Hold { shelf, key, flags, body, .. } => {
            DumpEntry::Hold { file, offset, shelf, key, flags, body: body.to_vec() }
        }
        HeldOp::Take { shelf, taken } => {
            let taken = taken.map(|(due, number, _)| HeldKey { due, number }).collect();
            DumpEntry::Take { file, offset, shelf, taken }
        }
        HeldOp::Clear { shelf, .. } | HeldOp::Delete { shelf } => DumpEntry::Clear { file, offset, shelf },
    }
}

struct RunDump {
    name: String,
    run: RunFile,
    offset: u64,
}

impl RunDump {
    fn open(storage: &dyn Storage, name: String) -> Result<Self, StoreError> {
        Ok(Self { run: RunFile::open_any(storage, &name)?, name, offset: 0 })
    }

    fn piece(&mut self) -> Result<Option<Vec<DumpEntry>>, StoreError> {
        let file = || self.name.clone();
        let Some(Walked { shelf, offset, bytes, next }) = self.run.walk(self.offset)? else {
            // Behind the last block stands the index, and no other block.
            let Some(next) = self.run.resync(self.offset)? else { return Ok(None) };
            let offset = std::mem::replace(&mut self.offset, next);
            let what = "header of a block".into();
            return Ok(Some(vec![DumpEntry::Unreadable { file: file(), offset, what }]));
        };
        self.offset = next;
        let Some(bytes) = bytes else {
            let what = "checksum of a block".into();
            return Ok(Some(vec![DumpEntry::Unreadable { file: file(), offset, what }]));
        };
        let entries = records(&bytes, 0).map(|(_, RunRecord { key, flags, body, .. })| DumpEntry::Held {
            file: file(),
            offset,
            shelf,
            key,
            flags,
            body: body.to_vec(),
        });
        Ok(Some(entries.collect()))
    }
}

struct SegmentDump {
    name: String,
    queue: QueueId,
    cursor: BlockCursor,
}

impl SegmentDump {
    fn open(storage: &dyn Storage, name: String, queue: QueueId) -> Result<Self, StoreError> {
        let file = storage.open(&name, false).map_err(|error| StoreError::io("open", &name, error))?;
        let size = file.size_bytes().map_err(|error| StoreError::io("measure", &name, error))?;
        let cursor = BlockCursor::new(name.clone(), file, 0, size, READ_BYTES, Vec::new());
        Ok(Self { name, queue, cursor })
    }

    fn piece(&mut self) -> Result<Option<Vec<DumpEntry>>, StoreError> {
        let file = self.name.clone();
        let (header, offset) = match self.cursor.next()? {
            None => return Ok(None),
            Some(Found::Bad { offset, what }) => {
                return Ok(Some(vec![DumpEntry::Unreadable { file, offset, what: what.into() }]));
            }
            Some(Found::Block { header, offset }) => (header, offset),
        };
        let block = &self.cursor.block(offset)[..header.block_bytes()];
        let entries = BlockRecords::new(block).map(|record| DumpEntry::Record {
            file: file.clone(),
            offset,
            queue: self.queue,
            seq: record.seq,
            flags: record.flags,
            body: record.body.to_vec(),
        });
        Ok(Some(entries.collect()))
    }
}
