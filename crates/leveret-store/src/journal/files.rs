//! The files of the journal: which one is written, which are closed, which are spare. A spare file is full of old
//! bytes or zeros, so that writing into it changes no length and allocates nothing.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use crate::{
    StoreError,
    journal::{
        group::{GroupHeader, HEADER_BYTES, padded},
        pending::Pending,
    },
    layout::{GROUP_ALIGN, VERSION},
    storage::{Storage, StorageFile},
};

const ZEROS: usize = 1 << 20;
const ALLOCATE_BYTES: u64 = 2 << 20;

pub(crate) struct JournalFiles {
    storage: Arc<dyn Storage>,
    nominal_bytes: u64,
    active: Option<ActiveFile>,
    closed: VecDeque<ClosedFile>,
    spare: Vec<String>,
    next_slot: u32,
    /// Where the last written group ended. Groups of nothing but voids leave no gap.
    written_to: u64,
    /// Memory to begin the next group with, and to remove voids into.
    pub(crate) buffers: Vec<Vec<u8>>,
    pub(crate) settles: Vec<crate::journal::pending::SettledRange>,
}

struct ActiveFile {
    name: String,
    file: Arc<dyn StorageFile>,
    number: u64,
    nonce: u64,
    offset: u64,
    /// Up to here the file has its length and its blocks.
    allocated: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct ClosedFile {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
    /// Set aside instead of used again.
    pub(crate) damaged: bool,
}

pub(crate) fn slot_name(slot: u32) -> String {
    format!("journal-{slot:08x}")
}

pub(crate) fn slot_of(name: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix("journal-")?, 16).ok()
}

impl JournalFiles {
    pub(crate) fn new(storage: Arc<dyn Storage>, nominal_bytes: u64, written_to: u64) -> Self {
        Self {
            storage,
            nominal_bytes,
            active: None,
            closed: VecDeque::new(),
            spare: Vec::new(),
            next_slot: 0,
            written_to,
            buffers: Vec::new(),
            settles: Vec::new(),
        }
    }

    pub(crate) fn add_closed(&mut self, file: ClosedFile) {
        self.closed.push_back(file);
    }

    pub(crate) fn add_spare(&mut self, name: String) {
        self.spare.push(name);
    }

    pub(crate) fn closed(&self) -> impl Iterator<Item = &ClosedFile> {
        self.closed.iter()
    }

    /// Whether a new file will be needed soon and none is ready. A store in which little happens never needs one.
    pub(crate) fn wants_spare(&self) -> bool {
        self.spare.is_empty()
            && self.active.as_ref().is_some_and(|active| active.offset > self.nominal_bytes / 4)
    }

