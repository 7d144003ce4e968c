//! Who may connect and do what: permissions, limits, and what becomes of connections whose user or virtual host goes.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use leveret_amqp::{Properties, Value, basic, channel, connection, exchange, queue};
use leveret_broker::{
    Broker, Client, Effects, PasswordHash, Permission, TopicPermission, User, UserLimits, VhostLimits,
    VhostSettings,
};
use leveret_testkit::{
    Certificates, Login, Mechanism, Peer, TestBroker, bind_exchange, bind_queue, consume, declare_exchange,
    declare_queue, delete_exchange, delete_queue, get, publish, purge, table, unbind_queue,
};
use rstest::rstest;
use serde_json::json;

const ALICE: Login = Login {
    mechanism: Mechanism::Plain,
    user: "alice",
    password: "secret",
    vhost: None,
    channel_max: None,
    frame_max: None,
    heartbeat_s: 0,
    capabilities: &["authentication_failure_close", "consumer_cancel_notify", "basic.nack"],
};

/// A broker with queue `q` and topic exchange `x`, and user `alice` with these permissions.
fn broker(configure: &str, write: &str, read: &str) -> (TestBroker, Arc<Broker>) {
    let test = TestBroker::start();
    let broker = Arc::clone(test.handle().broker());
    let password = PasswordHash::of("secret").unwrap();
    let user = User { name: "alice".into(), password, tags: vec![], limits: UserLimits::default() };
    broker.put_user(user).unwrap();
    allow(&broker, configure, write, read);
    let mut peer = Peer::open(&test);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "topic"));
    peer.close();
    (test, broker)
}

fn allow(broker: &Broker, configure: &str, write: &str, read: &str) {
    let permission = Permission::new(configure, write, read).unwrap();
    broker.set_permission("alice", "/", permission).unwrap();
}

fn refused(object: &str) -> (u16, String) {
    (403, format!("ACCESS_REFUSED - access to {object} in vhost '/' refused for user 'alice'"))
}

/// How the opening of a connection is refused.
fn not_opened(test: &TestBroker, login: &Login) -> (u16, String) {
    let mut peer = Peer::connect(test);
    peer.offer(login);
    peer.tune(login);
    let vhost = login.vhost.unwrap_or("/");
    peer.send(0, connection::Open { virtual_host: vhost, reserved_1: "", reserved_2: false });
    let close = peer.expect_connection_close();
    (close.code, close.text)
}

#[test]
fn without_a_permission_every_operation_is_refused() {
    let (test, _) = broker("", "", "");
    let mut peer = Peer::open_as(&test, &ALICE);
    let queue = refused("queue 'q'");
    let exchange = refused("exchange 'x'");
    assert_eq!(peer.refused(1, declare_queue("q")), queue);
    assert_eq!(peer.refused(1, declare_queue("new")), refused("queue 'new'"));
    assert_eq!(peer.refused(1, delete_queue("q")), queue);
    assert_eq!(peer.refused(1, purge("q")), queue);
    assert_eq!(peer.refused(1, get("q")), queue);
    assert_eq!(peer.refused(1, consume("q", "")), queue);
    assert_eq!(peer.refused(1, bind_queue("q", "x", "k")), queue);
    assert_eq!(peer.refused(1, unbind_queue("q", "x", "k")), queue);
    assert_eq!(peer.refused(1, declare_exchange("x", "topic")), exchange);
    assert_eq!(peer.refused(1, delete_exchange("x")), exchange);
    assert_eq!(peer.refused(1, bind_exchange("x", "amq.fanout", "")), exchange);
    for (to, object) in [("x", exchange), ("", refused("exchange 'amq.default'"))] {
        peer.publish(1, publish(to, "q"), &Properties::default(), b"body");
        let close = peer.expect_channel_close(1);
        assert_eq!((close.code, close.text), object);
    }
    let passive = queue::Declare { passive: true, ..declare_queue("q") };
    peer.ask::<queue::DeclareOk>(1, passive);
    let passive = exchange::Declare { passive: true, ..declare_exchange("x", "topic") };
    peer.ask::<exchange::DeclareOk>(1, passive);
}

#[test]
fn to_bind_is_to_write_to_the_destination_and_to_read_from_the_source() {
    let (test, broker) = broker("", "^q$", "");
    let mut peer = Peer::open_as(&test, &ALICE);
    assert_eq!(peer.refused(1, bind_queue("q", "x", "k")), refused("exchange 'x'"));
    allow(&broker, "", "^q$", "^x$");
    peer.ask::<queue::BindOk>(1, bind_queue("q", "x", "k"));
    peer.ask::<queue::UnbindOk>(1, unbind_queue("q", "x", "k"));
}

