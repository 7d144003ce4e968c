//! Any conversation of a client: well-formed frames in any order, frames that are not, and bytes that are none. What the
//! broker answers is well-formed, its next client is served, and nothing of the first one is left.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use leveret_amqp::{
    ContentHeader, FieldTable, FrameKind, Method, PROTOCOL_HEADER, Properties, Table, Value, basic,
    begin_frame, channel, confirm, connection, end_frame, exchange, parse_frame, queue, tx,
    write_body_frames, write_method,
};
use leveret_testkit::{
    Peer, TestBroker, bind_exchange, cancel, close_channel, close_connection, consume, declare_exchange,
    declare_queue, delete_exchange, delete_queue, get, publish, unbind_exchange,
};

use crate::{Worth, guest};

const FRAME_MAX: u32 = 131_072;
const PATIENCE: Duration = Duration::from_secs(20);
const NAMES: &[&str] =
    &["q", "r", "", "x", "amq.topic", "amq.headers", "amq.rabbitmq.reply-to", "a.*", "#", "amq.direct"];
const KINDS: &[&str] =
    &["direct", "fanout", "topic", "headers", "x-delayed-message", "x-consistent-hash", "x-none"];
const ARGUMENTS: &[&str] = &[
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-priority",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-message-deduplication",
    "x-cache-size",
    "x-delayed-type",
    "alternate-exchange",
    "x-match",
    "x-priority",
    "hash-header",
    "x-delay",
    "CC",
    "BCC",
    "x-deduplication-header",
    "x-death",
    "mine",
];
const TEXTS: &[&str] = &[
    "q",
    "r",
    "x",
    "",
    "reject-publish",
    "reject-publish-dlx",
    "at-least-once",
    "quorum",
    "topic",
    "fanout",
    "any",
    "all-with-x",
    "1",
    "-1",
];

/// Fuzzes with these bytes.
pub fn fuzz(bytes: &[u8]) -> Worth {
    converse(&mut Unstructured::new(bytes)).into()
}

fn converse(bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut said = opening(bytes)?;
    for _ in 0..200 {
        if bytes.is_empty() {
            break;
        }
        say(bytes, &mut said)?;
    }
    let broker = TestBroker::with(guest::config());
    let mut socket = TcpStream::connect(broker.address()).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("an open socket takes options");
    // The broker may have closed meanwhile.
    let _ = socket.write_all(&said).and_then(|()| socket.shutdown(Shutdown::Write));
    let mut answer = vec![];
    match socket.read_to_end(&mut answer) {
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
        {
            panic!("the broker neither answers nor closes")
        }
        _ => check(&answer),
    }
    Peer::open(&broker).close();
    Ok(())
}

/// All that the broker says is frames, but for the header with which it answers another one.
fn check(mut answer: &[u8]) {
    if answer == PROTOCOL_HEADER {
        return;
    }
    while let Some(frame) = parse_frame(answer, FRAME_MAX).expect("well-formed frames") {
        match frame.kind {
            FrameKind::Method => drop(frame.method().expect("a well-formed method")),
            FrameKind::Header => {
                let header = ContentHeader::parse(frame.payload).expect("a well-formed header");
                // A client's own properties come back as they were sent.
                let _ = Properties::parse(header.properties);
            }
            FrameKind::Body | FrameKind::Heartbeat => {}
        }
        answer = &answer[frame.wire_len()..];
    }
    assert_eq!(answer, [0; 0], "the end of a frame is missing");
}

