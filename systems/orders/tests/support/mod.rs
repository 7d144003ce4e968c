//! The whole system on its own database.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "these are tests, though not marked so")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::time::Duration;

use leveret_orders::{Names, Running, Settings, run};
use leveret_rig::{TestDatabase, broker, until};
use leveret_web::client::{Client, Response};
use serde_json::{Value, json};

pub struct Rig {
    pub running: Running,
    pub settings: Settings,
    pub client: Client,
    broker: Option<leveret_server::Server>,
    pub database: TestDatabase,
}

impl Rig {
    pub async fn start_with(adjust: impl FnOnce(&mut Settings)) -> Self {
        let (broker, amqp_url) = broker().await;
        let database = TestDatabase::new().await;
        let mut settings = Settings {
            amqp_url,
            database_url: database.url.clone(),
            listen: ([127, 0, 0, 1], 0).into(),
            names: names(),
            ..Settings::default()
        };
        adjust(&mut settings);
        let running = run(settings.clone()).await.unwrap();
        Self { running, settings, client: Client::new(Duration::from_secs(20)), broker, database }
    }

    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn stop(self) {
        self.running.shutdown().await;
        if let Some(broker) = self.broker {
            broker.shutdown().await;
        }
        self.database.remove().await;
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url())
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client.get(&self.url(path)).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        let headers = [("content-type", "application/json")];
        self.client.post(&self.url(path), &headers, body.to_string()).await.unwrap()
    }

    /// Places an order and says its number.
    pub async fn place(&self, userid: i64) -> String {
        let answer = self.post("orders", &json!({ "userid": userid })).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json::<Value>().unwrap()["order_no"].as_str().unwrap().to_owned()
    }

    pub async fn state(&self, order_no: &str) -> String {
        let answer = self.get(&format!("orders/{order_no}")).await;
        answer.json::<Value>().unwrap()["state"].as_str().unwrap_or("none").to_owned()
    }

    pub async fn until_written(&self, order_no: &str) {
        until("it is written", async || (self.state(order_no).await != "accepted").then_some(())).await;
    }

    pub async fn until_state(&self, order_no: &str, wanted: &str) {
        until(wanted, async || (self.state(order_no).await == wanted).then_some(())).await;
    }
}

/// Names that no other test uses on the same broker.
fn names() -> Names {
    let id = uuid::Uuid::now_v7();
    let default = Names::default();
    Names {
        exchange: format!("{}-{id}", default.exchange),
        routing_key: default.routing_key,
        queue: format!("{}-{id}", default.queue),
        close_exchange: format!("{}-{id}", default.close_exchange),
        close_queue: format!("{}-{id}", default.close_queue),
    }
}
