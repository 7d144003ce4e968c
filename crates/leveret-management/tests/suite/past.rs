//! What was, as RabbitMQ's clients ask for it.

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use leveret_management::Limits;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::stage::{PATIENCE, Stage};

const RANGES: &str =
    "lengths_age=60&lengths_incr=1&msg_rates_age=60&msg_rates_incr=1&data_rates_age=60&data_rates_incr=1";

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

async fn connect(stage: &Stage) -> (Connection, Channel) {
    let url = stage.server.amqp_url();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

async fn publish(channel: &Channel, count: usize) {
    channel
        .queue_declare("q".into(), QueueDeclareOptions::default(), FieldTable::default())
        .await
        .expect("declares");
    for _ in 0..count {
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), "q".into(), options, b"x", BasicProperties::default());
        sent.await.expect("is sent");
    }
}

/// A name as it stands in a path.
fn in_path(name: &Value) -> String {
    name.as_str().expect("a name").replace(' ', "%20").replace('>', "%3E")
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_channels_and_virtual_hosts_tell_their_past() {
    let stage = Stage::start(Limits::default()).await;
    let vhost = format!("/vhosts/%2f?{RANGES}");
    once(&stage, &vhost, "/recv_oct", |samples| samples.len() > 1).await;
    let (connection, channel) = connect(&stage).await;
    publish(&channel, 3).await;
    let rows = stage.get("/channels").await;
    let name = in_path(&rows[0]["name"]);
    once(&stage, &format!("/channels/{name}?{RANGES}"), "/message_stats/publish", grown(3)).await;
    once(&stage, &format!("/channels?{RANGES}"), "/0/message_stats/publish", grown(3)).await;
    once(&stage, &vhost, "/message_stats/publish", grown(3)).await;
    once(&stage, &vhost, "/messages_ready", grown(3)).await;
    once(&stage, &format!("/vhosts?{RANGES}"), "/0/messages", grown(3)).await;
    let name = in_path(&rows[0]["connection_details"]["name"]);
    let (one, grew) = (format!("/connections/{name}"), |samples: &[i64]| {
        samples.first().is_some_and(|now| *now > 0) && samples.last() == Some(&0)
    });
    for figure in ["/recv_oct", "/send_oct"] {
        let told = once(&stage, &format!("{one}?{RANGES}"), figure, grew).await;
        assert!(told[format!("{}_details", &figure[1..])]["avg_rate"].as_f64() > Some(0.0), "{told:#}");
        once(&stage, &format!("/vhosts/%2f/connections?{RANGES}"), &format!("/0{figure}"), grew).await;
        once(&stage, &vhost, figure, grew).await;
    }
    let plain = stage.get(&one).await;
    assert_eq!(plain["recv_oct_details"].as_object().map(serde_json::Map::len), Some(1));
    // What went over a connection went to its virtual host, also when it is gone.
    let sum = stage.get("/vhosts/%2f").await["recv_oct"].as_i64();
    connection.close(200, "".into()).await.expect("closes");
    once(&stage, &vhost, "/recv_oct", |samples| samples.first().copied() >= sum).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_who_came_and_went() {
    let stage = Stage::start(Limits::default()).await;
    let nodes = "/nodes?node_stats_age=60&node_stats_incr=1";
    once(&stage, nodes, "/0/connection_created", |samples| samples.len() > 1).await;
    let (connection, _channel) = connect(&stage).await;
    connection.close(200, "".into()).await.expect("closes");
    for figure in ["connection_created", "connection_closed", "channel_created", "channel_closed"] {
        once(&stage, nodes, &format!("/0/{figure}"), grown(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_range_is_refused_as_by_rabbitmq() {
    let stage = Stage::start(Limits::default()).await;
    for path in [
        "/overview",
        "/nodes",
        "/queues",
        "/exchanges",
        "/exchanges/%2f/amq.direct",
        "/vhosts",
        "/vhosts/%2f",
        "/connections",
        "/channels",
        "/vhosts/%2f/connections",
        "/vhosts/%2f/channels",
    ] {
        for query in ["lengths_age=501&lengths_incr=1", "data_rates_age=-1&data_rates_incr=5"] {
            let (status, answer) =
                stage.json("guest:guest", "GET", &format!("{path}?{query}"), &Value::Null).await;
            let reason = answer["reason"].as_str().unwrap_or_default();
            assert!(status == 400 && reason.starts_with("Invalid range parameters: age "), "{path} {answer}");
        }
        assert!(!stage.get(&format!("{path}?lengths_age=60")).await.is_null());
    }
}
