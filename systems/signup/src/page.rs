//! The page: who signed up and how their mails are doing, the mails that arrived as files, and a form to sign up.

use leveret_web::page::{Lang, countdown, moment, path_part};
use leveret_web::{Page, Trouble};
use maud::{Markup, html};

use crate::mail::MailFile;
use crate::signup::Signup;
use crate::view::{Attempt, State, User};

const USERS_SHOWN: u64 = 30;
const MAILS_SHOWN: usize = 30;

/// The system's page.
#[derive(Clone)]
pub(crate) struct SignupPage(pub(crate) Signup);

/// What it shows.
#[derive(Default)]
pub(crate) struct Shown {
    users: Vec<User>,
    mails: Vec<MailFile>,
}

impl Page for SignupPage {
    type Shown = Shown;

    fn title(&self, lang: Lang) -> &'static str {
        lang.say("Sign-up", "用户注册")
    }

    fn forms(&self, lang: Lang) -> Markup {
        form(lang)
    }

    async fn gather(&self, trouble: &mut Trouble) -> Shown {
        let users = trouble.note(self.0.latest_users(USERS_SHOWN).await);
        Shown { users, mails: trouble.note(self.0.mails.latest(MAILS_SHOWN).await) }
    }

    fn live(&self, shown: &Shown, lang: Lang) -> Markup {
        live(shown, lang)
    }
}

fn live(shown: &Shown, lang: Lang) -> Markup {
    html! {
        section {
            h2 { (lang.say("Users", "用户")) }
            @if shown.users.is_empty() { p .empty { (lang.say("Nobody yet.", "还没有人注册。")) } }
            @for user in &shown.users { (user_card(user, lang)) }
        }
        section {
            h2 { (lang.say("Mails that arrived as files", "已送达的邮件（文件）")) }
            (mails(&shown.mails, lang))
        }
    }
}

fn form(lang: Lang) -> Markup {
    html! {
        p {
            (lang.say(
                "Who signs up gets a mail. A mail that fails is tried again, each pause twice as long as the last.",
                "注册成功后会收到一封邮件。发送失败会自动重发，每次等待的时间是上一次的两倍。",
            ))
        }
        form #sign-up data-post="/users" data-shows="user_id" data-clears="1" {
            label { (lang.say("Name", "姓名")) input name="name" required maxlength="100" autocomplete="name"; }
            label {
                (lang.say("E-mail", "邮箱"))
                input name="email" type="email" required maxlength="254" autocomplete="email";
            }
            button { (lang.say("Sign up", "注册")) }
            output role="status" {}
        }
    }
}

fn user_card(user: &User, lang: Lang) -> Markup {
    html! {
        article data-key=(user.user_id) {
            header {
                b { "#" (user.user_id) " " (user.name) }
                span .email { (user.email) }
                (badge(&user.state, lang))
            }
            @if !user.attempts.is_empty() {
                ol {
                    @for (number, attempt) in (1..).zip(&user.attempts) { (attempt_line(number, attempt, lang)) }
                }
            }
        }
    }
}

fn badge(state: &State, lang: Lang) -> Markup {
    match state {
        State::Queued => html! { span .badge.queued { (lang.say("queued", "排队中")) } },
        State::Retrying { next_due_ms } => html! {
            span .badge.retrying {
                (lang.say("retrying", "等待重发")) ", " (lang.say("next in", "距下次重发")) " "
                (countdown(*next_due_ms))
            }
        },
        State::Sent { .. } => html! { span .badge.sent { (lang.say("sent", "已发送")) } },
        State::GaveUp => html! { span .badge.gave-up { (lang.say("gave up", "已放弃")) } },
    }
}

fn attempt_line(number: usize, attempt: &Attempt, lang: Lang) -> Markup {
    html! {
        li {
            span { (lang.say("Attempt", "第几次尝试：")) " " (number) }
            (moment(attempt.tried_ms))
            @match &attempt.error {
                Some(error) => span .failed { (error) },
                None => span .ok { (lang.say("sent", "成功")) },
            }
        }
    }
}

fn mails(files: &[MailFile], lang: Lang) -> Markup {
    html! {
        @if files.is_empty() {
            p .empty { (lang.say("None yet.", "还没有。")) }
        } @else {
            ul {
                @for file in files {
                    li data-key=(file.name) {
                        (moment(file.arrived_ms))
                        a href={ "/mails/" (path_part(&file.name)) } { (file.name) }
                    }
                }
            }
        }
    }
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
        let shown = Shown { users: vec![user], ..Default::default() };
        let html = live(&shown, Lang::English).into_string();
        assert!(html.contains("&lt;script&gt;") && html.contains("451 &lt;b&gt;"), "{html}");
        assert!(!html.contains("<script>"));
    }
}
