//! The programs as one would run them, A, B and the broker, killed with SIGKILL at random, while messages are stolen
//! and doubled and callbacks delayed, lost and doubled. After every round everything is still for a moment and the money
//! is counted, in both databases, row by row; at the end nothing may be in flight.
//!
//! 20 rounds; `LEVERET_CHAOS_ROUNDS` makes it more, `LEVERET_CHAOS_SEED` repeats a run as far as processes can be.
//! With `LEVERET_TEST_AMQP_URL` the broker is somebody else's and stays alive.
#![allow(clippy::unwrap_used, reason = "these are tests, also their setting up")]

mod support;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use fastrand::Rng;
use leveret_bus::{Bus, database};
use leveret_rig::{Program, TestDatabase, until};
use leveret_transfer::{Names, SIGNATURE_HEADER, TIME_HEADER};
use leveret_web::client::Client;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::json;
use support::{SECRET, names, signed};
use tokio::time::sleep;

const ROUNDS: u32 = 20;
const TRANSFERS: u32 = 15;
const PEOPLE: u32 = 4;
const EACH: i64 = 100_000;
/// A's time-out; callbacks are held back for longer than that.
const EXPIRE_AFTER: Duration = Duration::from_millis(1200);

/// Set in the process that is the broker.
const BROKER_DIR: &str = "LEVERET_CHAOS_BROKER_DIR";
const BROKER_ADDR: &str = "LEVERET_CHAOS_BROKER_ADDR";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_survives_everything() {
    if let Ok(folder) = std::env::var(BROKER_DIR) {
        return be_the_broker(&folder).await;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("LEVERET_CHAOS_ROUNDS").unwrap_or(ROUNDS.into());
    let seed = number("LEVERET_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LEVERET_CHAOS_SEED={seed} LEVERET_CHAOS_ROUNDS={rounds}");
    let mut world = World::make(Rng::with_seed(seed)).await;
    for round in 0..rounds {
        world.round(round).await;
        world.kill_companies();
        world.count_money(round).await;
    }
    world.end().await;
}

/// This test again, in a process of its own, as the broker.
async fn be_the_broker(folder: &str) {
    let amqp = std::env::var(BROKER_ADDR).unwrap();
    let config = leveret_server::Config { amqp, data_dir: Some(folder.into()), ..Default::default() };
    let server = leveret_server::Server::start(config).await.unwrap();
    println!("\nthe broker is {}", server.amqp_url());
    std::future::pending::<()>().await;
}

struct World {
    rng: Rng,
    a: Option<Program>,
    b: Option<Program>,
    broker: Option<Program>,
    /// Where they are, each time they are started.
    places: Places,
    databases: [TestDatabase; 2],
    folder: tempfile::TempDir,
    client: Client,
    begun: u32,
}

struct Places {
    a: SocketAddr,
    b: SocketAddr,
    /// Empty where the broker is somebody else's.
    broker: Option<SocketAddr>,
    amqp_url: String,
    callback_url: String,
    names: Names,
}

impl World {
    async fn make(mut rng: Rng) -> Self {
        let (a, b) = (free_address(), free_address());
        let theirs = std::env::var("LEVERET_TEST_AMQP_URL").ok();
        let broker = theirs.is_none().then(free_address);
        let amqp_url = theirs.unwrap_or_else(|| format!("amqp://guest:guest@{}", broker.unwrap()));
        let callback_url = bad_road(format!("http://{a}/callback"), rng.u64(..)).await;
        let places = Places { a, b, broker, amqp_url, callback_url, names: names() };
        let databases = [TestDatabase::new().await, TestDatabase::new().await];
        let client = Client::new(Duration::from_secs(20));
        let folder = tempfile::tempdir().unwrap();
        let mut world =
            Self { rng, a: None, b: None, broker: None, places, databases, folder, client, begun: 0 };
        world.start_all();
        world.open_accounts().await;
        world
    }

    fn start_all(&mut self) {
        if let (None, Some(addr)) = (&self.broker, self.places.broker) {
            self.broker = Some(start_broker(addr, self.folder.path()));
        }
        if self.a.is_none() {
            self.a = Some(self.start(
                "a",
                &self.databases[0].url,
                self.places.a,
                &[
                    ("--republish-every-ms", "200"),
                    ("--republish-until-ms", "1000"),
                    ("--expire-every-ms", "200"),
                    ("--expire-after-ms", &EXPIRE_AFTER.as_millis().to_string()),
                ],
            ));
        }
        if self.b.is_none() {
            self.b = Some(self.start(
                "b",
                &self.databases[1].url,
                self.places.b,
                &[
                    ("--callback-url", &self.places.callback_url),
                    ("--callback-timeout-ms", "500"),
                    ("--sweep-every-ms", "100"),
                    ("--ask-again-after-ms", "50"),
                ],
            ));
        }
    }

    fn start(&self, company: &str, database: &str, addr: SocketAddr, flags: &[(&str, &str)]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transfer"));
        let Names { exchange, routing_key, queue } = &self.places.names;
        command
            .args([company, "--amqp-url", &self.places.amqp_url, "--secret", SECRET])
            .args(["--exchange", exchange, "--routing-key", routing_key, "--queue", queue])
            .args(["--database-url", database, "--listen", &addr.to_string()])
            .args(flags.iter().flat_map(|(name, value)| [name, value]))
            .env("RUST_LOG", "off");
        Program::start(&mut command)
    }

    async fn open_accounts(&self) {
        for number in 0..PEOPLE {
            for (addr, side) in [(self.places.a, "a"), (self.places.b, "b")] {
                let body = json!({ "name": format!("{side}{number}"), "money": EACH }).to_string();
                let headers = [("content-type", "application/json")];
                let answer = self.client.post(&format!("http://{addr}/users"), &headers, body).await.unwrap();
                assert_eq!(answer.status, 201);
            }
        }
    }

    /// Transfers, and trouble meanwhile.
    async fn round(&mut self, round: u64) {
        self.start_all();
        let sending: Vec<_> = (0..TRANSFERS).map(|_| self.send_one()).map(tokio::spawn).collect();
        for _ in 0..3 {
            sleep(Duration::from_millis(self.rng.u64(5..120))).await;
            self.trouble().await;
            self.start_all();
        }
        for one in sending {
            one.await.unwrap();
        }
        self.begun += TRANSFERS;
        // Every fourth round there is time for what is late to arrive.
        if round % 4 == 3 {
            sleep(EXPIRE_AFTER).await;
        }
    }

    /// A transfer, sent again with the same key until there is an answer: it happens once.
    fn send_one(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let to = if self.rng.u8(..) < 20 { "nobody".into() } else { format!("b{}", self.rng.u32(..PEOPLE)) };
        let from = format!("a{}", self.rng.u32(..PEOPLE));
        let body = json!({ "from": from, "to": to, "money": self.rng.i64(1..500) }).to_string();
        let key = format!("{:032x}", self.rng.u128(..));
        let (client, url) = (self.client.clone(), format!("http://{}/transfers", self.places.a));
        async move {
            for _ in 0..50 {
                let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
                match client.post(&url, &headers, body.clone()).await {
                    Ok(answer)
                        if !answer.status.is_server_error() && answer.status != StatusCode::CONFLICT =>
                    {
                        return;
                    }
                    _ => sleep(Duration::from_millis(50)).await,
                }
            }
        }
    }

    async fn trouble(&mut self) {
        match self.rng.u8(..6) {
            0 => self.a = None,
            1 => self.b = None,
            2 => self.broker = None,
            3 => (self.a, self.b) = (None, None),
            4 => self.steal().await,
            _ => self.double().await,
        }
    }

    /// Takes messages out of the queue while nobody else does, for good.
    async fn steal(&mut self) {
        self.b = None;
        let Ok(bus) = Bus::connect(&self.places.amqp_url).await else { return };
        let thief = bus
            .worker(&self.places.names.queue)
            .topology(leveret_bus::Topology::new().queue(&self.places.names.queue));
        if let Ok(thief) = thief.start(Thief).await {
            sleep(Duration::from_millis(30)).await;
            thief.shutdown().await;
        }
        bus.close().await;
    }

    /// Publishes copies of messages, of old transfers and new ones.
    async fn double(&mut self) {
        let Ok(bus) = Bus::connect(&self.places.amqp_url).await else { return };
        let transfers = transfers(&self.databases[0].url).await;
        let names = &self.places.names;
        let copies = transfers.iter().rev().take(20).map(|row| {
            let body = json!({ "tid": row.tid, "from": row.from, "to": row.to, "money": row.money });
            signed(names, &body)
        });
        // Whether they arrive is of no interest.
        let _ = bus.publisher().publish_all(copies.collect()).await;
        bus.close().await;
    }

    fn kill_companies(&mut self) {
        for program in [self.a.take(), self.b.take()].into_iter().flatten() {
            program.kill();
        }
    }

    /// Nobody writes now. Says what is in flight.
    async fn count_money(&self, round: u64) -> i64 {
        let Books { sum_a, sum_b, credited, transfers } = self.still_books().await;
        let mut in_flight = 0;
        let mut known = HashSet::new();
        for row in transfers {
            let is_credited = credited.contains_key(&row.tid);
            assert!(!is_credited || row.status == 1, "round {round}: {row:?} is credited without A's word");
            assert!(!is_credited || credited[&row.tid] == row.money, "round {round}: {row:?}");
            if !row.is_back && !is_credited {
                in_flight += row.money;
            }
            known.insert(row.tid);
        }
        assert!(credited.keys().all(|tid| known.contains(tid)), "round {round}: credited out of nothing");
        let total = i64::from(PEOPLE) * EACH * 2;
        assert_eq!(
            sum_a + sum_b + in_flight,
            total,
            "round {round}: A {sum_a}, B {sum_b}, in flight {in_flight}"
        );
        in_flight
    }

    /// What both have, once it is the same twice: a database may still be at what somebody asked of it before the kill.
    async fn still_books(&self) -> Books {
        let mut before = self.books().await;
        loop {
            let now = self.books().await;
            if now == before {
                return now;
            }
            before = now;
        }
    }

    async fn books(&self) -> Books {
        let [a, b] = &self.databases;
        Books {
            sum_a: sum(&a.url, "SELECT user_money FROM usermoney").await,
            sum_b: sum(&b.url, "SELECT umoney FROM umoney").await,
            credited: transfers_of_b(&b.url).await,
            transfers: transfers(&a.url).await,
        }
    }

    /// Left alone, everything comes to its end.
    async fn end(mut self) {
        self.start_all();
        let [a, b] = [self.databases[0].url.clone(), self.databases[1].url.clone()];
        until("rest", async || {
            let ours = transfers(&a).await;
            let open = ours.iter().filter(|row| row.status == 0 || (row.status == 2 && !row.is_back)).count();
            let confirmed = ours.iter().filter(|row| row.status == 1).count();
            (open == 0 && transfers_of_b(&b).await.len() == confirmed).then_some(())
        })
        .await;
        self.kill_companies();
        assert_eq!(self.count_money(u64::MAX).await, 0, "at rest nothing is in flight");
        let ours = transfers(&a).await;
        let confirmed = ours.iter().filter(|row| row.status == 1).count();
        println!(
            "{} asked for, {} begun, {confirmed} arrived, {} refunded",
            self.begun,
            ours.len(),
            ours.len() - confirmed
        );
        assert!(
            confirmed > 0 && confirmed < ours.len(),
            "of {} {confirmed} arrived: that was no chaos",
            ours.len()
        );
        assert!(ours.len() <= self.begun as usize, "a request key made two transfers");
        drop(self.broker);
        for database in self.databases {
            database.remove().await;
        }
    }
}

/// Takes messages and does nothing with them.
struct Thief;

impl leveret_bus::Handler for Thief {
    type Message = leveret_bus::Bytes;

    async fn handle(&self, _: leveret_bus::Bytes, _: &leveret_bus::Delivery) -> leveret_bus::Outcome {
        leveret_bus::Outcome::Done
    }
}

fn start_broker(addr: SocketAddr, folder: &Path) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "money_survives_everything", "--nocapture"])
        .env(BROKER_DIR, folder.join("broker"))
        .env(BROKER_ADDR, addr.to_string());
    Program::start(&mut command)
}

