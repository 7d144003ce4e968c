//! The HTTP API of the leveret binary. Its shapes are compared with those recorded of a RabbitMQ 3.10.8, and these, with
//! `LEVERET_TEST_MANAGEMENT_URL=http://guest:guest@HOST:PORT` and `LEVERET_TEST_AMQP_URL`, with the RabbitMQ there.

mod binary;
mod http;

use std::time::{Duration, Instant};

use binary::Broker;
use http::{Api, shape};
use serde_json::{Value, json};

/// Longest wait for what a task of the broker does on its own.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn users_log_in_and_do_what_their_tags_allow() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    let no_one = api.logged_in_as("nobody", "x");
    assert_eq!(no_one.get("/overview"), (401, json!({"error": "not_authorized", "reason": "Login failed"})));
    for (name, tags) in
        [("maker", "policymaker"), ("watcher", "monitoring"), ("user", "management"), ("none", "")]
    {
        assert_eq!(api.put(&format!("/users/{name}"), &json!({"password": "p", "tags": tags})).0, 201);
    }
    api.put("/permissions/%2f/user", &json!({"configure": "^mine", "write": ".*", "read": ".*"}));
    let statuses =
        |path: &str| ["maker", "watcher", "user", "none"].map(|name| api.logged_in_as(name, "p").get(path).0);
    assert_eq!(statuses("/overview"), [200, 200, 200, 401]);
    assert_eq!(statuses("/nodes"), [401, 200, 401, 401]);
    assert_eq!(statuses("/policies"), [200, 200, 200, 401]);
    assert_eq!(statuses("/policies/%2f/p"), [401; 4]);
    assert_eq!(statuses("/user-limits"), [200, 200, 200, 401]);
    assert_eq!(statuses("/users"), [401; 4]);
    assert_eq!(statuses("/queues/%2f"), [401, 401, 200, 401]);
    let user = api.logged_in_as("user", "p");
    assert_eq!(user.put("/queues/%2f/mine", &json!({})).0, 201);
    let refused = user.put("/queues/%2f/yours", &json!({}));
    assert_eq!(refused, (401, json!({"error": "not_authorised", "reason": "Access refused."})));
    assert_eq!(api.delete("/users/user").0, 204);
    assert_eq!(user.get("/overview").0, 401);
}

#[test]
fn a_message_published_over_http_is_fetched_over_http() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    assert_eq!(api.put("/queues/%2f/q", &json!({"durable": true})).0, 201);
    assert_eq!(api.put("/queues/%2f/q", &json!({"durable": true})).0, 204);
    let publish = json!({
        "properties": {"delivery_mode": 2, "headers": {"a": 1, "b": ["c"]}, "message_id": "m"},
        "routing_key": "q", "payload": "aGVsbG8=", "payload_encoding": "base64",
    });
    assert_eq!(api.post("/exchanges/%2f/amq.default/publish", &publish), (200, json!({"routed": true})));
    let nowhere = json!({"properties": {}, "routing_key": "no", "payload": "", "payload_encoding": "string"});
    assert_eq!(api.post("/exchanges/%2f/amq.default/publish", &nowhere), (200, json!({"routed": false})));
    let get = |mode: &str| {
        api.post(
            "/queues/%2f/q/get",
            &json!({"count": 5, "ackmode": mode, "encoding": "auto", "truncate": 3}),
        )
        .1
    };
    let mut message = json!([{
        "exchange": "", "routing_key": "q", "redelivered": false, "message_count": 0,
        "properties": {"delivery_mode": 2, "headers": {"a": 1, "b": ["c"]}, "message_id": "m"},
        "payload": "hel", "payload_bytes": 5, "payload_encoding": "string",
    }]);
    assert_eq!(get("ack_requeue_true"), message);
    message[0]["redelivered"] = true.into();
    assert_eq!(get("ack_requeue_false"), message);
    assert_eq!(get("ack_requeue_false"), json!([]));
    assert_eq!(api.delete("/queues/%2f/q?if-empty=true").0, 204);
    assert_eq!(api.get("/queues/%2f/q").0, 404);
}

