//! The rows of tags of a merged run, made of those of the runs that are merged. They are sorted there already: memory has
//! a piece of each.

use std::sync::Arc;

use crate::{
    StoreError,
    held::{
        HeldKey,
        run::{RunFile, SectionIndex},
    },
    seq_set::SeqSet,
};

/// Rows read at a time.
const ROWS: u64 = 1000;

/// One shelf's rows, sorted.
pub(crate) struct MergedTags<'a> {
    sources: Vec<Source>,
    /// The records that are in the merged run.
    copied: &'a SeqSet,
    last: Option<(u64, HeldKey)>,
}

struct Source {
    run: Arc<RunFile>,
    index: Arc<SectionIndex>,
    next: u64,
    rows: std::vec::IntoIter<(u64, HeldKey)>,
}

impl<'a> MergedTags<'a> {
    pub(crate) fn new(
        sections: impl Iterator<Item = (Arc<RunFile>, Arc<SectionIndex>)>,
        copied: &'a SeqSet,
    ) -> Self {
        let source = |(run, index)| Source { run, index, next: 0, rows: Vec::new().into_iter() };
        Self { sources: sections.map(source).collect(), copied, last: None }
    }

    fn next_row(&mut self) -> Result<Option<(u64, HeldKey)>, StoreError> {
        self.sources.iter_mut().try_for_each(Source::fill)?;
        let sources = self.sources.iter_mut().filter(|source| source.first().is_some());
        Ok(sources.min_by_key(|source| source.first()).and_then(|source| source.rows.next()))
    }
}

impl Iterator for MergedTags<'_> {
    type Item = Result<(u64, HeldKey), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let row = match self.next_row().transpose()? {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            };
            // After a start without a manifest two runs may have the same record.
            if self.copied.contains(row.1.number) && self.last.replace(row) != Some(row) {
                return Some(Ok(row));
            }
        }
    }
}

impl Source {
    fn first(&self) -> Option<(u64, HeldKey)> {
        self.rows.as_slice().first().copied()
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        if self.rows.as_slice().is_empty() && self.next < self.index.tags {
            self.rows = self.run.tag_rows(&self.index, self.next, ROWS)?.into_iter();
            self.next += ROWS;
        }
        Ok(())
    }
}
