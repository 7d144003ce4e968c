//! `signup load`: how soon after the 201 a running, idle system sends the first mail.

use std::time::{Duration, Instant};

use clap::Args;
use leveret_bus::clock;
use leveret_web::client::{NoAnswer, Place};
use leveret_web::load::{self, Report};
use serde_json::{Value, json};
use tokio::time::sleep;

const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Where, and how many.
#[derive(Args)]
pub(crate) struct Flags {
    /// The system.
    #[arg(long, default_value = "http://127.0.0.1:8081")]
    url: String,
    /// How many sign up, one after the other.
    #[arg(long, default_value_t = 200)]
    users: usize,
}

/// Signs up, and tells how soon the mails were sent.
pub(crate) async fn run(flags: Flags) -> Result<(), NoAnswer> {
    let (system, start) = (Place::new(&flags.url, LIMIT), Instant::now());
    let mut latencies = Vec::with_capacity(flags.users);
    let bar = load::progress("signing up", flags.users as u64);
    for number in 0..flags.users {
        let email = format!("load-{}-{number}@example.org", clock::now_ms());
        let user = system.post("users", &json!({ "name": "Load", "email": email })).await?;
        let answered_ms = clock::now_ms();
        let user_id = user["user_id"].as_i64().ok_or_else(|| NoAnswer::because(user.to_string()))?;
        let sent_ms = sent_ms(&system, user_id).await?;
        latencies.push(Duration::from_millis((sent_ms - answered_ms).max(0).unsigned_abs()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("first mails after the 201: {}", Report::of(latencies, start.elapsed()));
    Ok(())
}

async fn sent_ms(system: &Place, user_id: i64) -> Result<i64, NoAnswer> {
    loop {
        let user: Value = system.get(&format!("users/{user_id}")).await?;
        if let Some(sent_ms) = user["sent_ms"].as_i64() {
            return Ok(sent_ms);
        }
        sleep(LOOK_EVERY).await;
    }
}