#[test]
fn what_is_published_over_http_survives_kill_9() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    api.put("/queues/%2f/q", &json!({"durable": true}));
    let publish = json!({
        "properties": {"delivery_mode": 2}, "routing_key": "q", "payload": "kept", "payload_encoding": "string",
    });
    assert_eq!(api.post("/exchanges/%2f/amq.default/publish", &publish).0, 200);
    let broker = broker.crash_and_restart();
    let get = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"});
    assert_eq!(Api::of(&broker).post("/queues/%2f/q/get", &get).1[0]["payload"], "kept");
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    api.put("/queues/%2f/q", &json!({"durable": true}));
    let policy = |fields: &Value| {
        let mut policy = json!({"pattern": "a", "definition": {"max-length": 1}});
        policy.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        policy
    };
    let reason =
        |(status, body): (u16, Value)| (status, body["reason"].as_str().unwrap_or_default().to_owned());
    for (answer, status, told) in [
        (api.put("/queues/%2f/n", &json!({"durable": "maybe"})), 400, "durable: expected true or false"),
        (api.put("/queues/%2f/n", &json!({"arguments": 5})), 400, "arguments: expected an object"),
        (
            api.put("/queues/%2f/n", &json!({"arguments": {"x-message-ttl": "a"}})),
            400,
            "invalid arg 'x-message-ttl'",
        ),
        (api.put("/queues/%2f/q", &json!({"durable": false})), 400, "inequivalent arg 'durable'"),
        (api.put("/queues/none/q", &json!({})), 404, "vhost_not_found"),
        (api.put("/exchanges/%2f/x", &json!({"type": "nope"})), 400, "nope"),
        (api.post("/queues/%2f/q/get", &json!({"count": 1})), 400, "ackmode"),
        (api.post("/exchanges/%2f/amq.direct/publish", &json!({"properties": {}})), 400, "routing_key"),
        (api.put("/users/u", &json!({"password": "p"})), 400, "tags"),
        (api.put("/policies/%2f/p", &json!({"pattern": "(", "definition": {"max-length": 1}})), 400, "("),
        (api.put("/policies/%2f/p", &json!({"pattern": "a", "definition": {"nope": 1}})), 400, "nope"),
        (api.put("/policies/%2f/p", &policy(&json!({"priority": "x"}))), 400, "priority: "),
        (api.put("/policies/%2f/p", &policy(&json!({"apply-to": "cats"}))), 400, "apply-to: "),
        (
            api.post("/definitions", &json!({"queues": [{"name": "n", "vhost": "/", "durable": 5}]})),
            400,
            "queues[0] 'n': durable: ",
        ),
        (api.post("/users/bulk-delete", &json!({"users": ["guest", "nobody"]})), 400, "nobody"),
        (api.put("/vhost-limits/%2f/nope", &json!({"value": 1})), 400, "nope"),
        (api.get("/queues?page=x"), 400, "Pagination"),
        (api.get("/queues/%2f/none"), 404, "Not Found"),
        (api.delete("/exchanges/%2f/amq.topic"), 401, "Access refused."),
        (api.send("PUT", "/queues/%2f/n", b"{bad"), 400, "not_json"),
        (api.send("PUT", "/queues/%2f/n", b"[1]"), 400, "not_json"),
        (api.send("PUT", "/queues/%2f/n", &vec![b' '; 33 << 20]), 413, "limit"),
    ] {
        let (got, text) = reason(answer);
        assert!(got == status && text.contains(told), "{told}: {got} {text}");
    }
    assert_eq!(api.delete("/overview").0, 405);
    assert_eq!(api.get("/users/").0, 200, "guest is there still, and a slash at the end is nothing");
}

