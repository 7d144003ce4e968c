//! Durable storage of opaque records for numbered queues: a journal with group commit, segment files for what stays,
//! recovery bounded by the journal. The layout on disk is fixed in `docs/storage-format.md`.
//!
//! Nothing here knows what a record means, who sent it or where it goes: no protocol, no clock of the caller's, no
//! policy. The caller numbers its queues ([`QueueId`]) and the records in each queue (a rising `u64`).
//!
//! ```
//! use leveret_store::{Append, Options, QueueId, Store};
//!
//! let directory = tempfile::tempdir()?;
//! let (store, _found) = Store::open(directory.path(), Options::default(), |_event| {})?;
//! let queue = store.queue(QueueId(1));
//! let position = store.append(&Append { flags: 0, body: &[b"hello"], targets: &[(queue, 1)] })?;
//! store.wait(position)?; // on the disk now
//! store.settle(queue, &[1])?;
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checkpoint;
mod commit;
mod compact;
mod core;
mod engine;
mod error;
mod held;
mod inspect;
mod journal;
mod layout;
mod manifest;
mod options;
mod purge;
mod queue;
mod read;
mod rebuild;
mod recovery;
mod relocate;
mod replay;
mod segment;
mod seq_set;
mod settle;
mod spill;
mod stats;
mod storage;
mod store;
mod surplus;
mod worker;

pub use error::{Damage, StoreError};
pub use held::{HeldKey, HeldPage, HeldRecord, Hold, ShelfId, ShelfTotals, TallyCell};
pub use inspect::{CheckReport, DumpEntry, check, check_on, dump, dump_on};
pub use options::{Drive, Durability, Options};
pub use read::ReadEnd;
pub use recovery::{RecoveredQueue, Recovery};
pub use spill::Spill;
pub use stats::{Stats, Syncs};
pub use storage::{DirectoryStorage, MemoryStorage, Storage, StorageFile};
pub use store::{Append, Batch, CommitEvent, Lsn, QueueId, QueueRef, Store, StoredRecord};
