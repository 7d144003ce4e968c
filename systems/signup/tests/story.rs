//! From signing up to the mail, through a mail server that fails.

mod support;

use leveret_bus::database;
use leveret_signup::{MailFolder, Registration, Settings, State};
use sea_orm::{ConnectionTrait, Statement};
use support::{Rig, is_sent, soon};

#[tokio::test]
async fn a_mail_arrives() {
    let rig = Rig::start(0, &[50]).await;
    let user_id = rig.sign_up("Ada 李", "ada@example.org").await;
    let user = rig.until(user_id, is_sent).await;
    assert_eq!(user.attempts.len(), 1);
    assert_eq!(user.attempts[0].error, None);
    let mails = rig.mails.latest(10).await.unwrap();
    let mail = String::from_utf8(rig.mails.read(&mails[0].name).await.unwrap().unwrap()).unwrap();
    assert!(mail.contains("ada@example.org") && mail.contains("From: Sign-up <welcome@localhost>"), "{mail}");
    rig.stop().await;
}

#[tokio::test]
async fn after_the_last_failure_it_is_parked_and_can_be_replayed() {
    let rig = Rig::start(u32::MAX, &[20, 40, 80, 160]).await;
    let user_id = rig.sign_up("Ada", "ada@example.org").await;
    let user = rig.until(user_id, |state| *state == State::GaveUp).await;
    assert_eq!(user.attempts.len(), 5);
    assert_eq!(user.attempts[4].next_due_ms, None);
    let parked = rig.until_parked(1).await;
    assert!(parked[0].reason.starts_with("gave up after 5 failures"), "{}", parked[0].reason);
    assert_eq!(parked[0].body, user_id.to_string().as_bytes());

    // Still failing: a replay brings five more attempts and parks again.
    let path = format!("/parked/{}/replay", parked[0].message_id);
    assert_eq!(rig.post(&path, "").await.status, 204);
    let ten = async { while rig.user(user_id).await.attempts.len() < 10 {} };
    soon("ten attempts", ten).await;
    rig.until_parked(1).await;

    rig.mail_server.fail_next(0);
    assert_eq!(rig.post("/parked/replay", "").await.json()["replayed"], 1);
    let user = rig.until(user_id, is_sent).await;
    assert_eq!(user.attempts.len(), 11);
    assert_eq!(rig.mail_server.delivered(), 1);
    rig.until_parked(0).await;
    rig.stop().await;
}

