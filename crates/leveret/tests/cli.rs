//! The leveret binary as one meets it on the command line: settings, mistakes and how they are told, start and stop,
//! and the load test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command line of the binary, without settings from the environment.
fn leveret(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// What a command said, and how it ended.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(command: &mut Command) -> Said {
    let output = command.output().expect("the binary starts");
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Checks that the command ends with the code, and one line on stderr that has all these words in it.
fn assert_refused(command: &mut Command, code: i32, words: &[&str]) {
    let said = run(command);
    assert_eq!(said.code, Some(code), "{command:?}: {}", said.stderr);
    assert_eq!(said.stderr.lines().count(), 1, "{command:?}: {}", said.stderr);
    assert_eq!(said.stdout, "", "{command:?}");
    for word in words {
        assert!(said.stderr.contains(word), "{command:?}: no {word} in {}", said.stderr);
    }
}

fn settings_file(folder: &Path, text: &str) -> String {
    let path = folder.join("leveret.toml");
    std::fs::write(&path, text).expect("a writable folder");
    path.to_str().expect("UTF-8").to_owned()
}

/// The line about a setting.
fn line_of<'a>(listing: &'a str, key: &str) -> &'a str {
    let mut lines = listing.lines();
    lines.find(|line| line.starts_with(&format!("{key} "))).unwrap_or_else(|| panic!("no {key} in {listing}"))
}

#[test]
fn config_tells_where_each_setting_came_from() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = settings_file(folder.path(), "heartbeat_s = 1\nchannel_max = 2\nframe_max_bytes = 5000\n");
    let mut command = leveret(&["config", "--heartbeat-s", "7"]);
    command.env("LEVERET_CONFIG", &file).env("LEVERET_CHANNEL_MAX", "8").env("RABBITMQ_DEFAULT_PASS", "123");
    let listing = run(&mut command).stdout;
    let told = |key, value: &str, origin: &str| {
        let line = line_of(&listing, key);
        assert!(line.starts_with(&format!("{key} = {value} ")) && line.ends_with(origin), "{line}");
    };
    told("heartbeat_s", "7", "# flag --heartbeat-s");
    told("channel_max", "8", "# environment LEVERET_CHANNEL_MAX");
    told("frame_max_bytes", "5000", &format!("# file {file}"));
    told("default_vhost", "\"/\"", "# default");
    told("default_pass", "\"********\"", "# environment RABBITMQ_DEFAULT_PASS");
    let shown = run(command.arg("--show-secrets")).stdout;
    assert!(line_of(&shown, "default_pass").starts_with("default_pass = \"123\" "));
}

#[test]
fn what_config_prints_is_a_settings_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flags = ["config", "--show-secrets", "--tls-cert", "c", "--tls-key", "k", "--loopback-users", "a,b"];
    let listing = run(&mut leveret(&flags)).stdout;
    let file = settings_file(folder.path(), &listing);
    let again = run(&mut leveret(&["config", "--show-secrets", "--config", &file])).stdout;
    let values = |listing: &str| {
        let value = |line: &str| line.rsplit_once('#').map(|(value, _)| value.to_owned());
        listing.lines().map(value).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&listing));
}

#[test]
fn mistakes_are_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with_file = |text| leveret(&["serve", "--config", &settings_file(folder.path(), text)]);
    assert_refused(&mut leveret(&["serv"]), 2, &["'serv'", "'serve'"]);
    assert_refused(&mut leveret(&["serve", "--ampq", "x"]), 2, &["'--ampq'", "'--amqp'"]);
    assert_refused(&mut leveret(&["serve", "--heartbeat-s", "soon"]), 2, &["--heartbeat-s", "whole number"]);
    assert_refused(&mut leveret(&["serve", "--amqp", "here"]), 2, &["--amqp", "HOST:PORT"]);
    assert_refused(&mut leveret(&["serve", "--log", "loud"]), 2, &["`loud`", "debug"]);
    assert_refused(&mut leveret(&["serve", "--channel-max", "0"]), 2, &["channel_max"]);
    assert_refused(&mut leveret(&["serve", "--amqps", "127.0.0.1:0"]), 2, &["tls.cert"]);
    assert_refused(&mut with_file("hartbeat_s = 1"), 2, &["`hartbeat_s`", "`heartbeat_s`"]);
    assert_refused(&mut with_file("heartbeat_s = 70000"), 2, &["heartbeat_s", "65535"]);
    assert_refused(&mut with_file("heartbeat_s ="), 2, &["line 1"]);
    assert_refused(leveret(&["serve"]).env("LEVERET_AMPQ", "x"), 2, &["`LEVERET_AMPQ`", "`LEVERET_AMQP`"]);
    assert_refused(leveret(&["serve"]).env("LEVERET_AMQP", "x"), 2, &["environment LEVERET_AMQP"]);
    assert_refused(&mut leveret(&["perf", "--size", "3"]), 2, &["--size", "16"]);
    assert_refused(&mut leveret(&["perf", "--url", "here"]), 2, &["amqp://"]);
}

