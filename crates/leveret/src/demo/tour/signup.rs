//! Somebody signs up while the mail server is in trouble, and gets the welcome mail all the same.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leveret_signup::{Attempt, Registration, Signup, State, User};
use leveret_web::RequestKey;
use tokio::time::{Instant, sleep};

use super::super::stage::{REFUSALS, Stage};
use super::super::story::Telling;
use crate::failure::Failure;

/// How long the tour may take.
const LIMIT: Duration = Duration::from_secs(40);
/// How late an attempt may come, in milliseconds.
const LATE_MS: i64 = 500;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Walks through the sign-up, and tells it.
pub(super) async fn walk(stage: &Stage, story: Telling) -> Result<(), Failure> {
    let (signup, story) = (stage.signup.system(), &story);
    let (user_id, email) = sign_up(signup, story).await?;
    let user = follow(signup, user_id, story).await?;
    check(&user, story);
    check_mail(stage, &email, story).await;
    Ok(())
}

async fn sign_up(signup: &Signup, story: &Telling) -> Result<(i64, String), Failure> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let email = format!("newcomer-{now_ms}@example.com");
    let registration = Registration::new("Newcomer", &email).map_err(|problem| failed(&problem))?;
    story.tell(format!("The mail server is in trouble: it will refuse the next {REFUSALS} mails."));
    let user_id = signup.register(&registration, &RequestKey::default()).await;
    let user_id = user_id.map_err(|problem| failed(&problem))?;
    story.tell(format!("{email} signs up and is user {user_id}."));
    story.tell("User and message were written to the database together: neither can be without the other.");
    Ok((user_id, email))
}

/// Tells every attempt, until the mail is sent or given up.
async fn follow(signup: &Signup, user_id: i64, story: &Telling) -> Result<User, Failure> {
    let start = Instant::now();
    let mut told = 0;
    loop {
        let user = signup.user(user_id).await.map_err(|error| failed(&error))?;
        let user = user.ok_or_else(|| Failure::run(format!("user {user_id} is gone")))?;
        for (index, attempt) in user.attempts.iter().enumerate().skip(told) {
            story.tell(words(index + 1, attempt));
        }
        told = user.attempts.len();
        let over = matches!(user.state, State::Sent { .. } | State::GaveUp);
        if over || start.elapsed() > LIMIT {
            return Ok(user);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn words(number: usize, attempt: &Attempt) -> String {
    let Some(error) = &attempt.error else {
        return format!("Attempt {number}: the mail server takes the mail.");
    };
    match attempt.next_due_ms {
        Some(due_ms) => {
            let wait = seconds(due_ms - attempt.tried_ms);
            format!("Attempt {number} fails: {error}. The broker holds the message back for {wait}.")
        }
        None => format!("Attempt {number} fails: {error}. The mail is given up."),
    }
}

/// Compares what happened with what should have.
fn check(user: &User, story: &Telling) {
    let wanted = REFUSALS as usize + 1;
    let count = user.attempts.len();
    story.check(count == wanted, format!("{count} attempts, {wanted} expected"));
    story.check(matches!(user.state, State::Sent { .. }), "the welcome mail was sent");
    for (number, pair) in user.attempts.windows(2).enumerate() {
        let [before, after] = pair else { continue };
        let Some(due_ms) = before.next_due_ms else { continue };
        let late_ms = after.tried_ms - due_ms;
        let on_time = (0..=LATE_MS).contains(&late_ms);
        let what = if late_ms < 0 { "too early" } else { "after it was due" };
        story.check(on_time, format!("attempt {} came {} ms {what}", number + 2, late_ms.abs()));
    }
}

async fn check_mail(stage: &Stage, email: &str, story: &Telling) {
    let Some(name) = mail_to(email, &stage.mails).await else {
        return story.check(false, "no mail has arrived");
    };
    let passing = if stage.is_passing() { " (gone with the demo; --dir keeps it)" } else { "" };
    story.check(true, format!("the mail is there as a file: {}{passing}", stage.mails.join(name).display()));
}

/// The name of the file that holds the mail to this address.
async fn mail_to(email: &str, mails: &Path) -> Option<String> {
    let folder = leveret_signup::MailFolder::open(mails).await.ok()?;
    for file in folder.latest(100).await.ok()? {
        let mail = folder.read(&file.name).await.ok()??;
        if String::from_utf8_lossy(&mail).contains(email) {
            return Some(file.name);
        }
    }
    None
}

fn seconds(ms: i64) -> String {
    format!("{:.0} s", ms as f64 / 1000.0)
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::run(format!("sign-up system: {error}"))
}
