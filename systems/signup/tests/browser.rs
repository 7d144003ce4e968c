//! The page in a real browser: somebody signs up, is given up after two failures, and gets the mail after a replay. The
//! page is loaded once: what changes on it was pushed.

mod support;

use leveret_testkit::{Browser, Width};
use support::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_up_on_the_page_is_followed_to_the_mail() {
    let rig = Rig::start(2, &[50]).await;
    let browser = Browser::start().await;
    browser.resize(Width::Phone).await;
    browser.open(&rig.running.url()).await;
    browser.read("Nobody yet.").await;
    sign_up(&browser, "Ada 李").await;
    browser.read("gave up after 2 failures").await;
    browser.picture("signup-given-up").await;
    browser.press("Try again").await;
    browser.see(".badge.sent").await;
    browser.read("Nothing was given up.").await;
    browser.see("a[href^='/mails/']").await;
    assert_eq!(browser.overflow().await, 0);
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    // What is wrong is told beside the form.
    sign_up(&browser, "Eve").await;
    browser.read("somebody has signed up with this address").await;
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("409")), "{complaints:?}");

    browser.press("中文").await;
    browser.read("用户注册").await;
    browser.read("没有被放弃的消息。").await;
    browser.fits("signup-zh").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    rig.stop().await;
}

async fn sign_up(browser: &Browser, name: &str) {
    browser.fill("[name=name]", name).await;
    browser.fill("[name=email]", "ada@example.org").await;
    browser.press("Sign up").await;
}
