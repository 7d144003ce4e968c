//! Which queues of a virtual host something has happened to since somebody last asked: statistics look at these only.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::Queue;

/// The queues that have moved, each once, and those that are gone. Nothing is noted before somebody has asked, so that
/// without statistics nothing gathers.
#[derive(Default)]
pub(crate) struct Moved(Mutex<Option<Noted>>);

#[derive(Default)]
struct Noted {
    moved: Vec<Weak<Queue>>,
    gone: Vec<Arc<str>>,
}

/// What has happened to the queues of a virtual host.
#[derive(Default)]
pub struct Moves {
    /// Queues that something has happened to, and that are there still.
    pub moved: Vec<Arc<Queue>>,
    /// Names of queues that were deleted; another one of that name may have moved since.
    pub gone: Vec<Arc<str>>,
}

impl Moved {
    /// Notes a queue that was not noted since the last question. False where nobody asks.
    pub(crate) fn note(&self, queue: &Arc<Queue>) -> bool {
        let mut noted = self.0.lock();
        let Some(noted) = &mut *noted else { return false };
        noted.moved.push(Arc::downgrade(queue));
        true
    }

    /// Notes that a queue is deleted.
    pub(crate) fn note_gone(&self, name: &Arc<str>) {
        if let Some(noted) = &mut *self.0.lock() {
            noted.gone.push(Arc::clone(name));
        }
    }

    /// What was noted since the last question, each queue to be noted again from now on.
    pub(crate) fn take(&self) -> Moves {
        let Noted { moved, gone } = self.0.lock().replace(Noted::default()).unwrap_or_default();
        let moved: Vec<_> = moved.iter().filter_map(Weak::upgrade).collect();
        moved.iter().for_each(|queue| queue.note_looked_at());
        Moves { moved, gone }
    }
}
