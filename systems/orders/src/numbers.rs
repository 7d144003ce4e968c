//! Order numbers: made in one of the notes' three ways, and sealed. Nobody is told a number before its order is accepted, and
//! nobody but the copies on one database can make a seal. So a sealed number that is not in the table yet is of an order
//! that was accepted: every copy knows that, also one that was started afterwards, and has to remember nothing.

use clap::ValueEnum;
use leveret_bus::ids::{self, Snowflake, SnowflakeOptions};
use leveret_bus::{database, decision};
use leveret_web::StartError;
use leveret_web::signature::Secret;
use sea_orm::DatabaseConnection;

/// What all copies on one database seal with: whichever comes first has decided it.
const SECRET: &str = "orders: the secret of the numbers' seals";
/// Hexadecimal digits of a seal: one guess in 2^64 is right.
const SEAL_DIGITS: usize = 16;

/// How orders are numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Numbering {
    /// A UUID of version 7.
    #[default]
    Uuid,
    /// A snowflake, whose worker id is leased in the database.
    Snowflake,
    /// The date, random digits and the user's id.
    Date,
}

/// Makes order numbers, and knows them again.
#[derive(Clone)]
pub(crate) struct Numbers {
    way: Way,
    secret: Secret,
}

#[derive(Clone)]
enum Way {
    Uuid,
    Snowflake(Snowflake),
    Date,
}

impl Numbers {
    pub(crate) async fn start(numbering: Numbering, db: &DatabaseConnection) -> Result<Self, StartError> {
        let way = match numbering {
            Numbering::Uuid => Way::Uuid,
            Numbering::Snowflake => Way::Snowflake(Snowflake::lease(db, SnowflakeOptions::default()).await?),
            Numbering::Date => Way::Date,
        };
        decision::migrate(db).await?;
        let tx = database::begin(db).await?;
        let mine = format!("{}{}", ids::uuid(), ids::uuid());
        let secret = decision::decide(&tx, SECRET, &mine).await?.outcome;
        tx.commit().await?;
        let secret = Secret::new(secret).map_err(|problem| StartError::setting("database_url", problem))?;
        Ok(Self { way, secret })
    }

    pub(crate) async fn next(&self, user_id: i64) -> Result<String, leveret_bus::Error> {
        let number = match &self.way {
            Way::Uuid => ids::uuid(),
            Way::Snowflake(snowflake) => snowflake.next_id().await?.to_string(),
            Way::Date => ids::dated(user_id),
        };
        Ok(format!("{number}-{}", self.seal(&number)))
    }

    /// True where two numbers can be the same by chance.
    pub(crate) fn can_clash(&self) -> bool {
        matches!(self.way, Way::Date)
    }

    /// Whether a number was made here, or by another copy on the same database.
    pub(crate) fn has_sealed(&self, order_no: &str) -> bool {
        order_no.rsplit_once('-').is_some_and(|(number, seal)| seal == self.seal(number))
    }

    fn seal(&self, number: &str) -> String {
        let mut seal = self.secret.sign_message(number.as_bytes());
        seal.truncate(SEAL_DIGITS);
        seal
    }
}