#[test]
fn definitions_go_out_and_in() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    api.put("/vhosts/v", &json!({"description": "d", "tags": "a,b"}));
    api.put("/queues/v/q", &json!({"durable": true, "arguments": {"x-max-length": 5}}));
    api.put("/exchanges/v/x", &json!({"type": "topic", "durable": true}));
    assert_eq!(api.post("/bindings/v/e/x/q/q", &json!({"routing_key": "a.#"})).0, 201);
    api.put(
        "/policies/v/p",
        &json!({"pattern": "^q", "definition": {"max-length": 3}, "apply-to": "queues"}),
    );
    api.put("/users/u", &json!({"password": "p", "tags": ["monitoring"]}));
    let (_, definitions) = api.get("/definitions");
    let other = Broker::ours();
    let imported = Api::of(&other);
    assert_eq!(imported.post("/definitions", &definitions).0, 204);
    for path in ["/queues/v/q/bindings", "/policies", "/exchanges/v/x", "/users/u", "/vhost-limits"] {
        assert_eq!(imported.get(path), api.get(path), "{path}");
    }
    assert_eq!(imported.get("/queues/v/q").1["effective_policy_definition"], json!({"max-length": 3}));
    assert_eq!(
        imported.logged_in_as("u", "p").get("/whoami").1,
        json!({"name": "u", "tags": ["monitoring"]})
    );
    assert_eq!(api.delete("/vhosts/v").0, 204);
    assert_eq!(api.get("/vhosts/v").0, 404);
}

/// Declares on a broker what the shapes are taken of.
fn prepare(api: &Api) {
    api.put("/queues/%2f/shape", &json!({"durable": true, "arguments": {"x-message-ttl": 600_000}}));
    api.put("/exchanges/%2f/shape-x", &json!({"type": "topic", "durable": true, "arguments": {}}));
    api.post("/bindings/%2f/e/shape-x/q/shape", &json!({"routing_key": "a.#", "arguments": {}}));
    api.put("/users/shape", &json!({"password": "p", "tags": "management"}));
    api.put("/permissions/%2f/shape", &json!({"configure": ".*", "write": ".*", "read": ".*"}));
    api.put("/topic-permissions/%2f/shape", &json!({"exchange": "amq.topic", "write": ".*", "read": ".*"}));
    let policy =
        json!({"pattern": "^shape", "definition": {"max-length": 100}, "priority": 1, "apply-to": "queues"});
    api.put("/policies/%2f/shape", &policy);
    api.put("/operator-policies/%2f/shape", &policy);
    api.put("/vhost-limits/%2f/max-queues", &json!({"value": 1000}));
    api.put("/user-limits/shape/max-channels", &json!({"value": 1000}));
    api.put("/global-parameters/shape", &json!({"value": {"a": 1}}));
    let publish = json!({
        "properties": {"delivery_mode": 2, "headers": {"a": 1}}, "routing_key": "a.b", "payload": "hello",
        "payload_encoding": "string",
    });
    api.post("/exchanges/%2f/shape-x/publish", &publish);
}

/// Leaves a broker that runs on as it was.
fn clear(api: &Api) {
    for path in [
        "/queues/%2f/shape",
        "/exchanges/%2f/shape-x",
        "/users/shape",
        "/policies/%2f/shape",
        "/operator-policies/%2f/shape",
        "/vhost-limits/%2f/max-queues",
        "/global-parameters/shape",
    ] {
        assert_eq!(api.delete(path).0, 204, "{path}");
    }
}

const COMPARED: [&str; 33] = [
    "/overview",
    "/nodes",
    "/cluster-name",
    "/whoami",
    "/connections",
    "/channels",
    "/consumers",
    "/exchanges",
    "/exchanges/%2f/shape-x",
    "/exchanges/%2f/shape-x/bindings/source",
    "/queues",
    "/queues/%2f/shape",
    "/queues?disable_stats=true&enable_queue_totals=true",
    "/queues?page=1&page_size=1&name=shape",
    "/queues/%2f/shape/bindings",
    "/bindings",
    "/bindings/%2f/e/shape-x/q/shape",
    "/vhosts",
    "/vhosts/%2f",
    "/vhosts/%2f/permissions",
    "/users",
    "/users/shape",
    "/permissions",
    "/topic-permissions",
    "/policies",
    "/operator-policies",
    "/parameters",
    "/global-parameters",
    "/vhost-limits",
    "/user-limits",
    "/definitions",
    "/feature-flags",
    "/health/checks/alarms",
];

