//! What holds of any bytes: nothing panics, and what is read is written as it was read.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use leveret_amqp::{
    ContentHeader, DecodeError, Frame, FrameKind, Method, Properties, Reader, Table, Value, begin_frame,
    end_frame, parse_frame,
};

const FRAME_MAX: u32 = 4096;

/// Takes the bytes for everything that they could be.
pub fn check(bytes: &[u8]) {
    frames(bytes);
    method(bytes);
    table(bytes);
    properties(bytes);
    header(bytes);
}

fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let parsed = parse_frame(rest, FRAME_MAX);
        found_as_soon_as_it_is_there(rest, parsed);
        let Ok(Some(frame)) = parsed else { return };
        let mut again = vec![];
        let start = begin_frame(frame.kind, frame.channel, &mut again);
        again.extend_from_slice(frame.payload);
        end_frame(start, &mut again);
        assert_eq!(again, rest[..frame.wire_len()]);
        match frame.kind {
            FrameKind::Method => method(frame.payload),
            FrameKind::Header => header(frame.payload),
            FrameKind::Body | FrameKind::Heartbeat => {}
        }
        rest = &rest[frame.wire_len()..];
    }
}

/// Less of the bytes is the same frame, the same error, or not enough.
fn found_as_soon_as_it_is_there(bytes: &[u8], parsed: Result<Option<Frame<'_>>, DecodeError>) {
    for len in (0..bytes.len().min(10)).chain([bytes.len().saturating_sub(1)]) {
        let less = parse_frame(&bytes[..len], FRAME_MAX);
        assert!(less == Ok(None) || less == parsed, "{less:?} of {len} bytes, {parsed:?} of all");
    }
}

fn method(payload: &[u8]) {
    let Ok(method) = Method::read(&mut Reader::new(payload)) else { return };
    let mut again = vec![];
    method.write(&mut again);
    assert_eq!(again.len(), payload.len());
    let read = Method::read(&mut Reader::new(&again)).unwrap();
    assert_eq!(read.ids(), method.ids());
    assert_eq!(format!("{read:?}"), format!("{method:?}"));
}

fn table(bytes: &[u8]) {
    let Ok(table) = Table::parse(bytes) else { return };
    let owned = table.to_owned();
    assert_eq!(table.iter().count(), owned.0.len());
    for (name, value) in table {
        let _ = (value.as_i64(), value.as_str(), value.items().count());
        let _ = std::str::from_utf8(name).map(|name| assert!(table.find(name).is_some()));
    }
    // Names become text when they are owned: from then on nothing changes any more.
    let encoded = owned.encode();
    let again = Table::parse(&encoded).unwrap();
    assert_eq!(again.to_owned().encode(), encoded);
    assert_eq!(again.iter().count(), owned.0.len());
    let values = owned.0.iter().map(|(_, value)| value);
    assert!(values.zip(again.to_owned().0).all(|(value, (_, again))| is_same(value, &again)));
}

/// Whether it is the same value, one that is no number included.
fn is_same(one: &Value, other: &Value) -> bool {
    format!("{one:?}") == format!("{other:?}") || matches!(one, Value::Table(_) | Value::Array(_))
}

fn properties(bytes: &[u8]) {
    let Ok(properties) = Properties::parse(bytes) else { return };
    assert_eq!(properties.encode(), bytes);
    let _ = properties.mode();
    if let Some(headers) = properties.headers {
        table(headers.as_bytes());
    }
}

fn header(payload: &[u8]) {
    let Ok(header) = ContentHeader::parse(payload) else { return };
    let mut again = vec![];
    header.write_frame(1, &mut again);
    let frame = parse_frame(&again, 0).unwrap().unwrap();
    assert_eq!(ContentHeader::parse(frame.payload), Ok(header));
    properties(header.properties);
}
