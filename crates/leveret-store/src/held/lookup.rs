//! Finding single records: by their place, and by their tag.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    StoreError,
    engine::Engine,
    held::{
        HeldKey, HeldRecord, ShelfId,
        run::{RunFile, SectionIndex, records},
    },
};

/// Rows of tags read at a time.
const ROWS: u64 = 1000;

impl Engine {
    pub(crate) fn held_record(&self, id: ShelfId, key: HeldKey) -> Result<Option<HeldRecord>, StoreError> {
        let (run, index, number) = {
            let core = self.core.lock();
            if let Some(record) = core.shelves.in_memory(id, key) {
                return Ok(Some(record));
            }
            let Some(shelf) = core.shelves.by_id.get(&id) else { return Ok(None) };
            let Some(section) = shelf.section_of(key) else { return Ok(None) };
            let section = &shelf.sections[section];
            (Arc::clone(&section.run), Arc::clone(&section.index), section.index.block_of(key))
        };
        let Some(block) = index.blocks.get(number) else { return Ok(None) };
        let Some(bytes) = run.block(block)? else {
            self.write_off(id, &run, number, block);
            return Ok(None);
        };
        let found = records(&bytes, 0).find(|(_, record)| record.key == key);
        Ok(found.map(|(_, record)| record.to_held(run.transient)))
    }

    /// Places of the records with a tag, in order, behind `after`.
    pub(crate) fn held_by_tag(
        &self,
        id: ShelfId,
        tag: u64,
        after: Option<HeldKey>,
        count: usize,
    ) -> Result<Vec<HeldKey>, StoreError> {
        let mut keys = BTreeSet::new();
        let sections: Vec<(Arc<RunFile>, Arc<SectionIndex>)> = {
            let core = self.core.lock();
            let Some(shelf) = core.shelves.by_id.get(&id) else { return Ok(Vec::new()) };
            let last = (tag, HeldKey { due: u64::MAX, number: u64::MAX });
            let in_memory = shelf.tags.range((tag, after.unwrap_or_default())..=last).map(|(_, key)| *key);
            keys.extend(in_memory.filter(|&key| after.is_none_or(|after| key > after)).take(count));
            let tagged = shelf.sections.iter().filter(|section| section.index.tags > 0);
            tagged.map(|section| (Arc::clone(&section.run), Arc::clone(&section.index))).collect()
        };
        for (run, index) in sections {
            keys.extend(self.tagged_in_run((&run, &index), id, (tag, after), count)?);
        }
        Ok(keys.into_iter().take(count).collect())
    }

    /// The first `count` records behind `after` that a shelf has in a run under a tag.
    fn tagged_in_run(
        &self,
        (run, index): (&RunFile, &SectionIndex),
        id: ShelfId,
        (tag, after): (u64, Option<HeldKey>),
        count: usize,
    ) -> Result<Vec<HeldKey>, StoreError> {
        let mut found = Vec::new();
        let mut row = first_row(run, index, (tag, after.unwrap_or_default()))?;
        loop {
            let rows = run.tag_rows(index, row, ROWS)?;
            let keys = rows.iter().take_while(|(of, _)| *of == tag).map(|(_, key)| *key);
            let keys: Vec<_> = keys.collect();
            let is_last = (keys.len() as u64) < ROWS;
            row += ROWS;
            {
                let core = self.core.lock();
                let Some(shelf) = core.shelves.by_id.get(&id) else { return Ok(found) };
                let behind = keys.into_iter().filter(|&key| after.is_none_or(|after| key > after));
                found.extend(behind.filter(|&key| shelf.lives(key)).take(count - found.len()));
            }
            if is_last || found.len() >= count {
                return Ok(found);
            }
        }
    }
}

/// The first row of tags that is not before this one.
fn first_row(run: &RunFile, index: &SectionIndex, wanted: (u64, HeldKey)) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, index.tags);
    while low < high {
        let middle = low + (high - low) / 2;
        if run.tag_rows(index, middle, 1)?.first().is_none_or(|row| *row < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
