//! The order of all that waits: one row of messages, or one for each priority that has been used, the highest first.
//! A queue without priorities has the one row, and pays for no other.

use std::sync::Arc;

use leveret_amqp::Properties;

use super::backlog::{Backlog, See, Tally};
use super::entry::{Entry, Parts};
use super::rules::QueueRules;
use super::storage::{QueueStorage, StoreHandle};
use crate::dead_letter::Stored;
use crate::{Message, Record, Time};

/// Pages that a look at waiting messages may bring back from the disk.
const LOOK_PAGES: usize = 8;

/// The rows of a queue.
#[derive(Debug)]
pub(super) struct Ready {
    /// Of priority 0, or of all messages.
    row: Backlog,
    higher: Option<Box<Higher>>,
}

/// The rows above.
#[derive(Debug)]
struct Higher {
    most: u8,
    /// The highest first.
    rows: Vec<Backlog>,
    rules: Arc<QueueRules>,
}

impl Ready {
    pub(super) fn new(rules: &Arc<QueueRules>, storage: Option<QueueStorage>) -> Self {
        let row = Backlog::new(0, Arc::clone(rules), storage);
        let higher = (rules.max_priority > 0).then(|| {
            Box::new(Higher { most: rules.max_priority, rows: Vec::new(), rules: Arc::clone(rules) })
        });
        let mut ready = Self { row, higher };
        let storage = ready.row.storage_mut();
        let found = storage.map(|it| std::mem::take(&mut it.recovered_levels)).unwrap_or_default();
        for (level, recovered) in found {
            let storage = ready.row.storage_mut().map(|storage| storage.level(level, Some(recovered)));
            ready.insert_row(level, storage);
        }
        ready
    }

    fn insert_row(&mut self, level: u8, storage: Option<QueueStorage>) {
        let Some(higher) = &mut self.higher else { return };
        let at = higher.rows.partition_point(|row| row.level > level);
        higher.rows.insert(at, Backlog::new(level, Arc::clone(&higher.rules), storage));
    }

    fn rows(&self) -> impl Iterator<Item = &Backlog> {
        self.higher.iter().flat_map(|higher| &higher.rows).chain([&self.row])
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut Backlog> {
        self.higher.iter_mut().flat_map(|higher| &mut higher.rows).chain([&mut self.row])
    }

    #[inline]
    fn row_of(&self, level: u8) -> &Backlog {
        let Some(higher) = self.higher.as_ref().filter(|_| level > 0) else { return &self.row };
        higher.rows.iter().find(|row| row.level == level).unwrap_or(&self.row)
    }

    #[inline]
    fn row_of_mut(&mut self, level: u8) -> &mut Backlog {
        let Some(higher) = self.higher.as_mut().filter(|_| level > 0) else { return &mut self.row };
        higher.rows.iter_mut().find(|row| row.level == level).unwrap_or(&mut self.row)
    }

    /// The row that the next message out is of.
    #[inline]
    fn next_row(&mut self) -> &mut Backlog {
        match &mut self.higher {
            None => &mut self.row,
            Some(higher) => higher.rows.iter_mut().find(|row| !row.is_empty()).unwrap_or(&mut self.row),
        }
    }

    /// How many messages wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        let higher = self.higher.as_ref().map_or(0, |higher| higher.rows.iter().map(Backlog::len).sum());
        self.row.len() + higher
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.row.is_empty()
            && self.higher.as_ref().is_none_or(|higher| higher.rows.iter().all(Backlog::is_empty))
    }

    /// Bytes of the bodies of all that waits; after a restart what is still to be read back does not count.
    #[inline]
    pub(super) fn ready_bytes(&self) -> u64 {
        let higher =
            self.higher.as_ref().map_or(0, |higher| higher.rows.iter().map(Backlog::ready_bytes).sum());
        self.row.ready_bytes() + higher
    }

    /// The same to be held against a limit: of what is still to be read back it is an estimate.
    pub(super) fn limited_bytes(&mut self) -> u64 {
        let higher = self.higher.as_mut();
        let higher = higher.map_or(0, |higher| higher.rows.iter_mut().map(Backlog::limited_bytes).sum());
        self.row.limited_bytes() + higher
    }

    /// The priority that a message counts as having.
    pub(super) fn level_of(&self, message: &Message<'_>) -> u8 {
        let Some(higher) = &self.higher else { return 0 };
        let priority = Properties::parse(message.properties).ok().and_then(|properties| properties.priority);
        priority.unwrap_or(0).min(higher.most)
    }

    /// The number that the next message of that priority gets.
    pub(super) fn next_seq(&self, level: u8) -> u64 {
        let row = self.row_of(level);
        if row.level == level { row.next_seq() } else { 1 }
    }

    /// Appends a message of that priority.
    #[inline]
    pub(super) fn push(&mut self, level: u8, message: &Message<'_>, now: Time) {
        if level > 0 && self.row_of(level).level != level {
            let storage = self.row.storage_mut().map(|storage| storage.level(level, None));
            self.insert_row(level, storage);
        }
        self.row_of_mut(level).push(message, now);
    }

