//! What the system can do, apart from how it is asked: the HTTP API, the page and the command line all come here.

use std::sync::Arc;

use axum::http::StatusCode;
use leveret_bus::{Bus, Message, Outbox, Parked, ParkedMessage, database};
use leveret_web::{Answer, Problem, RequestKey, trace};
use sea_orm::DatabaseConnection;
use serde_json::json;
use tokio::sync::Notify;

use crate::error::Error;
use crate::mail::MailFolder;
use crate::names::Names;
use crate::registration::Registration;
use crate::store::user;
use crate::view::{self, User};

/// The sign-up system's operations. Cheap to clone.
#[derive(Clone)]
pub struct Signup {
    pub(crate) db: DatabaseConnection,
    pub(crate) bus: Bus,
    pub(crate) outbox: Outbox,
    pub(crate) parked: Parked,
    pub(crate) mails: MailFolder,
    pub(crate) names: Arc<Names>,
    pub(crate) changed: Arc<Notify>,
}

/// The end of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The user is there, and the mail is on its way.
    New {
        /// The user's id.
        user_id: i64,
    },
    /// Somebody has signed up with this address.
    EmailTaken,
}

impl Registered {
    /// What somebody who has signed up is told.
    pub(crate) fn answer(user_id: i64) -> Answer {
        let answer = Answer::new(StatusCode::CREATED, json!({ "user_id": user_id }));
        answer.at(format!("/users/{user_id}"))
    }
}

impl Signup {
    /// Signs somebody up: the user and the message that will bring the mail, in one transaction.
    ///
    /// With a request key, its answer is part of the transaction too.
    ///
    /// # Errors
    /// The database cannot be reached or refuses (503), or the same request is being answered elsewhere (409). Nothing
    /// was written then.
    pub async fn register(
        &self,
        registration: &Registration,
        key: &RequestKey,
    ) -> Result<Registered, Problem> {
        let tx = database::begin(&self.db).await?;
        let Some(user) = user::add(&tx, registration.name(), registration.email()).await? else {
            tx.rollback().await?;
            return Ok(Registered::EmailTaken);
        };
        let names = &self.names;
        let message = Message::text(&names.exchange, &names.routing_key, user.user_id.to_string());
        self.outbox.stage(&tx, trace::attach(message)).await?;
        key.record(&tx, &Registered::answer(user.user_id)).await?;
        self.outbox.commit(tx).await?;
        self.changed.notify_one();
        Ok(Registered::New { user_id: user.user_id })
    }

    /// A user and the mail's story; `None` when there is no such user.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn user(&self, user_id: i64) -> Result<Option<User>, Error> {
        let row = user::find(&self.db, user_id).await?;
        Ok(view::users(&self.db, row.into_iter().collect()).await?.pop())
    }

    /// The last users, newest first.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn latest_users(&self, limit: u64) -> Result<Vec<User>, Error> {
        Ok(view::users(&self.db, user::latest(&self.db, limit).await?).await?)
    }

    /// The mails given up, oldest first.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn parked(&self, limit: usize) -> Result<Vec<ParkedMessage>, Error> {
        Ok(self.parked.list(limit).await?)
    }

    /// Tries a parked mail again. False when there is none of this id.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn replay(&self, message_id: &str) -> Result<bool, Error> {
        let replayed = self.parked.replay(message_id).await;
        self.changed.notify_one();
        Ok(replayed?)
    }

    /// Tries all parked mails again, and says how many.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn replay_all(&self) -> Result<u32, Error> {
        let replayed = self.parked.replay_all().await;
        self.changed.notify_one();
        Ok(replayed?)
    }

    /// Throws a parked mail away. False when there is none of this id.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn drop_parked(&self, message_id: &str) -> Result<bool, Error> {
        let dropped = self.parked.drop_one(message_id).await;
        self.changed.notify_one();
        Ok(dropped?)
    }

    /// Throws all parked mails away, and says how many.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub async fn drop_all_parked(&self) -> Result<u32, Error> {
        let dropped = self.parked.drop_all().await;
        self.changed.notify_one();
        Ok(dropped?)
    }

    /// The folder of mails.
    pub fn mails(&self) -> &MailFolder {
        &self.mails
    }
}
