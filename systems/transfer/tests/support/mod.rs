//! Both companies, each on its own database.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "these are tests, though not marked so")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::time::Duration;

use leveret_bus::Message;
use leveret_rig::{TestDatabase, broker, until};
use leveret_transfer::a::RunningA;
use leveret_transfer::b::RunningB;
use leveret_transfer::{
    Books, Entry, Names, SIGNATURE_HEADER, Secret, SettingsA, SettingsB, Status, run_a, run_b,
};
use leveret_web::client::{Client, Response};
use serde_json::{Value, json};

pub const SECRET: &str = "a secret for tests only";

pub fn secret() -> Secret {
    Secret::new(SECRET).unwrap()
}

/// Two companies.
pub struct Rig {
    pub a: RunningA,
    b: Option<RunningB>,
    pub settings_a: SettingsA,
    pub settings_b: SettingsB,
    pub client: Client,
    broker: Option<leveret_server::Server>,
    databases: [TestDatabase; 2],
}

impl Rig {
    pub async fn start() -> Self {
        Self::start_with(|_, _| {}).await
    }

    /// With settings of the test's own.
    pub async fn start_with(adjust: impl FnOnce(&mut SettingsA, &mut SettingsB)) -> Self {
        let databases = [TestDatabase::new().await, TestDatabase::new().await];
        let (broker, amqp_url) = broker().await;
        let names = names();
        let mut settings_a = SettingsA {
            amqp_url: amqp_url.clone(),
            database_url: databases[0].url.clone(),
            listen: ([127, 0, 0, 1], 0).into(),
            names: names.clone(),
            ..SettingsA::new(secret())
        };
        let mut settings_b = SettingsB {
            amqp_url,
            database_url: databases[1].url.clone(),
            listen: ([127, 0, 0, 1], 0).into(),
            names,
            ..SettingsB::new(secret())
        };
        adjust(&mut settings_a, &mut settings_b);
        let a = run_a(settings_a.clone()).await.unwrap();
        settings_a.listen = a.addr();
        if settings_b.callback_url == SettingsB::new(secret()).callback_url {
            settings_b.callback_url = format!("http://{}/callback", a.addr());
        }
        settings_b.peer_url = Some(a.url());
        let b = run_b(settings_b.clone()).await.unwrap();
        let client = Client::new(Duration::from_secs(20));
        let rig = Self { a, b: Some(b), settings_a, settings_b, client, broker, databases };
        rig.post(&rig.a.url(), "users", &json!({ "name": "alice", "money": 10_000 })).await;
        rig.post(&rig.b().url(), "users", &json!({ "name": "bob", "money": 500 })).await;
        rig
    }

    pub async fn stop(self) {
        let rig = self.stop_b().await;
        rig.a.shutdown().await;
        if let Some(broker) = rig.broker {
            broker.shutdown().await;
        }
        for database in rig.databases {
            database.remove().await;
        }
    }

    pub fn b(&self) -> &RunningB {
        self.b.as_ref().expect("B is stopped")
    }

    pub async fn stop_b(mut self) -> Self {
        if let Some(b) = self.b.take() {
            b.shutdown().await;
        }
        self
    }

    pub async fn start_b(mut self) -> Self {
        self.b = Some(run_b(self.settings_b.clone()).await.unwrap());
        self
    }

    pub async fn post(&self, base: &str, path: &str, body: &Value) -> Response {
        let headers = [("content-type", "application/json")];
        self.client.post(&format!("{base}{path}"), &headers, body.to_string()).await.unwrap()
    }

    pub async fn transfer(&self, money: i64) -> i64 {
        let body = json!({ "from": "alice", "to": "bob", "money": money });
        let answer = self.post(&self.a.url(), "transfers", &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json::<Value>().unwrap()["tid"].as_i64().unwrap()
    }

    pub async fn at_a(&self, tid: i64) -> Entry {
        let answer = self.client.get(&format!("{}transfers/{tid}", self.a.url())).await.unwrap();
        answer.json().unwrap_or_else(|_| panic!("{}", answer.text()))
    }

    pub async fn at_b(&self, tid: i64) -> Option<Entry> {
        let answer = self.client.get(&format!("{}transfers/{tid}", self.b().url())).await.unwrap();
        (answer.status == 200).then(|| answer.json().unwrap())
    }

    /// Waits until both sides are done with all transfers.
    pub async fn at_rest(&self) -> (Books, Books) {
        let books = until("rest", async || {
            let (b, a) = (self.b().system().books().await.unwrap(), self.a.system().books().await.unwrap());
            let at_rest = (a.open, b.open) == (0, 0) && Books::in_flight(&a, &b) == 0;
            at_rest.then_some((a, b))
        });
        let books = books.await;
        assert!(Books::balance(&books.0, &books.1), "{books:?}");
        books
    }

    pub async fn until_at_a(&self, tid: i64, wanted: Status) -> Entry {
        until("the transfer's status", async || {
            let entry = self.at_a(tid).await;
            (entry.status == wanted).then_some(entry)
        })
        .await
    }
}

/// A message to B as A would send it.
pub fn signed(names: &Names, body: &Value) -> Message {
    let message = Message::json(&names.exchange, &names.routing_key, body).unwrap();
    let signature = secret().sign_message(message.body());
    message.with_header(SIGNATURE_HEADER, signature)
}

/// What somebody has.
pub fn money_of(books: &Books, name: &str) -> i64 {
    books.accounts.iter().find(|account| account.name == name).unwrap().money
}

/// Names that no other test uses on the same broker.
pub fn names() -> Names {
    let id = uuid::Uuid::now_v7();
    let default = Names::default();
    Names {
        exchange: format!("{}-{id}", default.exchange),
        queue: format!("{}-{id}", default.queue),
        routing_key: default.routing_key,
    }
}
