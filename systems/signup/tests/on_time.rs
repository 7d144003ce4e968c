//! The pauses between attempts are as long as they should be. Apart from the other tests, whose work would make
//! them longer.

mod support;

use support::{Rig, is_sent};

/// The best of three, since the machine may be busy with something else during one.
#[tokio::test]
async fn a_mail_server_that_fails_twice_delays_the_mail_on_time() {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let pauses = pauses_ms().await;
        if (200..300).contains(&pauses[0]) && (400..500).contains(&pauses[1]) {
            return;
        }
        seen.push(pauses);
    }
    panic!("{seen:?} ms instead of 200 and 400");
}

/// The pauses before the second and the third attempt.
async fn pauses_ms() -> [i64; 2] {
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
    pauses
}
