//! How the server is, in a word and in detail.

/// What is wrong with a server, from [`Server::health`](crate::Server::health).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Why the store has closed itself. Nothing persistent is confirmed any more, and the server has to be started anew
    /// once the disk is well.
    pub store_failure: Option<String>,
    /// Why publishers are blocked now.
    pub blocked: Option<&'static str>,
    /// Places in the data directory that were found damaged, each with what it cost.
    pub damage: Vec<String>,
}

impl Health {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        *self == Self::default()
    }
}
