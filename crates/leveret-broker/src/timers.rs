//! What is due when: queues that are to be ticked, and who is to be woken for it. What waits for nothing is not
//! in it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;

use parking_lot::Mutex;

use crate::moved::Moved;
use crate::{Queue, Time};

/// Wakes whoever calls [`Broker::tick`](crate::Broker::tick), once it is known.
#[derive(Clone, Default)]
pub(crate) struct TimerWaker(Arc<OnceLock<Waker>>);

impl TimerWaker {
    pub(crate) fn set(&self, waker: Waker) {
        let _set_before = self.0.set(waker);
    }

    /// Something is due earlier than all before.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.0.get() {
            waker.wake_by_ref();
        }
    }
}

/// The queues of a virtual host by the time of their next tick. Taken with a queue's lock held.
pub(crate) struct Timers {
    inner: Mutex<Inner>,
    /// Not about time, but of the same queues, and taken under the same lock.
    pub(crate) moved: Moved,
    waker: TimerWaker,
}

/// A tick that is set: its time, and a number for those of the same time.
pub(crate) type TimerKey = (Time, u64);

#[derive(Default)]
struct Inner {
    by_due: BTreeMap<TimerKey, Weak<Queue>>,
    next: u64,
}

impl Timers {
    pub(crate) fn new(waker: TimerWaker) -> Self {
        Self { inner: Mutex::default(), moved: Moved::default(), waker }
    }

    /// Sets when a queue is to be ticked, in place of what was `set` before; returns what is set now.
    pub(crate) fn set(&self, due: Time, queue: &Arc<Queue>, set: Option<TimerKey>) -> TimerKey {
        let mut inner = self.inner.lock();
        if let Some(before) = set {
            inner.by_due.remove(&before);
        }
        let key = (due, inner.next);
        inner.next += 1;
        inner.by_due.insert(key, Arc::downgrade(queue));
        if inner.by_due.first_key_value().is_some_and(|(first, _)| *first == key) {
            self.waker.wake();
        }
        key
    }

    /// Takes back what is set for a queue that goes.
    pub(crate) fn unset(&self, set: TimerKey) {
        self.inner.lock().by_due.remove(&set);
    }

    /// Takes out a queue that is due; queues that are gone are passed over.
    pub(crate) fn take_due(&self, now: Time) -> Option<Arc<Queue>> {
        let mut inner = self.inner.lock();
        loop {
            let first = inner.by_due.first_entry().filter(|first| first.key().0 <= now)?;
            if let Some(queue) = first.remove().upgrade() {
                return Some(queue);
            }
        }
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.inner.lock().by_due.first_key_value().map(|((due, _), _)| *due)
    }
}
