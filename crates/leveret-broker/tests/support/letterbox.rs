//! A mailbox that remembers what it was given.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::sync::Arc;

use leveret_broker::{ConsumerKey, Delivery, Effects, Holder, Inbox, Mailbox, Queue, Receipt};
use parking_lot::Mutex;

/// A delivery as the mailbox saw it.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// What [`number`] reads from the body.
    pub number: u64,
    pub redelivered: bool,
    pub receipt: Option<Receipt>,
}

/// A mailbox with room for so many deliveries.
pub struct Letterbox {
    inner: Mutex<Inner>,
    /// Most unsettled deliveries; `None` where there is no limit, or nothing is settled.
    prefetch: Option<u32>,
}

struct Inner {
    room: usize,
    taken: Vec<Taken>,
    overdue: usize,
}

/// The number at the start of a body.
pub fn number(body: &[u8]) -> u64 {
    u64::from_be_bytes(*body.first_chunk().expect("bodies start with a number"))
}

impl Letterbox {
    pub fn new(room: usize, prefetch: Option<u32>) -> Self {
        Self { inner: Mutex::new(Inner { room, taken: vec![], overdue: 0 }), prefetch }
    }

    pub fn add_room(&self, room: usize) {
        self.inner.lock().room += room;
    }

    /// What has come since the last call.
    pub fn take(&self) -> Vec<Taken> {
        std::mem::take(&mut self.inner.lock().taken)
    }

    /// How often it was told that its consumer holds something for too long.
    pub fn overdue(&self) -> usize {
        self.inner.lock().overdue
    }

    /// Checks that the consumer holds no more than it may, and has got all it could take.
    pub fn check(&self, unsettled: usize, nothing_ready: bool) {
        let prefetch = self.prefetch.map_or(usize::MAX, |prefetch| prefetch as usize);
        assert!(unsettled <= prefetch, "{unsettled} deliveries out, prefetch {prefetch}");
        let saturated = unsettled == prefetch || self.inner.lock().room == 0;
        assert!(nothing_ready || saturated, "messages wait although a consumer would take them");
    }
}

impl Holder for Letterbox {
    fn overdue(&self, _timeout_ms: u64) {
        self.inner.lock().overdue += 1;
    }
}

impl Mailbox for Letterbox {
    fn open(&self, _key: ConsumerKey, fill: &mut dyn FnMut(&mut dyn Inbox)) -> bool {
        fill(&mut *self.inner.lock());
        true
    }

    fn flush(&self, _effects: &mut Effects) {}

    fn cancelled(&self, _queue: &Arc<Queue>) {}
}

impl Inbox for Inner {
    fn has_room(&mut self) -> bool {
        self.room > 0
    }

    fn put(&mut self, delivery: &Delivery<'_>) {
        self.room -= 1;
        let number = number(delivery.body);
        self.taken.push(Taken { number, redelivered: delivery.redelivered, receipt: delivery.receipt });
    }
}
