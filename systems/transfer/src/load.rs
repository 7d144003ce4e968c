//! `transfer load`: how many transfers two running companies settle a second, from the request to the credit, and that
//! no cent is made or lost meanwhile.

use std::time::{Duration, Instant};

use clap::Args;
use leveret_transfer::Books;
use leveret_web::client::{NoAnswer, Place};
use leveret_web::load;
use serde_json::json;

/// What each account is opened with, in cents; transfers are of one cent each.
const OPENED: i64 = 1_000_000_000;
/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(30);

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
    /// How long it may go without another being settled before this gives up, in seconds.
    #[arg(long, default_value_t = 40)]
    patience_s: u64,
}

/// Transfers, waits until the last is settled, tells how fast that was, and counts the money.
pub(crate) async fn run(flags: Flags) -> Result<(), NoAnswer> {
    let companies = Companies { a: Place::new(&flags.a_url, LIMIT), b: Place::new(&flags.b_url, LIMIT) };
    let run = fastrand::u64(..);
    let name = move |number: usize| format!("load-{run:016x}-{number}");
    for number in 0..flags.clients {
        companies.open_accounts(&name(number)).await?;
    }
    let (_, before) = companies.books().await?;
    let start = Instant::now();
    let asking = companies.clone();
    let report = load::drive(flags.clients, Duration::from_secs(flags.seconds), move |number| {
        let (companies, name) = (asking.clone(), name(number));
        async move { companies.transfer(&name).await }
    });
    let report = report.await;
    println!("begun: {report}");
    let all = report.done as u64;
    let patience = Duration::from_secs(flags.patience_s);
    let settled = load::until_all("settling", all, patience, async || {
        let (a, b) = companies.books().await?;
        let is_at_rest = (a.open, b.open) == (0, 0) && Books::in_flight(&a, &b) == 0;
        let arrived = (b.moved - before.moved).unsigned_abs();
        // Some may have come back, and never arrive: it is over when nothing is open any more.
        Ok(if is_at_rest { all } else { arrived.min(all.saturating_sub(1)) })
    });
    let stuck = |error| format!("{error}. Is B running, and its --callback-url {}/callback?", companies.a);
    settled.await.map_err(|error| NoAnswer::because(stuck(error)))?;
    let took = start.elapsed().as_secs_f64();
    let (a, b) = companies.books().await?;
    let arrived = b.moved - before.moved;
    println!("settled end to end: {arrived} in {took:.1} s: {:.0}/s", arrived as f64 / took);
    println!("in the accounts: {} of {} cents", a.balances + b.balances, a.opened + b.opened);
    if Books::balance(&a, &b) && arrived >= report.done as i64 {
        return Ok(());
    }
    Err(NoAnswer::because(format!("of {} transfers {arrived} arrived", report.done)))
}

/// The two running companies.
#[derive(Clone)]
struct Companies {
    a: Place,
    b: Place,
}

impl Companies {
    /// One at each.
    async fn open_accounts(&self, name: &str) -> Result<(), NoAnswer> {
        let account = json!({ "name": name, "money": OPENED });
        self.a.post("users", &account).await?;
        self.b.post("users", &account).await.map(drop)
    }

    /// A cent, from an account to the one of the same name.
    async fn transfer(&self, name: &str) -> Result<(), String> {
        let transfer = json!({ "from": name, "to": name, "money": 1 });
        self.a.post("transfers", &transfer).await.map(drop).map_err(|error| error.to_string())
    }

    /// A's and B's, B's read first, so that what is in flight is never less than nothing.
    async fn books(&self) -> Result<(Books, Books), NoAnswer> {
        let b = self.b.get("books").await?;
        Ok((self.a.get("books").await?, b))
    }
}
