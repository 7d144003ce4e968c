//! How many records a shelf holds, and how they are spread over their keys: counted in cells of one width, which
//! doubles when there are too many of them. So it stays small and exact whatever is held.

use std::collections::BTreeMap;

use crate::layout::{Fields, PutFields};

const MOST_CELLS: usize = 32 << 10;

/// Records of one stretch of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TallyCell {
    /// Where it begins.
    pub from: u64,
    /// Where it ends, not included.
    pub to: u64,
    /// Records in it.
    pub count: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    /// Cells are `cell << doublings` wide, by the width given with each call.
    doublings: u32,
    cells: BTreeMap<u64, (u64, u64)>,
}

impl Tally {
    pub(crate) fn add(&mut self, cell: u64, due: u64, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
        let entry = self.cells.entry((due / cell) >> self.doublings).or_default();
        *entry = (entry.0 + 1, entry.1 + bytes);
        if self.cells.len() > MOST_CELLS {
            self.double();
        }
    }

    pub(crate) fn remove(&mut self, cell: u64, due: u64, bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        let index = (due / cell) >> self.doublings;
        if let Some(entry) = self.cells.get_mut(&index) {
            *entry = (entry.0.saturating_sub(1), entry.1.saturating_sub(bytes));
            if entry.0 == 0 {
                self.cells.remove(&index);
            }
        }
        if self.count == 0 {
            *self = Self::default();
        }
    }

    /// Takes off what was lost, nobody knows from where.
    pub(crate) fn lose(&mut self, count: u64, bytes: u64) {
        self.count = self.count.saturating_sub(count);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn double(&mut self) {
        self.doublings += 1;
        for (index, (count, bytes)) in std::mem::take(&mut self.cells) {
            let entry = self.cells.entry(index >> 1).or_default();
            *entry = (entry.0 + count, entry.1 + bytes);
        }
    }

    /// Adds the cells that reach into `from..to` to `out`.
    pub(crate) fn cells(&self, cell: u64, from: u64, to: u64, out: &mut Vec<TallyCell>) {
        let width = u128::from(cell) << self.doublings;
        let bound = |index: u64| u64::try_from(u128::from(index) * width).unwrap_or(u64::MAX);
        let first = (from / cell) >> self.doublings;
        let inside = self.cells.range(first..).take_while(|(index, _)| bound(**index) < to);
        out.extend(inside.map(|(&index, &(count, bytes))| TallyCell {
            from: bound(index),
            to: bound(index.saturating_add(1)),
            count,
            bytes,
        }));
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.count);
        out.put_u64(self.bytes);
        out.put_u32(self.doublings);
        out.put_u32(self.cells.len() as u32);
        for (&index, &(count, bytes)) in &self.cells {
            [index, count, bytes].iter().for_each(|&field| out.put_u64(field));
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (count, bytes) = (fields.u64()?, fields.u64()?);
        let (doublings, cells) = (fields.u32()?, fields.u32()?);
        let cells = (0..cells).map(|_| Some((fields.u64()?, (fields.u64()?, fields.u64()?))));
        Some(Self { count, bytes, doublings, cells: cells.collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_exact_however_far_they_are_spread() {
        let mut tally = Tally::default();
        let mut random = fastrand::Rng::with_seed(3);
        let dues: Vec<u64> = (0..200_000).map(|_| random.u64(..1 << 50)).collect();
        dues.iter().for_each(|&due| tally.add(1000, due, 7));
        assert!(tally.cells.len() <= MOST_CELLS);
        let mut cells = Vec::new();
        tally.cells(1000, 0, u64::MAX, &mut cells);
        for cell in cells.iter().step_by(100) {
            let inside = dues.iter().filter(|due| (cell.from..cell.to).contains(due)).count() as u64;
            assert_eq!((cell.count, cell.bytes), (inside, inside * 7));
        }
        dues.iter().for_each(|&due| tally.remove(1000, due, 7));
        assert_eq!((tally.count, tally.bytes, tally.cells.len(), tally.doublings), (0, 0, 0, 0));
    }
}
