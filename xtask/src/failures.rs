//! Which tests failed, read out of what a runner prints, and why where it says so in a line. So that a summary names them: the
//! runner's own words stand far above it, in a part of a log that may be cut. Knows the lines of nextest, of cargo test and of the
//! interop suites.

/// The failures of one runner so far.
#[derive(Default)]
pub(crate) struct Failures {
    failures: Vec<Failure>,
    /// Whose output comes, while it has not said why it failed.
    speaking: Option<usize>,
    /// The next line is what that one panicked with.
    is_reason_next: bool,
}

struct Failure {
    name: String,
    why: Option<String>,
}

impl Failures {
    /// Takes in the next line.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(name) = nextest(line).or_else(|| cargo(line)) {
            self.speak(name);
        } else if let Some((name, why)) = suite(line) {
            self.failures.push(Failure { name: name.into(), why: Some(why.into()) });
        } else if let Some(index) = self.speaking {
            self.hear(index, line.trim());
        }
    }

    /// The failures, each with its reason.
    pub(crate) fn list(self) -> Vec<String> {
        let shown = |failure: Failure| match failure.why {
            Some(why) => format!("{}: {why}", failure.name),
            None => failure.name,
        };
        self.failures.into_iter().map(shown).collect()
    }

    fn speak(&mut self, name: &str) {
        let known = self.failures.iter().position(|failure| failure.name == name);
        let index = known.unwrap_or_else(|| {
            self.failures.push(Failure { name: name.into(), why: None });
            self.failures.len() - 1
        });
        self.is_reason_next = false;
        self.speaking = self.failures[index].why.is_none().then_some(index);
    }

    /// The first panic is the test's reason; its text stands in the line after the one with its place. A test that returns an error
    /// says it in one line.
    fn hear(&mut self, index: usize, line: &str) {
        let why = &mut self.failures[index].why;
        if let Some(place) = why.as_mut().filter(|_| self.is_reason_next) {
            *place = format!("{place} {line}");
            (self.speaking, self.is_reason_next) = (None, false);
        } else if let Some((_, place)) = line.split_once(" panicked at ") {
            *why = Some(place.into());
            self.is_reason_next = true;
        } else if let Some(error) = line.strip_prefix("Error: ") {
            *why = Some(error.into());
            self.speaking = None;
        }
    }
}

/// `        FAIL [   0.198s] (2/5) leveret::management what_it_is`, and the like for what ran out of time or was killed.
fn nextest(line: &str) -> Option<&str> {
    const ENDED_BADLY: [&str; 6] = ["FAIL", "TIMEOUT", "SIG", "ABORT", "XFAIL", "LEAK-FAIL"];
    let (status, rest) = line.split_once(" [")?;
    let is_bad = ENDED_BADLY.iter().any(|bad| status.trim_start().starts_with(bad));
    let name = rest.split_once("s] ")?.1;
    let name = name.split_once(") ").map_or(name, |(_, name)| name);
    is_bad.then(|| name.trim())
}

/// `test what_it_is ... FAILED`, and `---- what_it_is stdout ----` before what it printed.
fn cargo(line: &str) -> Option<&str> {
    let listed = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"));
    listed.or_else(|| line.strip_prefix("---- ")?.strip_suffix(" stdout ----"))
}

/// `pika: what it is: FAILED: why`.
fn suite(line: &str) -> Option<(&str, &str)> {
    line.split_once(": FAILED: ").filter(|(name, _)| !name.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(output: &str, expected: &[&str]) {
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.read(line));
        assert_eq!(failures.list(), expected);
    }

    #[test]
    fn nextest_names_what_failed_and_what_it_panicked_with() {
        let output = "
        PASS [   0.004s] (1/5) xtask counts
        FAIL [   0.198s] (2/5) leveret::management refused
  stdout ───

    running 1 test
    test refused ... FAILED

  stderr ───
    thread 'refused' (18295) panicked at src/lib.rs:1:36:
    assertion `left == right` failed: why
      left: 1
    thread 'refused' panicked at src/lib.rs:9:9:
    again
     SIGABRT [   0.392s] (3/5) leveret abort
 TERMINATING [>180.000s] (───) leveret slow
     TIMEOUT [ 180.070s] (4/5) leveret slow
        FAIL [   0.198s] (5/5) leveret error
    Error: no broker
────────────
     Summary [   3.117s] 5 tests run: 1 passed, 3 failed, 1 timed out, 0 skipped
        FAIL [   0.198s] (2/5) leveret::management refused
     SIGABRT [   0.392s] (3/5) leveret abort";
        read(
            output,
            &[
                "leveret::management refused: src/lib.rs:1:36: assertion `left == right` failed: why",
                "leveret abort",
                "leveret slow",
                "leveret error: no broker",
            ],
        );
    }

    #[test]
    fn cargo_test_names_what_failed_before_it_shows_why() {
        let output = "
test first ... FAILED
test good ... ok
test second ... FAILED

---- first stdout ----
Error: \"no\"

---- second stdout ----
out
thread 'second' panicked at src/lib.rs:1:36:
why
  left: 1";
        read(output, &["first: \"no\"", "second: src/lib.rs:1:36: why"]);
    }

    #[test]
    fn the_suites_say_why_in_the_same_line() {
        read("pika: qos: FAILED: no answer\npika: 3 passed, 1 failed", &["pika: qos: no answer"]);
        read("pika: 3 passed, 0 failed\ntest result: ok. 1 passed", &[]);
    }
}
