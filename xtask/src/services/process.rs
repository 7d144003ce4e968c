//! The processes of a service, remembered in a file between `up` and `down`. A process is known by its id and
//! its start time, so that an id that the system has given to another program since is never ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use duct::cmd;

const END_LIMIT: Duration = Duration::from_secs(30);

/// A process that we started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    id: u32,
    start_time: String,
}

impl Process {
    /// Notes a process that was started a moment ago.
    pub(crate) fn started(id: u32) -> Result<Self> {
        let start_time = start_time(id).with_context(|| format!("process {id} ended at once"))?;
        Ok(Self { id, start_time })
    }

    /// Whether that very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        start_time(self.id).is_some_and(|time| time == self.start_time)
    }

    /// Asks the process to end and waits for it.
    pub(crate) fn end(&self) -> Result<()> {
        self.end_by("-TERM")
    }

    /// Ends the process without asking, as a crash does.
    pub(crate) fn kill(&self) -> Result<()> {
        self.end_by("-KILL")
    }

    fn end_by(&self, signal: &str) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        cmd!("kill", signal, self.id.to_string()).run()?;
        let start = Instant::now();
        while self.is_alive() {
            if start.elapsed() > END_LIMIT {
                bail!("process {} still runs {} s after kill {signal}", self.id, END_LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Writes down which processes a service consists of.
pub(crate) fn remember(home: &Path, processes: &[Process]) -> Result<()> {
    let lines: Vec<_> = processes.iter().map(|one| format!("{} {}\n", one.id, one.start_time)).collect();
    fs::write(file(home), lines.concat()).context("the process ids cannot be written down")
}

/// The processes written down; none when the service was never started.
pub(crate) fn remembered(home: &Path) -> Result<Vec<Process>> {
    let file = file(home);
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&file)?;
    text.lines().map(|line| parse(line).with_context(|| format!("{} is damaged", file.display()))).collect()
}

/// Forgets the processes of a service that has ended.
pub(crate) fn forget(home: &Path) -> Result<()> {
    let file = file(home);
    if file.exists() {
        fs::remove_file(file)?;
    }
    Ok(())
}

fn parse(line: &str) -> Option<Process> {
    let (id, start_time) = line.split_once(' ')?;
    Some(Process { id: id.parse().ok()?, start_time: start_time.into() })
}

fn file(home: &Path) -> PathBuf {
    home.join("processes")
}

/// The 22nd field of the process's line in /proc, in clock ticks since boot; `None` when it has ended. The
/// second field is the program's name in brackets and may hold spaces, so the count starts after it.
fn start_time(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if state == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time_too() {
        let me = Process::started(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { start_time: "0".into(), ..me }.is_alive());
    }

    #[test]
    fn what_is_remembered_is_what_was_started() {
        let home = std::env::temp_dir().join(format!("xtask-process-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let me = Process::started(std::process::id()).unwrap();
        remember(&home, std::slice::from_ref(&me)).unwrap();
        assert_eq!(remembered(&home).unwrap(), [me]);
        forget(&home).unwrap();
        assert_eq!(remembered(&home).unwrap(), []);
        fs::remove_dir_all(home).unwrap();
    }
}
