//! The HTTP APIs' answers, good and bad.
#![allow(clippy::unwrap_used, reason = "these are tests, also their setting up")]

mod support;

use leveret_bus::clock;
use leveret_rig::{openapi, until};
use leveret_transfer::{SIGNATURE_HEADER, TIME_HEADER};
use leveret_web::client::Response;
use serde_json::{Value, json};
use support::{Rig, money_of, secret};

/// A callback signed at this time.
async fn callback(rig: &Rig, body: &'static str, time_us: i64, signature: &str) -> Response {
    let time = time_us.to_string();
    let headers = [(TIME_HEADER, time.as_str()), (SIGNATURE_HEADER, signature)];
    rig.client.post(&format!("{}callback", rig.a.url()), &headers, body).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_may_be_repeated_but_not_replayed_or_forged() {
    let rig = Rig::start().await.stop_b().await;
    assert_eq!(rig.transfer(100).await, 1);
    let now_us = clock::now_ms() * 1000;
    let sign = |time_us| secret().sign(time_us, b"tid=1");

    let forged = "0".repeat(64);
    for (time_us, signature, why) in [
        (now_us, forged.as_str(), "wrong"),
        (now_us + 1, &sign(now_us), "wrong"),
        (now_us - 301_000_000, &sign(now_us - 301_000_000), "five minutes"),
        (now_us, "", "not signed"),
    ] {
        let refused = callback(&rig, "tid=1", time_us, signature).await;
        assert_eq!(refused.status, 401, "{}", refused.text());
        assert!(refused.text().contains(why), "{}", refused.text());
    }
    assert_eq!(rig.at_a(1).await.status, leveret_transfer::Status::Pending);

    // The mistake of the notes: a repeated callback must not be told that a confirmed transfer failed.
    for repeat in 0..3 {
        let answer = callback(&rig, "tid=1", now_us + repeat, &sign(now_us + repeat)).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "success"));
    }
    let replayed = callback(&rig, "tid=1", now_us, &sign(now_us)).await;
    assert_eq!(replayed.status, 401, "{}", replayed.text());
    assert!(replayed.text().contains("used before"), "{}", replayed.text());

    let unknown = callback(&rig, "tid=77", now_us, &secret().sign(now_us, b"tid=77")).await;
    assert_eq!(unknown.text(), "error");
    let nonsense = callback(&rig, "tid=x", now_us, &secret().sign(now_us, b"tid=x")).await;
    assert_eq!(nonsense.status, 422);
    // B comes up, and finds the transfer confirmed: it credits.
    let rig = rig.start_b().await;
    let (_, b) = rig.at_rest().await;
    assert_eq!(money_of(&b, "bob"), 600);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_told_precisely_and_writes_nothing() {
    let rig = Rig::start().await;
    let cases = [
        (json!({ "to": "bob", "money": 1 }), 422, Some("from")),
        (json!({ "from": "alice", "money": 1 }), 422, Some("to")),
        (json!({ "from": "alice", "to": "bob" }), 422, Some("money")),
        (json!({ "from": "alice", "to": "bob", "money": 0 }), 422, Some("money")),
        (json!({ "from": "alice", "to": "bob", "money": -5 }), 422, Some("money")),
        (json!({ "from": "alice", "to": "bob", "money": 1.5 }), 422, Some("money")),
        (json!({ "from": "alice", "to": "bob", "money": u64::MAX }), 422, Some("money")),
        (json!({ "from": "carol", "to": "bob", "money": 1 }), 422, Some("from")),
        (json!({ "from": "alice", "to": "b\u{0}b", "money": 1 }), 422, Some("to")),
        (json!({ "from": "alice", "to": "bob", "money": 10_001 }), 409, None),
        (json!(["alice"]), 400, None),
    ];
    for (body, status, field) in cases {
        let answer = rig.post(&rig.a.url(), "transfers", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert_eq!(answer.json::<Value>().unwrap()["field"].as_str(), field, "{body}");
    }
    let large = json!({ "from": "n".repeat(70_000), "to": "bob", "money": 1 });
    assert_eq!(rig.post(&rig.a.url(), "transfers", &large).await.status, 413);
    let again = json!({ "name": "alice", "money": 1 });
    assert_eq!(rig.post(&rig.a.url(), "users", &again).await.status, 409);
    let (a, _) = rig.at_rest().await;
    assert_eq!((money_of(&a, "alice"), a.transfers.len()), (10_000, 0));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_key_makes_a_transfer_once() {
    let rig = Rig::start().await;
    let url = format!("{}transfers", rig.a.url());
    let send = async |key: &str, money: i64| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        let body = json!({ "from": "alice", "to": "bob", "money": money }).to_string();
        rig.client.post(&url, &headers, body).await.unwrap()
    };
    let first = send("key-1", 100).await;
    let second = send("key-1", 100).await;
    assert_eq!((first.status.as_u16(), &first.body), (202, &second.body));
    assert_eq!(send("key-1", 200).await.status, 422);
    assert_eq!(send("", 200).await.status, 400);
    // Whoever comes second finds no money left, but is told of the first.
    let at_once = (0..4).map(|_| send("key-2", 9_900));
    let answers = futures_util::future::join_all(at_once).await;
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &answer.body), (202, &answers[0].body), "{}", answer.text());
    }
    let (a, b) = rig.at_rest().await;
    assert_eq!((money_of(&a, "alice"), money_of(&b, "bob")), (0, 10_500));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_companies_withstand_anything() {
    let rig = Rig::start().await;
    openapi::withstands_anything(&rig.a.url(), 400).await;
    openapi::withstands_anything(&rig.b().url(), 200).await;
    let (b, a) = (rig.b().system().books().await.unwrap(), rig.a.system().books().await.unwrap());
    assert!(leveret_transfer::Books::balance(&a, &b), "{a:?} {b:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_health_and_metrics_are_there() {
    let rig = Rig::start().await;
    rig.transfer(100).await;
    rig.at_rest().await;
    let get = async |path: &str| rig.client.get(&format!("{}{path}", rig.a.url())).await.unwrap();
    assert!(get("").await.text().contains("Transfers: company A"));
    assert!(get("?lang=zh").await.text().contains("转账：A公司"));
    assert_eq!(get("health").await.status, 200);
    assert_eq!(get("ready").await.json::<Value>().unwrap()["broker"], true);
    let metrics = get("metrics").await.text();
    assert!(metrics.contains("route=\"/transfers\",status=\"202\"} 1"), "{metrics}");
    // That the message has gone out is noted while B handles it.
    until("nothing unsent", async || {
        get("metrics").await.text().contains("leveret_outbox_unsent 0").then_some(())
    })
    .await;
    // B's page shows both sides, and that nothing is missing.
    let page = rig.client.get(&rig.b().url()).await.unwrap().text();
    assert!(page.contains("as was put in") && page.contains("99.00"), "{page}");
    rig.stop().await;
}
