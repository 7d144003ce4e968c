//! What is answered where something is not there, and what may be asked for: as RabbitMQ 3.10.8 answers.

use leveret_management::Limits;
use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_has_no_bindings() {
    let stage = Stage::start(Limits::default()).await;
    stage.change("PUT", "/queues/%2f/q", &json!({})).await;
    for path in [
        "/queues/none/q/bindings",
        "/queues/%2f/none/bindings",
        "/exchanges/none/amq.direct/bindings/source",
        "/exchanges/%2f/none/bindings/source",
        "/exchanges/%2f/none/bindings/destination",
        "/bindings/none/e/amq.direct/q/q",
        "/bindings/%2f/e/amq.direct/q/none",
        "/bindings/%2f/e/none/q/q",
        "/bindings/%2f/e/amq.direct/e/none",
    ] {
        assert_eq!(stage.get(path).await, json!([]), "{path}");
    }
    assert_eq!(stage.get("/queues/%2f/q/bindings").await[0]["routing_key"], "q");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_objects_have_rabbitmqs_status() {
    let stage = Stage::start(Limits::default()).await;
    for (method, path, body, expected) in [
        ("GET", "/bindings/none", Value::Null, 404),
        ("GET", "/bindings/%2f/e/amq.direct/x/q", Value::Null, 400),
        ("GET", "/bindings/%2f/e/amq.direct/q/none/~", Value::Null, 404),
        ("GET", "/definitions/none", Value::Null, 400),
        ("GET", "/topic-permissions/%2f/guest", Value::Null, 404),
        ("POST", "/vhosts/%2f/start/none", json!({}), 400),
        ("POST", "/vhosts/%2f/start/leveret@test", json!({}), 204),
        ("PUT", "/user-limits/nobody/max-channels", json!({"value": 5}), 400),
        ("GET", "/auth/attempts/none", Value::Null, 404),
        ("GET", "/auth/attempts/none/source", Value::Null, 404),
        ("DELETE", "/auth/attempts/none", Value::Null, 404),
        ("GET", "/auth/attempts/leveret@test/source", Value::Null, 200),
        ("PUT", "/feature-flags/none/enable", json!({}), 400),
    ] {
        let (status, answer) = stage.json("guest:guest", method, path, &body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
}

/// As RabbitMQ has it since 4.1.
#[tokio::test(flavor = "multi_thread")]
async fn a_protected_virtual_host_is_not_deleted() {
    let stage = Stage::start(Limits::default()).await;
    stage.change("PUT", "/users/ann", &json!({"password": "p", "tags": "monitoring"})).await;
    stage.change("PUT", "/vhosts/v", &json!({})).await;
    stage.change("PUT", "/vhosts/born", &json!({"protected_from_deletion": true})).await;
    let protection = "/vhosts/v/deletion/protection";
    for (user, method, path, expected) in [
        ("ann:p", "POST", protection, 401),
        ("guest:guest", "POST", "/vhosts/none/deletion/protection", 404),
        ("guest:guest", "DELETE", "/vhosts/none/deletion/protection", 404),
        ("guest:guest", "DELETE", "/vhosts/born", 412),
        ("guest:guest", "POST", protection, 204),
        ("guest:guest", "DELETE", "/vhosts/v", 412),
        // What else is changed leaves it.
        ("guest:guest", "PUT", "/vhosts/v", 204),
        ("guest:guest", "DELETE", "/vhosts/v", 412),
        ("ann:p", "DELETE", protection, 401),
        ("guest:guest", "DELETE", protection, 204),
        ("guest:guest", "DELETE", "/vhosts/v", 204),
        ("guest:guest", "DELETE", "/vhosts/v", 404),
    ] {
        let (status, answer) = stage.json(user, method, path, &json!({"description": "d"})).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
        if status == 412 {
            assert_eq!(answer["error"], "precondition_failed");
        }
    }
    let born = stage.get("/vhosts/born").await;
    assert_eq!(
        (&born["protected_from_deletion"], &born["metadata"]["protected_from_deletion"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_policies_are_for_administrators() {
    let stage = Stage::start(Limits::default()).await;
    stage.change("PUT", "/users/ann", &json!({"password": "p", "tags": "policymaker"})).await;
    stage
        .change("PUT", "/permissions/%2f/ann", &json!({"configure": ".*", "write": ".*", "read": ".*"}))
        .await;
    let policy = json!({"pattern": "a", "definition": {"max-length": 1}, "apply-to": "queues"});
    stage.change("PUT", "/policies/%2f/p", &policy).await;
    stage.change("PUT", "/operator-policies/%2f/o", &policy).await;
    for (method, path, expected) in [
        ("GET", "/policies/%2f/p", 200),
        ("PUT", "/policies/%2f/p", 204),
        ("GET", "/operator-policies/%2f", 200),
        ("GET", "/operator-policies/%2f/o", 401),
        ("PUT", "/operator-policies/%2f/o", 401),
        ("DELETE", "/operator-policies/%2f/o", 401),
        ("GET", "/healthchecks/node", 200),
    ] {
        let (status, answer) = stage.json("ann:p", method, path, &policy).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_a_path_allows() {
    let stage = Stage::start(Limits::default()).await;
    for (path, allowed) in [
        ("/api/queues/%2f/q", "GET,HEAD,PUT,DELETE,OPTIONS"),
        ("/api/exchanges/%2f/amq.direct/publish", "POST,OPTIONS"),
        ("/api/overview", "GET,HEAD,OPTIONS"),
        ("/", "GET,HEAD,OPTIONS"),
    ] {
        let answer = stage.ask("OPTIONS", path, "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        let line = answer.lines().find_map(|line| line.strip_prefix("allow: "));
        assert_eq!(line, Some(allowed), "{path}");
    }
    assert!(stage.ask("OPTIONS", "/api/nothing", "").await.starts_with("HTTP/1.1 404"));
}
