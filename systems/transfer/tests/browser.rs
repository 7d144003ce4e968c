//! The page in a real browser: accounts are opened, money is sent, and the page shows by itself that none is missing.

mod support;

use leveret_testkit::{Browser, Width};
use support::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_sent_by_the_form_and_seen_to_arrive() {
    let rig = Rig::start().await;
    let browser = Browser::start().await;
    browser.resize(Width::Phone).await;
    browser.open(&rig.b().url()).await;
    browser.read("No money is made or lost").await;
    browser.open(&rig.a.url()).await;
    browser.fill("#transfer [name=from]", "alice").await;
    browser.fill("#transfer [name=to]", "bob").await;
    browser.fill("#transfer [name=money]", "12.34").await;
    browser.press("Transfer").await;
    browser.read("confirmed").await;
    browser.read("87.66").await;
    // What is wrong is told beside the form.
    browser.fill("#transfer [name=from]", "alice").await;
    browser.fill("#transfer [name=to]", "bob").await;
    browser.fill("#transfer [name=money]", "1000000").await;
    browser.press("Transfer").await;
    browser.read("has not got that much money").await;

    browser.open(&format!("{}?lang=zh", rig.b().url())).await;
    browser.read("已入账").await;
    browser.read("与存入相同").await;
    assert_eq!(browser.overflow().await, 0);
    if let Ok(path) = std::env::var("LEVERET_TEST_PICTURE") {
        std::fs::write(path, browser.screenshot().await).unwrap();
    }
    let complaints = browser.complaints().await;
    let unexpected: Vec<_> = complaints.iter().filter(|complaint| !complaint.contains("409")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    browser.close().await;
    rig.stop().await;
}
