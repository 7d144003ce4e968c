//! What users of each tag are shown, with permissions in a virtual host and without: as RabbitMQ 3.10.8 answers.

use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use leveret_management::Limits;
use serde_json::{Value, json};

use crate::stage::Stage;

/// Users by their tags; the digit says whether they have permissions in `v`.
const USERS: [&str; 8] = ["adm0", "adm1", "mon0", "mon1", "pol0", "pol1", "man0", "man1"];

/// Two virtual hosts with a queue, an exchange, a binding and a policy each.
async fn stage() -> Stage {
    let stage = Stage::start(Limits::default()).await;
    for vhost in ["v", "other"] {
        for (path, body) in [
            (format!("/vhosts/{vhost}"), json!({})),
            (format!("/queues/{vhost}/q"), json!({})),
            (format!("/exchanges/{vhost}/x"), json!({"type": "topic"})),
            (
                format!("/policies/{vhost}/p"),
                json!({"pattern": "a", "definition": {"max-length": 1}, "apply-to": "queues"}),
            ),
            (format!("/vhost-limits/{vhost}/max-queues"), json!({"value": 9})),
        ] {
            stage.change("PUT", &path, &body).await;
        }
        stage.change("POST", &format!("/bindings/{vhost}/e/x/q/q"), &json!({"routing_key": "a"})).await;
    }
    for user in USERS {
        let tags = match &user[..3] {
            "adm" => "administrator",
            "mon" => "monitoring",
            "pol" => "policymaker",
            _ => "management",
        };
        stage.change("PUT", &format!("/users/{user}"), &json!({"password": "p", "tags": tags})).await;
        if user.ends_with('1') {
            let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
            stage.change("PUT", &format!("/permissions/v/{user}"), &all).await;
        }
    }
    stage
}

/// What each of the users is answered.
async fn answers(stage: &Stage, method: &str, path: &str, body: &Value) -> Vec<(u16, Value)> {
    let mut answers = Vec::new();
    for user in USERS {
        answers.push(stage.json(&format!("{user}:p"), method, path, body).await);
    }
    answers
}

async fn statuses(stage: &Stage, method: &str, path: &str, body: &Value) -> Vec<u16> {
    answers(stage, method, path, body).await.into_iter().map(|(status, _)| status).collect()
}

