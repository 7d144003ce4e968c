//! What happens to every request before and after its route: its trace, its count, its body, and who may send it.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::Problem;
use crate::site::Site;
use crate::trace::{self, Trace};

/// Largest request body.
const LARGEST_BODY_BYTES: usize = 64 * 1024;
/// How much is read of one that is larger.
const MOST_READ_BYTES: usize = 4 * LARGEST_BODY_BYTES;
/// How long it may take to come.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// Answers a request as part of its trace, logs it, and counts it.
pub(crate) async fn follow(State(site): State<Site>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let brought = request.headers().get(trace::HEADER).and_then(|value| value.to_str().ok());
    let trace = brought.and_then(Trace::parse).unwrap_or_else(Trace::start);
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".into());
    let span = tracing::info_span!("request", trace_id = trace.id(), method, route);
    let parent = HeaderValue::try_from(trace.header());
    let answering = async {
        let response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), took = ?start.elapsed(), "answered");
        response
    };
    let mut response = trace.follow(span, answering).await;
    if let Ok(parent) = parent {
        response.headers_mut().insert(trace::HEADER, parent);
    }
    site.metrics.answered(&method, &route, response.status().as_u16(), start.elapsed());
    response
}

/// Takes the body in before anything is decided about the request. Behind an answer that did not wait for the body, a refusal
/// for instance, the connection would be closed, which a client that goes on with its next request does not expect.
pub(crate) async fn take_body(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match in_time(body, BODY_LIMIT).await {
        Ok(bytes) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        // The rest of the body is not waited for.
        Err(problem) => ([(header::CONNECTION, "close")], problem).into_response(),
    }
}

async fn in_time(body: Body, limit: Duration) -> Result<Bytes, Problem> {
    let taken = timeout(limit, whole(body)).await;
    let late =
        || Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {limit:?}"));
    taken.unwrap_or_else(|_| Err(late()))
}

/// All of a body that is not too large. Of a larger one some more is read and thrown away, so that whoever sends it hears
/// what is wrong instead of a broken connection.
async fn whole(mut body: Body) -> Result<Bytes, Problem> {
    let (mut bytes, mut read) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body breaks off"))?;
        let Ok(data) = frame.into_data() else { continue };
        read += data.len();
        if read <= LARGEST_BODY_BYTES {
            bytes.extend_from_slice(&data);
        } else if read > MOST_READ_BYTES {
            break;
        }
    }
    if read > LARGEST_BODY_BYTES {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB"));
    }
    Ok(bytes.into())
}

/// Keeps other sites' pages, opened in the same browser, from changing anything here.
pub(crate) async fn refuse_foreign_pages(request: Request, next: Next) -> Response {
    if is_foreign(&request) {
        return Problem::new(StatusCode::FORBIDDEN, "only this site's own page may do that").into_response();
    }
    next.run(request).await
}

/// Whether another site's page has made a browser ask for a change. Programs say nothing of where they ask from.
pub fn is_foreign(request: &Request) -> bool {
    if request.method().is_safe() {
        return false;
    }
    let said = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(site) = said("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    // Over plain HTTP, but for loopback, browsers say only this.
    if !request.headers().contains_key(header::ORIGIN) {
        return false;
    }
    let origin = said("origin").and_then(|origin| Some(origin.split_once("://")?.1));
    !origin.zip(said("host")).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// Lets pages load nothing but what comes from here.
pub(crate) async fn guard_page(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[test]
    fn only_our_page_and_programs_change_anything() {
        let is_refused = |method: &str, headers: &[(&str, &str)]| {
            let request = Request::builder().method(method).header("host", "shop:8084");
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            is_foreign(&request.body(Body::empty()).expect("a request"))
        };
        assert!(!is_refused("POST", &[]), "a program");
        assert!(!is_refused("POST", &[("origin", "http://Shop:8084")]));
        assert!(!is_refused("POST", &[("origin", "https://proxy"), ("sec-fetch-site", "same-origin")]));
        for origin in ["http://evil", "null", "http://shop", "http://shop:8081", "\u{e4}"] {
            assert!(is_refused("POST", &[("origin", origin)]), "{origin}");
            assert!(is_refused("DELETE", &[("origin", origin)]), "{origin}");
            assert!(!is_refused("GET", &[("origin", origin)]), "looking changes nothing");
        }
        for site in ["cross-site", "same-site", "else"] {
            assert!(
                is_refused("POST", &[("origin", "http://shop:8084"), ("sec-fetch-site", site)]),
                "{site}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let problem = in_time(body, Duration::from_millis(1)).await.expect_err("it never comes");
        assert_eq!(problem.into_response().status(), StatusCode::REQUEST_TIMEOUT);
    }
}
