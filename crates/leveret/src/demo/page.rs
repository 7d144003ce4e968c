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
use leveret_mailserver::ScriptedMailServer;
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
pub(super) struct Shown {
    pub(super) story: Story,
    pub(super) signup_url: String,
    pub(super) a_url: String,
    pub(super) b_url: String,
    pub(super) orders_url: String,
    pub(super) amqp_url: String,
    pub(super) management_url: Option<String>,
    pub(super) mail_server: ScriptedMailServer,
}

impl Page {
    pub(super) async fn start(address: SocketAddr, shown: Shown) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/", get(index))
            .route("/style.css", get(style))
            .route("/refuse/{count}", post(refuse))
            .layer(middleware::from_fn(guard))
            .with_state(Arc::new(shown));
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
                p {
                    "Three systems on a message broker. AMQP clients reach it at " code { (shown.amqp_url) } "."
                    @if let Some(url) = &shown.management_url { " " a href=(url) { "Open its management" } }
                }
                (signup(&shown.signup_url))
                (transfer(&shown.a_url, &shown.b_url))
                (orders(&shown.orders_url))
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

fn transfer(a_url: &str, b_url: &str) -> Markup {
    html! {
        h2 { "Transfer" }
        p {
            "Money from company A to company B, with none made or lost: what is not confirmed in 30 seconds comes back. "
            a href=(a_url) { "Open company A" } ", " a href=(b_url) { "company B" }
        }
    }
}

fn orders(url: &str) -> Markup {
    html! {
        h2 { "Orders" }
        p {
            "Accepted once the broker has them on disk, written in batches, closed by themselves when not paid. "
            a href=(url) { "Open the orders page" }
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