#[test]
fn troubles_of_the_machine_are_one_line_and_exit_code_1() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let quiet = |args: &[&str]| leveret(&[&["serve", "--log", "off"], args].concat());
    assert_refused(&mut quiet(&["--amqp", &address]), 1, &["in use", "--amqp"]);
    let management = ["--amqp", "127.0.0.1:0", "--management", &address];
    assert_refused(&mut quiet(&management), 1, &["in use", "--management"]);
    let missing = folder.path().join("missing").display().to_string();
    assert_refused(&mut quiet(&["--config", &missing]), 1, &["cannot be read", &missing]);
    let file = settings_file(folder.path(), "");
    assert_refused(&mut quiet(&["--data-dir", &file]), 1, &["--data-dir", &file]);
    let tls = ["--amqps", "127.0.0.1:0", "--amqp", "off", "--tls-cert", &missing, "--tls-key", &missing];
    assert_refused(&mut quiet(&tls), 1, &["TLS", &missing]);
    // Nothing listens on port 1.
    assert_refused(&mut leveret(&["perf", "--url", "amqp://127.0.0.1:1"]), 1, &["127.0.0.1:1"]);
}

#[test]
fn help_is_no_mistake() {
    for args in
        [&["--help"][..], &["serve", "--help"], &["config", "--help"], &["perf", "--help"], &["--version"]]
    {
        let said = run(&mut leveret(args));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(!said.stdout.is_empty());
    }
}

/// A broker on a free port. Killed when dropped.
struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Serving {
    /// Starts the broker; what it first says on stdout has to be where it listens.
    fn start(more: &[&str]) -> Self {
        let args =
            [&["serve", "--amqp", "127.0.0.1:0", "--management", "off", "--log", "error"], more].concat();
        let mut child = leveret(&args).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on ").expect("the address").to_owned();
        Self { child, stdout, address }
    }

    #[cfg(unix)]
    fn signal(&mut self, name: &str) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().expect("kill(1)");
        assert!(sent.success());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "still running 5 s after SIG{name}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[cfg(target_os = "linux")]
    /// Memory that it has taken for itself; how much of the program is resident depends on how it was built.
    fn allocated_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line on memory");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[test]
fn signals_end_the_broker_in_good_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("new").join("data").display().to_string();
    for name in ["TERM", "INT"] {
        let mut broker = Serving::start(&["--data-dir", &data]);
        assert_eq!(broker.signal(name).code(), Some(0));
        let mut rest = String::new();
        broker.stdout.read_line(&mut rest).expect("the end of stdout");
        assert_eq!(rest, "", "only addresses go to stdout");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_broker_is_small() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker = Serving::start(&["--data-dir", &folder.path().display().to_string()]);
    std::thread::sleep(Duration::from_millis(300));
    let kib = broker.allocated_kib();
    assert!(kib < 8 << 10, "{kib} KiB allocated");
}

/// The best of a few starts, since the machine may be busy with something else during one, besides what the program takes to
/// say its version: that is what the machine is slow by.
#[test]
fn the_broker_starts_on_time() {
    let timed = |what: &dyn Fn()| {
        let start = Instant::now();
        what();
        start.elapsed()
    };
    let version = || timed(&|| drop(run(&mut leveret(&["--version"]))));
    let start = || timed(&|| drop(Serving::start(&[])));
    let (versions, starts): (Vec<_>, Vec<_>) = (0..5).map(|_| (version(), start())).unzip();
    let best = |all: &[Duration]| all.iter().min().copied().expect("five of each");
    let latest = Duration::from_millis(100) + best(&versions);
    assert!(best(&starts) < latest, "{starts:?}, versions {versions:?}");
}

/// The result of a load test that has to go well.
fn perf(args: &[&str]) -> serde_json::Value {
    let said = run(&mut leveret(&[&["perf", "--json", "--seconds", "1"], args].concat()));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    serde_json::from_str(&said.stdout).expect("JSON")
}

#[test]
fn perf_accounts_for_every_message() {
    let broker = Serving::start(&[]);
    let url = format!("amqp://guest:guest@{}", broker.address);
    let peers = ["--producers", "2", "--consumers", "3", "--queues", "2", "--rate", "3000", "--warmup", "0"];
    let result = perf(&[&["--url", &url], &peers[..]].concat());
    let messages = &result["messages"];
    assert!(messages["published"].as_u64() > Some(1000), "{result}");
    assert_eq!(messages["received"], messages["published"], "{result}");
    assert_eq!((&messages["lost"], &messages["left"]), (&0.into(), &0.into()), "{result}");
    assert!(result["latency_us"]["p50"].as_u64() > Some(0), "{result}");
}

#[test]
fn perf_starts_a_broker_of_its_own() {
    let large = perf(&["--size", "200000", "--rate", "100", "--autoack", "--confirm", "0", "--warmup", "0"]);
    assert_eq!(large["messages"]["received"], large["messages"]["published"], "{large}");
    let left = perf(&["--consumers", "0", "--rate", "100", "--warmup", "0"]);
    assert_eq!(left["messages"]["left"], left["messages"]["published"], "{left}");
}

#[test]
fn perf_tells_how_late_delayed_messages_come_on_time() {
    // What messages without a delay take is what the machine is slow by.
    let at_once = perf(&["--rate", "500"]);
    let slow_us = at_once["latency_us"]["p50"].as_u64().expect("a number");
    let result = perf(&["--delay", "300", "--rate", "500"]);
    assert_eq!(result["messages"]["early"], 0, "{result}");
    assert!(
        result["lateness_us"]["p50"].as_u64() < Some(100_000 + slow_us),
        "{result}, without delay {at_once}"
    );
    assert_eq!(result["messages"]["received"], result["messages"]["published"], "{result}");
}