/// Fields that speak of Erlang, of mirrors, or of what RabbitMQ keeps of its own files; see docs/management.md.
const NOT_HERE: [&str; 30] = [
    "backing_queue_status",
    "garbage_collection",
    "reductions",
    "reductions_details",
    "recoverable_slaves",
    "consumer_utilisation",
    "ra_open_file_metrics",
    "message_stats.disk_reads",
    "message_stats.disk_reads_details",
    "message_stats.disk_writes",
    "message_stats.disk_writes_details",
    "cowboy_opts",
    "message_stats.get_empty",
    "message_stats.get_empty_details",
    "config_files",
    "gc_",
    "context_switches",
    "io_read",
    "io_reopen",
    "io_seek",
    "io_write",
    "mnesia_",
    "msg_store_",
    "queue_index_",
    "queue_declared",
    "queue_created",
    "queue_deleted",
    "metrics_gc_queue_length",
    "uaa_",
    "socket_opts",
];

#[test]
fn the_api_has_rabbitmqs_shapes() {
    let broker = Broker::ours();
    let ours = shapes(&Api::of(&broker), &broker.url);
    let theirs = match std::env::var("LEVERET_TEST_MANAGEMENT_URL") {
        Ok(url) => checked(&url),
        Err(_) => recorded(),
    };
    let mut missing = Vec::new();
    for path in COMPARED {
        http::missing(path, &theirs[path], &ours[path], &NOT_HERE, &mut missing);
    }
    assert!(missing.is_empty(), "RabbitMQ has, and Leveret has not:\n{}", missing.join("\n"));
}

/// The shapes of RabbitMQ 3.10.8.
fn recorded() -> Value {
    serde_json::from_str(include_str!("fixtures/rabbitmq_3_10_8_shapes.json")).expect("JSON")
}

/// The recorded shapes, after a look whether a RabbitMQ that runs has all of it. `LEVERET_TEST_RECORD` names a file that
/// its shapes are written to; then they count.
fn checked(url: &str) -> Value {
    let amqp =
        std::env::var("LEVERET_TEST_AMQP_URL").expect("LEVERET_TEST_AMQP_URL, beside the management's");
    let api = Api::at(url);
    let live = shapes(&api, &amqp);
    clear(&api);
    if let Ok(path) = std::env::var("LEVERET_TEST_RECORD") {
        std::fs::write(path, format!("{live:#}\n")).expect("the file is written");
        return live;
    }
    let mut gone = Vec::new();
    http::missing("", &recorded(), &live, &[], &mut gone);
    assert!(gone.is_empty(), "recorded, and not told by {url}:\n{}", gone.join("\n"));
    recorded()
}

