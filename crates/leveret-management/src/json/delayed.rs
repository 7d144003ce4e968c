//! Messages that are held back.

use leveret_broker::{DelayedExchange, DelayedMessage, DueCell, Time, route_of};
use serde_json::{Map, Value, json};

use super::message::{Encoding, message};
use super::milliseconds;
use crate::list::Fields;

/// An exchange that holds messages back, of that virtual host.
pub(crate) fn put(vhost: &str, exchange: &DelayedExchange, fields: &mut Fields<'_>) {
    let totals = exchange.totals();
    fields.put("name", || &*exchange.name);
    fields.put("vhost", || vhost);
    fields.put("messages_delayed", || totals.messages);
    fields.put("bytes", || totals.bytes);
    fields.put("transient_messages", || totals.transient_messages);
    fields.put("next_due", || next_due(exchange).map_or(Value::Null, milliseconds));
    fields.put("held", || totals.held_count);
    fields.put("released", || totals.released_count);
    fields.put("dropped", || totals.dropped_count);
    fields.put("cancelled", || totals.cancelled_count);
}

/// When the next message is due. What the totals tell is a bound only, and can be past where older ones have left.
fn next_due(exchange: &DelayedExchange) -> Option<Time> {
    let first = exchange.list(None, Time::NEVER, 1).ok().and_then(|first| Some(first.first()?.id.due()));
    first.or_else(|| exchange.totals().next_due)
}

/// A held message, with at most `truncate` bytes of its body.
pub(crate) fn held(held: &DelayedMessage, truncate: Option<usize>) -> Map<String, Value> {
    let route = route_of(&held.exchange, &held.routing_key);
    let mut object = message((&route, &held.properties, &held.body), Encoding::Auto, truncate);
    object.insert("id".into(), held.id.to_string().into());
    object.insert("due".into(), milliseconds(held.id.due()));
    object.insert("durable".into(), held.durable.into());
    object
}

/// How many messages are due when, in at most `most` stretches of equal length.
pub(crate) fn histogram(cells: &[DueCell], (from, to): (Time, Time), most: u64) -> Value {
    let width = (to.0.saturating_sub(from.0)).div_ceil(most.max(1)).max(1);
    let mut bars: Vec<(u64, u64, u64)> = Vec::new();
    for cell in cells {
        let start = from.0 + (cell.from.0.max(from.0) - from.0) / width * width;
        match bars.last_mut() {
            Some((last, messages, bytes)) if *last == start => {
                *messages += cell.messages;
                *bytes += cell.bytes;
            }
            _ => bars.push((start, cell.messages, cell.bytes)),
        }
    }
    let bars = bars.iter().map(|(start, messages, bytes)| {
        json!({ "from": start / 1000, "to": (start + width) / 1000, "messages": messages, "bytes": bytes })
    });
    json!({ "from": milliseconds(from), "to": milliseconds(to), "cells": bars.collect::<Vec<_>>() })
}
