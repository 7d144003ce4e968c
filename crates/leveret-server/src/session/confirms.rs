//! Publisher confirms: in the order of publishing, as soon as the store has committed what they speak of.

use std::collections::VecDeque;

use leveret_amqp::{ReplyCode, basic, tx, write_method};
use leveret_broker::Lsn;

use super::Session;
use super::channel::{Channel, Mode};
use crate::reply::Exception;

/// The publishes of a channel in confirm mode.
#[derive(Default)]
pub(super) struct Confirms {
    published: u64,
    answered: u64,
    waiting: VecDeque<Waiting>,
}

/// Publishes that are answered together: all up to a tag.
struct Waiting {
    up_to: u64,
    outcome: Outcome,
}

#[derive(PartialEq, Eq)]
enum Outcome {
    /// Kept once the store has committed this; 0 where nothing was stored.
    At(Lsn),
    /// Not kept.
    Failed,
    /// Not routed: these frames, the `basic.return`, go before the ack, which is the message's own. Clients pair
    /// a return with the confirm that follows it.
    Returned(Vec<u8>),
}

impl Outcome {
    /// Whether the answer is an ack; `None` while there is none.
    fn is_ack(&self, committed: Lsn, store_failed: bool) -> Option<bool> {
        match self {
            Self::Returned(_) => Some(true),
            Self::Failed => Some(false),
            Self::At(position) if *position <= committed => Some(true),
            Self::At(_) => store_failed.then_some(false),
        }
    }
}

impl Confirms {
    /// True where nothing was waiting before.
    fn note(&mut self, count: u64, outcome: Outcome) -> bool {
        let first = self.waiting.is_empty();
        self.published += count;
        match self.waiting.back_mut() {
            Some(last) if last.outcome == outcome && !matches!(outcome, Outcome::Returned(_)) => {
                last.up_to = self.published;
            }
            _ => self.waiting.push_back(Waiting { up_to: self.published, outcome }),
        }
        first
    }

    /// Appends the answers that can be given now. True where more are to come.
    fn write_answers(
        &mut self,
        number: u16,
        committed: Lsn,
        store_failed: bool,
        frames: &mut Vec<u8>,
    ) -> bool {
        while let Some(next) = self.waiting.front() {
            let Some(is_ack) = next.outcome.is_ack(committed, store_failed) else { return true };
            if let Outcome::Returned(returned) = &next.outcome {
                frames.extend_from_slice(returned);
            }
            let delivery_tag = self.take_alike(is_ack, committed, store_failed);
            let multiple = delivery_tag - self.answered > 1;
            self.answered = delivery_tag;
            if is_ack {
                write_method(number, basic::Ack { delivery_tag, multiple }, frames);
            } else {
                write_method(number, basic::Nack { delivery_tag, multiple, requeue: false }, frames);
            }
        }
        false
    }

    /// Takes the publishes that the next answer stands for; returns the last one's tag.
    fn take_alike(&mut self, is_ack: bool, committed: Lsn, store_failed: bool) -> u64 {
        let mut up_to = self.answered;
        while let Some(taken) =
            self.waiting.pop_front_if(|next| next.outcome.is_ack(committed, store_failed) == Some(is_ack))
        {
            up_to = taken.up_to;
            let own_answer = |waiting: &Waiting| matches!(waiting.outcome, Outcome::Returned(_));
            if own_answer(&taken) || self.waiting.front().is_some_and(own_answer) {
                break;
            }
        }
        up_to
    }
}

impl Session {
    /// Takes note of publishes that are done but for the store.
    #[inline]
    pub(super) fn note_published(&mut self, number: u16, count: u64) -> Result<(), Exception> {
        self.has_published = true;
        let position = self.effects.position.take();
        let failure = self.effects.failure.take();
        let returned = self.returned.take();
        let rejected = std::mem::take(&mut self.effects.rejected);
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        channel.count(|counts| counts.publish.add(count));
        match (&mut channel.mode, failure) {
            (Mode::Confirm(confirms), failure) => {
                let outcome = match (failure, returned) {
                    (Some(_), _) => Outcome::Failed,
                    _ if rejected => Outcome::Failed,
                    (None, Some(returned)) => Outcome::Returned(returned),
                    (None, None) => Outcome::At(position.unwrap_or_default()),
                };
                if confirms.note(count, outcome) {
                    self.to_confirm.push(number);
                }
                Ok(())
            }
            (_, Some(error)) => Err(Exception::on_channel(ReplyCode::INTERNAL_ERROR, error.to_string())),
            (_, None) => Ok(()),
        }
    }

