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

    /// Whether a record lives here, and was not lost.
    pub(crate) fn holds(&self, key: HeldKey) -> bool {
        (self.index.first_number..=self.index.last_number).contains(&key.number)
            && self.live.contains(key.number)
            && self.block_live.get(self.index.block_of(key)).is_some_and(|&live| live > 0)
    }

    /// How many records live here.
    pub(crate) fn count(&self) -> u64 {
        self.block_live.iter().map(|&live| u64::from(live)).sum()
    }

    /// Nothing lives here any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.first_block >= self.block_live.len()
    }

    /// A block is not readable: what lived in it is lost. Returns how many records that were.
    pub(crate) fn write_off(&mut self, block: usize) -> u32 {
        let lost = self.block_live.get_mut(block).map_or(0, std::mem::take);
        self.skip_dead();
        lost
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
