//! Messages that a queue knows to have been published before, by what their publisher calls them: the header
//! `x-deduplication-header`, or else the property `message-id`. What has neither is never a duplicate. Names of messages that
//! are kept over a restart are on a shelf of the store too, so that they are known again after it.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_amqp::{Properties, ValueRef};
use leveret_store::{Batch, HeldKey, Hold, Lsn, StoreError};
use rustc_hash::FxHashMap;

use super::rules::Window;
use super::storage::StoreHandle;
use crate::dead_letter::has_died_in;
use crate::{Effects, Message, Queue, Time};

/// The names of the last messages.
#[derive(Debug)]
pub(super) struct Deduplication {
    window: Window,
    known: FxHashMap<Arc<[u8]>, Known>,
    /// In the order in which they came.
    order: VecDeque<(Arc<[u8]>, Time)>,
    /// Names of messages that the queue has taken, of which the journal does not know yet.
    on_their_way: Vec<Arc<[u8]>>,
    /// What the store has of names that count no more.
    outdated: Vec<StoredName>,
}

/// What is known of a name.
#[derive(Debug)]
struct Known {
    until: Time,
    stored: Option<StoredName>,
}

/// A name's place in the store.
#[derive(Clone, Copy, Debug)]
struct StoredName {
    key: HeldKey,
    body_bytes: u64,
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

/// Names to be stored in one group with their messages: after a crash both are there, or neither, so that whoever publishes
/// once more what was not confirmed neither doubles nor loses it.
#[derive(Default)]
pub(crate) struct NamesToStore(Vec<NameToStore>);

struct NameToStore {
    queue: Arc<Queue>,
    name: Arc<[u8]>,
    handle: StoreHandle,
    until: Time,
    outdated: Vec<StoredName>,
    stored: Option<StoredName>,
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
    /// The names that the store does not have yet.
    pub(super) fn names(&self) -> NamesToStore {
        NamesToStore(self.firsts.iter().filter_map(First::to_store).collect())
    }

    pub(super) fn has_duplicates(&self) -> bool {
        !self.duplicates.is_empty()
    }

    /// Has the publisher of duplicates wait for what the messages wait for that were published before. These may be on
    /// their way in other threads; what this one has published is in the journal, so that nobody waits in a circle.
    pub(super) fn confirm(self, effects: &mut Effects) {
        // Those whose messages were handed on, and need no record.
        self.names().store_alone(effects);
        drop(self.firsts);
        for (queue, name) in self.duplicates {
            queue.confirm_duplicate(&name, effects);
        }
    }
}

impl First {
    fn to_store(&self) -> Option<NameToStore> {
        let (queue, name) = (Arc::clone(&self.queue), Arc::clone(&self.name));
        let handle = queue.durable()?.clone();
        let (until, outdated) = queue.lock().deduplication.as_mut()?.hand_over(&name)?;
        Some(NameToStore { queue, name, handle, until, outdated, stored: None })
    }
}

impl NamesToStore {
    /// Stores them, and has the store forget others for it.
    pub(super) fn store(&mut self, batch: &mut Batch<'_>, effects: &mut Effects) -> Result<(), StoreError> {
        for name in &mut self.0 {
            let position = name.store(batch)?;
            effects.position = position.or(effects.position);
        }
        Ok(())
    }

    fn store_alone(mut self, effects: &mut Effects) {
        let Some(first) = self.0.first() else { return };
        let persistence = Arc::clone(&first.handle.persistence);
        let stored = persistence.store.batch(|batch| self.store(batch, effects));
        if let Err(error) = stored.and_then(|stored| stored) {
            effects.failure = Some(error);
        }
        self.note_stored();
    }

    /// Tells the queues what was stored.
    pub(super) fn note_stored(self) {
        for name in self.0 {
            if let (Some(stored), Some(known)) = (name.stored, &mut name.queue.lock().deduplication) {
                known.note_stored(&name.name, stored);
            }
        }
    }
}

impl NameToStore {
    fn store(&mut self, batch: &mut Batch<'_>) -> Result<Option<Lsn>, StoreError> {
        let shelf = self.handle.names();
        for old in &self.outdated {
            batch.take(shelf, old.key, old.body_bytes);
        }
        let until = self.until.0.to_le_bytes();
        let body = [&until[..], &self.name];
        // What counts is the order in which they come, so that all are due at once.
        let hold = Hold { shelf, due: 0, tag: 0, flags: 0, transient: false, body: &body };
        let (key, position) = batch.hold(&hold)?;
        self.stored = Some(StoredName { key, body_bytes: (until.len() + self.name.len()) as u64 });
        Ok(position)
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
        Self {
            window,
            known: FxHashMap::default(),
            order: VecDeque::new(),
            on_their_way: Vec::new(),
            outdated: Vec::new(),
        }
    }

    /// Remembers the names that the store has.
    pub(super) fn restore(&mut self, handle: &StoreHandle, now: Time) {
        for record in handle.stored_names() {
            let stored = StoredName { key: record.key, body_bytes: record.body.len() as u64 };
            match record.body.split_first_chunk::<8>() {
                Some((until, name)) => {
                    let name = Name { name: name.into(), until: Time(u64::from_le_bytes(*until)) };
                    self.insert(name, Some(stored), now);
                }
                None => self.outdated.push(stored),
            }
        }
    }

    /// What the store is to be told of a name, unless it was already, or the name is forgotten.
    fn hand_over(&mut self, name: &[u8]) -> Option<(Time, Vec<StoredName>)> {
        let known = self.known.get(name).filter(|known| known.stored.is_none())?;
        Some((known.until, std::mem::take(&mut self.outdated)))
    }

    /// The store has the name.
    fn note_stored(&mut self, name: &[u8], stored: StoredName) {
        match self.known.get_mut(name) {
            Some(known) => known.stored = Some(stored),
            None => self.outdated.push(stored),
        }
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
        self.known.get(&name.name).is_some_and(|known| known.until > now)
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
        let remembered = Arc::clone(&name.name);
        self.insert(name, None, now);
        remembered
    }

    fn insert(&mut self, Name { name, until }: Name, stored: Option<StoredName>, now: Time) {
        let before = self.known.insert(Arc::clone(&name), Known { until, stored });
        self.outdated.extend(before.and_then(|known| known.stored));
        self.order.push_back((name, until));
        while let Some((oldest, until)) = self.order.front() {
            if *until > now && self.order.len() <= self.window.size {
                break;
            }
            // A name that was used again since stands further back too.
            if self.known.get(oldest).is_some_and(|known| known.until == *until) {
                let forgotten = self.known.remove(oldest);
                self.outdated.extend(forgotten.and_then(|known| known.stored));
            }
            self.order.pop_front();
        }
    }
}
