//! What operations on queues set off in others, and what time does: dead letters on their way, messages to be held,
//! queues to be ticked. Called with no lock held.

use leveret_amqp::Properties;

use super::Vhost;
use crate::dead_letter::{DeadLetter, Reason, is_cycle};
use crate::delay::delay_ms;
use crate::message::{route_of, split_route};
use crate::queue::{DeadLetterStrategy, Effects};
use crate::topology::Keys;
use crate::{DelayedExchange, Holding, Lsn, Message, Route, StoreError, Time};

/// Dead letters after which a tick lets others have their turn.
const DEAD_A_TICK: usize = 1000;
/// Queues that one tick of the virtual host ticks.
const TICKS_A_TICK: usize = 1000;

/// What has become of a dead letter.
enum End {
    Taken,
    /// There is nobody who would, or he is full.
    NotTaken,
    NotStored,
    /// It cannot be read, or its queue has no dead letters any more.
    Lost,
}

impl Vhost {
    /// Carries out what operations on its queues have set off in others.
    pub fn carry_out(&self, effects: &mut Effects) {
        for (holder, timeout_ms) in std::mem::take(&mut effects.overdue) {
            holder.overdue(timeout_ms);
        }
        while !effects.dead.is_empty() || !effects.unused.is_empty() {
            for letter in std::mem::take(&mut effects.dead) {
                self.deliver_dead(letter, effects);
            }
            for queue in std::mem::take(&mut effects.unused) {
                self.delete_unused(&queue, effects.now);
            }
        }
    }

    /// Holds a message in the exchanges of its route that do so, from `now` on.
    pub fn hold(
        &self,
        route: &Route,
        message: &Message<'_>,
        (delay_ms, now): (u64, Time),
        effects: &mut Effects,
    ) {
        let due = now.plus_ms(delay_ms);
        for exchange in &route.delayed {
            self.note_held(exchange.hold(message, due, now), effects);
        }
    }

    /// Holds messages that have the same way, in their order.
    pub fn hold_run(
        &self,
        exchange: &DelayedExchange,
        run: &[Holding<'_>],
        now: Time,
        effects: &mut Effects,
    ) {
        self.note_held(exchange.hold_run(run, now), effects);
    }

    fn note_held(&self, held: Result<(bool, Option<Lsn>), StoreError>, effects: &mut Effects) {
        match held {
            Ok((is_first, position)) => {
                effects.position = position.or(effects.position);
                if is_first {
                    self.waker.wake();
                }
            }
            Err(error) => effects.failure = Some(error),
        }
    }

    /// Publishes a dead letter where its queue wants it, and only then lets the store forget it where it was. The journal
    /// keeps that order.
    fn deliver_dead(&self, mut letter: DeadLetter, effects: &mut Effects) {
        let properties = letter.properties(effects.now);
        let end =
            properties.map_or(End::Lost, |properties| self.publish_dead(&mut letter, &properties, effects));
        let keeps = letter.is_owed && letter.rules.dead_letter_strategy == DeadLetterStrategy::AtLeastOnce;
        match end {
            End::NotTaken | End::NotStored if keeps => {
                let queue = self.topology.read().queue_of(&letter.queue).cloned();
                if let Some(queue) = queue {
                    queue.keep_dead(letter, effects.now);
                }
            }
            // What the store cannot take where it goes, it keeps where it was.
            End::NotStored => {}
            End::Taken | End::NotTaken | End::Lost => letter.settle(),
        }
    }

    fn publish_dead(&self, letter: &mut DeadLetter, encoded: &[u8], effects: &mut Effects) -> End {
        let old = letter.message();
        let (_, own_key) = split_route(old.route);
        let Ok(properties) = Properties::parse(encoded) else { return End::Lost };
        let headers = properties.headers.unwrap_or_default();
        let key = letter.rules.dead_letter_routing_key.as_deref().unwrap_or(own_key);
        let Some(exchange) = letter.rules.dead_letter_exchange.as_deref() else { return End::Lost };
        let delay = delay_ms(&properties);
        let routing = {
            let topology = self.topology.read();
            let Ok(found) = topology.exchange(exchange) else { return End::NotTaken };
            let Ok(keys) = Keys::new(key, headers) else { return End::Lost };
            topology.route(found, &keys, &properties, delay.is_some())
        };
        let mut route = Route::clone(&routing.route);
        if route.is_empty() {
            return End::NotTaken;
        }
        if letter.reason != Reason::Rejected {
            route.queues.retain(|queue| !is_cycle(headers, &queue.name));
        }
        letter.leave_out_taken(&mut route);
        let message = Message {
            route: &route_of(exchange, key),
            properties: encoded,
            body: old.body,
            persistent: old.persistent,
            expiration_ms: None,
            record: None,
        };
        // Whoever published what is being dealt with has nothing to do with these queues' being full.
        let before = (
            std::mem::take(&mut effects.rejected),
            std::mem::take(&mut effects.gone),
            effects.position,
            effects.failure.take(),
        );
        self.hold(&route, &message, (delay.unwrap_or_default(), effects.now), effects);
        let refused = route.offer(&message, effects);
        let failed = effects.failure.is_some();
        (effects.rejected, effects.gone, effects.position, effects.failure) = before;
        if failed {
            return End::NotStored;
        }
        if refused.is_empty() {
            return End::Taken;
        }
        letter.note_taken(&route, &refused);
        End::NotTaken
    }

    fn tick_queues(&self, effects: &mut Effects) {
        for _ in 0..TICKS_A_TICK {
            let due = self.timers.take_due(effects.now);
            let Some(queue) = due else { return };
            queue.tick(effects);
            if effects.dead.len() >= DEAD_A_TICK {
                return;
            }
        }
    }

    /// Releases delayed messages that are due and has queues do what is due, a bounded number; returns when to come
    /// again.
    pub fn tick(&self, effects: &mut Effects) -> Option<Time> {
        self.tick_queues(effects);
        let mut next: Option<Time> = None;
        for exchange in self.delayed_exchanges() {
            next = next.into_iter().chain(self.release_due(&exchange, effects)).min();
        }
        self.carry_out(effects);
        next.into_iter().chain(self.timers.next_due()).min()
    }
}
