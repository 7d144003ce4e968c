//! Messages that exchanges of type `x-delayed-message` hold back. RabbitMQ has nothing like it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leveret_broker::{
    Client, DelayedExchange, Effects, HeldId, Operation, Resource, StoreError, Time, Vhost,
};
use serde_json::{Value, json};

use super::{Route, delete, get, post, put};
use crate::App;
use crate::access::Access;
use crate::body::Body;
use crate::error::Refusal;
use crate::json::delayed;
use crate::list::{Columns, Listing};
use crate::messages::carry_out;
use crate::parameters::Parameters;

/// Messages listed where nothing else is said, and at most.
const USUAL: usize = 100;
const MOST: usize = 1000;
/// Bytes of each body in a list.
const SHOWN_BYTES: usize = 50_000;
/// Bars of a histogram where nothing else is said, and at most.
const BARS: u64 = 60;
const MOST_BARS: u64 = 1000;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/delayed", "Exchanges that hold messages back", list),
        get("/delayed/{vhost}", "Those of a virtual host", list_of_vhost),
        get("/delayed/{vhost}/{exchange}", "How much an exchange holds and has held", show),
        get(
            "/delayed/{vhost}/{exchange}/histogram",
            "How many are due when: from, to in ms since 1970, bars",
            histogram,
        ),
        get(
            "/delayed/{vhost}/{exchange}/messages",
            "Held messages by due time: limit, after, until, message_id",
            messages,
        ),
        delete(
            "/delayed/{vhost}/{exchange}/messages",
            "Cancels what matches message_id, routing_key, from, until; all where nothing is said",
            cancel_many,
        ),
        get("/delayed/{vhost}/{exchange}/messages/{id}", "A held message", message),
        put(
            "/delayed/{vhost}/{exchange}/messages/{id}",
            "Has it wait until `due`, or for `delay_ms` from now",
            reschedule,
        ),
        delete("/delayed/{vhost}/{exchange}/messages/{id}", "Cancels a message", cancel),
        post("/delayed/{vhost}/{exchange}/messages/{id}/release", "Releases a message now", release),
    ]
}

fn respond(vhosts: Vec<Arc<Vhost>>, parameters: &Parameters) -> Result<Response, Refusal> {
    let all = vhosts.into_iter().flat_map(|vhost| {
        let exchanges = vhost.delayed_exchanges();
        exchanges.into_iter().map(move |exchange| (Arc::clone(&vhost.name), exchange))
    });
    Listing::from(parameters)?.respond(
        all.collect(),
        |(vhost, exchange)| (vhost, &exchange.name),
        |(vhost, exchange), fields| delayed::put(vhost, exchange, fields),
    )
}

async fn list(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    respond(access.vhosts(&app), &parameters)
}

async fn list_of_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    respond(vec![access.vhost(&app, &vhost)?], &parameters)
}

/// An exchange that a path names, and who asks for it.
struct Place {
    vhost: Arc<Vhost>,
    exchange: Arc<DelayedExchange>,
    client: Client,
}

impl Place {
    /// For somebody who looks: it takes the permission to read from the exchange.
    fn to_look(app: &App, access: &Access, (vhost, exchange): (&str, &str)) -> Result<Self, Refusal> {
        let place = Self::find(app, access, vhost, exchange)?;
        place.client.access.check(Operation::Read, Resource::Exchange(exchange))?;
        Ok(place)
    }

    /// For somebody who takes messages away or has them come at another time: it takes the permission to configure the
    /// exchange, as deleting it would, which deletes what it holds.
    fn to_change(app: &App, access: &Access, (vhost, exchange): (&str, &str)) -> Result<Self, Refusal> {
        let place = Self::find(app, access, vhost, exchange)?;
        place.client.access.check(Operation::Configure, Resource::Exchange(exchange))?;
        Ok(place)
    }

    fn find(app: &App, access: &Access, vhost: &str, exchange: &str) -> Result<Self, Refusal> {
        let vhost = access.vhost(app, vhost)?;
        let exchange = vhost.delayed_exchange(exchange)?;
        Ok(Self { client: access.client(app, &vhost.name), vhost, exchange })
    }
}

fn disk(error: StoreError) -> Refusal {
    Refusal::Unavailable(error.to_string())
}

fn id(text: &str) -> Result<HeldId, Refusal> {
    text.parse().map_err(|()| Refusal::NotFound)
}

/// A moment that a parameter names in milliseconds since 1970.
fn moment(parameters: &Parameters, name: &str) -> Result<Option<Time>, Refusal> {
    let Some(text) = parameters.text(name) else { return Ok(None) };
    let ms: u64 = text
        .parse()
        .map_err(|_| Refusal::bad(format!("{name}: expected milliseconds since 1970, found {text}")))?;
    Ok(Some(Time::default().plus_ms(ms)))
}

fn number(parameters: &Parameters, name: &str, usual: u64, most: u64) -> Result<u64, Refusal> {
    let Some(text) = parameters.text(name) else { return Ok(usual) };
    let number: u64 =
        text.parse().map_err(|_| Refusal::bad(format!("{name}: expected a number, found {text}")))?;
    Ok(number.clamp(1, most))
}

async fn show(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let place = Place::to_look(&app, &access, (&vhost, &exchange))?;
    Ok(Json(Columns::default().object(|fields| delayed::put(&vhost, &place.exchange, fields))))
}

