//! Bindings between exchanges and queues, and between exchanges.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;
use leveret_broker::{BindingName, FieldTable, KeptBinding, Vhost};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::exchanges::from_path;
use super::{Route, delete, get, post};
use crate::App;
use crate::access::Access;
use crate::beside::beside;
use crate::body::Body;
use crate::error::Refusal;
use crate::json::binding::{self, properties_key};
use crate::json::message;
use crate::list::{Columns, Fields, Listing};
use crate::parameters::Parameters;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/bindings", "Bindings, those to the default exchange included", list),
        get("/bindings/{vhost}", "The bindings of a virtual host", list_of_vhost),
        get(
            "/bindings/{vhost}/e/{exchange}/{kind}/{destination}",
            "Bindings between two ends; kind is q or e",
            between,
        ),
        post(
            "/bindings/{vhost}/e/{exchange}/{kind}/{destination}",
            "Binds a queue (q) or exchange (e)",
            bind,
        ),
        get(
            "/bindings/{vhost}/e/{exchange}/{kind}/{destination}/{key}",
            "A binding by its properties key",
            show,
        ),
        delete("/bindings/{vhost}/e/{exchange}/{kind}/{destination}/{key}", "Removes a binding", unbind),
        get("/exchanges/{vhost}/{exchange}/bindings/source", "Bindings from an exchange", from_exchange),
        get("/exchanges/{vhost}/{exchange}/bindings/destination", "Bindings to an exchange", to_exchange),
        get("/queues/{vhost}/{queue}/bindings", "Bindings to a queue", to_queue),
    ]
}

/// As RabbitMQ shows it: each queue is bound to the default exchange by its name.
fn default_binding(queue: &Arc<str>) -> KeptBinding {
    KeptBinding {
        source: "".into(),
        destination: Arc::clone(queue),
        to_queue: true,
        key: Arc::clone(queue),
        arguments: FieldTable::default(),
    }
}

fn default_bindings(vhost: &Vhost) -> Vec<KeptBinding> {
    vhost.queues().iter().map(|queue| default_binding(&queue.name)).collect()
}

fn all(vhost: &Vhost) -> Vec<KeptBinding> {
    let mut bindings = default_bindings(vhost);
    bindings.extend(vhost.bindings());
    bindings
}

fn respond(bindings: Listed, parameters: &Parameters) -> Result<Response, Refusal> {
    let mut bindings = bindings;
    // The order among those of one source, or of one value of the column that is sorted by.
    let order = |it: &KeptBinding| (Arc::clone(&it.destination), it.to_queue, Arc::clone(&it.key));
    bindings.sort_by_cached_key(|(_, it)| order(it));
    let render = |(vhost, binding): &(Arc<str>, KeptBinding), fields: &mut Fields<'_>| {
        binding::put(vhost, binding, fields);
    };
    let listing = Listing::from(parameters)?;
    Ok(listing.select(bindings, |(vhost, binding)| (vhost, &binding.source), render)?.stream(render))
}

type Listed = Vec<(Arc<str>, KeptBinding)>;

fn of(vhost: &Vhost, bindings: Vec<KeptBinding>) -> Listed {
    bindings.into_iter().map(|binding| (Arc::clone(&vhost.name), binding)).collect()
}

/// As RabbitMQ answers: what is not there has no bindings.
fn respond_found(found: Result<Listed, Refusal>, parameters: &Parameters) -> Result<Response, Refusal> {
    let bindings = match found {
        Err(Refusal::NotFound | Refusal::Missing(_)) => Vec::new(),
        found => found?,
    };
    respond(bindings, parameters)
}

async fn list(State(app): State<App>, access: Access, parameters: Parameters) -> Result<Response, Refusal> {
    let vhosts = access.vhosts(&app);
    beside(move || respond(vhosts.iter().flat_map(|vhost| of(vhost, all(vhost))).collect(), &parameters))
        .await
}

async fn list_of_vhost(
    State(app): State<App>,
    access: Access,
    Path(vhost): Path<String>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let vhost = access.vhost(&app, &vhost)?;
    beside(move || respond(of(&vhost, all(&vhost)), &parameters)).await
}

fn check_exchange(vhost: &Vhost, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || vhost.check_exchange(name).is_ok() { Ok(()) } else { Err(Refusal::NotFound) }
}

async fn from_exchange(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let vhost = access.vhost(&app, &vhost);
    beside(move || respond_found(vhost.and_then(|vhost| leaving(&vhost, from_path(&exchange))), &parameters))
        .await
}

fn leaving(vhost: &Vhost, exchange: &str) -> Result<Listed, Refusal> {
    check_exchange(vhost, exchange)?;
    let bindings = if exchange.is_empty() {
        default_bindings(vhost)
    } else {
        vhost.bindings().into_iter().filter(|binding| *binding.source == *exchange).collect()
    };
    Ok(of(vhost, bindings))
}

