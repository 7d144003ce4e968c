//! What a queue should be, as plainly as it can be said: a sorted list of all messages that wait, a map of those that are
//! out, and the rules.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A message, by its number in the order of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub number: u64,
    pub priority: u8,
    pub published_ms: u64,
    pub expiration_ms: Option<u64>,
    pub persistent: bool,
    /// Whether it was delivered before.
    pub redelivered: bool,
    pub returns: u64,
}

/// What can be changed while the queue is used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    pub ttl_ms: Option<u64>,
    pub max_length: Option<usize>,
    pub rejects: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub published: u64,
    pub acked: u64,
    pub rejected: u64,
    pub expired: u64,
    pub dropped: u64,
    pub over_limit: u64,
    pub refused: u64,
}

#[derive(Debug, Default)]
pub struct Model {
    pub rules: Rules,
    pub delivery_limit: Option<u64>,
    /// Whether it keeps all messages over a restart, not only persistent ones.
    pub keeps_all: bool,
    pub ready: Vec<Message>,
    pub out: BTreeMap<u64, Message>,
    pub counts: Counts,
    pub now_ms: u64,
}

impl Model {
    fn expires_ms(&self, message: &Message) -> u64 {
        let ttl = self.rules.ttl_ms.into_iter().chain(message.expiration_ms).min();
        ttl.map_or(u64::MAX, |ms| message.published_ms + ms)
    }

    /// False where the queue is full and says so.
    pub fn publish(&mut self, message: Message) -> bool {
        if self.rules.rejects && self.rules.max_length.is_some_and(|max| self.ready.len() >= max) {
            self.counts.refused += 1;
            return false;
        }
        self.counts.published += 1;
        self.insert(message);
        true
    }

    fn insert(&mut self, message: Message) {
        self.ready.push(message);
        self.ready.sort_by_key(|message| (Reverse(message.priority), message.number));
    }

    /// The next message goes out; what has expired before it does not.
    pub fn deliver(&mut self, settled: bool) -> Message {
        while self.expires_ms(self.ready.first().expect("more was delivered than waits")) < self.now_ms {
            self.ready.remove(0);
            self.counts.expired += 1;
        }
        let message = self.ready.remove(0);
        if !settled {
            self.out.insert(message.number, message);
        }
        message
    }

    /// Lets the first messages go while they have expired; then, while they are too many; then again what has come to be
    /// the first.
    pub fn let_go(&mut self) {
        self.expire();
        while !self.rules.rejects && self.rules.max_length.is_some_and(|max| self.ready.len() > max) {
            self.ready.remove(0);
            self.counts.dropped += 1;
        }
        self.expire();
    }

    fn expire(&mut self) {
        while self.ready.first().is_some_and(|first| self.expires_ms(first) <= self.now_ms) {
            self.ready.remove(0);
            self.counts.expired += 1;
        }
    }

    pub fn ack(&mut self, number: u64) {
        self.out.remove(&number);
        self.counts.acked += 1;
    }

    pub fn reject(&mut self, number: u64) {
        self.out.remove(&number);
        self.counts.rejected += 1;
    }

    pub fn requeue(&mut self, number: u64) {
        let Some(mut message) = self.out.remove(&number) else { return };
        message.redelivered = true;
        message.returns += 1;
        if self.delivery_limit.is_some_and(|limit| message.returns > limit) {
            self.counts.over_limit += 1;
        } else {
            self.insert(message);
        }
    }

    pub fn put_back(&mut self, number: u64) {
        if let Some(message) = self.out.remove(&number) {
            self.insert(Message { redelivered: true, ..message });
        }
    }

    pub fn restart(&mut self) {
        for (_, message) in std::mem::take(&mut self.out) {
            self.insert(Message { redelivered: true, ..message });
        }
        let keeps_all = self.keeps_all;
        self.ready.retain(|message| message.persistent || keeps_all);
        self.counts = Counts::default();
    }

    pub fn persistent(&self) -> usize {
        let all = self.ready.iter().chain(self.out.values());
        all.filter(|message| message.persistent || self.keeps_all).count()
    }
}
