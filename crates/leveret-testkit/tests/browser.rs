//! The browser's clicks reach what they are meant for, once.

use leveret_testkit::Browser;

/// A button that is replaced by its like as the mouse comes, and is gone once it is clicked.
const PAGE: &str = "data:text/html,<main><button>Count</button></main><script>\
     let clicks = 0; \
     const main = document.querySelector('main'); \
     main.addEventListener('click', () => { clicks += 1; main.textContent = clicks + ' clicked'; }); \
     document.addEventListener('mousemove', () => main.replaceChildren(main.firstChild.cloneNode(true)), {once: true}); \
     </script>";

#[tokio::test]
async fn a_button_that_its_like_replaces_under_the_mouse_is_clicked_once() {
    let browser = Browser::start().await;
    browser.open(PAGE).await;
    browser.press("Count").await;
    assert_eq!(browser.text().await, "1 clicked");
    browser.close().await;
}
