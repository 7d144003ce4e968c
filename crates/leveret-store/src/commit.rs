//! Committing a group: take what has gathered, write it, sync it, tell everybody. The only place where positions
//! become committed.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::{
    CommitEvent, Durability, Lsn, StoreError,
    core::Core,
    engine::Engine,
    journal::{files::JournalFiles, group::HEADER_BYTES, pending::Pending},
};

/// A buffer that one huge group has blown up is not kept.
const KEPT_BUFFER_BYTES: usize = 16 << 20;
/// More than this waiting to be written is called congestion.
pub(crate) const CONGESTED_BYTES: usize = 40 << 20;

impl Engine {
    pub(crate) fn commit(&self) -> Result<(), StoreError> {
        self.commit_at(|_core| ())
    }

    /// Commits, and calls `at_boundary` at the instant between the group and the next one.
    pub(crate) fn commit_at<R>(&self, at_boundary: impl FnOnce(&mut Core) -> R) -> Result<R, StoreError> {
        let mut files = self.files.lock();
        let buffer = files.buffers.pop().unwrap_or_default();
        let settles = std::mem::take(&mut files.settles);
        let (mut group, result) = {
            let mut core = self.core.lock();
            core.check()?;
            let next_file = file_after(&files, &core.pending);
            let group = core.pending.take(next_file, buffer, settles);
            (group, at_boundary(&mut core))
        };
        let written = self.write(&mut files, &mut group);
        self.note_congestion(&files);
        recycle(&mut files, &mut group);
        self.or_fail(written)?;
        self.mark_committed(group.end);
        Ok(result)
    }

    fn write(&self, files: &mut JournalFiles, group: &mut Pending) -> Result<(), StoreError> {
        if !group.needs_write() {
            return Ok(());
        }
        let mut spare = files.buffers.pop().unwrap_or_default();
        group.seal(&mut spare);
        files.buffers.push(spare);
        let file = files.write(group)?;
        if self.options.durability == Durability::Sync {
            let began = Instant::now();
            file.sync().map_err(|error| StoreError::io("sync", files.active_name(), error))?;
            self.counts.note_sync(began.elapsed());
        }
        self.counts.groups.fetch_add(1, Ordering::Relaxed);
        self.counts.journal_bytes.fetch_add(group.buffer.len() as u64, Ordering::Relaxed);
        if files.closed_count() >= self.options.journal_files || files.wants_spare() {
            self.ask_for_housekeeping();
        }
        Ok(())
    }

    fn mark_committed(&self, end: u64) {
        let mut core = self.core.lock();
        let moved = end > core.committed;
        core.committed = core.committed.max(end);
        let waiters = core.waiters;
        drop(core);
        if waiters > 0 {
            self.progress.notify_all();
        }
        if moved {
            (self.listener)(CommitEvent::Committed(Lsn(end)));
        }
    }

    pub(crate) fn note_congestion(&self, files: &JournalFiles) {
        let journal_is_long = files.closed_count() > self.options.journal_files * 2;
        let core = self.core.lock();
        let much_waits = core.pending.size_bytes() > CONGESTED_BYTES || core.shelves.is_congested();
        let is_congested = (journal_is_long || much_waits) && core.failed.is_none();
        self.congested.store(is_congested, Ordering::Relaxed);
    }
}

fn file_after(files: &JournalFiles, pending: &Pending) -> u64 {
    // A group that is not written must not use up a number: the row of files has no holes.
    if pending.needs_write() { files.file_after(pending.file, pending.size_bytes()) } else { pending.file }
}

fn recycle(files: &mut JournalFiles, group: &mut Pending) {
    let buffer = std::mem::take(&mut group.buffer);
    if buffer.capacity() <= KEPT_BUFFER_BYTES && buffer.capacity() > HEADER_BYTES {
        files.buffers.push(buffer);
    }
    files.buffers.truncate(2);
    files.settles = std::mem::take(&mut group.settles);
    if files.settles.capacity() * 24 > KEPT_BUFFER_BYTES {
        files.settles = Vec::new();
    }
}
