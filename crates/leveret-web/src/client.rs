//! A small HTTP client, for one system to speak to another: `http://` only, each request within a time limit.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use crate::trace;

/// Longer answers are cut off as an error.
const LARGEST_ANSWER_BYTES: usize = 16 * 1024 * 1024;
const IDLE: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer: {0}")]
pub struct NoAnswer(String);

impl NoAnswer {
    /// There was one, but not such that it counts.
    pub fn because(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Asks, over connections that it keeps. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    limit: Duration,
}

impl Client {
    /// A client whose requests may take `limit` each.
    pub fn new(limit: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { inner, limit }
    }

    /// `GET`
    ///
    /// # Errors
    /// There was no answer within the limit.
    pub async fn get(&self, url: &str) -> Result<Response, NoAnswer> {
        self.ask(Method::GET, url, &[], Bytes::new()).await
    }

    /// `POST` with these headers, and the current trace.
    ///
    /// # Errors
    /// As [`get`](Self::get); the request may have been carried out.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response, NoAnswer> {
        self.ask(Method::POST, url, headers, body).await
    }

    /// Any method, with these headers and the current trace.
    ///
    /// # Errors
    /// As [`get`](Self::get); the request may have been carried out.
    pub async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response, NoAnswer> {
        let request = request(method, url, headers, body.into())?;
        let answering = async {
            let response = self.inner.request(request).await.map_err(no_answer)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER_BYTES).collect().await;
            Ok(Response { status, body: body.map_err(no_answer)?.to_bytes() })
        };
        timeout(self.limit, answering)
            .await
            .unwrap_or_else(|_| Err(NoAnswer(format!("none within {:?}", self.limit))))
    }
}

fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, NoAnswer> {
    let uri: Uri = url.parse().map_err(no_answer)?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for (name, value) in headers {
        let name: HeaderName = name.parse().map_err(no_answer)?;
        request.headers_mut().insert(name, HeaderValue::from_str(value).map_err(no_answer)?);
    }
    if let Ok(parent) = HeaderValue::try_from(trace::current().header()) {
        request.headers_mut().insert(trace::HEADER, parent);
    }
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json, text/plain"));
    Ok(request)
}

fn no_answer(error: impl std::fmt::Display) -> NoAnswer {
    NoAnswer(error.to_string())
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, NoAnswer> {
        serde_json::from_slice(&self.body).map_err(no_answer)
    }
}
