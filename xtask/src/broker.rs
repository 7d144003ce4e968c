//! A leveret broker of our own for the time of a test: started on a free port with the notes' user and
//! password, ended with SIGTERM, which has to work too.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use duct::cmd;

use crate::tree::Tree;

const USER: &str = "shenyi";
const PASSWORD: &str = "123";
const START_LIMIT: Duration = Duration::from_secs(30);
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// A running broker. Dropped without `stop`, it is killed.
pub(crate) struct Broker {
    child: Child,
    /// Where clients connect, as user of the notes.
    pub(crate) url: String,
    /// Where its management listens, HOST:PORT.
    pub(crate) management: String,
}

impl Broker {
    /// Starts the debug build of the leveret binary with an empty data folder, and waits for its port.
    pub(crate) fn start(tree: &Tree) -> Result<Self> {
        let binary = tree.leveret();
        ensure!(binary.exists(), "{} is not built: run `cargo build` first", binary.display());
        let data = tree.target("interop/data");
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(tree.target("interop"))?;
        Self::launch(&binary, &data, &tree.target("interop/leveret.log"))
    }

    /// Starts a leveret binary on whatever the data folder holds, and waits for its port.
    pub(crate) fn launch(binary: &Path, data: &Path, log: &Path) -> Result<Self> {
        Self::launch_with(binary, Some(data), log, "127.0.0.1:0")
    }

    /// Starts a leveret binary, in memory where there is no folder, and its management there, `off` for nowhere.
    pub(crate) fn launch_with(
        binary: &Path,
        data: Option<&Path>,
        log: &Path,
        management: &str,
    ) -> Result<Self> {
        let log = fs::File::create(log)?;
        let mut child = Command::new(binary)
            .args(["serve", "--amqp", "127.0.0.1:0", "--management", management])
            .args(data.into_iter().flat_map(|data| [Path::new("--data-dir"), data]))
            // Settings of the developer's own broker must not reach this one.
            .env_clear()
            .env("RABBITMQ_DEFAULT_USER", USER)
            .env("RABBITMQ_DEFAULT_PASS", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", binary.display()))?;
        let stdout = child.stdout.take().context("the broker has no stdout")?;
        let mut broker = Self { child, url: String::new(), management: String::new() };
        let (address, management) = announced_addresses(stdout, management != "off")?;
        broker.management = management;
        broker.url = format!("amqp://{USER}:{PASSWORD}@{address}");
        Ok(broker)
    }

    /// The memory that the broker has, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()).context("no VmRSS in its status")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// User and password.
    pub(crate) fn login() -> (&'static str, &'static str) {
        (USER, PASSWORD)
    }

    /// Ends the broker as an operator would, and judges how it ended.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "the broker was gone already: {status}; its log is interop/leveret.log in the target folder"
            );
        }
        let start = Instant::now();
        cmd!("kill", "-TERM", self.child.id().to_string()).run()?;
        while start.elapsed() < SHUTDOWN_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the broker ended with {status} after SIGTERM");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the broker still runs {} s after SIGTERM", SHUTDOWN_LIMIT.as_secs())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail when the broker has ended already, which is what is wanted here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the lines that name the ports, of AMQP and of the management. The output is drained to its end, so that the broker never blocks
/// on a full pipe.
fn announced_addresses(stdout: ChildStdout, has_management: bool) -> Result<(String, String)> {
    let (line, announced) = mpsc::channel();
    std::thread::spawn(move || {
        for said in BufReader::new(stdout).lines().map_while(Result::ok) {
            // After both were found nobody waits any more.
            let _ = line.send(said);
        }
    });
    let find = |before: &str| loop {
        let said = announced.recv_timeout(START_LIMIT).with_context(|| {
            format!("the broker has not said `{before}ADDRESS`; its log is interop/leveret.log in the target folder")
        })?;
        if let Some((_, address)) = said.split_once(before) {
            return Ok::<_, anyhow::Error>(address.trim().to_owned());
        }
    };
    let address = find("listening on ")?;
    let management = if has_management { find("management on http://")? } else { String::new() };
    Ok((address, management))
}
