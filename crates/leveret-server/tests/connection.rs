//! How connections open, what is agreed on the way, and how they end.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use leveret_amqp::{
    ContentHeader, FieldTable, FrameKind, Properties, Value, ValueRef, basic, begin_frame, channel,
    connection, end_frame, queue, write_body_frames, write_heartbeat, write_method,
};
use leveret_broker::{Broker, FirstUser, Login as UserLogin, Users};
use leveret_server::Config;
use leveret_testkit::{
    Certificates, Login, Mechanism, PATIENCE, Peer, TestBroker, close_channel, close_connection, consume,
    declare_queue, delete_queue, publish, purge,
};
use rstest::rstest;

const PROTOCOL: &[u8] = b"AMQP\x00\x00\x09\x01";

fn refused_login(mechanism: &str) -> (u16, String) {
    let text = format!(
        "ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For details see the \
         broker logfile."
    );
    (403, text)
}

#[rstest]
#[case::http(b"GET / HTTP/1.1\r\n\r\n")]
#[case::amqp_1_0(b"AMQP\x00\x01\x00\x00")]
#[case::amqp_0_10(b"AMQP\x01\x01\x00\x0a")]
#[case::amqp_0_8(b"AMQP\x01\x01\x08\x00")]
#[case::sasl(b"AMQP\x03\x01\x00\x00")]
fn another_protocol_header_is_answered_with_ours_and_a_close(#[case] header: &[u8]) {
    let broker = TestBroker::start();
    let mut peer = Peer::connect(&broker);
    peer.send_bytes(header);
    assert_eq!(peer.rest(), PROTOCOL);
}

#[test]
fn the_server_says_what_it_is_and_can() {
    let broker = TestBroker::start();
    let mut peer = Peer::connect(&broker);
    peer.send_bytes(PROTOCOL);
    let start = peer.expect::<connection::Start>(0);
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    assert_eq!(start.mechanisms, b"PLAIN AMQPLAIN");
    assert_eq!(start.locales, b"en_US");
    for name in ["product", "version", "platform"] {
        assert!(matches!(start.server_properties.find(name), Some(ValueRef::Text(_))), "{name}");
    }
    let Some(ValueRef::Table(capabilities)) = start.server_properties.find("capabilities") else {
        panic!("no capabilities in {start:?}");
    };
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert_eq!(capabilities.find(name), Some(ValueRef::Bool(true)), "{name}");
    }
}

#[rstest]
#[case(Mechanism::Plain)]
#[case(Mechanism::AmqPlain)]
fn a_user_logs_in_by_password(#[case] mechanism: Mechanism) {
    let broker = TestBroker::start();
    Peer::open_as(&broker, &Login { mechanism, ..Login::default() }).close();
}

#[rstest]
#[case::plain(Login { password: "wrong", ..Login::default() }, "PLAIN")]
#[case::amqplain(
    Login { password: "wrong", mechanism: Mechanism::AmqPlain, ..Login::default() }, "AMQPLAIN"
)]
#[case::nobody(Login { user: "nobody", ..Login::default() }, "PLAIN")]
fn a_failed_login_is_told_to_those_who_want_to_know(#[case] login: Login, #[case] mechanism: &str) {
    let broker = TestBroker::start();
    let mut peer = Peer::connect(&broker);
    peer.offer(&login);
    let close = peer.expect_connection_close();
    assert_eq!((close.code, close.text), refused_login(mechanism));
}

#[test]
fn a_failed_login_ends_in_silence_for_others() {
    let broker = TestBroker::start();
    let mut peer = Peer::connect(&broker);
    peer.offer(&Login { password: "wrong", capabilities: &[], ..Login::default() });
    assert_eq!(peer.rest(), b"");
}

#[test]
fn an_unknown_mechanism_is_an_invalid_command() {
    let broker = TestBroker::start();
    let mut peer = Peer::connect(&broker);
    peer.offer(&Login { mechanism: Mechanism::Unknown, ..Login::default() });
    let close = peer.expect_connection_close();
    assert_eq!(close.code, 503);
    assert_eq!(close.text, "COMMAND_INVALID - unknown authentication mechanism 'UNKNOWN'");
}

