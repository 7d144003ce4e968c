//! The browser's clicks reach what they are meant for, once.

use leveret_testkit::Browser;

/// A button under a cover that goes away by itself, and is gone once it is clicked.
const PAGE: &str = "data:text/html,<main><button>Count</button></main>\
     <div id=cover style='position:fixed;inset:0'></div><script>\
     let clicks = 0; \
     const [main, cover] = [document.querySelector('main'), document.querySelector('div')]; \
     const said = (word) => () => { clicks += 1; main.textContent = clicks + word; }; \
     main.addEventListener('click', said(' clicked')); \
     cover.addEventListener('click', said(' missed')); \
     setTimeout(() => cover.remove(), 300); \
     </script>";

#[tokio::test]
async fn a_button_is_clicked_once_when_nothing_covers_it() {
    let browser = Browser::start().await;
    browser.open(PAGE).await;
    browser.press("Count").await;
    assert_eq!(browser.text().await, "1 clicked");
    browser.close().await;
}
