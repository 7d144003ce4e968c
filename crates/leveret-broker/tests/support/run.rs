//! A queue beside its model: both are told the same, and are in the same state after it.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_amqp::{DeliveryMode, FieldTable, Properties, Value};
use leveret_broker::{
    Broker, Client, Consume, ConsumerKey, Effects, Message, Queue, QueueOptions, QueueRules, Receipt, Route,
    Settlement, Time, Users, route_of,
};

use super::kept::Kept;
use super::letterbox::{self, Letterbox};
use super::model::{self, Model, Rules};

/// What the queue is declared as.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Whether it lives in a store, which a restart closes and opens.
    pub stored: bool,
    pub max_priority: u8,
    pub single_active: bool,
    /// A quorum queue with that delivery limit.
    pub quorum: Option<u64>,
}

/// What happens to it.
#[derive(Clone, Debug)]
pub enum Step {
    Publish { count: usize, large: bool, priority: u8, expiration_ms: Option<u64>, persistent: bool },
    Consume { no_ack: bool, prefetch: u32, room: usize, priority: i64 },
    Cancel { nth: usize },
    Get { no_ack: bool },
    Settle { nth: usize, count: usize, settlement: Settlement },
    MakeRoom { nth: usize, room: usize },
    Wait { ms: u64 },
    SetRules { ttl_ms: Option<u64>, max_length: Option<usize>, rejects: bool },
    Purge,
    Restart,
}

struct Reader {
    key: ConsumerKey,
    mailbox: Arc<Letterbox>,
    no_ack: bool,
    priority: i64,
}

/// The queue, and what is known of it from outside.
pub struct Run {
    setup: Setup,
    kept: Kept,
    broker: Broker,
    queue: Arc<Queue>,
    readers: Vec<Reader>,
    /// The reader that gets everything, where there is to be one.
    active: Option<ConsumerKey>,
    /// How what is out is settled, and with whom it is.
    receipts: BTreeMap<u64, (Receipt, Option<ConsumerKey>)>,
    model: Model,
    next: u64,
    effects: Effects,
}

