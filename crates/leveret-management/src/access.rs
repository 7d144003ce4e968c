//! Who asks, and what they may: HTTP basic authentication against the broker's users, and RabbitMQ's rules of what each
//! tag opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret_broker::{Client, Login, User, Vhost};
use tokio::sync::Semaphore;

use crate::App;
use crate::error::Refusal;
use crate::listener::Peer;
use crate::ui::session;

/// Passwords that are checked at once: each takes a processor and memory for a few milliseconds.
const AT_ONCE: usize = 2;

/// Why what is in a virtual host is not shown.
const ELSEWHERE: &str = "User not authorised to access virtual host";

/// How many log-ins over HTTP there were.
pub(crate) struct Logins {
    room: Arc<Semaphore>,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(AT_ONCE)),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

impl Logins {
    pub(crate) fn succeeded(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Forgets what was counted.
    pub(crate) fn reset(&self) {
        self.succeeded.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
    }
}

/// A user who has logged in and may use the management.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) user: String,
    pub(crate) tags: Vec<String>,
}

impl Access {
    fn has(&self, tags: &[&str]) -> bool {
        self.tags.iter().any(|tag| tags.contains(&tag.as_str()))
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.has(&["administrator"])
    }

    /// Whether the user may see what other users have.
    pub(crate) fn is_monitor(&self) -> bool {
        self.has(&["administrator", "monitoring"])
    }

    pub(crate) fn administrator(&self) -> Result<(), Refusal> {
        permit(self.is_administrator(), "Not administrator user")
    }

    pub(crate) fn policymaker(&self) -> Result<(), Refusal> {
        permit(self.has(&["administrator", "policymaker"]), "Not policymaker user")
    }

    pub(crate) fn monitor(&self) -> Result<(), Refusal> {
        permit(self.is_monitor(), "Not monitor user")
    }

    /// The virtual hosts in which the user sees what there is: monitors, too, take permissions for that.
    pub(crate) fn vhosts(&self, app: &App) -> Vec<Arc<Vhost>> {
        app.node.broker().vhosts().into_iter().filter(|vhost| self.sees(app, &vhost.name)).collect()
    }

    /// The virtual hosts that the user may know of, and of their limits: monitors of all.
    pub(crate) fn known_vhosts(&self, app: &App) -> Vec<Arc<Vhost>> {
        if self.is_monitor() { app.node.broker().vhosts() } else { self.vhosts(app) }
    }

    /// Whether the user sees what is in that virtual host.
    fn sees(&self, app: &App, vhost: &str) -> bool {
        self.is_administrator() || app.node.broker().users.access(&self.user, vhost).is_some()
    }

    /// The user as the core asks for it: what is done in that virtual host takes the permissions there.
    pub(crate) fn client(&self, app: &App, vhost: &str) -> Client {
        let access = app.node.broker().users.access(&self.user, vhost);
        let access = access.unwrap_or_else(|| Arc::new(leveret_broker::Access::none(&self.user, vhost)));
        Client::without_connection(access)
    }

    /// The virtual host of that name, where the user sees what is in it.
    pub(crate) fn vhost(&self, app: &App, name: &str) -> Result<Arc<Vhost>, Refusal> {
        let vhost = Self::find_vhost(app, name)?;
        permit(self.sees(app, name), ELSEWHERE)?;
        Ok(vhost)
    }

    /// The virtual host of that name, where the user may know of it.
    pub(crate) fn known_vhost(&self, app: &App, name: &str) -> Result<Arc<Vhost>, Refusal> {
        let vhost = Self::find_vhost(app, name)?;
        permit(self.is_monitor() || self.sees(app, name), ELSEWHERE)?;
        Ok(vhost)
    }

    /// The virtual host of that name, whoever the user is.
    pub(crate) fn find_vhost(app: &App, name: &str) -> Result<Arc<Vhost>, Refusal> {
        app.node.broker().vhost(name).ok_or_else(|| Refusal::Missing("vhost_not_found".into()))
    }

    /// The virtual host of that name for what takes a channel, and who opens it. As in RabbitMQ none is opened to one that is
    /// not there, or without permissions: not for administrators either.
    pub(crate) fn channel(&self, app: &App, name: &str) -> Result<(Arc<Vhost>, Client), Refusal> {
        let refused = || Refusal::NotAuthorised("Access refused.".into());
        let vhost = self.vhost(app, name).map_err(|refusal| match refusal {
            Refusal::Missing(_) => refused(),
            other => other,
        })?;
        let access = app.node.broker().users.access(&self.user, name).ok_or_else(refused)?;
        Ok((vhost, Client::without_connection(access)))
    }

    /// Lets users do to what is theirs what otherwise only some may.
    pub(crate) fn owner(&self, user: &str, may: bool) -> Result<(), Refusal> {
        permit(may || user == self.user, "User not authorised to access object")
    }

    /// Logs in from a request's head.
    pub(crate) async fn of_request(parts: &Parts, app: &App) -> Result<Self, Refusal> {
        let Some(header) = parts.headers.get(header::AUTHORIZATION) else {
            return session::access(parts, app);
        };
        let credentials = header.to_str().ok().and_then(basic).ok_or(Refusal::LoginFailed)?;
        let from_loopback = parts.extensions.get::<Peer>().is_some_and(|peer| peer.is_loopback());
        Self::log_in(app, credentials, from_loopback).await
    }

    /// Logs in by name and password.
    pub(crate) async fn log_in(
        app: &App,
        (name, password): (String, String),
        from_loopback: bool,
    ) -> Result<Self, Refusal> {
        let broker = Arc::clone(app.node.broker());
        let user = name.clone();
        let room = Arc::clone(&app.logins.room).acquire_owned().await;
        // Hashing takes milliseconds by design.
        let admitted = tokio::task::spawn_blocking(move || {
            let _room = room;
            broker.users.admits(&name, Login::Password(&password), from_loopback)
        });
        if !admitted.await.unwrap_or(false) {
            app.logins.failed.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::LoginFailed);
        }
        app.logins.succeeded.fetch_add(1, Ordering::Relaxed);
        Self::of_user(app.node.broker().users.find(&user).ok_or(Refusal::LoginFailed)?)
    }

    /// Somebody who has logged in, if they may use the management at all.
    pub(crate) fn of_user(user: User) -> Result<Self, Refusal> {
        let access = Self { user: user.name, tags: user.tags };
        permit(
            access.has(&["administrator", "monitoring", "policymaker", "management"]),
            "Not management user",
        )?;
        Ok(access)
    }
}

fn permit(may: bool, reason: &str) -> Result<(), Refusal> {
    if may { Ok(()) } else { Err(Refusal::NotAuthorised(reason.into())) }
}

/// Name and password of HTTP basic authentication (RFC 7617).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.into(), password.into()))
}

impl FromRequestParts<App> for Access {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        Self::of_request(parts, app).await
    }
}
