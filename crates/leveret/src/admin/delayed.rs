//! Messages that exchanges of type x-delayed-message hold back.

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::options::On;
use super::table;
use crate::failure::Failure;
use crate::http_api::encoded;

/// What can be done with delayed messages.
#[derive(Debug, Subcommand)]
pub(crate) enum DelayedAction {
    /// List the exchanges that hold messages back or, with one named, what it holds
    List {
        /// The exchange
        exchange: Option<String>,
        /// Only messages with this id
        #[arg(long)]
        message_id: Option<String>,
        /// Most messages
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show a message
    Peek {
        /// The exchange that holds it
        exchange: String,
        /// Its id, from the list
        id: String,
    },
    /// Drop a message before it is due
    Cancel {
        /// The exchange that holds it
        exchange: String,
        /// Its id, from the list
        id: Option<String>,
        /// All with this message-id instead
        #[arg(long, conflicts_with = "id", required_unless_present = "id")]
        message_id: Option<String>,
    },
    /// Have a message wait until another time
    Move {
        /// The exchange that holds it
        exchange: String,
        /// Its id, from the list
        id: String,
        /// From now, in milliseconds
        #[arg(long)]
        delay_ms: u64,
    },
    /// Release a message now
    Release {
        /// The exchange that holds it
        exchange: String,
        /// Its id, from the list
        id: String,
    },
    /// Drop all messages that an exchange holds
    Purge {
        /// The exchange
        exchange: String,
    },
}

/// Carries it out.
pub(crate) fn run(on: &On<DelayedAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let of = |exchange: &str| client.path("delayed", &[exchange]);
    let one = |exchange: &str, id: &str| format!("{}/messages/{}", of(exchange), encoded(id));
    match &on.action {
        DelayedAction::List { exchange: None, .. } => {
            let columns =
                ["name", "messages_delayed", "bytes", "next_due", "released", "dropped", "cancelled"];
            table::print(&client, &client.get(&client.path("delayed", &[]))?, &columns.map(Into::into))
        }
        DelayedAction::List { exchange: Some(exchange), message_id, limit } => {
            let id = message_id.as_ref().map(|id| format!("&message_id={}", encoded(id))).unwrap_or_default();
            let messages = client.get(&format!("{}/messages?limit={limit}{id}", of(exchange)))?;
            let columns = ["id", "due", "routing_key", "payload_bytes", "properties.message_id", "payload"];
            table::print(&client, &messages, &columns.map(Into::into))
        }
        DelayedAction::Peek { exchange, id } => table::object(&client, &client.get(&one(exchange, id))?),
        DelayedAction::Cancel { exchange, id: Some(id), .. } => client.delete(&one(exchange, id)).map(drop),
        DelayedAction::Cancel { exchange, message_id, .. } => {
            let id = encoded(message_id.as_deref().unwrap_or_default());
            table::object(&client, &client.delete(&format!("{}/messages?message_id={id}", of(exchange)))?)
        }
        DelayedAction::Move { exchange, id, delay_ms } => {
            table::object(&client, &client.put(&one(exchange, id), &json!({ "delay_ms": delay_ms }))?)
        }
        DelayedAction::Release { exchange, id } => {
            client.post(&format!("{}/release", one(exchange, id)), &json!({})).map(drop)
        }
        DelayedAction::Purge { exchange } => {
            table::object(&client, &client.delete(&format!("{}/messages", of(exchange)))?)
        }
    }
}