#[test]
fn a_certificate_proves_who_one_is() {
    let certificates = Certificates::new();
    let broker = TestBroker::with_tls(&certificates);
    let mut peer = Peer::connect_tls(&broker, &certificates, Some("alice"));
    peer.log_in(&Login { mechanism: Mechanism::External, ..Login::default() });
    peer.publish(1, publish("", "q"), &user_id("alice"), "as oneself");
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn a_certificate_of_nobody_proves_nothing() {
    let certificates = Certificates::new();
    let broker = TestBroker::with_tls(&certificates);
    let mut peer = Peer::connect_tls(&broker, &certificates, Some("mallory"));
    peer.offer(&Login { mechanism: Mechanism::External, ..Login::default() });
    let close = peer.expect_connection_close();
    assert_eq!((close.code, close.text), refused_login("EXTERNAL"));
}

#[test]
fn without_a_certificate_external_is_not_offered_and_fails() {
    let certificates = Certificates::new();
    let broker = TestBroker::with_tls(&certificates);
    let mut peer = Peer::connect_tls(&broker, &certificates, None);
    peer.offer(&Login { mechanism: Mechanism::External, ..Login::default() });
    assert_eq!(peer.expect_connection_close().code, 403);
}

#[test]
fn a_certificate_of_another_authority_is_refused_by_tls() {
    let certificates = Certificates::new();
    let broker = TestBroker::with_tls(&certificates);
    let mut peer = Peer::connect_tls(&broker, &Certificates::new(), Some("alice"));
    peer.send_bytes(PROTOCOL);
    assert_eq!(peer.rest(), b"");
}

#[test]
fn messages_of_all_sizes_pass_through_tls() {
    let certificates = Certificates::new();
    let broker = TestBroker::with_tls(&certificates);
    let mut peer = Peer::connect_tls(&broker, &certificates, None);
    peer.log_in(&Login { user: "alice", ..Login::default() });
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    for size in [0, 1, 16 << 10, 1 << 20] {
        peer.put("q", &"x".repeat(size));
        assert_eq!(peer.expect_delivery(1).body.len(), size);
    }
    peer.close();
}

/// The address under which this machine is known elsewhere, if it is. Nothing is sent.
fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn guest_logs_in_from_loopback_only() {
    let users = Users::new(vec!["guest".into()]);
    let broker = Broker::new(users);
    broker.begin(&FirstUser { name: "guest", password: "guest", vhost: "/" }, "test").unwrap();
    let users = &broker.users;
    assert!(users.admits("guest", UserLogin::Password("guest"), true));
    assert!(!users.admits("guest", UserLogin::Password("guest"), false));
    assert!(!users.admits("guest", UserLogin::Certificate, false));

    let Some(address) = address_of_this_machine() else { return };
    for (loopback_users, admitted) in [(vec!["guest".into()], false), (vec![], true)] {
        let broker =
            TestBroker::with(Config { amqp: "0.0.0.0:0".into(), loopback_users, ..Config::ephemeral() });
        let mut peer = Peer::connect_to(SocketAddr::new(address, broker.address().port()), "/");
        if admitted {
            peer.log_in(&Login::default());
        } else {
            peer.offer(&Login::default());
            let close = peer.expect_connection_close();
            assert_eq!((close.code, close.text), refused_login("PLAIN"));
        }
    }
}

#[test]
fn an_unknown_vhost_is_not_allowed() {
    let broker = TestBroker::start();
    let mut peer = Peer::connect(&broker);
    let login = Login { vhost: Some("nowhere"), ..Login::default() };
    peer.offer(&login);
    peer.tune(&login);
    let close = peer.expect_connection_close();
    assert_eq!(close.code, 530);
    assert_eq!(close.text, "NOT_ALLOWED - vhost nowhere not found");
}

#[test]
fn the_server_offers_its_limits() {
    let broker = TestBroker::start();
    let mut peer = Peer::connect(&broker);
    peer.offer(&Login::default());
    let tune = peer.expect::<connection::Tune>(0);
    assert_eq!(tune, connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 });
}

#[rstest]
#[case::channels(
    Login { channel_max: Some(2048), ..Login::default() },
    "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"
)]
#[case::any_number_of_channels(
    Login { channel_max: Some(0), ..Login::default() },
    "negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"
)]
#[case::large_frames(
    Login { frame_max: Some(131_073), ..Login::default() },
    "negotiated frame_max = 131073 is higher than the maximum allowed value (131072)"
)]
#[case::frames_of_any_size(
    Login { frame_max: Some(0), ..Login::default() },
    "negotiated frame_max = 0 is higher than the maximum allowed value (131072)"
)]
#[case::small_frames(
    Login { frame_max: Some(4095), ..Login::default() },
    "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"
)]
fn a_client_that_asks_for_more_than_offered_is_not_allowed(#[case] login: Login, #[case] text: &str) {
    let broker = TestBroker::start();
    let mut peer = Peer::connect(&broker);
    peer.offer(&login);
    peer.tune(&login);
    let close = peer.expect_connection_close();
    assert_eq!((close.code, close.text), (530, format!("NOT_ALLOWED - {text}")));
}