impl Run {
    pub fn new(setup: Setup) -> Self {
        let kept = Kept::new();
        let mut effects = Effects::at(Time(1_000_000_000));
        let broker = if setup.stored { kept.open(effects.now) } else { Broker::new(Users::new(vec![])) };
        let vhost = broker.add_vhost("/").unwrap();
        let queue = vhost.declare_queue("q", setup.options(), &Client::broker(), &mut effects).unwrap().queue;
        let model = Model {
            delivery_limit: setup.quorum,
            keeps_all: setup.quorum.is_some() && setup.stored,
            now_ms: effects.now.0 / 1000,
            ..Model::default()
        };
        Self {
            setup,
            kept,
            broker,
            queue,
            readers: vec![],
            active: None,
            receipts: BTreeMap::new(),
            model,
            next: 0,
            effects,
        }
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Step::Publish { count, large, priority, expiration_ms, persistent } => {
                // Queues that look at each message by itself are done with one before they take the next.
                let one_by_one = self.model.rules.rejects || self.setup.max_priority > 0;
                let (runs, count) = if one_by_one { (count, 1) } else { (1, count) };
                for run in 0..runs {
                    self.publish(count, large && run == 0, (priority, expiration_ms, persistent));
                }
            }
            Step::Consume { no_ack, prefetch, room, priority } => {
                self.consume(no_ack, prefetch, room, priority);
            }
            Step::Cancel { nth } => self.cancel(nth),
            Step::Get { no_ack } => self.get(no_ack),
            Step::Settle { nth, count, settlement } => self.settle(nth, count, settlement),
            Step::MakeRoom { nth, room } => self.make_room(nth, room),
            Step::Wait { ms } => {
                self.model.now_ms += ms;
                self.effects.now = self.effects.now.plus_ms(ms);
            }
            Step::SetRules { ttl_ms, max_length, rejects } => {
                self.model.rules = Rules { ttl_ms, max_length, rejects };
                self.queue.set_rules(self.rules(), &mut self.effects);
            }
            Step::Purge => {
                assert_eq!(self.queue.purge(), self.model.ready.len());
                self.model.ready.clear();
            }
            Step::Restart => self.restart(),
        }
        self.check();
    }

    fn rules(&self) -> QueueRules {
        let Rules { ttl_ms, max_length, rejects } = self.model.rules;
        let mut policy = FieldTable::default();
        if let Some(ms) = ttl_ms {
            policy.set("message-ttl", Value::I64(ms.cast_signed()));
        }
        if let Some(max) = max_length {
            policy.set("max-length", Value::I64(max.try_into().unwrap()));
        }
        if rejects {
            policy.set("overflow", "reject-publish".into());
        }
        let arguments = self.setup.options().arguments;
        QueueRules::effective(&arguments, &policy, &FieldTable::default(), "queue 'q'").unwrap()
    }

    fn publish(
        &mut self,
        count: usize,
        large: bool,
        (priority, expiration_ms, persistent): (u8, Option<u64>, bool),
    ) {
        let expiration = expiration_ms.map(|ms| ms.to_string());
        let mode = if persistent { DeliveryMode::Persistent } else { DeliveryMode::Transient };
        let properties = Properties {
            priority: Some(priority),
            expiration: expiration.as_deref(),
            delivery_mode: Some(mode as u8),
            ..Properties::default()
        };
        let (properties, route) = (properties.encode(), route_of("", "q"));
        let numbers = self.next..self.next + count as u64;
        self.next = numbers.end;
        let bodies = numbers.clone().map(|number| {
            let mut body = number.to_be_bytes().to_vec();
            body.resize(if large { 20_000 } else { 8 + (number as usize % 5) * 100 }, 7);
            body
        });
        let bodies: Vec<Vec<u8>> = bodies.collect();
        let messages = bodies.iter().map(|body| Message {
            route: &route,
            properties: &properties,
            body,
            persistent,
            expiration_ms,
            record: None,
        });
        let messages: Vec<Message<'_>> = messages.collect();
        let route = Route { queues: vec![Arc::clone(&self.queue)], ..Route::default() };
        route.publish(&messages, &mut self.effects);
        let mut taken = true;
        for number in numbers {
            taken &= self.model.publish(model::Message {
                number,
                priority: priority.min(self.setup.max_priority),
                published_ms: self.model.now_ms,
                expiration_ms,
                persistent: persistent && self.setup.stored,
                redelivered: false,
                returns: 0,
            });
        }
        assert_eq!(!std::mem::take(&mut self.effects.rejected), taken);
        self.collect();
        self.model.let_go();
    }

    fn consume(&mut self, no_ack: bool, prefetch: u32, room: usize, priority: i64) {
        let mailbox = Arc::new(Letterbox::new(room, (!no_ack && prefetch > 0).then_some(prefetch)));
        let holder = Arc::downgrade(&mailbox) as _;
        let consume = Consume {
            mailbox: Arc::clone(&mailbox) as _,
            holder,
            no_ack,
            exclusive: false,
            prefetch,
            priority,
        };
        let key = self.queue.consume(consume).unwrap();
        self.readers.push(Reader { key, mailbox, no_ack, priority });
        if self.setup.single_active {
            self.active.get_or_insert(key);
        }
        self.queue.resume(key, &mut self.effects);
        self.collect();
    }

    fn cancel(&mut self, nth: usize) {
        if nth >= self.readers.len() {
            return;
        }
        let reader = self.readers.remove(nth);
        if self.active == Some(reader.key) {
            // The first one of the highest priority takes over.
            let highest = self.readers.iter().map(|reader| reader.priority).max();
            let next = self.readers.iter().find(|reader| Some(reader.priority) == highest);
            self.active = next.map(|reader| reader.key);
        }
        assert!(!self.queue.cancel(reader.key, &mut self.effects), "the queue is not auto-delete");
        self.collect();
    }

    fn get(&mut self, no_ack: bool) {
        let fetched = self.queue.get(no_ack, None, &mut self.effects);
        assert_eq!(fetched.is_some(), !self.model.ready.is_empty());
        let Some(fetched) = fetched else { return };
        let expected = self.model.deliver(no_ack);
        assert_eq!(letterbox::number(&fetched.body), expected.number);
        assert_eq!(fetched.redelivered, expected.redelivered);
        assert_eq!(fetched.remaining, self.model.ready.len());
        if let Some(receipt) = fetched.receipt {
            self.receipts.insert(expected.number, (receipt, None));
        }
    }

    fn settle(&mut self, nth: usize, count: usize, settlement: Settlement) {
        let numbers: Vec<u64> = self.receipts.keys().copied().skip(nth).take(count).collect();
        let receipts = numbers.iter().filter_map(|number| self.receipts.remove(number));
        let receipts: Vec<Receipt> = receipts.map(|(receipt, _)| receipt).collect();
        for number in numbers {
            match settlement {
                Settlement::Acked => self.model.ack(number),
                Settlement::Rejected => self.model.reject(number),
                Settlement::Requeued => self.model.requeue(number),
                Settlement::PutBack => self.model.put_back(number),
            }
        }
        self.queue.settle(&receipts, settlement, &mut self.effects);
        self.collect();
        if !matches!(settlement, Settlement::Requeued | Settlement::PutBack) {
            // What is gone stays gone, whatever is said of it.
            self.queue.settle(&receipts, Settlement::Requeued, &mut self.effects);
        }
    }

    fn make_room(&mut self, nth: usize, room: usize) {
        if let Some(reader) = self.readers.get(nth) {
            reader.mailbox.add_room(room);
            self.queue.resume(reader.key, &mut self.effects);
            self.collect();
        }
    }

    /// Closes the broker with messages out, as if all connections were cut, and opens it again.
    fn restart(&mut self) {
        if !self.setup.stored {
            return;
        }
        self.readers.clear();
        self.receipts.clear();
        self.active = None;
        self.effects = Effects::at(self.effects.now);
        self.queue = Arc::new(Queue::new("none".into(), QueueOptions::default(), QueueRules::default()));
        self.broker.close().unwrap();
        self.broker = self.kept.open(self.effects.now);
        self.queue = self.broker.vhost("/").unwrap().queue("q", Client::broker().owner).unwrap();
        self.model.restart();
        self.queue.set_rules(self.rules(), &mut self.effects);
    }

    /// Checks what was delivered: each message once, the first waiting ones, in their order at each reader, to those of
    /// the highest priority that take any.
    fn collect(&mut self) {
        let taken: Vec<_> = self.readers.iter().map(|reader| reader.mailbox.take()).collect();
        let mut got = BTreeMap::new();
        for (reader, taken) in self.readers.iter().zip(&taken) {
            assert!(taken.is_empty() || self.may_take(reader), "another one is active");
            got.extend(taken.iter().map(|taken| (taken.number, (*taken, reader.key, reader.no_ack))));
        }
        let mut order = vec![];
        let model_settles = |number: &u64| got.get(number).is_some_and(|(_, _, no_ack)| *no_ack);
        for _ in 0..got.len() {
            let expected = self.model.deliver(false);
            let Some((taken, key, _)) = got.get(&expected.number) else {
                panic!("{expected:?} was passed over for one of {:?}", got.keys());
            };
            assert_eq!(taken.redelivered, expected.redelivered);
            if let Some(receipt) = taken.receipt {
                self.receipts.insert(expected.number, (receipt, Some(*key)));
            }
            if model_settles(&expected.number) {
                self.model.out.remove(&expected.number);
            }
            order.push(expected.number);
        }
        for taken in &taken {
            let place = |number| order.iter().position(|other| *other == number);
            assert!(taken.is_sorted_by_key(|taken| place(taken.number)), "out of order: {taken:?}");
        }
        let served = self.readers.iter().zip(&taken).filter(|(_, taken)| !taken.is_empty());
        if let Some(lowest) = served.map(|(reader, _)| reader.priority).min() {
            for reader in self.readers.iter().filter(|it| it.priority > lowest && self.may_take(it)) {
                reader.mailbox.check(self.unsettled(reader), false);
            }
        }
    }

    fn may_take(&self, reader: &Reader) -> bool {
        !self.setup.single_active || self.active == Some(reader.key)
    }

    fn unsettled(&self, reader: &Reader) -> usize {
        self.receipts.values().filter(|(_, key)| *key == Some(reader.key)).count()
    }

    fn check(&mut self) {
        // What a server's timer would do at this moment.
        while self.broker.tick(&mut self.effects).is_some_and(|due| due <= self.effects.now) {}
        self.collect();
        self.model.let_go();
        let stats = self.queue.stats();
        let counts = model::Counts {
            published: stats.counts.published,
            acked: stats.counts.acked,
            rejected: stats.counts.rejected,
            expired: stats.counts.expired,
            dropped: stats.counts.dropped,
            over_limit: stats.counts.over_delivery_limit,
            refused: stats.counts.refused,
        };
        assert_eq!(counts, self.model.counts);
        assert_eq!(stats.ready, self.model.ready.len());
        assert_eq!(stats.unacked, self.model.out.len());
        assert_eq!(stats.persistent, self.model.persistent());
        // To look brings back what is paged out: not too often.
        if self.next.is_multiple_of(3) {
            let seen = self.queue.peek(0, usize::MAX, 8);
            let seen = seen.iter().map(|it| (letterbox::number(&it.body), it.redelivered));
            let expected = self.model.ready.iter().map(|message| (message.number, message.redelivered));
            assert_eq!(seen.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
        for reader in self.readers.iter().filter(|reader| self.may_take(reader)) {
            reader.mailbox.check(self.unsettled(reader), self.model.ready.is_empty());
        }
        self.effects.flush();
        self.effects.congested.clear();
    }
}

impl Setup {
    fn options(self) -> QueueOptions {
        let mut arguments = FieldTable::default();
        if self.max_priority > 0 {
            arguments.set("x-max-priority", Value::U8(self.max_priority));
        }
        arguments.set("x-single-active-consumer", self.single_active.into());
        if let Some(limit) = self.quorum {
            arguments.set("x-queue-type", "quorum".into());
            arguments.set("x-delivery-limit", Value::I64(limit.cast_signed()));
        }
        QueueOptions { durable: true, arguments, ..QueueOptions::default() }
    }
}
