//! `leveret top`: the broker and its busiest queues, drawn anew every second or so until it is interrupted.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use terminal_size::{Height, Width, terminal_size};

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

/// Lines above the queues.
const ABOVE: u16 = 7;
const COLUMNS: [&str; 6] =
    ["name", "vhost", "messages_ready", "messages_unacknowledged", "consumers", "messages_details.rate"];

/// Draws until it is interrupted.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let client = Client::new(&options.target)?;
    let is_terminal = std::io::stdout().is_terminal();
    let mut looks = 0;
    loop {
        match terminal_size() {
            // The picture's lines above the queues, and one below them.
            Some((Width(width), Height(height))) if is_terminal => {
                let queues = options.queues.min(height.saturating_sub(ABOVE + 1));
                say(&format!("\x1b[H\x1b[2J{}", cut(&picture(&client, queues)?, width.into())))?;
            }
            _ => say(&format!("{}\n", picture(&client, options.queues)?))?,
        }
        looks += 1;
        if options.times == Some(looks) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs_f64(options.every));
    }
}

/// Lines of no more than so many characters.
fn cut(text: &str, width: usize) -> String {
    text.lines().flat_map(|line| line.chars().take(width).chain(['\n'])).collect()
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
