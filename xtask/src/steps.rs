//! A chore is a list of named steps. This module gives each its heading and its duration, goes on after a
//! failure so that one run tells everything, and closes with a summary and the whole's counts.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::counts::Counts;

/// Failures of one step that are named.
const MOST_NAMED: usize = 20;

/// What the steps of one chore have come to so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: String,
    took: Duration,
    counts: Counts,
    failure: Option<String>,
}

impl Steps {
    /// Runs one step. A step that counts nothing counts as one test. True when it succeeded.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<Counts>) -> bool {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let outcome = step();
        let took = start.elapsed();
        let (counts, failure) = judge(outcome);
        match &failure {
            None => eprintln!("=== {name}: ok in {}", seconds(took)),
            Some(why) => eprintln!("=== {name}: FAILED in {}: {why}", seconds(took)),
        }
        let succeeded = failure.is_none();
        self.done.push(Step { name: name.into(), took, counts, failure });
        succeeded
    }

    /// Records a step that another step's failure makes impossible, as failed.
    pub(crate) fn give_up(&mut self, name: &str, because: &str) {
        self.run(name, || bail!("not run, because {because}"));
    }

    /// Prints the summary. The last line is the count of the whole.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\nSummary");
        for step in &self.done {
            println!("  {step}");
        }
        let total = self.done.iter().fold(Counts::default(), |sum, step| sum + step.counts.clone());
        println!("\n{total}");
        let failed: Vec<_> = self.done.iter().filter(|step| step.failure.is_some()).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = failed.iter().map(|step| step.name.as_str()).collect();
        bail!("{} of {} steps failed: {}", failed.len(), self.done.len(), names.join("; "))
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.failure.is_some() { "FAILED" } else { "ok" };
        write!(f, "{mark:6} {:>8}  {} ({})", seconds(self.took), self.name, self.counts)?;
        self.failure.as_ref().map_or(Ok(()), |why| write!(f, "\n         {why}"))
    }
}

fn judge(outcome: Result<Counts>) -> (Counts, Option<String>) {
    let one = |passed, failed| Counts { passed, failed, failures: Vec::new() };
    match outcome {
        Ok(counts) if counts.failed > 0 => {
            let why = why(&counts);
            (counts, Some(why))
        }
        Ok(counts) if counts.is_empty() => (one(1, 0), None),
        Ok(counts) => (counts, None),
        Err(error) => (one(0, 1), Some(format!("{error:#}"))),
    }
}

/// What failed, by name. The middle of a log may be cut, so that it is said where the step ends and once more in the summary.
fn why(counts: &Counts) -> String {
    let mut why = format!("{} failed", counts.failed);
    for failure in counts.failures.iter().take(MOST_NAMED) {
        why += &format!("\n         - {}", failure.replace('\n', "\n           "));
    }
    if counts.failures.len() > MOST_NAMED {
        why += &format!("\n         and {} more", counts.failures.len() - MOST_NAMED);
    }
    why
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_counts_nothing_counts_as_one() {
        let counted = |outcome| {
            let (counts, _) = judge(outcome);
            (counts.passed, counts.failed)
        };
        assert_eq!(counted(Ok(Counts::default())), (1, 0));
        assert_eq!(counted(Err(anyhow::anyhow!("no"))), (0, 1));
    }

    #[test]
    fn one_failed_step_fails_the_chore_and_the_others_still_run() {
        let mut steps = Steps::default();
        assert!(!steps.run("first", || bail!("broken")));
        assert!(steps.run("second", || Ok(Counts::default())));
        assert_eq!(steps.finish().unwrap_err().to_string(), "1 of 2 steps failed: first");
    }

    #[test]
    fn a_step_that_fails_names_what_failed() {
        let mut counts = Counts { passed: 5, ..Counts::default() };
        counts.fail("ttl/x fails on RabbitMQ:\n  line 5".into());
        let why = judge(Ok(counts)).1.unwrap();
        assert_eq!(why, "1 failed\n         - ttl/x fails on RabbitMQ:\n             line 5");
    }
}
