//! The durable declarations, and what is administered, in a `redb` database. Every change is on the disk before it
//! counts.

mod administration;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use leveret_amqp::{FieldTable, Table};
use leveret_broker::{Catalog, Change, ExchangeOptions, KeptBinding, QueueOptions};
use redb::{
    Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};

use crate::StartError;

/// The version of the tables below. Version 1 had no administration.
const VERSION: u64 = 2;

/// Memory for the database's pages, in bytes. Rows are read once, at the start.
const CACHE_BYTES: usize = 8 << 20;

/// `version`.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
/// Virtual host.
const VHOSTS: TableDefinition<'_, &str, ()> = TableDefinition::new("vhosts");
/// Virtual host and name; type, [`AUTO_DELETE`] and [`INTERNAL`], arguments.
const EXCHANGES: TableDefinition<'_, (&str, &str), (&str, u8, &[u8])> = TableDefinition::new("exchanges");
/// Virtual host and name of an exchange that holds messages; number of its shelf in the store.
const SHELVES: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("shelves");
/// Virtual host and name; number in the store, [`AUTO_DELETE`], arguments.
const QUEUES: TableDefinition<'_, (&str, &str), (u64, u8, &[u8])> = TableDefinition::new("queues");
/// Virtual host, source, destination, whether that is a queue, routing key, arguments.
type BindingKey<'a> = (&'a str, &'a str, &'a str, bool, &'a str, &'a [u8]);
/// All that there is of a binding is in its key.
const BINDINGS: TableDefinition<'_, BindingKey<'_>, ()> = TableDefinition::new("bindings");

/// No name sorts behind this one.
const BEHIND_ALL: &str = "\u{10ffff}\u{10ffff}";

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;

/// The database of declarations.
pub(crate) struct RedbCatalog {
    database: Database,
}

