//! A hundred orders at once: accepted before they are written, one paid, one left to close.

use std::time::Duration;

use leveret_web::client::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::super::stage::{CLOSE_AFTER, Stage};
use super::super::story::Telling;
use crate::failure::Failure;

const ORDERS: usize = 100;
const LIMIT: Duration = Duration::from_secs(45);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Walks through the orders, and tells them.
pub(super) async fn walk(stage: &Stage, story: Telling) -> Result<(), Failure> {
    let visit = Visit { base: stage.orders.url(), story, client: Client::new(Duration::from_secs(10)) };
    let numbers = visit.place_all().await?;
    let mut written = 0;
    for number in &numbers {
        written += usize::from(visit.reaches(number, "created").await?);
    }
    visit.story.check(written == ORDERS, format!("{written} of {ORDERS} orders are in the database"));
    visit.pay_one_and_leave_one(&numbers).await
}

struct Visit {
    base: String,
    story: Telling,
    client: Client,
}

impl Visit {
    /// The numbers, all different.
    async fn place_all(&self) -> Result<Vec<String>, Failure> {
        let start = Instant::now();
        let mut placing = JoinSet::new();
        for userid in 1..=ORDERS {
            let (client, url) = (self.client.clone(), format!("{}orders", self.base));
            placing.spawn(async move {
                let headers = [("content-type", "application/json")];
                client.post(&url, &headers, json!({ "userid": userid }).to_string()).await
            });
        }
        let mut numbers = Vec::with_capacity(ORDERS);
        while let Some(placed) = placing.join_next().await {
            let answer = placed.map_err(failed)?.map_err(failed)?;
            let answer: Value = answer.json().map_err(failed)?;
            let number = answer["order_no"].as_str();
            numbers.push(number.ok_or_else(|| Failure::run(format!("orders system: {answer}")))?.to_owned());
        }
        let took = start.elapsed().as_millis();
        self.story.tell(format!(
            "{ORDERS} orders were placed at once; each was accepted when the broker had it on disk: {took} ms for all."
        ));
        numbers.sort();
        numbers.dedup();
        self.story.check(numbers.len() == ORDERS, format!("{} different order numbers", numbers.len()));
        Ok(numbers)
    }

    async fn pay_one_and_leave_one(&self, numbers: &[String]) -> Result<(), Failure> {
        let [paid, left, ..] = numbers else { return Err(Failure::run("orders system: too few orders")) };
        let url = format!("{}orders/{paid}/pay", self.base);
        let answer = self.client.post(&url, &[], "").await.map_err(failed)?;
        self.story.check(answer.status.is_success(), format!("order {paid} is paid"));
        self.story.tell(format!("The others close by themselves after {} s.", CLOSE_AFTER.as_secs()));
        let is_closed = self.reaches(left, "closed").await?;
        self.story.check(is_closed, format!("order {left} was not paid and is closed"));
        let url = format!("{}orders/{left}/pay", self.base);
        let late = self.client.post(&url, &[], "").await.map_err(failed)?;
        self.story.check(late.status.as_u16() == 409, "and cannot be paid any more");
        let is_paid = self.reaches(paid, "paid").await?;
        self.story.check(is_paid, "the paid one stays paid");
        Ok(())
    }

    /// Waits for an order to reach a state, or to be past it.
    async fn reaches(&self, number: &str, state: &str) -> Result<bool, Failure> {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            let answer = self.client.get(&format!("{}orders/{number}", self.base)).await.map_err(failed)?;
            let order: Value = answer.json().map_err(failed)?;
            let is_past = state == "created" && matches!(order["state"].as_str(), Some("paid" | "closed"));
            if order["state"] == state || is_past {
                return Ok(true);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(false)
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::run(format!("orders system: {error}"))
}
