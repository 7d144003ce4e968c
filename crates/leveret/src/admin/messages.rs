//! Messages in queues: looked at, moved, and those that the bus has parked.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::options::On;
use super::table;
use crate::failure::Failure;

/// Where the bus parks the messages of a queue.
const PARKED: &str = ".parked";

/// Prints the first messages of a queue, which stay in it.
pub(super) fn peek(client: &Client, queue: &str, count: u32) -> Result<(), Failure> {
    let body =
        json!({ "count": count, "ackmode": "ack_requeue_true", "encoding": "auto", "truncate": 50_000 });
    let messages = client.post(&format!("{}/get", client.path("queues", &[queue])), &body)?;
    let columns = ["exchange", "routing_key", "redelivered", "payload_bytes", "properties", "payload"];
    table::print(client, &messages, &columns.map(Into::into))
}

/// Moves ready messages of one queue to another.
pub(super) fn shift(client: &Client, queue: &str, to: &str, count: Option<u64>) -> Result<(), Failure> {
    let body = json!({ "destination": to, "count": count });
    let moved = client.post(&format!("{}/move", client.path("queues", &[queue])), &body)?;
    table::object(client, &moved)
}

/// What can be done with parked messages.
#[derive(Debug, Subcommand)]
pub(crate) enum ParkedAction {
    /// List the queues that have parked messages
    List,
    /// Look at the parked messages of a queue
    Peek {
        /// The queue they were parked of
        queue: String,
        /// How many messages
        #[arg(long, default_value_t = 10)]
        count: u32,
    },
    /// Move the parked messages of a queue back into it, as they are
    Move {
        /// The queue they were parked of
        queue: String,
        /// Most messages, all unless told
        #[arg(long)]
        count: Option<u64>,
    },
    /// Drop the parked messages of a queue
    Purge {
        /// The queue they were parked of
        queue: String,
    },
}

/// Carries it out.
pub(crate) fn run(on: &On<ParkedAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let parked = |queue: &str| format!("{queue}{PARKED}");
    match &on.action {
        ParkedAction::List => list(&client),
        ParkedAction::Peek { queue, count } => peek(&client, &parked(queue), *count),
        ParkedAction::Move { queue, count } => shift(&client, &parked(queue), queue, *count),
        ParkedAction::Purge { queue } => {
            client.delete(&format!("{}/contents", client.path("queues", &[&parked(queue)]))).map(drop)
        }
    }
}

fn list(client: &Client) -> Result<(), Failure> {
    let columns = "columns=name,messages_ready&disable_stats=true&enable_queue_totals=true";
    let queues = client.get(&format!("{}?{columns}", client.path("queues", &[])))?;
    let rows: Vec<Value> = queues
        .as_array()
        .into_iter()
        .flatten()
        .filter(|queue| queue["messages_ready"].as_u64() > Some(0))
        .filter_map(|queue| {
            let name = queue["name"].as_str()?.strip_suffix(PARKED)?;
            Some(json!({ "queue": name, "parked": queue["messages_ready"] }))
        })
        .collect();
    table::print(client, &rows.into(), &["queue".into(), "parked".into()])
}
