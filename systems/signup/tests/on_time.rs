//! The pauses between attempts are as long as they should be. Apart from the other tests, whose work would make
//! them longer.

mod support;

use support::{Rig, is_sent};

/// The best of three, since the machine may be busy with something else during one.
#[tokio::test]
async fn a_mail_server_that_fails_twice_delays_the_mail_on_time() {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (at_once, pauses) = pauses_ms().await;
        // The first attempt waits for nothing: what it takes is what the machine is slow by, not the delay late.
        let latest = 100 + at_once;
        if (200..200 + latest).contains(&pauses[0]) && (400..400 + latest).contains(&pauses[1]) {
            return;
        }
        seen.push((at_once, pauses));
    }
    panic!("{seen:?} ms instead of 200 and 400, after what the first attempt took");
}

/// How long after the sign-up the first attempt came, and the pauses before the second and the third.
async fn pauses_ms() -> (i64, [i64; 2]) {
    let rig = Rig::start(2, &[200, 400, 800, 1600]).await;
    let user_id = rig.sign_up("Ada", "ada@example.org").await;
    let user = rig.until(user_id, is_sent).await;
    let [first, second, third] = user.attempts.as_slice() else { panic!("{:?}", user.attempts) };
    assert!(first.error.as_ref().expect("the server refused").contains("451"), "{first:?}");
    assert!(first.error.as_ref().expect("the server refused").contains("try again later"), "{first:?}");
    assert_eq!((second.error.is_some(), third.error.is_some()), (true, false));
    let pauses = [second.tried_ms - first.tried_ms, third.tried_ms - second.tried_ms];
    assert!(pauses[0] >= 200 && pauses[1] >= 400, "early: {pauses:?} ms");
    assert_eq!(rig.mail_server.delivered(), 1);
    rig.stop().await;
    (first.tried_ms - user.created_ms, pauses)
}
