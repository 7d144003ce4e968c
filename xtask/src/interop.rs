//! The interop suites: programs in `interop/` that drive a broker with other people's clients. Each takes the
//! broker's URL, prints a line for each failed check and closes with its counts.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use duct::{Expression, cmd};

use crate::broker::Broker;
use crate::counts::{Counts, run_tests};
use crate::prerequisites;
use crate::rabbitmqadmin;
use crate::steps::Steps;
use crate::tree::Tree;

/// One client library's suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Python, pika
    Pika,
    /// Python, aio-pika
    AioPika,
    /// Node, amqplib
    Node,
    /// Go, streadway/amqp: the notes, step by step
    Go,
}

/// What to drive, and with which clients.
#[derive(Args)]
pub(crate) struct Options {
    /// The broker, as amqp://USER:PASSWORD@HOST:PORT
    #[arg(long)]
    url: Option<String>,
    /// The broker has no x-delayed-message exchanges (RabbitMQ without its plugin)
    #[arg(long, requires = "url")]
    no_delayed: bool,
    /// The broker has x- queue arguments, so try the notes' delay by dead letters
    #[arg(long)]
    dead_letters: bool,
    /// Which suites; all when none is named
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// What a step's name adds about the broker
    #[arg(skip)]
    place: &'static str,
}

impl Options {
    /// Every suite, against our own broker.
    pub(crate) fn everything() -> Self {
        Self { url: None, no_delayed: false, dead_letters: true, suites: Vec::new(), place: "" }
    }

    /// Every suite, against a RabbitMQ without plugins.
    pub(crate) fn rabbitmq(url: String) -> Self {
        Self {
            url: Some(url),
            no_delayed: true,
            dead_letters: true,
            suites: Vec::new(),
            place: " on RabbitMQ",
        }
    }

    fn flags(&self) -> Vec<&'static str> {
        let no_delayed = self.no_delayed.then_some("--no-delayed");
        let dead_letters = self.dead_letters.then_some("--dead-letters");
        no_delayed.into_iter().chain(dead_letters).collect()
    }
}

/// Installs the clients and runs the suites as a chore of its own.
pub(crate) fn run(tree: &Tree, options: &Options) -> Result<()> {
    prerequisites::debian_packages()?;
    let mut steps = Steps::default();
    drive(tree, options, &mut steps);
    steps.finish()
}

/// Runs the suites, one step each; and one for the broker's end, when it is ours.
pub(crate) fn drive(tree: &Tree, options: &Options, steps: &mut Steps) {
    let Some(url) = &options.url else { return drive_leveret(tree, options, steps) };
    drive_url(tree, options, url, steps);
}

fn drive_leveret(tree: &Tree, options: &Options, steps: &mut Steps) {
    let mut broker = None;
    steps.run("leveret serve", || {
        broker = Some(Broker::start(tree)?);
        Ok(Counts::default())
    });
    let Some(broker) = broker else {
        return steps.give_up("interop suites", "the broker does not start");
    };
    drive_url(tree, options, &broker.url, steps);
    if options.suites.is_empty() {
        steps.run("rabbitmqadmin in Python", || rabbitmqadmin::older(tree, &broker));
        steps.run("rabbitmqadmin in Rust", || rabbitmqadmin::newer(tree, &broker));
    }
    steps.run("leveret ends on SIGTERM", || broker.stop().map(|()| Counts::default()));
}

fn drive_url(tree: &Tree, options: &Options, url: &str, steps: &mut Steps) {
    let named = if options.suites.is_empty() { Suite::value_variants() } else { &options.suites };
    let mut arguments = vec![url];
    arguments.extend(options.flags());
    for suite in named {
        steps.run(&format!("interop {}{}", suite.name(), options.place), || {
            run_tests(&suite.command(tree, &arguments)?)
        });
    }
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Pika => "pika",
            Self::AioPika => "aio-pika",
            Self::Node => "node",
            Self::Go => "go",
        }
    }

    fn command(self, tree: &Tree, arguments: &[&str]) -> Result<Expression> {
        match self {
            Self::Pika => python(tree, "interop/python/pika_suite.py", arguments),
            Self::AioPika => python(tree, "interop/python/aio_pika_suite.py", arguments),
            Self::Node => node(tree, arguments),
            Self::Go => go(tree, arguments),
        }
    }
}

fn python(tree: &Tree, script: &str, arguments: &[&str]) -> Result<Expression> {
    let python = prerequisites::python(tree)?;
    Ok(cmd(python, [&["-u", "-B", script], arguments].concat()).dir(tree.root()).stdin_null())
}

fn node(tree: &Tree, arguments: &[&str]) -> Result<Expression> {
    let modules = prerequisites::node_modules(tree)?;
    let line = [&["interop/node/amqplib_suite.js"], arguments].concat();
    Ok(cmd("node", line).env("NODE_PATH", modules).dir(tree.root()).stdin_null())
}

/// Debian's package of the client lies in a GOPATH of its own, from the days before modules.
fn go(tree: &Tree, arguments: &[&str]) -> Result<Expression> {
    let program = tree.target("interop/go/notes");
    cmd!("go", "build", "-o", &program, ".")
        .dir(tree.root().join("interop/go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", tree.target("interop/go/cache"))
        .env("GOFLAGS", "")
        .stdin_null()
        .run()
        .context("the Go program does not build")?;
    Ok(cmd(program, arguments).stdin_null())
}
