//! Transfers from beginning to end, through trouble on the way.

mod support;

use std::time::Duration;

use leveret_bus::{Bus, Message};
use leveret_rig::until;
use leveret_transfer::{SIGNATURE_HEADER, SettingsB, Status, run_b};
use serde_json::{Value, json};
use support::{Rig, money_of, secret, signed};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_callback_that_cannot_be_asked_is_refused_at_the_start() {
    for (url, why) in [
        ("ftp://a.example/callback", "http:// or https://"),
        ("a.example/callback", "cannot be read"),
        ("http://", "cannot be read"),
    ] {
        let settings = SettingsB { callback_url: url.into(), ..SettingsB::new(secret()) };
        let Err(refused) = run_b(settings).await else { panic!("{url} is taken") };
        let refused = refused.to_string();
        assert!(refused.starts_with("callback_url: ") && refused.contains(why), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_refuses_the_other_ones_database() {
    let rig = Rig::start().await;
    let settings = SettingsB { database_url: rig.settings_a.database_url.clone(), ..rig.settings_b.clone() };
    let settings = SettingsB { listen: ([127, 0, 0, 1], 0).into(), ..settings };
    let Err(refused) = run_b(settings).await else { panic!("B has taken A's database") };
    assert!(refused.to_string().starts_with("database_url: this is company A's database"), "{refused}");
    let tid = rig.transfer(100).await;
    rig.at_rest().await;
    assert_eq!(rig.at_b(tid).await.unwrap().status, Status::Ok);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_arrives() {
    let rig = Rig::start().await;
    let tid = rig.transfer(2_500).await;
    let (a, b) = rig.at_rest().await;
    assert_eq!((money_of(&a, "alice"), money_of(&b, "bob")), (7_500, 3_000));
    assert_eq!(rig.at_a(tid).await.status, Status::Ok);
    assert_eq!(rig.at_b(tid).await.unwrap().status, Status::Ok);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_down_means_a_refund_and_stays_without_the_money_afterwards() {
    let rig = Rig::start_with(|a, _| {
        (a.expire_every, a.expire_after) = (SHORT, SHORT);
    })
    .await;
    let rig = rig.stop_b().await;
    let tid = rig.transfer(100).await;
    rig.until_at_a(tid, Status::Failed).await;
    let rig = rig.start_b().await;
    until("B's answer to the late message", async || {
        rig.at_b(tid).await.filter(|entry| entry.status == Status::Failed)
    })
    .await;
    let (a, b) = rig.at_rest().await;
    assert_eq!((money_of(&a, "alice"), money_of(&b, "bob")), (10_000, 500));
    assert!(rig.at_a(tid).await.is_back);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_of_that_name_at_b_means_a_refund() {
    let rig = Rig::start_with(|a, _| (a.expire_every, a.expire_after) = (SHORT, SHORT)).await;
    let body = json!({ "from": "alice", "to": "nobody", "money": 100 });
    let answer = rig.post(&rig.a.url(), "transfers", &body).await;
    let tid = answer.json::<Value>().unwrap()["tid"].as_i64().unwrap();
    rig.until_at_a(tid, Status::Failed).await;
    let (a, _) = rig.at_rest().await;
    assert_eq!(money_of(&a, "alice"), 10_000);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_a_message_credit_once_and_other_content_is_parked() {
    let rig = Rig::start().await;
    let tid = rig.transfer(100).await;
    rig.at_rest().await;
    let names = &rig.settings_a.names;
    let bus = Bus::connect(&rig.settings_a.amqp_url).await.unwrap();
    let message =
        |money: i64| signed(names, &json!({ "tid": tid, "from": "alice", "to": "bob", "money": money }));
    let copies = [message(100), message(100), message(100), message(999), message(-1)];
    for answer in bus.publisher().publish_all(copies.to_vec()).await {
        answer.unwrap();
    }
    let parked = bus.parked(&names.queue);
    until("two parked messages", async || (parked.count().await.unwrap() == 2).then_some(())).await;
    let mut reasons: Vec<_> =
        parked.list(10).await.unwrap().into_iter().map(|message| message.reason).collect();
    reasons.sort();
    assert_eq!(reasons[0], "the money is not more than nothing");
    assert!(reasons[1].ends_with("is known with other content"), "{reasons:?}");
    let (a, b) = rig.at_rest().await;
    assert_eq!((money_of(&a, "alice"), money_of(&b, "bob")), (9_900, 600));
    rig.stop().await;
}

/// The signed callback names only the tid: if B believed whichever message comes first, whoever may publish could have
/// any sum credited to anybody, with A's consent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_message_that_comes_first_makes_no_money() {
    let rig = Rig::start().await;
    rig.post(&rig.b().url(), "users", &json!({ "name": "mallory", "money": 0 })).await;
    let rig = rig.stop_b().await;
    let names = rig.settings_a.names.clone();
    let bus = Bus::connect(&rig.settings_a.amqp_url).await.unwrap();
    let forged = json!({ "tid": 1, "from": "alice", "to": "mallory", "money": 1_000_000 });
    let unsigned = Message::json(&names.exchange, &names.routing_key, &forged).unwrap();
    let real = json!({ "tid": 1, "from": "alice", "to": "bob", "money": 100 });
    let signature = secret().sign_message(real.to_string().as_bytes());
    let borrowed = unsigned.clone().with_header(SIGNATURE_HEADER, signature);
    for answer in bus.publisher().publish_all(vec![unsigned, borrowed]).await {
        answer.unwrap();
    }
    assert_eq!(rig.transfer(100).await, 1);
    let rig = rig.start_b().await;
    let (a, b) = rig.at_rest().await;
    assert_eq!((money_of(&a, "alice"), money_of(&b, "bob"), money_of(&b, "mallory")), (9_900, 600, 0));
    let parked = bus.parked(&names.queue);
    until("two parked messages", async || (parked.count().await.unwrap() == 2).then_some(())).await;
    let mut reasons: Vec<_> =
        parked.list(10).await.unwrap().into_iter().map(|message| message.reason).collect();
    reasons.sort();
    assert_eq!(reasons, ["not from A: it is not signed", "not from A: the signature is wrong"]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_copies_of_each_company_change_nothing() {
    let rig = Rig::start_with(|a, b| {
        // So often that everything is done many times over.
        a.republish_every = Duration::from_millis(50);
        b.sweep_every = Duration::from_millis(20);
        b.ask_again_after = Duration::ZERO;
    })
    .await;
    let again_a =
        leveret_transfer::SettingsA { listen: ([127, 0, 0, 1], 0).into(), ..rig.settings_a.clone() };
    let second_a = leveret_transfer::run_a(again_a).await.unwrap();
    let second_b = run_b(rig.settings_b.clone()).await.unwrap();
    let bodies = (0..40).map(|_| json!({ "from": "alice", "to": "bob", "money": 10 }));
    for (number, body) in bodies.enumerate() {
        let base = if number % 2 == 0 { rig.a.url() } else { second_a.url() };
        assert_eq!(rig.post(&base, "transfers", &body).await.status, 202);
    }
    let (a, b) = rig.at_rest().await;
    assert_eq!((money_of(&a, "alice"), money_of(&b, "bob")), (9_600, 900));
    second_b.shutdown().await;
    second_a.shutdown().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_there_is_cannot_be_spent_however_many_try() {
    let rig = Rig::start().await;
    let rig = std::sync::Arc::new(rig);
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let rig = std::sync::Arc::clone(&rig);
            tokio::spawn(async move {
                let body = json!({ "from": "alice", "to": "bob", "money": 3_000 });
                rig.post(&rig.a.url(), "transfers", &body).await.status.as_u16()
            })
        })
        .collect();
    let mut accepted = 0;
    for one in tries {
        match one.await.unwrap() {
            202 => accepted += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(accepted, 3);
    let rig = std::sync::Arc::into_inner(rig).unwrap();
    let (a, b) = rig.at_rest().await;
    assert_eq!((money_of(&a, "alice"), money_of(&b, "bob")), (1_000, 9_500));
    rig.stop().await;
}
