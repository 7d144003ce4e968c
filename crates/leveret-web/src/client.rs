//! A small HTTP client, for one system to speak to another: over `http://`, or over `https://` to those whom the machine
//! trusts (`SSL_CERT_FILE` names others than the system's authorities). Each request ends within a time limit.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde_json::Value;
use tokio::time::timeout;

use crate::{StartError, trace};

/// Longer answers are cut off as an error.
const LARGEST_ANSWER_BYTES: usize = 16 * 1024 * 1024;
const IDLE: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
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

/// Whether requests can be sent at all to where a setting says, if it says something.
///
/// # Errors
/// It is no URL that begins with `http://` or `https://`.
pub fn check_url(setting: &'static str, url: Option<&str>) -> Result<(), StartError> {
    let Some(url) = url else { return Ok(()) };
    let uri = url.parse::<Uri>();
    let uri =
        uri.map_err(|error| StartError::setting(setting, format!("{url:?} cannot be read: {error}")))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(()),
        _ => Err(StartError::setting(setting, format!("{url:?} does not begin with http:// or https://"))),
    }
}

/// Asks, over connections that it keeps. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limit: Duration,
}

impl Client {
    /// A client whose requests may take `limit` each.
    pub fn new(limit: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls()).https_or_http();
        let connector = connector.enable_http1().wrap_connector(tcp);
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

    /// `POST` of JSON that is to succeed.
    ///
    /// # Errors
    /// As [`post`](Self::post), or the answer is no success, and then says why.
    pub async fn post_json(&self, url: &str, body: &Value) -> Result<Response, NoAnswer> {
        let answer = self.post(url, &[("content-type", "application/json")], body.to_string()).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(NoAnswer(format!("{} {}", answer.status, answer.text())))
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
            let response = self.inner.request(request).await.map_err(|error| unreached(url, &error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER_BYTES).collect().await;
            Ok(Response { status, body: body.map_err(no_answer)?.to_bytes() })
        };
        timeout(self.limit, answering)
            .await
            .unwrap_or_else(|_| Err(NoAnswer(format!("{url}: no answer within {:?}", self.limit))))
    }
}

/// A system that is asked more than once. Cheap to clone.
#[derive(Clone)]
pub struct Place {
    client: Client,
    base: String,
}

impl Place {
    /// The system whose page is at `url`; each request may take `limit`.
    pub fn new(url: &str, limit: Duration) -> Self {
        Self { client: Client::new(limit), base: url.trim_end_matches('/').to_owned() }
    }

    /// `GET` of a path, whose answer is JSON.
    ///
    /// # Errors
    /// As [`Client::get`], or the answer is something else.
    pub async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, NoAnswer> {
        self.client.get(&format!("{}/{path}", self.base)).await?.json()
    }

    /// `POST` of JSON to a path, that is to succeed, and whose answer is JSON.
    ///
    /// # Errors
    /// As [`Client::post_json`], or the answer is something else.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, NoAnswer> {
        self.client.post_json(&format!("{}/{path}", self.base), body).await?.json()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.base)
    }
}

/// Where the machine trusts nobody, nobody is believed, and each request over TLS says so.
fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions();
    let builder = versions.unwrap_or_else(|_| unreachable!("ring speaks the default versions"));
    builder.with_root_certificates(roots).with_no_client_auth()
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

/// The client's own words are that it is an error; why is said by the causes.
fn unreached(url: &str, error: &dyn std::error::Error) -> NoAnswer {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    NoAnswer(
        causes.fold(format!("no answer from {url}: {error}"), |story, cause| format!("{story}: {cause}")),
    )
}

fn no_answer(error: impl std::fmt::Display) -> NoAnswer {
    NoAnswer(format!("no answer: {error}"))
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
