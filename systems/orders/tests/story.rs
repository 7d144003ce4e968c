//! Orders from being placed to being paid or closed.

mod support;

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use leveret_bus::{Bus, Message};
use leveret_orders::{Numbering, Settings, run};
use leveret_rig::{Program, soon, until};
use serde_json::{Value, json};
use support::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_accepted_then_written_then_paid() {
    let rig = Rig::start().await;
    let number = rig.place(42).await;
    rig.until_state(&number, "created").await;
    let order = rig.get(&format!("orders/{number}")).await.json::<Value>().unwrap();
    assert_eq!(order["userid"], 42);
    for _ in 0..2 {
        let paid = rig.post(&format!("orders/{number}/pay"), &json!(null)).await;
        assert_eq!(
            (paid.status.as_u16(), paid.json::<Value>().unwrap()["state"].as_str()),
            (200, Some("paid"))
        );
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unpaid_order_closes_and_a_paid_one_does_not() {
    let rig = Rig::start_with(|settings| settings.close_after = Duration::from_millis(600)).await;
    // Where the machine is so slow that the order is closed first, another one is paid.
    let paid = until("a payment in time", async || {
        let number = rig.place(2).await;
        rig.until_written(&number).await;
        let answer = rig.post(&format!("orders/{number}/pay"), &json!(null)).await;
        assert!([200, 409].contains(&answer.status.as_u16()), "{}", answer.text());
        (answer.status == 200).then_some(number)
    })
    .await;
    let unpaid = rig.place(1).await;
    rig.until_state(&unpaid, "closed").await;
    let late = rig.post(&format!("orders/{unpaid}/pay"), &json!(null)).await;
    assert_eq!(late.status, 409, "{}", late.text());
    assert_eq!(rig.state(&paid).await, "paid");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_paying_and_closing_at_once_one_wins() {
    let rig = Rig::start_with(|settings| settings.close_after = Duration::from_millis(150)).await;
    let rig = Arc::new(rig);
    let paying = (0..30).map(|userid| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            let number = rig.place(userid + 1).await;
            // As often as one can until there is an end: some are paid just before they close, some just too late.
            tokio::time::sleep(Duration::from_millis(100 + (userid as u64 * 5))).await;
            let status = rig.post(&format!("orders/{number}/pay"), &json!(null)).await.status.as_u16();
            (number, status)
        })
    });
    for one in paying.collect::<Vec<_>>() {
        let (number, status) = one.await.unwrap();
        let wanted = if status == 200 { "paid" } else { "closed" };
        rig.until_state(&number, wanted).await;
    }
    Arc::into_inner(rig).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_does_not_confirm_is_not_accepted() {
    let rig = Rig::start_with(|settings| settings.accept_only = true).await;
    let names = &rig.settings.names;
    let connection =
        Connection::connect(&rig.settings.amqp_url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (queue, exchange, key) = (names.queue.as_str(), names.exchange.as_str(), names.routing_key.as_str());
    channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default()).await.unwrap();
    let refused = rig.post("orders", &json!({ "userid": 1 })).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!refused.text().contains("order_no"), "{}", refused.text());
    connection.close(200, "done".into()).await.unwrap();
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deep_queue_turns_orders_away_until_it_is_written() {
    let rig = Rig::start_with(|settings| {
        settings.accept_only = true;
        settings.deepest_queue = 5;
    })
    .await;
    until("429", async || {
        let answer = rig.post("orders", &json!({ "userid": 1 })).await;
        (answer.status == 429).then_some(())
    })
    .await;
    let writing = Settings { accept_only: false, listen: ([127, 0, 0, 1], 0).into(), ..rig.settings.clone() };
    let writer = run(writing).await.unwrap();
    until("202", async || {
        let answer = rig.post("orders", &json!({ "userid": 1 })).await;
        (answer.status == 202).then_some(())
    })
    .await;
    writer.shutdown().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_refuses_lets_orders_gather_in_the_queue_and_then_has_them_all() {
    let rig = Rig::start_with(|settings| {
        settings.batch = 1;
        settings.deepest_queue = 20;
    })
    .await;
    rig.database.refuse_rows("orders").await;
    let mut accepted = Vec::new();
    until("429", async || {
        let answer = rig.post("orders", &json!({ "userid": 1 })).await;
        if answer.status == 202 {
            accepted.push(answer.json::<Value>().unwrap()["order_no"].as_str().unwrap().to_owned());
        }
        (answer.status == 429).then_some(())
    })
    .await;
    rig.database.take_rows("orders").await;
    for number in &accepted {
        rig.until_written(number).await;
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_numbering_is_unique_with_two_copies_at_once() {
    for numbering in [Numbering::Uuid, Numbering::Snowflake, Numbering::Date] {
        let rig = Rig::start_with(|settings| settings.numbering = numbering).await;
        let second = Settings { listen: ([127, 0, 0, 1], 0).into(), ..rig.settings.clone() };
        let second = run(second).await.unwrap();
        let desks = [rig.running.system().clone(), second.system().clone()];
        let placing = (0..200).map(|number| {
            let desk = desks[number % 2].clone();
            tokio::spawn(async move { desk.accept(7, None).await.unwrap() })
        });
        let mut numbers = HashSet::new();
        for one in placing.collect::<Vec<_>>() {
            assert!(numbers.insert(one.await.unwrap()), "{numbering:?}");
        }
        until("200 orders", async || {
            let metrics = rig.get("").await.text();
            metrics.contains("created<b>200</b>").then_some(())
        })
        .await;
        second.shutdown().await;
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_copies_at_once_write_pay_and_close_every_order_once() {
    let rig = Rig::start_with(|settings| settings.close_after = Duration::from_millis(500)).await;
    let second = Settings { listen: ([127, 0, 0, 1], 0).into(), ..rig.settings.clone() };
    let second = run(second).await.unwrap();
    let mut paid = 0;
    for number in 0..40 {
        let (desk, other) = match number % 2 {
            0 => (rig.running.system(), second.system()),
            _ => (second.system(), rig.running.system()),
        };
        let order_no = desk.accept(number + 1, None).await.unwrap();
        if number % 4 == 0 {
            rig.until_written(&order_no).await;
            // At both at once: it is paid once, unless its time was up.
            let both = tokio::join!(desk.pay(&order_no), other.pay(&order_no));
            assert_eq!(both.0.is_ok(), both.1.is_ok(), "{both:?}");
            paid += u64::from(both.0.is_ok());
        }
    }
    let flow = until("40 orders at their end", async || {
        let flow = rig.running.system().flow().await.unwrap();
        (flow.paid + flow.closed == 40).then_some(flow)
    });
    let flow = flow.await;
    assert_eq!((flow.created, flow.paid, flow.closed), (0, paid, 40 - paid));
    second.shutdown().await;
    rig.stop().await;
}

/// Whoever asks another copy, as behind a load balancer, gets the same answers, also from one that was started after the order
/// was accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_copy_knows_an_order_from_its_acceptance_on() {
    for numbering in ["uuid", "snowflake", "date"] {
        let wanted = Numbering::from_str(numbering, true).unwrap();
        let rig = Rig::start_with(|settings| {
            (settings.accept_only, settings.numbering) = (true, wanted);
        })
        .await;
        let before = Program::start(&mut accepting_copy(&rig, numbering));
        let number = rig.place(1).await;
        let there = rig.client.post_json(&format!("{}orders", before.url), &json!({ "userid": 2 })).await;
        let from_there = there.unwrap().json::<Value>().unwrap()["order_no"].as_str().unwrap().to_owned();
        assert_eq!(rig.state(&from_there).await, "accepted");
        let after = Program::start(&mut accepting_copy(&rig, numbering));
        for copy in [&before, &after] {
            let url = format!("{}orders/{number}", copy.url);
            let order = rig.client.get(&url).await.unwrap();
            assert_eq!((order.status.as_u16(), order.text().contains("accepted")), (200, true), "{order:?}");
            let paid = rig.client.post(&format!("{url}/pay"), &[], "").await.unwrap();
            assert_eq!(paid.status, 409, "{}", paid.text());
            // What nobody has accepted is not known anywhere.
            let last = if number.ends_with('0') { '1' } else { '0' };
            let other = format!("{}{last}", &url[..url.len() - 1]);
            assert_eq!(rig.client.get(&other).await.unwrap().status, 404, "{other}");
            let bare = url.rsplit_once('-').unwrap().0;
            assert_eq!(rig.client.get(bare).await.unwrap().status, 404, "{bare}");
        }
        let writing =
            Settings { accept_only: false, listen: ([127, 0, 0, 1], 0).into(), ..rig.settings.clone() };
        let writer = run(writing).await.unwrap();
        until("the order at every copy", async || {
            let order = rig.client.get(&format!("{}orders/{number}", after.url)).await.unwrap();
            (order.json::<Value>().unwrap()["userid"] == 1).then_some(())
        })
        .await;
        writer.shutdown().await;
        before.kill();
        after.kill();
        rig.stop().await;
    }
}

/// A program of its own on the same broker and database.
fn accepting_copy(rig: &Rig, numbering: &str) -> Command {
    let (settings, names) = (&rig.settings, &rig.settings.names);
    let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
    command
        .args(["--accept-only", "--listen", "127.0.0.1:0", "--numbering", numbering])
        .args(["--amqp-url", &settings.amqp_url, "--database-url", &settings.database_url])
        .args(["--exchange", &names.exchange, "--routing-key", &names.routing_key, "--queue", &names.queue])
        .args(["--close-exchange", &names.close_exchange, "--close-queue", &names.close_queue])
        .env("RUST_LOG", "off");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_written_once_and_a_taken_number_is_parked() {
    let rig = Rig::start().await;
    let number = rig.place(1).await;
    rig.until_state(&number, "created").await;
    let order = rig.get(&format!("orders/{number}")).await.json::<Value>().unwrap();
    let names = &rig.settings.names;
    let bus = Bus::connect(&rig.settings.amqp_url).await.unwrap();
    let message = |userid: i64| {
        let body = json!({ "userid": userid, "orderno": number, "ordertime": order["order_time"] });
        Message::json(&names.exchange, &names.routing_key, &body).unwrap()
    };
    for answer in bus.publisher().publish_all(vec![message(1), message(2), message(1)]).await {
        answer.unwrap();
    }
    let parked = bus.parked(&names.queue);
    until("a parked message", async || (parked.count().await.unwrap() == 1).then_some(())).await;
    assert!(parked.list(1).await.unwrap()[0].reason.contains("belongs to another order"));
    assert_eq!(rig.get("orders").await.json::<Vec<Value>>().unwrap().len(), 1);
    assert_eq!(rig.get(&format!("orders/{number}")).await.json::<Value>().unwrap()["userid"], 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_no_database_takes_is_parked_and_holds_up_nobody() {
    let rig = Rig::start().await;
    let names = &rig.settings.names;
    let bus = Bus::connect(&rig.settings.amqp_url).await.unwrap();
    let odd = ["", "no\u{0}body", "two words", &"9".repeat(65), &"9".repeat(60_000)];
    let messages = odd.map(|number| {
        let body = json!({ "userid": 1, "orderno": number, "ordertime": 1 });
        Message::json(&names.exchange, &names.routing_key, &body).unwrap()
    });
    for answer in bus.publisher().publish_all(messages.to_vec()).await {
        answer.unwrap();
    }
    let number = rig.place(1).await;
    rig.until_state(&number, "created").await;
    let parked = bus.parked(&names.queue);
    until("five parked messages", async || (parked.count().await.unwrap() == 5).then_some(())).await;
    assert!(parked.list(1).await.unwrap()[0].reason.starts_with("the order number is"));
    assert_eq!(rig.get("orders").await.json::<Vec<Value>>().unwrap().len(), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_loses_no_order() {
    let rig = Rig::start_with(|settings| settings.accept_only = true).await;
    let mut numbers = Vec::new();
    for userid in 1..=50 {
        numbers.push(rig.place(userid).await);
    }
    let settings =
        Settings { accept_only: false, listen: ([127, 0, 0, 1], 0).into(), ..rig.settings.clone() };
    for _ in 0..3 {
        let writer = run(settings.clone()).await.unwrap();
        writer.shutdown().await;
    }
    let writer = run(settings).await.unwrap();
    for number in &numbers {
        rig.until_state(number, "created").await;
    }
    writer.shutdown().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_can_be_followed_to_its_end() {
    let rig = Rig::start_with(|settings| settings.close_after = Duration::from_secs(2)).await;
    let number = rig.place(1).await;
    // The stream ends by itself once the order is closed, so it can be read as a whole.
    let stream = soon("the end of the stream", rig.get(&format!("orders/{number}/events"))).await.text();
    let states: Vec<_> = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|json| serde_json::from_str::<Value>(json).unwrap()["state"].as_str().unwrap().to_owned())
        .collect();
    assert!(states.ends_with(&["created".to_owned(), "closed".to_owned()]), "{states:?}");
    rig.stop().await;
}
