//! `cargo xtask conformance`: the cases in `conformance/`, played on any broker; or on Leveret and RabbitMQ side by
//! side, where every difference has to stand in docs/compatibility.md, and nothing that is no difference.

mod arrival;
pub(crate) mod client;
mod listed;
mod method;
mod play;
mod polls;
mod script;
mod syntax;
mod value;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::broker::Broker;
use crate::counts::Counts;
use crate::services::{Instance, Name};
use crate::steps::Steps;
use crate::tree::Tree;
use client::Address;
use listed::Listed;
use play::{Played, play};
use script::{Case, Kin};

/// Cases that are played at a time: most of their time is spent waiting.
const AT_A_TIME: usize = 24;

/// Which broker, and which cases.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this broker, as amqp://USER:PASSWORD@HOST:PORT
    #[arg(long)]
    amqp_url: Option<String>,
    /// The RabbitMQ to compare with, instead of a private one
    #[arg(long, conflicts_with = "amqp_url")]
    rabbitmq_url: Option<String>,
    /// Cases, or files of cases; all when none is named. One case alone is shown frame by frame
    cases: Vec<String>,
}

/// Runs the suite as a chore of its own.
pub(crate) fn run(tree: &Tree, options: &Options) -> Result<()> {
    let cases = chosen(tree, options)?;
    if let Some(url) = &options.amqp_url {
        return alone(&cases, url);
    }
    if let Some(url) = &options.rabbitmq_url {
        return side_by_side(tree, &cases, url, options.cases.is_empty()).and_then(judge);
    }
    let instance = Instance::of(tree, Name::Rabbitmq);
    let was_running = instance.is_running()?;
    instance.up()?;
    let outcome = side_by_side(tree, &cases, &instance.url()?, options.cases.is_empty());
    if !was_running {
        instance.down()?;
    }
    judge(outcome?)
}

/// Runs the whole suite side by side, as a step of the tests.
pub(crate) fn run_step(tree: &Tree, rabbitmq_url: &str, steps: &mut Steps) {
    steps.run("conformance, side by side with RabbitMQ", || {
        let cases = script::read_all(&tree.root().join("conformance"))?;
        side_by_side(tree, &cases, rabbitmq_url, true)
    });
}

fn judge(counts: Counts) -> Result<()> {
    for failure in &counts.failures {
        println!("{failure}");
    }
    println!("conformance: {counts}");
    ensure!(counts.failed == 0, "{} of the cases are not as they should be", counts.failed);
    Ok(())
}

fn chosen(tree: &Tree, options: &Options) -> Result<Vec<Case>> {
    let mut cases = script::read_all(&tree.root().join("conformance"))?;
    if !options.cases.is_empty() {
        let is_meant = |case: &Case| {
            let file = case.name.split('/').next();
            options.cases.iter().any(|name| *name == case.name || Some(name.as_str()) == file)
        };
        cases.retain(is_meant);
        ensure!(!cases.is_empty(), "no case or file has that name");
    }
    Ok(cases)
}

/// Plays the cases on one broker and holds it to what its kind is to do.
fn alone(cases: &[Case], url: &str) -> Result<()> {
    let address = Address::parse(url)?;
    let (product, version) = play::who(&address)?;
    let kin = if product == "Leveret" { Kin::Leveret } else { Kin::RabbitMq };
    let mut counts = Counts::default();
    for (case, played) in &play_all(cases, kin, &address) {
        if cases.len() == 1 {
            print_transcript(&product, played);
        }
        match &played.failure {
            None => counts.passed += 1,
            Some(failure) => {
                let failure = format!("{} fails on {product}: {}\n  {failure}", case.name, case.rule);
                counts.fail(failure);
            }
        }
    }
    println!("{product} {version}");
    judge(counts)
}

/// Plays the cases on both brokers and holds the differences against the list of them.
fn side_by_side(tree: &Tree, cases: &[Case], rabbitmq_url: &str, is_all: bool) -> Result<Counts> {
    let listed = listed::read(tree)?;
    let rabbitmq = Address::parse(rabbitmq_url)?;
    let broker = Broker::start(tree)?;
    let outcomes = Outcomes::of(cases, &Address::parse(&broker.url)?, &rabbitmq);
    broker.stop()?;
    let outcomes = outcomes?;
    if cases.len() == 1 {
        outcomes.print_transcripts();
    }
    let problems = find_problems(cases, &outcomes, &listed, is_all);
    println!(
        "{} cases on RabbitMQ, {} on Leveret; {} differences on purpose, {} cases not there yet",
        outcomes.on_rabbitmq.len(),
        outcomes.on_leveret.len(),
        cases.iter().filter(|case| is_difference(case)).count(),
        cases.iter().filter(|case| listed.is_missing(&case.name)).count(),
    );
    let failed: BTreeSet<_> = problems.iter().map(|(case, _)| case).collect();
    let failed = failed.len() as u64;
    let failures = problems.iter().map(|(case, problem)| format!("{case} {problem}")).collect();
    Ok(Counts { passed: (cases.len() as u64).saturating_sub(failed), failed, failures })
}

