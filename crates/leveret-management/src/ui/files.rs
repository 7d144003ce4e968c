//! The files of the web UI, which are in the binary, and what browsers may do with them.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::App;
use crate::error::Refusal;

/// Nothing but our own files and the API: no inline script or style, no frame around, no form to elsewhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "assets"]
struct Files;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(async |headers| serve("index.html", &headers)))
        .route("/ui/{*path}", get(file))
}

async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    serve(&path, &headers)
}

fn serve(path: &str, headers: &HeaderMap) -> Response {
    let (Some(file), Some(kind)) = (Files::get(path), kind(path)) else {
        return Refusal::NotFound.into_response();
    };
    let tag = tag(&file);
    let about = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::ETAG, tag.clone()),
        // A browser asks each time, and is told by the tag that nothing has changed: a new version shows at once.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_FRAME_OPTIONS, "DENY".to_owned()),
    ];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, file.data).into_response()
}

fn tag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn kind(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_kind() {
        assert!(Files::iter().all(|path| kind(&path).is_some()));
        assert!(Files::get("index.html").is_some());
    }

    #[test]
    fn what_has_not_changed_is_not_sent_again() {
        let first = serve("app.js", &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].clone();
        let again = serve("app.js", &HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(serve("../Cargo.toml", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
    }

    /// Texts as they stand in calls of `t("…")`.
    fn texts(script: &str) -> impl Iterator<Item = &str> {
        script.split("t(\"").skip(1).zip(script.split("t(\"")).filter_map(|(text, before)| {
            let is_call = !before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
            is_call.then(|| text.split_once('"')).flatten().map(|(text, _)| text)
        })
    }

    #[test]
    fn every_text_is_there_in_chinese() {
        let read =
            |path: &str| String::from_utf8(Files::get(path).expect("a file").data.to_vec()).expect("text");
        let chinese = read("chinese.js");
        let scripts: Vec<_> =
            Files::iter().filter(|path| path.ends_with(".js")).map(|path| read(&path)).collect();
        let all: Vec<_> = scripts.iter().flat_map(|script| texts(script)).collect();
        let missing: Vec<_> = all.iter().filter(|text| !chinese.contains(&format!("\"{text}\": "))).collect();
        assert!(all.len() > 200, "only {} texts found", all.len());
        assert!(missing.is_empty(), "no Chinese for {missing:?}");
    }
}
