//! `leveret perf`: a load test over AMQP, against any broker. It counts what was published and what came,
//! message by message, and tells what was lost on the way.

mod body;
mod client;
mod consumer;
mod delay;
mod measure;
mod options;
mod producer;
mod progress;
mod report;
mod run;
mod tally;
mod topology;
mod url;

pub(crate) use self::options::Options;
pub(crate) use self::run::run;
