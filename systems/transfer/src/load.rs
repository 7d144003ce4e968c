//! `transfer load`: how many transfers two running companies settle a second, from the request to the credit.

use std::time::{Duration, Instant};

use clap::Args;
use leveret_transfer::Books;
use leveret_web::client::{Client, NoAnswer};
use leveret_web::load;
use serde_json::json;
use tokio::time::sleep;

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where, how many clients, how long.
#[derive(Args)]
pub(crate) struct Flags {
    /// Company A.
    #[arg(long, default_value = "http://127.0.0.1:8082")]
    a_url: String,
    /// Company B.
    #[arg(long, default_value = "http://127.0.0.1:8083")]
    b_url: String,
    /// Clients that transfer at once, each to and from accounts of its own.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Transfers, waits until the last is settled, and tells how fast that was.
pub(crate) async fn run(flags: Flags) -> Result<(), NoAnswer> {
    let client = Client::new(Duration::from_secs(30));
    let run = fastrand::u64(..);
    let name = move |number: usize| format!("load-{run:016x}-{number}");
    for number in 0..flags.clients {
        for url in [&flags.a_url, &flags.b_url] {
            let body = json!({ "name": name(number), "money": 1_000_000_000 }).to_string();
            post(&client, url, "users", body).await.map_err(NoAnswer::because)?;
        }
    }
    let start = Instant::now();
    let (asking, url) = (client.clone(), flags.a_url.clone());
    let report = load::drive(flags.clients, Duration::from_secs(flags.seconds), move |number| {
        let (client, url) = (asking.clone(), url.clone());
        let body = json!({ "from": name(number), "to": name(number), "money": 1 }).to_string();
        async move { post(&client, &url, "transfers", body).await }
    });
    let report = report.await;
    println!("transfers begun: {report}");
    let (a, b) = settled(&client, &flags).await?;
    let took = start.elapsed();
    println!(
        "settled: {} in {:.1} s: {:.0}/s",
        report.done,
        took.as_secs_f64(),
        report.done as f64 / took.as_secs_f64()
    );
    println!("no money was made or lost: {}", Books::balance(&a, &b));
    Ok(())
}

/// Both companies' books, once nothing is open at either.
async fn settled(client: &Client, flags: &Flags) -> Result<(Books, Books), NoAnswer> {
    loop {
        let b: Books = client.get(&format!("{}/books", flags.b_url.trim_end_matches('/'))).await?.json()?;
        let a: Books = client.get(&format!("{}/books", flags.a_url.trim_end_matches('/'))).await?.json()?;
        if (a.open, b.open) == (0, 0) && Books::in_flight(&a, &b) == 0 {
            return Ok((a, b));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn post(client: &Client, base: &str, path: &str, body: String) -> Result<(), String> {
    let headers = [("content-type", "application/json")];
    let url = format!("{}/{path}", base.trim_end_matches('/'));
    let answer = client.post(&url, &headers, body).await.map_err(|error| error.to_string())?;
    if answer.status.is_success() { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
}
