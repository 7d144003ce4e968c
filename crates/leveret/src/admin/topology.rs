//! Queues, exchanges and bindings.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::options::{Columns, On, argument};
use super::{messages, table};
use crate::failure::Failure;
use crate::http_api::encoded;

const QUEUE_COLUMNS: [&str; 7] =
    ["name", "type", "messages_ready", "messages_unacknowledged", "consumers", "policy", "state"];
const EXCHANGE_COLUMNS: [&str; 5] = ["name", "type", "durable", "auto_delete", "messages_delayed"];
const BINDING_COLUMNS: [&str; 5] = ["source", "destination_type", "destination", "routing_key", "arguments"];

/// What can be done with queues.
#[derive(Debug, Subcommand)]
pub(crate) enum QueuesAction {
    /// List the queues of the virtual host
    List(Columns),
    /// Show a queue
    Show {
        /// The queue
        name: String,
    },
    /// Declare a queue, durable unless told otherwise
    Declare {
        /// The queue
        name: String,
        /// classic or quorum
        #[arg(long = "type")]
        kind: Option<String>,
        /// Gone when the broker stops
        #[arg(long)]
        transient: bool,
        /// Gone with its last consumer
        #[arg(long)]
        auto_delete: bool,
        /// As x-max-length=5; may be given several times
        #[arg(long = "argument", short = 'a', value_parser = argument)]
        arguments: Vec<(String, Value)>,
    },
    /// Delete a queue with its messages
    Delete {
        /// The queue
        name: String,
        /// Only if nothing is ready in it
        #[arg(long)]
        if_empty: bool,
        /// Only if nobody consumes from it
        #[arg(long)]
        if_unused: bool,
    },
    /// Drop the ready messages of a queue
    Purge {
        /// The queue
        name: String,
    },
    /// Look at the first messages of a queue, which stay in it
    Peek {
        /// The queue
        name: String,
        /// How many messages
        #[arg(long, default_value_t = 10)]
        count: u32,
    },
    /// Move ready messages to another queue, none lost whatever happens meanwhile
    Move {
        /// The queue they are in
        name: String,
        /// The queue they go to
        #[arg(long)]
        to: String,
        /// Most messages, all unless told
        #[arg(long)]
        count: Option<u64>,
    },
    /// Send dead letters back to the queues they came from
    Replay {
        /// The queue they are in
        name: String,
        /// Most messages, all unless told
        #[arg(long)]
        count: Option<u64>,
    },
}

/// Carries it out.
pub(crate) fn run_queues(on: &On<QueuesAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let path = |name: &str| client.path("queues", &[name]);
    match &on.action {
        QueuesAction::List(columns) => {
            table::list(&client, &client.path("queues", &[]), &QUEUE_COLUMNS, columns)
        }
        QueuesAction::Show { name } => table::object(&client, &client.get(&path(name))?),
        QueuesAction::Declare { name, kind, transient, auto_delete, arguments } => {
            let mut arguments: Map<String, Value> = arguments.iter().cloned().collect();
            arguments.extend(kind.as_ref().map(|kind| ("x-queue-type".to_owned(), kind.as_str().into())));
            let body = json!({ "durable": !transient, "auto_delete": auto_delete, "arguments": arguments });
            client.put(&path(name), &body).map(drop)
        }
        QueuesAction::Delete { name, if_empty, if_unused } => {
            let path = format!("{}?if-empty={if_empty}&if-unused={if_unused}", path(name));
            client.delete(&path).map(drop)
        }
        QueuesAction::Purge { name } => client.delete(&format!("{}/contents", path(name))).map(drop),
        QueuesAction::Peek { name, count } => messages::peek(&client, name, *count),
        QueuesAction::Move { name, to, count } => messages::shift(&client, name, to, *count),
        QueuesAction::Replay { name, count } => table::object(
            &client,
            &client.post(&format!("{}/replay", path(name)), &json!({ "count": count }))?,
        ),
    }
}

