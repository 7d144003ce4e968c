//! Dead letters that nobody has taken and that the queue does not let go of (`x-dead-letter-strategy: at-least-once`). Some are
//! in memory; the rest is on the disk, and known by its numbers. All take turns at being tried again.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_store::{Spill, StoredRecord};

use super::state::State;
use super::storage::{PREFIX_BYTES, PageRead, Paged, StoreHandle, stored_lens, stored_prefix};
use crate::Time;
use crate::dead_letter::{DeadLetter, Reason, Stored, TakenBy};

/// How long they wait for the next attempt, in milliseconds.
pub(super) const RETRY_MS: u64 = 1000;
/// Letters that are tried again in one go.
const RETRIED_AT_ONCE: usize = 100;
/// Letters, and bytes of theirs, from which on half of those in memory go to the disk.
const IN_MEMORY: usize = 2048;
const IN_MEMORY_BYTES: usize = 16 << 20;

/// The letters.
#[derive(Default)]
pub(super) struct Undelivered {
    letters: VecDeque<DeadLetter>,
    /// Bytes of these.
    memory_bytes: usize,
    paged_out: VecDeque<PagedOut>,
    /// Bytes of the bodies of all.
    body_bytes: u64,
    pub(super) retry_at: Time,
    /// Whether one has come back since the last attempt, so that the wait for the next has begun.
    is_waiting: bool,
}

/// A letter on the disk.
#[derive(Clone)]
struct PagedOut {
    seq: u64,
    level: u8,
    reason: Reason,
    taken_by: Option<Arc<TakenBy>>,
}