async fn histogram(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    let place = Place::to_look(&app, &access, (&vhost, &exchange))?;
    let from = moment(&parameters, "from")?.unwrap_or_else(|| app.node.now());
    let to = moment(&parameters, "to")?.unwrap_or_else(|| from.plus_ms(24 * 3_600_000));
    if to <= from {
        return Err(Refusal::bad("to: expected a moment after `from`"));
    }
    let bars = number(&parameters, "bars", BARS, MOST_BARS)?;
    Ok(Json(delayed::histogram(&place.exchange.histogram(from, to), (from, to), bars)))
}

async fn messages(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    let place = Place::to_look(&app, &access, (&vhost, &exchange))?;
    let limit = number(&parameters, "limit", USUAL as u64, MOST as u64)? as usize;
    let after = parameters.text("after").map(id).transpose()?;
    let found = match parameters.text("message_id") {
        Some(message_id) => place.exchange.list_by_message_id(message_id, after, limit),
        None => {
            let until = moment(&parameters, "until")?.unwrap_or(Time::NEVER);
            place.exchange.list(after, until, limit)
        }
    };
    let found = found.map_err(disk)?;
    Ok(Json(found.iter().map(|held| Value::Object(delayed::held(held, Some(SHOWN_BYTES)))).collect()))
}

type MessagePath = Path<(String, String, String)>;

async fn message(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange, text)): MessagePath,
) -> Result<Json<Value>, Refusal> {
    let place = Place::to_look(&app, &access, (&vhost, &exchange))?;
    let held = place.exchange.get(id(&text)?).map_err(disk)?.ok_or(Refusal::NotFound)?;
    Ok(Json(Value::Object(delayed::held(&held, None))))
}

/// Waits until what was done is on the disk.
async fn kept(app: &App, vhost: &Vhost, mut effects: Effects) -> Result<(), Refusal> {
    let position = effects.position.take();
    carry_out(vhost, &mut effects);
    drop(effects);
    match position {
        Some(position) => app.node.committed(position).await.map_err(Refusal::Unavailable),
        None => Ok(()),
    }
}

async fn cancel(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange, text)): MessagePath,
) -> Result<StatusCode, Refusal> {
    let place = Place::to_change(&app, &access, (&vhost, &exchange))?;
    let mut effects = Effects::at(app.node.now());
    if !place.exchange.cancel_one(id(&text)?, &mut effects).map_err(disk)? {
        return Err(Refusal::NotFound);
    }
    kept(&app, &place.vhost, effects).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn cancel_many(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    let place = Place::to_change(&app, &access, (&vhost, &exchange))?;
    parameters.only(&["message_id", "routing_key", "from", "until"])?;
    let (from, until) = (moment(&parameters, "from")?, moment(&parameters, "until")?);
    let key = parameters.text("routing_key").map(str::to_owned);
    let message_id = parameters.text("message_id").map(str::to_owned);
    let (vhost, exchange) = (Arc::clone(&place.vhost), Arc::clone(&place.exchange));
    let now = app.node.now();
    // May read a lot from the disk.
    let work = tokio::task::spawn_blocking(move || {
        let mut effects = Effects::at(now);
        let cancelled = match (&message_id, &key, from, until) {
            (None, None, None, None) => exchange.purge(&mut effects),
            (Some(id), None, None, None) => exchange.cancel_by_message_id(id, &mut effects),
            _ => {
                let span = (from.unwrap_or_default(), until.unwrap_or(Time::NEVER));
                let is_meant = |held: &leveret_broker::DelayedMessage| {
                    key.as_ref().is_none_or(|key| held.routing_key == *key)
                        && message_id.as_ref().is_none_or(|id| held.message_id() == Some(id))
                };
                exchange.cancel_where(span, is_meant, &mut effects)
            }
        };
        (cancelled, effects.position.take())
    });
    let (cancelled, position) = work.await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    let mut effects = Effects::at(now);
    effects.position = position;
    kept(&app, &vhost, effects).await?;
    Ok(Json(json!({ "cancelled": cancelled.map_err(disk)? })))
}

async fn reschedule(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange, text)): MessagePath,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let place = Place::to_change(&app, &access, (&vhost, &exchange))?;
    let now = app.node.now();
    let positive = |name: &str, number: i64| {
        u64::try_from(number).map_err(|_| Refusal::bad(format!("{name}: expected 0 or more, found {number}")))
    };
    let due = match (body.number("due")?, body.number("delay_ms")?) {
        (Some(due), _) => Time::default().plus_ms(positive("due", due)?),
        (None, Some(delay)) => now.plus_ms(positive("delay_ms", delay)?),
        (None, None) => return Err(crate::body::missing("due")),
    };
    let mut effects = Effects::at(now);
    let moved = place.vhost.reschedule_held(&place.exchange, id(&text)?, due, &mut effects);
    let moved = moved.map_err(disk)?.ok_or(Refusal::NotFound)?;
    kept(&app, &place.vhost, effects).await?;
    Ok(Json(json!({ "id": moved.to_string(), "due": due.0 / 1000 })))
}

async fn release(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange, text)): MessagePath,
) -> Result<StatusCode, Refusal> {
    let place = Place::to_change(&app, &access, (&vhost, &exchange))?;
    let mut effects = Effects::at(app.node.now());
    if !place.vhost.release_held(&place.exchange, id(&text)?, &mut effects).map_err(disk)? {
        return Err(Refusal::NotFound);
    }
    kept(&app, &place.vhost, effects).await?;
    Ok(StatusCode::NO_CONTENT)
}
