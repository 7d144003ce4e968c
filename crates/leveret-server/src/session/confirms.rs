//! Publisher confirms: in the order of publishing, as soon as the store has committed what they speak of.

use std::collections::VecDeque;

use leveret_amqp::{ReplyCode, basic, tx, write_method};
use leveret_broker::Lsn;

use super::Session;
use super::channel::Mode;
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Kept once the store has committed this; 0 where nothing was stored.
    At(Lsn),
    /// Not kept.
    Failed,
}

impl Confirms {
    /// True where nothing was waiting before.
    fn note(&mut self, count: u64, outcome: Outcome) -> bool {
        let first = self.waiting.is_empty();
        self.published += count;
        match self.waiting.back_mut() {
            Some(last) if last.outcome == outcome => last.up_to = self.published,
            _ => self.waiting.push_back(Waiting { up_to: self.published, outcome }),
        }
        first
    }

    /// The next answer that can be given: a tag, whether it stands for others too, and whether it is an ack.
    fn answer(&mut self, committed: Lsn, store_failed: bool) -> Option<(u64, bool, bool)> {
        let ack = |outcome| match outcome {
            Outcome::Failed => Some(false),
            Outcome::At(position) if position <= committed => Some(true),
            Outcome::At(_) => store_failed.then_some(false),
        };
        let kind = ack(self.waiting.front()?.outcome)?;
        let mut up_to = self.answered;
        while let Some(next) = self.waiting.pop_front_if(|next| ack(next.outcome) == Some(kind)) {
            up_to = next.up_to;
        }
        let multiple = up_to - self.answered > 1;
        self.answered = up_to;
        Some((up_to, multiple, kind))
    }
}

impl Session {
    /// Takes note of publishes that are done but for the store.
    #[inline]
    pub(super) fn note_published(&mut self, number: u16, count: u64) -> Result<(), Exception> {
        self.has_published = true;
        let position = self.effects.position.take();
        let failure = self.effects.failure.take();
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        match (&mut channel.mode, failure) {
            (Mode::Confirm(confirms), failure) => {
                let outcome = if failure.is_some() {
                    Outcome::Failed
                } else {
                    Outcome::At(position.unwrap_or_default())
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
        if let Some(error) = self.effects.failure.take() {
            return Err(Exception::on_channel(ReplyCode::INTERNAL_ERROR, error.to_string()));
        }
        if let Mode::Transaction(transaction) = &mut self.open_channel(number)?.mode {
            transaction.commits.push_back(position);
            self.to_confirm.push(number);
        }
        Ok(())
    }

    /// Gives the answers that wait for the store, each channel's with as few frames as possible, and has the
    /// session woken for the rest.
    pub(super) fn send_confirms(&mut self) {
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
            if self.to_confirm.is_empty() || self.shared.commits.wait(committed, &self.woken) {
                return;
            }
        }
    }

    /// True where the channel has more to wait for.
    fn confirm_channel(&mut self, number: u16, committed: Lsn) -> bool {
        let Some(channel) = self.channels.get_mut(&number) else { return false };
        let failed = || self.shared.commits.failure().is_some();
        match &mut channel.mode {
            Mode::Plain => false,
            Mode::Confirm(confirms) => {
                let mut buffer = self.outbox.lock();
                let still_waits = |confirms: &Confirms| !confirms.waiting.is_empty();
                while let Some((delivery_tag, multiple, ack)) = confirms.answer(committed, false) {
                    write_answer(number, (delivery_tag, multiple, ack), &mut buffer.frames);
                }
                if still_waits(confirms) && failed() {
                    while let Some((delivery_tag, multiple, ack)) = confirms.answer(committed, true) {
                        write_answer(number, (delivery_tag, multiple, ack), &mut buffer.frames);
                    }
                }
                still_waits(confirms)
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

fn write_answer(number: u16, (delivery_tag, multiple, ack): (u64, bool, bool), frames: &mut Vec<u8>) {
    if ack {
        write_method(number, basic::Ack { delivery_tag, multiple }, frames);
    } else {
        write_method(number, basic::Nack { delivery_tag, multiple, requeue: false }, frames);
    }
}
