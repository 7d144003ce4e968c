//! The live part of the page, pushed as it changes (server-sent events).

use std::convert::Infallible;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt};
use tokio_stream::wrappers::WatchStream;

use super::App;
use super::pages::Choice;
use crate::page;

/// `GET /events`: each event is the whole live part in HTML, sent when it has changed. Ends with the server.
pub(super) async fn stream(
    State(app): State<App>,
    Query(choice): Query<Choice>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let words = choice.words(&headers);
    let mut shown = String::new();
    let changes = WatchStream::from_changes(app.board.watch()).filter_map(move |snapshot| {
        let html = page::live(&snapshot, words).into_string();
        let is_new = html != shown;
        if is_new {
            shown.clone_from(&html);
        }
        std::future::ready(is_new.then(|| Ok(Event::default().data(html))))
    });
    let stop = app.stop.clone();
    Sse::new(changes.take_until(stop.cancelled_owned())).keep_alive(KeepAlive::default())
}