/// How the cases went, each list with the cases that it is about.
struct Outcomes<'a> {
    on_rabbitmq: Vec<(&'a Case, Played)>,
    on_leveret: Vec<(&'a Case, Played)>,
    /// Where a difference is claimed: what Leveret says to RabbitMQ's lines.
    leveret_as_rabbitmq: Vec<(&'a Case, Played)>,
}

impl<'a> Outcomes<'a> {
    fn of(cases: &'a [Case], leveret: &Address, rabbitmq: &Address) -> Result<Self> {
        let is_claimed = |case: &Case| case.differs() || case.only == Some(Kin::RabbitMq);
        let both = std::thread::scope(|scope| {
            let reference = scope.spawn(|| play_all(cases, Kin::RabbitMq, rabbitmq));
            let ours = play_all(cases, Kin::Leveret, leveret);
            let claimed = cases.iter().filter(|case| is_claimed(case)).map(|case| (case, Kin::RabbitMq));
            (reference.join(), ours, play_some(&claimed.collect::<Vec<_>>(), leveret))
        });
        let (Ok(on_rabbitmq), on_leveret, leveret_as_rabbitmq) = both else {
            bail!("a case made its player panic");
        };
        Ok(Self { on_rabbitmq, on_leveret, leveret_as_rabbitmq })
    }

    fn print_transcripts(&self) {
        self.on_rabbitmq.iter().for_each(|(_, played)| print_transcript("RabbitMQ", played));
        self.on_leveret.iter().for_each(|(_, played)| print_transcript("Leveret", played));
    }
}

/// What is not as it should be, by case.
fn find_problems(
    cases: &[Case],
    outcomes: &Outcomes<'_>,
    listed: &Listed,
    is_all: bool,
) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut add = |case: &str, problem: String| problems.push((case.to_owned(), problem));
    for (case, played) in &outcomes.on_rabbitmq {
        if let Some(failure) = &played.failure {
            add(&case.name, format!("fails on RabbitMQ, the reference:\n  {failure}"));
        }
    }
    for (case, played) in &outcomes.on_leveret {
        match (&played.failure, listed.is_missing(&case.name)) {
            (Some(failure), false) => add(&case.name, format!("fails on Leveret:\n  {failure}")),
            (None, true) => add(&case.name, "passes on Leveret, but is listed as not there yet".into()),
            _ => {}
        }
    }
    for (case, _) in outcomes.leveret_as_rabbitmq.iter().filter(|(_, played)| played.failure.is_none()) {
        add(&case.name, "claims a difference, but Leveret does what RabbitMQ does".into());
    }
    for case in cases {
        match (is_difference(case), listed.is_different(&case.name)) {
            (true, false) => {
                add(&case.name, "is a difference that docs/compatibility.md does not list".into());
            }
            (false, true) => add(&case.name, "is no difference, but docs/compatibility.md lists it".into()),
            _ => {}
        }
    }
    if is_all {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        for name in listed.unknown(&names) {
            add(name, "is named by docs/compatibility.md and is no case".into());
        }
    }
    problems
}

/// Whether a broker of that kind has what the case is about.
fn has(kin: Kin, case: &Case) -> bool {
    case.only.is_none_or(|only| only == kin)
}

/// Whether the brokers are said to do different things in the case.
fn is_difference(case: &Case) -> bool {
    case.differs() || case.only.is_some()
}

/// Plays the cases that are for that kind of broker.
fn play_all<'a>(cases: &'a [Case], kin: Kin, address: &Address) -> Vec<(&'a Case, Played)> {
    let plays: Vec<_> = cases.iter().filter(|case| has(kin, case)).map(|case| (case, kin)).collect();
    play_some(&plays, address)
}

/// Plays cases, several at a time; the outcomes are in the order of the cases.
fn play_some<'a>(plays: &[(&'a Case, Kin)], address: &Address) -> Vec<(&'a Case, Played)> {
    /// No two plays of a run have the same names, on whichever broker.
    static PLAYED: AtomicUsize = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(plays.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((case, kin)) = plays.get(index) else { return };
                    let number = PLAYED.fetch_add(1, Ordering::Relaxed);
                    let played = play(case, *kin, address, &format!("c{:x}n{number}", std::process::id()));
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, *case, played));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, ..)| *index);
    done.into_iter().map(|(_, case, played)| (case, played)).collect()
}

fn print_transcript(broker: &str, played: &Played) {
    println!("{broker}");
    for line in &played.transcript {
        println!("  {line}");
    }
}
