//! Exchanges of type `x-delayed-message`: what they hold back, and until when. The messages lie on a shelf of the
//! store, which orders them; here is what they mean.
//!
//! A held message is stored as a queue stores it, its properties as the consumer will see them.

mod listing;
mod properties;
mod release;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use leveret_store::{
    Drive, HeldKey, HeldRecord, Hold, Lsn, MemoryStorage, Options, ShelfId, Store, StoreError,
};
use parking_lot::Mutex;

pub use self::listing::{DelayedMessage, DelayedTotals, DueCell};
pub use self::properties::PlainDelay;
pub(crate) use self::properties::delay_ms;
use self::properties::released_properties;
use crate::backing::Backing;
use crate::queue::{PREFIX_BYTES, Persistence, stored_lens, stored_prefix};
use crate::{Message, Time};

/// The part of an `x-delayed-message` exchange that holds messages.
pub struct DelayedExchange {
    /// The exchange's name.
    pub name: Arc<str>,
    durable: bool,
    shelf: ShelfId,
    persistence: Arc<Persistence>,
    /// When the next message is due at the earliest, in microseconds since 1970.
    next_due: AtomicU64,
    /// Locked by whoever takes messages out: each goes one way only.
    taking: Mutex<()>,
    /// Why it releases nothing any more, and so holds nothing either.
    stopped: OnceLock<Stop>,
    counts: Counts,
}

/// Why an exchange releases nothing any more.
enum Stop {
    Deleted,
    /// The store did not take what queues have got: they would get it again and again.
    Failed(StoreError),
}

#[derive(Default)]
struct Counts {
    held: AtomicU64,
    released: AtomicU64,
    dropped: AtomicU64,
    cancelled: AtomicU64,
}

/// Names a held message, for as long as it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldId(HeldKey);

impl HeldId {
    /// When the message is due.
    #[must_use]
    pub fn due(self) -> Time {
        Time(self.0.due)
    }
}

impl fmt::Display for HeldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.0.due, self.0.number)
    }
}

impl FromStr for HeldId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (due, number) = text.split_once('-').ok_or(())?;
        let parse = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| ());
        Ok(Self(HeldKey { due: parse(due)?, number: parse(number)? }))
    }
}

/// A message as it lies on a shelf.
struct Held {
    key: HeldKey,
    tag: u64,
    transient: bool,
    body: Vec<u8>,
    route_len: usize,
    properties_len: usize,
}

impl Held {
    /// `None` where it is none of ours.
    fn of(record: HeldRecord) -> Option<Self> {
        let lens = stored_lens(&record.body)?;
        let HeldRecord { key, tag, transient, body, .. } = record;
        Some(Self {
            key,
            tag,
            transient,
            body,
            route_len: lens.route.into(),
            properties_len: lens.properties as usize,
        })
    }

    fn stored_bytes(&self) -> u64 {
        self.body.len() as u64
    }

    fn message(&self) -> Message<'_> {
        Message::of_parts(&self.body[PREFIX_BYTES..], self.route_len, self.properties_len)
    }
}

/// Where the delayed exchanges of a virtual host keep their messages.
pub(crate) struct Shelves {
    backing: Option<Arc<Backing>>,
    /// Without a backing: what lives as long as the process.
    volatile: Option<Arc<Persistence>>,
    next_id: u64,
}

impl Shelves {
    pub(crate) fn new(backing: Option<Arc<Backing>>) -> Self {
        Self { backing, volatile: None, next_id: 1 }
    }

    /// The holding part of a new exchange, or of one that was there before the restart under this id. The id is to be
    /// kept with the exchange.
    pub(crate) fn exchange(
        &mut self,
        name: &Arc<str>,
        durable: bool,
        id: Option<u64>,
    ) -> Result<(Arc<DelayedExchange>, u64), StoreError> {
        let (persistence, id) = match (&self.backing, id) {
            (Some(backing), Some(id)) => {
                backing.claim_shelf(id);
                (backing.persistence(), id)
            }
            (Some(backing), None) => (backing.persistence(), backing.new_id(durable)),
            (None, _) => {
                self.next_id += 1;
                (self.volatile()?, self.next_id)
            }
        };
        let next_due = persistence.store.next_due(ShelfId(id)).unwrap_or(u64::MAX);
        let exchange = DelayedExchange {
            name: Arc::clone(name),
            durable: durable && self.backing.is_some(),
            shelf: ShelfId(id),
            persistence,
            next_due: AtomicU64::new(next_due),
            taking: Mutex::default(),
            stopped: OnceLock::new(),
            counts: Counts::default(),
        };
        Ok((Arc::new(exchange), id))
    }

