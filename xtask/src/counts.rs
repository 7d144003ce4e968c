//! Runs a test runner, shows what it prints as it comes, and reads the counts out of its closing lines and the names of what
//! failed out of the others. It knows the closing lines of nextest, of cargo test, and the plain one of the interop suites.

use std::io::{BufRead, BufReader};
use std::ops::Add;

use anyhow::{Context, Result, bail};
use duct::Expression;

use crate::failures::Failures;

/// How many tests passed and failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Which failed and why, as far as it is known.
    pub(crate) failures: Vec<String>,
}

impl Counts {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One more that failed.
    pub(crate) fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            failures: [self.failures, other.failures].concat(),
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Runs a test runner to its end. One that counts no test is an error, and so is one that fails without
/// counting a failure (a build that breaks, say).
pub(crate) fn run_tests(runner: &Expression) -> Result<Counts> {
    let counts = run_counted(runner)?;
    if counts.is_empty() {
        bail!("the runner ended without counting a test");
    }
    Ok(counts)
}

/// As `run_tests`, for runners that may rightly find no test.
pub(crate) fn run_counted(runner: &Expression) -> Result<Counts> {
    let output = runner.stderr_to_stdout().unchecked().reader().context("the test runner does not start")?;
    let mut counts = Counts::default();
    let mut failures = Failures::default();
    for line in BufReader::new(&output).split(b'\n') {
        let line = line.context("the test runner's output broke off")?;
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        failures.read(&line);
        counts = counts + closing_counts(&line).unwrap_or_default();
    }
    counts.failures = failures.list();
    let status = output.try_wait()?.map(|ended| ended.status);
    match status {
        Some(status) if !status.success() && counts.failed == 0 => bail!("the runner ended with {status}"),
        _ => Ok(counts),
    }
}

/// The counts in a runner's closing line, `None` for any other line. What a failed test printed is shown
/// indented by nextest, and is no closing line.
fn closing_counts(line: &str) -> Option<Counts> {
    let is_closing = line.trim_start().starts_with("Summary [")
        || line.starts_with("test result: ")
        || is_plain_closing(line.trim_end());
    is_closing.then(|| Counts {
        passed: number_before(line, "passed"),
        // nextest names a test that ran out of time apart from one that failed.
        failed: number_before(line, "failed")
            + number_before(line, "timed out")
            + number_before(line, "exec failed"),
        failures: Vec::new(),
    })
}

fn is_plain_closing(line: &str) -> bool {
    let counts = line.split_once(": ").map_or(line, |(_, counts)| counts);
    let Some((passed, failed)) = counts.split_once(" passed, ") else { return false };
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    !line.starts_with(' ') && is_number(passed) && failed.strip_suffix(" failed").is_some_and(is_number)
}

fn number_before(line: &str, word: &str) -> u64 {
    let Some((before, _)) = line.split_once(&format!(" {word}")) else { return 0 };
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn counted(line: &str, passed: u64, failed: u64) {
        assert_eq!(closing_counts(line), Some(Counts { passed, failed, failures: Vec::new() }));
    }

    #[test]
    fn reads_the_closing_lines_of_each_runner() {
        counted("     Summary [   0.012s] 12 tests run: 11 passed, 1 failed, 3 skipped", 11, 1);
        counted(
            "     Summary [   9.112s] 4 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 0 skipped",
            2,
            2,
        );
        counted("     Summary [   0.012s] 1 test run: 1 passed, 0 skipped", 1, 0);
        counted("test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", 7, 0);
        counted("pika: 40 passed, 2 failed", 40, 2);
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in [
            "",
            "        PASS [   0.004s] xtask counts",
            "3 messages passed, none failed",
            "running 4 tests",
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 12 filtered out",
            "    pika: 3 passed, 1 failed",
        ] {
            assert_eq!(closing_counts(line), None, "{line}");
        }
    }
}
