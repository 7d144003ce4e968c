//! The page in a real browser: an order is placed, seen to be written, and paid.

mod support;

use leveret_testkit::{Browser, Width};
use support::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_placed_and_paid_on_the_page() {
    let rig = Rig::start().await;
    let browser = Browser::start().await;
    browser.resize(Width::Phone).await;
    browser.open(&rig.running.url()).await;
    browser.press("Place an order").await;
    browser.see("button[data-path$='/pay']").await;
    browser.press("Pay").await;
    browser.see(".badge.sent").await;
    assert_eq!(browser.overflow().await, 0);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    rig.stop().await;
}
