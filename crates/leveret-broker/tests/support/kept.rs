//! A broker on a directory of its own, to be closed and opened again.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret_broker::{Backing, Broker, Catalog, Change, Durability, OpenStore, StoreOptions, Time, Users};
use parking_lot::Mutex;
use tempfile::TempDir;

/// Memory of all messages, in bytes: so little that rows are paged out early.
const MEMORY_BYTES: usize = 64 << 10;

pub struct Kept {
    directory: TempDir,
    rows: Arc<Rows>,
}

#[derive(Default)]
struct Rows {
    all: Mutex<Vec<Change>>,
    is_full: AtomicBool,
}

impl Catalog for Rows {
    fn keep(&self, changes: &[Change]) -> Result<(), String> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err("disk full".into());
        }
        self.all.lock().extend_from_slice(changes);
        Ok(())
    }
}

/// The catalog as a broker has it.
struct Shared(Arc<Rows>);

impl Catalog for Shared {
    fn keep(&self, changes: &[Change]) -> Result<(), String> {
        self.0.keep(changes)
    }
}

impl Kept {
    pub fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), rows: Arc::default() }
    }

    /// Whether the catalog takes no more.
    pub fn set_full(&self, is_full: bool) {
        self.rows.is_full.store(is_full, Ordering::Relaxed);
    }

    pub fn open(&self, now: Time) -> Broker {
        let mut options = StoreOptions::default();
        options.durability = Durability::Os;
        options.journal_file_bytes = 256 << 10;
        let store = OpenStore::open(self.directory.path(), options, |_| {}).unwrap();
        let backing = Backing::new(store, MEMORY_BYTES, Box::new(Shared(Arc::clone(&self.rows))));
        let rows = self.rows.all.lock().clone();
        Broker::restored(Users::new(vec![]), backing, &rows, now)
    }
}