    fn volatile(&mut self) -> Result<Arc<Persistence>, StoreError> {
        if let Some(persistence) = &self.volatile {
            return Ok(Arc::clone(persistence));
        }
        let mut options = Options::default();
        options.drive = Drive::Manual;
        options.held_bytes = usize::MAX;
        let (store, _) = Store::open_on(Arc::new(MemoryStorage::default()), options, |_| {})?;
        let persistence = Arc::new(Persistence::new(store, 0));
        self.volatile = Some(Arc::clone(&persistence));
        Ok(persistence)
    }
}

/// A message on its way to a shelf.
pub struct Holding<'a> {
    message: Message<'a>,
    /// The properties as the consumer will see them, in pieces.
    released_properties: [&'a [u8]; 3],
    due: Time,
    /// What it can be found by.
    tag: u64,
}

impl Holding<'_> {
    fn stored_len(&self) -> usize {
        let properties: usize = self.released_properties.iter().map(|piece| piece.len()).sum();
        PREFIX_BYTES + self.message.route.len() + properties + self.message.body.len()
    }
}

impl DelayedExchange {
    fn store(&self) -> &Store {
        &self.persistence.store
    }

    /// Holds a message until `due`. True where nothing of this exchange is due earlier: then somebody has to wake for
    /// it. What to wait for before it counts as kept is the position, if there is one.
    ///
    /// # Errors
    /// Why the store did not take it.
    pub(crate) fn hold(
        &self,
        message: &Message<'_>,
        due: Time,
        now: Time,
    ) -> Result<(bool, Option<Lsn>), StoreError> {
        let properties = released_properties(message.properties);
        let properties = properties.as_deref().unwrap_or(message.properties);
        let parsed = leveret_amqp::Properties::parse(properties).unwrap_or_default();
        let released_properties = [properties, &[], &[]];
        let tag = tag_of(parsed.message_id.unwrap_or_default());
        let holding = Holding { message: *message, released_properties, due, tag };
        self.hold_run(&[holding], now)
    }

    /// Holds messages, in their order. See [`DelayedExchange::hold`].
    pub(crate) fn hold_run(&self, run: &[Holding<'_>], now: Time) -> Result<(bool, Option<Lsn>), StoreError> {
        let mut position = None;
        self.store().batch(|batch| {
            match self.stopped.get() {
                Some(Stop::Failed(error)) => return Err(error.clone()),
                // As if it had come just before.
                Some(Stop::Deleted) => return Ok(()),
                None => {}
            }
            // All of them, or none: the publisher is told the same of all.
            batch.check_room(run.iter().map(Holding::stored_len))?;
            for holding in run {
                let message = &holding.message;
                let [before, patch, after] = holding.released_properties;
                let prefix = stored_prefix(before.len() + patch.len() + after.len(), now);
                let hold = Hold {
                    shelf: self.shelf,
                    due: holding.due.0,
                    tag: holding.tag,
                    flags: 0,
                    transient: !(self.durable && message.persistent),
                    body: &[&prefix, message.route, before, patch, after, message.body],
                };
                position = batch.hold(&hold)?.1.or(position);
            }
            Ok(())
        })??;
        self.counts.held.fetch_add(run.len() as u64, Ordering::Relaxed);
        let first = run.iter().map(|holding| holding.due.0).min().unwrap_or(u64::MAX);
        Ok((self.next_due.fetch_min(first, Ordering::AcqRel) > first, position))
    }

    /// When the next message is due at the earliest.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let next = self.next_due.load(Ordering::Acquire);
        (next < u64::MAX && self.stopped.get().is_none()).then_some(Time(next))
    }

    /// Forgets all that it holds, for ever; returns how many messages that were.
    pub(crate) fn delete(&self) -> u64 {
        let _stopped_before = self.stopped.set(Stop::Deleted);
        self.store().delete_shelf(self.shelf).unwrap_or(0)
    }
}

/// By what the store finds messages of this id; 0 for those without one.
fn tag_of(message_id: &str) -> u64 {
    if message_id.is_empty() {
        return 0;
    }
    // FNV-1a, which must stay what it is: it stands on the disk.
    let hash = message_id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}
