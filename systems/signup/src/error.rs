//! What can keep the system from starting or from doing what was asked.

use leveret_web::Problem;

/// An error of the sign-up system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Broker, or the bus's tables.
    #[error(transparent)]
    Bus(#[from] leveret_bus::Error),
    /// Database.
    #[error("database: {0}")]
    Database(#[from] sea_orm::DbErr),
    /// A setting makes no sense.
    #[error("{setting}: {problem}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The address cannot be listened on, or the mail folder not be made.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn setting(setting: &'static str, problem: impl ToString) -> Self {
        Self::Setting { setting, problem: problem.to_string() }
    }
}

/// What is wrong inside is logged; the client learns only that something is.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Bus(error) => error.into(),
            Error::Database(error) => error.into(),
            error => Self::unavailable(error, "the system cannot do that now"),
        }
    }
}
