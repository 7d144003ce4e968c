//! The page, and its live part.

use axum::extract::State;
use axum::response::{Html, IntoResponse};
use leveret_web::page::Lang;

use super::App;
use crate::board::{self, Snapshot};
use crate::page;

/// `GET /`
pub(super) async fn index(State(app): State<App>, lang: Lang) -> Html<String> {
    let snapshot = board::gather(&app.signup, &Snapshot::default()).await;
    Html(page::whole(&snapshot, lang).into_string())
}

/// `GET /events`
pub(super) async fn events(State(app): State<App>, lang: Lang) -> impl IntoResponse {
    app.board.stream(move |snapshot| page::live(snapshot, lang))
}
