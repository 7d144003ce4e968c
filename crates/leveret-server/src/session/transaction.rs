//! Class `tx`: publishes and acknowledgements that take effect together. What is published is one group in the store:
//! after a crash all of it is there, or nothing; acknowledgements follow, and may be missing then.

use leveret_amqp::{ReplyCode, tx};
use leveret_broker::{ChannelMode, Group};

use super::channel::{Channel, Mode, Transaction};
use super::deliver::settle_all;
use super::publish::Staged;
use super::{Session, not_for_servers};
use crate::reply::Exception;

impl Session {
    pub(super) fn tx_method(&mut self, number: u16, method: tx::Method) -> Result<(), Exception> {
        match method {
            tx::Method::Select(_) => {
                let channel = self.open_channel(number)?;
                match channel.mode {
                    Mode::Confirm(_) => {
                        let text = "cannot switch from confirm to tx mode";
                        return Err(Exception::new(ReplyCode::PRECONDITION_FAILED, text));
                    }
                    Mode::Plain => {
                        channel.mode = Mode::Transaction(Transaction::default());
                        channel.note_mode(ChannelMode::Transaction);
                    }
                    Mode::Transaction(_) => {}
                }
                self.send(number, tx::SelectOk {});
            }
            tx::Method::Commit(_) => {
                let transaction = self.take_transaction(number)?;
                self.commit(number, transaction)?;
                self.note_committed(number)?;
                self.outbox.resume_stalled(&mut self.effects);
            }
            tx::Method::Rollback(_) => {
                let transaction = self.take_transaction(number)?;
                self.roll_back(number, transaction);
                self.send(number, tx::RollbackOk {});
            }
            other => return Err(not_for_servers(other.ids())),
        }
        Ok(())
    }

    fn take_transaction(&mut self, number: u16) -> Result<Transaction, Exception> {
        self.deliveries(number, crate::outbox::Deliveries::end_transaction);
        let Channel { mode, entry, .. } = self.open_channel(number)?;
        match mode {
            Mode::Transaction(transaction) => {
                entry.iter().for_each(|entry| {
                    entry.uncommitted.set(0);
                    entry.acks_uncommitted.set(0);
                });
                let commits = std::mem::take(&mut transaction.commits);
                Ok(std::mem::replace(transaction, Transaction { commits, ..Transaction::default() }))
            }
            _ => Err(Exception::new(ReplyCode::PRECONDITION_FAILED, "channel is not transactional")),
        }
    }

    fn commit(&mut self, number: u16, transaction: Transaction) -> Result<(), Exception> {
        let mut group = Group::default();
        let mut publishes = transaction.publishes.iter();
        let published = publishes.try_for_each(|staged| self.publish_committed(number, staged, &mut group));
        group.store(&mut self.effects);
        if let Err(exception) = published {
            // What its first publishes have set off is nobody else's.
            self.effects.position = None;
            self.effects.failure = None;
            self.effects.rejected = false;
            // What it would have settled goes back with the channel.
            if let Mode::Transaction(of_channel) = &mut self.open_channel(number)?.mode {
                of_channel.settlements = transaction.settlements;
            }
            return Err(exception);
        }
        if let Some(channel) = self.channels.get(&number) {
            channel.count(|counts| counts.publish.add(transaction.publishes.len() as u64));
            for (outs, settlement) in &transaction.settlements {
                settle_all(&channel.queues, outs, *settlement, &mut self.effects);
            }
        }
        Ok(())
    }

    /// An exchange that has gone since the publish was accepted has taken the message with it.
    fn publish_committed(
        &mut self,
        number: u16,
        staged: &Staged,
        group: &mut Group,
    ) -> Result<(), Exception> {
        match self.publish_staged(number, staged, Some(group)) {
            Err(exception) if exception.code == ReplyCode::NOT_FOUND => Ok(()),
            published => published,
        }
    }

    /// What was acknowledged is unacknowledged again, under the same delivery tags.
    fn roll_back(&mut self, number: u16, transaction: Transaction) {
        self.deliveries(number, |deliveries| {
            for (outs, _) in transaction.settlements {
                deliveries.put_back(outs);
            }
        });
    }
}
