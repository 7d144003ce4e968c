//! The storage as the store's own threads use it: where no file descriptor is left to open a file with, they wait until
//! somebody has closed another. Nothing is lost by that, while giving up would close the store.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use super::{Storage, StorageFile, is_out_of_descriptors};

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct PatientStorage {
    inner: Arc<dyn Storage>,
    stopping: AtomicBool,
}

impl PatientStorage {
    pub(crate) fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, stopping: AtomicBool::new(false) }
    }

    /// From now on nothing is waited for.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Gives others time to close files; false where there is none left for that.
    pub(crate) fn pause(&self) -> bool {
        let waits = !self.stopping.load(Ordering::Relaxed);
        if waits {
            sleep(PAUSE);
        }
        waits
    }
}

impl Storage for PatientStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn lock(&self, exclusive: bool) -> io::Result<()> {
        self.inner.lock(exclusive)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Arc<dyn StorageFile>> {
        let mut told = false;
        loop {
            let opened = self.inner.open(name, write);
            if !opened.as_ref().is_err_and(is_out_of_descriptors) {
                return opened;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!("no file descriptor is left for {name}: waiting for one");
            }
            if !self.pause() {
                return opened;
            }
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }
}
