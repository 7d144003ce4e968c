//! Looking at a data directory without changing it: a check that reports, and a dump that makes records readable.

mod check;
mod dump;

pub use check::{CheckReport, check, check_on};
pub use dump::{DumpEntry, dump, dump_on};

use crate::{StoreError, storage::Storage};

fn lock_shared(storage: &dyn Storage) -> Result<(), StoreError> {
    match storage.lock(false) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(StoreError::InUse { directory: storage.location() })
        }
        Err(error) => Err(StoreError::io("lock", &storage.location(), error)),
    }
}