    /// Answers a commit once the store has it.
    pub(super) fn note_committed(&mut self, number: u16) -> Result<(), Exception> {
        let position = self.effects.position.take().unwrap_or_default();
        // A full queue that takes no new messages is nothing that a commit could tell.
        self.effects.rejected = false;
        if let Some(error) = self.effects.failure.take() {
            return Err(Exception::on_channel(ReplyCode::INTERNAL_ERROR, error.to_string()));
        }
        if let Mode::Transaction(transaction) = &mut self.open_channel(number)?.mode {
            transaction.commits.push_back(position);
            if !self.to_confirm.contains(&number) {
                self.to_confirm.push(number);
            }
        }
        Ok(())
    }

    /// Gives the answers that wait for the store, each channel's with as few frames as possible, and has the
    /// session woken for the rest.
    ///
    /// # Errors
    /// Where the catalog cannot be written; then nothing is confirmed.
    pub(super) fn send_confirms(&mut self) -> Result<(), Exception> {
        if self.to_confirm.is_empty() {
            return Ok(());
        }
        // A queue is published to as soon as it is declared, by others too; until the catalog has it, the next start drops
        // what the store has of it.
        self.vhost.commit()?;
        self.answer_publishes();
        Ok(())
    }

    fn answer_publishes(&mut self) {
        loop {
            let committed = self.shared.commits.position();
            let numbers = std::mem::take(&mut self.to_confirm);
            if numbers.is_empty() {
                return;
            }
            for number in numbers {
                if self.confirm_channel(number, committed) {
                    self.to_confirm.push(number);
                }
            }
            self.fail_commits();
            if self.to_confirm.is_empty() || self.shared.commits.wait(committed, &self.woken) {
                return;
            }
        }
    }

    /// Ends the channels whose commits the store will never have.
    fn fail_commits(&mut self) {
        if self.to_confirm.is_empty() {
            return;
        }
        let Some(failure) = self.shared.commits.failure() else { return };
        let commits = |number: &mut u16| {
            let mode = self.channels.get(number).map(|channel| &channel.mode);
            matches!(mode, Some(Mode::Transaction(_)))
        };
        let failed: Vec<u16> = self.to_confirm.extract_if(.., commits).collect();
        for number in failed {
            let exception = Exception::on_channel(ReplyCode::INTERNAL_ERROR, failure.as_str());
            self.fail_channel(number, &exception, (90, 20));
        }
    }

    /// True where the channel has more to wait for.
    fn confirm_channel(&mut self, number: u16, committed: Lsn) -> bool {
        let Some(channel) = self.channels.get_mut(&number) else { return false };
        let Channel { mode, entry, .. } = channel;
        match mode {
            Mode::Plain => false,
            Mode::Confirm(confirms) => {
                let mut waits =
                    confirms.write_answers(number, committed, false, &mut self.outbox.lock().frames);
                if waits && self.shared.commits.failure().is_some() {
                    waits = confirms.write_answers(number, committed, true, &mut self.outbox.lock().frames);
                }
                if let Some(entry) = entry {
                    entry.counts.confirm.set(confirms.answered);
                    entry.unconfirmed.set(confirms.published - confirms.answered);
                }
                waits
            }
            Mode::Transaction(transaction) => {
                while transaction.commits.pop_front_if(|position| *position <= committed).is_some() {
                    write_method(number, tx::CommitOk {}, &mut self.outbox.lock().frames);
                }
                !transaction.commits.is_empty()
            }
        }
    }
}