/// The values of a field in the rows that each of the users gets, one after the other; `-` where it is no list.
async fn shown(stage: &Stage, path: &str, field: &str) -> Vec<String> {
    let answers = answers(stage, "GET", path, &Value::Null).await;
    let text = |answer: &Value| {
        let values = answer.as_array()?.iter().filter_map(|row| row.pointer(field)?.as_str());
        let mut values: Vec<_> = values.filter(|value| *value != "/").collect();
        values.sort_unstable();
        values.dedup();
        Some(values.join("+"))
    };
    answers.iter().map(|(_, answer)| text(answer).unwrap_or_else(|| "-".into())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_virtual_host_takes_permissions_there() {
    let stage = stage().await;
    for path in [
        "/queues/v",
        "/queues/v/q",
        "/queues/v/q/bindings",
        "/exchanges/v",
        "/exchanges/v/x",
        "/exchanges/v/x/bindings/source",
        "/bindings/v",
        "/bindings/v/e/x/q/q",
        "/bindings/v/e/x/q/q/a",
        "/policies/v",
        "/operator-policies/v",
        "/vhosts/v/connections",
        "/vhosts/v/channels",
        "/delayed/v",
    ] {
        let statuses = statuses(&stage, "GET", path, &Value::Null).await;
        assert_eq!(statuses, [200, 200, 401, 200, 401, 200, 401, 200], "{path}");
    }
    for path in ["/queues", "/exchanges", "/bindings", "/policies"] {
        let vhosts = shown(&stage, path, "/vhost").await;
        assert_eq!(vhosts, ["other+v", "other+v", "", "v", "", "v", "", "v"], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_know_of_every_virtual_host() {
    let stage = stage().await;
    let all = ["other+v", "other+v", "other+v", "other+v", "", "v", "", "v"];
    assert_eq!(shown(&stage, "/vhosts", "/name").await, all);
    assert_eq!(shown(&stage, "/vhost-limits", "/vhost").await, all);
    let none = Value::Null;
    let limits = statuses(&stage, "GET", "/vhost-limits/v", &none).await;
    assert_eq!(limits, [200, 200, 200, 200, 401, 200, 401, 200]);
    for (method, path, body, expected) in [
        ("GET", "/vhosts/v", none, 200),
        ("GET", "/feature-flags", Value::Null, 200),
        ("POST", "/queues/v/q/actions", json!({"action": "sync"}), 204),
    ] {
        let statuses = statuses(&stage, method, path, &body).await;
        assert_eq!(statuses, [expected, expected, 401, 401, 401, 401, 401, 401], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_enter_a_virtual_host_opens_no_channel_to_it() {
    let stage = stage().await;
    let publish = json!({"properties": {}, "routing_key": "a", "payload": "", "payload_encoding": "string"});
    let get = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"});
    for (path, body, expected) in [
        ("/exchanges/none/x/publish", &publish, [401; 8]),
        ("/queues/none/q/get", &get, [401; 8]),
        ("/exchanges/v/x/publish", &publish, [401, 200, 401, 200, 401, 200, 401, 200]),
        ("/queues/v/q/get", &get, [401, 200, 401, 200, 401, 200, 401, 200]),
        ("/queues/v/none/get", &get, [401, 404, 401, 404, 401, 404, 401, 404]),
    ] {
        let answers = answers(&stage, "POST", path, body).await;
        let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, expected, "{path}");
        if expected == [401; 8] {
            assert!(answers.iter().all(|(_, answer)| answer["reason"] == "Access refused."), "{answers:?}");
        }
    }
    let declared = statuses(&stage, "PUT", "/queues/none/q", &json!({})).await;
    assert_eq!(declared, [404; 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_their_own_connections_and_monitors_all() {
    let stage = stage().await;
    let address = stage.server.amqp_addr().expect("it listens");
    let mut connections = Vec::new();
    for user in ["pol1", "man1"] {
        let url = format!("amqp://{user}:p@{address}/v");
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("connects");
        let channel = connection.create_channel().await.expect("a channel");
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel.basic_consume("q".into(), user.into(), options, none).await.expect("consumes");
        connections.push((connection, consumer));
    }
    let all = ["man1+pol1", "man1+pol1", "man1+pol1", "man1+pol1", "", "pol1", "", "man1"];
    assert_eq!(shown(&stage, "/connections", "/user").await, all);
    assert_eq!(shown(&stage, "/channels", "/user").await, all);
    assert_eq!(shown(&stage, "/consumers", "/consumer_tag").await, all);
    assert_eq!(shown(&stage, "/consumers/v", "/consumer_tag").await, all);
    assert_eq!(shown(&stage, "/consumers/other", "/consumer_tag").await, [""; 8]);
    let within = ["man1+pol1", "man1+pol1", "-", "man1+pol1", "-", "pol1", "-", "man1"];
    assert_eq!(shown(&stage, "/vhosts/v/channels", "/user").await, within);
    let channels = stage.get("/channels").await;
    let of_man = channels.as_array().into_iter().flatten().find(|channel| channel["user"] == "man1");
    let name = of_man
        .and_then(|channel| channel["name"].as_str())
        .expect("a name")
        .replace(' ', "%20")
        .replace('>', "%3E");
    let statuses = statuses(&stage, "GET", &format!("/channels/{name}"), &Value::Null).await;
    assert_eq!(statuses, [200, 200, 200, 200, 401, 401, 401, 200]);
    let connection = name.rsplit_once("%20").expect("a number").0;
    for user in ["mon1", "pol1"] {
        let (status, answer) = stage
            .json(&format!("{user}:p"), "DELETE", &format!("/connections/{connection}"), &Value::Null)
            .await;
        assert_eq!(
            (status, &answer["reason"]),
            (401, &json!("User not authorised to access object")),
            "{user}"
        );
    }
}
