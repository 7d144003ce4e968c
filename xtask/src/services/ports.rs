//! The ports of a service: free ones, chosen when it is started and remembered in a file for as long as it runs, so that
//! two work trees never want the same.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where RabbitMQ's management listens, seen from its port for AMQP: `leveret migrate` guesses it so.
const MANAGEMENT_AFTER: u16 = 10_000;
const ATTEMPTS: usize = 100;

/// Four ports of this machine. Most services need the first alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// Where clients find the service.
    pub(super) clients: u16,
    pub(super) management: u16,
    pub(super) distribution: u16,
    pub(super) epmd: u16,
}

impl Ports {
    /// Ports that are free now.
    pub(super) fn choose() -> Result<Self> {
        (0..ATTEMPTS).find_map(|_| Self::try_choose()).context("no free ports are to be found")
    }

    /// All are held until the last is found, so that they differ.
    fn try_choose() -> Option<Self> {
        let listen = |port: u16| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
            Some((listener.local_addr().ok()?.port(), listener))
        };
        let (clients, _first) = listen(0)?;
        let (management, _second) = listen(clients.checked_add(MANAGEMENT_AFTER)?)?;
        let (distribution, _third) = listen(0)?;
        let (epmd, _fourth) = listen(0)?;
        Some(Self { clients, management, distribution, epmd })
    }

    /// Writes them down.
    pub(super) fn remember(self, home: &Path) -> Result<()> {
        fs::create_dir_all(home)?;
        let line = [self.clients, self.management, self.distribution, self.epmd].map(|port| port.to_string());
        fs::write(file(home), line.join(" ")).context("the ports cannot be written down")
    }

    /// Those written down; `None` where the service does not run.
    pub(super) fn remembered(home: &Path) -> Result<Option<Self>> {
        let file = file(home);
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file)?;
        parse(&text).with_context(|| format!("{} is damaged", file.display())).map(Some)
    }
}

/// Forgets the ports of a service that has ended.
pub(super) fn forget(home: &Path) -> Result<()> {
    let file = file(home);
    if file.exists() {
        fs::remove_file(file)?;
    }
    Ok(())
}

fn parse(text: &str) -> Option<Ports> {
    let ports: Vec<u16> = text.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [clients, management, distribution, epmd] = ports[..] else { return None };
    Some(Ports { clients, management, distribution, epmd })
}

fn file(home: &Path) -> PathBuf {
    home.join("ports")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_was_chosen() {
        let home = std::env::temp_dir().join(format!("xtask-ports-{}", std::process::id()));
        assert_eq!(Ports::remembered(&home).unwrap(), None);
        let ports = Ports::choose().unwrap();
        assert_eq!(ports.management, ports.clients + MANAGEMENT_AFTER);
        ports.remember(&home).unwrap();
        assert_eq!(Ports::remembered(&home).unwrap(), Some(ports));
        forget(&home).unwrap();
        assert_eq!(Ports::remembered(&home).unwrap(), None);
        fs::remove_dir_all(home).unwrap();
    }
}
