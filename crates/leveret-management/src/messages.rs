//! Publishing and fetching for the API, by the same calls of the core as a channel's, and counted as a channel's are.

use std::sync::Arc;

use leveret_broker::{
    Client, Effects, Message, MessageTotals, Properties, Queue, Receipt, Settlement, Vhost,
    properties_without_bcc, route_of,
};

use crate::App;
use crate::error::Refusal;

/// A message to be published.
pub(crate) struct Publish<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    /// Encoded.
    pub(crate) properties: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// Publishes a message and waits until it is kept; returns whether it went anywhere. While publishers are blocked, who asks
/// hears why instead of waiting: a request cannot be held up as a connection is.
pub(crate) async fn publish(
    app: &App,
    vhost: &Arc<Vhost>,
    publish: &Publish<'_>,
    client: &Client,
) -> Result<bool, Refusal> {
    if let Some(reason) = app.node.blocked() {
        return Err(Refusal::Unavailable(format!("publishers are blocked: {reason}")));
    }
    let position = {
        let mut effects = Effects::at(app.node.now());
        if !route(vhost, publish, client, &mut effects)? {
            let done =
                MessageTotals { publish: 1, confirm: 1, return_unroutable: 1, ..MessageTotals::default() };
            app.node.broker().connections.note_done(&vhost.name, done);
            return Ok(false);
        }
        carry_out(vhost, &mut effects);
        if let Some(failure) = effects.failure.take() {
            return Err(Refusal::Unavailable(failure.to_string()));
        }
        if effects.rejected {
            return Err(Refusal::bad("a queue that the message is routed to is full"));
        }
        effects.position
    };
    let done = MessageTotals { publish: 1, confirm: 1, ..MessageTotals::default() };
    app.node.broker().connections.note_done(&vhost.name, done);
    if let Some(position) = position {
        app.node.committed(position).await.map_err(Refusal::Unavailable)?;
    }
    Ok(true)
}

fn route(
    vhost: &Vhost,
    publish: &Publish<'_>,
    client: &Client,
    effects: &mut Effects,
) -> Result<bool, Refusal> {
    let Publish { exchange, routing_key, properties, body } = *publish;
    let parsed = Properties::parse(properties).map_err(|error| Refusal::bad(error.to_string()))?;
    let user = client.access.user();
    if let Some(named) = parsed.user_id.filter(|named| **named != **user) {
        let reason = format!("user_id: '{named}' is not who publishes, which is '{user}'");
        return Err(Refusal::bad(reason));
    }
    if let Some(expiration) = parsed.expiration.filter(|expiration| expiration.parse::<u64>().is_err()) {
        return Err(Refusal::bad(format!("expiration: expected milliseconds, found {expiration}")));
    }
    let (routing, delay_ms) = vhost.route((exchange, routing_key), &parsed, client)?;
    if !routing.matched {
        return Ok(false);
    }
    let route = route_of(exchange, routing_key);
    let mut message = Message {
        route: &route,
        properties,
        body,
        persistent: parsed.delivery_mode == Some(2),
        expiration_ms: parsed.expiration.and_then(|expiration| expiration.parse().ok()),
        record: None,
    };
    if let Some(delay_ms) = delay_ms {
        vhost.hold(&routing.route, &message, (delay_ms, effects.now), effects);
    }
    let without_bcc = properties_without_bcc(&parsed);
    if let Some(properties) = &without_bcc {
        message.properties = properties;
    }
    routing.route.publish(std::slice::from_ref(&message), effects);
    Ok(true)
}

/// What a fetched message is, and what may be done with it.
pub(crate) struct Fetched {
    pub(crate) message: leveret_broker::Fetched,
    receipt: Option<Receipt>,
}

/// Fetches up to so many messages, and settles them in that way, or, with `None`, fetches without acknowledgement.
pub(crate) fn fetch(
    app: &App,
    vhost: &Arc<Vhost>,
    queue: &Arc<Queue>,
    count: usize,
    settlement: Settlement,
) -> Vec<Fetched> {
    let mut effects = Effects::at(app.node.now());
    let mut fetched = Vec::new();
    while fetched.len() < count
        && let Some(message) = vhost.get(queue, false, None, &mut effects)
    {
        fetched.push(Fetched { receipt: message.receipt, message });
    }
    let receipts: Vec<Receipt> = fetched.iter().filter_map(|one| one.receipt).collect();
    queue.settle(&receipts, settlement, &mut effects);
    carry_out(vhost, &mut effects);
    let done = MessageTotals {
        get: fetched.len() as u64,
        get_empty: u64::from(fetched.is_empty()),
        ack: if settlement == Settlement::Acked { fetched.len() as u64 } else { 0 },
        redeliver: fetched.iter().filter(|one| one.message.redelivered).count() as u64,
        ..MessageTotals::default()
    };
    app.node.broker().connections.note_done(&vhost.name, done);
    fetched
}

/// What was set off elsewhere.
pub(crate) fn carry_out(vhost: &Vhost, effects: &mut Effects) {
    vhost.carry_out(effects);
    effects.flush();
    effects.congested.clear();
}
