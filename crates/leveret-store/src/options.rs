//! How a store is set up. Sizes are in bytes; every default is right for a broker on a local disk.

use std::time::Duration;

/// When a record counts as committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After `fdatasync`: survives loss of power. The default.
    #[default]
    Sync,
    /// After the write to the operating system: survives the end of the process, not of the machine.
    Os,
}

/// Who does the store's own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drive {
    /// Two threads of the store: one commits, one keeps house. The default.
    #[default]
    Threads,
    /// The caller, by [`Store::commit`](crate::Store::commit) and [`Store::maintain`](crate::Store::maintain); for
    /// simulations, which must be repeatable.
    Manual,
}

/// Settings of a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// When a record counts as committed. Default: [`Durability::Sync`].
    pub durability: Durability,
    /// Who does the store's own work. Default: [`Drive::Threads`].
    pub drive: Drive,
    /// Nominal size of a journal file. Default: 64 MiB.
    pub journal_file_bytes: u64,
    /// The journal is shortened when it reaches this many files; what recovery reads at most is about this many
    /// files and one. Default: 4.
    pub journal_files: usize,
    /// Nominal size of a segment. Default: 16 MiB.
    pub segment_bytes: u64,
    /// Segments kept open to write on. Of more the longest open is synced and closed. Default: 256.
    pub open_segments: usize,
    /// Nominal size of a block in a segment, the unit of checksums. Default: 64 KiB.
    pub block_bytes: usize,
    /// One read of a segment. Default: 512 KiB.
    pub read_bytes: usize,
    /// When the journal is shortened, a queue's row in it moves to a segment from this size on; shorter rows are
    /// written to the journal again, up to a quarter of a journal file in all. Default: 256 KiB.
    pub relocate_bytes: u64,
    /// Dead segments of this size in all make the store write a manifest and delete them. Default: 64 MiB.
    pub dead_bytes: u64,
    /// Memory for held records; when it is full they are written to a run. Three times as much, what is being written
    /// included, is called congestion.
    /// Default: 24 MiB.
    pub held_bytes: usize,
    /// Nominal size of a block in a run. Default: 32 KiB.
    pub held_block_bytes: usize,
    /// Width of the cells in which held records are counted, in the caller's unit of `due`, as long as there are not too
    /// many cells. Default: 60,000,000, a minute in microseconds.
    pub held_cell: u64,
    /// How long settles alone may wait for their sync. Default: 10 ms.
    pub settle_delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            drive: Drive::Threads,
            journal_file_bytes: 64 << 20,
            journal_files: 4,
            segment_bytes: 16 << 20,
            open_segments: 256,
            block_bytes: 64 << 10,
            read_bytes: 512 << 10,
            relocate_bytes: 256 << 10,
            dead_bytes: 64 << 20,
            held_bytes: 24 << 20,
            held_block_bytes: 32 << 10,
            held_cell: 60_000_000,
            settle_delay: Duration::from_millis(10),
        }
    }
}
