//! A simulated disk: it remembers what was synced, and on a crash loses, tears and reorders the rest; on request it
//! fails, fills up or dies at the n-th call.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use leveret_store::{Storage, StorageFile};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// What the system says where a process has as many files open as it may.
const EMFILE: i32 = 24;

/// What happens at the n-th call that writes, syncs or changes names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The process dies: this write may be half done, and every later call fails.
    Crash,
    /// This call and all later writes and syncs fail with an I/O error.
    Broken,
    /// This call alone fails.
    Hiccup,
    /// From here on writes fail for lack of space.
    Full,
}

/// What a crash leaves of unsynced writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// All of it: only the process died.
    KeepAll,
    /// None of it.
    LoseAll,
    /// A random part, in pieces of random size.
    Tear,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u64, File>,
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    next_file: u64,
    calls: u64,
    trouble: Option<(u64, Trouble)>,
    /// Files whose names begin so cannot be read.
    unreadable: Option<String>,
    /// What writes and syncs waits.
    is_paused: bool,
    locked: bool,
    lock_refusal: Option<io::ErrorKind>,
    open_files: usize,
    /// So many files may be open.
    descriptors: Option<usize>,
    refused_descriptors: usize,
}

#[derive(Default, Clone)]
struct File {
    synced: Vec<u8>,
    now: Vec<u8>,
    writes: Vec<(usize, Vec<u8>)>,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct SimulatedDisk(Arc<(Mutex<State>, Condvar)>);

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock()
    }

    /// For what writes or syncs: waits while the disk is paused.
    fn state_to_write(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        self.0.1.wait_while(&mut state, |state| state.is_paused);
        state
    }

    /// Writes and syncs wait, or go on.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.state().is_paused = is_paused;
        self.0.1.notify_all();
    }

    /// Files whose names begin so cannot be read any more; `None` heals them.
    pub(crate) fn make_unreadable(&self, prefix: Option<&str>) {
        self.state().unreadable = prefix.map(str::to_owned);
    }

    /// Lets no more files be open than these; `None` for any number.
    pub(crate) fn limit_descriptors(&self, most: Option<usize>) {
        self.state().descriptors = most;
    }

    pub(crate) fn open_files(&self) -> usize {
        self.state().open_files
    }

    /// How often a file could not be opened because of that.
    pub(crate) fn refused_descriptors(&self) -> usize {
        self.state().refused_descriptors
    }

    /// Whether what was arranged has happened.
    pub(crate) fn was_troubled(&self) -> bool {
        let state = self.state();
        state.trouble.is_some_and(|(at, _)| state.calls >= at)
    }

    /// Arranges trouble at the n-th call from now.
    pub(crate) fn arrange(&self, after_calls: u64, trouble: Trouble) {
        let mut state = self.state();
        let at = state.calls + after_calls;
        state.trouble = Some((at, trouble));
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().is_troubled(Trouble::Crash)
    }

    /// Starts the machine again after a crash.
    pub(crate) fn restart(&self, crash: Crash, random: &mut fastrand::Rng) {
        let mut state = self.state();
        state.trouble = None;
        state.locked = false;
        state.names = surviving_names(&state, crash, random);
        state.synced_names = state.names.clone();
        let used: BTreeSet<u64> = state.names.values().copied().collect();
        state.files.retain(|id, _| used.contains(id));
        for file in state.files.values_mut() {
            file.restart(crash, random);
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let state = self.state();
        state.names.values().map(|id| state.files[id].now.len()).sum()
    }

    pub(crate) fn contents(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[&state.names[name]].now.clone()
    }

    /// Changes a file behind the store's back.
    pub(crate) fn overwrite(&self, name: &str, offset: usize, bytes: &[u8]) {
        let mut state = self.state();
        let id = state.names[name];
        let file = state.files.get_mut(&id).expect("a name has a file");
        put(&mut file.now, offset, bytes);
        put(&mut file.synced, offset, bytes);
    }

    /// Shortens a file behind the store's back.
    pub(crate) fn cut(&self, name: &str, length: usize) {
        let mut state = self.state();
        let id = state.names[name];
        let file = state.files.get_mut(&id).expect("a name has a file");
        file.now.truncate(length);
        file.synced.truncate(length);
    }

    /// Makes taking the lock fail.
    pub(crate) fn refuse_lock(&self, kind: io::ErrorKind) {
        self.state().lock_refusal = Some(kind);
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.synced_names.remove(name);
    }
}

