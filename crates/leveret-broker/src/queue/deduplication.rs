//! Messages that a queue knows to have been published before, by what their publisher calls them: the header
//! `x-deduplication-header`, or else the property `message-id`. What has neither is never a duplicate.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_amqp::{Properties, ValueRef};
use rustc_hash::FxHashMap;

use super::rules::Window;
use crate::dead_letter::has_died_in;
use crate::{Message, Time};

/// The names of the last messages.
#[derive(Debug)]
pub(super) struct Deduplication {
    window: Window,
    /// Until when each counts.
    known: FxHashMap<Arc<[u8]>, Time>,
    /// In the order in which they came.
    order: VecDeque<(Arc<[u8]>, Time)>,
}

/// What its publisher calls a message, and how long that counts.
pub(super) struct Name {
    name: Arc<[u8]>,
    until: Time,
}

impl Deduplication {
    pub(super) fn new(window: Window) -> Self {
        Self { window, known: FxHashMap::default(), order: VecDeque::new() }
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

    /// The message counts as not published.
    pub(super) fn forget(&mut self, message: &Message<'_>, queue: &str) {
        if let Some(Name { name, .. }) = self.name(message, queue, Time::default()) {
            self.known.remove(&name);
            self.order.retain(|(other, _)| *other != name);
        }
    }

    /// Remembers the name, and forgets the oldest ones beyond the window.
    pub(super) fn remember(&mut self, name: Name, now: Time) {
        self.known.insert(Arc::clone(&name.name), name.until);
        self.order.push_back((name.name, name.until));
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
    }
}