#[tokio::test]
async fn dropped_mails_are_gone() {
    let rig = Rig::start(u32::MAX, &[]).await;
    for number in 0..3 {
        rig.sign_up("Ada", &format!("ada{number}@example.org")).await;
    }
    let parked = rig.until_parked(3).await;
    let one = format!("DELETE /parked/{} HTTP/1.1\r\n", parked[1].message_id);
    assert_eq!(rig.ask(&one, b"").await.status, 204);
    assert_eq!(rig.ask(&one, b"").await.status, 404);
    assert_eq!(rig.ask("DELETE /parked HTTP/1.1\r\n", b"").await.json()["dropped"], 2);
    rig.until_parked(0).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_message_that_comes_twice_sends_one_mail() {
    let rig = Rig::start(0, &[50]).await;
    let user_id = rig.sign_up("Ada", "ada@example.org").await;
    rig.until(user_id, is_sent).await;
    let names = &rig.settings.names;
    let bus = leveret_bus::Bus::connect(&rig.settings.amqp_url).await.unwrap();
    let second = rig.sign_up("Eve", "eve@example.org").await;
    rig.until(second, is_sent).await;
    // As if the broker gave the same message out again, five times at once.
    let copies = (0..5).map(|_| {
        leveret_bus::Message::text(&names.exchange, &names.routing_key, user_id.to_string())
            .with_message_id("the-same-id")
    });
    for answer in bus.publisher().publish_all(copies.collect()).await {
        answer.unwrap();
    }
    let third = rig.sign_up("Bob", "bob@example.org").await;
    rig.until(third, is_sent).await;
    let four = async {
        while rig.mail_server.delivered() < 4 {
            tokio::task::yield_now().await;
        }
    };
    soon("four mails", four).await;
    let rig = rig.restart().await;
    // Ada's, Eve's, Bob's, and one for the id that came five times.
    assert_eq!(rig.mail_server.delivered(), 4);
    rig.stop().await;
}

/// As when a delayed copy was there already though its confirm was lost, and the message itself comes again.
#[tokio::test]
async fn a_copy_that_comes_before_its_time_waits_and_counts_for_nothing() {
    let rig = Rig::start(1, &[1500]).await;
    let user_id = rig.sign_up("Ada", "ada@example.org").await;
    let user = rig.until(user_id, |state| matches!(state, State::Retrying { .. })).await;
    let due_ms = user.attempts[0].next_due_ms.unwrap();
    let db = database::connect(&rig.settings.database_url).await.unwrap();
    let row = Statement::from_string(db.get_database_backend(), "SELECT message_id FROM user_attempt");
    let message_id: String = db.query_one_raw(row).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    let names = &rig.settings.names;
    let bus = leveret_bus::Bus::connect(&rig.settings.amqp_url).await.unwrap();
    let copy = leveret_bus::Message::text(&names.exchange, &names.routing_key, user_id.to_string());
    bus.publish(copy.with_message_id(message_id)).await.unwrap();
    let user = rig.until(user_id, is_sent).await;
    assert_eq!(user.attempts.len(), 2, "{:?}", user.attempts);
    assert!(user.attempts[1].tried_ms >= due_ms, "{:?}", user.attempts);
    db.close().await.unwrap();
    rig.stop().await;
}

#[tokio::test]
async fn a_mail_that_is_out_is_not_sent_again_because_the_database_refuses() {
    let rig = Rig::start(0, &[50]).await;
    rig.database.refuse_rows("user_attempt").await;
    let user_id = rig.sign_up("Ada", "ada@example.org").await;
    let out = async {
        while rig.mail_server.delivered() == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the mail", out).await;
    rig.database.take_rows("user_attempt").await;
    let user = rig.until(user_id, is_sent).await;
    assert_eq!((user.attempts.len(), rig.mail_server.delivered()), (1, 1));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_copies_at_once_send_every_mail_once() {
    // One attempt more than there are failures, should all of them be one mail's.
    let rig = Rig::start(5, &[20, 40, 80, 160, 320]).await;
    let second = leveret_signup::run(rig.settings.clone()).await.unwrap();
    let mut user_ids = Vec::new();
    for number in 0..40 {
        let copy = if number % 2 == 0 { rig.running.system() } else { second.system() };
        let registration = Registration::new("Ada", &format!("ada{number}@example.org")).unwrap();
        user_ids.push(copy.register(&registration, &Default::default()).await.unwrap());
    }
    let mut failures = 0;
    for user_id in user_ids {
        let attempts = rig.until(user_id, is_sent).await.attempts;
        failures += attempts.iter().filter(|attempt| attempt.error.is_some()).count();
    }
    assert_eq!((rig.mail_server.delivered(), failures), (40, 5));
    second.shutdown().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let rig = Rig::start(1, &[2000]).await;
    let user_id = rig.sign_up("Ada", "ada@example.org").await;
    rig.until(user_id, |state| matches!(state, State::Retrying { .. })).await;
    let rig = rig.restart().await;
    let user = rig.until(user_id, is_sent).await;
    assert_eq!(user.attempts.len(), 2);
    rig.stop().await;
}

#[tokio::test]
async fn what_is_no_user_is_parked() {
    let rig = Rig::start(0, &[50]).await;
    let names = &rig.settings.names;
    let bus = leveret_bus::Bus::connect(&rig.settings.amqp_url).await.unwrap();
    for body in ["no number", "424242"] {
        bus.publish(leveret_bus::Message::text(&names.exchange, &names.routing_key, body)).await.unwrap();
    }
    let mut reasons: Vec<_> = rig.until_parked(2).await.into_iter().map(|message| message.reason).collect();
    reasons.sort();
    assert_eq!(reasons, ["the body is not a user id", "there is no user 424242"]);
    rig.stop().await;
}

#[tokio::test]
async fn without_a_mail_server_mails_become_files() {
    let rig = Rig::start(0, &[50]).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        smtp_url: None,
        mail_folder: folder.path().to_owned(),
        database_url: format!("sqlite://{}/other.db", folder.path().display()),
        names: leveret_signup::Names {
            queue: format!("{}-files", rig.settings.names.queue),
            ..rig.settings.names.clone()
        },
        ..rig.settings.clone()
    };
    let files = leveret_signup::run(settings).await.unwrap();
    let registration = Registration::new("Ada", "ada@example.org").unwrap();
    files.system().register(&registration, &Default::default()).await.unwrap();
    let mails = MailFolder::open(folder.path()).await.unwrap();
    let arrived = async { while mails.latest(1).await.unwrap().is_empty() {} };
    soon("file", arrived).await;
    assert!(mails.latest(1).await.unwrap()[0].name.starts_with("welcome-1-"));
    files.shutdown().await;
    rig.stop().await;
}