/// The shapes of all answers, with a connection that publishes and consumes.
fn shapes(api: &Api, amqp_url: &str) -> Value {
    prepare(api);
    let _busy = http::Busy::start(amqp_url);
    let start = Instant::now();
    loop {
        let all: Value = COMPARED.iter().map(|path| ((*path).to_owned(), shape(&api.get(path).1))).collect();
        let has = |path: &str, field: &str| all[path].pointer(field).is_some();
        let is_sampled =
            ["/channels", "/vhosts", "/queues", "/exchanges"].iter().all(|it| has(it, "/0/message_stats"))
                && ["/exchanges/%2f/shape-x", "/vhosts/%2f", "/queues/%2f/shape"]
                    .iter()
                    .all(|it| has(it, "/message_stats"))
                && has_policy_and_messages(&all)
                && has("/connections", "/0/name")
                && has("/consumers", "/0/consumer_tag")
                && has("/overview", "/message_stats/publish");
        if is_sampled {
            return all;
        }
        assert!(start.elapsed() < PATIENCE, "nothing of the connection is told");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// RabbitMQ tells both of a queue later than that it is there, and than what was published to it.
fn has_policy_and_messages(all: &Value) -> bool {
    let told =
        [("/queues", "/0"), ("/queues/%2f/shape", ""), ("/queues?page=1&page_size=1&name=shape", "/items/0")];
    let fields = ["messages", "effective_policy_definition/max-length"];
    told.iter().all(|(path, at)| fields.iter().all(|it| all[path].pointer(&format!("{at}/{it}")).is_some()))
}

#[test]
fn delayed_messages_are_listed_moved_cancelled_and_released() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    let declare = json!({"type": "x-delayed-message", "arguments": {"x-delayed-type": "direct"}});
    assert_eq!(api.put("/exchanges/%2f/later", &declare).0, 201);
    api.put("/queues/%2f/q", &json!({}));
    api.post("/bindings/%2f/e/later/q/q", &json!({"routing_key": "k"}));
    for name in ["a", "b", "c", "d"] {
        let publish = json!({
            "properties": {"headers": {"x-delay": 3_600_000}, "message_id": name, "delivery_mode": 2},
            "routing_key": "k", "payload": name, "payload_encoding": "string",
        });
        assert_eq!(api.post("/exchanges/%2f/later/publish", &publish).1, json!({"routed": true}));
    }
    assert_eq!(api.get("/delayed/%2f/later").1["messages_delayed"], 4);
    assert_eq!(api.get("/exchanges/%2f/later").1["messages_delayed"], 4);
    let list = |query: &str| api.get(&format!("/delayed/%2f/later/messages{query}")).1;
    let held = list("");
    let ids: Vec<&str> = held.as_array().expect("a list").iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!((ids.len(), held[0]["payload"].as_str()), (4, Some("a")));
    assert_eq!(list(&format!("?after={}&limit=1", ids[0]))[0]["id"], ids[1]);
    assert_eq!(list("?message_id=c").as_array().map(Vec::len), Some(1));
    let cells = api.get("/delayed/%2f/later/histogram").1["cells"].clone();
    let due: u64 = cells.as_array().into_iter().flatten().filter_map(|cell| cell["messages"].as_u64()).sum();
    assert_eq!(due, 4);
    let of = |id: &str| format!("/delayed/%2f/later/messages/{id}");
    assert_eq!(api.delete(&of(ids[0])).0, 204);
    assert_eq!(api.delete(&of(ids[0])).0, 404);
    assert_eq!(api.post(&format!("{}/release", of(ids[1])), &json!({})).0, 204);
    let get = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"});
    assert_eq!(api.post("/queues/%2f/q/get", &get).1[0]["payload"], "b");
    let moved = api.put(&of(ids[2]), &json!({"delay_ms": 7_200_000})).1;
    assert_ne!(moved["id"], ids[2]);
    assert_eq!(api.delete("/delayed/%2f/later/messages?message_id=c").1, json!({"cancelled": 1}));
    let (status, refused) = api.delete("/delayed/%2f/later/messages?messageid=x");
    assert!(status == 400 && refused["reason"].as_str().is_some_and(|it| it.contains("messageid")));
    assert_eq!(api.delete("/delayed/%2f/later/messages").1, json!({"cancelled": 1}));
    assert_eq!(api.get("/delayed/%2f/later").1["messages_delayed"], 0);
    assert_eq!(api.get("/delayed/%2f/none").0, 404);
    assert_eq!(api.get("/delayed/%2f/amq.direct").0, 400);
}

#[test]
fn what_is_due_next_is_told_when_others_have_gone_before() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    let declare = json!({"type": "x-delayed-message", "arguments": {"x-delayed-type": "fanout"}});
    api.put("/exchanges/%2f/later", &declare);
    api.put("/queues/%2f/q", &json!({}));
    api.post("/bindings/%2f/e/later/q/q", &json!({"routing_key": ""}));
    for delay_ms in [60_000, 120_000, 3_600_000] {
        let publish = json!({
            "properties": {"headers": {"x-delay": delay_ms}, "delivery_mode": 2},
            "routing_key": "", "payload": "", "payload_encoding": "string",
        });
        assert_eq!(api.post("/exchanges/%2f/later/publish", &publish).1, json!({"routed": true}));
    }
    // What is held is in other files then.
    let broker = broker.restart();
    let api = Api::of(&broker);
    for gone in 0..3 {
        let held = api.get("/delayed/%2f/later/messages").1;
        assert_eq!(held.as_array().map(Vec::len), Some(3 - gone));
        assert_eq!(api.get("/delayed/%2f/later").1["next_due"], held[0]["due"], "{gone} gone before");
        let id = held[0]["id"].as_str().expect("an id");
        assert_eq!(api.delete(&format!("/delayed/%2f/later/messages/{id}")).0, 204);
    }
    assert_eq!(api.get("/delayed/%2f/later").1["next_due"], Value::Null);
}

