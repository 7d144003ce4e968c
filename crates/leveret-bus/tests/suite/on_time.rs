//! Delays are never early, and late by no more than promised. Apart from the other tests, whose work would
//! make these late.

use std::time::{Duration, Instant};

use crate::support::{Broker, probe, soon, unique};
use leveret_bus::{DelayMode, Message, Outcome, RetryPolicy};

/// Late by no more than this, besides what a message without delay takes: that is what the machine is slow by.
const LATE_AT_MOST: Duration = Duration::from_millis(100);

/// The best of three runs, since the machine may be busy with something else during one.
async fn delays_double_and_then_it_is_parked(mode: DelayMode) {
    for _ in 0..2 {
        if latest(mode).await <= LATE_AT_MOST {
            return;
        }
    }
    let late = latest(mode).await;
    assert!(late <= LATE_AT_MOST, "{late:?} late three times");
}

/// Runs four attempts with doubling delays and checks each; returns how late the latest one was, besides what the first took.
async fn latest(mode: DelayMode) -> Duration {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = unique("q");
    // The time is taken inside the handler, before the delay begins.
    let (times, mut handled_at) = tokio::sync::mpsc::unbounded_channel();
    let (handler, mut arrived) = probe(move |_| {
        times.send(Instant::now()).unwrap();
        Outcome::retry("the mail server said 451")
    });
    let policy = RetryPolicy::exponential(Duration::from_millis(200)).with_attempts(4);
    let worker = bus.worker(&queue).retry(policy).delay_mode(mode).start(handler).await.unwrap();
    let published = Instant::now();
    bus.publish(Message::text("", &queue, "1").with_message_id("m1").with_header("own", "kept"))
        .await
        .unwrap();
    let mut last = None;
    let (mut at_once, mut latest) = (Duration::ZERO, Duration::ZERO);
    for (attempt, delay_ms) in [(1, 0), (2, 200), (3, 400), (4, 800)] {
        let delivery = soon("arrival", arrived.recv()).await.unwrap().1;
        let now = handled_at.recv().await.unwrap();
        assert_eq!(delivery.attempt(), attempt);
        assert_eq!(delivery.message_id(), "m1");
        assert_eq!(delivery.headers().text("own").as_deref(), Some("kept"));
        assert_eq!((delivery.exchange(), delivery.routing_key()), (String::new(), queue.clone()));
        let Some(last) = last.replace(now) else {
            at_once = now - published;
            continue;
        };
        let (waited, delay) = (now - last, Duration::from_millis(delay_ms));
        assert!(waited >= delay, "attempt {attempt} after {waited:?}, early");
        latest = latest.max(waited - delay);
    }
    let parked = bus.parked(&queue);
    soon("parked", async { while parked.count().await.unwrap() != 1 {} }).await;
    let parked = bus.parked(&queue).list(10).await.unwrap();
    assert_eq!((parked[0].message_id.as_str(), parked[0].attempts), ("m1", 4));
    assert_eq!(parked[0].reason, "the mail server said 451");
    assert_eq!(parked[0].body, b"1");
    let took_ms = parked[0].last_failed_ms.unwrap() - parked[0].first_failed_ms.unwrap();
    assert!(
        (1390..=1500 + 3 * latest.as_millis() as i64).contains(&took_ms),
        "{took_ms} ms from first to last"
    );
    worker.shutdown().await;
    broker.stop().await;
    latest.saturating_sub(at_once)
}

#[tokio::test]
async fn retries_on_time_by_what_the_broker_has() {
    delays_double_and_then_it_is_parked(DelayMode::Auto).await;
}

#[tokio::test]
async fn retries_on_time_by_the_ladder() {
    delays_double_and_then_it_is_parked(DelayMode::Ladder).await;
}
