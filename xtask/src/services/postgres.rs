//! PostgreSQL, as Debian packages it, with a data folder and a port of its own. It refuses to run as root, so where
//! we are root and its user may not enter the work tree, the data lies in the folder for temporary files.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::launch::{self, Launch};
use super::{Ports, Process, Service};
use crate::prerequisites;

/// Debian keeps each version's programs in a folder of its own, `<version>/bin`.
const VERSIONS: &str = "/usr/lib/postgresql";
const USER: &str = "leveret";

pub(crate) struct Postgres;

impl Service for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn url(&self, ports: Ports) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", ports.clients)
    }

    fn start(&self, home: &Path, ports: Ports) -> Result<Vec<Process>> {
        if newest().is_none() {
            prerequisites::install(&["postgresql"])?;
        }
        let programs = newest().context("postgresql is installed, yet not found")?;
        let program = |name: &str| programs.join(name).display().to_string();
        fs::create_dir_all(home)?;
        let (place, account) = place(home)?;
        let launch = Launch { home: &place, account, environment: Vec::new() };
        let data = place.join("data");
        let data_name = data.display().to_string();
        if !data.join("PG_VERSION").exists() {
            let make = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"];
            let initdb = program("initdb");
            let line = [&[initdb.as_str(), "-D", &data_name, "-U", USER], &make[..]].concat();
            launch.run(&line)?;
        }
        // No socket in the file system: its path could get too long.
        let settings = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="];
        let limits = ["-c", "max_connections=300"];
        let (server, port) = (program("postgres"), ports.clients.to_string());
        let line = [&[server.as_str(), "-D", &data_name, "-p", &port], &settings[..], &limits].concat();
        Ok(vec![launch.spawn("postgres", &line)?])
    }

    fn is_ready(&self, ports: Ports) -> bool {
        let Some(programs) = newest() else { return false };
        let ask = programs.join("pg_isready").display().to_string();
        prerequisites::succeeds(&[&ask, "-q", "-h", "127.0.0.1", "-p", &ports.clients.to_string()])
    }

    fn elsewhere(&self, home: &Path) -> Option<PathBuf> {
        Some(temporary(home))
    }
}

/// Where the data goes, and the user that the server runs as.
fn place(home: &Path) -> Result<(PathBuf, Option<&'static str>)> {
    let account = launch::hand_over(home, "postgres")?;
    if account.is_some() || !launch::is_root() {
        return Ok((home.to_owned(), account));
    }
    let place = temporary(home);
    fs::create_dir_all(&place)?;
    let account = launch::hand_over(&place, "postgres")?;
    Ok((place, account))
}

fn temporary(home: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    home.hash(&mut hasher);
    std::env::temp_dir().join(format!("leveret-postgres-{:x}", hasher.finish()))
}

/// The folder of the newest version's programs.
fn newest() -> Option<PathBuf> {
    let versions =
        fs::read_dir(VERSIONS).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = versions.filter_map(|version| version.parse::<u32>().ok()).max()?;
    Some(Path::new(VERSIONS).join(newest.to_string()).join("bin"))
}
