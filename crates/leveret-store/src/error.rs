//! What can go wrong, and what was found damaged. A failed write or sync closes the store:
//! the error is kept, and every later call returns it.

use std::{fmt, io, sync::Arc};

use crate::{QueueId, storage};

/// Why a call on the store failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process writes this data directory.
    #[error("data directory {directory} is in use by another process (its file `lock` is locked)")]
    InUse {
        /// The data directory.
        directory: String,
    },
    /// The directory cannot be written.
    #[error("data directory {directory} cannot be written: {source}")]
    ReadOnly {
        /// The data directory.
        directory: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A file is from a newer version of the store. Nothing was changed.
    #[error("{file} has storage format {found}; this version reads up to {supported}")]
    NewerFormat {
        /// Name of the file.
        file: String,
        /// Its format version.
        found: u16,
        /// The newest version read here.
        supported: u16,
    },
    /// A read, write or sync failed. After a write or sync the store is closed.
    #[error("{action} {file}: {source}")]
    Io {
        /// What was tried, for example "sync".
        action: &'static str,
        /// Name of the file, or the directory.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The record's body is longer than [`StoreError::MAX_BODY_BYTES`], or too much waits to be written.
    #[error("a record of {size_bytes} bytes does not fit into the journal now")]
    TooLarge {
        /// Size of the body in bytes.
        size_bytes: u64,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The store's own bookkeeping contradicts itself; it closed rather than go on.
    #[error("the store contradicts itself: {what}")]
    Contradiction {
        /// What was found.
        what: String,
    },
}

impl StoreError {
    /// The longest body of one record, 1 GiB.
    pub const MAX_BODY_BYTES: u64 = 1 << 30;

    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }

    /// Whether it will pass once somebody has closed some files. Then nothing was done, and the store is not closed.
    pub(crate) fn is_out_of_descriptors(&self) -> bool {
        matches!(self, Self::Io { source, .. } if storage::is_out_of_descriptors(source))
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn io(action: &'static str, file: &str, source: io::Error) -> Self {
        Self::Io { action, file: file.to_owned(), source: Arc::new(source) }
    }
}

/// Something on the disk that its checksum, or another file, contradicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Name of the file.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The queue, where the file belongs to one.
    pub queue: Option<QueueId>,
    /// How many records are lost by it, where that is known.
    pub lost_records: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}: {}", self.file, self.offset, self.what)?;
        if let Some(queue) = self.queue {
            write!(f, ", queue {}", queue.0)?;
        }
        if let Some(lost) = self.lost_records {
            write!(f, ", {lost} records lost")?;
        }
        Ok(())
    }
}