#[test]
fn permissions_that_are_taken_away_count_for_routes_that_were_found_already() {
    let (test, broker) = broker("", "^x$", "^q$");
    let mut peer = Peer::open_as(&test, &ALICE);
    for _ in 0..3 {
        peer.publish(1, publish("x", "k"), &Properties::default(), b"body");
    }
    assert!(peer.fetch(1, get("q")).is_none());
    allow(&broker, "", "", "^q$");
    peer.publish(1, publish("x", "k"), &Properties::default(), b"body");
    assert_eq!(peer.expect_channel_close(1).code, 403);
    allow(&broker, "", "^x$", "^q$");
    peer.publish(1, publish("x", "k"), &Properties::default(), b"body");
    peer.expect_nothing(1);
    broker.clear_permission("alice", "/").unwrap();
    assert_eq!(peer.refused(1, get("q")), refused("queue 'q'"));
}

#[test]
fn topic_permissions_are_about_routing_keys() {
    let (test, broker) = broker(".*", ".*", ".*");
    let topic = TopicPermission::new("^{username}\\.", "^public\\.").unwrap();
    broker.set_topic_permission(("alice", "/", "x"), topic).unwrap();
    let mut peer = Peer::open_as(&test, &ALICE);
    let text = |key: &str| refused_topic(key);
    peer.publish(1, publish("x", "alice.1"), &Properties::default(), b"body");
    peer.expect_nothing(1);
    peer.publish(1, publish("x", "bob.1"), &Properties::default(), b"body");
    let close = peer.expect_channel_close(1);
    assert_eq!((close.code, close.text), text("bob.1"));
    peer.ask::<queue::BindOk>(1, bind_queue("q", "x", "public.#"));
    assert_eq!(peer.refused(1, bind_queue("q", "x", "private.#")), text("private.#"));
    // Nothing but topics has keys to be careful with.
    peer.publish(1, publish("amq.direct", "bob.1"), &Properties::default(), b"body");
    peer.expect_nothing(1);
}

fn refused_topic(key: &str) -> (u16, String) {
    let text = format!(
        "ACCESS_REFUSED - access to topic '{key}' in exchange topic 'x' in vhost '/' refused for user 'alice'"
    );
    (403, text)
}

#[rstest]
#[case::dead_letters("x-dead-letter-exchange")]
#[case::alternate("alternate-exchange")]
fn messages_may_not_go_on_where_the_user_may_not_write(#[case] argument: &str) {
    let (test, _) = broker(".*", "^mine", ".*");
    let mut peer = Peer::open_as(&test, &ALICE);
    let mut declare = |name: &str, target: &str| {
        let arguments = table([(argument, Value::from(target))]);
        if argument == "alternate-exchange" {
            let declare = exchange::Declare { arguments, ..declare_exchange(name, "fanout") };
            peer.send(1, declare);
            peer.expect_or_close::<exchange::DeclareOk>(1)
        } else {
            peer.send(1, queue::Declare { arguments, ..declare_queue(name) });
            peer.expect_or_close::<queue::DeclareOk>(1)
        }
    };
    assert!(declare("a", "mine.dlx").is_ok());
    let close = declare("b", "others").unwrap_err();
    assert_eq!((close.code, close.text), refused("exchange 'others'"));
}

#[test]
fn a_vhost_without_permissions_cannot_be_entered() {
    let (test, broker) = broker(".*", ".*", ".*");
    broker.put_vhost("closed", VhostSettings::default()).unwrap();
    let closed = Login { vhost: Some("closed"), ..ALICE };
    let text = "NOT_ALLOWED - access to vhost 'closed' refused for user 'alice'";
    assert_eq!(not_opened(&test, &closed), (530, text.into()));
    let nowhere = Login { vhost: Some("nowhere"), ..ALICE };
    assert_eq!(not_opened(&test, &nowhere), (530, "NOT_ALLOWED - vhost nowhere not found".into()));
}

