//! What the queues of a run of messages have kept, on its way to the journal: each message once, however many queues it
//! went to.

use std::sync::Arc;

use leveret_store::{Append, Batch, QueueRef, Store, StoreError};

use super::effects::{Effects, Kept};
use super::group::Group;
use super::storage::stored_prefix;
use crate::{Message, Queue};

/// The messages of a run that are to be stored, by queue.
#[derive(Default)]
pub(crate) struct ToStore<'q> {
    /// Most runs go to one queue.
    first: Option<Part<'q>>,
    others: Vec<Part<'q>>,
}

struct Part<'q> {
    queue: &'q Arc<Queue>,
    kept: Kept,
    /// Where the store has this queue's messages of this priority.
    place: QueueRef,
}

impl<'q> ToStore<'q> {
    /// Notes what a queue has kept, if it is one whose messages are stored.
    #[inline]
    pub(crate) fn note(&mut self, queue: &'q Arc<Queue>, kept: Kept) {
        let Some(handle) = queue.durable().filter(|_| kept.to > kept.from) else { return };
        let part = Part { queue, kept, place: handle.level(kept.level) };
        match self.first {
            None => self.first = Some(part),
            Some(_) => self.others.push(part),
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Part<'q>> {
        self.first.iter().chain(&self.others)
    }

    /// Appends to the journal what is to be stored.
    #[inline]
    pub(crate) fn append(&self, run: &[Message<'_>], effects: &mut Effects) {
        let Some(first) = &self.first else { return };
        let any = self.parts().any(|part| part.kept.all) || run.iter().any(|message| message.persistent);
        if let Some(handle) = first.queue.durable().filter(|_| any) {
            let mut done = 0;
            let mut names = effects.names_to_store();
            let result = handle.persistence.store.batch(|batch| {
                self.append_run(batch, run, &mut done, effects)?;
                names.store(batch, effects)
            });
            names.note_stored();
            if let Err(error) = result.and_then(|appended| appended) {
                self.note_refused(done, run, &error);
                effects.failure = Some(error);
            }
        }
    }

    /// Leaves it to the group to store the message.
    pub(crate) fn leave_to(&self, group: &mut Group, message: &Message<'_>) {
        let wanted = self.parts().filter(|part| message.persistent || part.kept.all);
        let kept: Vec<_> = wanted.map(|part| (Arc::clone(part.queue), part.kept)).collect();
        if !kept.is_empty() {
            group.add(message, kept);
        }
    }

    /// Appends what is to be stored in one group with what `also` does for the first so many messages, which were taken.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) fn append_with(
        &self,
        run: &[Message<'_>],
        store: &Store,
        also: impl FnOnce(&mut Batch<'_>, usize),
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let mut done = 0;
        let mut names = effects.names_to_store();
        let result = store.batch(|batch| {
            let appended = self.append_run(batch, run, &mut done, effects);
            also(batch, done);
            appended.and_then(|()| names.store(batch, effects))
        });
        names.note_stored();
        let appended = result.and_then(|appended| appended);
        if let Err(error) = &appended {
            self.note_refused(done, run, error);
        }
        appended
    }

    pub(super) fn append_run(
        &self,
        batch: &mut Batch<'_>,
        run: &[Message<'_>],
        done: &mut usize,
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let mut targets = Vec::with_capacity(1 + self.others.len());
        for (at, message) in run.iter().enumerate() {
            targets.clear();
            let wanted = self.parts().filter(|part| message.persistent || part.kept.all);
            targets.extend(wanted.filter_map(|part| part.kept.seq(at).map(|seq| (part.place, seq))));
            if !targets.is_empty() {
                let prefix = stored_prefix(message.properties.len(), effects.now);
                let body = [prefix.as_slice(), message.route, message.properties, message.body];
                effects.position =
                    Some(batch.append(&Append { flags: 0, body: &body, targets: &targets })?);
            }
            *done = at + 1;
        }
        Ok(())
    }

    /// The store has room for no more than the first `done` of a run. A store that has failed has none for anything.
    #[cold]
    pub(super) fn note_refused(&self, done: usize, run: &[Message<'_>], error: &StoreError) {
        if !matches!(error, StoreError::TooLarge { .. }) {
            return;
        }
        for Part { queue, kept, .. } in self.parts() {
            let from = kept.from.max(done);
            if let Some(first_seq) = kept.seq(from) {
                let refused = Kept { from, to: kept.to.min(run.len()), first_seq, ..*kept };
                queue.note_unstored(refused, &run[refused.from..refused.to]);
            }
        }
    }
}
