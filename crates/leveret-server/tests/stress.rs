//! Many clients at once that publish, consume, settle, cancel, vanish and delete, and an account of every message
//! at the end. The seed is printed; `STRESS_SEED` repeats its choices, though not the threads' timing.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use leveret_amqp::{Properties, Value, basic, channel, exchange, queue};
use leveret_testkit::{
    Delivery, Peer, TestBroker, ack, bind_queue, cancel, close_channel, consume, declare_exchange,
    declare_queue, delete_queue, nack, publish, qos, table, unbind_queue,
};

const RUN: Duration = Duration::from_millis(2000);
/// Longer than any message is delayed.
const LONGEST_DELAY: Duration = Duration::from_millis(350);
/// What has not come after so much silence will never come.
const LOST: Duration = Duration::from_secs(3);
const QUEUES: [&str; 3] = ["first", "second", "third"];

/// What the clients know of each message, by its text.
#[derive(Default)]
struct Account {
    /// The broker has confirmed it.
    published: HashSet<String>,
    /// The broker has taken its acknowledgement.
    done: HashSet<String>,
    /// Acknowledged by somebody who vanished: the broker may have heard it or not.
    maybe_done: HashSet<String>,
}

struct Stress {
    broker: TestBroker,
    account: Mutex<Account>,
    is_over: AtomicBool,
}

impl Stress {
    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().expect("nobody has panicked with the account")
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn note_delivered(&self, delivery: &Delivery) {
        let text = message_name(delivery);
        assert!(!self.account().done.contains(text), "{text} was delivered after it was acknowledged");
    }

    /// What was confirmed and has come to nobody.
    fn lost(&self) -> Vec<String> {
        let account = self.account();
        let is_lost = |name: &&String| !account.done.contains(*name) && !account.maybe_done.contains(*name);
        account.published.iter().filter(is_lost).cloned().collect()
    }

    fn note_done(&self, names: Vec<String>) {
        for name in names {
            let is_new = self.account().done.insert(name.clone());
            assert!(is_new, "{name} was delivered twice and acknowledged twice");
        }
    }
}

/// The message's name, without the padding that follows it.
fn message_name(delivery: &Delivery) -> &str {
    delivery.text().trim_end_matches('.')
}

fn names(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| message_name(delivery).to_owned()).collect()
}

fn any_queue(random: &mut Rng) -> &'static str {
    QUEUES[random.usize(..QUEUES.len())]
}

/// Publishes numbered messages, directly and with delays, and vanishes now and then.
fn publish_on(stress: &Stress, who: usize, mut random: Rng) {
    let mut number = 0;
    while stress.goes_on() {
        let mut peer = Peer::open(&stress.broker);
        peer.select_confirms(1);
        let mut confirmed = 0;
        for _ in 0..random.usize(1..20) {
            let count = random.u64(1..50);
            let mut batch = Vec::new();
            for _ in 0..count {
                let name = format!("{who}-{number}");
                number += 1;
                let longest = if random.u8(..) < 8 { 200_000 } else { 100 };
                let padding = ".".repeat(random.usize(..longest));
                let body = format!("{name}{padding}");
                publish_one(&mut peer, &mut random, &body);
                batch.push(name);
            }
            if random.u8(..) < 16 {
                break;
            }
            peer.expect_confirms(1, confirmed + 1, confirmed + count);
            confirmed += count;
            stress.account().published.extend(batch);
        }
        peer.vanish();
    }
}

fn publish_one(peer: &mut Peer, random: &mut Rng, body: &str) {
    let queue = any_queue(random);
    if random.u8(..) < 64 {
        let headers = table([("x-delay", Value::I32(random.i32(1..300)))]);
        let properties = Properties { headers: Some(headers), ..Properties::default() };
        peer.publish(1, publish("delayed", queue), &properties, body);
    } else {
        let mandatory = basic::Publish { mandatory: true, ..publish("", queue) };
        peer.publish(1, mandatory, &Properties::default(), body);
    }
}

/// Consumes, settles in all ways, and ends in all ways.
fn consume_on(stress: &Stress, mut random: Rng) {
    while stress.goes_on() {
        let mut peer = Peer::open(&stress.broker);
        peer.ask::<basic::QosOk>(1, qos(random.u16(..30)));
        peer.send(1, basic::Consume { no_wait: true, ..consume(any_queue(&mut random), "tag") });
        let mut held = Vec::new();
        for _ in 0..random.usize(1..30) {
            let acked = settle_some(&mut peer, &mut random, &mut held);
            take_deliveries(stress, &mut peer, &mut held);
            stress.note_done(acked);
        }
        end_consuming(stress, peer, &mut random, held);
    }
}