impl RedbCatalog {
    /// Opens the database, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, StartError> {
        let unusable = |error: redb::Error| StartError::Data(format!("{}: {error}", path.display()));
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let database = database.map_err(|error| unusable(error.into()))?;
        let catalog = Self { database };
        match catalog.claim_version().map_err(unusable)? {
            ..=VERSION => Ok(catalog),
            other => Err(StartError::Data(format!(
                "{} has version {other}; this Leveret reads up to version {VERSION}: use the newer Leveret that wrote it",
                path.display()
            ))),
        }
    }

    fn claim_version(&self) -> Result<u64, redb::Error> {
        let transaction = self.database.begin_write()?;
        let version = {
            let mut about = transaction.open_table(ABOUT)?;
            let found = about.get("version")?.map(|version| version.value());
            if found.is_none_or(|found| found < VERSION) {
                about.insert("version", VERSION)?;
            }
            found.unwrap_or(VERSION)
        };
        transaction.commit()?;
        Ok(version)
    }

    /// All rows.
    pub(crate) fn rows(&self) -> Result<Vec<Change>, redb::Error> {
        rows(&self.database.begin_read()?)
    }

    fn write(&self, changes: &[Change]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        for change in changes {
            apply(&transaction, change)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// The durable queues declared in a data directory, by their number in the store, as `'queue' in vhost '/'`. Empty
/// where a broker has the catalog open, or has crashed with it open and not been started since.
#[must_use]
pub fn queue_names(data_dir: &Path) -> BTreeMap<u64, String> {
    let database = ReadOnlyDatabase::open(data_dir.join("catalog.redb"));
    let rows = database.map_err(redb::Error::from).and_then(|database| rows(&database.begin_read()?));
    let names = rows.unwrap_or_default().into_iter().filter_map(|row| match row {
        Change::PutQueue { vhost, name, id, .. } => Some((id, format!("'{name}' in vhost '{vhost}'"))),
        _ => None,
    });
    names.collect()
}

impl Catalog for RedbCatalog {
    fn keep(&self, changes: &[Change]) -> Result<(), String> {
        self.write(changes).map_err(|error| {
            tracing::error!(%error, "cannot keep a declaration");
            format!("cannot keep the declaration on disk: {error}")
        })
    }
}

/// All rows.
fn rows(transaction: &ReadTransaction) -> Result<Vec<Change>, redb::Error> {
    let mut rows = Vec::new();
    if let Some(table) = present(transaction.open_table(VHOSTS))? {
        for row in table.iter()? {
            let row = row?;
            let name = row.0.value();
            let settings = administration::settings(transaction, name)?;
            rows.push(Change::PutVhost { name: name.into(), settings });
        }
    }
    if let Some(table) = present(transaction.open_table(EXCHANGES))? {
        let shelves = present(transaction.open_table(SHELVES))?;
        for row in table.iter()? {
            let (key, value) = row?;
            let shelf = shelves.as_ref().map(|shelves| shelves.get(key.value())).transpose()?.flatten();
            rows.push(exchange_row(key.value(), value.value(), shelf.map(|shelf| shelf.value())));
        }
    }
    if let Some(table) = present(transaction.open_table(QUEUES))? {
        for row in table.iter()? {
            let (key, value) = row?;
            rows.push(queue_row(key.value(), value.value()));
        }
    }
    if let Some(table) = present(transaction.open_table(BINDINGS))? {
        for row in table.iter()? {
            rows.push(binding_row(row?.0.value()));
        }
    }
    administration::rows(transaction, &mut rows)?;
    Ok(rows)
}

/// A table that nothing was written to yet is not there.
fn present<T>(table: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn apply(transaction: &WriteTransaction, change: &Change) -> Result<(), redb::Error> {
    match change {
        Change::PutVhost { name, .. } => {
            transaction.open_table(VHOSTS)?.insert(&**name, ())?;
            administration::apply(transaction, change)?;
        }
        Change::DropVhost { name } => {
            transaction.open_table(VHOSTS)?.remove(&**name)?;
            drop_all_in(transaction, name)?;
            administration::apply(transaction, change)?;
        }
        Change::PutExchange { vhost, name, shelf, options } => {
            let flags = flag(options.auto_delete, AUTO_DELETE) | flag(options.internal, INTERNAL);
            let arguments = options.arguments.encode();
            let row = (options.kind.as_str(), flags, arguments.as_slice());
            transaction.open_table(EXCHANGES)?.insert((&**vhost, &**name), row)?;
            if let Some(shelf) = shelf {
                transaction.open_table(SHELVES)?.insert((&**vhost, &**name), shelf)?;
            }
        }
        Change::DropExchange { vhost, name } => {
            transaction.open_table(EXCHANGES)?.remove((&**vhost, &**name))?;
            transaction.open_table(SHELVES)?.remove((&**vhost, &**name))?;
            drop_bindings_from(transaction, vhost, name)?;
        }
        Change::PutQueue { vhost, name, id, options } => {
            let arguments = options.arguments.encode();
            let row = (*id, flag(options.auto_delete, AUTO_DELETE), arguments.as_slice());
            transaction.open_table(QUEUES)?.insert((&**vhost, &**name), row)?;
        }
        Change::DropQueue { vhost, name } => {
            transaction.open_table(QUEUES)?.remove((&**vhost, &**name))?;
        }
        Change::PutBinding { vhost, binding } => {
            let arguments = binding.arguments.encode();
            transaction.open_table(BINDINGS)?.insert(binding_key(vhost, binding, &arguments), ())?;
        }
        Change::DropBinding { vhost, binding } => {
            let arguments = binding.arguments.encode();
            transaction.open_table(BINDINGS)?.remove(binding_key(vhost, binding, &arguments))?;
        }
        other => administration::apply(transaction, other)?,
    }
    Ok(())
}

fn drop_all_in(transaction: &WriteTransaction, vhost: &str) -> Result<(), redb::Error> {
    let ends = (vhost, "")..=(vhost, BEHIND_ALL);
    transaction.open_table(EXCHANGES)?.retain_in(ends.clone(), |_, _| false)?;
    transaction.open_table(SHELVES)?.retain_in(ends.clone(), |_, _| false)?;
    transaction.open_table(QUEUES)?.retain_in(ends, |_, _| false)?;
    let ends = (vhost, "", "", false, "", &[][..])..(vhost, BEHIND_ALL, "", false, "", &[][..]);
    transaction.open_table(BINDINGS)?.retain_in(ends, |_, ()| false)?;
    Ok(())
}

fn drop_bindings_from(transaction: &WriteTransaction, vhost: &str, source: &str) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(BINDINGS)?;
    let range =
        (vhost, source, "", false, "", &[][..])..(vhost, source, BEHIND_ALL, true, BEHIND_ALL, &[][..]);
    table.retain_in(range, |_, ()| false)?;
    Ok(())
}

fn binding_key<'a>(vhost: &'a str, binding: &'a KeptBinding, arguments: &'a [u8]) -> BindingKey<'a> {
    (vhost, &binding.source, &binding.destination, binding.to_queue, &binding.key, arguments)
}

fn exchange_row(
    (vhost, name): (&str, &str),
    (kind, flags, arguments): (&str, u8, &[u8]),
    shelf: Option<u64>,
) -> Change {
    let options = ExchangeOptions {
        kind: kind.into(),
        durable: true,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        arguments: table(arguments),
    };
    Change::PutExchange { vhost: vhost.into(), name: name.into(), shelf, options }
}

fn queue_row((vhost, name): (&str, &str), (id, flags, arguments): (u64, u8, &[u8])) -> Change {
    let options = QueueOptions {
        durable: true,
        exclusive: None,
        auto_delete: flags & AUTO_DELETE != 0,
        arguments: table(arguments),
    };
    Change::PutQueue { vhost: vhost.into(), name: name.into(), id, options }
}

fn binding_row((vhost, source, destination, to_queue, key, arguments): BindingKey<'_>) -> Change {
    let binding = KeptBinding {
        source: source.into(),
        destination: destination.into(),
        to_queue,
        key: key.into(),
        arguments: table(arguments),
    };
    Change::PutBinding { vhost: Arc::from(vhost), binding }
}

fn table(encoded: &[u8]) -> FieldTable {
    Table::parse(encoded).unwrap_or_default().to_owned()
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}