#[test]
fn fewer_channels_are_honoured() {
    let broker = TestBroker::start();
    let mut peer = Peer::open_as(&broker, &Login { channel_max: Some(2), ..Login::default() });
    peer.open_channel(2);
    peer.send(3, channel::Open { out_of_band: "" });
    let close = peer.expect_connection_close();
    assert_eq!(close.code, 530);
    assert!(close.text.contains("channel_max (2)"), "{}", close.text);
}

#[test]
fn smaller_frames_are_honoured_in_both_directions() {
    let broker = TestBroker::start();
    let mut peer = Peer::open_as(&broker, &Login { frame_max: Some(4096), ..Login::default() });
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.put("q", &"x".repeat(10_000));
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    // The peer itself refuses larger frames.
    assert_eq!(peer.expect_delivery(1).body.len(), 10_000);
    peer.send_bytes(&frame(FrameKind::Method, 1, &[0; 4096 - 7]));
    assert_eq!(peer.expect_connection_close().code, 501);
}

#[test]
fn a_silent_peer_is_dropped_after_two_heartbeats_and_others_are_not() {
    let broker = TestBroker::start();
    let mut without = Peer::open(&broker);
    let mut lively = Peer::open_as(&broker, &Login { heartbeat_s: 1, ..Login::default() });
    let start = Instant::now();
    let mut silent = Peer::open_as(&broker, &Login { heartbeat_s: 1, ..Login::default() });
    let dropped = std::thread::spawn(move || {
        silent.expect_heartbeat();
        silent.expect_end();
        start.elapsed()
    });
    let mut sign = Vec::new();
    write_heartbeat(&mut sign);
    // By the broker's own beat, which is slow where it is slow.
    for _ in 0..4 {
        lively.expect_heartbeat();
        lively.send_bytes(&sign);
    }
    let four_beats = start.elapsed();
    lively.expect_nothing(1);
    without.expect_nothing(1);
    let dropped = dropped.join().expect("the silent peer's expectations are met");
    assert!(dropped > Duration::from_secs(2) && dropped < four_beats, "{dropped:?}, {four_beats:?}");
}

#[test]
fn a_peer_that_never_pauses_gets_heartbeats_all_the_same() {
    let broker = TestBroker::start();
    let mut peer = Peer::open_as(&broker, &Login { heartbeat_s: 1, ..Login::default() });
    let mut nowhere = Vec::new();
    write_publish(&mut nowhere, &[0; 64]);
    let nowhere = nowhere.repeat(4096);
    let start = Instant::now();
    let mut heartbeats = 0;
    while heartbeats < 2 {
        peer.send_bytes(&nowhere);
        if peer.has_heard() {
            peer.expect_heartbeat();
            heartbeats += 1;
        }
        assert!(start.elapsed() < PATIENCE, "{heartbeats} heartbeats");
    }
}

fn frame(kind: FrameKind, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = begin_frame(kind, channel, &mut bytes);
    bytes.extend_from_slice(payload);
    end_frame(start, &mut bytes);
    bytes
}

fn with_end(mut frame: Vec<u8>, end: u8) -> Vec<u8> {
    *frame.last_mut().expect("a frame has an end") = end;
    frame
}

fn with_kind(mut frame: Vec<u8>, kind: u8) -> Vec<u8> {
    frame[0] = kind;
    frame
}

fn method_bytes(class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    frame(FrameKind::Method, 1, &[&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat())
}

fn header(body_size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    ContentHeader { body_size, properties: &[0, 0] }.write_frame(1, &mut bytes);
    bytes
}

fn body(bytes: &[u8]) -> Vec<u8> {
    frame(FrameKind::Body, 1, bytes)
}

fn publish_method() -> Vec<u8> {
    let mut bytes = Vec::new();
    write_method(1, publish("", "nowhere"), &mut bytes);
    bytes
}

fn write_publish(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend(publish_method());
    out.extend(header(payload.len() as u64));
    write_body_frames(1, payload, 0, out);
}

fn user_id(user: &str) -> Properties<'_> {
    Properties { user_id: Some(user), ..Properties::default() }
}

