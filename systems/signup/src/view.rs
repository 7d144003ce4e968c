//! What there is to see of a user: where the mail stands, and every attempt.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;

use crate::store::{attempt, notify, user};

/// Where a user's mail stands. Times are milliseconds since 1970 UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Not tried yet.
    Queued,
    /// Failed, and will be tried again.
    Retrying {
        /// When.
        next_due_ms: i64,
    },
    /// Sent.
    Sent {
        /// When.
        sent_ms: i64,
    },
    /// Failed too often; parked until it is replayed.
    GaveUp,
}

/// An attempt to send a mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// When, in milliseconds since 1970 UTC.
    pub tried_ms: i64,
    /// What went wrong; `None` when the mail was sent.
    pub error: Option<String>,
    /// When the next was due, in milliseconds since 1970 UTC.
    pub next_due_ms: Option<i64>,
}

/// A user and the mail's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user's id.
    pub user_id: i64,
    /// The name given.
    pub name: String,
    /// The address given.
    pub email: String,
    /// When the user signed up, in milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// Where the mail stands.
    #[serde(flatten)]
    pub state: State,
    /// Every attempt, oldest first.
    pub attempts: Vec<Attempt>,
}

/// The views of these users, in their order.
pub(crate) async fn users(db: &impl ConnectionTrait, rows: Vec<user::Model>) -> Result<Vec<User>, DbErr> {
    let ids: Vec<_> = rows.iter().map(|row| row.user_id).collect();
    let mut stories = Stories::load(db, &ids).await?;
    Ok(rows.into_iter().map(|row| stories.tell(row)).collect())
}

/// What the tables say about some users, by user id.
#[derive(Default)]
struct Stories {
    counts: HashMap<i64, notify::Model>,
    attempts: HashMap<i64, Vec<Attempt>>,
}

impl Stories {
    async fn load(db: &impl ConnectionTrait, ids: &[i64]) -> Result<Self, DbErr> {
        let mut stories = Self::default();
        let counts = notify::of(db, ids).await?;
        stories.counts.extend(counts.into_iter().map(|count| (count.user_id, count)));
        for attempt::Model { user_id, tried_ms, error, next_due_ms, .. } in attempt::of(db, ids).await? {
            let theirs = stories.attempts.entry(user_id).or_default();
            theirs.push(Attempt { tried_ms, error, next_due_ms });
        }
        Ok(stories)
    }

    fn tell(&mut self, row: user::Model) -> User {
        let attempts = self.attempts.remove(&row.user_id).unwrap_or_default();
        let state = self.state(row.user_id, &attempts);
        User {
            user_id: row.user_id,
            name: row.user_name,
            email: row.email,
            created_ms: row.created_ms,
            state,
            attempts,
        }
    }

    fn state(&self, user_id: i64, attempts: &[Attempt]) -> State {
        if let Some(sent) = attempts.iter().find(|attempt| attempt.error.is_none()) {
            return State::Sent { sent_ms: sent.tried_ms };
        }
        match self.counts.get(&user_id) {
            Some(count) if count.gave_up() => State::GaveUp,
            Some(count) if count.notifynum > 0 => attempts
                .last()
                .and_then(|attempt| attempt.next_due_ms)
                .map_or(State::Queued, |next_due_ms| State::Retrying { next_due_ms }),
            _ => State::Queued,
        }
    }
}
