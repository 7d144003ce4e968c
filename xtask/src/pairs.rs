//! The tests that have to pass on every pair of broker and database: the bus and the systems, because any will do for
//! them. And the interop and conformance suites on RabbitMQ, because what they ask of Leveret must be what RabbitMQ does.

use anyhow::Result;
use duct::Expression;

use crate::conformance;
use crate::counts::{Counts, run_tests};
use crate::interop;
use crate::prerequisites;
use crate::services::{Instance, Name};
use crate::steps::Steps;
use crate::test;
use crate::tree::Tree;

/// The packages whose tests heed the variable of the broker, and those that heed the database's too.
const ON_ANY_BROKER: &[&str] = &["leveret-bus", "leveret-signup", "leveret-transfer", "leveret-orders"];
const ON_ANY_DATABASE: &[&str] = &["leveret-bus", "leveret-signup", "leveret-transfer", "leveret-orders"];
/// Without the first the tests start Leveret in their own process, without the second they use SQLite.
const BROKER: &str = "LEVERET_TEST_AMQP_URL";
const DATABASE: &str = "LEVERET_TEST_DATABASE_URL";
/// The command that kills the broker of the first and starts it again.
const CRASH: &str = "LEVERET_TEST_CRASH";
const MANAGEMENT: &str = "LEVERET_TEST_MANAGEMENT_URL";
/// A test program of the leveret binary, and the only test of it that is run, if not all are.
type Program = (&'static str, Option<&'static str>);
/// Its other broker is the variable's.
const MIGRATION: Program = ("migrate", None);
/// Looks at the variables' broker too.
const SHAPES: Program = ("management", Some("the_api_has_rabbitmqs_shapes"));

/// Starts private servers, runs the tests on each pair but the one of the plain test run, and ends those servers that
/// did not run already.
pub(crate) fn run_steps(tree: &Tree, steps: &mut Steps) {
    let servers = Servers::up(tree, steps);
    let databases = [None, servers.mariadb.as_ref(), servers.postgres.as_ref()];
    for broker in [None, servers.rabbitmq.as_ref()] {
        for database in databases {
            if broker.is_some() || database.is_some() {
                run_pair(tree, steps, broker, database);
            }
        }
    }
    if let (Some(rabbitmq), Some(mariadb)) = (&servers.rabbitmq, &servers.mariadb) {
        let flags = ["--amqp-url", &rabbitmq.url, "--mysql-url", &mariadb.url];
        steps.run("leveret demo --once on RabbitMQ and MariaDB", || test::demo(tree, &flags));
    }
    if let Some(rabbitmq) = &servers.rabbitmq {
        steps.run("leveret migrate, from and to RabbitMQ", || {
            run_tests(&one(tree, MIGRATION).env(BROKER, &rabbitmq.url))
        });
        steps.run("RabbitMQ's HTTP API is what is recorded of it", || {
            let shapes = one(tree, SHAPES).env(BROKER, &rabbitmq.url);
            run_tests(&shapes.env(MANAGEMENT, rabbitmq.instance.management_url()?))
        });
        interop::drive(tree, &interop::Options::rabbitmq(rabbitmq.url.clone()), steps);
        conformance::run_step(tree, &rabbitmq.url, steps);
        steps.run("the bus while RabbitMQ is killed", || {
            run_tests(&killing(tree).env(BROKER, &rabbitmq.url).env(CRASH, crash_command()?))
        });
    }
    servers.down(steps);
}

/// The servers that could be started.
struct Servers {
    mariadb: Option<Server>,
    postgres: Option<Server>,
    rabbitmq: Option<Server>,
}

struct Server {
    name: &'static str,
    instance: Instance,
    url: String,
    was_running: bool,
}

impl Servers {
    fn up(tree: &Tree, steps: &mut Steps) -> Self {
        let mut up = |name, title| Server::up(tree, steps, name, title);
        Self {
            mariadb: up(Name::Mariadb, "MariaDB"),
            postgres: up(Name::Postgres, "PostgreSQL"),
            rabbitmq: up(Name::Rabbitmq, "RabbitMQ"),
        }
    }

    fn down(self, steps: &mut Steps) {
        for server in [self.mariadb, self.postgres, self.rabbitmq].into_iter().flatten() {
            if !server.was_running {
                steps.run(&format!("{} down", server.name), || done(server.instance.down()));
            }
        }
    }
}

impl Server {
    /// A server that does not start is a failed step, and its pairs are left out.
    fn up(tree: &Tree, steps: &mut Steps, service: Name, name: &'static str) -> Option<Self> {
        let instance = Instance::of(tree, service);
        let was_running = instance.is_running().unwrap_or(false);
        let is_up = steps.run(&format!("{name} up"), || done(instance.up_empty()));
        let url = is_up.then(|| instance.url().ok()).flatten()?;
        Some(Self { name, instance, url, was_running })
    }
}

fn run_pair(tree: &Tree, steps: &mut Steps, broker: Option<&Server>, database: Option<&Server>) {
    let name = |server: Option<&Server>, ours| server.map_or(ours, |server| server.name);
    let title = format!("patterns on {} and {}", name(broker, "Leveret"), name(database, "SQLite"));
    let url = |expression: Expression, variable, server: Option<&Server>| match server {
        Some(server) => expression.env(variable, &server.url),
        None => expression,
    };
    let packages = if database.is_some() { ON_ANY_DATABASE } else { ON_ANY_BROKER };
    steps.run(&title, || run_tests(&url(url(tests(tree, packages), BROKER, broker), DATABASE, database)));
}

/// Picked by a filter where it can be done, because a build of these packages alone would compile everything anew.
fn tests(tree: &Tree, packages: &[&str]) -> Expression {
    if prerequisites::succeeds(&["cargo", "nextest", "--version"]) {
        let filter = packages
            .iter()
            .map(|package| format!("(package({package}) & kind(test))"))
            .collect::<Vec<_>>()
            .join(" + ");
        return tree.cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "-E", &filter]);
    }
    let packages = packages.iter().flat_map(|package| ["-p", package]);
    let arguments: Vec<_> =
        ["test", "--no-fail-fast"].into_iter().chain(packages).chain(["--test", "*"]).collect();
    tree.cargo(&arguments)
}

fn one(tree: &Tree, (program, test): Program) -> Expression {
    if prerequisites::succeeds(&["cargo", "nextest", "--version"]) {
        let test = test.map(|test| format!(" & test(={test})")).unwrap_or_default();
        let filter = format!("package(leveret) & binary({program}){test}");
        return tree.cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "-E", &filter]);
    }
    let arguments = ["test", "--workspace", "--test", program, "--"].into_iter().chain(test);
    tree.cargo(&arguments.collect::<Vec<_>>())
}

/// The bus's test that kills the broker again and again.
fn killing(tree: &Tree) -> Expression {
    if prerequisites::succeeds(&["cargo", "nextest", "--version"]) {
        let filter = "package(leveret) & binary(bus) & test(killed_mid_publish)";
        return tree.cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "-E", filter]);
    }
    tree.cargo(&["test", "--workspace", "--test", "bus", "killed_mid_publish"])
}

/// This very program, for the shell.
fn crash_command() -> Result<String> {
    let program = std::env::current_exe()?;
    Ok(format!("'{}' services crash rabbitmq", program.display()))
}

fn done(outcome: Result<()>) -> Result<Counts> {
    outcome.map(|()| Counts::default())
}
