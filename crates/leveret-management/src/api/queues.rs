//! Queues: listing, declaring, deleting, purging, fetching.

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leveret_broker::{Effects, Queue, QueueOptions, Settlement, Vhost};
use serde_json::{Value, json};

use super::connections::consumers_on;
use super::ranking::Ranking;
use super::{Route, delete, get, post, put};
use crate::App;
use crate::access::Access;
use crate::beside::beside;
use crate::body::{Body, missing};
use crate::error::Refusal;
use crate::json::connection;
use crate::json::message::{self, Encoding};
use crate::json::queue::{Detail, Listed, Shown};
use crate::list::{Columns, Listing, Rows};
use crate::messages;
use crate::parameters::Parameters;
use crate::ranges::Ranges;

/// Most messages fetched by one request.
const FETCHED_AT_ONCE: i64 = 10_000;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/queues", "Queues", list),
        get("/queues/detailed", "Queues, as RabbitMQ tells more of them since 3.13", list),
        get("/queues/{vhost}", "The queues of a virtual host", list_of_vhost),
        get("/queues/{vhost}/{queue}", "A queue", show),
        put("/queues/{vhost}/{queue}", "Declares a queue", declare),
        delete("/queues/{vhost}/{queue}", "Deletes a queue; if-empty=true, if-unused=true", remove),
        delete("/queues/{vhost}/{queue}/contents", "Drops the ready messages of a queue", purge),
        post("/queues/{vhost}/{queue}/get", "Fetches messages, and puts them back or takes them", fetch),
        post("/queues/{vhost}/{queue}/actions", "RabbitMQ's actions on mirrors, which are none here", act),
        post("/rebalance/queues", "RabbitMQ's balancing of leaders, of which there is one", rebalance),
    ]
}

fn detail(parameters: &Parameters) -> Detail {
    match (parameters.flag("disable_stats"), parameters.flag("enable_queue_totals")) {
        (false, _) => Detail::Full,
        (true, true) => Detail::Totals,
        (true, false) => Detail::Declared,
    }
}

async fn respond(app: App, vhosts: Vec<Arc<Vhost>>, parameters: Parameters) -> Result<Response, Refusal> {
    beside(move || answer(&app, vhosts, &parameters)).await
}

fn answer(app: &App, vhosts: Vec<Arc<Vhost>>, parameters: &Parameters) -> Result<Response, Refusal> {
    let ranges = Ranges::from(parameters, app.node.now())?;
    let (listing, shown) = (Listing::from(parameters)?, Shown::new(app, detail(parameters), ranges));
    let rows = rows(app, &vhosts, &listing, &shown)?;
    Ok(rows.stream(move |listed, fields| shown.put(listed, fields)))
}

/// What is to be shown, found in the cheapest way: by its place among the names, by who is busy, or by asking all.
fn rows(app: &App, vhosts: &[Arc<Vhost>], listing: &Listing, shown: &Shown) -> Result<Rows<Listed>, Refusal> {
    let total = vhosts.iter().map(|vhost| vhost.queue_count()).sum();
    let column = listing.column();
    if !listing.is_filtered() {
        // Of several virtual hosts the names are mixed.
        if column.is_none_or(|column| column == "name" && vhosts.len() == 1) {
            return listing.rows_in_order(total, |range, reverse| by_name(vhosts, (range, total), reverse));
        }
        if let Some(busy) = column.and_then(|column| Ranking::of(app, vhosts, shown, column)) {
            return listing.rows_in_order(total, |range, reverse| busy.page((range, total), reverse));
        }
    }
    let accepted =
        |vhost: &Arc<Vhost>| listed(vhost, vhost.queues_named(usize::MAX, |name| listing.accepts(name)));
    let items = vhosts.iter().flat_map(accepted).collect();
    listing.rows(items, total, |listed, column| shown.sort_value(listed, column))
}

/// The queues that stand there by virtual host and name, or so from behind.
fn by_name(vhosts: &[Arc<Vhost>], (range, total): (Range<usize>, usize), reverse: bool) -> Vec<Listed> {
    if !reverse {
        return page(vhosts, range);
    }
    let mut rows = page(vhosts, total - range.end..total - range.start);
    rows.reverse();
    rows
}

/// The queues that stand there by virtual host and name.
fn page(vhosts: &[Arc<Vhost>], range: Range<usize>) -> Vec<Listed> {
    let (mut rows, mut before) = (Vec::new(), 0);
    for vhost in vhosts {
        let count = vhost.queue_count();
        let (from, to) = (range.start.max(before), range.end.min(before + count));
        if from < to {
            rows.extend(listed(vhost, vhost.queue_page(from - before..to - before)));
        }
        before += count;
    }
    rows
}

fn listed(vhost: &Arc<Vhost>, queues: Vec<Arc<Queue>>) -> impl Iterator<Item = Listed> + use<> {
    let vhost = Arc::clone(vhost);
    queues.into_iter().map(move |queue| Listed { vhost: Arc::clone(&vhost), queue })
}

async fn list(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    let vhosts = access.vhosts(&app);
    respond(app, vhosts, parameters).await
}

async fn list_of_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let vhost = access.vhost(&app, &vhost).map_err(|refusal| match refusal {
        Refusal::Missing(_) => Refusal::NotFound,
        other => other,
    })?;
    respond(app, vec![vhost], parameters).await
}

