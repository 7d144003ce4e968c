//! What the management costs: how soon its pages come while there are many queues and messages flow, and how much slower
//! messages flow for being counted.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use duct::{Expression, cmd};
use serde_json::Value;

use crate::broker::Broker;
use crate::tree::Tree;

/// Messages a second that flow while pages are asked for.
const LOAD: u32 = 100_000;
/// Requests for each figure.
const REQUESTS: usize = 200;
/// Runs of each kind that rates are compared of.
const RUNS: usize = 5;

/// What is asked for, and what it is to people.
const PAGES: [(&str, &str); 5] = [
    ("overview", "/api/overview"),
    ("first page of queues", "/api/queues?page=1&page_size=100"),
    ("found by name", "/api/queues?page=1&page_size=100&name=queue-777"),
    ("the longest queues", "/api/queues?page=1&page_size=100&sort=messages&sort_reverse=true"),
    ("metrics", "/metrics"),
];

/// Asks a broker that has the queues already for its pages while messages flow.
pub(super) fn pages(broker: &Broker, binary: &Path, (queues, seconds): (u32, u32)) -> Result<()> {
    let load = perf(binary, &broker.url, &["--rate", &LOAD.to_string()], seconds).start()?;
    let (user, password) = Broker::login();
    let login = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    let agent = ureq::Agent::new_with_defaults();
    let amidst = format!("/api/queues?page={}&page_size=100&sort=name", (queues / 200).max(1));
    for (name, path) in PAGES.into_iter().chain([("a page amidst", amidst.as_str())]) {
        let url = format!("http://{}{path}", broker.management);
        let mut took = Vec::with_capacity(REQUESTS);
        let mut bytes = 0;
        for _ in 0..REQUESTS {
            let start = Instant::now();
            let mut answer = agent.get(&url).header("authorization", &login).call()?;
            bytes = answer.body_mut().read_to_vec()?.len();
            took.push(start.elapsed());
        }
        took.sort_unstable();
        let at = |percent: usize| ms(took[(took.len() - 1) * percent / 100]);
        println!("{name}: p50 {:.2} ms, p99 {:.2} ms, {bytes} bytes", at(50), at(99));
    }
    ensure!(load.try_wait()?.is_none(), "the load has ended before the pages were asked for: more --seconds");
    let report = load.wait()?;
    println!("load meanwhile: {} messages a second", rate(&report.stdout)?);
    Ok(())
}

/// The rate of the plain path, with the management and without, in turns.
pub(super) fn statistics(tree: &Tree, binary: &Path, seconds: u32) -> Result<()> {
    let home = tree.target("scale");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        for (management, rates) in [("127.0.0.1:0", &mut with), ("off", &mut without)] {
            let broker = Broker::launch_with(binary, None, &home.join("rate.log"), management)?;
            let plain = ["--size", "16", "--confirm", "0", "--autoack"];
            let report = perf(binary, &broker.url, &plain, seconds).run()?;
            rates.push(rate(&report.stdout)?);
            broker.stop()?;
        }
    }
    let (with, without) = (median(with), median(without));
    let cost = 100.0 * (1.0 - with as f64 / without as f64);
    println!("statistics: {with} messages a second with, {without} without, {cost:.1} % less");
    Ok(())
}

fn perf(binary: &Path, url: &str, flags: &[&str], seconds: u32) -> Expression {
    let seconds = seconds.to_string();
    let line = [&["perf", "--url", url, "--json", "--seconds", &seconds], flags].concat();
    cmd(binary, line).stdin_null().stdout_capture()
}

fn rate(report: &[u8]) -> Result<u64> {
    let report: Value = serde_json::from_slice(report)?;
    report["consume_rate"].as_u64().context("a rate in the report")
}

fn median(mut rates: Vec<u64>) -> u64 {
    rates.sort_unstable();
    rates[rates.len() / 2]
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