/// What opens a connection and channel 1; now and then it ends early.
fn opening(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut said = PROTOCOL_HEADER.to_vec();
    let client_properties = FieldTable::from_iter([(
        "capabilities",
        FieldTable::from_iter([
            ("consumer_cancel_notify", true),
            ("connection.blocked", true),
            ("authentication_failure_close", true),
        ]),
    )])
    .encode();
    let start_ok = connection::StartOk {
        client_properties: Table::parse(&client_properties).expect("just encoded"),
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    };
    let steps: [(u16, Method<'_>); 4] = [
        (0, start_ok.into()),
        (0, connection::TuneOk { channel_max: 3, frame_max: FRAME_MAX, heartbeat: 0 }.into()),
        (0, connection::Open { virtual_host: "/", reserved_1: "", reserved_2: false }.into()),
        (1, channel::Open { out_of_band: "" }.into()),
    ];
    let len = if bytes.ratio(1, 32)? { bytes.int_in_range(0..=3)? } else { 4 };
    steps.into_iter().take(len).for_each(|(number, method)| write_method(number, method, &mut said));
    Ok(said)
}

/// One thing that a client says.
fn say(bytes: &mut Unstructured<'_>, said: &mut Vec<u8>) -> Result<()> {
    let number = *bytes.choose(&[1, 1, 1, 1, 1, 2, 2, 0])?;
    match bytes.int_in_range(0..=31)? {
        0 => said.extend_from_slice(some(bytes)?),
        1 | 2 => {
            let kind = *bytes.choose(&[
                FrameKind::Method,
                FrameKind::Header,
                FrameKind::Body,
                FrameKind::Heartbeat,
            ])?;
            let start = begin_frame(kind, number, said);
            said.extend_from_slice(some(bytes)?);
            end_frame(start, said);
        }
        3..=10 => message(bytes, number, said)?,
        _ => method(bytes, number, said)?,
    }
    Ok(())
}

fn some<'a>(bytes: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let len = bytes.int_in_range(0..=24)?;
    bytes.bytes(len)
}

