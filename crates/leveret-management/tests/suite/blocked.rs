//! While publishers are blocked, publishing over HTTP is refused; everything else goes on.

use leveret_management::Limits;
use leveret_server::Config;
use tokio::time::Instant;

use crate::stage::{PATIENCE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn who_publishes_while_memory_is_low_hears_why_it_is_not_taken() {
    let config = Config { memory_limit_bytes: 1, ..Config::default() };
    let stage = Stage::with(config, Limits::default()).await;
    let start = Instant::now();
    while stage.server.health().blocked.is_none() {
        assert!(start.elapsed() < PATIENCE, "publishers are not blocked");
        tokio::task::yield_now().await;
    }
    let answer = stage.ask("PUT", "/api/queues/%2f/q", "{}").await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let message = r#"{"properties":{},"routing_key":"q","payload":"","payload_encoding":"string"}"#;
    let answer = stage.ask("POST", "/api/exchanges/%2f/amq.default/publish", message).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("low on memory"), "{answer}");
    let fetch = r#"{"count":1,"ackmode":"ack_requeue_false"}"#;
    let answer = stage.ask("POST", "/api/queues/%2f/q/get", fetch).await;
    assert!(answer.ends_with("[]"), "nothing is there: {answer}");
}
