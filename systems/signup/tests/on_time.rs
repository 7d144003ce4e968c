//! The pauses between attempts are as long as they should be. Apart from the other tests, whose work would make
//! them longer.

mod support;

use support::{Rig, is_sent};

#[tokio::test]
async fn a_mail_server_that_fails_twice_delays_the_mail_on_time() {
    let rig = Rig::start(2, &[200, 400, 800, 1600]).await;
    let user_id = rig.sign_up("Ada", "ada@example.org").await;
    let user = rig.until(user_id, is_sent).await;
    let [first, second, third] = user.attempts.as_slice() else { panic!("{:?}", user.attempts) };
    assert!(first.error.as_ref().unwrap().contains("451"), "{first:?}");
    assert!(first.error.as_ref().unwrap().contains("try again later"), "{first:?}");
    assert_eq!((second.error.is_some(), third.error.is_some()), (true, false));
    for (earlier, later, delay_ms) in [(first, second, 200), (second, third, 400)] {
        let waited_ms = later.tried_ms - earlier.tried_ms;
        assert!((delay_ms..delay_ms + 100).contains(&waited_ms), "{waited_ms} ms instead of {delay_ms}");
    }
    assert_eq!(rig.mail_server.delivered(), 1);
    rig.stop().await;
}
