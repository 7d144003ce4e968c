//! Sessions of the web UI: signing in gives a cookie that no script can read and no other site can send.
//!
//! A session is good only with the header `X-Leveret-UI`, which a page of another site cannot make a browser send, and
//! only while its user has the password that was signed in with. Tags and permissions are those the user has now.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leveret_broker::PasswordHash;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::App;
use crate::access::Access;
use crate::api::{Route, delete, get, post};
use crate::body::Body;
use crate::error::Refusal;
use crate::listener::Peer;

/// How long a session lasts without being used.
const IDLE: Duration = Duration::from_secs(8 * 3600);
/// How long it lasts in all.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Most sessions at a time; the one that was not used for longest makes room.
const MOST: usize = 1000;
/// Largest body of somebody who is not signed in yet.
const SIGN_IN_BYTES: usize = 4 << 10;
/// Says that a call comes from a page of ours.
const MARK: &str = "x-leveret-ui";

#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<FxHashMap<String, Session>>,
}

struct Session {
    user: String,
    password: PasswordHash,
    begun: Instant,
    used: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.used) >= IDLE || now.duration_since(self.begun) >= LONGEST
    }
}

impl Sessions {
    fn begin(&self, user: String, password: PasswordHash, now: Instant) -> String {
        // 244 random bits from the system.
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut open = self.open.lock();
        open.retain(|_, session| !session.is_over(now));
        if open.len() >= MOST
            && let Some(oldest) =
                open.iter().min_by_key(|(_, session)| session.used).map(|(token, _)| token.clone())
        {
            open.remove(&oldest);
        }
        open.insert(token.clone(), Session { user, password, begun: now, used: now });
        token
    }

    /// The user of a session, and the password it was begun with.
    fn find(&self, token: &str, now: Instant) -> Option<(String, PasswordHash)> {
        let mut open = self.open.lock();
        let session = open.get_mut(token).filter(|session| !session.is_over(now))?;
        session.used = now;
        Some((session.user.clone(), session.password.clone()))
    }

    fn end(&self, token: &str) {
        self.open.lock().remove(token);
    }
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/session", "Who is signed in to the web UI; null for nobody", show),
        post("/session", "Signs in to the web UI: username, password", begin),
        delete("/session", "Signs out of the web UI", end),
    ]
}

/// Who is signed in by the request's cookie.
pub(crate) fn access(parts: &Parts, app: &App) -> Result<Access, Refusal> {
    if !is_marked(&parts.headers) {
        return Err(Refusal::LoginMissing);
    }
    find(&parts.headers, app).ok_or(Refusal::LoginFailed)
}

fn find(headers: &HeaderMap, app: &App) -> Option<Access> {
    let token = token(headers, &cookie_name(app))?;
    let (name, password) = app.sessions.find(token, Instant::now())?;
    let user = app.node.broker().users.find(&name).filter(|user| user.password == password);
    let access = user.and_then(|user| Access::of_user(user).ok());
    if access.is_none() {
        app.sessions.end(token);
    }
    access
}

fn is_marked(headers: &HeaderMap) -> bool {
    headers.contains_key(MARK)
}

fn marked(headers: &HeaderMap) -> Result<(), Refusal> {
    if is_marked(headers) { Ok(()) } else { Err(Refusal::bad(format!("the header {MARK} is missing"))) }
}

/// Browsers keep cookies by host, whatever the port: the port is in the name, for several brokers on a machine.
fn cookie_name(app: &App) -> String {
    format!("leveret_session_{}", app.statistics.address.port())
}

fn token<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn cookie(headers: &HeaderMap, name: &str, token: &str, age_s: u64) -> String {
    let is_https = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes() == b"https");
    let secure = if is_https { "; Secure" } else { "" };
    format!("{name}={token}; Path=/api; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}")
}

fn who(access: &Access) -> Value {
    json!({ "name": access.user, "tags": access.tags })
}

async fn show(State(app): State<App>, headers: HeaderMap) -> Json<Value> {
    let found = if is_marked(&headers) { find(&headers, &app) } else { None };
    Json(found.as_ref().map_or(Value::Null, who))
}

async fn begin(
    State(app): State<App>,
    axum::Extension(peer): axum::Extension<Peer>,
    request: Request,
) -> Result<Response, Refusal> {
    let headers = request.headers().clone();
    marked(&headers)?;
    let body = Body::read(request, SIGN_IN_BYTES).await?;
    let credentials =
        (body.required_text("username")?.to_owned(), body.required_text("password")?.to_owned());
    let access = Access::log_in(&app, credentials, peer.is_loopback()).await?;
    let user = app.node.broker().users.find(&access.user).ok_or(Refusal::LoginFailed)?;
    let token = app.sessions.begin(user.name, user.password, Instant::now());
    let cookie = cookie(&headers, &cookie_name(&app), &token, LONGEST.as_secs());
    Ok(([(header::SET_COOKIE, cookie)], Json(who(&access))).into_response())
}

async fn end(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refusal> {
    marked(&headers)?;
    let name = cookie_name(&app);
    if let Some(token) = token(&headers, &name) {
        app.sessions.end(token);
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie(&headers, &name, "", 0))]).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_not_used() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let token = sessions.begin("ann".into(), PasswordHash::default(), start);
        assert!(sessions.find(&token, start + IDLE / 2).is_some());
        assert!(sessions.find(&token, start + IDLE).is_some(), "used meanwhile");
        assert!(sessions.find(&token, start + IDLE * 3).is_none());
        assert!(sessions.find("other", start).is_none());
        let token = sessions.begin("ann".into(), PasswordHash::default(), start);
        let used = (0..10).map(|count| sessions.find(&token, start + IDLE / 2 * count).is_some());
        assert_eq!(used.filter(|found| *found).count(), 6, "however often it is used");
    }

    #[test]
    fn there_is_a_bound_to_sessions() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let first = sessions.begin("ann".into(), PasswordHash::default(), start);
        for at in 1..=MOST {
            sessions.begin("ann".into(), PasswordHash::default(), start + Duration::from_millis(at as u64));
        }
        assert_eq!(sessions.open.lock().len(), MOST);
        assert!(sessions.find(&first, start).is_none());
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let headers =
            HeaderMap::from_iter([(header::COOKIE, "a=1; leveret_session_1=x; b".parse().expect("a value"))]);
        assert_eq!(token(&headers, "leveret_session_1"), Some("x"));
        assert_eq!(token(&headers, "leveret_session"), None);
    }
}
