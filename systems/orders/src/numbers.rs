//! Order numbers, in one of the notes' three ways.

use clap::ValueEnum;
use leveret_bus::ids::{self, Snowflake, SnowflakeOptions};
use sea_orm::DatabaseConnection;

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

/// Makes order numbers.
#[derive(Clone)]
pub(crate) enum Numbers {
    Uuid,
    Snowflake(Snowflake),
    Date,
}

impl Numbers {
    pub(crate) async fn start(
        numbering: Numbering,
        db: &DatabaseConnection,
    ) -> Result<Self, leveret_bus::Error> {
        Ok(match numbering {
            Numbering::Uuid => Self::Uuid,
            Numbering::Snowflake => Self::Snowflake(Snowflake::lease(db, SnowflakeOptions::default()).await?),
            Numbering::Date => Self::Date,
        })
    }

    pub(crate) async fn next(&self, user_id: i64) -> Result<String, leveret_bus::Error> {
        Ok(match self {
            Self::Uuid => ids::uuid(),
            Self::Snowflake(snowflake) => snowflake.next_id().await?.to_string(),
            Self::Date => ids::dated(user_id),
        })
    }

    /// True where two numbers can be the same by chance.
    pub(crate) fn can_clash(&self) -> bool {
        matches!(self, Self::Date)
    }
}
