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
            let first = (tag, after.unwrap_or_default());
            let last = (tag, HeldKey { due: u64::MAX, number: u64::MAX });
            keys.extend(shelf.tags.range(first..=last).map(|(_, key)| *key));
            let tagged = shelf.sections.iter().filter(|section| section.index.tags > 0);
            tagged.map(|section| (Arc::clone(&section.run), Arc::clone(&section.index))).collect()
        };
        for (run, index) in sections {
            let mut row = first_row(&run, &index, (tag, after.unwrap_or_default()))?;
            // Dead ones among them do not count.
            while row < index.tags {
                let (found, key) = run.tag_row(&index, row)?;
                if found != tag {
                    break;
                }
                keys.insert(key);
                row += 1;
            }
        }
        let core = self.core.lock();
        let Some(shelf) = core.shelves.by_id.get(&id) else { return Ok(Vec::new()) };
        let behind = keys.into_iter().filter(|&key| after.is_none_or(|after| key > after));
        Ok(behind.filter(|&key| shelf.lives(key)).take(count).collect())
    }
}

/// The first row of tags that is not before this one.
fn first_row(run: &RunFile, index: &SectionIndex, wanted: (u64, HeldKey)) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, index.tags);
    while low < high {
        let middle = low + (high - low) / 2;
        if run.tag_row(index, middle)? < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
