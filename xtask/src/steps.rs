//! A chore is a list of named steps. This module gives each its heading and its duration, goes on after a
//! failure so that one run tells everything, and closes with a summary and the whole's counts.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::counts::Counts;

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
        let total = self.done.iter().fold(Counts::default(), |sum, step| sum + step.counts);
        println!("\n{total}");
        let failed: Vec<_> = self.done.iter().filter(|step| step.failure.is_some()).collect();
        if let Some(first) = failed.first() {
            bail!("{} of {} steps failed, the first was {}", failed.len(), self.done.len(), first.name);
        }
        Ok(())
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
    match outcome {
        Ok(counts) if counts.failed > 0 => (counts, Some(format!("{} failed", counts.failed))),
        Ok(counts) if counts.is_empty() => (Counts { passed: 1, failed: 0 }, None),
        Ok(counts) => (counts, None),
        Err(error) => (Counts { passed: 0, failed: 1 }, Some(format!("{error:#}"))),
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_counts_nothing_counts_as_one() {
        assert_eq!(judge(Ok(Counts::default())).0, Counts { passed: 1, failed: 0 });
        assert_eq!(judge(Err(anyhow::anyhow!("no"))).0, Counts { passed: 0, failed: 1 });
    }

    #[test]
    fn one_failed_step_fails_the_chore_and_the_others_still_run() {
        let mut steps = Steps::default();
        assert!(!steps.run("first", || bail!("broken")));
        assert!(steps.run("second", || Ok(Counts::default())));
        assert!(steps.finish().is_err());
    }
}