async fn to_exchange(
    State(app): State<App>,
    access: Access,
    Path((vhost, exchange)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let found = access.vhost(&app, &vhost).and_then(|vhost| {
        let exchange = from_path(&exchange);
        check_exchange(&vhost, exchange)?;
        Ok(of(&vhost, vhost.bindings_to(exchange, false)))
    });
    respond_found(found, &parameters)
}

async fn to_queue(
    State(app): State<App>,
    access: Access,
    Path((vhost, queue)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let found = access.vhost(&app, &vhost).and_then(|vhost| {
        let queue = vhost.find_queue(&queue).ok_or(Refusal::NotFound)?;
        let mut bindings = vec![default_binding(&queue.name)];
        bindings.extend(vhost.bindings_to(&queue.name, true));
        Ok(of(&vhost, bindings))
    });
    respond_found(found, &parameters)
}

/// The two ends that a path names.
struct Ends {
    vhost: Arc<Vhost>,
    source: String,
    destination: String,
    to_queue: bool,
}

impl Ends {
    fn find(
        app: &App,
        access: &Access,
        (vhost, source, kind, destination): (String, String, String, String),
    ) -> Result<Self, Refusal> {
        let to_queue = match kind.as_str() {
            "q" => true,
            "e" => false,
            _ => return Err(Refusal::bad(format!("kind of the destination: expected q or e, found {kind}"))),
        };
        let vhost = access.vhost(app, &vhost)?;
        Ok(Self { vhost, source: from_path(&source).into(), destination, to_queue })
    }

    fn bindings(&self) -> Result<Vec<KeptBinding>, Refusal> {
        let there = if self.to_queue {
            self.vhost.find_queue(&self.destination).is_some()
        } else {
            self.vhost.check_exchange(&self.destination).is_ok()
        };
        check_exchange(&self.vhost, &self.source)?;
        if !there {
            return Err(Refusal::NotFound);
        }
        if self.source.is_empty() {
            return Ok(vec![default_binding(&self.destination.as_str().into())]);
        }
        let all = self.vhost.bindings_to(&self.destination, self.to_queue).into_iter();
        Ok(all.filter(|binding| *binding.source == *self.source).collect())
    }

    fn binding(&self, key: &str) -> Result<KeptBinding, Refusal> {
        self.bindings()?.into_iter().find(|binding| properties_key(binding) == key).ok_or(Refusal::NotFound)
    }
}

type EndsPath = Path<(String, String, String, String)>;
type BindingPath = Path<(String, String, String, String, String)>;

async fn between(
    State(app): State<App>,
    access: Access,
    Path(path): EndsPath,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let found = Ends::find(&app, &access, path).and_then(|ends| Ok(of(&ends.vhost, ends.bindings()?)));
    respond_found(found, &parameters)
}

async fn bind(
    State(app): State<App>,
    access: Access,
    Path(path): EndsPath,
    body: Body,
) -> Result<(StatusCode, [(HeaderName, String); 1]), Refusal> {
    let place = format!("{}/{}", path.2, utf8_percent_encode(&path.3, NON_ALPHANUMERIC));
    let ends = Ends::find(&app, &access, path)?;
    let key = body.text("routing_key")?.unwrap_or_default();
    if key.len() > 255 {
        return Err(Refusal::bad("routing_key: longer than 255 bytes"));
    }
    let arguments = message::to_table("arguments", &body.object("arguments")?)?;
    let Ends { vhost, source, destination, to_queue } = &ends;
    let binding = BindingName { source, destination, to_queue: *to_queue, key, arguments: &arguments };
    vhost.bind(binding, &access.client(&app, &vhost.name))?;
    let made = KeptBinding {
        source: source.as_str().into(),
        destination: destination.as_str().into(),
        to_queue: *to_queue,
        key: key.into(),
        arguments,
    };
    let named = utf8_percent_encode(&properties_key(&made), NON_ALPHANUMERIC).to_string();
    let location = format!(
        "../../../../{}/e/{}/{place}/{named}",
        utf8_percent_encode(&vhost.name, NON_ALPHANUMERIC),
        utf8_percent_encode(source, NON_ALPHANUMERIC),
    );
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]))
}

async fn show(
    State(app): State<App>,
    access: Access,
    Path((vhost, source, kind, destination, key)): BindingPath,
) -> Result<Json<Value>, Refusal> {
    let ends = Ends::find(&app, &access, (vhost, source, kind, destination))?;
    let found = ends.binding(&key)?;
    Ok(Json(Columns::default().object(|fields| binding::put(&ends.vhost.name, &found, fields))))
}

async fn unbind(
    State(app): State<App>,
    access: Access,
    Path((vhost, source, kind, destination, key)): BindingPath,
) -> Result<StatusCode, Refusal> {
    let ends = Ends::find(&app, &access, (vhost, source, kind, destination))?;
    let found = ends.binding(&key)?;
    let Ends { vhost, source, destination, to_queue } = &ends;
    let KeptBinding { key, arguments, .. } = &found;
    let binding = BindingName { source, destination, to_queue: *to_queue, key, arguments };
    vhost.unbind(binding, &access.client(&app, &vhost.name))?;
    Ok(StatusCode::NO_CONTENT)
}
