//! The whole system, on its own database and folder, with a real mail server.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "these are tests, though not marked so")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::time::Duration;

use leveret_mailserver::ScriptedMailServer;
pub use leveret_rig::soon;
use leveret_rig::{TestDatabase, broker};
use leveret_signup::{MailFolder, Names, Running, Settings, State, User};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

pub struct Rig {
    pub running: Running,
    pub mail_server: ScriptedMailServer,
    pub settings: Settings,
    pub mails: MailFolder,
    broker: Option<leveret_server::Server>,
    pub database: TestDatabase,
    _folder: TempDir,
}

impl Rig {
    /// The system with a mail server that refuses the first `failures` mails, and these delays.
    pub async fn start(failures: u32, delays_ms: &[u64]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = TestDatabase::new().await;
        let (broker, amqp_url) = broker().await;
        let mails = MailFolder::open(folder.path().join("mails")).await.unwrap();
        let mail_server = ScriptedMailServer::start(folder.path().join("mails"), failures).await.unwrap();
        let settings = Settings {
            amqp_url,
            database_url: database.url.clone(),
            listen: ([127, 0, 0, 1], 0).into(),
            mail_folder: folder.path().join("mails"),
            smtp_url: Some(mail_server.url()),
            delays: delays_ms.iter().copied().map(Duration::from_millis).collect(),
            names: names(),
            ..Settings::default()
        };
        let running = leveret_signup::run(settings.clone()).await.unwrap();
        Self { running, mail_server, settings, mails, broker, database, _folder: folder }
    }

    pub async fn stop(self) {
        self.running.shutdown().await;
        if let Some(broker) = self.broker {
            broker.shutdown().await;
        }
        self.database.remove().await;
    }

    /// Stops the system and starts it again on the same database and broker.
    pub async fn restart(mut self) -> Self {
        self.running.shutdown().await;
        self.running = leveret_signup::run(self.settings.clone()).await.unwrap();
        self
    }

    pub async fn sign_up(&self, name: &str, email: &str) -> i64 {
        let body = serde_json::json!({ "name": name, "email": email }).to_string();
        let answer = self.post("/users", &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["user_id"].as_i64().unwrap()
    }

    pub async fn user(&self, user_id: i64) -> User {
        self.running.system().user(user_id).await.unwrap().unwrap()
    }

    /// The user once the state is as wished.
    pub async fn until(&self, user_id: i64, wished: impl Fn(&State) -> bool) -> User {
        let reaching = async {
            loop {
                let user = self.user(user_id).await;
                if wished(&user.state) {
                    return user;
                }
            }
        };
        soon("state", reaching).await
    }

    pub async fn until_parked(&self, wanted: usize) -> Vec<leveret_bus::ParkedMessage> {
        let reaching = async {
            loop {
                let parked = self.running.system().parked().list(100).await.unwrap();
                if parked.len() == wanted {
                    return parked;
                }
            }
        };
        soon("parked messages", reaching).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\n"), b"").await
    }

    pub async fn post(&self, path: &str, json: &str) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n");
        self.ask(&head, json.as_bytes()).await
    }

    /// One request, written by hand so that it can be as odd as a test wants it.
    pub async fn ask(&self, head: &str, body: &[u8]) -> Answer {
        self.send(&format!("{head}content-length: {}\r\n", body.len()), body).await
    }

    /// One request that says by itself how long its body is.
    pub async fn send(&self, head: &str, body: impl AsRef<[u8]>) -> Answer {
        let mut stream = TcpStream::connect(self.running.addr()).await.unwrap();
        let head = format!("{head}host: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer and close before it has read a body that is too large.
        let _ = stream.write_all(body.as_ref()).await;
        let mut answer = Vec::new();
        let _ = soon("answer", stream.read_to_end(&mut answer)).await;
        Answer::parse(&String::from_utf8_lossy(&answer))
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (head, body) = (head.to_ascii_lowercase(), body.to_owned());
        Self { status: status.unwrap_or_else(|| panic!("no answer: {text:?}")), head, body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One answer of a connection that stays open; says its head.
pub async fn read_answer(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).await.unwrap(), 0, "the connection is closed: {head}");
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    head
}

pub fn is_sent(state: &State) -> bool {
    matches!(state, State::Sent { .. })
}

/// Names that no other test uses on the same broker.
fn names() -> Names {
    let id = uuid::Uuid::now_v7();
    let default = Names::default();
    Names {
        exchange: format!("{}-{id}", default.exchange),
        delay_exchange: format!("{}-{id}", default.delay_exchange),
        queue: format!("{}-{id}", default.queue),
        routing_key: default.routing_key,
    }
}
