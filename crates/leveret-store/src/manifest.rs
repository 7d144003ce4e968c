//! The manifest: encoding the state between two groups, and the two files it alternates between. See
//! `docs/storage-format.md`.

use std::sync::Arc;

use crate::{
    QueueId, StoreError,
    core::Core,
    held::snapshot::Snapshot,
    layout::{Fields, PutFields, VERSION},
    queue::{JournalSet, QueueState},
    segment::{Extent, Segment},
    seq_set::SeqSet,
    storage::Storage,
};

const MAGIC: &[u8; 4] = b"LVM1";
const HEADER_BYTES: usize = 64;
const CHECKSUM_AT: usize = 4;
const CHECKED_FROM: usize = 8;
const LENGTH_AT: usize = 12;
const NUMBER_AT: usize = 16;
const CLEAN: u16 = 1;
/// Older manifests say nothing of shelves, since there were none.
const FIRST_WITH_SHELVES: u16 = 2;
/// And of marks.
const FIRST_WITH_MARKS: u16 = 3;
pub(crate) const NAMES: [&str; 2] = ["manifest-a", "manifest-b"];

/// A manifest read back.
pub(crate) struct Manifest {
    pub(crate) number: u64,
    pub(crate) clean: bool,
    pub(crate) position: u64,
    pub(crate) first_file: u64,
    pub(crate) queues: Vec<QueueState>,
    pub(crate) held: Snapshot,
}

/// Encodes the state, all but the manifest's number and checksum. The core must stand between two groups.
pub(crate) fn encode(core: &Core, first_file: u64, clean: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + core.slots.len() * 64);
    out.extend_from_slice(MAGIC);
    out.put_u32(0);
    out.put_u16(VERSION);
    out.put_u16(if clean { CLEAN } else { 0 });
    out.put_u32(0);
    out.put_u64(0);
    out.put_u64(core.pending.start);
    out.put_u64(first_file);
    out.resize(HEADER_BYTES, 0);
    let queues: Vec<_> =
        core.queues().filter(|(_, state)| state.max_seq > 0 || state.purged_up_to > 0).collect();
    out.put_u32(queues.len() as u32);
    queues.iter().for_each(|(_, state)| encode_queue(state, &mut out));
    core.shelves.saved.encode(&mut out);
    encode_marks(core, &mut out);
    let length = out.len() - HEADER_BYTES;
    out.set_u32(LENGTH_AT, length as u32);
    out
}

fn encode_queue(state: &QueueState, out: &mut Vec<u8>) {
    let segments = || state.segments.iter().filter(|segment| segment.durable.records > 0);
    let sets = || state.journal.iter().filter(|set| !set.seqs.is_empty());
    out.put_u64(state.id.0);
    out.put_u64(state.max_seq);
    out.put_u64(state.purged_up_to);
    out.put_u64(state.redelivered_up_to);
    out.put_u32(segments().count() as u32);
    out.put_u32(sets().count() as u32);
    for segment in segments() {
        out.put_u64(segment.number);
        out.put_u64(segment.durable.size_bytes);
        out.put_u64(segment.durable.records);
        out.put_u64(segment.durable.body_bytes);
        out.put_u64(segment.first);
        out.put_u64(segment.durable.last);
        segment.live.part(0, segment.durable.last).encode(out);
    }
    for set in sets() {
        out.put_u64(set.file);
        out.put_u64(set.records);
        out.put_u64(set.body_bytes);
        set.seqs.encode(out);
    }
}

fn encode_marks(core: &Core, out: &mut Vec<u8>) {
    let marked = || core.queues().filter(|(_, state)| !state.marks.is_empty());
    out.put_u32(marked().count() as u32);
    for (queue, state) in marked() {
        out.put_u64(queue.id.0);
        out.put_u32(state.marks.len() as u32);
        for (&seq, &mark) in &state.marks {
            out.put_u64(seq);
            out.put_u64(mark);
        }
    }
}

fn decode_marks(fields: &mut Fields<'_>, queues: &mut [QueueState]) -> Option<()> {
    let mut queues = queues.iter_mut();
    for _ in 0..fields.u32()? {
        let (id, count) = (QueueId(fields.u64()?), fields.u32()?);
        let pairs = (0..count).map(|_| Some((fields.u64()?, fields.u64()?)));
        let marks = pairs.collect::<Option<_>>()?;
        // They are in the same order.
        if let Some(state) = queues.find(|state| state.id == id) {
            state.marks = marks;
        }
    }
    Some(())
}

fn decode_queue(fields: &mut Fields<'_>) -> Option<QueueState> {
    let mut state = QueueState::new(QueueId(fields.u64()?));
    state.max_seq = fields.u64()?;
    state.purged_up_to = fields.u64()?;
    state.redelivered_up_to = fields.u64()?;
    let (segments, sets) = (fields.u32()?, fields.u32()?);
    for _ in 0..segments {
        let segment = decode_segment(state.id, fields)?;
        state.insert_segment(segment);
    }
    for _ in 0..sets {
        state.journal.push_back(JournalSet {
            file: fields.u64()?,
            records: fields.u64()?,
            body_bytes: fields.u64()?,
            seqs: SeqSet::decode(fields)?,
        });
    }
    Some(state)
}

