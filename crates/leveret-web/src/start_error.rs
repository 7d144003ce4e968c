//! What can keep a system from starting.

/// Why a system does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
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
    /// The address cannot be listened on.
    #[error("listening on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StartError {
    /// A setting that makes no sense.
    pub fn setting(setting: &'static str, problem: impl ToString) -> Self {
        Self::Setting { setting, problem: problem.to_string() }
    }

    /// An error over a URL that cannot be read is the setting's fault.
    #[must_use]
    pub fn blame(error: leveret_bus::Error, setting: &'static str) -> Self {
        match error {
            leveret_bus::Error::Url(problem) => Self::Setting { setting, problem },
            other => other.into(),
        }
    }
}
