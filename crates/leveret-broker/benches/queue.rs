//! What a message costs on its way through a queue, sockets and frames left out: publish, deliver and
//! acknowledge in runs, as the server does after each read. `cargo bench -p leveret-broker`
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::{Arc, Weak};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use leveret_amqp::Properties;
use leveret_broker::{
    Consume, ConsumerKey, Delivery, Effects, Holder, Inbox, Mailbox, Message, Queue, QueueOptions,
    QueueRules, Receipt, Route, Settlement, route_of,
};
use parking_lot::Mutex;

/// Messages in a run.
const RUN: usize = 64;

/// A mailbox that keeps nothing but what it needs to settle.
#[derive(Default)]
struct Counting(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    count: usize,
    receipts: Vec<Receipt>,
}

impl Holder for Counting {
    fn overdue(&self, _timeout_ms: u64) {}
}

impl Mailbox for Counting {
    fn open(&self, _key: ConsumerKey, fill: &mut dyn FnMut(&mut dyn Inbox)) -> bool {
        fill(&mut *self.0.lock());
        false
    }

    fn flush(&self, _effects: &mut Effects) {}

    fn cancelled(&self, _queue: &Arc<Queue>) {}
}

impl Inbox for Counted {
    fn has_room(&mut self) -> bool {
        true
    }

    fn put(&mut self, delivery: &Delivery<'_>) {
        self.count += 1;
        self.receipts.extend(delivery.receipt);
    }
}

/// A queue with a consumer, or with none.
struct Bench {
    route: Route,
    queue: Arc<Queue>,
    mailbox: Arc<Counting>,
    effects: Effects,
    name: Vec<u8>,
    properties: Vec<u8>,
    body: Vec<u8>,
}

impl Bench {
    fn new(size: usize) -> Self {
        let queue = Arc::new(Queue::new("q".into(), QueueOptions::default(), QueueRules::default()));
        Self {
            route: Route { queues: vec![Arc::clone(&queue)], ..Route::default() },
            queue,
            mailbox: Arc::default(),
            effects: Effects::default(),
            name: route_of("", "q"),
            properties: Properties::default().encode(),
            body: vec![7; size],
        }
    }

    fn consumed(size: usize, no_ack: bool) -> Self {
        let mut bench = Self::new(size);
        let holder = Arc::downgrade(&bench.mailbox) as Weak<dyn Holder>;
        let mailbox = Arc::clone(&bench.mailbox) as Arc<dyn Mailbox>;
        let key = bench
            .queue
            .consume(Consume { mailbox, holder, no_ack, exclusive: false, prefetch: 0, priority: 0 })
            .unwrap();
        bench.queue.resume(key, &mut bench.effects);
        bench
    }

    fn publish(&mut self) {
        let message = Message {
            route: &self.name,
            properties: &self.properties,
            body: &self.body,
            persistent: false,
            expiration_ms: None,
            record: None,
        };
        self.route.publish(&[message; RUN], &mut self.effects);
        self.effects.flush();
    }

    fn acknowledge(&mut self) {
        let receipts = std::mem::take(&mut self.mailbox.0.lock().receipts);
        assert_eq!(receipts.len(), RUN);
        self.queue.settle(&receipts, Settlement::Acked, &mut self.effects);
        let mut receipts = receipts;
        receipts.clear();
        self.mailbox.0.lock().receipts = receipts;
    }
}

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(RUN as u64));
    for size in [16, 1024, 16_384] {
        let mut bench = Bench::consumed(size, true);
        group.bench_function(format!("publish and deliver without acks, {size} B"), |bencher| {
            bencher.iter(|| bench.publish());
        });
        let mut bench = Bench::consumed(size, false);
        group.bench_function(format!("publish, deliver and ack, {size} B"), |bencher| {
            bencher.iter(|| {
                bench.publish();
                bench.acknowledge();
            });
        });
        let mut bench = Bench::new(size);
        group.bench_function(format!("publish, wait and get, {size} B"), |bencher| {
            bencher.iter(|| {
                bench.publish();
                while bench.queue.get(true, None, &mut bench.effects).is_some() {}
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots();
    targets = queue
}
criterion_main!(benches);
