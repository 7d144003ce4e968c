//! Reading one segment forward, block by block, through one buffer. A bad block is returned as such, and reading goes on
//! at the next whole one.

use std::sync::Arc;

use crate::{
    StoreError,
    segment::{
        block::{BLOCK_HEADER_BYTES, BlockHeader, FILE_HEADER_BYTES},
        read_error,
    },
    storage::StorageFile,
};

pub(crate) struct BlockCursor {
    name: String,
    file: Arc<dyn StorageFile>,
    /// Only so many bytes of the file count.
    end: u64,
    offset: u64,
    read_bytes: usize,
    window: Vec<u8>,
    window_at: u64,
    /// So many bytes of the window are of the file; the rest is old memory.
    window_bytes: usize,
}

/// What stands at an offset.
pub(crate) enum Found {
    /// An intact block, which [`BlockCursor::block`] shows until the next call.
    Block {
        header: BlockHeader,
        offset: u64,
    },
    Bad {
        offset: u64,
        what: &'static str,
    },
}

impl BlockCursor {
    pub(crate) fn new(
        name: String,
        file: Arc<dyn StorageFile>,
        from: u64,
        end: u64,
        read_bytes: usize,
        window: Vec<u8>,
    ) -> Self {
        let offset = from.max(FILE_HEADER_BYTES as u64);
        Self { name, file, end, offset, read_bytes, window, window_at: 0, window_bytes: 0 }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn into_window(self) -> Vec<u8> {
        self.window
    }

    /// Skips blocks that end before `seq`, by their headers alone; small reads, for getting into the middle of a segment.
    pub(crate) fn skip_before(&mut self, seq: u64) -> Result<(), StoreError> {
        let mut header = [0; BLOCK_HEADER_BYTES];
        while self.offset + BLOCK_HEADER_BYTES as u64 <= self.end {
            let read = self.file.read_at(&mut header, self.offset);
            let read = read.map_err(|error| read_error(&self.name, error))?;
            let Some(block) = BlockHeader::decode(&header[..read]) else { return Ok(()) };
            let next = self.offset + block.block_bytes() as u64;
            if block.last >= seq || next > self.end {
                return Ok(());
            }
            self.offset = next;
        }
        Ok(())
    }

    /// The next block; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, StoreError> {
        let offset = self.offset;
        if offset >= self.end {
            return Ok(None);
        }
        if !self.fill(BLOCK_HEADER_BYTES)? {
            return self.bad("the file ends inside a block header");
        }
        let Some(header) = BlockHeader::decode(self.at_offset()) else {
            return self.bad("no block header");
        };
        let length = header.block_bytes();
        if offset + length as u64 > self.end || !self.fill(length)? {
            return self.bad("a block longer than the file");
        }
        if !header.is_intact(&self.at_offset()[..length]) {
            return self.bad("checksum of a block");
        }
        self.offset += length as u64;
        Ok(Some(Found::Block { header, offset }))
    }

    /// The bytes from the block at an offset on; at least that block, if it was returned last.
    pub(crate) fn block(&self, offset: u64) -> &[u8] {
        &self.window[(offset - self.window_at) as usize..self.window_bytes]
    }

    pub(crate) fn rewind(&mut self) {
        self.offset = FILE_HEADER_BYTES as u64;
    }

    /// Something unreadable stands at the offset: goes on to the next whole block, or to the end.
    fn bad(&mut self, what: &'static str) -> Result<Option<Found>, StoreError> {
        let offset = self.offset;
        self.offset += 1;
        while self.offset < self.end && !self.stands_at_block()? {
            self.offset += 1;
        }
        Ok(Some(Found::Bad { offset, what }))
    }

    fn stands_at_block(&mut self) -> Result<bool, StoreError> {
        if !self.fill(BLOCK_HEADER_BYTES)? {
            return Ok(false);
        }
        let Some(length) = BlockHeader::decode(self.at_offset()).map(|header| header.block_bytes()) else {
            return Ok(false);
        };
        if self.offset + length as u64 > self.end || !self.fill(length)? {
            return Ok(false);
        }
        let block = &self.at_offset()[..length];
        Ok(BlockHeader::decode(block).is_some_and(|header| header.is_intact(block)))
    }

    fn at_offset(&self) -> &[u8] {
        &self.window[(self.offset - self.window_at) as usize..self.window_bytes]
    }

    /// Sees to `count` bytes at the offset in the window; false when the file is too short.
    fn fill(&mut self, count: usize) -> Result<bool, StoreError> {
        let held_to = self.window_at + self.window_bytes as u64;
        if self.offset >= self.window_at && self.offset + count as u64 <= held_to {
            return Ok(true);
        }
        let size = (self.end - self.offset).min(self.read_bytes.max(count) as u64) as usize;
        if self.window.len() < size {
            self.window = vec![0; size];
        }
        let read = self.file.read_at(&mut self.window[..size], self.offset);
        let read = read.map_err(|error| read_error(&self.name, error))?;
        self.window_bytes = read;
        self.window_at = self.offset;
        Ok(read >= count)
    }
}
