//! Publishers are blocked while memory is low. In a process of its own, whose memory the test decides on.

use std::thread::sleep;
use std::time::Duration;

use leveret_amqp::{basic, connection, queue};
use leveret_server::Config;
use leveret_testkit::{Login, Peer, TestBroker, consume, declare_queue};

const MARGIN_BYTES: u64 = 96 << 20;
/// The broker looks once a second.
const A_LOOK: Duration = Duration::from_millis(1300);

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it tells the resident size");
    let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kib.expect("a number of KiB") << 10
}

#[test]
fn publishers_are_blocked_while_memory_is_low_and_consumers_are_not() {
    let memory_limit_bytes = resident_bytes() + MARGIN_BYTES;
    let broker = TestBroker::with(Config { memory_limit_bytes, ..Config::ephemeral() });
    let mut told =
        Peer::open_as(&broker, &Login { capabilities: &["connection.blocked"], ..Login::default() });
    let mut not_told = Peer::open(&broker);
    let mut consumer = Peer::open(&broker);
    told.ask::<queue::DeclareOk>(1, declare_queue("q"));
    for peer in [&mut told, &mut not_told] {
        peer.select_confirms(1);
        peer.put("q", "before");
        peer.expect_confirms(1, 1, 1);
    }
    let ballast = vec![1_u8; 2 * MARGIN_BYTES as usize];
    sleep(A_LOOK);
    // What it says first is still taken: only publishing makes it a publisher.
    told.put("q", "the last");
    told.expect_confirms(1, 2, 2);
    assert_eq!(told.expect::<connection::Blocked>(0).reason, "low on memory");
    for peer in [&mut told, &mut not_told] {
        peer.put("q", "blocked");
    }
    consumer.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume("q", "tag") });
    for text in ["before", "before", "the last"] {
        assert_eq!(consumer.expect_delivery(1).text(), text);
    }
    drop(ballast);
    told.expect::<connection::Unblocked>(0);
    told.expect_confirms(1, 3, 3);
    not_told.expect_confirms(1, 2, 2);
    consumer.expect_texts(1, ["blocked", "blocked"]);
}
