//! `leveret top`: the broker and its busiest queues, drawn anew every second or so until it is interrupted.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use super::client::Client;
use super::options::Target;
use super::status::glance;
use super::table::{aligned, at, cell, say};
use crate::failure::Failure;

/// What is shown, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Seconds between two looks
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    every: f64,
    /// How many looks; without end unless told
    #[arg(long)]
    times: Option<u64>,
    /// How many queues
    #[arg(long, default_value_t = 20)]
    queues: u16,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds")?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("expected 0.1 to 3600 seconds".into()) }
}

const COLUMNS: [&str; 6] =
    ["name", "vhost", "messages_ready", "messages_unacknowledged", "consumers", "messages_details.rate"];

/// Draws until it is interrupted.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let client = Client::new(&options.target)?;
    let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    let mut looks = 0;
    loop {
        let text = picture(&client, options.queues)?;
        say(&format!("{clear}{text}\n"))?;
        looks += 1;
        if options.times == Some(looks) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs_f64(options.every));
    }
}

fn picture(client: &Client, queues: u16) -> Result<String, Failure> {
    let overview = client.get("/overview")?;
    let query = format!(
        "/queues?page=1&page_size={}&sort=messages&sort_reverse=true&columns={}",
        queues.clamp(1, 500),
        COLUMNS.join(",")
    );
    let page = client.get(&query)?;
    let mut rows =
        vec![["queue", "vhost", "ready", "unacked", "consumers", "growing/s"].map(Into::into).to_vec()];
    for queue in page["items"].as_array().into_iter().flatten() {
        rows.push(COLUMNS.iter().map(|column| cell(at(queue, column))).collect());
    }
    Ok(format!("{}\n{}", glance(&overview), aligned(&rows)))
}
