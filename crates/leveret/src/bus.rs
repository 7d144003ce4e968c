//! `leveret bus`: what the bus's workers have put aside, on any broker. Only a face of [`leveret_bus::Parked`].

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use leveret_bus::{Bus, Parked, ParkedMessage};

use crate::failure::Failure;

/// A broker that does not answer within this is given up.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum BusCommand {
    /// Messages that a worker gave up, in the queue QUEUE.parked.
    Parked {
        #[command(subcommand)]
        command: ParkedCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// Show them, oldest first: id, failed attempts and the last reason, or everything as JSON.
    List {
        #[command(flatten)]
        queue: Queue,
        /// Show at most this many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// One JSON object a line, with every failed attempt and the body.
        #[arg(long)]
        json: bool,
    },
    /// Send one or all back to their queue, with their attempts counted from zero again.
    Replay {
        #[command(flatten)]
        queue: Queue,
        #[command(flatten)]
        which: Which,
    },
    /// Throw one or all away.
    Drop {
        #[command(flatten)]
        queue: Queue,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Queue {
    /// The worker's queue.
    queue: String,
    /// The broker: one URL, or several separated by commas.
    #[arg(long, env = "LEVERET_AMQP_URL", default_value = "amqp://guest:guest@127.0.0.1:5672")]
    amqp_url: String,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The message with this id.
    #[arg(long)]
    id: Option<String>,
    /// All that are there.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(command: &BusCommand) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::run(format!("no runtime: {error}")))?;
    let BusCommand::Parked { command } = command;
    runtime.block_on(async {
        let bus = connect(command.queue()).await?;
        let outcome = carry_out(command, &bus.parked(&command.queue().queue)).await;
        bus.close().await;
        outcome
    })
}

impl ParkedCommand {
    fn queue(&self) -> &Queue {
        match self {
            Self::List { queue, .. } | Self::Replay { queue, .. } | Self::Drop { queue, .. } => queue,
        }
    }
}

async fn connect(queue: &Queue) -> Result<Bus, Failure> {
    let bus = Bus::builder(&queue.amqp_url).name("leveret bus").connect_within(CONNECT_LIMIT).connect();
    bus.await.map_err(|error| match error {
        leveret_bus::Error::Url(problem) => Failure::usage(format!("--amqp-url: {problem}")),
        error => failed(error),
    })
}

async fn carry_out(command: &ParkedCommand, parked: &Parked) -> Result<(), Failure> {
    match command {
        ParkedCommand::List { limit, json, .. } => {
            let messages = parked.list(*limit).await.map_err(failed)?;
            messages
                .iter()
                .try_for_each(|message| say(&if *json { as_json(message) } else { as_line(message) }))
        }
        ParkedCommand::Replay { which, .. } => match &which.id {
            Some(id) => found(id, parked.replay(id).await.map_err(failed)?, "replayed"),
            None => say(&format!("{} replayed", parked.replay_all().await.map_err(failed)?)),
        },
        ParkedCommand::Drop { which, .. } => match &which.id {
            Some(id) => found(id, parked.drop_one(id).await.map_err(failed)?, "dropped"),
            None => say(&format!("{} dropped", parked.drop_all().await.map_err(failed)?)),
        },
    }
}

fn found(id: &str, was_there: bool, done: &str) -> Result<(), Failure> {
    if was_there {
        say(&format!("{id} {done}"))
    } else {
        Err(Failure::run(format!("no parked message has the id {id}")))
    }
}

fn as_line(message: &ParkedMessage) -> String {
    let ParkedMessage { message_id, attempts, reason, .. } = message;
    format!("{message_id}\t{attempts}\t{}", reason.replace(['\n', '\t'], " "))
}

fn as_json(message: &ParkedMessage) -> String {
    serde_json::json!({
        "message_id": message.message_id,
        "reason": message.reason,
        "attempts": message.attempts,
        "first_failed_ms": message.first_failed_ms,
        "last_failed_ms": message.last_failed_ms,
        "history": message.history,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "body": String::from_utf8_lossy(&message.body),
    })
    .to_string()
}

fn say(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| Failure::run(format!("stdout: {error}")))
}

fn failed(error: leveret_bus::Error) -> Failure {
    Failure::run(error.to_string())
}
