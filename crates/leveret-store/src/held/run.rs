//! Runs: files of held records sorted by shelf and key, written once and never changed. The bytes of a run and finding
//! one's way in it; how one is written stands beside, which records live is decided elsewhere. See
//! `docs/storage-format.md`.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    StoreError,
    held::{HeldKey, HeldRecord, ShelfId},
    layout::{Fields, VERSION},
    storage::{Storage, StorageFile},
};

pub(super) const FILE_MAGIC: &[u8; 4] = b"LVH1";
pub(super) const BLOCK_MAGIC: &[u8; 4] = b"LVHB";
pub(super) const INDEX_MAGIC: &[u8; 4] = b"LVHX";
pub(super) const FILE_HEADER_BYTES: usize = 32;
pub(super) const BLOCK_HEADER_BYTES: usize = 32;
const RECORD_HEADER_BYTES: usize = 32;
const TRAILER_BYTES: usize = 32;
const TAG_ROW_BYTES: usize = 24;
pub(super) const CHECKSUM_AT: usize = 4;
pub(super) const CHECKED_FROM: usize = 8;
/// One write is about this long.
pub(super) const WRITE_BYTES: usize = 1 << 20;

/// A run on the disk.
pub(crate) struct RunFile {
    pub(crate) number: u64,
    pub(crate) transient: bool,
    pub(crate) size_bytes: u64,
    pub(crate) records: u64,
    /// Something in it is not readable: it is set aside rather than removed.
    pub(super) damaged: AtomicBool,
    pub(super) file: Arc<dyn StorageFile>,
}

/// One shelf's part of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct SectionIndex {
    pub(crate) blocks: Vec<Block>,
    pub(crate) first_number: u64,
    pub(crate) last_number: u64,
    pub(crate) body_bytes: u64,
    /// Where the rows of tags begin, and how many there are, sorted.
    pub(crate) tags_at: u64,
    pub(crate) tags: u64,
}

/// One block of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Block {
    /// Its first record.
    pub(crate) first: HeldKey,
    pub(super) offset: u64,
    pub(super) size_bytes: u32,
    pub(crate) records: u32,
}

/// A record in a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunRecord<'a> {
    pub(crate) key: HeldKey,
    pub(crate) tag: u64,
    pub(crate) flags: u16,
    pub(crate) body: &'a [u8],
}

impl RunRecord<'_> {
    pub(crate) fn to_held(self, transient: bool) -> HeldRecord {
        let Self { key, tag, flags, body } = self;
        HeldRecord { key, tag, flags, transient, body: body.to_vec() }
    }
}

impl SectionIndex {
    pub(crate) fn records(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.records)).sum()
    }

    /// The block in which a key would stand.
    pub(crate) fn block_of(&self, key: HeldKey) -> usize {
        self.blocks.partition_point(|block| block.first <= key).saturating_sub(1)
    }
}

pub(crate) fn run_name(number: u64, transient: bool) -> String {
    format!("{}-{number:08x}", if transient { "held-transient" } else { "held" })
}

/// Number and class by a file's name.
pub(crate) fn parse_name(name: &str) -> Option<(u64, bool)> {
    let rest = name.strip_prefix("held-")?;
    let (rest, transient) = rest.strip_prefix("transient-").map_or((rest, false), |rest| (rest, true));
    Some((u64::from_str_radix(rest, 16).ok()?, transient))
}

impl RunFile {
    pub(crate) fn name(&self) -> String {
        run_name(self.number, self.transient)
    }

    /// Opens a run that is named in a manifest, and reads its index.
    pub(crate) fn open(
        storage: &dyn Storage,
        number: u64,
        size_bytes: u64,
    ) -> Result<(Self, HashMap<ShelfId, SectionIndex>), StoreError> {
        let name = run_name(number, false);
        let file = storage.open(&name, false).map_err(|error| StoreError::io("open", &name, error))?;
        let damaged = AtomicBool::new(false);
        let mut run = Self { number, transient: false, size_bytes, records: 0, damaged, file };
        run.check_version()?;
        let sections = match run.read_index()? {
            Some(sections) => sections,
            // Everything in it stands in the blocks too.
            None => run.scan(|_, _| ())?,
        };
        run.records = sections.values().map(SectionIndex::records).sum();
        Ok((run, sections))
    }

