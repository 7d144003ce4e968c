//! Looking at what an exchange holds: how much, until when, which messages.

use std::sync::atomic::Ordering;

use leveret_amqp::Properties;
use leveret_store::StoreError;

use super::{DelayedExchange, Held, HeldId, tag_of};
use crate::Time;
use crate::message::split_route;

/// Bytes of bodies read at a time.
const PAGE_BYTES: usize = 4 << 20;

/// How much an exchange holds and has held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelayedTotals {
    /// Messages held now.
    pub messages: u64,
    /// Their size in bytes, route and properties included.
    pub bytes: u64,
    /// Those of them that a restart forgets.
    pub transient_messages: u64,
    /// When the next is due at the earliest.
    pub next_due: Option<Time>,
    /// Messages held since the broker was started.
    pub held_count: u64,
    /// Of these, or of older ones: released to queues,
    pub released_count: u64,
    /// dropped because their route was gone,
    pub dropped_count: u64,
    /// cancelled or purged.
    pub cancelled_count: u64,
}

/// Messages due in one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueCell {
    /// From here,
    pub from: Time,
    /// to here, not included.
    pub to: Time,
    /// Messages due in it.
    pub messages: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// A message that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedMessage {
    /// Names it as long as it is held.
    pub id: HeldId,
    /// The exchange it was published to.
    pub exchange: String,
    /// With this key.
    pub routing_key: String,
    /// Its properties as the consumer will see them, encoded.
    pub properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// A restart does not forget it.
    pub durable: bool,
}

impl DelayedMessage {
    pub(super) fn of(held: &Held) -> Self {
        let message = held.message();
        let (exchange, routing_key) = split_route(message.route);
        Self {
            id: HeldId(held.key),
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            properties: message.properties.to_vec(),
            body: message.body.to_vec(),
            durable: !held.transient,
        }
    }

    /// Its `message-id` property.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        Properties::parse(&self.properties).ok()?.message_id
    }
}

impl DelayedExchange {
    /// How much it holds and has held.
    #[must_use]
    pub fn totals(&self) -> DelayedTotals {
        let totals = self.store().shelf_totals(self.shelf);
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        DelayedTotals {
            messages: totals.count,
            bytes: totals.bytes,
            transient_messages: totals.transient_count,
            next_due: self.store().next_due(self.shelf).map(Time),
            held_count: count(&self.counts.held),
            released_count: count(&self.counts.released),
            dropped_count: count(&self.counts.dropped),
            cancelled_count: count(&self.counts.cancelled),
        }
    }

    /// How many messages are due when, from the cell of `from` to that of `to`; cells without messages are left out.
    /// Cells are minutes as long as there are fewer than some ten thousand of them, else 2, 4, 8 … minutes.
    #[must_use]
    pub fn histogram(&self, from: Time, to: Time) -> Vec<DueCell> {
        let mut cells: Vec<DueCell> = Vec::new();
        for cell in self.store().shelf_cells(self.shelf, from.0, to.0) {
            match cells.last_mut() {
                Some(last) if cell.from < last.to.0 => {
                    last.to = last.to.max(Time(cell.to));
                    last.messages += cell.count;
                    last.bytes += cell.bytes;
                }
                _ => cells.push(DueCell {
                    from: Time(cell.from),
                    to: Time(cell.to),
                    messages: cell.count,
                    bytes: cell.bytes,
                }),
            }
        }
        cells
    }

    /// Held messages by due time: at most `limit` of those behind `after` that are due at `until` at the latest.
    /// Fewer do not mean that there are no more, none does.
    ///
    /// # Errors
    /// What the disk says.
    pub fn list(
        &self,
        after: Option<HeldId>,
        until: Time,
        limit: usize,
    ) -> Result<Vec<DelayedMessage>, StoreError> {
        let after = after.map(|id| id.0);
        let page = self.store().held_page(self.shelf, after, until.0, limit, PAGE_BYTES)?;
        Ok(page.records.into_iter().filter_map(Held::of).map(|held| DelayedMessage::of(&held)).collect())
    }

    /// Held messages with this `message-id`, by due time: at most `limit` of those behind `after`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn list_by_message_id(
        &self,
        message_id: &str,
        after: Option<HeldId>,
        limit: usize,
    ) -> Result<Vec<DelayedMessage>, StoreError> {
        let (found, _) = self.held_by_message_id(message_id, after, limit)?;
        Ok(found.iter().map(DelayedMessage::of).collect())
    }

    /// Also says behind which to go on; `None` at the end.
    pub(super) fn held_by_message_id(
        &self,
        message_id: &str,
        after: Option<HeldId>,
        limit: usize,
    ) -> Result<(Vec<Held>, Option<HeldId>), StoreError> {
        let tag = tag_of(message_id);
        if tag == 0 {
            return Ok((Vec::new(), None));
        }
        let keys = self.store().held_by_tag(self.shelf, tag, after.map(|id| id.0), limit)?;
        let last = keys.last().copied().map(HeldId);
        let mut found = Vec::new();
        for key in keys {
            let held = self.store().held_record(self.shelf, key)?.and_then(Held::of);
            // Another id may have the same tag.
            found.extend(held.filter(|held| {
                let properties = Properties::parse(held.message().properties).unwrap_or_default();
                properties.message_id == Some(message_id)
            }));
        }
        Ok((found, last))
    }

    /// A held message; `None` where it is not held (any more).
    ///
    /// # Errors
    /// What the disk says.
    pub fn get(&self, id: HeldId) -> Result<Option<DelayedMessage>, StoreError> {
        Ok(self.held(id)?.map(|held| DelayedMessage::of(&held)))
    }

    pub(super) fn held(&self, id: HeldId) -> Result<Option<Held>, StoreError> {
        Ok(self.store().held_record(self.shelf, id.0)?.and_then(Held::of))
    }
}
