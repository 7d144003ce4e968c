//! Messages that a queue knows to have been published before, by what their publisher calls them: the header
//! `x-deduplication-header`, or else the property `message-id`. What has neither is never a duplicate.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_amqp::{Properties, ValueRef};
use rustc_hash::FxHashMap;

use super::rules::Window;
use crate::dead_letter::has_died_in;
use crate::{Effects, Message, Queue, Time};

/// The names of the last messages.
#[derive(Debug)]
pub(super) struct Deduplication {
    window: Window,
    /// Until when each counts.
    known: FxHashMap<Arc<[u8]>, Time>,
    /// In the order in which they came.
    order: VecDeque<(Arc<[u8]>, Time)>,
    /// Names of messages that are in the queue and not in the journal yet.
    on_their_way: Vec<Arc<[u8]>>,
}

/// What its publisher calls a message, and how long that counts.
pub(super) struct Name {
    name: Arc<[u8]>,
    until: Time,
}

/// What those queues have met of what is being published, until the store has been given it.
#[derive(Default)]
pub(crate) struct Met {
    firsts: Vec<First>,
    duplicates: Vec<(Arc<Queue>, Arc<[u8]>)>,
}

/// A message on its way to the journal. It has arrived there, or never will, when this is dropped.
struct First {
    queue: Arc<Queue>,
    name: Arc<[u8]>,
}

impl Drop for First {
    fn drop(&mut self) {
        self.queue.note_arrived(&self.name);
    }
}

impl Met {
    /// Has the publisher of duplicates wait for what the messages wait for that were published before. These may be on
    /// their way in other threads; what this one has published is in the journal, so that nobody waits in a circle.
    pub(super) fn confirm(self, effects: &mut Effects) {
        drop(self.firsts);
        for (queue, name) in self.duplicates {
            queue.confirm_duplicate(&name, effects);
        }
    }
}

impl Name {
    /// Notes a duplicate, which is to be confirmed once its first is in the journal.
    pub(super) fn note_duplicate(&self, queue: &Arc<Queue>, effects: &mut Effects) {
        let duplicate = (Arc::clone(queue), Arc::clone(&self.name));
        effects.met.get_or_insert_default().duplicates.push(duplicate);
    }
}

impl Deduplication {
    pub(super) fn new(window: Window) -> Self {
        Self { window, known: FxHashMap::default(), order: VecDeque::new(), on_their_way: Vec::new() }
    }

    /// What the message is called; nothing where it comes back to that queue as a dead letter, being the very one that was
    /// published before.
    pub(super) fn name(&self, message: &Message<'_>, queue: &str, now: Time) -> Option<Name> {
        let properties = Properties::parse(message.properties).ok()?;
        let headers = properties.headers.unwrap_or_default();
        if has_died_in(headers, queue) {
            return None;
        }
        let name = match headers.find("x-deduplication-header") {
            Some(ValueRef::Text(name) | ValueRef::Binary(name)) => [b"t", name].concat(),
            Some(value) => [b"n".as_slice(), &value.as_i64()?.to_be_bytes()].concat(),
            None => [b"t", properties.message_id?.as_bytes()].concat(),
        };
        let own_ms = headers.find("x-cache-ttl").and_then(ValueRef::as_i64);
        let ms = own_ms.and_then(|ms| u64::try_from(ms).ok()).or(self.window.ttl_ms);
        Some(Name { name: name.into(), until: ms.map_or(Time::NEVER, |ms| now.plus_ms(ms)) })
    }

    /// Whether a message of that name was published before.
    pub(super) fn knows(&self, name: &Name, now: Time) -> bool {
        self.known.get(&name.name).is_some_and(|until| *until > now)
    }

    /// Notes that the message of that name, just remembered, is not in the journal yet.
    pub(super) fn note_on_its_way(&mut self, name: Arc<[u8]>, queue: &Arc<Queue>, effects: &mut Effects) {
        self.on_their_way.push(Arc::clone(&name));
        effects.met.get_or_insert_default().firsts.push(First { queue: Arc::clone(queue), name });
    }

    /// Notes that it is, or never will be.
    pub(super) fn note_arrived(&mut self, name: &[u8]) {
        if let Some(at) = self.on_their_way.iter().position(|other| **other == *name) {
            self.on_their_way.swap_remove(at);
        }
    }

    /// Whether a message of that name is in the queue and not in the journal yet.
    pub(super) fn is_on_its_way(&self, name: &[u8]) -> bool {
        self.on_their_way.iter().any(|other| **other == *name)
    }

    /// Whether the name was forgotten since it was met.
    pub(super) fn has_forgotten(&self, name: &[u8]) -> bool {
        !self.known.contains_key(name)
    }

    /// The message counts as not published.
    pub(super) fn forget(&mut self, message: &Message<'_>, queue: &str) {
        if let Some(Name { name, .. }) = self.name(message, queue, Time::default()) {
            self.known.remove(&name);
            self.order.retain(|(other, _)| *other != name);
        }
    }

    /// Remembers the name, which it returns, and forgets the oldest ones beyond the window.
    pub(super) fn remember(&mut self, name: Name, now: Time) -> Arc<[u8]> {
        self.known.insert(Arc::clone(&name.name), name.until);
        self.order.push_back((Arc::clone(&name.name), name.until));
        while let Some((oldest, until)) = self.order.front() {
            if *until > now && self.order.len() <= self.window.size {
                break;
            }
            // A name that was used again since stands further back too.
            if self.known.get(oldest) == Some(until) {
                self.known.remove(oldest);
            }
            self.order.pop_front();
        }
        name.name
    }
}