fn take_deliveries(stress: &Stress, peer: &mut Peer, held: &mut Vec<Delivery>) {
    let taken = peer.collect_deliveries(1);
    taken.iter().for_each(|delivery| stress.note_delivered(delivery));
    held.extend(taken);
}

/// Settles some of what is held; returns what was acknowledged.
fn settle_some(peer: &mut Peer, random: &mut Rng, held: &mut Vec<Delivery>) -> Vec<String> {
    if random.u8(..) < 32 && !held.is_empty() {
        let up_to = random.usize(..held.len());
        let acked: Vec<Delivery> = held.drain(..=up_to).collect();
        peer.send(1, basic::Ack { delivery_tag: acked[up_to].tag, multiple: true });
        return names(&acked);
    }
    let mut acked = Vec::new();
    held.retain(|delivery| match random.u8(..) {
        0..128 => {
            peer.send(1, ack(delivery.tag));
            acked.push(message_name(delivery).to_owned());
            false
        }
        128..160 => {
            peer.send(1, nack(delivery.tag));
            false
        }
        _ => true,
    });
    acked
}

fn end_consuming(stress: &Stress, mut peer: Peer, random: &mut Rng, mut held: Vec<Delivery>) {
    match random.u8(..4) {
        0 => {
            stress.account().maybe_done.extend(names(&held));
            if let Some(last) = held.last() {
                peer.send(1, basic::Ack { delivery_tag: last.tag, multiple: true });
            }
            peer.vanish();
        }
        1 => {
            peer.send(1, basic::Cancel { no_wait: true, ..cancel("tag") });
            take_deliveries(stress, &mut peer, &mut held);
            peer.send(1, basic::Ack { delivery_tag: 0, multiple: true });
            assert!(peer.collect_deliveries(1).is_empty(), "deliveries after the cancel");
            stress.note_done(names(&held));
            peer.close();
        }
        2 => {
            // Not by tag 0: what is on its way would come to others before it is read here.
            if let Some(last) = held.last() {
                peer.send(1, basic::Nack { delivery_tag: last.tag, multiple: true, requeue: true });
            }
            take_deliveries(stress, &mut peer, &mut held);
            peer.vanish();
        }
        _ => peer.vanish(),
    }
}

/// Consumes without acknowledging, and takes all that comes until it has cancelled.
fn consume_without_ack_on(stress: &Stress, mut random: Rng) {
    while stress.goes_on() {
        let mut peer = Peer::open(&stress.broker);
        let no_ack = basic::Consume { no_ack: true, no_wait: true, ..consume(any_queue(&mut random), "tag") };
        peer.send(1, no_ack);
        let mut taken = Vec::new();
        for _ in 0..random.usize(1..10) {
            take_deliveries(stress, &mut peer, &mut taken);
        }
        peer.send(1, basic::Cancel { no_wait: true, ..cancel("tag") });
        take_deliveries(stress, &mut peer, &mut taken);
        assert!(peer.collect_deliveries(1).is_empty(), "deliveries after the cancel");
        stress.note_done(names(&taken));
        peer.close();
    }
}

/// Makes and deletes queues under consumers, and changes bindings under publishers.
fn upset(stress: &Stress, mut random: Rng) {
    while stress.goes_on() {
        let mut peer = Peer::open(&stress.broker);
        let mut consumer = Peer::open(&stress.broker);
        for _ in 0..random.usize(1..10) {
            peer.ask::<queue::DeclareOk>(1, declare_queue("doomed"));
            peer.ask::<queue::BindOk>(1, bind_queue("doomed", "delayed", "first"));
            consumer.send(1, basic::Consume { no_wait: true, ..consume("doomed", "tag") });
            for _ in 0..random.usize(..20) {
                peer.put("doomed", "doomed");
            }
            if random.bool() {
                peer.ask::<queue::UnbindOk>(1, unbind_queue("doomed", "delayed", "first"));
            }
            consumer.send(1, basic::Nack { delivery_tag: 0, multiple: true, requeue: true });
            if random.bool() {
                consumer.send(1, cancel("tag"));
            }
            peer.ask::<queue::DeleteOk>(1, delete_queue("doomed"));
            // Whatever it has been told, it is served anew.
            consumer.vanish();
            consumer = Peer::open(&stress.broker);
        }
        peer.ask::<queue::DeclareOk>(1, queue::Declare { exclusive: true, ..declare_queue("") });
        peer.ask::<channel::CloseOk>(1, close_channel());
        peer.vanish();
    }
}

