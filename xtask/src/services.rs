//! `cargo xtask services`: private instances of the servers that Leveret is compared with and the bus is tested on. Each service is one
//! small file that implements `Service`; this one starts and ends them, by process id and never by name.

mod launch;
mod mariadb;
mod ports;
mod postgres;
mod process;
mod rabbitmq;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::tree::Tree;
use ports::Ports;
use process::Process;

const START_LIMIT: Duration = Duration::from_secs(90);

/// What to do with the services.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Action {
    /// Start them, wait until they are ready, print their URLs
    Up,
    /// End those that `up` started
    Down,
    /// Say which run
    Status,
    /// Kill those that run, with -9, and start them again with their data and ports
    Crash,
}

/// The services there are.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Name {
    /// RabbitMQ, Debian's package rabbitmq-server
    Rabbitmq,
    /// MariaDB, Debian's package mariadb-server
    Mariadb,
    /// PostgreSQL, Debian's package postgresql
    Postgres,
}

/// One kind of server.
trait Service {
    /// Its name, which is also its folder's under target/services.
    fn name(&self) -> &'static str;

    /// Where clients find it.
    fn url(&self, ports: Ports) -> String;

    /// Installs what is missing and starts its processes, in the order in which they need each other.
    fn start(&self, home: &Path, ports: Ports) -> Result<Vec<Process>>;

    /// Whether it answers.
    fn is_ready(&self, ports: Ports) -> bool;

    /// Where it may have data beside its folder.
    fn elsewhere(&self, _home: &Path) -> Option<PathBuf> {
        None
    }
}

/// Carries out one action on the named services, on all when none is named.
pub(crate) fn run(tree: &Tree, action: Action, names: &[Name]) -> Result<()> {
    let names = if names.is_empty() { Name::value_variants() } else { names };
    for name in names {
        let instance = Instance::of(tree, *name);
        match action {
            Action::Up => instance.up()?,
            Action::Down => instance.down()?,
            Action::Status => instance.status()?,
            Action::Crash => instance.crash()?,
        }
    }
    Ok(())
}

/// A service and the folder that it lives in.
pub(crate) struct Instance {
    service: Box<dyn Service>,
    home: PathBuf,
}

impl Instance {
    pub(crate) fn of(tree: &Tree, name: Name) -> Self {
        let service: Box<dyn Service> = match name {
            Name::Rabbitmq => Box::new(rabbitmq::RabbitMq),
            Name::Mariadb => Box::new(mariadb::MariaDb),
            Name::Postgres => Box::new(postgres::Postgres),
        };
        let home = tree.target("services").join(service.name());
        Self { service, home }
    }

    /// Where clients find the service, which must run.
    pub(crate) fn url(&self) -> Result<String> {
        Ok(self.service.url(self.ports()?))
    }

    fn ports(&self) -> Result<Ports> {
        let ports = Ports::remembered(&self.home)?;
        ports.with_context(|| format!("{} does not run", self.service.name()))
    }

    /// Where the management of RabbitMQ is, which must run.
    pub(crate) fn management_url(&self) -> Result<String> {
        let ports = Ports::remembered(&self.home)?.context("it does not run")?;
        Ok(format!("http://guest:guest@127.0.0.1:{}", ports.management))
    }

    pub(crate) fn up(&self) -> Result<()> {
        if self.is_running()? {
            return self.status();
        }
        self.end()?;
        let ports = Ports::choose()?;
        ports.remember(&self.home)?;
        self.start(ports)?;
        self.status()
    }

    /// As [`Instance::up`], but where it does not run it begins without data: tests of today need not know the tables that
    /// programs of an earlier day have made.
    pub(crate) fn up_empty(&self) -> Result<()> {
        if !self.is_running()? {
            self.end()?;
            for folder in self.service.elsewhere(&self.home).iter().chain([&self.home]) {
                if folder.exists() {
                    fs::remove_dir_all(folder)?;
                }
            }
        }
        self.up()
    }

    fn start(&self, ports: Ports) -> Result<()> {
        eprintln!("starting {}", self.service.name());
        let started = self.service.start(&self.home, ports)?;
        process::remember(&self.home, &started)?;
        self.wait_until_ready(ports)
    }

    pub(crate) fn down(&self) -> Result<()> {
        self.end()?;
        self.status()
    }

    /// Ends what still runs of it.
    fn end(&self) -> Result<()> {
        for process in process::remembered(&self.home)?.iter().rev() {
            process.end().with_context(|| format!("{} does not end", self.service.name()))?;
        }
        process::forget(&self.home)?;
        ports::forget(&self.home)
    }

    fn crash(&self) -> Result<()> {
        let ports = self.ports()?;
        for process in process::remembered(&self.home)?.iter().rev() {
            process.kill()?;
        }
        self.start(ports)?;
        self.status()
    }

    fn status(&self) -> Result<()> {
        let state = if self.is_running()? { self.url()? } else { "down".into() };
        println!("{:10} {state}", self.service.name());
        Ok(())
    }

    pub(crate) fn is_running(&self) -> Result<bool> {
        let processes = process::remembered(&self.home)?;
        Ok(!processes.is_empty() && processes.iter().all(Process::is_alive))
    }

    fn wait_until_ready(&self, ports: Ports) -> Result<()> {
        let start = Instant::now();
        while !self.service.is_ready(ports) {
            if !self.is_running()? || start.elapsed() > START_LIMIT {
                bail!("{} does not get ready; its log is in {}", self.service.name(), self.home.display());
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        Ok(())
    }
}
