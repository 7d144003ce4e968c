//! Keeping house: segments are synced, a manifest is written between two groups, and then what it makes superfluous
//! goes: old journal files, dead segments. The order of these steps is what the invariants in the format rest on.

use std::{collections::VecDeque, sync::Arc, sync::atomic::Ordering};

use crate::{
    QueueRef, StoreError,
    core::Core,
    engine::Engine,
    journal::files::{ClosedFile, fill_with_zeros},
    manifest::{self, ManifestFiles},
    queue::QueueState,
    relocate::Keep,
    segment::{Extent, Segment},
    storage::StorageFile,
};

/// A segment that has to be synced, and how far it reaches now.
struct Unsaved {
    queue: QueueRef,
    number: u64,
    extent: Extent,
    name: String,
    /// None where it is synced already.
    file: Option<Arc<dyn StorageFile>>,
    is_new: bool,
}

impl Engine {
    /// Does what is due. Errors close the store.
    pub(crate) fn maintain(&self) -> Result<(), StoreError> {
        let mut manifests = self.house.lock();
        self.core.lock().check()?;
        let done = self.keep_house(&mut manifests);
        self.or_fail(done)
    }

    fn keep_house(&self, manifests: &mut ManifestFiles) -> Result<(), StoreError> {
        self.remove_dead_transients();
        let _unused = self.core.lock().shelves.give_back_spare();
        self.prepare_spare()?;
        self.keep_urgent(manifests)?;
        let compacted = self.compact()?;
        let merged = self.merge_held(manifests)?;
        if merged {
            self.flush_held()?;
        }
        let dead_bytes = self.core.lock().dead_bytes;
        if compacted || merged || dead_bytes >= self.options.dead_bytes {
            self.checkpoint(manifests, None, false, Keep::OnDisk)?;
        }
        Ok(())
    }

    /// Does what publishers wait for, or would soon: shortens the journal, and writes held records to a run.
    pub(crate) fn keep_urgent(&self, manifests: &mut ManifestFiles) -> Result<(), StoreError> {
        let journal = self.journal_to_keep();
        let (is_full, dead_bytes) = {
            let shelves = &mut self.core.lock().shelves;
            (shelves.wants_flush(), shelves.dead_bytes())
        };
        if dead_bytes >= self.options.dead_bytes {
            self.flush_held()?;
        }
        if is_full || journal.is_some() || dead_bytes >= self.options.dead_bytes {
            self.checkpoint(manifests, journal, false, Keep::OnDisk)?;
        }
        Ok(())
    }

    /// The first file to keep, when the journal is long enough to be shortened.
    fn journal_to_keep(&self) -> Option<u64> {
        let files = self.files.lock();
        let closed: Vec<u64> = files.closed().map(|file| file.number).collect();
        if closed.len() < self.options.journal_files {
            return None;
        }
        let newest = self.options.journal_files / 2;
        closed.get(closed.len() - newest).copied().or(files.active_number())
    }

    /// Writes a manifest; with `first_file` it shortens the journal to begin there.
    pub(crate) fn checkpoint(
        &self,
        manifests: &mut ManifestFiles,
        first_file: Option<u64>,
        clean: bool,
        keep: Keep,
    ) -> Result<(), StoreError> {
        self.save_segments()?;
        self.save_held(first_file)?;
        if let Some(first_file) = first_file {
            self.relocate_before(first_file, keep)?;
            self.save_segments()?;
        }
        let first_file = first_file.unwrap_or_else(|| self.first_file());
        let (encoded, dead) = self.commit_at(|core| core.snapshot(first_file, clean))?;
        manifests.write(encoded?)?;
        self.counts.manifests.fetch_add(1, Ordering::Relaxed);
        self.release(first_file, dead);
        Ok(())
    }

    /// Sees to it that held records need no journal file before this one, and not too much memory.
    fn save_held(&self, first_file: Option<u64>) -> Result<(), StoreError> {
        let due = {
            let shelves = &mut self.core.lock().shelves;
            shelves.wants_flush() || first_file.is_some_and(|first_file| shelves.saved.file < first_file)
        };
        if due { self.flush_held() } else { Ok(()) }
    }

    fn first_file(&self) -> u64 {
        let files = self.files.lock();
        let oldest = files.closed().map(|file| file.number).next();
        oldest.or(files.active_number()).unwrap_or_else(|| self.core.lock().pending.file)
    }

    /// Syncs what was spilled to durable segments. From then on the journal is not needed for it.
    fn save_segments(&self) -> Result<(), StoreError> {
        let unsaved = self.core.lock().unsaved_segments();
        for segment in &unsaved {
            if let Some(file) = &segment.file {
                file.sync().map_err(|error| StoreError::io("sync", &segment.name, error))?;
            }
        }
        if unsaved.iter().any(|segment| segment.is_new) {
            let synced = self.storage.sync_directory();
            synced.map_err(|error| StoreError::io("sync", &self.storage.location(), error))?;
        }
        let mut core = self.core.lock();
        for segment in unsaved {
            if let Some(state) = core.queue(segment.queue) {
                state.saved(segment.number, segment.extent);
            }
        }
        Ok(())
    }

