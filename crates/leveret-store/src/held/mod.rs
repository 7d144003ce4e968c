//! Shelves: records held in the order of a key that the caller gives (for a broker: when they are due), however many
//! there are. New ones lie in a table in memory and in the journal; a full table becomes a run, a file sorted by
//! key. Memory keeps an entry a block of a run, and a bit a record. See `docs/storage-format.md`.
//!
//! What a key means, and that its time has come, is the caller's business: no clock is here.

pub(crate) mod arena;
pub(crate) mod change;
pub(crate) mod collect;
pub(crate) mod flush;
pub(crate) mod lookup;
pub(crate) mod merge;
pub(crate) mod merged_tags;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod run_writer;
pub(crate) mod section;
pub(crate) mod shelf;
pub(crate) mod snapshot;
pub(crate) mod tally;

pub use collect::HeldPage;
pub use shelf::ShelfTotals;
pub use tally::TallyCell;

/// Number of a shelf. The caller chooses it, and never uses one again after
/// [`Store::delete_shelf`](crate::Store::delete_shelf).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShelfId(pub u64);

/// A record's place on its shelf. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HeldKey {
    /// What the caller orders by; a time, say.
    pub due: u64,
    /// Counts the records of the shelf: those of one `due` stand in the order in which they came.
    pub number: u64,
}

/// A record to hold.
#[derive(Debug, Clone, Copy)]
pub struct Hold<'a> {
    /// Where.
    pub shelf: ShelfId,
    /// Its order.
    pub due: u64,
    /// What it can be found by, for example the hash of a name; 0 for nothing. Several may have the same.
    pub tag: u64,
    /// The caller's bits, given back with the record.
    pub flags: u16,
    /// It need not survive a restart.
    pub transient: bool,
    /// The body in pieces.
    pub body: &'a [&'a [u8]],
}

/// A record read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRecord {
    /// Its place.
    pub key: HeldKey,
    /// What it can be found by.
    pub tag: u64,
    /// The caller's bits.
    pub flags: u16,
    /// It will not survive a restart.
    pub transient: bool,
    /// Its body.
    pub body: Vec<u8>,
}