/// Takes what is left until every message that was confirmed is accounted for.
fn settle_the_account(stress: &Stress) {
    let mut peer = Peer::open(&stress.broker);
    for queue in QUEUES {
        peer.send(1, basic::Consume { no_wait: true, ..consume(queue, queue) });
    }
    let mut last_delivery = Instant::now();
    loop {
        let left = peer.collect_deliveries(1);
        left.iter().for_each(|delivery| stress.note_delivered(delivery));
        peer.send(1, basic::Ack { delivery_tag: 0, multiple: true });
        if !left.is_empty() {
            last_delivery = Instant::now();
        }
        stress.note_done(names(&left));
        if last_delivery.elapsed() < LONGEST_DELAY {
            continue;
        }
        let lost = stress.lost();
        if lost.is_empty() {
            break;
        }
        assert!(
            last_delivery.elapsed() < LOST,
            "{} messages are lost, such as {:?}",
            lost.len(),
            lost.first()
        );
    }
    println!("{} messages", stress.account().published.len());
    let mut other = Peer::open(&stress.broker);
    for queue in QUEUES {
        let left = other.ask::<queue::DeclareOk>(1, declare_queue(queue));
        assert_eq!((left.message_count, left.consumer_count), (0, 1), "{queue}");
    }
}

#[test]
fn no_message_is_lost_or_comes_back_when_clients_do_what_they_like() {
    let seed = std::env::var("STRESS_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("STRESS_SEED is a number"));
    println!("STRESS_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let stress =
        Stress { broker: TestBroker::start(), account: Mutex::default(), is_over: AtomicBool::new(false) };
    let mut peer = Peer::open(&stress.broker);
    let arguments = table([("x-delayed-type", "direct".into())]);
    let delayed = exchange::Declare { arguments, ..declare_exchange("delayed", "x-delayed-message") };
    peer.ask::<exchange::DeclareOk>(1, delayed);
    for queue in QUEUES {
        peer.ask::<queue::DeclareOk>(1, declare_queue(queue));
        peer.ask::<queue::BindOk>(1, bind_queue(queue, "delayed", queue));
    }
    thread::scope(|scope| {
        for who in 0..3 {
            let random = random.fork();
            let stress = &stress;
            scope.spawn(move || publish_on(stress, who, random));
        }
        for _ in 0..3 {
            let random = random.fork();
            scope.spawn(|| consume_on(&stress, random));
        }
        let (no_ack, upsetting) = (random.fork(), random.fork());
        scope.spawn(|| consume_without_ack_on(&stress, no_ack));
        scope.spawn(|| upset(&stress, upsetting));
        thread::sleep(RUN);
        stress.is_over.store(true, Ordering::Relaxed);
    });
    settle_the_account(&stress);
}

#[test]
fn deliveries_arrive_without_being_asked_for() {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 300;
    let broker = TestBroker::start();
    let mut consumers: Vec<Peer> = (0..2).map(|_| Peer::open(&broker)).collect();
    for (n, consumer) in consumers.iter_mut().enumerate() {
        let name = n.to_string();
        consumer.ask::<queue::DeclareOk>(1, declare_queue(&name));
        consumer.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume(&name, "tag") });
    }
    thread::scope(|scope| {
        for seed in 0..PUBLISHERS as u64 {
            let broker = &broker;
            scope.spawn(move || {
                let mut random = Rng::with_seed(seed);
                let mut peer = Peer::open(broker);
                for n in 0..MESSAGES {
                    let body = "x".repeat(random.usize(..if n % 10 == 0 { 200_000 } else { 2_000 }));
                    peer.put(&(n % 2).to_string(), &body);
                }
                peer.expect_nothing(1);
            });
        }
        // They only read: what the broker forgets to send is missed here for ever.
        for consumer in &mut consumers {
            scope.spawn(move || {
                for _ in 0..PUBLISHERS * MESSAGES / 2 {
                    consumer.expect_delivery(1);
                }
            });
        }
    });
}
