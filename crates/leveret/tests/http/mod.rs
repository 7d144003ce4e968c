//! A client of a management API for tests, and the shapes of what it answers.

#![allow(dead_code)] // Each test program uses its part of this.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use crate::binary::Broker;

/// A user at a management API.
pub(crate) struct Api {
    agent: Agent,
    base: String,
    user: String,
    password: String,
}

impl Api {
    pub(crate) fn of(broker: &Broker) -> Self {
        Self::at(&format!("http://guest:guest@{}", broker.management()))
    }

    /// `url` is `http://USER:PASSWORD@HOST:PORT`.
    pub(crate) fn at(url: &str) -> Self {
        let rest = url.strip_prefix("http://").expect("an http URL");
        let (user, address) = rest.split_once('@').expect("a user");
        let (user, password) = user.split_once(':').expect("a password");
        let config = Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true);
        Self {
            agent: config.timeout_global(Some(Duration::from_secs(60))).build().into(),
            base: format!("http://{address}/api"),
            user: user.into(),
            password: password.into(),
        }
    }

    pub(crate) fn logged_in_as(&self, user: &str, password: &str) -> Self {
        Self {
            agent: self.agent.clone(),
            base: self.base.clone(),
            user: user.into(),
            password: password.into(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, b"")
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("PUT", path, body.to_string().as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, body.to_string().as_bytes())
    }

    pub(crate) fn delete(&self, path: &str) -> (u16, Value) {
        self.send("DELETE", path, b"")
    }

    /// What stands at a path beside the API.
    pub(crate) fn text(&self, path: &str) -> String {
        let url = format!("{}{path}", self.base.trim_end_matches("/api"));
        let mut answer = self.agent.get(url).call().expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.body_mut().read_to_string().expect("a body")
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        self.send_with(&[], method, path, body)
    }

    pub(crate) fn send_with(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: &[u8],
    ) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", basic(&self.user, &self.password))
            .header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(body).expect("a request");
        let mut answer = self.agent.run(request).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let encoded = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}

/// What a value looks like: the names of its fields and their types, and of a list all fields that any of its items has.
pub(crate) fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => {
            let merged = items.iter().map(shape).reduce(merge);
            merged.map_or_else(|| json!([]), |merged| json!([merged]))
        }
        Value::Object(fields) => {
            // Nodes are named after the machine.
            let named = |name: &String| if name.contains('@') { "NODE".to_owned() } else { name.clone() };
            Value::Object(fields.iter().map(|(name, value)| (named(name), shape(value))).collect())
        }
    }
}

fn merge(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Object(mut a), Value::Object(b)) => {
            for (name, value) in b {
                let merged = match a.remove(&name) {
                    Some(other) => merge(other, value),
                    None => value,
                };
                a.insert(name, merged);
            }
            Value::Object(a)
        }
        (Value::Array(a), Value::Array(b)) => {
            let merged = a.into_iter().chain(b).reduce(merge);
            Value::Array(merged.into_iter().collect())
        }
        (a, b) => {
            if a == "null" {
                b
            } else {
                a
            }
        }
    }
}

/// Adds what `theirs` has and `ours` has not, but for fields that begin as one of `not_here`.
pub(crate) fn missing(path: &str, theirs: &Value, ours: &Value, not_here: &[&str], found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let is_kept = |name: &str| {
                let place = format!("{}.{name}", path.rsplit('.').next().unwrap_or_default());
                !not_here.iter().any(|not| name.starts_with(not) || place.ends_with(not))
            };
            for (name, value) in theirs.iter().filter(|(name, _)| is_kept(name)) {
                match ours.get(name) {
                    None => found.push(format!("{path}.{name}")),
                    Some(own) => missing(&format!("{path}.{name}"), value, own, not_here, found),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                missing(path, theirs, ours, not_here, found);
            } else if !theirs.is_empty() {
                found.push(format!("{path}: items"));
            }
        }
        (a, b) if a == b || a == "null" || b == "null" => {}
        (a, b) => found.push(format!("{path}: {a}, not {b}")),
    }
}

/// A connection that publishes, consumes and acknowledges until it is dropped.
pub(crate) struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    pub(crate) fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, url) = (Arc::clone(&stop), url.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work(&url, &seen)).expect("a connection that works");
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been told there.
            let _ = thread.join();
        }
    }
}

async fn work(url: &str, stop: &AtomicBool) -> Result<(), lapin::Error> {
    let connection = Connection::connect(url, named()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(10, BasicQosOptions::default()).await?;
    let consume = channel.basic_consume(
        "shape".into(),
        "shape".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let mut consumer = consume.await?;
    while !stop.load(Ordering::Relaxed) {
        let properties = BasicProperties::default();
        let publish = channel.basic_publish(
            "shape-x".into(),
            "a.b".into(),
            BasicPublishOptions::default(),
            b"x",
            properties,
        );
        publish.await?.await?;
        if let Some(delivery) = consumer.next().await {
            delivery?.ack(BasicAckOptions::default()).await?;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connection.close(200, "".into()).await
}

fn named() -> ConnectionProperties {
    ConnectionProperties::default().with_connection_name("shape".into())
}
