//! The storage of real life: a directory of the file system.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::{Storage, StorageFile};

/// A directory of the file system.
#[derive(Debug)]
pub struct DirectoryStorage {
    path: PathBuf,
    lock: Mutex<Option<File>>,
    /// The directory itself, to be synced when no file descriptor may be left to open it with.
    directory: OnceLock<File>,
}

impl DirectoryStorage {
    /// Uses a directory, which need not exist yet: [`Storage::lock`] to write creates it.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), lock: Mutex::new(None), directory: OnceLock::new() }
    }

    fn lock_file(&self, exclusive: bool) -> io::Result<File> {
        let path = self.path.join("lock");
        if !exclusive {
            return File::open(path);
        }
        fs::create_dir_all(&self.path)?;
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }
}

impl Storage for DirectoryStorage {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&self, exclusive: bool) -> io::Result<()> {
        let file = self.lock_file(exclusive)?;
        if self.directory.get().is_none() {
            let _opened_by_another = self.directory.set(File::open(&self.path)?);
        }
        let locked = if exclusive { file.try_lock() } else { file.try_lock_shared() };
        match locked {
            Ok(()) => *self.lock.lock() = Some(file),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(write).create(write).truncate(false).open(path)?;
        Ok(Arc::new(DirectoryFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_directory(&self) -> io::Result<()> {
        match self.directory.get() {
            Some(directory) => directory.sync_all(),
            None => File::open(&self.path)?.sync_all(),
        }
    }
}

struct DirectoryFile(File);

impl StorageFile for DirectoryFile {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
