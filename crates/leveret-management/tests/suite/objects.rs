//! Metrics of every object.

use leveret_broker::{Client, Effects, QueueOptions};
use leveret_management::Limits;
use serde_json::json;

use crate::stage::Stage;

/// More than are told in one piece.
const QUEUES: usize = 2500;

#[tokio::test(flavor = "multi_thread")]
async fn each_family_has_a_line_of_each_object_in_one_place() {
    let stage = Stage::start(Limits::default()).await;
    let handle = stage.server.handle();
    let vhost = handle.broker().vhost("/").expect("it is there");
    for number in 0..QUEUES {
        let effects = &mut Effects::default();
        let name = format!("q{number:04}");
        vhost.declare_queue(&name, QueueOptions::default(), &Client::broker(), effects).expect("declares");
    }
    let publish =
        json!({"properties": {}, "routing_key": "q0007", "payload": "", "payload_encoding": "string"});
    stage.change("POST", "/exchanges/%2f/amq.default/publish", &publish).await;
    let answer = stage.ask("GET", "/metrics/per-object", "").await;
    let families: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut once = families.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), families.len(), "each family begins once");
    for family in ["rabbitmq_queue_messages_ready", "rabbitmq_queue_messages_redelivered_total"] {
        let lines = answer.lines().skip_while(|line| !line.starts_with(&format!("# TYPE {family} ")));
        // Between pieces stand their lengths.
        let lines = lines.skip(2).take_while(|line| !line.starts_with('#')).filter(|line| line.contains('{'));
        let mut lines: Vec<&str> = lines.collect();
        lines.sort_unstable();
        let labels = (0..QUEUES).map(|number| format!("{family}{{vhost=\"/\",queue=\"q{number:04}\"}} "));
        assert_eq!(lines.len(), QUEUES, "{family}");
        assert!(lines.iter().zip(labels).all(|(line, label)| line.starts_with(&label)), "{family}");
    }
    for line in [
        "rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q0007\"} 1",
        "rabbitmq_queue_messages_published_total{vhost=\"/\",queue=\"q0007\"} 1",
        "rabbitmq_exchange_messages_published_in_total{vhost=\"/\",exchange=\"\"} 1",
        "# TYPE rabbitmq_channel_messages_unacked gauge",
    ] {
        assert_eq!(answer.lines().filter(|other| *other == line).count(), 1, "{line}");
    }
}