impl Undelivered {
    pub(super) fn len(&self) -> usize {
        self.letters.len() + self.paged_out.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Keeps a letter, to try again later.
    pub(super) fn keep(&mut self, letter: DeadLetter, now: Time) {
        self.body_bytes += letter.message().body.len() as u64;
        self.push(letter);
        // Those that come meanwhile do not put the attempt off.
        if !std::mem::replace(&mut self.is_waiting, true) {
            self.retry_at = now.plus_ms(RETRY_MS);
        }
        let are_many = self.letters.len() >= IN_MEMORY || self.memory_bytes >= IN_MEMORY_BYTES;
        // What the store does not take is not offered to it again with every letter.
        if are_many && self.letters.len().is_power_of_two() {
            self.page_out();
        }
    }

    fn push(&mut self, mut letter: DeadLetter) {
        // Many have the same targets.
        if let Some(last) = self.letters.back().filter(|last| last.taken_by == letter.taken_by) {
            letter.taken_by.clone_from(&last.taken_by);
        }
        self.memory_bytes += letter.record.len();
        self.letters.push_back(letter);
    }

    /// Moves the later half of what is in memory to the disk, as far as that takes it.
    fn page_out(&mut self) {
        let mut out = Vec::from(self.letters.split_off(self.letters.len() / 2));
        self.memory_bytes -= out.iter().map(|letter| letter.record.len()).sum::<usize>();
        out.sort_unstable_by_key(place);
        let on_disk: Vec<bool> = out.chunk_by(|a, b| level(a) == level(b)).flat_map(spill).collect();
        for (letter, is_on_disk) in out.into_iter().zip(on_disk) {
            match place(&letter).filter(|_| is_on_disk) {
                Some((level, seq)) => {
                    let (reason, taken_by) = (letter.reason, letter.taken_by);
                    self.paged_out.push_back(PagedOut { seq, level, reason, taken_by });
                }
                None => self.push(letter),
            }
        }
    }

    /// Takes the next letters out. Where they are taken the next ones may follow at once, else they come back behind all
    /// others.
    pub(super) fn take(&mut self, queue: &State, now: Time) -> Vec<DeadLetter> {
        self.retry_at = now.plus_ms(1);
        self.is_waiting = false;
        if !self.paged_out.is_empty() {
            return self.page_in(queue, now);
        }
        let again: Vec<_> = self.letters.drain(..self.letters.len().min(RETRIED_AT_ONCE)).collect();
        self.memory_bytes -= again.iter().map(|letter| letter.record.len()).sum::<usize>();
        self.note_taken(&again);
        again.into_iter().map(|letter| DeadLetter { rules: Arc::clone(&queue.rules), ..letter }).collect()
    }

    /// Reads letters back, about a page of them. What cannot be read now is tried again like what nobody takes.
    fn page_in(&mut self, queue: &State, now: Time) -> Vec<DeadLetter> {
        let count = self.paged_out.len().min(RETRIED_AT_ONCE);
        let mut wanted: Vec<PagedOut> = self.paged_out.drain(..count).collect();
        wanted.sort_unstable_by_key(|letter| (letter.level, letter.seq));
        let mut found = Vec::new();
        for row in wanted.chunk_by(|a, b| a.level == b.level) {
            let Some(store) = queue.ready.store(row[0].level) else { continue };
            let mut paged = Paged { next: row[0].seq, last: row[row.len() - 1].seq, count: row.len() };
            let read = store.read(&mut paged, |record| {
                if let Ok(at) = row.binary_search_by_key(&record.seq, |letter| letter.seq) {
                    found.extend(letter_of(row[at].clone(), &record, &store, queue));
                }
            });
            if matches!(read, PageRead::Failed) {
                self.retry_at = now.plus_ms(RETRY_MS);
            }
            if !matches!(read, PageRead::End) {
                let rest = row.iter().filter(|letter| letter.seq >= paged.next);
                rest.rev().for_each(|letter| self.paged_out.push_front(letter.clone()));
            }
        }
        self.note_taken(&found);
        found
    }

    fn note_taken(&mut self, letters: &[DeadLetter]) {
        let bytes = letters.iter().map(|letter| letter.message().body.len() as u64).sum();
        self.body_bytes = self.body_bytes.saturating_sub(bytes);
    }

    /// Priorities and numbers of those that the store has.
    pub(super) fn stored(&self) -> impl Iterator<Item = (u8, u64)> {
        let stored =
            self.letters.iter().filter(|letter| letter.stored.as_ref().is_some_and(|it| it.is_known));
        let paged_out = self.paged_out.iter().map(|letter| (letter.level, letter.seq));
        stored.filter_map(place).chain(paged_out)
    }
}

fn place(letter: &DeadLetter) -> Option<(u8, u64)> {
    letter.stored.as_ref().map(|stored| (stored.level, stored.seq))
}

fn level(letter: &DeadLetter) -> Option<u8> {
    place(letter).map(|(level, _)| level)
}

/// Writes letters of one row to its segments; says of each whether it is there.
fn spill(row: &[DeadLetter]) -> Vec<bool> {
    let Some(handle) = row.first().and_then(|letter| letter.stored.as_ref()).map(|stored| &stored.handle)
    else {
        return vec![false; row.len()];
    };
    let letters = || row.iter().filter_map(|letter| Some((letter, letter.stored.as_ref()?)));
    let body = |(letter, stored): (&DeadLetter, &Stored)| {
        [&stored_prefix(letter.properties_len, stored.published), letter.record.as_slice()].concat()
    };
    let bodies: Vec<Vec<u8>> = letters().map(body).collect();
    let records: Vec<Spill<'_>> = letters()
        .zip(&bodies)
        .map(|((_, stored), body)| Spill { seq: stored.seq, flags: 0, transient: !stored.persistent, body })
        .collect();
    let refused = handle.persistence.store.spill(handle.queue, &records);
    let is_there = |seq| refused.as_ref().is_ok_and(|refused| !refused.contains(&seq));
    records.iter().map(|record| is_there(record.seq)).collect()
}

/// The letter in a record; none where it is no message.
fn letter_of(
    paged_out: PagedOut,
    record: &StoredRecord<'_>,
    store: &StoreHandle,
    queue: &State,
) -> Option<DeadLetter> {
    let Some(lens) = stored_lens(record.body) else {
        store.note_unreadable(record.seq);
        return None;
    };
    Some(DeadLetter {
        queue: Arc::clone(&queue.name),
        rules: Arc::clone(&queue.rules),
        reason: paged_out.reason,
        record: Arc::new(record.body[PREFIX_BYTES..].to_vec()),
        route_len: lens.route.into(),
        properties_len: lens.properties as usize,
        is_owed: true,
        stored: Some(Stored {
            handle: store.clone(),
            level: paged_out.level,
            seq: record.seq,
            published: lens.published,
            persistent: !record.transient,
            is_known: true,
        }),
        taken_by: paged_out.taken_by,
    })
}
