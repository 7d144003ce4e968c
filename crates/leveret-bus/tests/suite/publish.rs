//! Each publish gets its own answer, whatever else is in flight.

use crate::support::{Broker, soon, unique};
use leveret_bus::{ExchangeKind, Message, PublishError, Topology};

#[tokio::test]
async fn a_confirmed_message_is_in_the_queue() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = unique("q");
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    soon("confirm", bus.publish(Message::text("", &queue, "hello"))).await.unwrap();
    let (handler, mut arrived) = crate::support::probe(|_| leveret_bus::Outcome::Done);
    let worker = bus.worker(&queue).start(handler).await.unwrap();
    assert_eq!(soon("arrival", arrived.recv()).await.unwrap().0, "hello");
    worker.shutdown().await;
    broker.stop().await;
}

/// lapin alone attaches returns to the wrong confirms here.
#[tokio::test]
async fn returns_reach_their_own_publishes_among_many_in_flight() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let (exchange, queue) = (unique("x"), unique("q"));
    let topology = Topology::new()
        .exchange(&exchange, ExchangeKind::Direct)
        .queue(&queue)
        .bind(&queue, &exchange, "yes");
    bus.declare(&topology).await.unwrap();
    let publishes = (0..3000_u32).map(|n| {
        let routable = n % 3 != 0;
        let message = Message::text(&exchange, if routable { "yes" } else { "no" }, n.to_string());
        let (bus, message_id) = (bus.clone(), message.message_id().to_owned());
        tokio::spawn(async move { (n, routable, message_id, bus.publish(message).await) })
    });
    for publish in publishes.collect::<Vec<_>>() {
        let (n, routable, message_id, result) = soon("answer", publish).await.unwrap();
        match result {
            Ok(()) => assert!(routable, "message {n} was reported as arrived"),
            Err(PublishError::Returned(returned)) => {
                assert!(!routable, "message {n} was reported as returned");
                assert_eq!(returned.message.message_id(), message_id);
                assert_eq!(returned.message.body(), n.to_string().as_bytes());
                assert_eq!(returned.reply_code, 312);
            }
            Err(other) => panic!("message {n}: {other}"),
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn one_call_for_many_answers_in_order() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = unique("q");
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    let messages = (0..1500_u32).map(|n| {
        let key = if n % 2 == 0 { queue.clone() } else { unique("nowhere") };
        // The same id again and again: still no answer goes astray.
        Message::text("", key, n.to_string()).with_message_id(format!("id-{}", n % 400))
    });
    let answers = soon("answers", bus.publisher().publish_all(messages.collect())).await;
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Ok(()) => assert_eq!(n % 2, 0, "{n}"),
            Err(PublishError::Returned(returned)) => {
                assert_eq!(returned.message.body(), n.to_string().as_bytes());
            }
            Err(other) => panic!("{n}: {other}"),
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_missing_exchange_fails_its_own_publish_only() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = unique("q");
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    let messages = vec![
        Message::text("", &queue, "before"),
        Message::text(unique("no-exchange"), "k", "bad"),
        Message::text("", &queue, "after"),
    ];
    let answers = soon("answers", bus.publisher().publish_all(messages)).await;
    assert!(answers[0].is_ok(), "{:?}", answers[0]);
    assert!(matches!(answers[1], Err(PublishError::Rejected { .. })), "{:?}", answers[1]);
    assert!(answers[2].is_ok(), "{:?}", answers[2]);
    broker.stop().await;
}

#[tokio::test]
async fn optional_messages_may_vanish_and_long_names_are_errors() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    soon("confirm", bus.publish(Message::text("", unique("nowhere"), "x").optional())).await.unwrap();
    let too_long = soon("answer", bus.publish(Message::text("", "k".repeat(256), "x"))).await;
    assert!(matches!(too_long, Err(PublishError::Invalid(_))), "{too_long:?}");
    broker.stop().await;
}

#[tokio::test]
async fn large_and_empty_bodies_come_back_whole() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    for body in [Vec::new(), vec![7_u8; 300_000]] {
        let message = Message::bytes("", unique("nowhere"), body.clone());
        match soon("answer", bus.publish(message)).await {
            Err(PublishError::Returned(returned)) => assert_eq!(returned.message.body(), body),
            other => panic!("{other:?}"),
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn after_closing_nothing_is_sent() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    bus.close().await;
    let answer = soon("answer", bus.publish(Message::text("", "q", "x"))).await;
    assert!(matches!(answer, Err(PublishError::NotSent { .. })), "{answer:?}");
    broker.stop().await;
}