#[test]
fn connections_and_channels_have_limits() {
    let (test, broker) = broker(".*", ".*", ".*");
    let limits = |max_connections, max_channels| UserLimits { max_connections, max_channels };
    broker.set_user_limits("alice", limits(Some(1), Some(2))).unwrap();
    let mut peer = Peer::open_as(&test, &ALICE);
    let text = "NOT_ALLOWED - connection refused for user 'alice': user connection limit (1) is reached";
    assert_eq!(not_opened(&test, &ALICE), (530, text.into()));
    peer.open_channel(2);
    let text = "NOT_ALLOWED - number of channels opened for user 'alice' has reached the maximum allowed user limit \
                of (2)";
    let opened = peer.broken_by(3, channel::Open { out_of_band: "" });
    assert_eq!(opened, (530, text.into()));
    broker.set_user_limits("alice", UserLimits::default()).unwrap();

    let vhost = broker.vhost("/").unwrap();
    vhost.set_limits(VhostLimits { max_connections: Some(0), max_queues: None }).unwrap();
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'alice': connection limit (0) is reached";
    assert_eq!(not_opened(&test, &ALICE), (530, text.into()));
}

#[test]
fn a_vhost_full_of_queues_takes_no_more() {
    let (test, broker) = broker(".*", ".*", ".*");
    let vhost = broker.vhost("/").unwrap();
    vhost.set_limits(VhostLimits { max_connections: None, max_queues: Some(1) }).unwrap();
    let mut peer = Peer::open_as(&test, &ALICE);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let text = "PRECONDITION_FAILED - cannot declare queue 'r': queue limit in vhost '/' (1) is reached";
    assert_eq!(peer.refused(1, declare_queue("r")), (406, text.into()));
}

#[test]
fn a_deleted_user_is_shown_out() {
    let (test, broker) = broker(".*", ".*", ".*");
    let mut peer = Peer::open_as(&test, &ALICE);
    let mut other = Peer::open(&test);
    assert!(broker.delete_user("alice").unwrap());
    let close = peer.expect_connection_close();
    assert_eq!((close.code, close.text.as_str()), (320, "CONNECTION_FORCED - user 'alice' is deleted"));
    other.ask::<queue::DeclareOk>(1, declare_queue("q"));
}

#[test]
fn a_deleted_vhost_closes_its_connections_and_drops_its_queues() {
    let (test, broker) = broker(".*", ".*", ".*");
    broker.put_vhost("other", VhostSettings::default()).unwrap();
    broker.set_permission("alice", "other", Permission::full().unwrap()).unwrap();
    let login = Login { vhost: Some("other"), ..ALICE };
    let mut peer = Peer::open_as(&test, &login);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.put("q", "message");
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_delivery(1);
    assert!(broker.delete_vhost("other").unwrap());
    let mut ended = peer.rest();
    let text = b"CONNECTION_FORCED - vhost 'other' is deleted";
    assert!(ended.windows(text.len()).any(|part| part == text), "{}", String::from_utf8_lossy(&ended));
    ended.clear();
    assert_eq!(not_opened(&test, &login), (530, "NOT_ALLOWED - vhost other not found".into()));
    let mut here = Peer::open(&test);
    assert!(here.fetch(1, get("q")).is_none(), "the queue of that name here is another");
}

#[test]
fn a_policy_is_in_force_at_once() {
    let (test, broker) = broker(".*", ".*", ".*");
    let vhost = broker.vhost("/").unwrap();
    let mut peer = Peer::open(&test);
    for text in ["1", "2", "3"] {
        peer.put("q", text);
    }
    peer.expect_nothing(1);
    let mut effects = Effects::default();
    let value =
        json!({"pattern": "^q$", "apply-to": "queues", "priority": 0, "definition": {"max-length": 1}});
    vhost.set_parameter("policy", "short", value, &mut effects).unwrap();
    let passive = queue::Declare { passive: true, ..declare_queue("q") };
    assert_eq!(peer.ask::<queue::DeclareOk>(1, passive).message_count, 1);
}

