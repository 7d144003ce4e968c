//! The rows of a list as they are answered: a page at once, a list of any length piece by piece, so that it is never in
//! memory as a whole.

use std::vec::IntoIter;

use axum::Json;
use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Columns, Fields};
use crate::beside::in_pieces;

/// Rows made at once.
const PIECE: usize = 256;

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
        let rows: Vec<Value> = self.items.iter().map(|item| row(&self.columns, item, &render)).collect();
        let Some((page, size)) = self.page else { return Json(rows).into_response() };
        let (total, filtered) = self.counts;
        Json(json!({
            "filtered_count": filtered,
            "item_count": rows.len(),
            "items": rows,
            "page": page,
            "page_count": filtered.div_ceil(size).max(1),
            "page_size": size,
            "total_count": total,
        }))
        .into_response()
    }
}

impl<T: Send + 'static> Rows<T> {
    /// The answer, of which nothing is made before the client has taken what comes before it. It is made beside the workers.
    pub(crate) fn stream(self, render: impl Fn(&T, &mut Fields<'_>) + Send + 'static) -> Response {
        if self.page.is_some() {
            return self.whole(render);
        }
        let pieces = Pieces {
            rest: self.items.into_iter(),
            columns: self.columns,
            render,
            begun: false,
            ended: false,
        };
        ([(header::CONTENT_TYPE, "application/json")], in_pieces(pieces)).into_response()
    }
}

/// What has not been answered yet.
struct Pieces<T, R> {
    rest: IntoIter<T>,
    columns: Columns,
    render: R,
    begun: bool,
    ended: bool,
}

impl<T, R: Fn(&T, &mut Fields<'_>)> Iterator for Pieces<T, R> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut text = String::new();
        for item in self.rest.by_ref().take(PIECE) {
            text.push(if self.begun { ',' } else { '[' });
            self.begun = true;
            text.push_str(&row(&self.columns, &item, &self.render).to_string());
        }
        if self.rest.len() == 0 {
            self.ended = true;
            text.push_str(if self.begun { "]" } else { "[]" });
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
}
