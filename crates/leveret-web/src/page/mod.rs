//! A page's frame, and the small things that pages are made of. The live part is rendered by the server and sent anew
//! when it changes, so the browser's script stays a few lines and knows no system. An entry of a list has a `data-key`, by
//! which the script knows it again.

use std::fmt::Display;

use axum::extract::{FromRequestParts, Query};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A language that pages speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// English, the default.
    English,
    /// Chinese.
    Chinese,
}

impl Lang {
    /// The language for a code or an `Accept-Language` header: English unless it begins with Chinese.
    pub fn of(wanted: &str) -> Self {
        let is_chinese = wanted.trim_start().to_ascii_lowercase().starts_with("zh");
        if is_chinese { Self::Chinese } else { Self::English }
    }

    /// The words in this language.
    pub fn say(self, english: &'static str, chinese: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }

    /// Its code.
    pub fn code(self) -> &'static str {
        self.say("en", "zh")
    }
}

#[derive(Deserialize)]
struct Choice {
    lang: Option<String>,
}

/// `?lang=en` or `?lang=zh`, else what the browser prefers.
impl<S: Send + Sync> FromRequestParts<S> for Lang {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let chosen = Query::<Choice>::try_from_uri(&parts.uri).ok().and_then(|Query(choice)| choice.lang);
        let accepted = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Ok(Self::of(chosen.as_deref().or(accepted).unwrap_or_default()))
    }
}

/// A whole page: what stays as it is, and the part that `/events` sends anew.
pub(crate) fn frame(lang: Lang, title: &str, still: &Markup, live: &Markup) -> Markup {
    let other = lang.say("zh", "en");
    html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="data:,";
                script src="/live.js" type="module" {}
            }
            body {
                header {
                    h1 { (title) }
                    a href={ "/?lang=" (other) } lang=(other) { (lang.say("中文", "English")) }
                }
                main {
                    (still)
                    output #answer .failed role="status" {}
                    div #live data-lang=(lang.code()) aria-live="polite" { (live) }
                }
            }
        }
    }
}

/// A figure under its name.
pub fn card(name: &str, figure: impl Display) -> Markup {
    html! { article { (name) b { (figure.to_string()) } } }
}

/// A moment in UTC, which the script turns into the reader's own time.
pub fn moment(at_ms: i64) -> Markup {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000).ok();
    let text = at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
    html! { time datetime=(text) data-ms=(at_ms) { (clock_time(at_ms)) } }
}

/// A moment to come, which the script counts down to.
pub fn countdown(due_ms: i64) -> Markup {
    html! { span data-due-ms=(due_ms) { (clock_time(due_ms)) } }
}

/// Cents as money.
pub fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
}

/// Hours, minutes and seconds in UTC.
fn clock_time(at_ms: i64) -> String {
    let of_day_s = at_ms.div_euclid(1000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", of_day_s / 3600, of_day_s / 60 % 60, of_day_s % 60)
}

/// Text as a part of a path.
pub fn path_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
    }
    part
}

/// `GET /style.css`
pub(crate) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css"))
}

/// `GET /live.js`
pub(crate) async fn live_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("live.js"))
}

/// `GET /patch.js`
pub(crate) async fn patch_script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("patch.js"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_times_and_money_are_written_safely() {
        assert_eq!(path_part("a/b?c 李"), "a%2Fb%3Fc%20%E6%9D%8E");
        assert_eq!(clock_time(86_399_999), "23:59:59");
        assert_eq!(clock_time(-1), "23:59:59");
        assert_eq!(
            (money(-5), money(123_456), money(i64::MIN)),
            ("-0.05".into(), "1234.56".into(), "-92233720368547758.08".into())
        );
    }

    #[test]
    fn languages_are_found() {
        for (wanted, lang) in [("zh-CN,zh;q=0.9", "zh"), ("de,en", "en"), ("", "en")] {
            assert_eq!(Lang::of(wanted).code(), lang, "{wanted}");
        }
    }
}
