//! The bytes of a segment: its header, its blocks, the records in them; see `docs/storage-format.md`.

use crate::{
    QueueId,
    layout::{Fields, PutFields, VERSION},
};

pub(crate) const FILE_HEADER_BYTES: usize = 32;
pub(crate) const BLOCK_HEADER_BYTES: usize = 32;
pub(crate) const RECORD_HEADER_BYTES: usize = 16;
const FILE_MAGIC: &[u8; 4] = b"LVS1";
const BLOCK_MAGIC: &[u8; 4] = b"LVB1";
const CHECKSUM_AT: usize = 4;
const CHECKED_FROM: usize = 8;

/// What stands before the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) version: u16,
    pub(crate) transient: bool,
    pub(crate) queue: QueueId,
    pub(crate) number: u64,
}

impl FileHeader {
    pub(crate) fn new(queue: QueueId, number: u64, transient: bool) -> Self {
        Self { version: VERSION, transient, queue, number }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(FILE_MAGIC);
        out.put_u16(self.version);
        out.put_u16(u16::from(self.transient));
        out.put_u64(self.queue.0);
        out.put_u64(self.number);
        out.put_u32(0);
        let checksum = crc32fast::hash(&out[start..]);
        out.put_u32(checksum);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FILE_HEADER_BYTES)?;
        let (checked, checksum) = bytes.split_at(FILE_HEADER_BYTES - 4);
        let mut fields = Fields(checked);
        if fields.bytes(4)? != FILE_MAGIC || Fields(checksum).u32()? != crc32fast::hash(checked) {
            return None;
        }
        let (version, class) = (fields.u16()?, fields.u16()?);
        Some(Self { version, transient: class == 1, queue: QueueId(fields.u64()?), number: fields.u64()? })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) checksum: u32,
    pub(crate) body_bytes: u32,
    pub(crate) records: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl BlockHeader {
    /// Not checked by its checksum, which covers the records too.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.bytes(4)? != BLOCK_MAGIC {
            return None;
        }
        Some(Self {
            checksum: fields.u32()?,
            body_bytes: fields.u32()?,
            records: fields.u32()?,
            first: fields.u64()?,
            last: fields.u64()?,
        })
    }

    pub(crate) fn block_bytes(&self) -> usize {
        BLOCK_HEADER_BYTES + self.body_bytes as usize
    }

    /// Whether a whole block's bytes agree with this header's checksum.
    pub(crate) fn is_intact(&self, block: &[u8]) -> bool {
        block.get(CHECKED_FROM..).is_some_and(|checked| crc32fast::hash(checked) == self.checksum)
    }
}

/// A record in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockRecord<'a> {
    pub(crate) seq: u64,
    pub(crate) flags: u16,
    pub(crate) body: &'a [u8],
}

/// The records of an intact block, its header skipped.
pub(crate) struct BlockRecords<'a>(Fields<'a>);

impl<'a> BlockRecords<'a> {
    pub(crate) fn new(block: &'a [u8]) -> Self {
        Self(Fields(block.get(BLOCK_HEADER_BYTES..).unwrap_or_default()))
    }

    fn read(&mut self) -> Option<BlockRecord<'a>> {
        let seq = self.0.u64()?;
        let length = self.0.u32()?;
        let flags = self.0.u16()?;
        self.0.u16()?;
        Some(BlockRecord { seq, flags, body: self.0.bytes(length as usize)? })
    }
}

impl<'a> Iterator for BlockRecords<'a> {
    type Item = BlockRecord<'a>;

    fn next(&mut self) -> Option<BlockRecord<'a>> {
        self.read()
    }
}

/// Writes blocks one after another into a buffer.
pub(crate) struct BlockWriter {
    start: usize,
    records: u32,
    first: u64,
    last: u64,
    nominal_bytes: usize,
}

impl BlockWriter {
    pub(crate) fn new(nominal_bytes: usize) -> Self {
        Self { start: 0, records: 0, first: 0, last: 0, nominal_bytes }
    }

    pub(crate) fn put(&mut self, out: &mut Vec<u8>, seq: u64, flags: u16, body: &[&[u8]]) {
        let length: usize = body.iter().map(|part| part.len()).sum();
        if self.records > 0 && out.len() - self.start + RECORD_HEADER_BYTES + length > self.nominal_bytes {
            self.finish(out);
        }
        if self.records == 0 {
            self.start = out.len();
            self.first = seq;
            out.resize(self.start + BLOCK_HEADER_BYTES, 0);
        }
        out.put_u64(seq);
        out.put_u32(length as u32);
        out.put_u16(flags);
        out.put_u16(0);
        body.iter().for_each(|part| out.extend_from_slice(part));
        self.records += 1;
        self.last = seq;
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.records == 0 {
            return;
        }
        let body_bytes = out.len() - self.start - BLOCK_HEADER_BYTES;
        out[self.start..self.start + 4].copy_from_slice(BLOCK_MAGIC);
        out.set_u32(self.start + 8, body_bytes as u32);
        out.set_u32(self.start + 12, self.records);
        out.set_u64(self.start + 16, self.first);
        out.set_u64(self.start + 24, self.last);
        let checksum = crc32fast::hash(&out[self.start + CHECKED_FROM..]);
        out.set_u32(self.start + CHECKSUM_AT, checksum);
        self.records = 0;
    }
}
