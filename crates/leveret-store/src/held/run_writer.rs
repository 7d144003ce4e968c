//! Writing a run: blocks as records come, then the rows of tags, then the index. What the bytes mean stands beside, with
//! reading.

use std::sync::{Arc, atomic::AtomicBool};

use crate::{
    StoreError,
    held::{
        HeldKey, ShelfId,
        run::{
            BLOCK_HEADER_BYTES, BLOCK_MAGIC, Block, CHECKED_FROM, CHECKSUM_AT, FILE_HEADER_BYTES, FILE_MAGIC,
            INDEX_MAGIC, RunFile, RunRecord, SectionIndex, WRITE_BYTES, run_name,
        },
    },
    layout::{PutFields, VERSION},
    storage::{Storage, StorageFile},
};

/// Writes a run. Records come sorted by shelf and key.
pub(crate) struct RunWriter {
    name: String,
    number: u64,
    transient: bool,
    block_bytes: usize,
    file: Arc<dyn StorageFile>,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    offset: u64,
    /// Where the open block begins in the buffer, and what is in it.
    block: Option<(usize, Block)>,
    section: SectionIndex,
    shelf: Option<ShelfId>,
    sections: Vec<(ShelfId, SectionIndex)>,
    /// Of each section, the open one last, the rows of tags that are still to be written.
    tags: Vec<Vec<(u64, HeldKey)>>,
    gathers_tags: bool,
    records: u64,
}

impl RunWriter {
    pub(crate) fn begin(
        storage: &dyn Storage,
        number: u64,
        transient: bool,
        block_bytes: usize,
    ) -> Result<Self, StoreError> {
        let name = run_name(number, transient);
        let file = storage.open(&name, true).map_err(|error| StoreError::io("open", &name, error))?;
        let mut buffer = Vec::with_capacity(WRITE_BYTES + block_bytes);
        buffer.extend_from_slice(FILE_MAGIC);
        buffer.put_u16(VERSION);
        buffer.put_u16(u16::from(transient));
        buffer.put_u64(number);
        buffer.resize(FILE_HEADER_BYTES - 4, 0);
        let checksum = crc32fast::hash(&buffer);
        buffer.put_u32(checksum);
        Ok(Self {
            name,
            number,
            transient,
            block_bytes,
            file,
            buffer,
            offset: 0,
            block: None,
            section: SectionIndex::default(),
            shelf: None,
            sections: Vec::new(),
            tags: Vec::new(),
            gathers_tags: true,
            records: 0,
        })
    }

    /// Gathers no tags of the records, which would be in memory until the end: they are put by
    /// [`RunWriter::put_tag`].
    pub(crate) fn without_tags(self) -> Self {
        Self { gathers_tags: false, ..self }
    }

    pub(crate) fn put(&mut self, shelf: ShelfId, record: RunRecord<'_>) -> Result<(), StoreError> {
        if self.shelf != Some(shelf) {
            self.end_section();
            self.shelf = Some(shelf);
            self.tags.push(Vec::new());
        }
        let (start, mut block) = match self.block.take() {
            Some(open) => open,
            None => self.begin_block(shelf)?,
        };
        self.section.note(&mut block, record.key, record.body.len());
        let out = &mut self.buffer;
        [record.key.due, record.key.number, record.tag].iter().for_each(|&field| out.put_u64(field));
        out.put_u32(record.body.len() as u32);
        out.put_u16(record.flags);
        out.put_u16(0);
        out.extend_from_slice(record.body);
        if let Some(tags) = self.tags.last_mut().filter(|_| self.gathers_tags && record.tag != 0) {
            tags.push((record.tag, record.key));
        }
        self.records += 1;
        self.block = Some((start, block));
        if self.buffer.len() - start >= self.block_bytes {
            self.end_block();
        }
        Ok(())
    }

