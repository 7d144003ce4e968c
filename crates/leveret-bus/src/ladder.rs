//! Delays on a broker without delayed exchanges: a ladder of durable queues, one a power of two in
//! milliseconds. A message is held once on each rung whose bit its delay has, and so takes exactly its
//! delay in all. On one rung all messages wait equally long, so none waits behind a slower one.
//!
//! The rungs are a topic exchange and a queue each. A message's routing key spells its delay in bits, highest first,
//! then its destination: each exchange looks at its own bit and sends the message to its queue (1) or to
//! the next exchange (0); the queue dead-letters to the next exchange.

use std::time::Duration;

use lapin::Channel;
use lapin::options::ExchangeBindOptions;
use lapin::types::FieldTable;

use crate::clock;
use crate::error::{Error, PublishError};
use crate::message::{Message, short};
use crate::topology::{Binding, Exchange, ExchangeKind, Queue};

/// Finest step: delays are rounded up to a multiple of 2^3 = 8 ms. Fewer steps mean fewer hops.
const LOWEST: u32 = 3;
/// Highest rung, 2^31 ms or 24.8 days: RabbitMQ's largest `x-message-ttl` is below 2^32 ms.
const HIGHEST: u32 = 31;
/// The longest delay, a bit on every rung: 49.7 days.
pub(crate) const LONGEST: Duration = Duration::from_millis((1 << (HIGHEST + 1)) - (1 << LOWEST));
/// Where messages leave the ladder; destination queues are bound here.
const DELIVERY: &str = "leveret.delay.deliver";

/// Declares the whole ladder, top rung last, so that whoever finds a rung finds all below it.
pub(crate) async fn declare(channel: &Channel) -> Result<(), Error> {
    Exchange::new(DELIVERY, ExchangeKind::Topic).declare(channel).await?;
    for rung in LOWEST..=HIGHEST {
        declare_rung(channel, rung).await?;
    }
    Ok(())
}

/// Lets `queue` receive what leaves the ladder for it.
pub(crate) async fn attach(channel: &Channel, queue: &str) -> Result<(), Error> {
    Binding::new(queue, DELIVERY, format!("#.{}", one_word(queue))).declare(channel).await
}

/// The message, addressed so that it reaches `queue` after `delay`. Too long a delay is cut to the longest.
pub(crate) fn address(message: Message, queue: &str, delay: Duration) -> Result<Message, PublishError> {
    let bits = rounded(delay);
    if bits == 0 {
        return Ok(message.readdressed("", queue));
    }
    let key = key(bits, queue);
    short(&key)?;
    Ok(message.readdressed(&name(bits.ilog2()), &key))
}

async fn declare_rung(channel: &Channel, rung: u32) -> Result<(), Error> {
    let (name, below) = (name(rung), if rung == LOWEST { DELIVERY.to_owned() } else { name(rung - 1) });
    Exchange::new(&name, ExchangeKind::Topic).declare(channel).await?;
    let queue = Queue::durable(&name).with_integer("x-message-ttl", 1 << rung);
    queue.with_text("x-dead-letter-exchange", &below).declare(channel).await?;
    Binding::new(&name, &name, pattern(rung, '1')).declare(channel).await?;
    let (to, from, key) = (short(&below)?, short(&name)?, short(&pattern(rung, '0'))?);
    channel.exchange_bind(to, from, key, ExchangeBindOptions::default(), FieldTable::default()).await?;
    Ok(())
}

fn name(rung: u32) -> String {
    format!("leveret.delay.{rung:02}")
}

/// Matches keys whose bit for this rung is as given, whatever stands before and after.
fn pattern(rung: u32, bit: char) -> String {
    let before = "*.".repeat((HIGHEST - rung) as usize);
    format!("{before}{bit}.#")
}

/// The delay in milliseconds, up to the next step the ladder has.
fn rounded(delay: Duration) -> u64 {
    let step = 1_u64 << LOWEST;
    let wanted = clock::ms(delay.min(LONGEST)).unsigned_abs();
    let exact = Duration::from_millis(wanted) == delay;
    let wanted = if exact { wanted } else { wanted + 1 };
    wanted.div_ceil(step).saturating_mul(step).min(clock::ms(LONGEST).unsigned_abs())
}

fn key(bits: u64, queue: &str) -> String {
    let mut key = String::with_capacity(64 + queue.len());
    for rung in (LOWEST..=HIGHEST).rev() {
        key.push_str(if bits >> rung & 1 == 1 { "1." } else { "0." });
    }
    key + &one_word(queue)
}

/// A queue's name as a single word without wildcards, so that no queue gets another's messages.
fn one_word(queue: &str) -> String {
    let mut word = String::with_capacity(queue.len());
    for letter in queue.chars() {
        match letter {
            '.' => word.push_str("%2e"),
            '*' => word.push_str("%2a"),
            '#' => word.push_str("%23"),
            '%' => word.push_str("%25"),
            other => word.push(other),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(delay_ms: u64) -> Duration {
        Duration::from_millis(delay_ms)
    }

    #[test]
    fn delays_round_up_to_eight_milliseconds() {
        let cases = [(0, 0), (1, 8), (8, 8), (9, 16), (3000, 3000), (3001, 3008)];
        for (wanted, got) in cases {
            assert_eq!(rounded(ms(wanted)), got, "{wanted} ms");
        }
        assert_eq!(rounded(Duration::from_micros(8001)), 16);
        assert_eq!(rounded(Duration::MAX), clock::ms(LONGEST).unsigned_abs());
    }

    #[test]
    fn a_key_spells_the_delay_and_names_the_queue() {
        let message = Message::text("e", "k", "body");
        let message = address(message, "a.b", ms(24)).unwrap();
        assert_eq!(message.exchange(), "leveret.delay.04");
        assert!(message.routing_key().ends_with("0.1.1.a%2eb"), "{}", message.routing_key());
        assert_eq!(message.routing_key().split('.').count(), 30);
    }

    #[test]
    fn no_delay_goes_straight_to_the_queue() {
        let message = address(Message::text("e", "k", "body"), "q", Duration::ZERO).unwrap();
        assert_eq!((message.exchange(), message.routing_key()), ("", "q"));
    }

    #[test]
    fn a_name_too_long_for_the_ladder_is_an_error() {
        let message = Message::text("e", "k", "body");
        assert!(matches!(address(message, &"q".repeat(200), ms(8)), Err(PublishError::Invalid(_))));
    }

    #[test]
    fn patterns_stand_at_their_bit() {
        assert_eq!(pattern(31, '1'), "1.#");
        assert_eq!(pattern(29, '0'), "*.*.0.#");
    }
}
