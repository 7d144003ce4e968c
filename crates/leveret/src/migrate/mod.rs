//! `leveret migrate`: what one broker has goes to another, RabbitMQ or Leveret each: definitions over HTTP, messages over
//! AMQP.
//!
//! A message is acknowledged at the source once the target has confirmed it. There is no state beside that: a migration
//! that was interrupted is simply run again, and goes on with what is left.

mod definitions;
mod messages;
mod queues;
mod report;
mod side;

use clap::Args;

use self::report::Report;
use self::side::Side;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Broker to move from: amqp://USER:PASSWORD@HOST:PORT; with /VHOST, that virtual host only
    #[arg(long, value_name = "URL")]
    from: String,
    /// Broker to move to
    #[arg(long, value_name = "URL")]
    to: String,
    /// Management of the broker to move from [default: its host, port 15672, or 10000 above an unusual AMQP port]
    #[arg(long, value_name = "URL")]
    from_management: Option<String>,
    /// Management of the broker to move to
    #[arg(long, value_name = "URL")]
    to_management: Option<String>,
    /// Copy definitions, leave messages where they are
    #[arg(long, conflicts_with = "messages_only")]
    definitions_only: bool,
    /// Move messages between queues that are there on both sides already
    #[arg(long)]
    messages_only: bool,
}

/// Moves everything, and says whether the counts match.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let from = Side::new("--from", &options.from, options.from_management.as_deref(), None)?;
    let to = Side::new("--to", &options.to, options.to_management.as_deref(), from.only_vhost.clone())?;
    if !options.messages_only {
        definitions::copy(&from, &to)?.iter().for_each(|note| report::note(note));
    }
    if options.definitions_only {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start: {error}")))?;
    let mut report = Report::default();
    let moved = runtime.block_on(messages::move_all(&from, &to, &mut report));
    // What was moved before something went wrong is worth knowing too.
    report.print();
    moved?;
    report.verdict()
}
