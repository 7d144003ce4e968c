//! The leveret binary as a child process with a free port and a folder of its own, for tests that drive it
//! from outside. With `LEVERET_TEST_AMQP_URL` set the tests drive that broker instead, RabbitMQ for one, and
//! `LEVERET_TEST_CRASH` is the command that kills it and starts it again.

#![allow(dead_code)] // Each test program uses its part of this.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running broker, killed when dropped.
pub(crate) struct Broker {
    child: Option<Child>,
    /// Where clients connect.
    pub(crate) url: String,
    /// Where its management listens, HOST:PORT.
    management: Option<String>,
    data: Option<tempfile::TempDir>,
}

impl Broker {
    /// The broker that `LEVERET_TEST_AMQP_URL` names, else ours.
    pub(crate) fn start() -> Self {
        match std::env::var("LEVERET_TEST_AMQP_URL") {
            Ok(url) => Self { child: None, url, management: None, data: None },
            Err(_) => Self::ours(),
        }
    }

    /// The binary, with an empty data folder.
    pub(crate) fn ours() -> Self {
        Self::spawn(tempfile::tempdir().expect("a temporary folder"))
    }

    /// The binary, with an empty data folder and these definitions, which a restart is not given again.
    pub(crate) fn with_definitions(definitions: &str) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let file = data.path().join("definitions.json");
        std::fs::write(&file, definitions).expect("a file in the temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command
            .args(["serve", "--amqp", "127.0.0.1:0", "--management", "127.0.0.1:0", "--data-dir"])
            .arg(data.path());
        command.arg("--load-definitions").arg(file).env_clear();
        Self::run(command, data)
    }

    fn spawn(data: tempfile::TempDir) -> Self {
        Self::spawn_at(data, "127.0.0.1:0")
    }

    /// Starts the binary and waits until it has named its port.
    fn spawn_at(data: tempfile::TempDir, address: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command
            .args(["serve", "--amqp", address, "--management", "127.0.0.1:0", "--data-dir"])
            .arg(data.path());
        // Settings of the developer's own broker must not reach this one.
        command.env_clear();
        Self::run(command, data)
    }

    fn run(mut command: Command, data: tempfile::TempDir) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let address = lines
            .find_map(|line| Some(line.split_once("listening on ")?.1.trim().to_owned()))
            .expect("the broker names its port (a small disk needs user namespaces: `unshare --map-root-user --mount`)");
        let management = command.get_args().any(|argument| argument == "--management").then(|| {
            let found =
                lines.find_map(|line| Some(line.split_once("management on http://")?.1.trim().to_owned()));
            found.expect("the broker names the management's port")
        });
        // Kept drained, so that the broker never blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child: Some(child),
            url: format!("amqp://guest:guest@{address}"),
            management,
            data: Some(data),
        }
    }

    /// The binary with its data on a disk of so many megabytes, which it may fill: a file system in memory that only
    /// this process sees.
    pub(crate) fn on_small_disk(size_mb: u32) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let script = format!(
            "mount -t tmpfs -o size={size_mb}m tmpfs \"$1\" && \
             exec \"$2\" serve --amqp 127.0.0.1:0 --management off --data-dir \"$1\" --disk-free-limit-bytes 0"
        );
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
        command.arg(data.path()).arg(env!("CARGO_BIN_EXE_leveret"));
        Self::run(command, data)
    }

    /// The binary with these limits, as the shell's `ulimit` takes them, on the files it may have open, and with memory
    /// for few messages.
    pub(crate) fn with_descriptors(limits: &str) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let script = format!(
            "{limits} && exec \"$2\" serve --amqp 127.0.0.1:0 --management off --data-dir \"$1\" \
             --message-memory-bytes 1000000"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(data.path()).arg(env!("CARGO_BIN_EXE_leveret"));
        Self::run(command, data)
    }

    /// HOST:PORT of the management.
    pub(crate) fn management(&self) -> &str {
        self.management.as_deref().expect("our binary with its management")
    }

    /// HOST:PORT
    pub(crate) fn address(&self) -> &str {
        self.url.rsplit('@').next().unwrap_or(&self.url)
    }

    /// Whether it is our binary, not a broker from outside.
    pub(crate) fn is_ours(&self) -> bool {
        self.child.is_some()
    }

    /// What Linux tells of our binary.
    pub(crate) fn proc(&self, file: &str) -> String {
        let id = self.child.as_ref().expect("our binary").id();
        std::fs::read_to_string(format!("/proc/{id}/{file}")).expect("Linux's /proc")
    }

    /// Resident memory of our binary, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the process still runs");
        let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
        kib.expect("a number of KiB") * 1024
    }

    /// Ends the binary with SIGKILL, as a crash does, and starts it anew with the same data.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        let data = self.data.take().expect("its data");
        drop(self);
        Self::spawn(data)
    }

    /// The same, and at the same address too; also with a broker from outside.
    pub(crate) fn crash_and_restart_there(mut self) -> Self {
        if !self.is_ours() {
            let command = std::env::var("LEVERET_TEST_CRASH").expect("how to crash the broker");
            let status = Command::new("sh").args(["-c", &command]).stdout(Stdio::null()).status();
            assert!(status.expect("a shell").success(), "{command}");
            return self;
        }
        let (data, address) = (self.data.take().expect("its data"), self.address().to_owned());
        drop(self);
        Self::spawn_at(data, &address)
    }

    /// Ends the binary with SIGTERM and starts it anew with the same data.
    pub(crate) fn restart(mut self) -> Self {
        let data = self.data.take().expect("its data");
        assert!(self.terminate().success());
        Self::spawn(data)
    }

    /// Its data folder.
    pub(crate) fn data_dir(&self) -> &std::path::Path {
        self.data.as_ref().expect("our binary").path()
    }

    /// Ends the binary with SIGTERM; what is left is its data folder.
    pub(crate) fn stop(mut self) -> tempfile::TempDir {
        let data = self.data.take().expect("its data");
        assert!(self.terminate().success());
        data
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let mut child = self.child.take().expect("our binary");
        let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(kill.expect("kill starts").success());
        child.wait().expect("our child ends")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().expect("the broker still runs at the test's end");
            child.wait().expect("a child that was killed ends");
        }
    }
}
