//! What a request asks of the past, as RabbitMQ's clients do: `lengths_age=600&lengths_incr=5` are the lengths of queues over ten
//! minutes, one for every five seconds.

use leveret_broker::Time;

use crate::error::Refusal;
use crate::parameters::Parameters;
use crate::statistics::Range;

/// Most moments at once.
const MOST: i64 = 500;

/// The moments that are asked for, by what is wanted of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ranges {
    /// How many messages are in queues.
    pub(crate) lengths: Option<Range>,
    /// What is done with messages.
    pub(crate) messages: Option<Range>,
    /// Bytes from clients and to them.
    pub(crate) data: Option<Range>,
    /// How the node is.
    pub(crate) node: Option<Range>,
}

impl Ranges {
    pub(crate) fn from(parameters: &Parameters, now: Time) -> Result<Self, Refusal> {
        let range = |name: &str| range(parameters, name, now);
        let lengths = range("lengths")?.map(|range| {
            let is_exact = range.last_ms * 1000 == now.0;
            // The last moment is that which now belongs to.
            let last_ms = range.last_ms + if is_exact { 0 } else { range.step_ms };
            Range { first_ms: range.first_ms + last_ms - range.last_ms, last_ms, ..range }
        });
        let (messages, data) = (range("msg_rates")?, range("data_rates")?);
        Ok(Self { lengths, messages, data, node: range("node_stats")? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        [self.lengths, self.messages, self.data, self.node].iter().all(Option::is_none)
    }
}

/// Whole steps up to now; nothing unless both are numbers.
fn range(parameters: &Parameters, name: &str, now: Time) -> Result<Option<Range>, Refusal> {
    let number = |part: &str| parameters.text(&format!("{name}_{part}"))?.parse::<i64>().ok();
    let (Some(age), Some(step)) = (number("age"), number("incr")) else { return Ok(None) };
    if age <= 0 || step <= 0 || age / step > MOST {
        return Err(Refusal::bad(format!("Invalid range parameters: age {age}, incr {step}")));
    }
    let milliseconds = |seconds: i64| seconds.unsigned_abs().saturating_mul(1000);
    let (age_ms, step_ms) = (milliseconds(age), milliseconds(step));
    let last_ms = now.0 / 1000 / step_ms * step_ms;
    Ok(Some(Range { first_ms: last_ms.saturating_sub(age_ms), last_ms, step_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(query: &str) -> Result<Ranges, Refusal> {
        Ranges::from(&Parameters::parse(query), Time(1_000_003_000_000))
    }

    #[test]
    fn moments_are_whole_steps() {
        let asked =
            ranges("lengths_age=60&lengths_incr=5&msg_rates_age=10&msg_rates_incr=10").expect("ranges");
        let lengths = Range { first_ms: 999_945_000, last_ms: 1_000_005_000, step_ms: 5000 };
        let messages = Range { first_ms: 999_990_000, last_ms: 1_000_000_000, step_ms: 10_000 };
        assert_eq!((asked.lengths, asked.messages, asked.node), (Some(lengths), Some(messages), None));
    }

    #[test]
    fn what_cannot_be_a_range_is_refused() {
        for query in ["lengths_age=0&lengths_incr=1", "msg_rates_age=9&msg_rates_incr=-1"] {
            assert!(ranges(query).is_err(), "{query}");
        }
        assert!(ranges("data_rates_age=501&data_rates_incr=1").is_err());
        assert!(ranges("node_stats_age=9223372036854775807&node_stats_incr=9223372036854775807").is_ok());
        for query in ["lengths_age=5", "lengths_age=x&lengths_incr=5", ""] {
            assert!(ranges(query).is_ok_and(|ranges| ranges.is_empty()), "{query}");
        }
    }
}
