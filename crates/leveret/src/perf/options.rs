//! The flags of `leveret perf`.

use clap::Args;

use crate::failure::Failure;

use super::body::{MARK_BYTES, STREAMS_MAX};
use super::delay::DelayOrder;

/// What to publish, how fast, and where to.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Broker to test, as amqp://USER:PASSWORD@HOST:PORT/VHOST. Without it one is started in this process, which keeps
    /// nothing on disk.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Producers, each with a connection of its own.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) producers: u16,
    /// Consumers, each with a connection of its own; 0 leaves the messages in the queues.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(super) consumers: u16,
    /// Queues; producers and consumers are spread over them.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) queues: u16,
    /// Bytes of a message's body, at least 16.
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    pub(super) size: usize,
    /// Most messages of a producer that are not confirmed yet; 0 publishes without confirms.
    #[arg(long, value_name = "WINDOW", default_value_t = 1000)]
    pub(super) confirm: u32,
    /// Most messages of a consumer that are not acknowledged yet; 0 for any number.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub(super) prefetch: u16,
    /// Publish persistent messages (delivery mode 2).
    #[arg(long)]
    pub(super) persistent: bool,
    /// Declare the queues durable.
    #[arg(long)]
    pub(super) durable: bool,
    /// Consume without acknowledgements.
    #[arg(long)]
    pub(super) autoack: bool,
    /// Messages a second, of all producers together; as fast as it goes if not given.
    #[arg(long, value_name = "NUMBER")]
    pub(super) rate: Option<u32>,
    /// How long to measure.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) seconds: u32,
    /// How long to run before measuring.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub(super) warmup: u32,
    /// Publish by an x-delayed-message exchange with this delay, and print how late the messages come.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub(super) delay: Option<u32>,
    /// With --delay: delays from that one to this one, in --delay-order.
    #[arg(long, value_name = "MS", requires = "delay")]
    pub(super) delay_to: Option<u64>,
    /// In which order messages published one after another are due.
    #[arg(long, value_enum, default_value_t, requires = "delay_to")]
    pub(super) delay_order: DelayOrder,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

const EXAMPLES: &str = "\
Without --rate and --confirm the latency is that of the backlog.
Exits with 1 where a message was lost, came twice, or came before its delay was over.

Examples:
  leveret perf                                          a broker in this process
  leveret perf --url amqp://guest:guest@127.0.0.1:5672 --size 1024 --persistent --durable
  leveret perf --confirm 0 --autoack --size 16          as fast as it goes
  leveret perf --rate 5000 --prefetch 200               latency at a steady rate
  leveret perf --delay 500 --rate 1000 --seconds 5      how late delayed messages come
  leveret perf --delay 60000 --delay-to 31536000000 --consumers 0 --persistent --durable
                                                        how fast messages due all over a year are taken";

impl Options {
    /// Checks what no single flag can tell.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.size < MARK_BYTES {
            let least = format!("--size: the least is {MARK_BYTES}, for time and number of the message");
            return Err(Failure::usage(least));
        }
        if self.rate == Some(0) {
            return Err(Failure::usage("--rate: the least is 1"));
        }
        if let (Some(from), Some(to)) = (self.delay, self.delay_to)
            && to < u64::from(from)
        {
            return Err(Failure::usage("--delay-to: the least is --delay"));
        }
        if usize::from(self.producers) * usize::from(self.queues) > STREAMS_MAX {
            return Err(Failure::usage(format!("--producers times --queues: the most is {STREAMS_MAX}")));
        }
        Ok(())
    }

    /// The queues that producer or consumer number `index` of `count` serves: one of them, or every one of its
    /// share where there are more queues than peers.
    pub(super) fn queues_of(&self, index: u16, count: u16) -> impl Iterator<Item = u16> {
        let queues = self.queues;
        let step = if count >= queues { queues } else { count };
        (index % queues..queues).step_by(usize::from(step.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn queues_are_shared_out() {
        let options = |queues: &str| Line::parse_from(["perf", "--queues", queues]).options;
        assert_eq!(options("1").queues_of(3, 4).collect::<Vec<_>>(), [0]);
        assert_eq!(options("4").queues_of(1, 2).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(options("3").queues_of(4, 5).collect::<Vec<_>>(), [1]);
        assert_eq!(options("2").queues_of(0, 1).collect::<Vec<_>>(), [0, 1]);
    }
}
