//! The pauses between attempts are as long as they should be. Apart from the other tests, whose work would make
//! them longer.

mod support;

use leveret_signup::State;
use support::{Rig, is_sent};

/// How late a mail may be beyond what the machine needs.
const LATE_MS: i64 = 100;

/// A pause is judged where it is decided and where it is over: never early, and late by no more than mails that do not pause
/// are slow. Those are sent one after the other all the while, by a system of their own, so that whatever holds up the one
/// holds up the other; that one hold-up may come on top of another is allowed for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_fails_twice_delays_the_mail_on_time() {
    let (rig, other) = tokio::join!(Rig::start(2, &[200, 400, 800, 1600]), Rig::start(0, &[50]));
    let user_id = rig.sign_up("Ada", "ada@example.org").await;
    let mut slowest_ms = 0;
    let user = loop {
        slowest_ms = slowest_ms.max(way_ms(&other).await);
        let user = rig.user(user_id).await;
        if is_sent(&user.state) {
            break user;
        }
    };
    let [first, second, third] = user.attempts.as_slice() else { panic!("{:?}", user.attempts) };
    assert!(first.error.as_ref().expect("the server refused").contains("451"), "{first:?}");
    assert!(first.error.as_ref().expect("the server refused").contains("try again later"), "{first:?}");
    assert_eq!((second.error.is_some(), third.error.is_some()), (true, false));
    for (attempt, next, pause_ms) in [(first, second, 200), (second, third, 400)] {
        let due_ms = attempt.next_due_ms.expect("there is another attempt");
        // Decided a moment before the attempt is written down, and counted from the decision.
        let decided_ms = due_ms - attempt.tried_ms;
        assert!((pause_ms - slowest_ms..=pause_ms).contains(&decided_ms), "{decided_ms} ms: {user:?}");
        let (late_ms, allowed_ms) = (next.tried_ms - due_ms, LATE_MS + 4 * slowest_ms);
        assert!((0..=allowed_ms).contains(&late_ms), "{late_ms} ms late of {allowed_ms}: {user:?}");
        println!("{late_ms} ms late, {allowed_ms} allowed");
    }
    assert_eq!(rig.mail_server.delivered(), 1);
    rig.stop().await;
    other.stop().await;
}

/// How long a mail that nothing delays is on its way.
async fn way_ms(rig: &Rig) -> i64 {
    let address = format!("{}@example.org", uuid::Uuid::now_v7().simple());
    let user_id = rig.sign_up("Nobody", &address).await;
    let user = rig.until(user_id, is_sent).await;
    let State::Sent { sent_ms } = user.state else { panic!("{user:?}") };
    sent_ms - user.created_ms
}
