//! What the system can do, apart from how it is asked: the HTTP API, the page and the command line all come here.

use std::sync::Arc;

use axum::http::StatusCode;
use leveret_bus::{Message, Outbox, Parked, database};
use leveret_web::{Answer, Problem, RequestKey, trace};
use sea_orm::{DatabaseConnection, DbErr};
use serde_json::json;
use tokio::sync::Notify;

use crate::mail::MailFolder;
use crate::registration::Registration;
use crate::settings::Names;
use crate::store::user;
use crate::view::{self, User};

/// The sign-up system's operations. Cheap to clone.
#[derive(Clone)]
pub struct Signup {
    pub(crate) db: DatabaseConnection,
    pub(crate) outbox: Outbox,
    pub(crate) parked: Parked,
    pub(crate) mails: MailFolder,
    pub(crate) names: Arc<Names>,
    pub(crate) changed: Arc<Notify>,
}

impl Signup {
    /// Signs somebody up: the user, the message that will bring the mail, and the answer to the client's request key, in
    /// one transaction. Says the user's id.
    ///
    /// # Errors
    /// Somebody has signed up with this address, or the same request is being answered elsewhere (409); or the database
    /// cannot be reached or refuses (503). Nothing was written then.
    pub async fn register(&self, registration: &Registration, key: &RequestKey) -> Result<i64, Problem> {
        let tx = database::begin(&self.db).await?;
        let Some(user) = user::add(&tx, registration.name(), registration.email()).await? else {
            tx.rollback().await?;
            return Err(Problem::conflict("somebody has signed up with this address"));
        };
        let names = &self.names;
        let message = Message::text(&names.exchange, &names.routing_key, user.user_id.to_string());
        self.outbox.stage(&tx, trace::attach(message)).await?;
        key.record(&tx, &answer(user.user_id)).await?;
        self.outbox.commit(tx).await?;
        self.changed.notify_one();
        Ok(user.user_id)
    }

    /// A user and the mail's story; `None` when there is no such user.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn user(&self, user_id: i64) -> Result<Option<User>, DbErr> {
        let row = user::find(&self.db, user_id).await?;
        Ok(view::users(&self.db, row.into_iter().collect()).await?.pop())
    }

    /// The last users, newest first.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn latest_users(&self, limit: u64) -> Result<Vec<User>, DbErr> {
        view::users(&self.db, user::latest(&self.db, limit).await?).await
    }

    /// The mails given up.
    pub fn parked(&self) -> &Parked {
        &self.parked
    }

    /// The folder of mails.
    pub fn mails(&self) -> &MailFolder {
        &self.mails
    }
}

/// What somebody who has signed up is told.
pub(crate) fn answer(user_id: i64) -> Answer {
    Answer::new(StatusCode::CREATED, json!({ "user_id": user_id })).at(format!("/users/{user_id}"))
}
