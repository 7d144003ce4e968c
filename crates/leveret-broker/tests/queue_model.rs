//! A queue against a plain model of one: random operations, and after each the same messages in the same places.

#![allow(clippy::unwrap_used)]

#[path = "support/letterbox.rs"]
mod letterbox;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use leveret_broker::{
    Consume, ConsumerKey, Effects, Message, Queue, QueueOptions, QueueRules, Receipt, Route, Settlement,
    route_of,
};
use proptest::prelude::*;

use letterbox::{Letterbox, Taken};

/// What happens to the queue.
#[derive(Clone, Debug)]
enum Step {
    Publish { count: usize, large: bool },
    Consume { no_ack: bool, prefetch: u32, room: usize },
    Cancel { nth: usize },
    Get { no_ack: bool },
    Settle { nth: usize, count: usize, settlement: Settlement },
    MakeRoom { nth: usize, room: usize },
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let settlement =
        prop::sample::select(vec![Settlement::Acked, Settlement::Requeued, Settlement::Rejected]);
    prop_oneof![
        4 => (1usize..200, any::<bool>()).prop_map(|(count, large)| Step::Publish { count, large }),
        1 => (any::<bool>(), 0u32..20, 0usize..50)
            .prop_map(|(no_ack, prefetch, room)| Step::Consume { no_ack, prefetch, room }),
        1 => (0usize..4).prop_map(|nth| Step::Cancel { nth }),
        2 => any::<bool>().prop_map(|no_ack| Step::Get { no_ack }),
        4 => (0usize..50, 1usize..30, settlement)
            .prop_map(|(nth, count, settlement)| Step::Settle { nth, count, settlement }),
        2 => (0usize..4, 1usize..100).prop_map(|(nth, room)| Step::MakeRoom { nth, room }),
        1 => Just(Step::Purge),
    ]
}

/// The queue and what is known of it from outside.
struct Run {
    queue: Arc<Queue>,
    consumers: Vec<(ConsumerKey, Arc<Letterbox>)>,
    /// What is out, by the number of the message: receipt and consumer.
    out: BTreeMap<u64, (Receipt, Option<ConsumerKey>)>,
    /// What must be ready, in order, with the redelivered mark.
    ready: VecDeque<(u64, bool)>,
    next: u64,
    effects: Effects,
}

impl Run {
    fn new() -> Self {
        Self {
            queue: Arc::new(Queue::new("q".into(), QueueOptions::default(), QueueRules::default())),
            consumers: vec![],
            out: BTreeMap::new(),
            ready: VecDeque::new(),
            next: 0,
            effects: Effects::default(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { count, large } => self.publish(count, large),
            Step::Consume { no_ack, prefetch, room } => self.consume(no_ack, prefetch, room),
            Step::Cancel { nth } => self.cancel(nth),
            Step::Get { no_ack } => self.get(no_ack),
            Step::Settle { nth, count, settlement } => self.settle(nth, count, settlement),
            Step::MakeRoom { nth, room } => self.make_room(nth, room),
            Step::Purge => {
                assert_eq!(self.queue.purge(), self.ready.len());
                self.ready.clear();
            }
        }
        self.collect();
        assert_eq!(self.queue.ready_count(), self.ready.len());
        assert_eq!(self.queue.unacked_count(), self.out.len());
        self.effects.flush();
    }

    fn publish(&mut self, count: usize, large: bool) {
        let route = route_of("", "q");
        let bodies: Vec<Vec<u8>> = (0..count as u64)
            .map(|n| {
                let mut body = (self.next + n).to_be_bytes().to_vec();
                body.resize(if large { 9000 } else { 8 + (n as usize % 5) * 100 }, 7);
                body
            })
            .collect();
        let messages: Vec<Message<'_>> = bodies
            .iter()
            .map(|body| Message {
                route: &route,
                properties: &[0, 0],
                body,
                persistent: false,
                expiration_ms: None,
                record: None,
            })
            .collect();
        self.ready.extend((self.next..self.next + count as u64).map(|n| (n, false)));
        self.next += count as u64;
        let route = Route { queues: vec![Arc::clone(&self.queue)], ..Route::default() };
        route.publish(&messages, &mut self.effects);
    }

    fn consume(&mut self, no_ack: bool, prefetch: u32, room: usize) {
        let mailbox = Arc::new(Letterbox::new(room, (!no_ack && prefetch > 0).then_some(prefetch)));
        let consume =
            Consume { mailbox: Arc::clone(&mailbox) as _, no_ack, exclusive: false, prefetch, priority: 0 };
        let key = self.queue.consume(consume).unwrap();
        self.consumers.push((key, mailbox));
        self.queue.resume(key, &mut self.effects);
    }

    fn cancel(&mut self, nth: usize) {
        if nth < self.consumers.len() {
            let (key, _) = self.consumers.remove(nth);
            assert!(!self.queue.cancel(key, &mut self.effects), "the queue is not auto-delete");
        }
    }

    fn get(&mut self, no_ack: bool) {
        let fetched = self.queue.get(no_ack, &mut self.effects);
        let expected = self.ready.pop_front();
        assert_eq!(fetched.is_some(), expected.is_some());
        let (Some(fetched), Some((number, redelivered))) = (fetched, expected) else { return };
        assert_eq!(letterbox::number(&fetched.body), number);
        assert_eq!(fetched.redelivered, redelivered);
        assert_eq!(fetched.remaining, self.ready.len());
        if let Some(receipt) = fetched.receipt {
            self.out.insert(number, (receipt, None));
        }
    }

    fn settle(&mut self, nth: usize, count: usize, settlement: Settlement) {
        let numbers: Vec<u64> = self.out.keys().copied().skip(nth).take(count).collect();
        let receipts: Vec<Receipt> =
            numbers.iter().filter_map(|n| self.out.remove(n)).map(|(receipt, _)| receipt).collect();
        if settlement == Settlement::Requeued {
            self.ready.extend(numbers.iter().map(|n| (*n, true)));
            self.ready.make_contiguous().sort_unstable();
        }
        self.queue.settle(&receipts, settlement, &mut self.effects);
        self.collect();
        if settlement != Settlement::Requeued {
            // What is gone stays gone, whatever is said of it.
            self.queue.settle(&receipts, Settlement::Requeued, &mut self.effects);
        }
    }

    fn make_room(&mut self, nth: usize, room: usize) {
        if let Some((key, mailbox)) = self.consumers.get(nth) {
            mailbox.add_room(room);
            self.queue.resume(*key, &mut self.effects);
        }
    }

    /// Checks what was delivered: each message once, the first waiting ones, in their order at each consumer.
    fn collect(&mut self) {
        let mut delivered: Vec<(Taken, ConsumerKey)> = vec![];
        for (key, mailbox) in &self.consumers {
            let taken = mailbox.take();
            assert!(taken.is_sorted_by_key(|taken| taken.number), "out of order: {taken:?}");
            delivered.extend(taken.into_iter().map(|taken| (taken, *key)));
        }
        delivered.sort_by_key(|(taken, _)| taken.number);
        for (taken, key) in delivered {
            let (number, redelivered) = self.ready.pop_front().expect("more delivered than was ready");
            assert_eq!((taken.number, taken.redelivered), (number, redelivered));
            if let Some(receipt) = taken.receipt {
                self.out.insert(number, (receipt, Some(key)));
            }
        }
        for (key, mailbox) in &self.consumers {
            let unsettled = self.out.values().filter(|(_, consumer)| *consumer == Some(*key)).count();
            mailbox.check(unsettled, self.ready.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_is_what_the_model_is(steps in prop::collection::vec(step(), 1..80)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
    }
}
