//! Which queues of a virtual host something has happened to since somebody last asked: statistics look at these only.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::Queue;

/// The queues that have moved, each once. Nothing is noted before somebody has asked, so that without statistics nothing
/// gathers.
#[derive(Default)]
pub(crate) struct Moved(Mutex<Option<Vec<Weak<Queue>>>>);

impl Moved {
    /// Notes a queue that was not noted since the last question. False where nobody asks.
    pub(crate) fn note(&self, queue: &Arc<Queue>) -> bool {
        let mut moved = self.0.lock();
        let Some(moved) = &mut *moved else { return false };
        moved.push(Arc::downgrade(queue));
        true
    }

    /// Those noted since the last question, each to be noted again from now on.
    pub(crate) fn take(&self) -> Vec<Arc<Queue>> {
        let taken = self.0.lock().replace(Vec::new()).unwrap_or_default();
        let moved: Vec<_> = taken.iter().filter_map(Weak::upgrade).collect();
        moved.iter().for_each(|queue| queue.note_looked_at());
        moved
    }
}
