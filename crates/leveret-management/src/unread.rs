//! Requests that are answered before their body was read to its end: the connection is closed behind such an answer, and the
//! answer has to say so, or a client sends its next request into the closing connection. What a body says is read elsewhere.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

/// Whether a request's body was read to its end.
pub(crate) struct Watch(Arc<AtomicBool>);

/// The request, and a watch over its body.
pub(crate) fn watch(request: Request) -> (Request, Watch) {
    let is_read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let watched = request.map(|body| Body::new(Watched { body, is_read: Arc::clone(&is_read) }));
    (watched, Watch(is_read))
}

impl Watch {
    /// Has the answer say that the connection is closed behind it, if it will be.
    pub(crate) fn announce(&self, response: &mut Response) {
        if !self.0.load(Ordering::Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

struct Watched {
    body: Body,
    is_read: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.is_read.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
