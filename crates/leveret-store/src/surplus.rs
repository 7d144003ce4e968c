//! Closing segments of which too many are open to be written: a file descriptor for each of many queues that are paged
//! out would be more than a process may have. One that is closed is synced first, so that what the disk could not take
//! is heard of, and is opened again when the queue goes on.

use std::sync::Arc;

use crate::{
    QueueRef, StoreError,
    core::Core,
    engine::Engine,
    segment::{Extent, Segment},
    storage::StorageFile,
};

/// A segment to be closed, as it is now.
struct Surplus {
    queue: QueueRef,
    number: u64,
    name: String,
    transient: bool,
    extent: Extent,
    file: Arc<dyn StorageFile>,
}

impl Engine {
    /// Closes the segments that were opened first, as long as there are more than there may be.
    pub(crate) fn close_surplus(&self) -> Result<(), StoreError> {
        let surplus = self.core.lock().surplus(self.options.open_segments);
        for Surplus { queue, number, name, transient, extent, file } in surplus {
            if !transient {
                file.sync().map_err(|error| StoreError::io("sync", &name, error))?;
            }
            let mut core = self.core.lock();
            let Some(segment) = core.queue(queue).and_then(|state| state.segment_mut(number)) else {
                continue;
            };
            if segment.extent == extent && !segment.busy {
                segment.file = None;
            } else {
                core.opened.push_back((queue, number));
            }
        }
        Ok(())
    }
}

impl Core {
    fn surplus(&mut self, most: usize) -> Vec<Surplus> {
        let count = self.opened.len().saturating_sub(most);
        let opened: Vec<_> = self.opened.drain(..count).collect();
        opened.into_iter().filter_map(|(queue, number)| self.open_segment(queue, number)).collect()
    }

    fn open_segment(&mut self, queue: QueueRef, number: u64) -> Option<Surplus> {
        let segment: &Segment = self.queue(queue)?.segment_mut(number)?;
        let file = Arc::clone(segment.file.as_ref()?);
        let Segment { transient, extent, .. } = *segment;
        Some(Surplus { queue, number, name: segment.name(), transient, extent, file })
    }
}
