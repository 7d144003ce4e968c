//! What the codec costs a message: reading a publish, writing a delivery, and field tables.
//! `cargo bench -p leveret-amqp`
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use leveret_amqp::{
    ContentHeader, FieldTable, FrameKind, Method, Properties, Table, Value, ValueRef, basic, parse_frame,
    write_body_frames, write_method,
};

const FRAME_MAX: u32 = 131_072;
const SIZES: [usize; 3] = [16, 1024, 65_536];

/// Method, header and body of a message.
fn write_content<'a>(method: impl Into<Method<'a>>, properties: &[u8], body: &[u8], out: &mut Vec<u8>) {
    write_method(1, method, out);
    ContentHeader { body_size: body.len() as u64, properties }.write_frame(1, out);
    write_body_frames(1, body, FRAME_MAX, out);
}

fn publish(size: usize) -> Vec<u8> {
    let publish = basic::Publish {
        ticket: 0,
        exchange: "UserExchange",
        routing_key: "userreg",
        mandatory: true,
        immediate: false,
    };
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() }.encode();
    let mut out = Vec::new();
    write_content(publish, &properties, &vec![7; size], &mut out);
    out
}

/// Reads all frames as a server does; returns what it saw, lest the reading be optimised away.
fn read(mut bytes: &[u8]) -> usize {
    let mut seen = 0;
    while let Some(frame) = parse_frame(bytes, FRAME_MAX).unwrap() {
        seen += match frame.kind {
            FrameKind::Method => match frame.method().unwrap() {
                Method::Basic(basic::Method::Publish(publish)) => publish.routing_key.len(),
                _ => 0,
            },
            FrameKind::Header => {
                let header = ContentHeader::parse(frame.payload).unwrap();
                usize::from(Properties::parse(header.properties).unwrap().delivery_mode.unwrap())
            }
            _ => frame.payload.len(),
        };
        bytes = &bytes[frame.wire_len()..];
    }
    seen
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for size in SIZES {
        group.throughput(Throughput::Elements(1));
        let bytes = publish(size);
        group.bench_function(format!("read a publish of {size} B"), |bench| {
            bench.iter(|| read(black_box(&bytes)));
        });
        let (properties, body) = (Properties::default().encode(), vec![7; size]);
        let mut out = Vec::with_capacity(size + 1024);
        group.bench_function(format!("write a delivery of {size} B"), |bench| {
            bench.iter(|| {
                out.clear();
                write_content(delivery(), &properties, black_box(&body), &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

fn delivery() -> basic::Deliver<'static> {
    basic::Deliver {
        consumer_tag: "ctag-1",
        delivery_tag: 1,
        redelivered: false,
        exchange: "UserExchange",
        routing_key: "userreg",
    }
}

fn tables(criterion: &mut Criterion) {
    let nested = FieldTable::from_iter([("reason", "expired"), ("queue", "UserQueue")]);
    let table = FieldTable(vec![
        ("x-delay".into(), Value::I32(3000)),
        ("x-retries".into(), Value::I64(2)),
        ("tenant".into(), Value::from("a tenant's name")),
        ("x-death".into(), Value::Array(vec![Value::Table(nested)])),
    ]);
    let bytes = table.encode();
    let mut group = criterion.benchmark_group("table");
    group.bench_function("check and find", |bench| {
        bench.iter(|| Table::parse(black_box(&bytes)).unwrap().find("x-delay").and_then(ValueRef::as_i64));
    });
    group.bench_function("to owned", |bench| {
        bench.iter(|| Table::parse(black_box(&bytes)).unwrap().to_owned());
    });
    group.bench_function("encode", |bench| bench.iter(|| black_box(&table).encode()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots();
    targets = messages, tables
}
criterion_main!(benches);
