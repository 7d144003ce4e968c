//! Starting programs that outlive this one. Where we are root, a server runs as its package's unprivileged user,
//! if that user may enter the folder.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use duct::cmd;

use super::Process;

/// How a server's programs are started.
pub(super) struct Launch<'a> {
    /// The folder that it works in and that its logs go to.
    pub(super) home: &'a Path,
    /// The user that it runs as; our own when there is none.
    pub(super) account: Option<&'static str>,
    pub(super) environment: Vec<(&'static str, String)>,
}

impl Launch<'_> {
    /// Starts a program, with its output in a file of the service's folder.
    pub(super) fn spawn(&self, name: &str, line: &[&str]) -> Result<Process> {
        let log = fs::File::create(self.home.join(format!("{name}.log")))?;
        let line: Vec<_> = self.wrapper().into_iter().chain(line.iter().map(ToString::to_string)).collect();
        let child = Command::new(&line[0])
            .args(&line[1..])
            .envs(self.environment.clone())
            .current_dir(self.home)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", line[0]))?;
        Process::started(child.id())
    }

    /// Runs a program to its end, which must be a good one.
    pub(super) fn run(&self, line: &[&str]) -> Result<()> {
        let line: Vec<_> = self.wrapper().into_iter().chain(line.iter().map(ToString::to_string)).collect();
        let program = cmd(&line[0], &line[1..]).dir(self.home).stdin_null();
        let output = program.stderr_to_stdout().stdout_capture().unchecked().run()?;
        anyhow::ensure!(output.status.success(), "{:?}: {}", line, String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    /// What stands before the program. `setsid` and `setpriv` replace themselves by it, so that its id stays the
    /// child's. A session of its own keeps the service alive when the terminal's Ctrl-C ends this program.
    fn wrapper(&self) -> Vec<String> {
        let words = |user: &str| as_user(user).map(|words| words.to_vec()).unwrap_or_default();
        [vec!["setsid".to_owned()], self.account.map(words).unwrap_or_default()].concat()
    }
}

/// Gives the folder to the package's user and says whether programs can run as that user there. In a work tree that
/// only root may enter they cannot, and neither when we are not root.
pub(super) fn hand_over(home: &Path, user: &'static str) -> Result<Option<&'static str>> {
    let Some(before) = as_user(user) else { return Ok(None) };
    cmd!("chown", "-R", format!("{user}:{user}"), home).run()?;
    let test = [before.as_slice(), &["test".into(), "-w".into(), home.display().to_string()]].concat();
    Ok(cmd(&test[0], &test[1..]).run().is_ok().then_some(user))
}

/// The words before a program that is to run as this user; `None` where we are not root.
fn as_user(user: &str) -> Option<[String; 4]> {
    let options = [format!("--reuid={user}"), format!("--regid={user}"), "--init-groups".into()];
    let [uid, gid, groups] = options;
    is_root().then(|| ["setpriv".into(), uid, gid, groups])
}

pub(super) fn is_root() -> bool {
    cmd!("id", "-u").read().is_ok_and(|id| id == "0")
}
