//! Messages whose queues have taken them and which are stored together: those of a transaction. After a crash all of them
//! are there, or none.

use std::sync::Arc;

use super::effects::{Effects, Kept};
use super::to_store::ToStore;
use crate::{Message, Queue, Record};

/// The messages, in their order.
#[derive(Default)]
pub struct Group(Vec<Member>);

/// A message that is to be stored.
struct Member {
    record: Record,
    route_len: usize,
    properties_len: usize,
    kept: Vec<(Arc<Queue>, Kept)>,
}

impl Group {
    pub(super) fn add(&mut self, message: &Message<'_>, kept: Vec<(Arc<Queue>, Kept)>) {
        let (route_len, properties_len) = (message.route.len(), message.properties.len());
        self.0.push(Member { record: message.to_record(), route_len, properties_len, kept });
    }

    /// Appends all of them to the journal.
    pub fn store(&self, effects: &mut Effects) {
        self.append(effects);
        effects.confirm_duplicates();
    }

    fn append(&self, effects: &mut Effects) {
        let mut queues = self.0.iter().flat_map(|member| &member.kept);
        let Some(handle) = queues.find_map(|(queue, _)| queue.durable()) else { return };
        let mut done = 0;
        let mut names = effects.names_to_store();
        let result = handle.persistence.store.batch(|batch| {
            for member in &self.0 {
                member.to_store().append_run(batch, &[member.message()], &mut 0, effects)?;
                done += 1;
            }
            names.store(batch, effects)
        });
        names.note_stored();
        if let Err(error) = result.and_then(|appended| appended) {
            for member in &self.0[done..] {
                member.to_store().note_refused(0, &[member.message()], &error);
            }
            effects.failure = Some(error);
        }
    }
}

impl Member {
    fn message(&self) -> Message<'_> {
        Message::in_record(&self.record, self.route_len, self.properties_len)
    }

    fn to_store(&self) -> ToStore<'_> {
        let mut to_store = ToStore::default();
        self.kept.iter().for_each(|(queue, kept)| to_store.note(queue, *kept));
        to_store
    }
}