/// What can be done with exchanges.
#[derive(Debug, Subcommand)]
pub(crate) enum ExchangesAction {
    /// List the exchanges of the virtual host
    List(Columns),
    /// Declare an exchange, durable unless told otherwise
    Declare {
        /// The exchange
        name: String,
        /// direct, fanout, topic, headers, x-delayed-message, …
        #[arg(long = "type", default_value = "direct")]
        kind: String,
        /// Gone when the broker stops
        #[arg(long)]
        transient: bool,
        /// Gone with its last binding
        #[arg(long)]
        auto_delete: bool,
        /// Not to be published to by clients
        #[arg(long)]
        internal: bool,
        /// As x-delayed-type=direct; may be given several times
        #[arg(long = "argument", short = 'a', value_parser = argument)]
        arguments: Vec<(String, Value)>,
    },
    /// Delete an exchange with its bindings
    Delete {
        /// The exchange
        name: String,
        /// Only if nothing is bound to it
        #[arg(long)]
        if_unused: bool,
    },
    /// Publish a message and wait until it is kept; amq.default is the default exchange
    Publish {
        /// The exchange
        name: String,
        /// Routing key
        #[arg(long, default_value = "")]
        key: String,
        /// The body
        #[arg(long, default_value = "")]
        payload: String,
        /// Lost when the broker stops
        #[arg(long)]
        transient: bool,
        /// A header, as x-delay=5000; may be given several times
        #[arg(long = "header", value_parser = argument)]
        headers: Vec<(String, Value)>,
    },
}

/// Carries it out.
pub(crate) fn run_exchanges(on: &On<ExchangesAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let path = |name: &str| client.path("exchanges", &[name]);
    match &on.action {
        ExchangesAction::List(columns) => {
            table::list(&client, &client.path("exchanges", &[]), &EXCHANGE_COLUMNS, columns)
        }
        ExchangesAction::Declare { name, kind, transient, auto_delete, internal, arguments } => {
            let arguments: Map<String, Value> = arguments.iter().cloned().collect();
            let body = json!({
                "type": kind, "durable": !transient, "auto_delete": auto_delete, "internal": internal,
                "arguments": arguments,
            });
            client.put(&path(name), &body).map(drop)
        }
        ExchangesAction::Delete { name, if_unused } => {
            client.delete(&format!("{}?if-unused={if_unused}", path(name))).map(drop)
        }
        ExchangesAction::Publish { name, key, payload, transient, headers } => {
            let headers: Map<String, Value> = headers.iter().cloned().collect();
            let body = json!({
                "properties": { "delivery_mode": if *transient { 1 } else { 2 }, "headers": headers },
                "routing_key": key, "payload": payload, "payload_encoding": "string",
            });
            table::object(&client, &client.post(&format!("{}/publish", path(name)), &body)?)
        }
    }
}

/// What can be done with bindings.
#[derive(Debug, Subcommand)]
pub(crate) enum BindingsAction {
    /// List the bindings of the virtual host
    List(Columns),
    /// Bind a queue, or an exchange, to an exchange
    Declare {
        /// The exchange that messages come from
        source: String,
        /// The queue or exchange they go to
        destination: String,
        /// Routing key
        #[arg(long, default_value = "")]
        key: String,
        /// The destination is an exchange
        #[arg(long)]
        to_exchange: bool,
        /// As x-match=any; may be given several times
        #[arg(long = "argument", short = 'a', value_parser = argument)]
        arguments: Vec<(String, Value)>,
    },
    /// Remove the bindings between two ends with that routing key
    Delete {
        /// The exchange that messages come from
        source: String,
        /// The queue or exchange they go to
        destination: String,
        /// Routing key
        #[arg(long, default_value = "")]
        key: String,
        /// The destination is an exchange
        #[arg(long)]
        to_exchange: bool,
    },
}

/// Carries it out.
pub(crate) fn run_bindings(on: &On<BindingsAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let ends = |source: &str, destination: &str, to_exchange: bool| {
        client.path("bindings", &["e", source, if to_exchange { "e" } else { "q" }, destination])
    };
    match &on.action {
        BindingsAction::List(columns) => {
            table::list(&client, &client.path("bindings", &[]), &BINDING_COLUMNS, columns)
        }
        BindingsAction::Declare { source, destination, key, to_exchange, arguments } => {
            let arguments: Map<String, Value> = arguments.iter().cloned().collect();
            let body = json!({ "routing_key": key, "arguments": arguments });
            client.post(&ends(source, destination, *to_exchange), &body).map(drop)
        }
        BindingsAction::Delete { source, destination, key, to_exchange } => {
            let path = ends(source, destination, *to_exchange);
            let all = client.get(&path)?;
            let of_key = |binding: &&Value| binding["routing_key"] == key.as_str();
            let found: Vec<&Value> = all.as_array().into_iter().flatten().filter(of_key).collect();
            if found.is_empty() {
                return Err(Failure::run(format!(
                    "no binding of {destination} to {source} with the key '{key}'"
                )));
            }
            for binding in found {
                let key = binding["properties_key"].as_str().unwrap_or_default();
                client.delete(&format!("{path}/{}", encoded(key)))?;
            }
            Ok(())
        }
    }
}
