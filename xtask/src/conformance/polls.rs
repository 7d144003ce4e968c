//! Steps that ask a broker again and again until a queue is as a case wants it. They ask on channels of their own of the first
//! connection, which may be the owner of the queue, and leave no line in the transcript but the last.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use leveret_amqp::{FrameKind, Value};

use super::arrival::shown_arrival;
use super::client::{Arrival, PATIENCE};
use super::method::Method;
use super::play::Player;
use super::script::Place;
use super::value::Term;

const PAUSE: Duration = Duration::from_millis(5);
const DECLARES: u16 = 99;
const PUBLISHES: u16 = 98;

impl Player<'_> {
    pub(super) fn await_counts(
        &mut self,
        queue: &Term,
        messages: Option<i128>,
        consumers: Option<i128>,
    ) -> Result<()> {
        self.declare_until(queue, |answer| {
            let count = |name| answer.number(name).map(i128::from);
            answer.is("queue.declare-ok")
                && messages.is_none_or(|n| count("message-count") == Some(n))
                && consumers.is_none_or(|n| count("consumer-count") == Some(n))
        })
    }

    /// Waits by mandatory messages, because asking by a passive declaration is a use of the queue, which one that expires would
    /// never come to the end of.
    pub(super) fn gone(&mut self, queue: &Term) -> Result<()> {
        let at = &on_channel(PUBLISHES);
        self.open(at)?;
        self.client(at)?.send(at.channel, "confirm.select", [])?;
        self.answered(at, Method::named("confirm.select-ok").context("a method")?)?;
        let name = queue.value(&self.names)?;
        let deadline = Instant::now() + PATIENCE;
        while self.is_routed(at, &name)? {
            if Instant::now() > deadline {
                bail!("it is still there");
            }
            std::thread::sleep(PAUSE);
        }
        self.declare_until(queue, |answer| {
            answer.is("channel.close") && answer.number("reply-code") == Some(404)
        })
    }

    /// Whether the default exchange still has that queue. A message that finds none comes back before it is confirmed.
    fn is_routed(&mut self, at: &Place, name: &Value) -> Result<bool> {
        let quiet = self.transcript.len();
        let client = self.client(at)?;
        client.send(
            at.channel,
            "basic.publish",
            [("routing-key", name.clone()), ("mandatory", true.into())],
        )?;
        client.send_content(at.channel, &[], b"still there?")?;
        let first = self.next(at, PATIENCE, |_| true)?;
        let came_back = first.is("basic.return");
        if came_back {
            self.next(at, PATIENCE, |_| true)?;
        }
        self.transcript.truncate(quiet);
        Ok(!came_back)
    }

    fn declare_until(&mut self, queue: &Term, is_there: impl Fn(&Arrival) -> bool) -> Result<()> {
        let at = &on_channel(DECLARES);
        let name = queue.value(&self.names)?;
        let deadline = Instant::now() + PATIENCE;
        let declare = Method::named("queue.declare").context("a method")?;
        let payload = declare.encode(&[("queue".into(), name), ("passive".into(), true.into())])?;
        loop {
            self.open(at)?;
            self.client(at)?.send_frame(FrameKind::Method as u8, at.channel, &payload);
            let quiet = self.transcript.len();
            let answer = self.next(at, PATIENCE, |_| true)?;
            if is_there(&answer) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("  got {}", shown_arrival(&answer, &self.names));
            }
            self.transcript.truncate(quiet);
            std::thread::sleep(PAUSE);
        }
    }
}

fn on_channel(channel: u16) -> Place {
    Place { connection: "a".into(), channel, open: true }
}