fn surviving_names(state: &State, crash: Crash, random: &mut fastrand::Rng) -> BTreeMap<String, u64> {
    let all: BTreeSet<&String> = state.names.keys().chain(state.synced_names.keys()).collect();
    let mut names = BTreeMap::new();
    for name in all {
        let new = match crash {
            Crash::KeepAll => true,
            Crash::LoseAll => false,
            Crash::Tear => random.bool(),
        };
        let source = if new { &state.names } else { &state.synced_names };
        if let Some(&id) = source.get(name) {
            names.insert(name.clone(), id);
        }
    }
    names
}

fn put(bytes: &mut Vec<u8>, offset: usize, piece: &[u8]) {
    if bytes.len() < offset + piece.len() {
        bytes.extend_from_slice(&vec![0; offset + piece.len() - bytes.len()]);
    }
    bytes[offset..offset + piece.len()].copy_from_slice(piece);
}

impl File {
    fn restart(&mut self, crash: Crash, random: &mut fastrand::Rng) {
        let writes = std::mem::take(&mut self.writes);
        if crash == Crash::KeepAll {
            self.synced = self.now.clone();
        }
        if crash == Crash::Tear {
            for (offset, bytes) in writes {
                self.tear(offset, &bytes, random);
            }
        }
        self.now = self.synced.clone();
    }

    fn tear(&mut self, offset: usize, bytes: &[u8], random: &mut fastrand::Rng) {
        let piece = [7, 64, 512, 4096][random.usize(0..4)];
        let chance = random.u8(0..=4);
        for (index, part) in bytes.chunks(piece).enumerate() {
            if random.u8(0..4) < chance {
                put(&mut self.synced, offset + index * piece, part);
            }
        }
    }
}

impl State {
    fn is_troubled(&self, kind: Trouble) -> bool {
        self.trouble.is_some_and(|(at, trouble)| trouble == kind && self.calls >= at)
    }

    fn is_unreadable(&self, id: u64) -> bool {
        let Some(prefix) = &self.unreadable else { return false };
        self.names.iter().any(|(name, of)| *of == id && name.starts_with(prefix))
    }

    /// Counts a call and says whether it fails.
    fn call(&mut self, is_write: bool) -> io::Result<()> {
        let was_dead = self.is_troubled(Trouble::Crash);
        self.calls += 1;
        let Some((at, trouble)) = self.trouble else { return Ok(()) };
        if self.calls < at {
            return Ok(());
        }
        match trouble {
            Trouble::Crash if was_dead || self.calls == at => Err(io::Error::other("the process is dead")),
            Trouble::Broken => Err(io::Error::from_raw_os_error(5)),
            Trouble::Hiccup if self.calls == at => Err(io::Error::from_raw_os_error(5)),
            Trouble::Full if is_write => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl Storage for SimulatedDisk {
    fn location(&self) -> String {
        "simulated".into()
    }

    fn lock(&self, _exclusive: bool) -> io::Result<()> {
        let mut state = self.state();
        if let Some(kind) = state.lock_refusal {
            return Err(kind.into());
        }
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str, write: bool) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.state();
        if state.descriptors.is_some_and(|most| state.open_files >= most) {
            state.refused_descriptors += 1;
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let id = match state.names.get(name) {
            Some(&id) => id,
            None if write => {
                state.call(false)?;
                state.next_file += 1;
                let id = state.next_file;
                state.files.insert(id, File::default());
                state.names.insert(name.to_owned(), id);
                id
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        state.open_files += 1;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(false)?;
        state.names.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(false)?;
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.call(false)?;
        state.synced_names = state.names.clone();
        Ok(())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    id: u64,
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.disk.state().open_files -= 1;
    }
}

impl StorageFile for SimulatedFile {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().files.get(&self.id).map_or(0, |file| file.now.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        if state.is_unreadable(self.id) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let file = state.files.get(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let from = file.now.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state_to_write();
        let was_dead = state.is_troubled(Trouble::Crash);
        let called = state.call(true);
        if called.is_err() && (was_dead || !state.is_troubled(Trouble::Crash)) {
            return called;
        }
        // The write during which the process dies may be there, whole or in part.
        let file = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        put(&mut file.now, offset as usize, buffer);
        file.writes.push((offset as usize, buffer.to_vec()));
        called
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state_to_write();
        state.call(false)?;
        let file = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let writes = std::mem::take(&mut file.writes);
        for (offset, bytes) in writes {
            put(&mut file.synced, offset, &bytes);
        }
        Ok(())
    }
}