    /// Takes the first message out. Its memory stays until [`Ready::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.next_row().pop()
    }

    /// Undoes the last [`Ready::pop`].
    pub(super) fn undo_pop(&mut self, entry: Entry) {
        self.row_of_mut(entry.level).undo_pop(entry);
    }

    /// Puts a message back where it stood.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.row_of_mut(entry.level).put_back(entry);
    }

    /// Has the store know how often the message came back.
    pub(super) fn store_returns(&self, entry: &Entry) {
        self.row_of(entry.level).store_returns(entry);
    }

    /// What the message consists of.
    #[inline]
    pub(super) fn parts<'a>(&'a self, entry: &'a Entry) -> Parts<'a> {
        self.row_of(entry.level).parts(entry)
    }

    /// Lets go of a message that is done with.
    #[inline]
    pub(super) fn release(&mut self, entry: Entry) {
        self.row_of_mut(entry.level).release(entry);
    }

    /// A message on its way to the dead letters: it leaves memory, and the store once it has arrived.
    pub(super) fn bury(&mut self, entry: &Entry) -> (Record, Option<Stored>) {
        self.row_of_mut(entry.level).bury(entry)
    }

    /// Where the messages of that priority are stored.
    pub(super) fn store(&self, level: u8) -> Option<StoreHandle> {
        self.row_of(level).store()
    }

    /// When the first message has waited long enough. Those behind it wait for it.
    #[inline]
    pub(super) fn first_expiry(&mut self) -> Time {
        self.next_row().first_expiry()
    }

    /// When the first message was published.
    pub(super) fn head_published(&mut self) -> Option<Time> {
        self.next_row().head_published()
    }

    /// Whether something could not be read back when it was last asked for.
    pub(super) fn read_failed(&self) -> bool {
        self.row.read_failed
            || self.higher.as_ref().is_some_and(|higher| higher.rows.iter().any(|row| row.read_failed))
    }

    /// Shows up to `count` messages from the `skip`th on, without taking them out.
    pub(super) fn look(&mut self, skip: usize, count: usize, see: See<'_>) {
        let (mut skip, mut count) = (skip, count);
        for row in self.rows_mut() {
            let len = row.len();
            let of_row = len.saturating_sub(skip).min(count);
            if of_row > 0 {
                row.look(skip, of_row, LOOK_PAGES, see);
            }
            count -= of_row;
            skip = skip.saturating_sub(len);
        }
    }

    /// Puts other rules in force.
    pub(super) fn set_rules(&mut self, rules: &Arc<QueueRules>) {
        self.rows_mut().for_each(|row| row.set_rules(rules));
        if let Some(higher) = &mut self.higher {
            higher.rules = Arc::clone(rules);
        }
    }

    /// Has a message that is out expire by the rules, once it comes back.
    pub(super) fn renew(&self, entry: &mut Entry) {
        self.row_of(entry.level).renew(entry);
    }

    /// Tells the store what is done with. Owed after every operation that releases messages.
    #[inline]
    pub(super) fn settle_stored(&mut self) {
        self.row.settle_stored();
        self.each_higher(Backlog::settle_stored);
    }

    /// Reports the memory that the queue takes.
    #[inline]
    pub(super) fn note_memory(&mut self) {
        self.row.note_memory();
        self.each_higher(Backlog::note_memory);
    }

    /// Moves messages from memory to the disk where the queue holds more than its share.
    #[inline]
    pub(super) fn page_out_if_large(&mut self) {
        self.row.page_out_if_large();
        self.each_higher(Backlog::page_out_if_large);
    }

    #[inline]
    fn each_higher(&mut self, operation: fn(&mut Backlog)) {
        if let Some(higher) = &mut self.higher {
            higher.rows.iter_mut().for_each(operation);
        }
    }

    /// Drops all that waits, but not what is `out`, nor from the store what is `dead`; returns how many.
    pub(super) fn clear<'a>(
        &mut self,
        out: impl Iterator<Item = &'a Entry> + Clone,
        dead: &[(u8, u64)],
    ) -> usize {
        let rows = self.rows_mut();
        rows.map(|row| {
            let level = row.level;
            row.clear(out.clone().filter(|entry| entry.level == level), dead)
        })
        .sum()
    }

    /// The store does not take these messages after all.
    pub(super) fn note_unstored(&mut self, level: u8, seqs: std::ops::Range<u64>) {
        self.row_of_mut(level).note_unstored(seqs);
    }

    /// The same for a message that is out.
    pub(super) fn note_unstored_out(&mut self, entry: &mut Entry) {
        self.row_of_mut(entry.level).note_unstored_out(entry);
    }

    /// Ends the queue's part of the store.
    pub(super) fn delete_stored(&self) {
        self.rows().for_each(Backlog::delete_stored);
    }

    /// Notes what was delivered, so that after a clean end nothing else counts as redelivered.
    pub(super) fn note_delivered(&self) {
        self.rows().for_each(Backlog::note_delivered);
    }

    /// What is kept over a restart, waiting or out.
    pub(super) fn persistent(&self) -> Tally {
        add(self.rows().map(Backlog::persistent))
    }

    /// What is on the disk alone.
    pub(super) fn paged_out(&self) -> Tally {
        add(self.rows().map(|row| Tally { count: row.paged_count(), bytes: row.paged_bytes() }))
    }

    /// Memory that waiting messages take, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.rows().map(Backlog::waiting_bytes).sum()
    }
}

fn add(tallies: impl Iterator<Item = Tally>) -> Tally {
    tallies.fold(Tally::default(), |sum, one| Tally {
        count: sum.count + one.count,
        bytes: sum.bytes + one.bytes,
    })
}