#[test]
fn a_hash_of_rabbitmq_lets_its_user_in() {
    let (test, broker) = broker(".*", ".*", ".*");
    let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    let definitions = json!({
        "users": [{"name": "bunny", "password_hash": hash, "tags": "management"}],
        "permissions": [{"user": "bunny", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
    });
    let definitions = leveret_broker::Definitions::from_json(definitions).unwrap();
    broker.import(&definitions, &mut Effects::default()).unwrap();
    let login = |password| Login { user: "bunny", password, ..ALICE };
    let mut peer = Peer::open_as(&test, &login("test12"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let mut wrong = Peer::connect(&test);
    wrong.offer(&login("test13"));
    assert_eq!(wrong.expect_connection_close().code, 403);
}

#[test]
fn a_certificate_lets_in_whom_it_names_if_there_is_such_a_user() {
    let certificates = Certificates::new();
    let test = TestBroker::with_tls(&certificates);
    let broker = Arc::clone(test.handle().broker());
    let external = Login { mechanism: Mechanism::External, ..ALICE };
    let mut peer = Peer::connect_tls(&test, &certificates, Some("alice"));
    peer.log_in(&external);
    peer.close();
    assert!(broker.delete_user("alice").unwrap());
    let mut peer = Peer::connect_tls(&test, &certificates, Some("alice"));
    peer.offer(&external);
    assert_eq!(peer.expect_connection_close().code, 403);
}

#[test]
fn many_declarations_in_one_batch_are_answered_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestBroker::kept_in(folder.path());
    let mut peer = Peer::open(&test);
    let names: Vec<String> = (0..500).map(|n| format!("queue-{n}")).collect();
    for name in &names {
        peer.send(1, queue::Declare { durable: true, ..declare_queue(name) });
        peer.send(1, bind_queue(name, "amq.topic", name));
    }
    for name in &names {
        assert_eq!(peer.expect::<queue::DeclareOk>(1).queue, name);
        peer.expect::<queue::BindOk>(1);
    }
    peer.send(1, queue::Declare { durable: true, ..declare_queue("last") });
    peer.send(1, purge("nowhere"));
    assert_eq!(peer.expect::<queue::DeclareOk>(1).queue, "last");
    assert_eq!(peer.expect_channel_close(1).code, 404);
}

fn secret(new_secret: &'static [u8]) -> connection::UpdateSecret<'static> {
    connection::UpdateSecret { new_secret, reason: "rotated" }
}

#[test]
fn a_new_secret_is_checked_and_what_the_user_may_do_is_as_of_now() {
    let (test, broker) = broker("", "", "q");
    let mut peer = Peer::open_as(&test, &ALICE);
    let password = PasswordHash::of("rotated").unwrap();
    let user = User { name: "alice".into(), password, tags: vec![], limits: UserLimits::default() };
    broker.put_user(user).unwrap();
    allow(&broker, "mine", "", "");
    peer.ask::<connection::UpdateSecretOk>(0, secret(b"rotated"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("mine"));
    assert_eq!(peer.refused(1, get("q")), refused("queue 'q'"));

    let text = "NOT_ALLOWED - New secret was refused by one of the backends";
    assert_eq!(peer.broken_by(0, secret(b"secret")), (530, text.into()));
}

#[test]
fn who_has_shown_a_certificate_is_asked_for_nothing_else() {
    let certificates = Certificates::new();
    let test = TestBroker::with_tls(&certificates);
    let mut peer = Peer::connect_tls(&test, &certificates, Some("alice"));
    peer.log_in(&Login { mechanism: Mechanism::External, ..Login::default() });
    peer.ask::<connection::UpdateSecretOk>(0, secret(b"whatever"));
}

#[test]
fn what_the_management_declares_is_kept_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestBroker::kept_in(folder.path());
    let vhost = test.handle().broker().vhost("/").unwrap();
    let options = leveret_broker::QueueOptions { durable: true, ..leveret_broker::QueueOptions::default() };
    vhost.declare_queue("q", options, &Client::broker(), &mut Effects::default()).unwrap();
    assert!(!vhost.has_uncommitted());
}

#[test]
fn what_is_confirmed_lies_in_a_queue_that_the_catalog_has() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestBroker::kept_in(folder.path());
    let mut peer = Peer::open(&test);
    peer.select_confirms(1);
    // Somebody else has declared a queue, and nobody has written that down yet.
    let vhost = test.handle().broker().vhost("/").unwrap();
    let options = leveret_broker::QueueOptions { durable: true, ..leveret_broker::QueueOptions::default() };
    let somebody = Client { grouped: true, ..Client::broker() };
    vhost.declare_queue("q", options, &somebody, &mut Effects::default()).unwrap();
    assert!(vhost.has_uncommitted());
    peer.publish(
        1,
        publish("", "q"),
        &Properties { delivery_mode: Some(2), ..Properties::default() },
        b"kept",
    );
    peer.expect_confirms(1, 1, 1);
    assert!(!vhost.has_uncommitted());
}
