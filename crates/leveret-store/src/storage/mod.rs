//! The store's only door to a disk: one small trait, so that tests can supply disks that lose, tear, fail or fill up.
//! All file names are flat names inside the data directory.

mod directory;
mod memory;
mod patient;

use std::{io, sync::Arc};

pub use directory::DirectoryStorage;
pub use memory::MemoryStorage;
pub(crate) use patient::PatientStorage;

/// Whether it is for want of file descriptors, this process's or the whole system's, that a file was not opened.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    // Unix has had these numbers from its beginnings.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// A directory of files.
pub trait Storage: Send + Sync {
    /// Where it is, for error messages.
    fn location(&self) -> String;

    /// Takes the lock against other processes, exclusive to write or shared to inspect, until the storage is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it; otherwise what the system says.
    fn lock(&self, exclusive: bool) -> io::Result<()>;

    /// The names of all files.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file to read and, with `write`, to write; then it is created if it is not there.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, name: &str, write: bool) -> io::Result<Arc<dyn StorageFile>>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file over whatever has the new name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the files created, removed and renamed so far survive a loss of power.
    ///
    /// # Errors
    /// What the system says.
    fn sync_directory(&self) -> io::Result<()>;
}

/// An open file.
pub trait StorageFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Reads at an offset, until the buffer is full or the file ends; returns how much was read.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of the buffer at an offset.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written, and the length, survive a loss of power.
    ///
    /// # Errors
    /// What the system says; then what was written may be lost, and a second call proves nothing.
    fn sync(&self) -> io::Result<()>;
}
