//! Queues against a plain model of one: 100,000 random operations, and after each the same messages in the same places.
//! Time is an argument and passes at once. A run that fails is made smaller and printed, its seed kept beside this file.
#![allow(clippy::unwrap_used)]

#[path = "support/kept.rs"]
mod kept;
#[path = "support/letterbox.rs"]
mod letterbox;
#[path = "support/model.rs"]
mod model;
#[path = "support/run.rs"]
mod run;

use leveret_broker::Settlement;
use proptest::prelude::*;

use run::{Run, Setup, Step};

fn setup() -> impl Strategy<Value = Setup> {
    let quorum = prop_oneof![3 => Just(None), 1 => (0u64..4).prop_map(Some)];
    let priorities = prop_oneof![Just(0u8), Just(4u8)];
    (any::<bool>(), priorities, any::<bool>(), quorum).prop_map(
        |(stored, max_priority, single_active, quorum)| Setup {
            stored,
            max_priority: if quorum.is_some() { 0 } else { max_priority },
            single_active,
            quorum,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let settlement = prop::sample::select(vec![
        Settlement::Acked,
        Settlement::Requeued,
        Settlement::PutBack,
        Settlement::Rejected,
    ]);
    let ms = || prop_oneof![4 => Just(None), 1 => (0u64..50).prop_map(Some)];
    prop_oneof![
        8 => (1usize..12, prop::bool::weighted(0.1), 0u8..6, ms(), any::<bool>()).prop_map(
            |(count, large, priority, expiration_ms, persistent)| Step::Publish {
                count, large, priority, expiration_ms, persistent
            }
        ),
        2 => (any::<bool>(), 0u32..20, 0usize..50, -1i64..2).prop_map(
            |(no_ack, prefetch, room, priority)| Step::Consume { no_ack, prefetch, room, priority }
        ),
        2 => (0usize..4).prop_map(|nth| Step::Cancel { nth }),
        4 => any::<bool>().prop_map(|no_ack| Step::Get { no_ack }),
        8 => (0usize..50, 1usize..30, settlement)
            .prop_map(|(nth, count, settlement)| Step::Settle { nth, count, settlement }),
        4 => (0usize..4, 1usize..100).prop_map(|(nth, room)| Step::MakeRoom { nth, room }),
        4 => (0u64..40).prop_map(|ms| Step::Wait { ms }),
        2 => (ms(), prop_oneof![Just(None), (0usize..30).prop_map(Some)], any::<bool>()).prop_map(
            |(ttl_ms, max_length, rejects)| Step::SetRules { ttl_ms, max_length, rejects }
        ),
        1 => Just(Step::Purge),
        1 => Just(Step::Restart),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 80..121)
}

fn follow(setup: Setup, steps: Vec<Step>) {
    let mut run = Run::new(setup);
    for step in steps {
        run.step(step);
    }
}

// A thousand in four parts, which run side by side: on a slow machine the whole would take minutes.
proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_is_what_the_model_is(setup in setup(), steps in steps()) {
        follow(setup, steps);
    }

    #[test]
    fn a_queue_is_what_the_model_is_again(setup in setup(), steps in steps()) {
        follow(setup, steps);
    }

    #[test]
    fn a_queue_is_what_the_model_is_once_more(setup in setup(), steps in steps()) {
        follow(setup, steps);
    }

    #[test]
    fn a_queue_is_what_the_model_is_at_last(setup in setup(), steps in steps()) {
        follow(setup, steps);
    }
}
