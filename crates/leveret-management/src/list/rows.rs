//! The rows of a list as they are answered: a short list at once, one of any length piece by piece, so that it is never in
//! memory as a whole; a page too, since rows can be long with the samples of their past.

use std::vec::IntoIter;

use axum::body::Bytes;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::{Columns, Fields};
use crate::beside::in_pieces;

/// Rows made at once, at most.
const PIECE: usize = 256;
/// Bytes from which on a piece is long enough.
const PIECE_BYTES: usize = 256 << 10;
const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// What is shown of a list.
pub(crate) struct Rows<T> {
    pub(super) items: Vec<T>,
    /// How many there are in all, and of those that were asked for by their names.
    pub(super) counts: (usize, usize),
    /// The number of the page, and how many rows it has at most.
    pub(super) page: Option<(usize, usize)>,
    pub(super) columns: Columns,
}

impl<T> Rows<T> {
    /// The answer, all of it made at once.
    pub(crate) fn whole(&self, render: impl Fn(&T, &mut Fields<'_>)) -> Response {
        let rows: Vec<String> =
            self.items.iter().map(|item| row(&self.columns, item, &render).to_string()).collect();
        let (before, behind) = self.frame();
        (JSON, before + &rows.join(",") + &behind).into_response()
    }

    /// What stands before the rows and behind them.
    fn frame(&self) -> (String, String) {
        let Some((page, size)) = self.page else { return ("[".into(), "]".into()) };
        let (total, filtered) = self.counts;
        let (rows, pages) = (self.items.len(), filtered.div_ceil(size).max(1));
        let before = format!(r#"{{"filtered_count":{filtered},"item_count":{rows},"items":["#);
        let behind =
            format!(r#"],"page":{page},"page_count":{pages},"page_size":{size},"total_count":{total}}}"#);
        (before, behind)
    }
}

impl<T: Send + 'static> Rows<T> {
    /// The answer, of which nothing is made before the client has taken what comes before it. It is made beside the workers.
    pub(crate) fn stream(self, render: impl Fn(&T, &mut Fields<'_>) + Send + 'static) -> Response {
        let (before, behind) = self.frame();
        let pieces = Pieces {
            before: Some(before),
            rest: self.items.into_iter(),
            behind: Some(behind),
            columns: self.columns,
            render,
            begun: false,
        };
        (JSON, in_pieces(pieces)).into_response()
    }
}

/// What has not been answered yet.
struct Pieces<T, R> {
    before: Option<String>,
    rest: IntoIter<T>,
    behind: Option<String>,
    columns: Columns,
    render: R,
    /// Whether a row has been answered.
    begun: bool,
}

impl<T, R: Fn(&T, &mut Fields<'_>)> Iterator for Pieces<T, R> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.behind.as_ref()?;
        let mut text = self.before.take().unwrap_or_default();
        for item in self.rest.by_ref().take(PIECE) {
            if self.begun {
                text.push(',');
            }
            self.begun = true;
            text.push_str(&row(&self.columns, &item, &self.render).to_string());
            if text.len() >= PIECE_BYTES {
                break;
            }
        }
        if self.rest.len() == 0 {
            text.extend(self.behind.take());
        }
        Some(text.into())
    }
}

fn row<T>(columns: &Columns, item: &T, render: &impl Fn(&T, &mut Fields<'_>)) -> Value {
    columns.object(|fields| render(item, fields))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;

    async fn pieces(len: usize) -> Vec<Bytes> {
        let rows =
            Rows { items: (0..len).collect(), counts: (len, len), page: None, columns: Columns::default() };
        let mut body = rows.stream(|item, fields| fields.put("number", || *item)).into_body();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.expect("a frame").into_data().expect("data"));
        }
        pieces
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_made_to_its_end_does_not_look_whole() {
        let items: Vec<usize> = (0..2 * PIECE).collect();
        let counts = (items.len(), items.len());
        let rows = Rows { items, counts, page: None, columns: Columns::default() };
        let mut body = rows.stream(|item, _| assert!(*item < PIECE, "the second piece")).into_body();
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        assert!(body.frame().await.is_some_and(|frame| frame.is_err()));
    }

    #[tokio::test]
    async fn a_list_of_any_length_comes_in_pieces() {
        for (len, expected) in [(0, 1), (1, 1), (PIECE, 1), (PIECE + 1, 2), (5 * PIECE - 1, 5)] {
            let pieces = pieces(len).await;
            assert_eq!(pieces.len(), expected, "{len}");
            let rows: Vec<Value> = serde_json::from_slice(&pieces.concat()).expect("JSON");
            assert!(rows.into_iter().eq((0..len).map(|number| json!({"number": number}))), "{len}");
        }
    }

    #[tokio::test]
    async fn a_page_of_long_rows_comes_in_pieces_too() {
        let long = "x".repeat(PIECE_BYTES);
        let page = Some((2, 3));
        let rows = Rows { items: vec![1, 2, 3], counts: (9, 7), page, columns: Columns::default() };
        let mut body = rows.stream(move |_, fields| fields.put("text", || long.clone())).into_body();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.expect("a frame").into_data().expect("data"));
        }
        assert_eq!(pieces.len(), 3);
        let mut answer: Value = serde_json::from_slice(&pieces.concat()).expect("JSON");
        assert_eq!(answer["items"].take().as_array().map(Vec::len), Some(3));
        let counts = json!({
            "filtered_count": 7, "item_count": 3, "items": null,
            "page": 2, "page_count": 3, "page_size": 3, "total_count": 9,
        });
        assert_eq!(answer, counts);
    }
}
