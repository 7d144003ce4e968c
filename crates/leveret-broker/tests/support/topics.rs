//! A topic exchange beside the plain way to do what it does: looking at each binding by itself.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::BTreeSet;
use std::sync::Arc;

use leveret_amqp::{FieldTable, Properties};
use leveret_broker::{
    BindingName, Broker, Client, Effects, Error, ExchangeOptions, QueueOptions, Users, Vhost,
};

/// How many queues there are, named by their numbers.
pub const QUEUES: usize = 4;

/// What is done with the exchange.
#[derive(Clone, Debug)]
pub enum Step {
    Bind { queue: usize, pattern: String },
    Unbind { queue: usize, pattern: String },
    Publish { key: String },
}

pub struct Topics {
    vhost: Arc<Vhost>,
    bound: BTreeSet<(usize, String)>,
}

impl Topics {
    pub fn new() -> Self {
        let broker = Broker::new(Users::new(vec![]));
        let vhost = broker.add_vhost("/").unwrap();
        let me = Client::broker();
        let options = ExchangeOptions { kind: "topic".into(), ..ExchangeOptions::default() };
        vhost.declare_exchange("t", options, &me).unwrap();
        for queue in 0..QUEUES {
            let name = queue.to_string();
            vhost.declare_queue(&name, QueueOptions::default(), &me, &mut Effects::default()).unwrap();
        }
        Self { vhost, bound: BTreeSet::new() }
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Step::Bind { queue, pattern } => {
                self.named(queue, &pattern, Vhost::bind);
                self.bound.insert((queue, pattern));
            }
            Step::Unbind { queue, pattern } => {
                self.named(queue, &pattern, Vhost::unbind);
                self.bound.remove(&(queue, pattern));
            }
            Step::Publish { key } => assert_eq!(self.reached(&key), self.expected(&key), "{key:?}"),
        }
    }

    fn named(
        &self,
        queue: usize,
        key: &str,
        act: impl FnOnce(&Vhost, BindingName<'_>, &Client) -> Result<(), Error>,
    ) {
        let (name, arguments) = (queue.to_string(), FieldTable::default());
        let binding =
            BindingName { source: "t", destination: &name, to_queue: true, key, arguments: &arguments };
        act(&self.vhost, binding, &Client::broker()).unwrap();
    }

    fn reached(&self, key: &str) -> Vec<String> {
        let (routing, _) = self.vhost.route(("t", key), &Properties::default(), &Client::broker()).unwrap();
        let mut queues: Vec<String> =
            routing.route.queues.iter().map(|queue| queue.name.to_string()).collect();
        queues.sort();
        queues
    }

    fn expected(&self, key: &str) -> Vec<String> {
        let key = words(key);
        let bound = self.bound.iter().filter(|(_, pattern)| matches(&words(pattern), &key));
        let queues: BTreeSet<usize> = bound.map(|(queue, _)| *queue).collect();
        queues.iter().map(usize::to_string).collect()
    }
}

/// An empty text has no words.
fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { vec![] } else { text.split('.').collect() }
}

/// Word by word: `reach[n]` says whether the pattern so far takes the first `n` words.
fn matches(pattern: &[&str], words: &[&str]) -> bool {
    let mut reach = vec![false; words.len() + 1];
    reach[0] = true;
    for part in pattern {
        let before = reach.clone();
        for n in 0..=words.len() {
            reach[n] = match *part {
                "#" => before[n] || n > 0 && reach[n - 1],
                "*" => n > 0 && before[n - 1],
                word => n > 0 && before[n - 1] && words[n - 1] == word,
            };
        }
    }
    reach[words.len()]
}