#[test]
fn metrics_tell_what_is_there() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    api.put("/queues/%2f/q", &json!({}));
    let publish = json!({"properties": {}, "routing_key": "q", "payload": "", "payload_encoding": "string"});
    api.post("/exchanges/%2f/amq.default/publish", &publish);
    let start = Instant::now();
    while !api.text("/metrics").contains("\nrabbitmq_queue_messages_ready 1\n") {
        assert!(start.elapsed() < PATIENCE, "the message is not in the metrics");
        std::thread::sleep(Duration::from_millis(20));
    }
    let all = api.text("/metrics");
    for name in [
        "rabbitmq_queues 1",
        "leveret_journal_groups_total ",
        "leveret_store_failed 0",
        "rabbitmq_io_sync_ops_total ",
        "rabbitmq_io_sync_time_seconds_total ",
        "leveret_delayed_messages 0",
    ] {
        assert!(all.contains(&format!("\n{name}")), "{name}");
    }
    assert!(!all.contains("queue=\""));
    let each = api.text("/metrics/per-object");
    assert!(each.contains("rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q\"} 1\n"), "{each}");
}

#[test]
fn what_was_sampled_is_forgotten_on_request() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    api.put("/queues/%2f/q", &json!({}));
    let samples = || {
        let history = api.get("/statistics/history").1;
        history["at_ms"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect::<Vec<_>>()
    };
    let start = Instant::now();
    let before = loop {
        let taken = samples();
        if taken.len() > 2 {
            break taken;
        }
        assert!(start.elapsed() < PATIENCE, "no samples are taken");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(api.delete("/reset").0, 204);
    let after = samples();
    assert!(after.first() >= before.last(), "not begun anew: {before:?}, {after:?}");
    assert_eq!(api.get("/overview").1["object_totals"]["queues"], 1);
    let node = api.get("/overview").1["node"].as_str().expect("a name").to_owned();
    assert_eq!(api.delete(&format!("/reset/{node}")).0, 204);
    assert_eq!(api.delete("/reset/other@node").0, 404);
    assert_eq!(api.get("/reset").0, 405);
    api.put("/users/watcher", &json!({"password": "p", "tags": "monitoring"}));
    assert_eq!(api.logged_in_as("watcher", "p").delete("/reset").0, 401);
}

#[test]
fn pages_of_queues_are_in_order_over_all_virtual_hosts() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    api.put("/vhosts/v", &json!({}));
    for name in ["c", "a", "b"] {
        api.put(&format!("/queues/%2f/{name}"), &json!({}));
        api.put(&format!("/queues/v/{name}2"), &json!({}));
    }
    let names = |query: &str| {
        let answer = api.get(&format!("/queues?columns=name&{query}")).1;
        assert!(query.is_empty() || answer["total_count"] == 6, "{answer}");
        let rows = answer.get("items").unwrap_or(&answer).as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["name"].as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(""), "a b c a2 b2 c2");
    assert_eq!(names("page=1&page_size=4"), "a b c a2");
    assert_eq!(names("page=2&page_size=4"), "b2 c2");
    assert_eq!(names("page=2&page_size=4&sort=name"), "c c2");
    assert_eq!(names("page=1&page_size=2&sort_reverse=true"), "c2 b2");
    assert_eq!(names("page=1&page_size=5&name=2"), "a2 b2 c2");
    let publish = json!({"properties": {}, "routing_key": "b2", "payload": "", "payload_encoding": "string"});
    assert_eq!(api.post("/exchanges/v/amq.default/publish", &publish).0, 200);
    assert_eq!(names("page=1&page_size=1&sort=messages&sort_reverse=true"), "b2");
}