    fn release(&self, first_file: u64, dead: Vec<Segment>) {
        let released = {
            let mut files = self.files.lock();
            let released = files.release_before(first_file, self.options.journal_files);
            self.note_congestion(&files);
            released
        };
        for file in released {
            self.discard(&file.name, file.damaged);
        }
        for segment in dead {
            self.discard(&segment.name(), segment.damaged);
        }
        self.remove_dead_runs();
    }

    /// Removes a file, or sets it aside. Failing at that harms nothing: the next start tries again.
    pub(crate) fn discard(&self, name: &str, damaged: bool) {
        let done = if damaged {
            self.storage.rename(name, &format!("damaged-{name}"))
        } else {
            self.storage.remove(name)
        };
        if let Err(error) = done {
            tracing::warn!("cannot put away {name}: {error}");
        }
    }

    fn remove_dead_transients(&self) {
        let dead = {
            let mut core = self.core.lock();
            core.bury_empty();
            core.take_dead_transients()
        };
        for segment in dead {
            self.discard(&segment.name(), segment.damaged);
        }
    }

    fn prepare_spare(&self) -> Result<(), StoreError> {
        let name = {
            let mut files = self.files.lock();
            if !files.wants_spare() {
                return Ok(());
            }
            files.take_slot()
        };
        fill_with_zeros(&*self.patient, &name, self.options.journal_file_bytes)?;
        self.files.lock().add_spare(name);
        Ok(())
    }

    pub(crate) fn close(&self) -> Result<(), StoreError> {
        let mut manifests = self.house.lock();
        let done = self.commit().and_then(|()| self.checkpoint(&mut manifests, None, true, Keep::OnDisk));
        self.or_fail(done)?;
        self.core.lock().fail_quietly(StoreError::Closed);
        Ok(())
    }
}

impl Core {
    fn unsaved_segments(&mut self) -> Vec<Unsaved> {
        let mut unsaved = Vec::new();
        for (queue, state) in self.queues().filter(|(_, state)| state.unsaved) {
            for segment in state.segments.iter().filter(|segment| segment.is_unsaved()) {
                unsaved.push(Unsaved {
                    queue,
                    number: segment.number,
                    extent: segment.extent,
                    name: segment.name(),
                    file: segment.file.clone(),
                    is_new: segment.durable == Extent::default(),
                });
            }
        }
        unsaved
    }

    /// Encodes the manifest and hands out the segments that it makes superfluous.
    fn snapshot(&mut self, first_file: u64, clean: bool) -> (Result<Vec<u8>, StoreError>, Vec<Segment>) {
        for state in self.queues.iter_mut().flatten() {
            state.journal.retain(|set| !set.seqs.is_empty());
            state.forget_marks();
            if state.journal.front().is_some_and(|set| set.file < first_file) {
                let what = format!("queue {} still needs a journal file before {first_file}", state.id.0);
                return (Err(StoreError::Contradiction { what }), Vec::new());
            }
        }
        self.bury_empty();
        self.dead_bytes = 0;
        (Ok(manifest::encode(self, first_file, clean)), std::mem::take(&mut self.dead))
    }

    /// Segments that go on to be written are not buried at once when nothing in them lives any more, but here.
    fn bury_empty(&mut self) {
        let mut empty = Vec::new();
        for state in
            self.queues.iter_mut().flatten().filter(|state| state.segments.iter().any(Segment::is_dead))
        {
            let (dead, living): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut state.segments).into_iter().partition(Segment::is_dead);
            state.segments = living;
            empty.extend(dead);
        }
        empty.into_iter().for_each(|segment| self.bury(segment));
    }

    fn take_dead_transients(&mut self) -> Vec<Segment> {
        let (transient, durable): (Vec<_>, Vec<_>) =
            self.dead.drain(..).partition(|segment| segment.transient);
        self.dead = durable;
        self.transient_died = false;
        self.dead_bytes = self.dead.iter().map(|segment| segment.extent.size_bytes).sum();
        transient
    }

    fn fail_quietly(&mut self, error: StoreError) {
        self.failed.get_or_insert(error);
    }
}

impl QueueState {
    /// A segment is synced up to `extent`.
    fn saved(&mut self, number: u64, extent: Extent) {
        let Some(segment) = self.segment_mut(number) else { return };
        let newly = segment.live.part(segment.durable.last + 1, extent.last);
        segment.durable = extent;
        if !segment.appendable && !segment.is_unsaved() {
            segment.file = None;
        }
        for seq in newly.iter() {
            self.journal_remove(seq);
        }
        self.unsaved = self.segments.iter().any(Segment::is_unsaved);
    }
}

impl Segment {
    fn is_dead(&self) -> bool {
        self.live.is_empty() && !self.busy
    }
}

/// The journal files before `first_file`, oldest first.
pub(crate) fn closed_before(engine: &Engine, first_file: u64) -> Vec<ClosedFile> {
    engine.files.lock().closed().filter(|file| file.number < first_file).cloned().collect()
}