fn decode_segment(queue: QueueId, fields: &mut Fields<'_>) -> Option<Segment> {
    let number = fields.u64()?;
    let (size_bytes, records, body_bytes, first) =
        (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
    let extent = Extent { size_bytes, records, body_bytes, last: fields.u64()? };
    Some(Segment {
        number,
        queue,
        transient: false,
        extent,
        durable: extent,
        first,
        live: SeqSet::decode(fields)?,
        file: None,
        appendable: false,
        busy: false,
        damaged: false,
        resume: (0, 0),
    })
}

/// Decodes a manifest file. `Ok(None)` when it is torn, damaged or empty.
pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Option<Manifest>, StoreError> {
    let mut fields = Fields(bytes);
    let Some((magic, checksum)) = fields.bytes(4).zip(fields.u32()) else { return Ok(None) };
    let Some((version, flags)) = fields.u16().zip(fields.u16()) else { return Ok(None) };
    if magic != MAGIC {
        return Ok(None);
    }
    let length = fields.u32().unwrap_or(0) as usize;
    let checked = bytes.get(CHECKED_FROM..HEADER_BYTES + length);
    if checked.is_none_or(|checked| crc32fast::hash(checked) != checksum) {
        return Ok(None);
    }
    if version > VERSION {
        return Err(StoreError::NewerFormat { file: name.to_owned(), found: version, supported: VERSION });
    }
    Ok(decode_checked(version, flags, fields, bytes))
}

fn decode_checked(version: u16, flags: u16, mut fields: Fields<'_>, bytes: &[u8]) -> Option<Manifest> {
    let (number, position, first_file) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let mut body = Fields(bytes.get(HEADER_BYTES..)?);
    let count = body.u32()?;
    let mut queues = (0..count).map(|_| decode_queue(&mut body)).collect::<Option<Vec<_>>>()?;
    let held = if version < FIRST_WITH_SHELVES {
        Snapshot { position, file: first_file, ..Snapshot::default() }
    } else {
        Snapshot::decode(&mut body)?
    };
    if version >= FIRST_WITH_MARKS {
        decode_marks(&mut body, &mut queues)?;
    }
    Some(Manifest { number, clean: flags & CLEAN != 0, position, first_file, queues, held })
}

/// Writes manifests, the newer one always over the older.
pub(crate) struct ManifestFiles {
    storage: Arc<dyn Storage>,
    next_number: u64,
}

impl ManifestFiles {
    pub(crate) fn new(storage: Arc<dyn Storage>, last_number: u64) -> Self {
        Self { storage, next_number: last_number + 1 }
    }

    pub(crate) fn write(&mut self, mut manifest: Vec<u8>) -> Result<(), StoreError> {
        manifest.set_u64(NUMBER_AT, self.next_number);
        let checksum = crc32fast::hash(&manifest[CHECKED_FROM..]);
        manifest.set_u32(CHECKSUM_AT, checksum);
        let name = NAMES[(self.next_number % 2) as usize];
        let file = self.storage.open(name, true).map_err(|error| StoreError::io("open", name, error))?;
        let is_new = file.size_bytes().map_err(|error| StoreError::io("measure", name, error))? == 0;
        file.write_at(&manifest, 0).map_err(|error| StoreError::io("write", name, error))?;
        file.sync().map_err(|error| StoreError::io("sync", name, error))?;
        if is_new {
            let synced = self.storage.sync_directory();
            synced.map_err(|error| StoreError::io("sync", &self.storage.location(), error))?;
        }
        self.next_number += 1;
        Ok(())
    }
}

/// The newest valid manifest, and the names of manifest files that are there but not valid.
pub(crate) fn read_newest(storage: &dyn Storage) -> Result<(Option<Manifest>, Vec<String>), StoreError> {
    let names = storage.list().map_err(|error| StoreError::io("list", &storage.location(), error))?;
    let (mut newest, mut invalid) = (None::<Manifest>, Vec::new());
    for name in NAMES.iter().filter(|name| names.iter().any(|other| other == *name)) {
        match decode(name, &read_all(storage, name)?)? {
            Some(manifest) if newest.as_ref().is_none_or(|other| other.number < manifest.number) => {
                newest = Some(manifest);
            }
            Some(_) => {}
            None => invalid.push((*name).to_owned()),
        }
    }
    Ok((newest, invalid))
}

fn read_all(storage: &dyn Storage, name: &str) -> Result<Vec<u8>, StoreError> {
    let file = storage.open(name, false).map_err(|error| StoreError::io("open", name, error))?;
    let size = file.size_bytes().map_err(|error| StoreError::io("measure", name, error))?;
    let mut bytes = vec![0; size as usize];
    let read = file.read_at(&mut bytes, 0).map_err(|error| StoreError::io("read", name, error))?;
    bytes.truncate(read);
    Ok(bytes)
}
