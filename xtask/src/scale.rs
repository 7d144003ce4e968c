//! `cargo xtask scale`: many queues and many bindings on one broker, over one connection, and what its management takes then.
//! It prints what it measures and judges nothing, because figures of a shared machine say little.

mod management;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use leveret_amqp::Value;

use crate::broker::Broker;
use crate::conformance::client::{Address, Client, Login};
use crate::tree::Tree;

const LIMIT: Duration = Duration::from_secs(600);
/// Messages published for each figure about routing.
const PUBLISHED: u32 = 2000;

/// How many of what.
#[derive(Args)]
pub(crate) struct Options {
    /// Durable queues to declare
    #[arg(long, default_value_t = 100_000)]
    queues: u32,
    /// Queues of the fanout exchange
    #[arg(long, default_value_t = 1000)]
    fanout: u32,
    /// Bindings of the topic exchange
    #[arg(long, default_value_t = 100_000)]
    bindings: u32,
    /// How long messages flow while the management is asked, and in each run that rates are compared of
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Another binary than the release build
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Measures, and prints a line for each figure.
pub(crate) fn run(tree: &Tree, options: &Options) -> Result<()> {
    let binary = options.binary.clone().unwrap_or_else(|| tree.target("release/leveret"));
    ensure!(binary.exists(), "{} is not built: cargo build --release -p leveret", binary.display());
    ensure!(options.queues >= options.fanout.max(1), "the fanout has more queues than there are");
    let home = tree.target("scale");
    let (data, log) = (home.join("data"), home.join("leveret.log"));
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&home)?;

    let broker = Broker::launch(&binary, &data, &log)?;
    declare_queues(&broker, options.queues)?;
    broker.stop()?;
    let start = Instant::now();
    let broker = Broker::launch(&binary, &data, &log)?;
    let mut connection = Connection::open(&broker)?;
    connection.check_queue(options.queues - 1)?;
    println!("start with them: {:.2} s", start.elapsed().as_secs_f64());
    management::pages(&broker, &binary, (options.queues, options.seconds))?;
    fanout(&mut connection, options.fanout)?;
    topic(&mut connection, options)?;
    // The broker would wait for our answer to its close.
    drop(connection);
    broker.stop()?;
    management::statistics(tree, &binary, options.seconds / 5)
}

fn declare_queues(broker: &Broker, queues: u32) -> Result<()> {
    let mut connection = Connection::open(broker)?;
    let before = broker.resident_bytes()?;
    let start = Instant::now();
    for number in 0..queues {
        let fields = [("queue", queue(number)), ("durable", true.into()), ("no-wait", true.into())];
        connection.client.send(1, "queue.declare", fields)?;
    }
    connection.check_queue(queues - 1)?;
    let took = start.elapsed();
    let grown = broker.resident_bytes()?.saturating_sub(before);
    println!("{queues} durable queues declared over one connection: {:.2} s", took.as_secs_f64());
    println!("memory: {} bytes a queue", grown / u64::from(queues));
    Ok(())
}

fn fanout(connection: &mut Connection, queues: u32) -> Result<()> {
    connection.ask("exchange.declare", [("exchange", "fanout".into()), ("type", "fanout".into())])?;
    for number in 0..queues {
        connection.bind("fanout", queue(number), "")?;
    }
    connection.check_queue(0)?;
    let messages = PUBLISHED;
    let took = connection.publish("fanout", |_| "key".into(), messages)?;
    println!("fanout to {queues} queues: {:.1} µs a message", took.as_secs_f64() * 1e6 / f64::from(messages));
    Ok(())
}

fn topic(connection: &mut Connection, options: &Options) -> Result<()> {
    for bindings in [10, options.bindings] {
        let exchange = format!("topic-{bindings}");
        let fields = [("exchange", Value::from(exchange.as_str())), ("type", "topic".into())];
        connection.ask("exchange.declare", fields)?;
        let start = Instant::now();
        for number in 0..bindings {
            connection.bind(&exchange, queue(number % options.queues), &format!("area.{number}.*"))?;
        }
        connection.check_queue(0)?;
        let bound = start.elapsed();
        let took = connection.publish(&exchange, |n| format!("area.{}.x", n % bindings), PUBLISHED)?;
        println!(
            "topic with {bindings} bindings: bound in {:.2} s, {:.1} µs a message",
            bound.as_secs_f64(),
            took.as_secs_f64() * 1e6 / f64::from(PUBLISHED)
        );
    }
    Ok(())
}

fn queue(number: u32) -> Value {
    format!("queue-{number}").as_str().into()
}

/// A connection with one channel, in confirm mode.
struct Connection {
    client: Client,
    published: u64,
}

impl Connection {
    fn open(broker: &Broker) -> Result<Self> {
        let address = Address::parse(&broker.url)?;
        let mut client = Client::connect(&address)?;
        client.log_in(&Login {
            user: address.user,
            password: address.password,
            vhost: address.vhost,
            channel_max: None,
            frame_max: None,
            heartbeat: 0,
            capabilities: vec!["publisher_confirms".into()],
        })?;
        let mut connection = Self { client, published: 0 };
        connection.ask("channel.open", [])?;
        connection.ask("confirm.select", [])?;
        Ok(connection)
    }

    fn ask<const N: usize>(&mut self, method: &str, fields: [(&str, Value); N]) -> Result<()> {
        self.client.send(1, method, fields)?;
        let answer = format!("{method}-ok");
        let deadline = Instant::now() + LIMIT;
        loop {
            while let Some(arrival) = self.client.waiting.pop_front() {
                if arrival.is(&answer) {
                    return Ok(());
                }
                ensure!(!arrival.is("channel.close"), "refused: {:?}", arrival.fields);
            }
            if self.client.ended || !self.client.read(deadline)? {
                bail!("no {answer}");
            }
        }
    }

    /// When this returns, everything asked for before is done.
    fn check_queue(&mut self, number: u32) -> Result<()> {
        self.ask("queue.declare", [("queue", queue(number)), ("passive", true.into())])
    }

    fn bind(&mut self, exchange: &str, queue: Value, key: &str) -> Result<()> {
        let fields = [
            ("exchange", exchange.into()),
            ("queue", queue),
            ("routing-key", key.into()),
            ("no-wait", true.into()),
        ];
        self.client.send(1, "queue.bind", fields)
    }

    /// Publishes with keys that are mostly new, and waits for the confirms.
    fn publish(&mut self, exchange: &str, key: impl Fn(u32) -> String, messages: u32) -> Result<Duration> {
        let start = Instant::now();
        for number in 0..messages {
            let key = key(number);
            let fields = [("exchange", exchange.into()), ("routing-key", key.as_str().into())];
            self.client.send(1, "basic.publish", fields)?;
            self.client.send_content(1, &[], b"message")?;
        }
        self.published += u64::from(messages);
        let deadline = start + LIMIT;
        loop {
            while let Some(arrival) = self.client.waiting.pop_front() {
                let tag = arrival.number("delivery-tag").context("a confirm has a number")?;
                if arrival.is("basic.ack") && tag.unsigned_abs() == self.published {
                    return Ok(start.elapsed());
                }
            }
            if self.client.ended || !self.client.read(deadline)? {
                bail!("no confirm of message {}", self.published);
            }
        }
    }
}
