//! `orders load`: how many orders a running system accepts a second.

use std::time::Duration;

use clap::Args;
use leveret_web::client::Client;
use leveret_web::load;

/// Where, how many clients, how long.
#[derive(Args)]
pub(crate) struct Flags {
    /// The system.
    #[arg(long, default_value = "http://127.0.0.1:8084")]
    url: String,
    /// Clients that place orders at once.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Places orders, and tells how fast they were accepted.
pub(crate) async fn run(flags: Flags) {
    let client = Client::new(Duration::from_secs(30));
    let url = format!("{}/orders", flags.url.trim_end_matches('/'));
    let report = load::drive(flags.clients, Duration::from_secs(flags.seconds), move |number| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            let headers = [("content-type", "application/json")];
            let body = format!("{{\"userid\":{}}}", number + 1);
            let answer = client.post(&url, &headers, body).await.map_err(|error| error.to_string())?;
            if answer.status == 202 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
        }
    });
    println!("orders accepted: {}", report.await);
}
