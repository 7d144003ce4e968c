//! Messages that were given up: listed, tried again, thrown away; over HTTP and on a page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use leveret_bus::{Parked, ParkedMessage};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::Problem;
use crate::input::Id;
use crate::page::{self, Lang};

const LISTED: usize = 1000;
const SHOWN: usize = 50;

#[derive(Clone)]
struct Shared {
    parked: Parked,
    changed: Arc<Notify>,
}

/// The routes `/parked…` for the parked messages of a queue. `changed` is told when there are others.
pub(crate) fn routes(parked: Parked, changed: Arc<Notify>) -> Router {
    Router::new()
        .route("/parked", get(list).delete(drop_all))
        .route("/parked/replay", post(replay_all))
        .route("/parked/{message_id}", delete(drop_one))
        .route("/parked/{message_id}/replay", post(replay))
        .with_state(Shared { parked, changed })
}

/// A parked message as the API shows it.
#[derive(Serialize)]
struct Entry {
    message_id: String,
    body: String,
    reason: String,
    attempts: u32,
    first_failed_ms: Option<i64>,
    last_failed_ms: Option<i64>,
}

impl From<ParkedMessage> for Entry {
    fn from(message: ParkedMessage) -> Self {
        Self {
            message_id: message.message_id,
            body: String::from_utf8_lossy(&message.body).into_owned(),
            reason: message.reason,
            attempts: message.attempts,
            first_failed_ms: message.first_failed_ms,
            last_failed_ms: message.last_failed_ms,
        }
    }
}

/// `GET /parked`: oldest first.
async fn list(State(shared): State<Shared>) -> Result<Json<Vec<Entry>>, Problem> {
    let parked = shared.parked.list(LISTED).await?;
    Ok(Json(parked.into_iter().map(Entry::from).collect()))
}

/// `POST /parked/replay`
async fn replay_all(State(shared): State<Shared>) -> Result<Json<Value>, Problem> {
    let replayed = shared.parked.replay_all().await;
    shared.changed.notify_one();
    Ok(Json(json!({ "replayed": replayed? })))
}

/// `POST /parked/{message_id}/replay`
async fn replay(State(shared): State<Shared>, Id(message_id): Id<String>) -> Result<StatusCode, Problem> {
    let replayed = shared.parked.replay(&message_id).await;
    shared.changed.notify_one();
    done(replayed?)
}

/// `DELETE /parked`
async fn drop_all(State(shared): State<Shared>) -> Result<Json<Value>, Problem> {
    let dropped = shared.parked.drop_all().await;
    shared.changed.notify_one();
    Ok(Json(json!({ "dropped": dropped? })))
}

/// `DELETE /parked/{message_id}`
async fn drop_one(State(shared): State<Shared>, Id(message_id): Id<String>) -> Result<StatusCode, Problem> {
    let dropped = shared.parked.drop_one(&message_id).await;
    shared.changed.notify_one();
    done(dropped?)
}

fn done(was_there: bool) -> Result<StatusCode, Problem> {
    if was_there {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("there is no such parked message"))
}

/// The parked messages on a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    count: u32,
    messages: Vec<ParkedMessage>,
}

impl Shelf {
    /// Looks at what is parked. Listing takes messages out of their queue for a moment, so as long as there are as many
    /// as are `known`, they are taken for the same.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub(crate) async fn look(parked: &Parked, known: &Self) -> Result<Self, leveret_bus::Error> {
        let count = parked.count().await?;
        let messages = match count {
            0 => Vec::new(),
            _ if count == known.count => known.messages.clone(),
            _ => parked.list(SHOWN).await?,
        };
        Ok(Self { count, messages })
    }

    /// The section of the page, with buttons to replay and to drop.
    pub(crate) fn show(&self, lang: Lang) -> Markup {
        html! {
            section {
                h2 { (lang.say("Given up", "已放弃")) " (" (self.count) ")" }
                @if self.messages.is_empty() {
                    p .empty { (lang.say("Nothing was given up.", "没有被放弃的消息。")) }
                } @else {
                    p {
                        button data-method="POST" data-path="/parked/replay" { (lang.say("Try all again", "全部重试")) }
                        button .second data-method="DELETE" data-path="/parked" { (lang.say("Drop all", "全部丢弃")) }
                    }
                }
                @for message in &self.messages { (card(message, lang)) }
            }
        }
    }
}

fn card(message: &ParkedMessage, lang: Lang) -> Markup {
    let path = format!("/parked/{}", page::path_part(&message.message_id));
    html! {
        article data-key=(message.message_id) {
            header {
                b { (String::from_utf8_lossy(&message.body)) }
                span { (message.attempts) " " (lang.say("failures", "次失败")) }
                @if let Some(last_ms) = message.last_failed_ms { (page::moment(last_ms)) }
            }
            p .failed { (message.reason) }
            button data-method="POST" data-path={ (path) "/replay" } { (lang.say("Try again", "重试")) }
            button .second data-method="DELETE" data-path=(path) { (lang.say("Drop", "丢弃")) }
        }
    }
}
