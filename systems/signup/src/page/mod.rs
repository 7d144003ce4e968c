//! The page as HTML. The live part is rendered here too and sent anew when it changes, so there is one
//! description of it and the browser's script stays a few lines.

mod words;

use leveret_bus::ParkedMessage;
use maud::{DOCTYPE, Markup, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) use words::Words;

use crate::board::Snapshot;
use crate::mail::MailFile;
use crate::view::{Attempt, State, User};

/// The whole page.
pub(crate) fn whole(snapshot: &Snapshot, words: &Words) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(words.lang) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (words.title) }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="data:,";
                script src="/live.js" defer {}
            }
            body {
                header {
                    h1 { (words.title) }
                    a href={ "/?lang=" (words.other_lang) } lang=(words.other_lang) { (words.other_name) }
                }
                main {
                    p { (words.intro) }
                    (form(words))
                    div #live data-lang=(words.lang) aria-live="polite" { (live(snapshot, words)) }
                }
            }
        }
    }
}

/// What changes by itself.
pub(crate) fn live(snapshot: &Snapshot, words: &Words) -> Markup {
    html! {
        @if let Some(trouble) = &snapshot.trouble {
            p .trouble role="alert" { (words.trouble) " " (trouble) }
        }
        @if snapshot.unsent > 0 {
            p .note { (words.unsent) " " (snapshot.unsent) }
        }
        section {
            h2 { (words.users) }
            @if snapshot.users.is_empty() { p .empty { (words.no_users) } }
            @for user in &snapshot.users { (user_card(user, words)) }
        }
        section {
            h2 { (words.parked) " (" (snapshot.parked_count) ")" }
            (parked(&snapshot.parked, words))
        }
        section {
            h2 { (words.mails) }
            (mails(&snapshot.mails, words))
        }
    }
}

fn form(words: &Words) -> Markup {
    html! {
        form #sign-up method="post" action="/users" {
            label { (words.name) input name="name" required maxlength="100" autocomplete="name"; }
            label { (words.email) input name="email" type="email" required maxlength="254" autocomplete="email"; }
            button { (words.sign_up) }
            output #answer role="status" {}
        }
    }
}

fn user_card(user: &User, words: &Words) -> Markup {
    html! {
        article {
            header {
                b { "#" (user.user_id) " " (user.name) }
                span .email { (user.email) }
                (badge(&user.state, words))
            }
            @if !user.attempts.is_empty() {
                ol {
                    @for (number, attempt) in (1..).zip(&user.attempts) { (attempt_line(number, attempt, words)) }
                }
            }
        }
    }
}

fn badge(state: &State, words: &Words) -> Markup {
    match state {
        State::Queued => html! { span .badge.queued { (words.queued) } },
        State::Retrying { next_due_ms } => html! {
            span .badge.retrying {
                (words.retrying) ", " (words.next_in) " "
                span data-due-ms=(next_due_ms) { (clock_time(*next_due_ms)) }
            }
        },
        State::Sent { .. } => html! { span .badge.sent { (words.sent) } },
        State::GaveUp => html! { span .badge.gave-up { (words.gave_up) } },
    }
}

fn attempt_line(number: usize, attempt: &Attempt, words: &Words) -> Markup {
    html! {
        li {
            span { (words.attempt) " " (number) }
            (moment(attempt.tried_ms))
            @match &attempt.error {
                Some(error) => span .failed { (error) },
                None => span .ok { (words.ok) },
            }
        }
    }
}

fn parked(messages: &[ParkedMessage], words: &Words) -> Markup {
    html! {
        @if messages.is_empty() {
            p .empty { (words.no_parked) }
        } @else {
            p {
                button data-method="POST" data-path="/parked/replay" { (words.replay_all) }
                button .second data-method="DELETE" data-path="/parked" { (words.drop_all) }
            }
        }
        @for message in messages { (parked_card(message, words)) }
    }
}

fn parked_card(message: &ParkedMessage, words: &Words) -> Markup {
    let path = format!("/parked/{}", path_part(&message.message_id));
    html! {
        article {
            header {
                b { (words.user) " " (String::from_utf8_lossy(&message.body)) }
                span { (message.attempts) " " (words.failures) }
                @if let Some(last_ms) = message.last_failed_ms { (moment(last_ms)) }
            }
            p .failed { (message.reason) }
            button data-method="POST" data-path={ (path) "/replay" } { (words.replay) }
            button .second data-method="DELETE" data-path=(path) { (words.drop) }
        }
    }
}

fn mails(files: &[MailFile], words: &Words) -> Markup {
    html! {
        @if files.is_empty() {
            p .empty { (words.no_mails) }
        } @else {
            ul {
                @for file in files {
                    li {
                        (moment(file.arrived_ms))
                        a href={ "/mails/" (path_part(&file.name)) } { (file.name) }
                    }
                }
            }
        }
    }
}

/// A moment in UTC, which the script turns into the reader's own time.
fn moment(at_ms: i64) -> Markup {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000).ok();
    let text = at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
    html! { time datetime=(text) data-ms=(at_ms) { (clock_time(at_ms)) } }
}

/// Hours, minutes and seconds in UTC.
fn clock_time(at_ms: i64) -> String {
    let of_day_s = at_ms.div_euclid(1000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", of_day_s / 3600, of_day_s / 60 % 60, of_day_s % 60)
}

/// Text as a part of a path.
fn path_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write_is_escaped() {
        let user = User {
            user_id: 1,
            name: "<script>".into(),
            email: "a@b.c".into(),
            created_ms: 0,
            state: State::GaveUp,
            attempts: vec![Attempt { tried_ms: 0, error: Some("451 <b>".into()), next_due_ms: None }],
        };
        let snapshot = Snapshot { users: vec![user], ..Default::default() };
        let html = live(&snapshot, Words::of("en")).into_string();
        assert!(html.contains("&lt;script&gt;") && html.contains("451 &lt;b&gt;"), "{html}");
        assert!(!html.contains("<script>"));
    }

    #[test]
    fn ids_and_times_are_written_safely() {
        assert_eq!(path_part("a/b?c 李"), "a%2Fb%3Fc%20%E6%9D%8E");
        assert_eq!(clock_time(86_399_999), "23:59:59");
        assert_eq!(clock_time(-1), "23:59:59");
    }
}
