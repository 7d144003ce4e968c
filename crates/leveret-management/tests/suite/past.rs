//! What was, as RabbitMQ's clients ask for it.

use leveret_management::Limits;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::stage::{PATIENCE, Stage};

const RANGES: &str = "lengths_age=60&lengths_incr=1&msg_rates_age=60&msg_rates_incr=1";

/// The samples of a figure, by what stands before its `_details`.
fn samples(answer: &Value, figure: &str) -> Vec<i64> {
    let all = answer.pointer(&format!("{figure}_details/samples")).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(|one| one["sample"].as_i64()).collect()
}

/// What is answered once the samples of that figure are as wanted.
async fn once(stage: &Stage, path: &str, figure: &str, wanted: impl Fn(&[i64]) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = stage.get(path).await;
        if wanted(&samples(&answer, figure)) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{path}: {answer:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// They have come from nothing to that.
fn grown(to: i64) -> impl Fn(&[i64]) -> bool {
    move |samples| samples.first() == Some(&to) && samples.last() == Some(&0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_told_on_request() {
    let stage = Stage::start(Limits::default()).await;
    let overview = format!("/overview?{RANGES}");
    // A whole second has begun since the first sample, which is then a moment before anything was there.
    once(&stage, &overview, "/queue_totals/messages", |samples| samples.len() > 1).await;
    stage.change("PUT", "/queues/%2f/q", &json!({})).await;
    stage.change("PUT", "/queues/%2f/still", &json!({})).await;
    let publish = json!({"properties": {}, "routing_key": "q", "payload": "", "payload_encoding": "string"});
    for _ in 0..3 {
        stage.change("POST", "/exchanges/%2f/amq.default/publish", &publish).await;
    }
    let queue = format!("/queues/%2f/q?{RANGES}");
    let told = once(&stage, &queue, "/messages_ready", grown(3)).await;
    let moments = told["messages_ready_details"]["samples"].as_array().expect("samples");
    let times: Vec<i64> = moments.iter().filter_map(|one| one["timestamp"].as_i64()).collect();
    assert!(times.len() <= 61 && times.windows(2).all(|pair| pair[0] - pair[1] == 1000), "{times:?}");
    let sum: i64 = samples(&told, "/messages_ready").iter().sum();
    let details = &told["messages_ready_details"];
    assert_eq!(details["avg"], sum as f64 / times.len() as f64);
    assert_eq!(details["avg_rate"], 3.0 / (times.len() - 1) as f64);
    once(&stage, &queue, "/message_stats/publish", grown(3)).await;
    let exchange = format!("/exchanges/%2f/amq.default?{RANGES}");
    once(&stage, &exchange, "/message_stats/publish_in", grown(3)).await;
    once(&stage, &format!("/queues?name=q&{RANGES}"), "/0/messages", grown(3)).await;
    once(&stage, &overview, "/message_stats/publish", grown(3)).await;
    let still = stage.get(&format!("/queues/%2f/still?{RANGES}")).await;
    assert!(samples(&still, "/messages").len() > 1 && samples(&still, "/messages").iter().all(|it| *it == 0));
    let nodes = stage.get("/nodes?node_stats_age=10&node_stats_incr=1").await;
    assert!(!samples(&nodes, "/0/mem_used").is_empty());
    // Who does not ask is told as before.
    let plain = stage.get("/queues/%2f/q").await;
    assert_eq!(plain["messages_details"].as_object().map(serde_json::Map::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_range_is_refused_as_by_rabbitmq() {
    let stage = Stage::start(Limits::default()).await;
    for path in ["/overview", "/nodes", "/queues", "/exchanges", "/exchanges/%2f/amq.direct"] {
        for query in ["lengths_age=501&lengths_incr=1", "data_rates_age=-1&data_rates_incr=5"] {
            let (status, answer) =
                stage.json("guest:guest", "GET", &format!("{path}?{query}"), &Value::Null).await;
            let reason = answer["reason"].as_str().unwrap_or_default();
            assert!(status == 400 && reason.starts_with("Invalid range parameters: age "), "{path} {answer}");
        }
        assert!(!stage.get(&format!("{path}?lengths_age=60")).await.is_null());
    }
}
