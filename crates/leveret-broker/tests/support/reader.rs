//! A consumer that remembers what it was given, with room for any number.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::sync::{Arc, Weak};

use leveret_broker::{
    Consume, ConsumerKey, Delivery, Effects, Holder, Inbox, Mailbox, Queue, Receipt, Settlement,
};
use parking_lot::Mutex;

use crate::house::House;

#[derive(Default)]
pub struct Reader(Mutex<Read>);

#[derive(Default)]
struct Read {
    texts: Vec<String>,
    receipts: Vec<Receipt>,
    overdue: usize,
}

/// A reader at its queue.
pub struct AtQueue {
    queue: Arc<Queue>,
    key: ConsumerKey,
    reader: Arc<Reader>,
}

/// Consumes as `change` says; acknowledging, without prefetch, and not exclusive if it says nothing.
pub fn consume(house: &mut House, queue: &str, change: impl FnOnce(Consume) -> Consume) -> AtQueue {
    let reader = Reader::new();
    let queue = house.queue(queue);
    let key = queue.consume(change(Arc::clone(&reader).consume())).unwrap();
    queue.resume(key, &mut house.effects);
    house.vhost.carry_out(&mut house.effects);
    AtQueue { queue, key, reader }
}

impl Reader {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn overdue(&self) -> usize {
        self.0.lock().overdue
    }

    pub fn consume(self: Arc<Self>) -> Consume {
        let holder = Arc::downgrade(&self) as Weak<dyn Holder>;
        Consume { mailbox: self, holder, no_ack: false, exclusive: false, prefetch: 0, priority: 0 }
    }
}

impl AtQueue {
    /// What has come since the last call.
    pub fn texts(&self) -> Vec<String> {
        std::mem::take(&mut self.reader.0.lock().texts)
    }

    pub fn overdue(&self) -> usize {
        self.reader.overdue()
    }

    pub fn settle_all(&self, house: &mut House, settlement: Settlement) {
        let receipts = std::mem::take(&mut self.reader.0.lock().receipts);
        self.queue.settle(&receipts, settlement, &mut house.effects);
        house.vhost.carry_out(&mut house.effects);
    }

    pub fn settle_last(&self, house: &mut House, settlement: Settlement) {
        let receipt = self.reader.0.lock().receipts.pop().unwrap();
        self.queue.settle(&[receipt], settlement, &mut house.effects);
        house.vhost.carry_out(&mut house.effects);
    }

    /// Goes, and gives back all it holds.
    pub fn leave(&self, house: &mut House) {
        let receipts = std::mem::take(&mut self.reader.0.lock().receipts);
        let _is_auto_delete = self.queue.leave(&[self.key], &receipts, &mut house.effects);
        house.vhost.carry_out(&mut house.effects);
    }

    pub fn cancel(&self, house: &mut House) {
        let _is_auto_delete = self.queue.cancel(self.key, &mut house.effects);
        house.vhost.carry_out(&mut house.effects);
    }
}

impl Holder for Reader {
    fn overdue(&self, _timeout_ms: u64) {
        self.0.lock().overdue += 1;
    }
}

impl Mailbox for Reader {
    fn open(&self, _key: ConsumerKey, fill: &mut dyn FnMut(&mut dyn Inbox)) -> bool {
        fill(&mut *self.0.lock());
        true
    }

    fn flush(&self, _effects: &mut Effects) {}

    fn cancelled(&self, _queue: &Arc<Queue>) {}
}

impl Inbox for Read {
    fn has_room(&mut self) -> bool {
        true
    }

    fn put(&mut self, delivery: &Delivery<'_>) {
        self.texts.push(String::from_utf8(delivery.body.to_vec()).unwrap());
        self.receipts.extend(delivery.receipt);
    }
}
