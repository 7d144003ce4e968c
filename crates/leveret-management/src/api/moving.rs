//! Moving messages from queue to queue, and dead letters back to where they came from.
//!
//! A message is acknowledged in its old queue once the new one has kept it, on disk if it is persistent: none is lost
//! whatever happens meanwhile. A crash between the two leaves it in both.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use leveret_broker::{
    Client, Effects, Fetched, Message, MessageTotals, Operation, Properties, Queue, Receipt, Resource,
    Route as Way, Settlement, Table, ValueRef, Vhost, route_of,
};
use serde_json::{Value, json};

use super::{Route, post};
use crate::App;
use crate::access::Access;
use crate::body::Body;
use crate::error::Refusal;
use crate::messages;

/// Messages taken at a time.
const RUN: usize = 256;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post(
            "/queues/{vhost}/{queue}/move",
            "Moves ready messages to another queue: destination, count",
            shift,
        ),
        post(
            "/queues/{vhost}/{queue}/replay",
            "Sends dead letters back to the queues that they came from: count",
            replay,
        ),
    ]
}

async fn shift(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let (vhost, from, client) = source(&app, &access, &vhost, &name)?;
    let name = body.required_text("destination")?;
    let to = vhost
        .queue(name, client.owner)
        .map_err(|error| Refusal::bad(format!("destination: {}", error.text)))?;
    if Arc::ptr_eq(&from, &to) {
        return Err(Refusal::bad("destination: it is the queue itself"));
    }
    let most = most(&body, &from)?;
    let to_it = move |fetched: &Fetched| {
        let Fetched { route, properties, .. } = fetched;
        Some(Onward { to: Arc::clone(&to), route: route.clone(), properties: properties.clone() })
    };
    let (moved, _) = transfer(Transfer { app, vhost, from, most }, to_it).await?;
    Ok(Json(json!({ "moved": moved })))
}

async fn replay(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let (vhost, from, client) = source(&app, &access, &vhost, &name)?;
    let most = most(&body, &from)?;
    let within = Arc::clone(&vhost);
    let home = move |fetched: &Fetched| origin(&within, &client, fetched);
    let (replayed, left) = transfer(Transfer { app, vhost, from, most }, home).await?;
    Ok(Json(json!({ "replayed": replayed, "left": left })))
}

/// The queue of a path, for somebody who may read from it and publish to any other.
fn source(
    app: &App,
    access: &Access,
    vhost: &str,
    name: &str,
) -> Result<(Arc<Vhost>, Arc<Queue>, Client), Refusal> {
    let vhost = access.vhost(app, vhost)?;
    let client = access.client(app, &vhost.name);
    let queue = vhost.queue_to_read(name, &client)?;
    client.access.check(Operation::Write, Resource::Exchange(""))?;
    Ok((vhost, queue, client))
}

/// How many messages to look at; those that are ready now where nothing is said.
fn most(body: &Body, queue: &Queue) -> Result<usize, Refusal> {
    match body.number("count")? {
        None => Ok(queue.ready_count()),
        Some(count) => {
            let count = usize::try_from(count).ok().filter(|count| *count > 0);
            let count = count.ok_or_else(|| Refusal::bad("count: expected 1 or more"))?;
            Ok(count.min(queue.ready_count()))
        }
    }
}

/// Where a message goes on to, and as what.
struct Onward {
    to: Arc<Queue>,
    route: Vec<u8>,
    properties: Vec<u8>,
}

/// The queue that a dead letter came from last, and the message as it was there. `None` for what is no dead letter, and
/// where that queue is gone.
fn origin(vhost: &Vhost, client: &Client, fetched: &Fetched) -> Option<Onward> {
    let properties = Properties::parse(&fetched.properties).ok()?;
    let headers = properties.headers?;
    let ValueRef::Table(death) = headers.find("x-death")?.items().next()? else { return None };
    let to = vhost.queue(death.find("queue")?.as_str()?, client.owner).ok()?;
    let exchange = death.find("exchange").and_then(ValueRef::as_str).unwrap_or_default();
    let key = death.find("routing-keys").and_then(|keys| keys.items().next()?.as_str()).unwrap_or_default();
    let mut headers = headers.to_owned();
    headers.0.retain(|(name, _)| !is_of_death(name));
    let headers = headers.encode();
    let properties = Properties { headers: Some(Table::parse(&headers).ok()?), ..properties }.encode();
    Some(Onward { to, route: route_of(exchange, key), properties })
}

/// A replayed message begins anew: counted deaths would park it at once in systems that count them.
fn is_of_death(header: &str) -> bool {
    header == "x-death" || header.starts_with("x-first-death-") || header.starts_with("x-last-death-")
}

