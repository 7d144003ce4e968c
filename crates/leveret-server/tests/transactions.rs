//! Class `tx`: publishes and acknowledgements that take effect together.
#![allow(clippy::unwrap_used)]

use leveret_amqp::{Properties, basic, channel, confirm, exchange, queue, tx};
use leveret_testkit::{
    Peer, TestBroker, ack, cancel, close_channel, consume, declare_exchange, declare_queue, delete_exchange,
    get, nack, publish, purge,
};

/// A broker, and a peer with a queue `q` and channel 1 in transaction mode.
fn transactional() -> (TestBroker, Peer) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<tx::SelectOk>(1, tx::Select {});
    (broker, peer)
}

fn ready(peer: &mut Peer) -> u32 {
    let passive = queue::Declare { passive: true, ..declare_queue("q") };
    peer.ask::<queue::DeclareOk>(1, passive).message_count
}

#[test]
fn what_is_published_is_there_after_the_commit() {
    let (_broker, mut peer) = transactional();
    peer.put("q", "one");
    peer.put("q", &"two".repeat(10_000));
    assert_eq!(ready(&mut peer), 0);
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    assert_eq!(ready(&mut peer), 2);
    peer.put("q", "three");
    peer.ask::<tx::RollbackOk>(1, tx::Rollback {});
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    assert_eq!(ready(&mut peer), 2);
}

#[test]
fn what_is_not_committed_goes_with_the_channel() {
    let (_broker, mut peer) = transactional();
    peer.put("q", "one");
    peer.ask::<channel::CloseOk>(1, close_channel());
    peer.open_channel(1);
    assert_eq!(ready(&mut peer), 0);
}

#[test]
fn acknowledgements_count_after_the_commit() {
    let (broker, mut peer) = transactional();
    let mut other = Peer::open(&broker);
    for text in ["1", "2", "3"] {
        other.put("q", text);
    }
    other.expect_nothing(1);
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_texts(1, ["1", "2", "3"]);
    peer.send(1, basic::Ack { delivery_tag: 2, multiple: true });
    peer.send(1, nack(3));
    peer.expect_nothing(1);
    assert_eq!(ready(&mut other), 0);
    peer.ask::<basic::CancelOk>(1, cancel("tag"));
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    let left = peer.fetch(1, get("q")).expect("the third");
    assert_eq!((left.delivery.text(), left.delivery.redelivered), ("3", true));
    assert_eq!(left.message_count, 0);
}

#[test]
fn after_a_rollback_what_was_acknowledged_is_not() {
    let (_broker, mut peer) = transactional();
    for text in ["1", "2", "3"] {
        peer.put("q", text);
    }
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_texts(1, ["1", "2", "3"]);
    peer.send(1, ack(2));
    peer.send(1, basic::Nack { delivery_tag: 1, multiple: false, requeue: false });
    peer.ask::<tx::RollbackOk>(1, tx::Rollback {});
    peer.send(1, basic::Ack { delivery_tag: 2, multiple: true });
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    peer.ask::<channel::CloseOk>(1, close_channel());
    peer.open_channel(1);
    let left = peer.fetch(1, get("q")).expect("the third");
    assert_eq!((left.delivery.text(), left.message_count), ("3", 0));
}

#[test]
fn what_was_acknowledged_without_a_commit_goes_back_with_the_channel() {
    let (_broker, mut peer) = transactional();
    peer.put("q", "1");
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_texts(1, ["1"]);
    peer.send(1, ack(1));
    peer.ask::<channel::CloseOk>(1, close_channel());
    peer.open_channel(1);
    assert_eq!(ready(&mut peer), 1);
}

#[test]
fn a_tag_acknowledged_twice_in_a_transaction_is_refused() {
    let (_broker, mut peer) = transactional();
    peer.put("q", "1");
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_texts(1, ["1"]);
    peer.send(1, ack(1));
    assert_eq!(peer.refused(1, ack(1)).0, 406);
    assert_eq!(ready(&mut peer), 1);
}

#[test]
fn a_mandatory_message_comes_back_at_the_commit() {
    let (_broker, mut peer) = transactional();
    let mandatory = basic::Publish { mandatory: true, ..publish("", "nowhere") };
    peer.publish(1, mandatory, &Properties::default(), "m");
    peer.expect_nothing(1);
    peer.send(1, tx::Commit {});
    assert_eq!(peer.expect_return(1).delivery.text(), "m");
    peer.expect::<tx::CommitOk>(1);
}

