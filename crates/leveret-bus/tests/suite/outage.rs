//! The connection breaks, and everything goes on when it is back.

use std::time::{Duration, Instant};

use crate::support::proxy::{Proxy, Weather};
use crate::support::{Broker, probe, soon, unique};
use leveret_bus::{Bus, LinkState, Message, Outcome, PublishError, PublisherOptions, RetryPolicy, Topology};

#[tokio::test]
async fn a_worker_and_a_publisher_come_back() {
    let broker = Broker::start().await;
    let proxy = Proxy::before(broker.url()).await;
    let bus = Bus::connect(proxy.url()).await.unwrap();
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = bus.worker(&queue).start(handler).await.unwrap();
    bus.publish(Message::text("", &queue, "before")).await.unwrap();
    assert_eq!(soon("arrival", arrived.recv()).await.unwrap().0, "before");

    proxy.set(Weather::Down);
    let during = tokio::spawn({
        let (bus, message) = (bus.clone(), Message::text("", &queue, "during"));
        async move { bus.publish(message).await }
    });
    let mut state = bus.state();
    soon("loss noticed", state.wait_for(|state| *state == LinkState::Disconnected)).await.unwrap();
    proxy.set(Weather::Fine);

    match soon("answer", during).await.unwrap() {
        // "before" may come again: its acknowledgement may have been lost with the connection.
        Ok(()) => while soon("arrival", arrived.recv()).await.unwrap().0 != "during" {},
        Err(PublishError::Unknown { .. }) => {}
        Err(other) => panic!("{other}"),
    }
    soon("confirm", bus.publish(Message::text("", &queue, "after"))).await.unwrap();
    while soon("arrival", arrived.recv()).await.unwrap().0 != "after" {}
    assert_eq!(*bus.state().borrow(), LinkState::Connected);
    worker.shutdown().await;
    broker.stop().await;
}

#[tokio::test]
async fn a_confirm_that_never_comes_leaves_it_unknown() {
    let broker = Broker::start().await;
    let proxy = Proxy::before(broker.url()).await;
    let options = PublisherOptions { timeout: Duration::from_millis(500), lanes: 1, ..Default::default() };
    let bus = Bus::builder(proxy.url()).publisher(options).connect().await.unwrap();
    let queue = unique("q");
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    // Where the broker takes longer than that to confirm it, another one is.
    soon("confirm", async { while bus.publish(Message::text("", &queue, "first")).await.is_err() {} }).await;
    proxy.set(Weather::Mute);
    let message = Message::text("", &queue, "second").with_message_id("m");
    match soon("answer", bus.publish(message)).await {
        Err(PublishError::Unknown { message_id, .. }) => assert_eq!(message_id, "m"),
        other => panic!("{other:?}"),
    }
    broker.stop().await;
}

/// Those that wait for a lane end in time too, whoever is sent together with them.
#[tokio::test]
async fn each_publish_ends_at_its_own_time() {
    let broker = Broker::start().await;
    let proxy = Proxy::before(broker.url()).await;
    let time_limit = Duration::from_secs(2);
    let options = PublisherOptions { timeout: time_limit, lanes: 1, ..Default::default() };
    let bus = Bus::builder(proxy.url()).publisher(options).connect().await.unwrap();
    let queue = unique("q");
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    bus.publish(Message::text("", &queue, "heard")).await.unwrap();
    proxy.set(Weather::Mute);
    let publish = || {
        let (bus, message) = (bus.clone(), Message::text("", &queue, "unheard"));
        tokio::spawn(async move {
            let started = Instant::now();
            let publish = async { (bus.publish(message).await, started.elapsed()) };
            // Whatever holds up the one holds up the other.
            let time = async {
                tokio::time::sleep(time_limit).await;
                started.elapsed()
            };
            tokio::join!(publish, time)
        })
    };
    // The first is on its way; the others wait for it and are sent together.
    let first = publish();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = publish();
    tokio::time::sleep(time_limit - Duration::from_millis(300)).await;
    let publishes = [first, second, publish()];
    for publish in publishes {
        let ((answer, took), time) = soon("answer", publish).await.unwrap();
        assert!(
            matches!(answer, Err(PublishError::Unknown { .. } | PublishError::NotSent { .. })),
            "{answer:?}"
        );
        assert!(took < time + Duration::from_secs(1), "{took:?}, not {time:?}");
    }
    proxy.set(Weather::Down);
    broker.stop().await;
}

#[tokio::test]
async fn without_a_connection_a_publish_waits_and_then_says_not_sent() {
    let broker = Broker::start().await;
    let proxy = Proxy::before(broker.url()).await;
    let options = PublisherOptions { timeout: Duration::from_millis(500), ..Default::default() };
    let bus = Bus::builder(proxy.url()).publisher(options).connect().await.unwrap();
    proxy.set(Weather::Down);
    let answer = soon("answer", bus.publish(Message::text("", "q", "x"))).await;
    assert!(matches!(answer, Err(PublishError::NotSent { .. } | PublishError::Unknown { .. })), "{answer:?}");
    broker.stop().await;
}

/// The handler is done when its answer can no longer be given: the message comes again.
#[tokio::test]
async fn what_was_not_acknowledged_comes_again() {
    let broker = Broker::start().await;
    let proxy = Proxy::before(broker.url()).await;
    let bus = Bus::connect(proxy.url()).await.unwrap();
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = bus.worker(&queue).retry(RetryPolicy::none()).start(handler).await.unwrap();
    let direct = broker.bus().await;
    proxy.set(Weather::Down);
    direct.publish(Message::text("", &queue, "x").with_message_id("m")).await.unwrap();
    proxy.set(Weather::Fine);
    let (_, delivery) = soon("arrival", arrived.recv()).await.unwrap();
    assert_eq!((delivery.message_id(), delivery.attempt()), ("m", 1));
    worker.shutdown().await;
    broker.stop().await;
}
