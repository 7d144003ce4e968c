//! Requests that are answered before their body was read to its end: the connection is closed behind such an answer, and the
//! answer has to say so, or a client sends its next request into the closing connection. What is still coming is read and thrown
//! away meanwhile, within bounds: whoever sends first and looks up afterwards would else find a broken connection and no answer.
//! What a body says is read elsewhere.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::timeout;

/// Most bytes that are thrown away.
const MOST_BYTES: usize = 128 << 20;
/// How long the next of them are waited for.
const NEXT_WITHIN: Duration = Duration::from_secs(1);

/// What becomes of a request's body.
pub(crate) struct Watch {
    body: Watched,
    /// Whether the client sends nothing before it is told to go on, which is when the body is read.
    waits: bool,
}

/// The request, and a watch over its body.
pub(crate) fn watch(request: Request) -> (Request, Watch) {
    let waits = request.headers().contains_key(header::EXPECT);
    let (head, body) = request.into_parts();
    let is_read = body.is_end_stream();
    let body = Watched(Arc::new(Mutex::new(State { body, is_begun: false, is_read })));
    (Request::from_parts(head, Body::new(body.clone())), Watch { body, waits })
}

impl Watch {
    /// Has the answer say that the connection is closed behind it, if it will be: after what is still coming, for which no
    /// longer than `limit` is taken.
    pub(crate) fn announce(self, response: &mut Response, limit: Duration) {
        let (is_begun, is_read) = {
            let state = self.body.0.lock();
            (state.is_begun, state.is_read)
        };
        if is_read {
            return;
        }
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        if is_begun || !self.waits {
            tokio::spawn(timeout(limit, throw_away(self.body)));
        }
    }
}

async fn throw_away(mut body: Watched) {
    let mut left = MOST_BYTES;
    while let Ok(Some(Ok(frame))) = timeout(NEXT_WITHIN, body.frame()).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(fewer) = left.checked_sub(length) else { return };
        left = fewer;
    }
}

#[derive(Clone)]
struct Watched(Arc<Mutex<State>>);

struct State {
    body: Body,
    is_begun: bool,
    is_read: bool,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut state = self.0.lock();
        state.is_begun = true;
        let polled = Pin::new(&mut state.body).poll_frame(context);
        state.is_read |= matches!(polled, Poll::Ready(None)) || state.body.is_end_stream();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.size_hint()
    }
}