/// An address that is free now, and when somebody comes back to it: nobody else takes ports of any but the first of the
/// loopback's addresses.
fn free_address() -> SocketAddr {
    let host = std::net::Ipv4Addr::new(127, fastrand::u8(1..), fastrand::u8(..), fastrand::u8(1..255));
    std::net::TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// The way from B to A: most callbacks pass, some come late, twice or never, and some answers get lost.
async fn bad_road(to: String, seed: u64) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    let rng = std::sync::Arc::new(std::sync::Mutex::new(Rng::with_seed(seed)));
    let road = Road { to, client: Client::new(Duration::from_secs(5)), rng };
    let router = Router::new().route("/callback", post(pass)).with_state(road);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[derive(Clone)]
struct Road {
    to: String,
    client: Client,
    rng: std::sync::Arc<std::sync::Mutex<Rng>>,
}

async fn pass(State(road): State<Road>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let (time, signature) = (text(TIME_HEADER), text(SIGNATURE_HEADER));
    let forward = async || {
        let headers = [(TIME_HEADER, time.as_str()), (SIGNATURE_HEADER, signature.as_str())];
        match road.client.post(&road.to, &headers, body.clone()).await {
            Ok(answer) => (answer.status, answer.text()),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
        }
    };
    let fate = road.rng.lock().unwrap().u8(..100);
    let lost = (StatusCode::BAD_GATEWAY, "lost".to_owned());
    match fate {
        0..15 => {
            // B has given up long before, and A's time-out has passed.
            sleep(EXPIRE_AFTER + Duration::from_millis(300)).await;
            forward().await
        }
        15..25 => {
            forward().await;
            lost
        }
        25..30 => lost,
        30..40 => {
            let first = forward().await;
            forward().await;
            first
        }
        _ => forward().await,
    }
}

/// Both databases, as far as money is concerned.
#[derive(PartialEq)]
struct Books {
    sum_a: i64,
    sum_b: i64,
    /// By B, by tid.
    credited: HashMap<i64, i64>,
    transfers: Vec<Row>,
}

/// A row of A's log.
#[derive(Debug, PartialEq)]
struct Row {
    tid: i64,
    from: String,
    to: String,
    money: i64,
    status: i32,
    is_back: bool,
}

async fn connect(url: &str) -> DatabaseConnection {
    database::connect(url).await.unwrap()
}

async fn rows(url: &str, sql: &str) -> Vec<sea_orm::QueryResult> {
    let db = connect(url).await;
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    db.close().await.unwrap();
    rows
}

async fn sum(url: &str, sql: &str) -> i64 {
    rows(url, sql).await.iter().map(|row| row.try_get_by_index::<i64>(0).unwrap()).sum()
}

async fn transfers(url: &str) -> Vec<Row> {
    let rows = rows(url, "SELECT * FROM translog ORDER BY tid").await;
    let read = |row: &sea_orm::QueryResult| Row {
        tid: row.try_get("", "tid").unwrap(),
        from: row.try_get("", "from").unwrap(),
        to: row.try_get("", "to").unwrap(),
        money: row.try_get("", "money").unwrap(),
        status: row.try_get("", "status").unwrap(),
        is_back: row.try_get::<i32>("", "isback").unwrap() == 1,
    };
    rows.iter().map(read).collect()
}

/// What B has credited, by tid.
async fn transfers_of_b(url: &str) -> HashMap<i64, i64> {
    let rows = rows(url, "SELECT tid, money FROM translog WHERE status = 1").await;
    rows.iter().map(|row| (row.try_get("", "tid").unwrap(), row.try_get("", "money").unwrap())).collect()
}
