//! A server in memory with its management, on ports of their own.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret_broker::{Broker, Lsn, Time};
use leveret_management::{Committed, Limits, Listener, Logs, Management, Node, NodeStatus};
use leveret_server::{Config, Handle, Server};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// guest:guest
pub(crate) const LOGIN: &str = "authorization: Basic Z3Vlc3Q6Z3Vlc3Q=";
/// Longest wait for what comes soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) management: Management,
}

impl Stage {
    /// Starts both within the current tokio runtime.
    pub(crate) async fn start(limits: Limits) -> Self {
        Self::with(Config::default(), limits).await
    }

    /// The same with settings of its own.
    pub(crate) async fn with(config: Config, limits: Limits) -> Self {
        let config = Config { amqp: "127.0.0.1:0".into(), ..config };
        let server = Server::start(config).await.expect("the server starts");
        let node = InProcess { handle: server.handle(), logs: Logs::default() };
        let management = Management::start("127.0.0.1:0", node, limits).await.expect("the management starts");
        Self { server, management }
    }

    /// What the guest is answered, as it comes over the wire.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.management.address()).await.expect("connects");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{LOGIN}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("is sent");
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").expect("text");
        answer
    }

    /// Status and JSON of what a user is answered; `null` where it is none.
    pub(crate) async fn json(&self, user: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.management.address()).await.expect("connects");
        let (login, body) = (BASE64_STANDARD.encode(user), body.to_string());
        // An answer of any length ends with the connection, as HTTP 1.0 has it.
        let head = format!(
            "{method} /api{path} HTTP/1.0\r\nauthorization: Basic {login}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("is sent");
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").expect("text");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// JSON that the guest gets.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.json("guest:guest", "GET", path, &Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// The guest changes something.
    pub(crate) async fn change(&self, method: &str, path: &str, body: &Value) {
        let (status, answer) = self.json("guest:guest", method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    }
}

/// The server as its management sees it. The system's figures are left out.
struct InProcess {
    handle: Handle,
    logs: Logs,
}

impl Node for InProcess {
    fn broker(&self) -> &Arc<Broker> {
        self.handle.broker()
    }

    fn now(&self) -> Time {
        self.handle.now()
    }

    fn name(&self) -> &str {
        "leveret@test"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn listeners(&self) -> Vec<Listener> {
        let (plain, tls) = self.handle.listeners();
        let ends = self.handle.certificates();
        let tls = tls.map(|address| Listener {
            certificates: ends.shown.clone(),
            authorities: ends.trusted.clone(),
            ..Listener::plain("amqp/ssl", address)
        });
        plain.map(|address| Listener::plain("amqp", address)).into_iter().chain(tls).collect()
    }

    fn max_message_bytes(&self) -> u64 {
        self.handle.config().max_message_bytes
    }

    fn blocked(&self) -> Option<&'static str> {
        self.handle.blocked()
    }

    fn status(&self) -> NodeStatus {
        NodeStatus::default()
    }

    fn logs(&self) -> &Logs {
        &self.logs
    }

    fn committed(&self, position: Lsn) -> Committed<'_> {
        Box::pin(self.handle.committed(position))
    }
}