#[test]
fn queues_are_sorted_by_what_is_in_them_now() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    api.put("/vhosts/other", &json!({}));
    for (vhost, name, messages) in [
        ("%2f", "a", 0),
        ("%2f", "b", 2),
        ("%2f", "c", 0),
        ("%2f", "d", 1),
        ("other", "b", 0),
        ("other", "e", 2),
    ] {
        api.put(&format!("/queues/{vhost}/{name}"), &json!({}));
        for _ in 0..messages {
            publish(&api, vhost, name);
        }
    }
    let names = |query: &str| {
        let rows = api.get(&format!("/queues?columns=name,vhost&{query}")).1;
        let rows = rows.get("items").unwrap_or(&rows).as_array().cloned().unwrap_or_default();
        let text = |row: &Value| {
            format!(
                "{}{}",
                row["vhost"].as_str().unwrap_or_default(),
                row["name"].as_str().unwrap_or_default()
            )
        };
        rows.iter().map(text).collect::<Vec<_>>().join(" ")
    };
    for column in ["messages", "messages_ready", "message_bytes"] {
        assert_eq!(names(&format!("sort={column}")), "/a /c otherb /d /b othere", "{column}");
        assert_eq!(
            names(&format!("sort={column}&sort_reverse=true")),
            "/b othere /d /a /c otherb",
            "{column}"
        );
        let pages = |reverse: bool| {
            let page = |page| names(&format!("sort={column}&sort_reverse={reverse}&page={page}&page_size=4"));
            [page(1), page(2)].join(" ")
        };
        assert_eq!(pages(false), "/a /c otherb /d /b othere");
        assert_eq!(pages(true), "/b othere /d /a /c otherb");
        assert_eq!(names(&format!("sort={column}&name=b")), "otherb /b", "{column}");
    }
    assert_eq!(names("sort=state&page=2&page_size=2"), "/c /d");
    let get = json!({"count": 2, "ackmode": "ack_requeue_false", "encoding": "auto"});
    api.post("/queues/%2f/b/get", &get);
    api.delete("/queues/other/e");
    publish(&api, "%2f", "c");
    publish(&api, "%2f", "c");
    assert_eq!(
        names("sort=messages&sort_reverse=true"),
        "/c /d /a /b otherb",
        "as of now, not of the last sample"
    );
    api.delete("/queues/%2f/c");
    api.put("/queues/%2f/c", &json!({}));
    assert_eq!(names("sort=messages&sort_reverse=true"), "/d /a /b /c otherb", "another queue of its name");
    publish(&api, "%2f", "a");
    let deadline = Instant::now() + PATIENCE;
    while names("sort=message_stats.publish_details.rate&sort_reverse=true&page=1&page_size=2") != "/a /b" {
        publish(&api, "%2f", "a");
        assert!(
            Instant::now() < deadline,
            "{}",
            names("sort=message_stats.publish_details.rate&sort_reverse=true")
        );
    }
}

fn publish(api: &Api, vhost: &str, queue: &str) {
    let message =
        json!({"properties": {}, "routing_key": queue, "payload": "12", "payload_encoding": "string"});
    assert_eq!(
        api.post(&format!("/exchanges/{vhost}/amq.default/publish"), &message).1,
        json!({"routed": true})
    );
}

#[test]
fn what_another_site_has_a_browser_ask_for_is_refused() {
    let broker = Broker::ours();
    let api = Api::of(&broker);
    let own = format!("http://{}", broker.management());
    for (header, status) in [
        (("origin", "http://elsewhere"), 403),
        (("origin", "null"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("origin", own.as_str()), 201),
        (("sec-fetch-site", "same-origin"), 204),
    ] {
        assert_eq!(api.send_with(&[header], "PUT", "/queues/%2f/q", b"{}").0, status, "{header:?}");
    }
    assert_eq!(api.send_with(&[("sec-fetch-site", "cross-site")], "GET", "/queues", b"").0, 200);
}
