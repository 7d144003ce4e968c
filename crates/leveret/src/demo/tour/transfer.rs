//! Money from company A to company B: once as it should be, and once while B is down.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leveret_transfer::{Books, Entry, Status};
use leveret_web::client::Client;
use leveret_web::page::money;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::stage::Stage;
use super::super::story::Telling;
use crate::failure::Failure;

/// A's time-out, the timer that looks for it, and some patience.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PUT_IN: i64 = 10_000;
const FIRST: i64 = 2_500;
const SECOND: i64 = 1_000;

/// Walks through the transfers, and tells them.
pub(super) async fn walk(stage: &Stage, story: Telling) -> Result<(), Failure> {
    let visit = Visit { stage, story, client: Client::new(Duration::from_secs(10)), names: names() };
    visit.open_accounts().await?;
    visit.money_arrives().await?;
    visit.money_comes_back().await?;
    visit.nothing_is_missing().await;
    Ok(())
}

struct Visit<'a> {
    stage: &'a Stage,
    story: Telling,
    client: Client,
    /// At A and at B.
    names: (String, String),
}

/// New ones each time, since a demo's databases may be kept.
fn names() -> (String, String) {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    (format!("alice-{now_ms}"), format!("bob-{now_ms}"))
}

impl Visit<'_> {
    async fn open_accounts(&self) -> Result<(), Failure> {
        let (alice, bob) = &self.names;
        self.post(&self.stage.a.url(), "users", &json!({ "name": alice, "money": PUT_IN })).await?;
        self.post(&self.stage.b.url().await, "users", &json!({ "name": bob, "money": 0 })).await?;
        self.story.tell(format!("{alice} has {} at company A, {bob} nothing at company B.", money(PUT_IN)));
        Ok(())
    }

    async fn money_arrives(&self) -> Result<(), Failure> {
        let tid = self.begin(FIRST).await?;
        self.story.tell(format!(
            "Transfer {tid} of {}: A debits, logs and stages the message in one transaction; B records it, asks A, and \
             credits once A has said success.",
            money(FIRST)
        ));
        let entry = self.follow(tid, |entry| entry.status != Status::Pending).await?;
        self.story.check(entry.status == Status::Ok, format!("transfer {tid} is confirmed at A"));
        let arrived = self.until_bob_has(FIRST).await?;
        self.story.check(arrived, format!("{} has {}", self.names.1, money(FIRST)));
        Ok(())
    }

    async fn money_comes_back(&self) -> Result<(), Failure> {
        self.stage.b.take_down().await;
        self.story.tell("Company B goes down.");
        let tid = self.begin(SECOND).await?;
        self.story.tell(format!(
            "Transfer {tid} of {}: A publishes it, again and again; nobody answers.",
            money(SECOND)
        ));
        let entry = self.follow(tid, |entry| entry.is_back).await?;
        self.story.check(
            entry.status == Status::Failed && entry.is_back,
            format!("transfer {tid} has failed after A's 30 s, and the money is back"),
        );
        self.stage.b.bring_up().await?;
        self.story.tell("Company B is up again, and finds the message. It asks A, and A says error.");
        let is_refused = self.until_refused(tid).await?;
        self.story.check(is_refused, format!("B drops the late transfer {tid} and credits nothing"));
        let still = self.until_bob_has(FIRST).await?;
        self.story.check(still, format!("{} still has {}", self.names.1, money(FIRST)));
        Ok(())
    }

    /// The sum over both companies is what was put in.
    async fn nothing_is_missing(&self) {
        let b = self.books(&self.stage.b.url().await).await;
        let a = self.books(&self.stage.a.url()).await;
        let (Some(a), Some(b)) = (a, b) else { return self.story.check(false, "the books cannot be read") };
        let in_flight = Books::in_flight(&a, &b);
        let sum = a.balances + b.balances + in_flight;
        self.story.check(
            Books::balance(&a, &b) && in_flight == 0,
            format!(
                "{} at A, {} at B, {} in flight: {}, as was put in",
                money(a.balances),
                money(b.balances),
                money(in_flight),
                money(sum)
            ),
        );
    }

    async fn begin(&self, cents: i64) -> Result<i64, Failure> {
        let body = json!({ "from": self.names.0, "to": self.names.1, "money": cents });
        let answer = self.post(&self.stage.a.url(), "transfers", &body).await?;
        answer["tid"].as_i64().ok_or_else(|| Failure::run(format!("transfer system: no tid in {answer}")))
    }

    async fn post(&self, base: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let headers = [("content-type", "application/json")];
        let answer =
            self.client.post(&format!("{base}{path}"), &headers, body.to_string()).await.map_err(failed)?;
        if !answer.status.is_success() {
            return Err(Failure::run(format!("transfer system: {} {}", answer.status, answer.text())));
        }
        answer.json().map_err(failed)
    }

    /// A's row once it is as wished, or as it is when the time is up.
    async fn follow(&self, tid: i64, wished: impl Fn(&Entry) -> bool) -> Result<Entry, Failure> {
        let start = Instant::now();
        let url = format!("{}transfers/{tid}", self.stage.a.url());
        loop {
            let entry: Entry = self.client.get(&url).await.map_err(failed)?.json().map_err(failed)?;
            if wished(&entry) || start.elapsed() > LIMIT {
                return Ok(entry);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn until_bob_has(&self, cents: i64) -> Result<bool, Failure> {
        let start = Instant::now();
        let url = self.stage.b.url().await;
        while start.elapsed() < LIMIT {
            let books = self.books(&url).await.unwrap_or_default();
            let bob = books.accounts.iter().find(|account| account.name == self.names.1);
            if bob.is_some_and(|account| account.money == cents) {
                return Ok(true);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(false)
    }

    async fn until_refused(&self, tid: i64) -> Result<bool, Failure> {
        let start = Instant::now();
        let url = format!("{}transfers/{tid}", self.stage.b.url().await);
        while start.elapsed() < LIMIT {
            let answer = self.client.get(&url).await.map_err(failed)?;
            if answer.json::<Entry>().is_ok_and(|entry| entry.status == Status::Failed) {
                return Ok(true);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(false)
    }

    async fn books(&self, base: &str) -> Option<Books> {
        self.client.get(&format!("{base}books")).await.ok()?.json().ok()
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::run(format!("transfer system: {error}"))
}
