//! Users, permissions, settings and parameters in the catalog: one table for all of them, few rows and rarely written.
//! A row's key is its kind and what names it, its value is JSON.

use leveret_broker::{Change, VhostSettings};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::present;

/// Kind and what names the row.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);
const ADMINISTRATION: TableDefinition<'_, Key<'_>, &str> = TableDefinition::new("administration");

const VHOST: &str = "vhost";
const USER: &str = "user";
const PERMISSION: &str = "permission";
const TOPIC_PERMISSION: &str = "topic_permission";
const PARAMETER: &str = "parameter";
const GLOBAL_PARAMETER: &str = "global_parameter";

/// Writes a change of the administration; others are not for here.
pub(super) fn apply(transaction: &WriteTransaction, change: &Change) -> Result<(), redb::Error> {
    match change {
        Change::PutVhost { name, settings } => put(transaction, (VHOST, name, "", ""), settings),
        Change::DropVhost { name } => drop_row(transaction, (VHOST, name, "", "")),
        Change::PutUser(user) => put(transaction, (USER, &user.name, "", ""), user),
        Change::DropUser { name } => drop_row(transaction, (USER, name, "", "")),
        Change::PutPermission(it) => put(transaction, (PERMISSION, &it.user, &it.vhost, ""), it),
        Change::DropPermission { user, vhost } => drop_row(transaction, (PERMISSION, user, vhost, "")),
        Change::PutTopicPermission(it) => {
            put(transaction, (TOPIC_PERMISSION, &it.user, &it.vhost, &it.exchange), it)
        }
        Change::DropTopicPermission { user, vhost, exchange } => {
            drop_row(transaction, (TOPIC_PERMISSION, user, vhost, exchange))
        }
        Change::PutParameter(it) => put(transaction, (PARAMETER, &it.vhost, &it.component, &it.name), it),
        Change::DropParameter { vhost, component, name } => {
            drop_row(transaction, (PARAMETER, vhost, component, name))
        }
        Change::PutGlobalParameter(it) => put(transaction, (GLOBAL_PARAMETER, &it.name, "", ""), it),
        Change::DropGlobalParameter { name } => drop_row(transaction, (GLOBAL_PARAMETER, name, "", "")),
        _ => Ok(()),
    }
}

fn put(transaction: &WriteTransaction, key: Key<'_>, row: &impl Serialize) -> Result<(), redb::Error> {
    let json = serde_json::to_string(row).map_err(std::io::Error::from)?;
    transaction.open_table(ADMINISTRATION)?.insert(key, json.as_str())?;
    Ok(())
}

fn drop_row(transaction: &WriteTransaction, key: Key<'_>) -> Result<(), redb::Error> {
    transaction.open_table(ADMINISTRATION)?.remove(key)?;
    Ok(())
}

/// Appends all rows but those of virtual hosts.
pub(super) fn rows(transaction: &ReadTransaction, rows: &mut Vec<Change>) -> Result<(), redb::Error> {
    let Some(table) = present(transaction.open_table(ADMINISTRATION))? else { return Ok(()) };
    for row in table.iter()? {
        let (key, value) = row?;
        let ((kind, ..), value) = (key.value(), value.value());
        match kind {
            USER => rows.push(Change::PutUser(parsed(value)?)),
            PERMISSION => rows.push(Change::PutPermission(parsed(value)?)),
            TOPIC_PERMISSION => rows.push(Change::PutTopicPermission(parsed(value)?)),
            PARAMETER => rows.push(Change::PutParameter(parsed(value)?)),
            GLOBAL_PARAMETER => rows.push(Change::PutGlobalParameter(parsed(value)?)),
            _ => {}
        }
    }
    Ok(())
}

/// The settings of a virtual host; catalogs of version 1 have none.
pub(super) fn settings(transaction: &ReadTransaction, vhost: &str) -> Result<VhostSettings, redb::Error> {
    let Some(table) = present(transaction.open_table(ADMINISTRATION))? else {
        return Ok(VhostSettings::default());
    };
    match table.get((VHOST, vhost, "", ""))? {
        Some(row) => parsed(row.value()),
        None => Ok(VhostSettings::default()),
    }
}

fn parsed<T: DeserializeOwned>(json: &str) -> Result<T, redb::Error> {
    serde_json::from_str(json).map_err(|error| redb::Error::Corrupted(format!("administration: {error}")))
}
