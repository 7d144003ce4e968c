//! The pages of both companies in a real browser: accounts are opened, money is sent, and the page shows by itself that
//! none is missing.

mod support;

use leveret_bus::{Bus, Message};
use leveret_testkit::{Browser, Width};
use serde_json::json;
use support::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_sent_by_the_form_and_seen_to_arrive() {
    let rig = Rig::start().await;
    let browser = Browser::start().await;
    browser.resize(Width::Phone).await;
    browser.open(&rig.a.url()).await;
    browser.press("Open an account").await;
    browser.fill("#account [name=name]", "carol").await;
    browser.fill("#account [name=money]", "50").await;
    browser.press("Open").await;
    browser.read("50.00").await;
    send(&browser, "12.34").await;
    browser.read("confirmed").await;
    browser.read("87.66").await;
    assert_eq!(browser.overflow().await, 0);
    browser.picture("transfer-a-phone").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    // What is wrong is told beside the form.
    send(&browser, "1000000").await;
    browser.read("has not got that much money").await;
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("409")), "{complaints:?}");
    browser.close().await;
    rig.stop().await;
}

async fn send(browser: &Browser, money: &str) {
    browser.fill("#transfer [name=from]", "alice").await;
    browser.fill("#transfer [name=to]", "bob").await;
    browser.fill("#transfer [name=money]", money).await;
    browser.press("Transfer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receiving_side_shows_both_sides_as_they_change() {
    let rig = Rig::start().await;
    let browser = Browser::start().await;
    browser.resize(Width::Phone).await;
    browser.open(&rig.b().url()).await;
    browser.read("No money is made or lost").await;
    browser.read("as was put in").await;
    // Sent by somebody else: the page is not loaded again, what changes on it was pushed.
    rig.transfer(1_234).await;
    browser.read("credited").await;
    browser.read("17.34").await;
    browser.read("as was put in").await;

    let names = &rig.settings_a.names;
    let bus = Bus::connect(&rig.settings_a.amqp_url).await.expect("the broker is there");
    let forged = json!({ "tid": 99, "from": "alice", "to": "bob", "money": 1 });
    let forged = Message::json(&names.exchange, &names.routing_key, &forged).expect("it is JSON");
    bus.publish(forged).await.expect("it is routed");
    browser.read("not from A").await;
    assert_eq!(browser.overflow().await, 0);
    browser.picture("transfer-b-phone").await;
    browser.press("Drop").await;
    browser.read("Nothing was given up.").await;

    browser.press("中文").await;
    browser.read("已入账").await;
    browser.read("与存入相同").await;
    browser.fits("transfer-zh").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    rig.stop().await;
}
