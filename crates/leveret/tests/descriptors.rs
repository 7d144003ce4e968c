//! The leveret binary where file descriptors are short: clients wait, and nothing that is stored suffers.

mod binary;

use std::net::{SocketAddr, TcpStream};

use binary::Broker;
use leveret_amqp::{Properties, queue};
use leveret_testkit::{Login, Outcome, Peer, get, publish};

fn address(broker: &Broker) -> SocketAddr {
    broker.address().parse().expect("an address")
}

/// A client in confirm mode.
fn publisher(broker: &Broker) -> Peer {
    let mut peer = Peer::connect_to(address(broker), "/");
    peer.log_in(&Login::default());
    peer.select_confirms(1);
    peer
}

fn durable(name: &str) -> queue::Declare<'_> {
    queue::Declare { durable: true, ..leveret_testkit::declare_queue(name) }
}

fn publish_and_confirm(peer: &mut Peer, queue: &str, body: &[u8]) {
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    peer.publish(1, publish("", queue), &persistent, body);
    assert!(matches!(peer.expect_outcome(1), Outcome::Acked(_)), "a publish to {queue} was not confirmed");
}

#[test]
fn the_limit_is_raised_as_far_as_it_may_be() {
    let broker = Broker::with_descriptors("ulimit -Sn 100 && ulimit -Hn 500");
    let limits = broker.proc("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("the limit");
    assert_eq!(line.split_whitespace().nth(3), Some("500"), "{line}");
}

#[test]
fn sockets_without_end_leave_descriptors_for_the_store() {
    let broker = Broker::with_descriptors("ulimit -n 200");
    let mut peer = publisher(&broker);
    peer.ask::<queue::DeclareOk>(1, durable("q"));
    let sockets: Vec<_> = (0..240).map_while(|_| TcpStream::connect(address(&broker)).ok()).collect();
    assert!(sockets.len() == 240, "only {} sockets", sockets.len());
    (0..20).for_each(|_| publish_and_confirm(&mut peer, "q", &[7; 500_000]));
    drop(sockets);
    publish_and_confirm(&mut publisher(&broker), "q", b"more");
}

#[test]
fn more_queues_are_paged_out_than_files_may_be_open() {
    const QUEUES: usize = 120;
    let broker = Broker::with_descriptors("ulimit -n 100");
    let mut peer = publisher(&broker);
    let names: Vec<String> = (0..QUEUES).map(|number| format!("q{number}")).collect();
    for name in &names {
        peer.ask::<queue::DeclareOk>(1, durable(name));
    }
    for turn in 0..2 {
        for name in &names {
            (0..3).for_each(|_| publish_and_confirm(&mut peer, name, &[turn; 100_000]));
        }
    }
    for name in &names {
        for number in 0..6 {
            let fetched = peer.fetch(1, get(name)).expect("what was confirmed is there");
            assert_eq!(fetched.delivery.body, [number / 3; 100_000], "message {number} of {name}");
        }
    }
}