    pub(crate) fn closed_count(&self) -> usize {
        self.closed.len()
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|file| file.size_bytes).sum();
        closed + self.active.as_ref().map_or(0, |active| active.offset)
    }

    /// The file in which the group after one of `bytes` in `file` should begin.
    pub(crate) fn file_after(&self, file: u64, bytes: usize) -> u64 {
        let before =
            self.active.as_ref().filter(|active| active.number == file).map_or(0, |active| active.offset);
        let reserve = self.nominal_bytes / 8;
        if before + padded(bytes) as u64 + reserve > self.nominal_bytes { file + 1 } else { file }
    }

    /// Writes a sealed group; it still has to be synced.
    pub(crate) fn write(&mut self, group: &mut Pending) -> Result<Arc<dyn StorageFile>, StoreError> {
        if self.active.as_ref().is_none_or(|active| active.number != group.file) {
            self.roll(group.file)?;
        }
        let Some(active) = self.active.as_mut() else {
            return Err(StoreError::Contradiction { what: "no journal file is active".into() });
        };
        let body = &group.buffer[HEADER_BYTES..];
        let header = GroupHeader {
            version: VERSION,
            file: active.number,
            nonce: active.nonce,
            start: self.written_to,
            end: group.end,
            body_bytes: body.len() as u32,
            body_checksum: crc32fast::hash(body),
        };
        group.buffer[..HEADER_BYTES].copy_from_slice(&header.encode());
        let padding = padded(group.buffer.len()) - group.buffer.len();
        group.buffer.extend_from_slice(&[0; GROUP_ALIGN][..padding]);
        let written = active.file.write_at(&group.buffer, active.offset);
        written.map_err(|error| StoreError::io("write", &active.name, error))?;
        active.offset += group.buffer.len() as u64;
        self.written_to = group.end;
        active.allocate_ahead(self.nominal_bytes)?;
        Ok(Arc::clone(&active.file))
    }

    pub(crate) fn active_number(&self) -> Option<u64> {
        self.active.as_ref().map(|active| active.number)
    }

    pub(crate) fn active_name(&self) -> &str {
        self.active.as_ref().map_or("journal", |active| &active.name)
    }

    fn roll(&mut self, number: u64) -> Result<(), StoreError> {
        if let Some(old) = self.active.take() {
            self.closed.push_back(ClosedFile {
                number: old.number,
                name: old.name,
                size_bytes: old.offset,
                damaged: false,
            });
        }
        let (name, fresh) = match self.spare.pop() {
            Some(name) => (name, false),
            None => (self.take_slot(), true),
        };
        let file = self.storage.open(&name, true).map_err(|error| StoreError::io("open", &name, error))?;
        if fresh {
            self.sync_directory()?;
        }
        let allocated = file.size_bytes().map_err(|error| StoreError::io("measure", &name, error))?;
        let nonce = RandomState::new().hash_one(number);
        self.active = Some(ActiveFile { name, file, number, nonce, offset: 0, allocated });
        Ok(())
    }

    /// A slot is in use by a file that is there.
    pub(crate) fn reserve_slot(&mut self, slot: u32) {
        self.next_slot = self.next_slot.max(slot + 1);
    }

    pub(crate) fn take_slot(&mut self) -> String {
        self.next_slot += 1;
        slot_name(self.next_slot - 1)
    }

    fn sync_directory(&self) -> Result<(), StoreError> {
        self.storage.sync_directory().map_err(|error| StoreError::io("sync", &self.storage.location(), error))
    }

    /// Lets go of closed files before `number`: keeps some as spare, names the rest to be removed or set aside.
    pub(crate) fn release_before(&mut self, number: u64, keep_spare: usize) -> Vec<ClosedFile> {
        let mut out = Vec::new();
        while self.closed.front().is_some_and(|file| file.number < number) {
            let Some(file) = self.closed.pop_front() else { break };
            let fits = file.size_bytes <= self.nominal_bytes && !file.damaged;
            if fits && self.spare.len() < keep_spare {
                self.spare.push(file.name);
            } else {
                out.push(file);
            }
        }
        out
    }
}

impl ActiveFile {
    /// A file that was not prepared grows by zeros in large steps, so that few syncs have to change its length.
    fn allocate_ahead(&mut self, nominal_bytes: u64) -> Result<(), StoreError> {
        if self.offset <= self.allocated {
            return Ok(());
        }
        let end = (self.offset + ALLOCATE_BYTES).min(nominal_bytes).max(self.offset);
        let zeros = vec![0; (end - self.offset) as usize];
        let written = self.file.write_at(&zeros, self.offset);
        written.map_err(|error| StoreError::io("write", &self.name, error))?;
        self.allocated = end;
        Ok(())
    }
}

/// Writes a new file full of zeros and syncs it, so that later writes find their blocks allocated.
pub(crate) fn fill_with_zeros(storage: &dyn Storage, name: &str, size_bytes: u64) -> Result<(), StoreError> {
    let file = storage.open(name, true).map_err(|error| StoreError::io("open", name, error))?;
    let zeros = vec![0; ZEROS.min(size_bytes as usize)];
    let mut offset = 0;
    while offset < size_bytes {
        let count = zeros.len().min((size_bytes - offset) as usize);
        file.write_at(&zeros[..count], offset).map_err(|error| StoreError::io("write", name, error))?;
        offset += count as u64;
    }
    file.sync().map_err(|error| StoreError::io("sync", name, error))?;
    storage.sync_directory().map_err(|error| StoreError::io("sync", &storage.location(), error))
}
