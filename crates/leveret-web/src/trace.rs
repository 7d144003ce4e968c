//! Trace ids in the form of W3C Trace Context: one follows a piece of work from its HTTP request through outbox,
//! broker, worker and callback. What is logged on the way is logged in a span that names it.

use std::future::Future;

use leveret_bus::{Delivery, Message};
use tracing::{Instrument, Span};

/// Name of the HTTP header and the message header.
pub const HEADER: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Trace;
}

/// A trace: 32 hexadecimal digits, not all of them zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(String);

impl Trace {
    /// A new trace.
    pub fn start() -> Self {
        Self(format!("{:032x}", fastrand::u128(1..)))
    }

    /// The trace that a `traceparent` names; `None` where it makes no sense.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_right = is_hex(version, 2)
            && version != "ff"
            && is_hex(id, 32)
            && id.bytes().any(|digit| digit != b'0')
            && is_hex(parent, 16)
            && is_hex(flags, 2);
        is_right.then(|| Self(id.to_owned()))
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.0
    }

    /// The trace as a `traceparent`, with a span id of its own.
    pub fn header(&self) -> String {
        format!("00-{}-{:016x}-01", self.0, fastrand::u64(1..))
    }

    /// Does a piece of work as part of the trace.
    pub async fn follow<T>(self, span: Span, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work.instrument(span)).await
    }
}

/// The trace that this task works for; a new one where there is none.
pub fn current() -> Trace {
    CURRENT.try_with(Clone::clone).unwrap_or_else(|_| Trace::start())
}

/// The message with the current trace in its headers.
pub fn attach(message: Message) -> Message {
    message.with_header(HEADER, current().header())
}

/// The trace that a message brings, or a new one.
pub fn of(delivery: &Delivery) -> Trace {
    delivery.headers().text(HEADER).and_then(|header| Trace::parse(&header)).unwrap_or_else(Trace::start)
}

/// Handles a message as part of the trace that it brings.
pub async fn handling<T>(delivery: &Delivery, work: impl Future<Output = T>) -> T {
    let trace = of(delivery);
    let span = tracing::info_span!("message", trace_id = trace.id(), message_id = delivery.message_id());
    trace.follow(span, work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_nonsense_is_not() {
        let trace = Trace::start();
        assert_eq!(Trace::parse(&trace.header()), Some(trace));
        let zero = format!("00-{:032x}-{:016x}-01", 0, 1);
        for nonsense in ["", "-", "00-1-2-3", "00-李-b-c", zero.as_str()] {
            assert_eq!(Trace::parse(nonsense), None, "{nonsense}");
        }
    }

    #[tokio::test]
    async fn work_finds_its_trace() {
        let trace = Trace::start();
        let found = trace.clone().follow(Span::none(), async { current() }).await;
        assert_eq!(found, trace);
        assert_ne!(current(), trace);
    }
}
