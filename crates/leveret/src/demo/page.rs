//! The page that leads to everything: the story of the tour, the systems, and the mail server's trouble to be made
//! again at will.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use leveret_signup::ScriptedMailServer;
use maud::{DOCTYPE, Markup, html};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::story::{Kind, Line, Story};

/// The page, being served.
pub(super) struct Page {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What the page shows.
struct Shown {
    story: Story,
    signup_url: String,
    amqp_url: String,
    mail_server: ScriptedMailServer,
}

impl Page {
    pub(super) async fn start(
        address: SocketAddr,
        story: Story,
        signup_url: String,
        amqp_url: String,
        mail_server: ScriptedMailServer,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/", get(index))
            .route("/style.css", get(style))
            .route("/refuse/{count}", post(refuse))
            .layer(middleware::from_fn(guard))
            .with_state(Arc::new(Shown { story, signup_url, amqp_url, mail_server }));
        let task = tokio::spawn(async move {
            if let Err(error) = serve(listener, router).await {
                tracing::error!(%error, "the page ended");
            }
        });
        Ok(Self { address, task })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

async fn index(State(shown): State<Arc<Shown>>) -> Html<String> {
    Html(whole(&shown).into_string())
}

fn whole(shown: &Shown) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content="2";
                title { "Leveret" }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="data:,";
            }
            body {
                h1 { "Leveret" }
                p { "A message broker, and a system on it, in one process. AMQP clients reach it at " code { (shown.amqp_url) } "." }
                (signup(&shown.signup_url))
                h2 { "The tour" }
                ol { @for line in shown.story.lines() { (story_line(&line)) } }
            }
        }
    }
}

fn signup(url: &str) -> Markup {
    html! {
        h2 { "Sign-up" }
        p {
            "Who signs up gets a mail. A mail that fails comes back after 3, 6, 12 and 24 seconds; after the fifth failure \
             it is parked, from where it can be sent again. "
            a href=(url) { "Open the sign-up page" }
        }
        form method="post" {
            "Let the mail server refuse "
            @for (count, mails) in [(1, "the next mail"), (2, "the next 2"), (5, "the next 5")] {
                button formaction={ "/refuse/" (count) } { (mails) } " "
            }
        }
    }
}

fn story_line(line: &Line) -> Markup {
    let class = match line.kind {
        Kind::Event => "event",
        Kind::Right => "right",
        Kind::Wrong => "wrong",
    };
    html! { li class=(class) { time { (format!("{:.2} s", line.seconds)) } " " (line.text) } }
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css")], include_str!("style.css"))
}

async fn refuse(State(shown): State<Arc<Shown>>, Path(count): Path<u32>) -> Redirect {
    shown.mail_server.fail_next(count);
    shown.story.tell(format!("The mail server will refuse the next mails: {count}."));
    Redirect::to("/")
}

/// Keeps other sites' pages from changing anything here, and this one from loading anything from elsewhere.
async fn guard(request: Request, next: Next) -> Response {
    let from = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if matches!(from, Some("cross-site" | "same-site")) && !request.method().is_safe() {
        return (StatusCode::FORBIDDEN, "only this page itself may do that").into_response();
    }
    let mut response = next.run(request).await;
    let policy =
        "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}
