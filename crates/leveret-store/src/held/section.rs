//! What memory keeps of one shelf's part of a run: which of its records live, and where reading begins.

use std::sync::Arc;

use crate::{
    held::{
        HeldKey,
        run::{RunFile, SectionIndex},
    },
    seq_set::SeqSet,
};

pub(crate) struct Section {
    pub(crate) run: Arc<RunFile>,
    pub(crate) index: Arc<SectionIndex>,
    /// Numbers of the records that were not taken.
    pub(crate) live: SeqSet,
    /// How many of them each block has.
    pub(crate) block_live: Vec<u32>,
    /// Blocks before it have none.
    first_block: usize,
    /// What was taken since the section is being merged, which must be taken from the merged one too.
    pub(crate) taken: Option<Vec<HeldKey>>,
}

impl Section {
    /// A section all of whose records live; `live` are their numbers.
    pub(crate) fn whole(run: Arc<RunFile>, index: Arc<SectionIndex>, live: SeqSet) -> Self {
        let block_live = index.blocks.iter().map(|block| block.records).collect();
        Self::new(run, index, live, block_live)
    }

    pub(crate) fn new(
        run: Arc<RunFile>,
        index: Arc<SectionIndex>,
        live: SeqSet,
        block_live: Vec<u32>,
    ) -> Self {
        let mut section = Self { run, index, live, block_live, first_block: 0, taken: None };
        section.skip_dead();
        section
    }

    pub(crate) fn holds(&self, number: u64) -> bool {
        (self.index.first_number..=self.index.last_number).contains(&number) && self.live.contains(number)
    }

    /// Takes a record that lives here.
    pub(crate) fn take(&mut self, key: HeldKey) {
        self.live.remove(key.number);
        let block = self.index.block_of(key);
        if let Some(live) = self.block_live.get_mut(block) {
            *live = live.saturating_sub(1);
        }
        if let Some(taken) = &mut self.taken {
            taken.push(key);
        }
        self.skip_dead();
    }

    fn skip_dead(&mut self) {
        while self.block_live.get(self.first_block).is_some_and(|&live| live == 0) {
            self.first_block += 1;
        }
    }

    /// The first block from `from` on with a live record.
    pub(crate) fn next_block(&self, from: usize) -> Option<usize> {
        let from = from.max(self.first_block);
        let behind = self.block_live.get(from..)?.iter().position(|&live| live > 0)?;
        Some(from + behind)
    }

    /// No live record stands before this key.
    pub(crate) fn lower_bound(&self) -> Option<HeldKey> {
        self.index.blocks.get(self.first_block).map(|block| block.first)
    }
}
