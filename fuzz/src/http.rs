//! Any requests to the management: each is answered, and none with a failure of the broker's own.

#[expect(dead_code, reason = "the crate's tests ask in more ways")]
#[path = "../../crates/leveret-management/tests/suite/stage.rs"]
mod stage;

use crate::{Worth, guest};
use leveret_management::Limits;
use stage::Stage;

/// Requests of an input: a line with method and path, then the body, then an empty line.
const BETWEEN: &str = "\n\n";
const MOST: usize = 20;

/// Fuzzes with these bytes.
pub fn fuzz(bytes: &[u8]) -> Worth {
    let Ok(text) = std::str::from_utf8(bytes) else { return Worth::Nothing };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(ask_all(text));
    runtime.shutdown_background();
    Worth::Keeping
}

async fn ask_all(text: &str) {
    let stage = Stage::with(guest::config(), Limits::default()).await;
    for request in text.split(BETWEEN).take(MOST) {
        let (head, body) = request.split_once('\n').unwrap_or((request, ""));
        let Some((method, path)) = head.split_once(' ') else { continue };
        // What the page consists of is no text.
        if !path.starts_with("/api/") || method == "HEAD" {
            continue;
        }
        let answer = stage.ask(method, path, body).await;
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status: u16 = status.and_then(|status| status.parse().ok()).expect("a status");
        assert!(status < 500, "{answer}");
    }
}
