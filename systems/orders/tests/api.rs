//! The HTTP API's answers, good and bad.

mod support;

use leveret_rig::openapi;
use serde_json::{Value, json};
use support::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_told_precisely() {
    let rig = Rig::start().await;
    for (body, status, field) in [
        (json!({}), 422, Some("userid")),
        (json!({ "userid": "1" }), 422, Some("userid")),
        (json!({ "userid": 0 }), 422, Some("userid")),
        (json!({ "userid": -1 }), 422, Some("userid")),
        (json!({ "userid": 1.5 }), 422, Some("userid")),
        (json!({ "userid": u64::MAX }), 422, Some("userid")),
        (json!(7), 400, None),
    ] {
        let answer = rig.post("orders", &body).await;
        assert_eq!(answer.status, status, "{body}");
        assert_eq!(answer.json::<Value>().unwrap()["field"].as_str(), field, "{body}");
    }
    assert_eq!(rig.post("orders", &json!({ "userid": "1".repeat(70_000) })).await.status, 413);
    assert_eq!(rig.get("orders/nonsense").await.status, 404);
    assert_eq!(rig.get("orders/nonsense/events").await.status, 404);
    assert_eq!(rig.post("orders/nonsense/pay", &json!(null)).await.status, 404);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_key_means_one_order() {
    let rig = Rig::start().await;
    let send = async |userid: i64| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "a key")];
        let body = json!({ "userid": userid }).to_string();
        rig.client.post(&rig.url("orders"), &headers, body).await.unwrap()
    };
    let at_once = tokio::join!(send(1), send(1), send(1));
    let later = send(1).await;
    let numbers = [at_once.0, at_once.1, at_once.2, later].map(|answer| {
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json::<Value>().unwrap()["order_no"].as_str().unwrap().to_owned()
    });
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    assert_eq!(send(2).await.status, 422);
    rig.until_state(&numbers[0], "created").await;
    assert_eq!(rig.get("orders").await.json::<Vec<Value>>().unwrap().len(), 1);
    rig.stop().await;
}

/// As when the first request was cut short, and no answer of it is on record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_key_is_of_one_order_even_before_there_is_an_answer() {
    let rig = Rig::start().await;
    let desk = rig.running.system();
    let first = desk.accept(1, Some("a key")).await.unwrap();
    assert_eq!(desk.accept(1, Some("a key")).await.unwrap(), first);
    let other = desk.accept(2, Some("a key")).await.unwrap_err();
    assert!(other.to_string().contains("used for another order"), "{other}");
    let mut two = Vec::new();
    let (one, another) = tokio::join!(desk.accept(3, Some("b")), desk.accept(4, Some("b")));
    two.extend([one, another].into_iter().flatten());
    assert_eq!(two.len(), 1, "{two:?}");
    rig.until_state(&first, "created").await;
    rig.until_state(&two[0], "created").await;
    assert_eq!(rig.get("orders").await.json::<Vec<Value>>().unwrap().len(), 2);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_withstands_anything() {
    let rig = Rig::start().await;
    openapi::withstands_anything(&rig.running.url(), 300).await;
    rig.stop().await;
}