#[rstest]
#[case::larger_than_agreed(501, frame(FrameKind::Body, 1, &[0; 131_072 - 7]))]
#[case::wrong_end(501, with_end(publish_method(), 0))]
#[case::unknown_frame_type(501, with_kind(publish_method(), 77))]
#[case::header_without_a_method(505, header(1))]
#[case::body_without_a_method(505, body(b"body"))]
#[case::body_without_a_header(505, [publish_method(), body(b"body")].concat())]
#[case::method_instead_of_a_header(505, [publish_method(), publish_method()].concat())]
#[case::another_method_instead_of_a_header(505, [publish_method(), method_bytes(50, 30, &[0; 4])].concat())]
#[case::two_headers(505, [publish_method(), header(1), header(1)].concat())]
#[case::more_body_than_announced(505, [publish_method(), header(1), body(b"body")].concat())]
#[case::heartbeat_on_a_channel(505, frame(FrameKind::Heartbeat, 1, b""))]
#[case::unknown_channel(504, frame(FrameKind::Method, 9, &[0, 60, 0, 100, 0]))]
#[case::content_on_an_unknown_channel(505, frame(FrameKind::Header, 9, &[0; 14]))]
#[case::channel_opened_twice(504, method_bytes(20, 10, &[0]))]
#[case::channel_0_opened(504, frame(FrameKind::Method, 0, &[0, 20, 0, 10, 0]))]
#[case::arguments_missing(502, method_bytes(50, 10, &[0]))]
#[case::short_string_beyond_the_end(502, method_bytes(50, 10, &[0, 0, 255, b'a']))]
#[case::table_beyond_the_end(502, method_bytes(50, 10, &[0, 0, 1, b'q', 0, 0, 0, 0, 9]))]
#[case::unknown_field_type(502, method_bytes(50, 10, &[0, 0, 1, b'q', 0, 0, 0, 0, 3, 1, b'k', b'?']))]
#[case::no_method_at_all(502, frame(FrameKind::Method, 1, b""))]
#[case::unknown_class(503, method_bytes(999, 10, &[]))]
#[case::unknown_method(540, method_bytes(50, 999, &[]))]
#[case::a_method_for_clients(503, method_bytes(50, 31, &[0; 4]))]
#[case::connection_method_on_a_channel(503, method_bytes(10, 51, &[]))]
fn bytes_that_break_the_protocol_end_the_connection(#[case] code: u16, #[case] bytes: Vec<u8>) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.send_bytes(&bytes);
    assert_eq!(peer.expect_connection_close().code, code);
    Peer::open(&broker).close();
}

#[test]
fn what_comes_after_the_end_of_the_connection_is_ignored() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let mut bytes = with_kind(publish_method(), 77);
    write_method(1, declare_queue("q"), &mut bytes);
    bytes.extend([0; 100]);
    peer.send_bytes(&bytes);
    peer.expect::<connection::Close>(0);
    peer.send(1, declare_queue("q"));
    peer.send(0, connection::CloseOk {});
    peer.expect_end();
    let mut other = Peer::open(&broker);
    assert_eq!(other.refused(1, purge("q")).0, 404);
}

#[test]
fn a_channel_error_leaves_the_other_channels_alone_and_the_number_free() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.open_channel(2);
    let (code, text) = peer.refused(1, purge("absent"));
    assert_eq!((code, text.as_str()), (404, "NOT_FOUND - no queue 'absent' in vhost '/'"));
    peer.expect_nothing(2);
    peer.expect_nothing(1);
}

#[test]
fn what_was_on_its_way_when_the_channel_closed_is_ignored() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.send(1, purge("absent"));
    peer.send(1, declare_queue("q"));
    peer.put("q", "ignored");
    peer.expect_channel_close(1);
    assert_eq!(peer.refused(1, purge("q")).0, 404);
}

#[test]
fn closes_of_both_sides_may_cross() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.send(1, purge("absent"));
    peer.send(1, close_channel());
    peer.expect::<channel::Close>(1);
    peer.expect::<channel::CloseOk>(1);
    peer.send(1, channel::CloseOk {});
    peer.open_channel(1);
    peer.close();
}

#[test]
fn a_client_closes_its_channel_and_opens_it_again() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    for _ in 0..3 {
        peer.ask::<channel::CloseOk>(1, close_channel());
        peer.open_channel(1);
    }
    peer.close();
}

