//! The page itself and what it loads.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse};
use serde::Deserialize;

use super::App;
use crate::page::{self, Words};

/// The language asked for: `?lang=en` or `?lang=zh`, else what the browser prefers.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    lang: Option<String>,
}

impl Choice {
    pub(super) fn words(&self, headers: &HeaderMap) -> &'static Words {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Words::of(self.lang.as_deref().or(accepted).unwrap_or_default())
    }
}

/// `GET /`
pub(super) async fn index(
    State(app): State<App>,
    Query(choice): Query<Choice>,
    headers: HeaderMap,
) -> Html<String> {
    let snapshot = app.board.now().await;
    Html(page::whole(&snapshot, choice.words(&headers)).into_string())
}

/// `GET /style.css`
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../page/style.css"))
}

/// `GET /live.js`
pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../page/live.js"))
}