/// The queue that a path names.
pub(crate) fn named(app: &App, access: &Access, vhost: &str, name: &str) -> Result<Listed, Refusal> {
    let vhost = access.vhost(app, vhost)?;
    let queue = vhost.find_queue(name).ok_or(Refusal::NotFound)?;
    Ok(Listed { vhost, queue })
}

async fn show(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Json<Value>, Refusal> {
    let listed = named(&app, &access, &vhost, &name)?;
    let (node, now) = (app.node.name(), app.node.now());
    let ranges = Ranges::from(&parameters, now)?;
    if !ranges.is_empty() {
        app.statistics.look_at_queue(&listed.vhost, &listed.queue, now);
    }
    Ok(Json(Columns::from(&parameters).object(|fields| {
        Shown::new(&app, detail(&parameters), ranges).put(&listed, fields);
        fields.put("consumer_details", || consumers_of(&app, node, &listed.queue));
        fields.put("deliveries", || json!([]));
        fields.put("incoming", || json!([]));
    })))
}

fn consumers_of(app: &App, node: &str, queue: &Arc<Queue>) -> Value {
    let all = consumers_on(app.node.broker().connections.list()).into_iter();
    let on_it: Vec<_> = all.filter(|on| Arc::ptr_eq(&on.consumer.queue, queue)).collect();
    connection::consumers(node, &on_it)
}

async fn declare(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let vhost = access.vhost(&app, &vhost)?;
    let options = QueueOptions {
        // As in RabbitMQ what is declared over HTTP is durable unless something else is said.
        durable: body.value("durable").is_none() || body.flag("durable")?,
        exclusive: None,
        auto_delete: body.flag("auto_delete")?,
        arguments: message::to_table("arguments", &body.object("arguments")?)?,
    };
    if name.is_empty() || name.len() > 255 {
        return Err(Refusal::bad("queue: a name has 1 to 255 bytes"));
    }
    let mut effects = Effects::at(app.node.now());
    let declared = vhost.declare_queue(&name, options, &access.client(&app, &vhost.name), &mut effects)?;
    messages::carry_out(&vhost, &mut effects);
    Ok(if declared.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

async fn remove(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<StatusCode, Refusal> {
    let Listed { vhost, .. } = named(&app, &access, &vhost, &name)?;
    let client = access.client(&app, &vhost.name);
    vhost.delete_queue(&name, &client, parameters.flag("if-unused"), parameters.flag("if-empty"))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn purge(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let Listed { vhost, .. } = named(&app, &access, &vhost, &name)?;
    vhost.queue_to_read(&name, &access.client(&app, &vhost.name))?.purge();
    Ok(StatusCode::NO_CONTENT)
}

async fn fetch(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let (vhost, client) = access.channel(&app, &vhost)?;
    vhost.find_queue(&name).ok_or(Refusal::NotFound)?;
    let queue = vhost.queue_to_read(&name, &client)?;
    let count = body.number("count")?.ok_or_else(|| missing("count"))?;
    let settlement = settlement(&body)?;
    let encoding = match body.text("encoding")?.unwrap_or("auto") {
        "auto" => Encoding::Auto,
        "base64" => Encoding::Base64,
        other => return Err(Refusal::bad(format!("encoding: expected auto or base64, found {other}"))),
    };
    let truncate = body.number("truncate")?.map(|bytes| usize::try_from(bytes).unwrap_or(0));
    let count = usize::try_from(count.min(FETCHED_AT_ONCE))
        .map_err(|_| Refusal::bad(format!("count: expected 0 or more, found {count}")))?;
    let fetched = messages::fetch(&app, &vhost, &queue, count, settlement);
    let shown = fetched.iter().map(|one| {
        let parts = (&*one.message.route, &*one.message.properties, &*one.message.body);
        let mut object = message::message(parts, encoding, truncate);
        object.insert("redelivered".into(), one.message.redelivered.into());
        object.insert("message_count".into(), one.message.remaining.into());
        Value::Object(object)
    });
    Ok(Json(shown.collect()))
}

fn settlement(body: &Body) -> Result<Settlement, Refusal> {
    match body.text("ackmode")? {
        Some("ack_requeue_true") => Ok(Settlement::PutBack),
        Some("reject_requeue_true") => Ok(Settlement::Requeued),
        Some("ack_requeue_false") => Ok(Settlement::Acked),
        Some("reject_requeue_false") => Ok(Settlement::Rejected),
        Some(other) => Err(Refusal::bad(format!(
            "ackmode: expected ack_requeue_true, ack_requeue_false, reject_requeue_true or reject_requeue_false, \
             found {other}"
        ))),
        // As older clients say it.
        None if body.value("requeue").is_some() => {
            Ok(if body.flag("requeue")? { Settlement::PutBack } else { Settlement::Acked })
        }
        None => Err(missing("ackmode")),
    }
}

async fn act(
    State(app): State<App>,
    access: Access,
    Path((vhost, name)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    named(&app, &access, &vhost, &name)?;
    match body.required_text("action")? {
        "sync" | "cancel_sync" => Ok(StatusCode::NO_CONTENT),
        other => Err(Refusal::bad(format!("action: expected sync or cancel_sync, found {other}"))),
    }
}

async fn rebalance(access: Access) -> Result<StatusCode, Refusal> {
    access.administrator()?;
    Ok(StatusCode::NO_CONTENT)
}