#[test]
fn a_publish_that_is_refused_is_refused_before_the_commit() {
    let (_broker, mut peer) = transactional();
    let anothers = Properties { user_id: Some("alice"), ..Properties::default() };
    peer.publish(1, publish("", "q"), &anothers, "m");
    assert_eq!(peer.expect_channel_close(1).code, 406);
    peer.ask::<tx::SelectOk>(1, tx::Select {});
    peer.publish(1, publish("absent", "q"), &Properties::default(), "m");
    let close = peer.expect_channel_close(1);
    assert_eq!((close.code, close.method), (404, (60, 40)));
}

#[test]
fn a_commit_that_fails_gives_back_what_was_acknowledged() {
    let (broker, mut peer) = transactional();
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "direct"));
    peer.put("q", "1");
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_texts(1, ["1"]);
    peer.send(1, ack(1));
    peer.publish(1, publish("x", "key"), &Properties::default(), "m");
    peer.expect_nothing(1);
    let mut other = Peer::open(&broker);
    other.ask::<exchange::DeleteOk>(1, delete_exchange("x"));
    let internal = exchange::Declare { internal: true, ..declare_exchange("x", "direct") };
    other.ask::<exchange::DeclareOk>(1, internal);
    assert_eq!(peer.refused(1, tx::Commit {}).0, 403);
    assert_eq!(ready(&mut peer), 1);
}

#[test]
fn transactions_and_confirms_do_not_mix() {
    let (_broker, mut peer) = transactional();
    peer.ask::<tx::SelectOk>(1, tx::Select {});
    let (code, text) = peer.refused(1, confirm::Select { no_wait: false });
    assert_eq!((code, text.as_str()), (406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"));
    peer.select_confirms(1);
    let (code, text) = peer.refused(1, tx::Select {});
    assert_eq!((code, text.as_str()), (406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode"));
}

#[test]
fn without_a_transaction_there_is_nothing_to_commit() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let expected = (406, "PRECONDITION_FAILED - channel is not transactional".to_owned());
    assert_eq!(peer.refused(1, tx::Commit {}), expected);
    assert_eq!(peer.refused(1, tx::Rollback {}), expected);
}

#[test]
fn a_purge_is_no_part_of_a_transaction() {
    let (broker, mut peer) = transactional();
    let mut other = Peer::open(&broker);
    other.put("q", "m");
    other.expect_nothing(1);
    peer.put("q", "m");
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    peer.ask::<queue::PurgeOk>(1, purge("q"));
    peer.ask::<tx::RollbackOk>(1, tx::Rollback {});
    assert_eq!(ready(&mut peer), 0);
}

#[test]
fn acknowledgements_make_room_for_more_with_the_commit() {
    let (broker, mut peer) = transactional();
    let mut other = Peer::open(&broker);
    for text in ["1", "2", "3"] {
        other.put("q", text);
    }
    other.expect_nothing(1);
    peer.ask::<basic::QosOk>(1, basic::Qos { prefetch_size: 0, prefetch_count: 1, global: true });
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_texts(1, ["1"]);
    peer.send(1, ack(1));
    peer.expect_nothing(1);
    peer.send(1, tx::Commit {});
    peer.expect_texts(1, ["2"]);
    peer.expect::<tx::CommitOk>(1);
    peer.send(1, ack(2));
    peer.ask::<tx::RollbackOk>(1, tx::Rollback {});
    peer.expect_nothing(1);
}

#[test]
fn what_is_published_in_a_transaction_is_one_group_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestBroker::kept_in(folder.path());
    let mut peer = Peer::open(&test);
    for name in ["one", "two"] {
        let durable = queue::Declare { durable: true, ..declare_queue(name) };
        peer.ask::<queue::DeclareOk>(1, durable);
    }
    peer.ask::<tx::SelectOk>(1, tx::Select {});
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    let groups = || test.handle().broker().store_stats().unwrap().groups;
    let before = groups();
    const COMMITS: u64 = 20;
    for _ in 0..COMMITS {
        for n in 0..50 {
            let name = if n % 2 == 0 { "one" } else { "two" };
            peer.publish(1, publish("", name), &persistent, vec![7; 32 << 10]);
        }
        peer.ask::<tx::CommitOk>(1, tx::Commit {});
    }
    assert_eq!(groups() - before, COMMITS);
}

#[test]
fn a_transaction_has_no_room_for_everything() {
    let config =
        leveret_server::Config { max_transaction_bytes: 10_000, ..leveret_server::Config::ephemeral() };
    let broker = TestBroker::with(config);
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<tx::SelectOk>(1, tx::Select {});
    for _ in 0..3 {
        peer.put("q", &"x".repeat(4000));
    }
    let close = peer.expect_channel_close(1);
    let text = "PRECONDITION_FAILED - a transaction may publish 10000 bytes before its commit";
    assert_eq!((close.code, close.text.as_str()), (406, text));
    assert_eq!(ready(&mut peer), 0);
}
