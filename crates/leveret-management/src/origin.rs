//! Requests that pages of other sites make a browser send. A browser that has logged in by HTTP basic authentication sends
//! name and password along with them, so what changes anything is taken from our own pages and from programs alone.

use axum::http::{HeaderMap, Method, header};

use crate::error::Refusal;

/// Where a browser says that a request comes from; where it knows this header, no page can change it.
const FETCH_SITE: &str = "sec-fetch-site";

/// Refuses a request that would change something and was not made by us or by a program.
pub(crate) fn check(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let is_harmless = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_harmless || is_ours(headers) {
        return Ok(());
    }
    Err(Refusal::Forbidden("the request comes from a page of another site".into()))
}

fn is_ours(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    // Older browsers, and all of them over plain HTTP, say only this; programs say nothing.
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn may(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        check(&method, &headers.collect()).is_ok()
    }

    #[test]
    fn only_our_pages_and_programs_change_anything() {
        const HOST: (&str, &str) = ("host", "broker:15672");
        let is_post_of_ours = |headers: &[(&'static str, &'static str)]| may(Method::POST, headers);
        assert!(is_post_of_ours(&[HOST]), "a program");
        assert!(is_post_of_ours(&[HOST, ("origin", "http://Broker:15672")]));
        assert!(is_post_of_ours(&[HOST, ("sec-fetch-site", "same-origin"), ("origin", "https://proxy")]));
        for other in ["http://evil", "null", "http://broker", "broker:15672"] {
            let headers = [HOST, ("origin", other)];
            assert!(!is_post_of_ours(&headers), "{other}");
            assert!(!may(Method::DELETE, &headers) && !may(Method::PUT, &headers));
            assert!(may(Method::GET, &headers), "looking changes nothing");
        }
        for site in ["cross-site", "same-site", "else"] {
            assert!(!is_post_of_ours(&[HOST, ("sec-fetch-site", site)]), "{site}");
        }
    }
}
