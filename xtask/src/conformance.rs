//! `cargo xtask conformance`: the cases in `conformance/`, played on any broker; or on Leveret and RabbitMQ side by
//! side, where every difference has to stand in docs/compatibility.md, and nothing that is no difference.

mod client;
mod listed;
mod method;
mod play;
mod script;
mod syntax;
mod value;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
        return side_by_side(tree, &cases, url, !options.cases.is_empty()).and_then(judge);
    }
    let instance = Instance::of(tree, Name::Rabbitmq);
    let was_running = instance.is_running()?;
    instance.up()?;
    let outcome = side_by_side(tree, &cases, &instance.url(), !options.cases.is_empty());
    if !was_running {
        instance.down()?;
    }
    judge(outcome?)
}

/// Runs the whole suite side by side, as a step of the tests.
pub(crate) fn run_step(tree: &Tree, rabbitmq_url: &str, steps: &mut Steps) {
    steps.run("conformance, side by side with RabbitMQ", || {
        let cases = script::read_all(&tree.root().join("conformance"))?;
        side_by_side(tree, &cases, rabbitmq_url, false)
    });
}

fn judge(counts: Counts) -> Result<()> {
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
    let plays: Vec<_> = cases.iter().filter(|case| has(kin, case)).map(|case| (case, kin)).collect();
    let played = play_all(&plays, &address);
    let mut counts = Counts::default();
    for ((case, _), played) in plays.iter().zip(&played) {
        if cases.len() == 1 {
            print_transcript(&product, played);
        }
        match &played.failure {
            None => counts.passed += 1,
            Some(failure) => {
                counts.failed += 1;
                print_failure(case, &product, failure);
            }
        }
    }
    println!("{product} {version}");
    judge(counts)
}

/// Plays the cases on both brokers and holds the differences against the list of them.
fn side_by_side(tree: &Tree, cases: &[Case], rabbitmq_url: &str, some_only: bool) -> Result<Counts> {
    let broker = Broker::start(tree)?;
    let addresses = (Address::parse(&broker.url)?, Address::parse(rabbitmq_url)?);
    let listed = listed::read(tree)?;
    let counts = compare(cases, &addresses, &listed, some_only);
    broker.stop()?;
    counts
}

fn compare(
    cases: &[Case],
    (leveret, rabbitmq): &(Address, Address),
    listed: &Listed,
    some_only: bool,
) -> Result<Counts> {
    let on_rabbitmq: Vec<_> = lines_for(cases, Kin::RabbitMq).collect();
    let on_leveret: Vec<_> = lines_for(cases, Kin::Leveret).collect();
    // What RabbitMQ does must fail on Leveret where a difference is claimed.
    let claimed: Vec<_> = on_rabbitmq.iter().copied().filter(|(case, _)| is_claimed(case)).collect();
    let both = std::thread::scope(|scope| {
        let reference = scope.spawn(|| play_all(&on_rabbitmq, rabbitmq));
        let ours = play_all(&[on_leveret.as_slice(), &claimed].concat(), leveret);
        (reference.join(), ours)
    });
    let (Ok(reference), mut ours) = both else { bail!("a case made its player panic") };
    let as_rabbitmq = ours.split_off(on_leveret.len());
    if cases.len() == 1 {
        reference.iter().for_each(|played| print_transcript("RabbitMQ", played));
        ours.iter().for_each(|played| print_transcript("Leveret", played));
    }

    let mut problems: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut add = |case: &str, problem: String| {
        let name = cases.iter().map(|it| it.name.as_str()).find(|name| *name == case).unwrap_or("the list");
        problems.entry(name).or_default().push(problem);
    };
    for ((case, _), played) in on_rabbitmq.iter().zip(&reference) {
        if let Some(failure) = &played.failure {
            add(&case.name, format!("fails on RabbitMQ, the reference:\n  {failure}"));
        }
    }
    for ((case, _), played) in on_leveret.iter().zip(&ours) {
        match (&played.failure, listed.is_missing(&case.name)) {
            (Some(failure), false) => add(&case.name, format!("fails on Leveret:\n  {failure}")),
            (None, true) => add(&case.name, "passes on Leveret, but is listed as not there yet".into()),
            _ => {}
        }
    }
    for ((case, _), played) in claimed.iter().zip(&as_rabbitmq) {
        if played.failure.is_none() {
            add(&case.name, "claims a difference, but Leveret does what RabbitMQ does".into());
        }
    }
    for case in cases {
        match (is_difference(case), listed.is_different(&case.name)) {
            (true, false) => {
                add(&case.name, "is a difference that docs/compatibility.md does not list".into())
            }
            (false, true) => add(&case.name, "is no difference, but docs/compatibility.md lists it".into()),
            _ => {}
        }
    }
    if !some_only {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        for name in listed.unknown(&names) {
            add("", format!("docs/compatibility.md names {name}, which is no case"));
        }
    }
    for (case, problems) in &problems {
        for problem in problems {
            println!("{case} {problem}");
        }
    }
    let differences = cases.iter().filter(|case| is_difference(case)).count();
    let failed = problems.len() as u64;
    println!(
        "{} cases on RabbitMQ, {} on Leveret, {differences} differences on purpose, {} not there yet",
        on_rabbitmq.len(),
        on_leveret.len(),
        listed.missing.len()
    );
    Ok(Counts { passed: cases.len() as u64 - failed.min(cases.len() as u64), failed })
}

fn lines_for(cases: &[Case], kin: Kin) -> impl Iterator<Item = (&Case, Kin)> {
    cases.iter().filter(move |case| has(kin, case)).map(move |case| (case, kin))
}

/// Whether a broker of that kind has what the case is about.
fn has(kin: Kin, case: &Case) -> bool {
    case.only.is_none_or(|only| only == kin)
}

/// Whether the brokers are said to do different things in the case.
fn is_difference(case: &Case) -> bool {
    case.differs() || case.only.is_some()
}

/// Whether Leveret is said not to do what RabbitMQ does in the case.
fn is_claimed(case: &Case) -> bool {
    case.differs() || case.only == Some(Kin::RabbitMq)
}

/// Plays cases, several at a time; the outcomes are in the order of the cases.
fn play_all(plays: &[(&Case, Kin)], address: &Address) -> Vec<Played> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Played>>> = Mutex::new(plays.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(plays.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((case, kin)) = plays.get(index) else { return };
                    let prefix = format!("c{:x}n{index}", std::process::id());
                    let played = play(case, *kin, address, &prefix);
                    if let Ok(mut done) = done.lock() {
                        done[index] = Some(played);
                    }
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_default();
    done.into_iter().flatten().collect()
}

fn print_transcript(broker: &str, played: &Played) {
    println!("{broker}");
    for line in &played.transcript {
        println!("  {line}");
    }
}

fn print_failure(case: &Case, broker: &str, failure: &str) {
    println!("{} fails on {broker}: {}\n  {failure}", case.name, case.rule);
}
