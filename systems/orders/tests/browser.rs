//! The page in a real browser: orders are placed, seen to be written, and paid, and a message that is no order is thrown
//! away. The page is loaded once: what changes on it was pushed.

mod support;

use leveret_bus::{Bus, Message};
use leveret_rig::until;
use leveret_testkit::{Browser, Width};
use serde_json::{Value, json};
use support::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_placed_and_paid_on_the_page() {
    let rig = Rig::start().await;
    let browser = Browser::start().await;
    browser.resize(Width::Phone).await;
    browser.open(&rig.running.url()).await;
    browser.read("None yet.").await;
    browser.fill("[name=userid]", "42").await;
    browser.press("Place an order").await;
    browser.read("user 42").await;
    // What others do comes in around the button that somebody is about to press.
    let focus = "window.pay = document.querySelector('article button'); pay?.focus(); return pay !== null";
    browser.until(focus).await;
    rig.place(7).await;
    browser.read("user 7").await;
    let kept =
        "return document.activeElement === pay && pay.closest('article').innerText.includes('user 42')";
    browser.until(kept).await;
    browser.keys("\n").await;
    browser.see(".badge.sent").await;
    browser.until("return document.querySelectorAll('article button').length === 1").await;
    browser.press("Pay").await;
    browser.until("return document.querySelectorAll('.badge.sent').length === 2").await;

    let names = &rig.settings.names;
    let bus = Bus::connect(&rig.settings.amqp_url).await.expect("the broker is there");
    let odd = json!({ "userid": 1, "orderno": "", "ordertime": 1 });
    let odd = Message::json(&names.exchange, &names.routing_key, &odd).expect("it is JSON");
    bus.publish(odd).await.expect("it is routed");
    browser.read("the order number is empty").await;
    assert_eq!(browser.overflow().await, 0);
    browser.picture("orders-phone").await;
    // Tried again it is no better, and then it is thrown away.
    // Asked of the system, which does one thing at a time with them: another who looked would keep them from it.
    let failed_ms = async || rig.get("parked").await.json::<Value>().ok()?[0]["last_failed_ms"].as_i64();
    let before_ms = failed_ms().await;
    browser.press("Try again").await;
    until("another failure", async || failed_ms().await.filter(|&at_ms| Some(at_ms) > before_ms)).await;
    browser.read("the order number is empty").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    // One who tries what another has thrown away meanwhile.
    let late = "const again = document.querySelector('[data-path$=\"/replay\"]:enabled'); if (again === null) return false; \
         again.dataset.path = '/parked/x/replay'; again.click(); return true";
    // Once the page has come so far: it may still show how nothing was parked for a moment.
    browser.until(late).await;
    browser.read("there is no such parked message").await;
    let complaints = browser.complaints().await;
    assert!(matches!(&complaints[..], [line] if line.contains("404")), "{complaints:?}");
    browser.press("Drop all").await;
    browser.read("Nothing was given up.").await;

    browser.press("中文").await;
    browser.read("已付款").await;
    browser.fits("orders-zh").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    rig.stop().await;
}