fn name(bytes: &mut Unstructured<'_>) -> Result<&'static str> {
    bytes.choose(NAMES).copied()
}

fn table(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len = bytes.int_in_range(0..=3)?;
    let pairs: Result<Vec<(String, Value)>> =
        (0..len).map(|_| Ok(((*bytes.choose(ARGUMENTS)?).into(), value(bytes, 2)?))).collect();
    Ok(FieldTable(pairs?).encode())
}

fn value(bytes: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    Ok(match bytes.int_in_range(0..=if depth == 0 { 5 } else { 7 })? {
        0 => Value::Void,
        1 => Value::Bool(bytes.arbitrary()?),
        2 => Value::I64(bytes.arbitrary()?),
        3 => Value::I32(bytes.int_in_range(-2..=300)?),
        4 => Value::Text(some(bytes)?.to_vec()),
        5 => Value::from(*bytes.choose(TEXTS)?),
        6 => Value::Array(vec![value(bytes, depth - 1)?, value(bytes, depth - 1)?]),
        _ => Value::Table(FieldTable(vec![((*bytes.choose(ARGUMENTS)?).into(), value(bytes, depth - 1)?)])),
    })
}

/// A publish with its content, which may be more or less than was announced.
fn message(bytes: &mut Unstructured<'_>, number: u16, said: &mut Vec<u8>) -> Result<()> {
    let (mandatory, immediate) = (bytes.ratio(1, 4)?, bytes.ratio(1, 64)?);
    let exchange = if bytes.arbitrary()? { "" } else { name(bytes)? };
    write_method(number, basic::Publish { mandatory, immediate, ..publish(exchange, name(bytes)?) }, said);
    let headers = table(bytes)?;
    let properties = Properties {
        headers: bytes.arbitrary::<bool>()?.then(|| Table::parse(&headers).expect("just encoded")),
        delivery_mode: bytes.arbitrary::<bool>()?.then_some(2),
        priority: bytes.arbitrary()?,
        expiration: if bytes.ratio(1, 4)? { Some(bytes.choose(TEXTS).copied()?) } else { None },
        message_id: if bytes.ratio(1, 4)? { Some(name(bytes)?) } else { None },
        reply_to: if bytes.ratio(1, 8)? { Some(name(bytes)?) } else { None },
        user_id: if bytes.ratio(1, 32)? { Some(name(bytes)?) } else { None },
        ..Properties::default()
    };
    let body = some(bytes)?;
    let announced = if bytes.ratio(1, 32)? { bytes.arbitrary()? } else { body.len() as u64 };
    ContentHeader { body_size: announced, properties: &properties.encode() }.write_frame(number, said);
    let frame_max = if bytes.ratio(1, 8)? { 10 } else { FRAME_MAX };
    write_body_frames(number, body, frame_max, said);
    Ok(())
}

fn method(bytes: &mut Unstructured<'_>, number: u16, said: &mut Vec<u8>) -> Result<()> {
    let arguments = table(bytes)?;
    let arguments = Table::parse(&arguments).expect("just encoded");
    let (one, other, key) = (name(bytes)?, name(bytes)?, name(bytes)?);
    let tag = bytes.int_in_range(0..=9)?;
    let [a, b, c, d, no_wait] = bytes.arbitrary::<[bool; 5]>()?;
    let method: Method<'_> = match bytes.int_in_range(0..=33)? {
        0 => channel::Open { out_of_band: "" }.into(),
        1 => close_channel().into(),
        2 => channel::CloseOk {}.into(),
        3 => channel::Flow { active: a }.into(),
        4 | 5 => exchange::Declare {
            passive: a && b,
            durable: b,
            auto_delete: c,
            internal: d && a,
            no_wait,
            arguments,
            ..declare_exchange(one, bytes.choose(KINDS)?)
        }
        .into(),
        6 => exchange::Delete { if_unused: a, no_wait, ..delete_exchange(one) }.into(),
        7 => exchange::Bind { no_wait, arguments, ..bind_exchange(one, other, key) }.into(),
        8 => exchange::Unbind { no_wait, arguments, ..unbind_exchange(one, other, key) }.into(),
        9..=12 => queue::Declare {
            passive: a && b,
            durable: b,
            exclusive: c,
            auto_delete: d,
            no_wait,
            arguments,
            ..declare_queue(one)
        }
        .into(),
        13 | 14 => {
            queue::Bind { ticket: 0, queue: one, exchange: other, routing_key: key, no_wait, arguments }
                .into()
        }
        15 => queue::Unbind { ticket: 0, queue: one, exchange: other, routing_key: key, arguments }.into(),
        16 => queue::Purge { ticket: 0, queue: one, no_wait }.into(),
        17 => queue::Delete { if_unused: a, if_empty: b, no_wait, ..delete_queue(one) }.into(),
        18 => {
            basic::Qos { prefetch_size: u32::from(a && b && c && d), prefetch_count: tag, global: a }.into()
        }
        19..=21 => basic::Consume {
            no_local: a,
            no_ack: b,
            exclusive: c && d,
            no_wait,
            arguments,
            ..consume(one, other)
        }
        .into(),
        22 => basic::Cancel { no_wait, ..cancel(one) }.into(),
        23 => basic::Get { no_ack: a, ..get(one) }.into(),
        24 | 25 => basic::Ack { delivery_tag: tag.into(), multiple: a }.into(),
        26 => basic::Reject { delivery_tag: tag.into(), requeue: a }.into(),
        27 => basic::Nack { delivery_tag: tag.into(), multiple: a, requeue: b }.into(),
        28 => {
            if a {
                basic::Recover { requeue: b }.into()
            } else {
                basic::RecoverAsync { requeue: b }.into()
            }
        }
        29 => confirm::Select { no_wait }.into(),
        30 => tx::Select {}.into(),
        31 => {
            if a {
                tx::Commit {}.into()
            } else {
                tx::Rollback {}.into()
            }
        }
        32 => connection::UpdateSecret { new_secret: b"guest", reason: one }.into(),
        _ => {
            if a && b && c {
                close_connection().into()
            } else {
                connection::CloseOk {}.into()
            }
        }
    };
    let number = if matches!(method, Method::Connection(_)) && !d { 0 } else { number };
    write_method(number, method, said);
    Ok(())
}
