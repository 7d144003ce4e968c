//! What an operation on a queue sets off elsewhere, and what it has kept.

use std::sync::Arc;

use leveret_store::{Lsn, StoreError};

use super::deduplication::{Met, NamesToStore};
use crate::dead_letter::DeadLetter;
use crate::{Holder, Mailbox, Queue, Time};

/// What an operation on a queue sets off elsewhere, to be carried out once no lock is held: by
/// [`Vhost::carry_out`](crate::Vhost::carry_out), then by [`Effects::flush`], and by the caller.
#[derive(Default)]
pub struct Effects {
    /// The time of all that is done with these effects.
    pub now: Time,
    /// Mailboxes that have something to send.
    pub mailboxes: Vec<Arc<dyn Mailbox>>,
    /// Queues that ask their publishers to pause.
    pub congested: Vec<Arc<Queue>>,
    /// What the store has to commit before what was published counts as kept; `None` where nothing was stored.
    pub position: Option<Lsn>,
    /// Why something that was to be stored was not.
    pub failure: Option<StoreError>,
    /// Whether a queue has refused the message, being full.
    pub rejected: bool,
    /// Whether a queue that the message was for is deleted. A publisher is told nothing of it: it could have been so just
    /// after.
    pub gone: bool,
    /// Who holds a message for too long, and how long was allowed, in milliseconds.
    pub(crate) overdue: Vec<(Arc<dyn Holder>, u64)>,
    /// Messages on their way to a dead-letter exchange.
    pub(crate) dead: Vec<DeadLetter>,
    /// Queues that nobody has used for too long.
    pub(crate) unused: Vec<Arc<Queue>>,
    /// What queues that know duplicates have met.
    pub(crate) met: Option<Box<Met>>,
}

/// The messages of a run that a queue has kept: those in `from..to`, numbered from `first_seq`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) first_seq: u64,
    /// The priority whose row they stand in.
    pub(crate) level: u8,
    /// Whether all of them are to be stored, or those that are persistent.
    pub(crate) all: bool,
}

impl Kept {
    /// None.
    pub(crate) const NOTHING: Self = Self { from: 0, to: 0, first_seq: 0, level: 0, all: false };

    /// The number of a message of the run, if it is kept.
    #[inline]
    pub(crate) fn seq(&self, at: usize) -> Option<u64> {
        (self.from..self.to).contains(&at).then(|| self.first_seq + (at - self.from) as u64)
    }
}

impl Effects {
    /// No effects yet, of something that is done at that time.
    #[must_use]
    pub fn at(now: Time) -> Self {
        Self { now, ..Self::default() }
    }

    /// Confirms no duplicate before its first. Owed once the store has been given what was published.
    #[inline]
    pub(crate) fn confirm_duplicates(&mut self) {
        if let Some(met) = self.met.take() {
            met.confirm(self);
        }
    }

    /// The names by which queues are to know what is being published, to be stored with it.
    #[inline]
    pub(crate) fn names_to_store(&self) -> NamesToStore {
        self.met.as_ref().map(|met| met.names()).unwrap_or_default()
    }

    /// Whether a queue knows something of what is being published already.
    pub(crate) fn has_met_duplicates(&self) -> bool {
        self.met.as_ref().is_some_and(|met| met.has_duplicates())
    }

    /// Sends what has gathered in the mailboxes, and what that sets off.
    pub fn flush(&mut self) {
        // Consumers that go on now may be of any virtual host: what has expired is left to the queues' timers.
        let now = std::mem::take(&mut self.now);
        while let Some(mailbox) = self.mailboxes.pop() {
            mailbox.flush(self);
        }
        self.now = now;
    }
}