    /// A header that is not readable harms nothing: each block says what it is.
    fn check_version(&self) -> Result<(), StoreError> {
        let header = self.read(0, FILE_HEADER_BYTES)?;
        match decode_file_header(&header) {
            Some(found) if found > VERSION => {
                Err(StoreError::NewerFormat { file: self.name(), found, supported: VERSION })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn note_damage(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn read(&self, offset: u64, count: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; count];
        let read = self.file.read_at(&mut bytes, offset);
        let read = read.map_err(|error| StoreError::io("read", &self.name(), error))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn read_index(&self) -> Result<Option<HashMap<ShelfId, SectionIndex>>, StoreError> {
        let Some(trailer_at) = self.size_bytes.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
        let trailer = self.read(trailer_at, TRAILER_BYTES)?;
        let Some((offset, length, checksum)) = decode_trailer(&trailer) else { return Ok(None) };
        if offset.checked_add(length).is_none_or(|end| end != trailer_at) {
            return Ok(None);
        }
        let index = self.read(offset, length as usize)?;
        Ok((crc32fast::hash(&index) == checksum).then(|| decode_index(&index)).flatten())
    }

    /// A block's bytes; `None` where they are damaged.
    pub(crate) fn block(&self, block: &Block) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = self.read(block.offset, block.size_bytes as usize)?;
        Ok(is_intact(&bytes).then_some(bytes))
    }

    /// Where a block stands, for reports.
    pub(crate) fn offset_of(block: &Block) -> u64 {
        block.offset
    }

    /// Rows of tags of a section, from number `row` on, so many at most.
    pub(crate) fn tag_rows(
        &self,
        section: &SectionIndex,
        row: u64,
        most: u64,
    ) -> Result<Vec<(u64, HeldKey)>, StoreError> {
        let count = section.tags.saturating_sub(row).min(most) as usize;
        let bytes = self.read(section.tags_at + row * TAG_ROW_BYTES as u64, count * TAG_ROW_BYTES)?;
        let rows = bytes.chunks_exact(TAG_ROW_BYTES).map(|row| {
            let mut fields = Fields(row);
            let mut field = || fields.u64().unwrap_or_default();
            (field(), HeldKey { due: field(), number: field() })
        });
        Ok(rows.collect())
    }

    /// Opens a run to walk over, whoever names it.
    pub(crate) fn open_any(storage: &dyn Storage, name: &str) -> Result<Self, StoreError> {
        let (number, transient) = parse_name(name).unwrap_or_default();
        let file = storage.open(name, false).map_err(|error| StoreError::io("open", name, error))?;
        let size_bytes = file.size_bytes().map_err(|error| StoreError::io("measure", name, error))?;
        Ok(Self { number, transient, size_bytes, records: 0, damaged: AtomicBool::new(false), file })
    }

    /// The block at an offset, 0 for the first one, as far as it is one; and where the next begins.
    pub(crate) fn walk(&self, offset: u64) -> Result<Option<Walked>, StoreError> {
        let offset = offset.max(FILE_HEADER_BYTES as u64);
        let header = self.read(offset, BLOCK_HEADER_BYTES)?;
        let Some((shelf, length)) = decode_block_header(&header) else { return Ok(None) };
        let size_bytes = BLOCK_HEADER_BYTES as u64 + u64::from(length);
        if offset + size_bytes > self.size_bytes {
            return Ok(None);
        }
        let bytes = self.read(offset, size_bytes as usize)?;
        let bytes = is_intact(&bytes).then_some(bytes);
        Ok(Some(Walked { shelf, offset, bytes, next: offset + size_bytes }))
    }

    /// The next whole block behind an offset at which there is none.
    pub(crate) fn resync(&self, offset: u64) -> Result<Option<u64>, StoreError> {
        let mut at = offset.max(FILE_HEADER_BYTES as u64) + 1;
        loop {
            let window = self.read(at, WRITE_BYTES)?;
            let marks = window.windows(BLOCK_MAGIC.len()).enumerate();
            for (start, _) in marks.filter(|(_, bytes)| *bytes == BLOCK_MAGIC) {
                let place = at + start as u64;
                if self.walk(place)?.is_some_and(|walked| walked.bytes.is_some()) {
                    return Ok(Some(place));
                }
            }
            if window.len() < WRITE_BYTES {
                return Ok(None);
            }
            // A mark may lie across the end of the window.
            at += (WRITE_BYTES - BLOCK_MAGIC.len() + 1) as u64;
        }
    }

    /// Walks over the blocks without the index. What is not readable is passed, and noted as damage.
    pub(crate) fn scan(
        &self,
        mut visit: impl FnMut(ShelfId, RunRecord<'_>),
    ) -> Result<HashMap<ShelfId, SectionIndex>, StoreError> {
        let mut sections = HashMap::<ShelfId, SectionIndex>::new();
        let mut offset = 0;
        loop {
            let Some(Walked { shelf, offset: at, bytes, next }) = self.walk(offset)? else {
                let Some(next) = self.resync(offset)? else { break };
                self.note_damage();
                offset = next;
                continue;
            };
            offset = next;
            let Some(bytes) = bytes else {
                self.note_damage();
                continue;
            };
            let section = sections.entry(shelf).or_default();
            let mut block = Block { offset: at, size_bytes: bytes.len() as u32, ..Block::default() };
            for (_, record) in records(&bytes, 0) {
                section.note(&mut block, record.key, record.body.len());
                visit(shelf, record);
            }
            section.blocks.push(block);
        }
        Ok(sections)
    }
}

/// A block met on a walk; without bytes where it is damaged.
pub(crate) struct Walked {
    pub(crate) shelf: ShelfId,
    pub(crate) offset: u64,
    pub(crate) bytes: Option<Vec<u8>>,
    pub(crate) next: u64,
}

impl SectionIndex {
    pub(super) fn note(&mut self, block: &mut Block, key: HeldKey, body_bytes: usize) {
        if block.records == 0 {
            block.first = key;
        }
        block.records += 1;
        self.body_bytes += body_bytes as u64;
        let is_first = self.last_number == 0;
        self.first_number = if is_first { key.number } else { self.first_number.min(key.number) };
        self.last_number = self.last_number.max(key.number);
    }
}

/// The records of an intact block from an offset on, each with its offset.
pub(crate) fn records(block: &[u8], from: usize) -> impl Iterator<Item = (usize, RunRecord<'_>)> {
    let mut at = from.max(BLOCK_HEADER_BYTES);
    std::iter::from_fn(move || {
        let here = at;
        let mut fields = Fields(block.get(here..)?);
        let key = HeldKey { due: fields.u64()?, number: fields.u64()? };
        let (tag, length, flags) = (fields.u64()?, fields.u32()?, fields.u16()?);
        fields.u16()?;
        let body = fields.bytes(length as usize)?;
        at = here + RECORD_HEADER_BYTES + body.len();
        Some((here, RunRecord { key, tag, flags, body }))
    })
}

/// The format version that an intact header says.
fn decode_file_header(header: &[u8]) -> Option<u16> {
    let (checked, checksum) = header.split_at_checked(FILE_HEADER_BYTES - 4)?;
    let mut fields = Fields(checked);
    let is_intact = fields.bytes(4)? == FILE_MAGIC && Fields(checksum).u32()? == crc32fast::hash(checked);
    is_intact.then(|| fields.u16()).flatten()
}

fn decode_block_header(header: &[u8]) -> Option<(ShelfId, u32)> {
    let mut fields = Fields(header);
    if fields.bytes(4)? != BLOCK_MAGIC {
        return None;
    }
    let (_checksum, length, _records) = (fields.u32()?, fields.u32()?, fields.u32()?);
    Some((ShelfId(fields.u64()?), length))
}

fn is_intact(block: &[u8]) -> bool {
    let checksum = Fields(block.get(CHECKSUM_AT..).unwrap_or_default()).u32();
    block.get(CHECKED_FROM..).is_some_and(|checked| Some(crc32fast::hash(checked)) == checksum)
        && decode_block_header(block)
            .is_some_and(|(_, length)| block.len() == BLOCK_HEADER_BYTES + length as usize)
}

fn decode_trailer(trailer: &[u8]) -> Option<(u64, u64, u32)> {
    let (checked, checksum) = trailer.split_at_checked(TRAILER_BYTES - 4)?;
    let mut fields = Fields(checked);
    if fields.bytes(4)? != INDEX_MAGIC || Fields(checksum).u32()? != crc32fast::hash(checked) {
        return None;
    }
    let index_checksum = fields.u32()?;
    Some((fields.u64()?, fields.u64()?, index_checksum))
}

fn decode_index(index: &[u8]) -> Option<HashMap<ShelfId, SectionIndex>> {
    let mut fields = Fields(index);
    let count = fields.u32()?;
    (0..count)
        .map(|_| {
            let shelf = ShelfId(fields.u64()?);
            let (first_number, last_number) = (fields.u64()?, fields.u64()?);
            let (body_bytes, tags_at, tags) = (fields.u64()?, fields.u64()?, fields.u64()?);
            let blocks = fields.u32()?;
            let blocks = (0..blocks).map(|_| {
                let first = HeldKey { due: fields.u64()?, number: fields.u64()? };
                let (offset, size_bytes, records) = (fields.u64()?, fields.u32()?, fields.u32()?);
                Some(Block { first, offset, size_bytes, records })
            });
            let blocks = blocks.collect::<Option<_>>()?;
            Some((shelf, SectionIndex { blocks, first_number, last_number, body_bytes, tags_at, tags }))
        })
        .collect()
}
