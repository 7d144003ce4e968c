//! Users, permissions, virtual hosts and policies.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::options::{Columns, On};
use super::table;
use crate::failure::Failure;
use crate::http_api::encoded;

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UsersAction {
    /// List the users
    List(Columns),
    /// Make a user, or set password and tags of one
    Declare {
        /// The user
        name: String,
        /// The new password, by the variable rather than as a flag, which others on the machine can see
        #[arg(long, env = "LEVERET_NEW_PASSWORD", hide_env_values = true)]
        new_password: String,
        /// administrator, monitoring, policymaker, management; commas between
        #[arg(long, default_value = "")]
        tags: String,
    },
    /// Delete a user with all permissions
    Delete {
        /// The user
        name: String,
    },
}

/// Carries it out.
pub(crate) fn run_users(on: &On<UsersAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let path = |name: &str| format!("/users/{}", encoded(name));
    match &on.action {
        UsersAction::List(columns) => {
            table::list(&client, "/users", &["name", "tags", "hashing_algorithm", "limits"], columns)
        }
        UsersAction::Declare { name, new_password, tags } => {
            client.put(&path(name), &json!({ "password": new_password, "tags": tags })).map(drop)
        }
        UsersAction::Delete { name } => client.delete(&path(name)).map(drop),
    }
}

/// What can be done with permissions.
#[derive(Debug, Subcommand)]
pub(crate) enum PermissionsAction {
    /// List the permissions of all users
    List(Columns),
    /// Set what a user may do in the virtual host
    Declare {
        /// The user
        #[arg(value_name = "USER")]
        of: String,
        /// Regular expression of what may be declared and deleted
        #[arg(long, default_value = ".*")]
        configure: String,
        /// Of what may be published to
        #[arg(long, default_value = ".*")]
        write: String,
        /// Of what may be consumed from
        #[arg(long, default_value = ".*")]
        read: String,
    },
    /// Clear what a user may do in the virtual host
    Delete {
        /// The user
        #[arg(value_name = "USER")]
        of: String,
    },
}

/// Carries it out.
pub(crate) fn run_permissions(on: &On<PermissionsAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let path = |user: &str| client.path("permissions", &[user]);
    match &on.action {
        PermissionsAction::List(columns) => {
            table::list(&client, "/permissions", &["user", "vhost", "configure", "write", "read"], columns)
        }
        PermissionsAction::Declare { of, configure, write, read } => {
            let body = json!({ "configure": configure, "write": write, "read": read });
            client.put(&path(of), &body).map(drop)
        }
        PermissionsAction::Delete { of } => client.delete(&path(of)).map(drop),
    }
}

/// What can be done with virtual hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum VhostsAction {
    /// List the virtual hosts
    List(Columns),
    /// Make a virtual host, or change one
    Declare {
        /// The virtual host
        name: String,
        /// For people
        #[arg(long)]
        description: Option<String>,
        /// Type of queues that are declared without one: classic or quorum
        #[arg(long)]
        default_queue_type: Option<String>,
    },
    /// Refuse to delete a virtual host, whoever asks
    Protect {
        /// The virtual host
        name: String,
    },
    /// Allow for deleting a virtual host again
    Unprotect {
        /// The virtual host
        name: String,
    },
    /// Delete a virtual host with everything in it
    Delete {
        /// The virtual host
        name: String,
    },
}

/// Carries it out.
pub(crate) fn run_vhosts(on: &On<VhostsAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let path = |name: &str| format!("/vhosts/{}", encoded(name));
    let protection = |name: &str| format!("{}/deletion/protection", path(name));
    match &on.action {
        VhostsAction::List(columns) => {
            table::list(&client, "/vhosts", &["name", "description", "tags", "messages"], columns)
        }
        VhostsAction::Declare { name, description, default_queue_type } => {
            let body = json!({ "description": description, "default_queue_type": default_queue_type });
            client.put(&path(name), &body).map(drop)
        }
        VhostsAction::Protect { name } => client.post(&protection(name), &json!({})).map(drop),
        VhostsAction::Unprotect { name } => client.delete(&protection(name)).map(drop),
        VhostsAction::Delete { name } => client.delete(&path(name)).map(drop),
    }
}

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PoliciesAction {
    /// List the policies of the virtual host
    List {
        /// Those of operators
        #[arg(long)]
        operator: bool,
        #[command(flatten)]
        columns: Columns,
    },
    /// Set a policy
    Declare {
        /// The policy
        name: String,
        /// Regular expression of the names it is for
        #[arg(long)]
        pattern: String,
        /// As JSON: {"max-length": 5}
        #[arg(long, value_parser = definition)]
        definition: Value,
        /// queues, exchanges, all, …
        #[arg(long, default_value = "all")]
        apply_to: String,
        /// The highest wins
        #[arg(long, default_value_t = 0)]
        priority: i64,
        /// One of the operators
        #[arg(long)]
        operator: bool,
    },
    /// Clear a policy
    Delete {
        /// The policy
        name: String,
        /// One of the operators
        #[arg(long)]
        operator: bool,
    },
}

fn definition(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("expected JSON: {error}"))
}

/// Carries it out.
pub(crate) fn run_policies(on: &On<PoliciesAction>) -> Result<(), Failure> {
    let client = Client::new(&on.target)?;
    let kind = |operator: bool| if operator { "operator-policies" } else { "policies" };
    match &on.action {
        PoliciesAction::List { operator, columns } => {
            let usual = ["name", "pattern", "apply-to", "priority", "definition"];
            table::list(&client, &client.path(kind(*operator), &[]), &usual, columns)
        }
        PoliciesAction::Declare { name, pattern, definition, apply_to, priority, operator } => {
            let body = json!({
                "pattern": pattern, "definition": definition, "apply-to": apply_to, "priority": priority,
            });
            client.put(&client.path(kind(*operator), &[name]), &body).map(drop)
        }
        PoliciesAction::Delete { name, operator } => {
            client.delete(&client.path(kind(*operator), &[name])).map(drop)
        }
    }
}
