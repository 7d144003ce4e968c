//! Topic exchanges against the plain way to match: random bindings that come and go, and random keys.

#[path = "support/topics.rs"]
mod topics;

use proptest::prelude::*;

use topics::{QUEUES, Step, Topics};

/// Few words, so that they meet.
fn text(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(words), 0..6).prop_map(|words| words.join("."))
}

fn step() -> impl Strategy<Value = Step> {
    let pattern = || text(&["a", "b", "", "*", "#", "#"]);
    prop_oneof![
        3 => (0..QUEUES, pattern()).prop_map(|(queue, pattern)| Step::Bind { queue, pattern }),
        2 => (0..QUEUES, pattern()).prop_map(|(queue, pattern)| Step::Unbind { queue, pattern }),
        5 => text(&["a", "b", "", "*", "#"]).prop_map(|key| Step::Publish { key }),
    ]
}

proptest! {
    #[test]
    fn a_key_reaches_what_its_words_match(steps in prop::collection::vec(step(), 1..60)) {
        let mut topics = Topics::new();
        for step in steps {
            topics.step(step);
        }
    }
}
