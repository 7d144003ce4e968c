//! The page in a real browser: somebody signs up, is given up after failures, and gets the mail after a replay.

mod support;

use leveret_testkit::{Browser, Width};
use support::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_up_on_the_page_is_followed_to_the_mail() {
    let rig = Rig::start(2, &[50]).await;
    let browser = Browser::start().await;
    browser.resize(Width::Phone).await;
    browser.open(&rig.running.url()).await;
    browser.fill("[name=name]", "Ada 李").await;
    browser.fill("[name=email]", "ada@example.org").await;
    browser.press("Sign up").await;
    browser.read("gave up after 2 failures").await;
    browser.press("Try again").await;
    browser.see(".badge.sent").await;
    browser.read("Nothing was given up.").await;
    assert_eq!(browser.overflow().await, 0);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    rig.stop().await;
}
