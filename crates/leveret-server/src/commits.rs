//! How far the store has come, and who waits for it to come further.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leveret_broker::{CommitEvent, Lsn};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What the store has committed. Without a store nothing ever waits.
#[derive(Default)]
pub(crate) struct Commits {
    committed: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Why nothing will be committed any more.
    failure: Option<String>,
    waiting: Vec<Arc<Notify>>,
}

impl Commits {
    /// Takes news from the store, on the store's own thread.
    pub(crate) fn note(&self, event: CommitEvent) {
        let mut inner = self.inner.lock();
        match event {
            CommitEvent::Committed(position) => self.committed.store(position.0, Ordering::Release),
            CommitEvent::Failed(error) => {
                tracing::error!(%error, "the store has failed: nothing persistent is confirmed any more");
                inner.failure = Some(error.to_string());
            }
        }
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.iter().for_each(|notify| notify.notify_one());
    }

    /// Everything up to here is on the disk.
    pub(crate) fn position(&self) -> Lsn {
        Lsn(self.committed.load(Ordering::Acquire))
    }

    /// Why the store has failed.
    pub(crate) fn failure(&self) -> Option<String> {
        self.inner.lock().failure.clone()
    }

    /// Has `notify` notified at the next news, unless there was some after `seen`: then this is false, and the caller
    /// is to look again.
    #[must_use]
    pub(crate) fn wait(&self, seen: Lsn, notify: &Arc<Notify>) -> bool {
        let mut inner = self.inner.lock();
        if self.position() != seen || inner.failure.is_some() {
            return false;
        }
        inner.waiting.push(Arc::clone(notify));
        true
    }
}
