//! Commands that ask a running broker by its HTTP API, Leveret's or RabbitMQ's: lists, declarations, messages, and the
//! broker at a glance. What a command does is one request, sometimes two; what is right or wrong the broker decides.

mod client;
mod completions;
mod delayed;
mod messages;
mod options;
mod rights;
mod status;
mod table;
mod top;
mod topology;

pub(crate) use self::completions::{Completions, print as print_completions};
pub(crate) use self::delayed::{DelayedAction, run as delayed};
pub(crate) use self::messages::{ParkedAction, run as parked};
pub(crate) use self::options::{On, Target};
pub(crate) use self::rights::{
    PermissionsAction, PoliciesAction, UsersAction, VhostsAction, run_permissions as permissions,
    run_policies as policies, run_users as users, run_vhosts as vhosts,
};
pub(crate) use self::status::{
    ConnectionsAction, DefinitionsAction, ListAction, run as status, run_connections as connections,
    run_definitions as definitions, run_list as list,
};
pub(crate) use self::top::{Options as TopOptions, run as top};
pub(crate) use self::topology::{
    BindingsAction, ExchangesAction, QueuesAction, run_bindings as bindings, run_exchanges as exchanges,
    run_queues as queues,
};
