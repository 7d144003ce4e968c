//! The broker at a glance, who is connected, and definitions.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::client::Client;
use super::options::{Columns, On, Target};
use super::table::{self, aligned, at, cell, say};
use crate::failure::Failure;
use crate::http_api::encoded;

/// `leveret status`.
pub(crate) fn run(target: &Target) -> Result<(), Failure> {
    let client = Client::new(target)?;
    let overview = client.get("/overview")?;
    if client.json {
        return table::object(&client, &overview);
    }
    say(&glance(&overview))?;
    match client.get("/health/checks/alarms") {
        Ok(_) => say("health       good\n"),
        Err(failure) => Err(failure),
    }
}

/// What matters, a line each.
pub(super) fn glance(overview: &Value) -> String {
    let of = |path: &str| cell(at(overview, path));
    let rate = |name: &str| cell(&overview["message_stats"][format!("{name}_details")]["rate"]);
    let count = |name: &str| of(&format!("object_totals.{name}"));
    let rows = [
        ("broker", format!("{} {} on {}", of("product_name"), of("product_version"), of("node"))),
        (
            "messages",
            format!(
                "{} ready, {} unacknowledged",
                of("queue_totals.messages_ready"),
                of("queue_totals.messages_unacknowledged")
            ),
        ),
        (
            "per second",
            format!(
                "{} published, {} delivered, {} acknowledged",
                rate("publish"),
                rate("deliver_get"),
                rate("ack")
            ),
        ),
        ("queues", format!("{} in all, {} exchanges", count("queues"), count("exchanges"))),
        (
            "clients",
            format!(
                "{} connections, {} channels, {} consumers",
                count("connections"),
                count("channels"),
                count("consumers")
            ),
        ),
    ];
    aligned(&rows.map(|(name, text)| vec![format!("{name:11}"), text]))
}

/// What can be done with connections.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectionsAction {
    /// List the connections
    List(Columns),
    /// Close a connection
    Close {
        /// Its name, from the list
        name: String,
    },
}

/// Carries it out.
pub(crate) fn run_connections(on: &On<ConnectionsAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    match &on.action {
        ConnectionsAction::List(columns) => {
            let usual = ["name", "user_provided_name", "user", "vhost", "state", "channels"];
            table::list(&client, "/connections", &usual, columns)
        }
        ConnectionsAction::Close { name } => {
            client.delete(&format!("/connections/{}", encoded(name))).map(drop)
        }
    }
}

/// What can be done with what is only to be looked at.
#[derive(Debug, Subcommand)]
pub(crate) enum ListAction {
    /// List them
    List(Columns),
}

const CHANNEL_COLUMNS: [&str; 7] = [
    "name",
    "user",
    "vhost",
    "consumer_count",
    "messages_unacknowledged",
    "messages_unconfirmed",
    "prefetch_count",
];
const CONSUMER_COLUMNS: [&str; 6] =
    ["consumer_tag", "queue.name", "channel_details.name", "ack_required", "prefetch_count", "active"];

/// Lists channels or consumers, whichever `kind` says.
pub(crate) fn run_list(kind: &str, on: &On<ListAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let ListAction::List(columns) = &on.action;
    let usual: &[&str] = if kind == "channels" { &CHANNEL_COLUMNS } else { &CONSUMER_COLUMNS };
    table::list(&client, &format!("/{kind}"), usual, columns)
}

/// What can be done with definitions.
#[derive(Debug, Subcommand)]
pub(crate) enum DefinitionsAction {
    /// Print all definitions as JSON, RabbitMQ's format
    #[command(visible_alias = "export")]
    List,
    /// Import definitions from a file
    Import {
        /// As the list prints them, or as RabbitMQ exports them
        file: PathBuf,
    },
}

/// Carries it out.
pub(crate) fn run_definitions(on: &On<DefinitionsAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    match &on.action {
        DefinitionsAction::List => say(&format!("{:#}\n", client.get("/definitions")?)),
        DefinitionsAction::Import { file } => {
            let unusable =
                |error: &dyn std::fmt::Display| Failure::run(format!("{}: {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| unusable(&error))?;
            let definitions: Value = serde_json::from_str(&text).map_err(|error| unusable(&error))?;
            client.post("/definitions", &definitions).map(drop)
        }
    }
}
