//! What goes out comes back in, and nothing that comes in makes the codec panic.

#[path = "support/round_trip.rs"]
mod round_trip;

use leveret_amqp::{
    ContentHeader, DecodeError, FieldTable, FrameKind, Method, Properties, ReplyCode, Table, Value, basic,
    connection, exchange, parse_frame, queue, write_body_frames, write_heartbeat, write_method,
};
use proptest::prelude::*;

fn method_bytes<'a>(method: impl Into<Method<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    write_method(7, method, &mut out);
    out
}

fn assert_round_trip<'a>(method: impl Into<Method<'a>>) {
    let method = method.into();
    let bytes = method_bytes(method);
    let frame = parse_frame(&bytes, 4096).expect("no error").expect("a whole frame");
    assert_eq!((frame.kind, frame.channel), (FrameKind::Method, 7));
    assert_eq!(frame.method().as_ref(), Ok(&method));
}

#[test]
fn methods_come_back() {
    let arguments = FieldTable::from_iter([("x-delayed-type", "direct")]).encode();
    let arguments = Table::parse(&arguments).unwrap();
    assert_round_trip(connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 });
    assert_round_trip(basic::Nack { delivery_tag: 1 << 40, multiple: false, requeue: true });
    assert_round_trip(exchange::Declare {
        ticket: 0,
        exchange: "UserDelayExchange",
        kind: "x-delayed-message",
        passive: false,
        durable: true,
        auto_delete: false,
        internal: true,
        no_wait: true,
        arguments,
    });
    assert_round_trip(queue::DeclareOk { queue: "", message_count: 3, consumer_count: u32::MAX });
}

#[test]
fn consecutive_bits_share_an_octet() {
    let bytes = method_bytes(basic::Publish {
        ticket: 0,
        exchange: "e",
        routing_key: "k",
        mandatory: true,
        immediate: true,
    });
    assert_eq!(bytes, b"\x01\0\x07\0\0\0\x0b\0\x3c\0\x28\0\0\x01e\x01k\x03\xCE");
}

#[test]
fn properties_come_back() {
    let headers = FieldTable(vec![
        ("x-delay".into(), Value::I32(1500)),
        (
            "nested".into(),
            Value::Array(vec![Value::Void, Value::Table(FieldTable::default()), Value::F64(0.5)]),
        ),
    ])
    .encode();
    let properties = Properties {
        content_type: Some("text/plain"),
        headers: Some(Table::parse(&headers).unwrap()),
        delivery_mode: Some(2),
        timestamp: Some(1),
        cluster_id: Some("c"),
        ..Properties::default()
    };
    let bytes = properties.encode();
    assert_eq!(Properties::parse(&bytes).unwrap(), properties);
    assert_eq!(properties.headers.unwrap().find("x-delay").unwrap().as_i64(), Some(1500));
}

#[test]
fn a_body_is_cut_at_frame_max() {
    let mut out = Vec::new();
    write_body_frames(1, &[7; 10_000], 4096, &mut out);
    let mut sizes = Vec::new();
    let mut rest = out.as_slice();
    while let Some(frame) = parse_frame(rest, 4096).unwrap() {
        sizes.push(frame.payload.len());
        rest = &rest[frame.wire_len()..];
    }
    assert_eq!(sizes, [4088, 4088, 1824]);
}

#[test]
fn malformed_frames_are_named_as_soon_as_they_can_be() {
    assert_eq!(parse_frame(b"", 4096), Ok(None));
    assert_eq!(parse_frame(b"\x01\0\0\0\0", 4096), Ok(None));
    assert_eq!(parse_frame(b"\x05", 4096), Err(DecodeError::FrameType(5)));
    let too_large = parse_frame(b"\x03\0\x01\0\0\x10\x00", 4096).unwrap_err();
    assert_eq!(too_large, DecodeError::FrameTooLarge { size: 4104, max: 4096 });
    assert_eq!(too_large.reply_code(), ReplyCode::FRAME_ERROR);
    assert_eq!(parse_frame(b"\x08\0\0\0\0\0\0\xCD", 4096), Err(DecodeError::FrameEnd));
}

#[test]
fn deep_tables_are_refused() {
    let mut table = FieldTable::default();
    for _ in 0..100 {
        table = FieldTable(vec![("t".into(), Value::Table(table))]);
    }
    assert_eq!(Table::parse(&table.encode()), Err(DecodeError::TooDeep(64)));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Void),
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        (-1e30f32..1e30).prop_map(Value::F32),
        (-1e300f64..1e300).prop_map(Value::F64),
        any::<(u8, i32)>().prop_map(|(scale, v)| Value::Decimal(scale, v)),
        any::<Vec<u8>>().prop_map(Value::Text),
        any::<Vec<u8>>().prop_map(Value::Binary),
        any::<u64>().prop_map(Value::Timestamp),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(("[a-z]{0,8}", inner), 0..4)
                .prop_map(|pairs| Value::Table(FieldTable(pairs))),
        ]
    })
}

proptest! {
    #[test]
    fn tables_come_back(pairs in prop::collection::vec(("\\PC{0,20}", value()), 0..6)) {
        let table = FieldTable(pairs);
        prop_assert_eq!(Table::parse(&table.encode()).unwrap().to_owned(), table);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        round_trip::check(&bytes);
    }

    #[test]
    fn no_method_bytes_make_it_panic(
        class in prop::sample::select(vec![10u16, 20, 40, 50, 60, 85, 90]),
        method in 0u16..130,
        fields in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let bytes = [&class.to_be_bytes()[..], &method.to_be_bytes(), &fields].concat();
        round_trip::check(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = conversation();
        for (at, byte) in &damage {
            *at.get_mut(&mut bytes) = *byte;
        }
        // Read as it stands, and from every place where a frame could begin.
        round_trip::check(&bytes);
        round_trip::check(&bytes[cut.index(bytes.len())..]);
    }
}

/// Frames of all kinds, with tables and properties in them.
fn conversation() -> Vec<u8> {
    let inner = FieldTable(vec![("count".into(), Value::I64(1)), ("queue".into(), "q".into())]);
    let table = FieldTable(vec![
        ("x-death".into(), Value::Array(vec![Value::Table(inner), Value::Decimal(2, 7)])),
        ("x-delay".into(), Value::I32(1500)),
    ]);
    let table = table.encode();
    let arguments = Table::parse(&table).expect("it is well-formed");
    let (client_properties, headers) = (arguments, Some(arguments));
    let properties =
        Properties { headers, content_type: Some("text/plain"), ..Properties::default() }.encode();
    let mut out = Vec::new();
    let start_ok =
        connection::StartOk { client_properties, mechanism: "PLAIN", response: b"\0g\0g", locale: "en_US" };
    write_method(0, start_ok, &mut out);
    let publish =
        basic::Publish { ticket: 0, exchange: "e", routing_key: "k", mandatory: true, immediate: false };
    write_method(1, publish, &mut out);
    ContentHeader { body_size: 5000, properties: &properties }.write_frame(1, &mut out);
    write_body_frames(1, &[7; 5000], 4096, &mut out);
    let bind =
        queue::Bind { ticket: 0, queue: "q", exchange: "e", routing_key: "k", no_wait: false, arguments };
    write_method(2, bind, &mut out);
    write_heartbeat(&mut out);
    out
}