#[test]
fn the_socket_ends_once_the_close_is_agreed_on() {
    let broker = TestBroker::start();
    let mut closing = Peer::open(&broker);
    closing.ask::<connection::CloseOk>(0, close_connection());
    closing.expect_end();
    let mut closed = Peer::open(&broker);
    closed.broken_by(1, qos_by_size());
    closed.expect_end();
}

fn qos_by_size() -> basic::Qos {
    basic::Qos { prefetch_size: 1, prefetch_count: 0, global: false }
}

#[test]
fn a_secret_can_be_updated() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let update = connection::UpdateSecret { new_secret: b"guest", reason: "expired" };
    peer.ask::<connection::UpdateSecretOk>(0, update);
    peer.expect_nothing(1);
}

#[test]
fn a_client_may_name_its_connection() {
    let broker = TestBroker::start();
    let mut peer = Peer::connect(&broker);
    peer.send_bytes(PROTOCOL);
    peer.expect::<connection::Start>(0);
    let properties = FieldTable::from_iter([("connection_name", Value::from("orders"))]).encode();
    let start_ok = connection::StartOk {
        client_properties: leveret_amqp::Table::parse(&properties).expect("just encoded"),
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    };
    peer.send(0, start_ok);
    peer.tune(&Login::default());
    peer.expect::<connection::OpenOk>(0);
}

#[test]
fn shutdown_closes_clients_with_320() {
    let mut broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    broker.begin_shutdown();
    let close = peer.expect_connection_close();
    assert_eq!(close.code, 320);
    assert_eq!(close.text, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'");
}

#[test]
fn shutdown_does_not_wait_for_those_who_have_not_opened() {
    let mut broker = TestBroker::start();
    let mut silent = Peer::connect(&broker);
    let mut half_way = Peer::connect(&broker);
    half_way.offer(&Login::default());
    half_way.expect::<connection::Tune>(0);
    let start = Instant::now();
    broker.shutdown();
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    assert_eq!(silent.rest(), b"");
    half_way.rest();
}

#[test]
fn shutdown_reaches_a_client_that_never_pauses() {
    let mut broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let mut nowhere = Vec::new();
    write_publish(&mut nowhere, &[0; 64]);
    let nowhere = nowhere.repeat(4096);
    peer.send_bytes(&nowhere);
    broker.begin_shutdown();
    let start = Instant::now();
    while !peer.has_heard() {
        peer.send_bytes(&nowhere);
        assert!(start.elapsed() < Duration::from_secs(2), "still served");
    }
    assert_eq!(peer.expect::<connection::Close>(0).reply_code, 320);
}

#[test]
fn shutdown_does_not_wait_for_ever_for_a_client_that_does_not_agree() {
    let mut broker = TestBroker::with(Config { shutdown_timeout_ms: 200, ..Config::ephemeral() });
    let mut peer = Peer::open(&broker);
    let start = Instant::now();
    broker.shutdown();
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    assert_eq!(peer.expect::<connection::Close>(0).reply_code, 320);
    peer.expect_end();
}

#[test]
fn a_connection_that_does_not_open_in_time_is_dropped() {
    let broker = TestBroker::with(Config { handshake_timeout_ms: 200, ..Config::ephemeral() });
    let mut peer = Peer::connect(&broker);
    peer.send_bytes(&PROTOCOL[..5]);
    assert_eq!(peer.rest(), b"");
}

#[test]
fn queues_of_one_connection_are_seen_by_another() {
    let broker = TestBroker::start();
    let mut one = Peer::open(&broker);
    let mut other = Peer::open(&broker);
    one.ask::<queue::DeclareOk>(1, declare_queue("q"));
    other.ask::<queue::DeleteOk>(1, delete_queue("q"));
    assert_eq!(one.refused(1, purge("q")).0, 404);
}

#[test]
fn a_client_behind_tls_that_reads_no_more_is_let_go() {
    let certificates = Certificates::new();
    let mut broker = TestBroker::with_tls(&certificates);
    let mut peer = Peer::connect_tls(&broker, &certificates, None);
    peer.log_in(&Login { user: "alice", ..Login::default() });
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let endless = basic::Consume { no_ack: true, ..consume("q", "tag") };
    peer.ask::<basic::ConsumeOk>(1, endless);
    for _ in 0..16 {
        peer.put("q", &"x".repeat(1 << 20));
    }
    peer.send(0, close_connection());
    let start = Instant::now();
    broker.shutdown();
    assert!(start.elapsed() < Duration::from_secs(4), "took {:?}", start.elapsed());
}
