//! Which broker is asked, by whom, and how the answer is shown.

use clap::{Args, Subcommand};

/// The broker's management, and who one is there.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// URL of the management
    #[arg(long, global = true, env = "LEVERET_MANAGEMENT_URL", default_value = "http://127.0.0.1:15672")]
    pub(super) url: String,
    /// User
    #[arg(long, global = true, env = "LEVERET_MANAGEMENT_USER", default_value = "guest")]
    pub(super) user: String,
    /// Password; others on the machine can see flags, so rather use the environment
    #[arg(
        long,
        global = true,
        env = "LEVERET_MANAGEMENT_PASSWORD",
        default_value = "guest",
        hide_env_values = true
    )]
    pub(super) password: String,
    /// Virtual host
    #[arg(long, short = 'V', global = true, env = "LEVERET_VHOST", default_value = "/")]
    pub(super) vhost: String,
    /// Print JSON as the API answers it, instead of a table
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// An action on one kind of object.
#[derive(Debug, Args)]
pub(crate) struct On<A: Subcommand> {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) action: A,
}

/// Which columns of a list are shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct Columns {
    /// Columns, with commas between; dots reach into objects
    #[arg(long, value_delimiter = ',')]
    pub(super) columns: Vec<String>,
    /// Column to sort by
    #[arg(long)]
    pub(super) sort: Option<String>,
    /// Only items whose name has this in it
    #[arg(long)]
    pub(super) name: Option<String>,
}

/// An argument of a declaration, as `x-max-length=5`: a value that is JSON counts as such, others as text.
pub(super) fn argument(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.into(), value))
}
