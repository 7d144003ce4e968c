//! RabbitMQ's own command lines against the management of our broker: `rabbitmqadmin` of Debian's package, in Python,
//! and the newer one of the same name, in Rust.

mod newer;
mod older;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use duct::cmd;
use serde_json::Value;

use crate::broker::Broker;
use crate::counts::Counts;
use crate::prerequisites;
use crate::tree::Tree;

/// What is asked, and a word that the answer has to have in it.
type Command = (&'static str, &'static str);

/// Runs all commands of the one in Python.
pub(crate) fn older(tree: &Tree, broker: &Broker) -> Result<Counts> {
    let program = Path::new(older::PROGRAM);
    if !program.exists() {
        prerequisites::install(&["rabbitmq-server"])?;
    }
    let line = Line::of(tree, broker, program)?;
    line.run(&older::COMMANDS, true)
}

/// Runs all commands of the one in Rust, what is refused as well.
pub(crate) fn newer(tree: &Tree, broker: &Broker) -> Result<Counts> {
    let program = prerequisites::rabbitmqadmin(tree)?;
    let line = Line::of(tree, broker, &program)?;
    let mut counts = Counts::default();
    for (commands, succeeds) in newer::COMMANDS {
        counts = counts + line.run(commands, succeeds)?;
    }
    Ok(counts)
}

/// A program, who it logs in as, and where it may leave a file.
struct Line<'a> {
    tree: &'a Tree,
    program: &'a Path,
    /// Host and port of the management.
    management: (&'a str, &'a str),
    /// Port for clients.
    amqp: &'a str,
    /// What the broker calls itself.
    node: String,
}

impl<'a> Line<'a> {
    fn of(tree: &'a Tree, broker: &'a Broker, program: &'a Path) -> Result<Self> {
        let management = broker.management.rsplit_once(':').unwrap_or_default();
        ensure!(!management.0.is_empty(), "the broker has not named its management");
        let amqp = broker.url.rsplit_once(':').unwrap_or_default().1;
        let overview = format!("http://{}/api/overview", broker.management);
        let (user, password) = Broker::login();
        let login = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        let mut answer = ureq::get(overview).header("authorization", login).call()?;
        let overview: Value = serde_json::from_slice(&answer.body_mut().read_to_vec()?)?;
        let node = overview["node"].as_str().context("no node in the overview")?.to_owned();
        Ok(Self { tree, program, management, amqp, node })
    }

    fn run(&self, commands: &[Command], succeeds: bool) -> Result<Counts> {
        let mut counts = Counts::default();
        for (command, word) in commands {
            let (succeeded, told) = self.ask(command)?;
            if succeeded == succeeds && told.contains(word) {
                counts.passed += 1;
            } else {
                let failure = format!("rabbitmqadmin {command}: expected {word:?} in: {}", told.trim());
                eprintln!("{failure}");
                counts.fail(failure);
            }
        }
        Ok(counts)
    }

    fn ask(&self, command: &str) -> Result<(bool, String)> {
        let (host, port) = self.management;
        let (user, password) = Broker::login();
        let command = command.replace("AMQP_PORT", self.amqp).replace("NODE", &self.node);
        let login = ["-H", host, "-P", port, "-u", user, "-p", password];
        let line: Vec<&str> = login.into_iter().chain(command.split(' ')).collect();
        let output = cmd(self.program, line)
            .dir(self.tree.target("interop"))
            .stdin_null()
            .stderr_to_stdout()
            .stdout_capture()
            .unchecked()
            .run()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}