    fn begin_block(&mut self, shelf: ShelfId) -> Result<(usize, Block), StoreError> {
        if self.buffer.len() >= WRITE_BYTES {
            self.write()?;
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(BLOCK_MAGIC);
        self.buffer.resize(start + 16, 0);
        self.buffer.put_u64(shelf.0);
        self.buffer.put_u64(0);
        Ok((start, Block { offset: self.offset + start as u64, ..Block::default() }))
    }

    fn end_block(&mut self) {
        let Some((start, mut block)) = self.block.take() else { return };
        block.size_bytes = (self.buffer.len() - start) as u32;
        self.buffer.set_u32(start + 8, block.size_bytes - BLOCK_HEADER_BYTES as u32);
        self.buffer.set_u32(start + 12, block.records);
        let checksum = crc32fast::hash(&self.buffer[start + CHECKED_FROM..]);
        self.buffer.set_u32(start + CHECKSUM_AT, checksum);
        self.section.blocks.push(block);
    }

    fn end_section(&mut self) {
        self.end_block();
        let Some(shelf) = self.shelf.take() else { return };
        self.sections.push((shelf, std::mem::take(&mut self.section)));
    }

    /// Ends the records; whose they were, in order.
    pub(crate) fn end_records(&mut self) -> Vec<ShelfId> {
        self.end_section();
        self.sections.iter().map(|(shelf, _)| *shelf).collect()
    }

    /// Appends a row of tags of a section, by its place among all. They come after all records, section by section, sorted.
    pub(crate) fn put_tag(&mut self, section: usize, (tag, key): (u64, HeldKey)) -> Result<(), StoreError> {
        if self.buffer.len() >= WRITE_BYTES {
            self.write()?;
        }
        let at = self.offset + self.buffer.len() as u64;
        let Some((_, index)) = self.sections.get_mut(section) else { return Ok(()) };
        if index.tags == 0 {
            index.tags_at = at;
        }
        index.tags += 1;
        [tag, key.due, key.number].iter().for_each(|&field| self.buffer.put_u64(field));
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let written = self.file.write_at(&self.buffer, self.offset);
        written.map_err(|error| StoreError::io("write", &self.name, error))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Completes the run; a durable one is synced, but for its name in the directory.
    pub(crate) fn finish(mut self) -> Result<(RunFile, Vec<(ShelfId, SectionIndex)>), StoreError> {
        self.end_section();
        for (section, mut tags) in std::mem::take(&mut self.tags).into_iter().enumerate() {
            tags.sort_unstable();
            tags.into_iter().try_for_each(|row| self.put_tag(section, row))?;
        }
        let index_at = self.offset + self.buffer.len() as u64;
        let index = encode_index(&self.sections);
        self.buffer.extend_from_slice(&index);
        let start = self.buffer.len();
        self.buffer.extend_from_slice(INDEX_MAGIC);
        self.buffer.put_u32(crc32fast::hash(&index));
        self.buffer.put_u64(index_at);
        self.buffer.put_u64(index.len() as u64);
        self.buffer.put_u32(0);
        let checksum = crc32fast::hash(&self.buffer[start..]);
        self.buffer.put_u32(checksum);
        self.write()?;
        if !self.transient {
            self.file.sync().map_err(|error| StoreError::io("sync", &self.name, error))?;
        }
        let Self { number, transient, offset, records, file, .. } = self;
        let damaged = AtomicBool::new(false);
        Ok((RunFile { number, transient, size_bytes: offset, records, damaged, file }, self.sections))
    }
}

fn encode_index(sections: &[(ShelfId, SectionIndex)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32(sections.len() as u32);
    for (shelf, section) in sections {
        let SectionIndex { first_number, last_number, body_bytes, tags_at, tags, .. } = *section;
        let fields = [shelf.0, first_number, last_number, body_bytes, tags_at, tags];
        fields.iter().for_each(|&field| out.put_u64(field));
        out.put_u32(section.blocks.len() as u32);
        for block in &section.blocks {
            [block.first.due, block.first.number, block.offset].iter().for_each(|&field| out.put_u64(field));
            out.put_u32(block.size_bytes);
            out.put_u32(block.records);
        }
    }
    out
}