/// A queue whose messages go elsewhere.
struct Transfer {
    app: App,
    vhost: Arc<Vhost>,
    from: Arc<Queue>,
    most: usize,
}

/// Sends messages on; returns how many went and how many stayed. It is finished even if nobody waits for it any more, so
/// that no message is left unacknowledged.
async fn transfer(
    transfer: Transfer,
    onward: impl Fn(&Fetched) -> Option<Onward> + Send + 'static,
) -> Result<(usize, usize), Refusal> {
    let done = tokio::spawn(async move { transfer.run(onward).await });
    done.await.map_err(|error| Refusal::Unavailable(error.to_string()))?
}

/// A part of a queue's messages on their way.
#[derive(Default)]
struct Run {
    sent: Vec<Receipt>,
    stayed: Vec<Receipt>,
    position: Option<leveret_broker::Lsn>,
    refusal: Option<Refusal>,
}

impl Transfer {
    async fn run(self, onward: impl Fn(&Fetched) -> Option<Onward>) -> Result<(usize, usize), Refusal> {
        let (mut sent, mut stayed, mut looked_at) = (0, Vec::new(), 0);
        let mut result = Ok(());
        while looked_at < self.most && result.is_ok() {
            let mut run = self.take(RUN.min(self.most - looked_at), &onward);
            if run.sent.is_empty() && run.stayed.is_empty() {
                break;
            }
            looked_at += run.sent.len() + run.stayed.len();
            if let Some(position) = run.position.take()
                && let Err(reason) = self.app.node.committed(position).await
            {
                run.refusal = Some(Refusal::Unavailable(reason));
                stayed.append(&mut run.sent);
            }
            sent += run.sent.len();
            stayed.append(&mut run.stayed);
            self.settle(&run.sent, Settlement::Acked);
            result = run.refusal.map_or(Ok(()), Err);
        }
        self.settle(&stayed, Settlement::PutBack);
        self.count(sent, looked_at);
        result.map(|()| (sent, stayed.len()))
    }

    /// Takes messages out and hands them on. A queue that is full or deleted, and a store that has failed, end it.
    fn take(&self, count: usize, onward: &impl Fn(&Fetched) -> Option<Onward>) -> Run {
        let mut effects = Effects::at(self.app.node.now());
        let mut run = Run::default();
        while run.sent.len() + run.stayed.len() < count
            && run.refusal.is_none()
            && let Some(fetched) = self.vhost.get(&self.from, false, None, &mut effects)
        {
            let Some(receipt) = fetched.receipt else { continue };
            let Some(onward) = onward(&fetched) else {
                run.stayed.push(receipt);
                continue;
            };
            run.refusal = hand_on(onward, &fetched.body, &mut effects).err();
            if run.refusal.is_none() { run.sent.push(receipt) } else { run.stayed.push(receipt) }
        }
        run.position = effects.position;
        messages::carry_out(&self.vhost, &mut effects);
        run
    }

    fn settle(&self, receipts: &[Receipt], settlement: Settlement) {
        let mut effects = Effects::at(self.app.node.now());
        self.from.settle(receipts, settlement, &mut effects);
        messages::carry_out(&self.vhost, &mut effects);
    }

    fn count(&self, sent: usize, looked_at: usize) {
        let (sent, get) = (sent as u64, looked_at as u64);
        let done = MessageTotals { publish: sent, confirm: sent, ack: sent, get, ..MessageTotals::default() };
        self.app.node.broker().connections.note_done(&self.vhost.name, done);
    }
}

fn hand_on(onward: Onward, body: &[u8], effects: &mut Effects) -> Result<(), Refusal> {
    let properties = Properties::parse(&onward.properties).unwrap_or_default();
    let message = Message {
        route: &onward.route,
        properties: &onward.properties,
        body,
        persistent: properties.delivery_mode == Some(2),
        expiration_ms: properties.expiration.and_then(|expiration| expiration.parse().ok()),
        record: None,
    };
    let name = Arc::clone(&onward.to.name);
    (effects.rejected, effects.gone) = (false, false);
    Way { queues: vec![onward.to], ..Way::default() }.publish(&[message], effects);
    if let Some(failure) = effects.failure.take() {
        return Err(Refusal::Unavailable(failure.to_string()));
    }
    if std::mem::take(&mut effects.rejected) {
        return Err(Refusal::bad(format!("queue '{name}' is full")));
    }
    if effects.gone {
        return Err(Refusal::bad(format!("queue '{name}' is deleted")));
    }
    Ok(())
}
