//! What has happened, in plain words: told in the terminal as it happens, and kept for the page.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// The story so far. Cheap to clone.
#[derive(Clone)]
pub(super) struct Story {
    start: Instant,
    lines: Arc<Mutex<Vec<Line>>>,
}

/// One system's part of the story: the others tell theirs at the same time.
pub(super) struct Telling {
    story: Story,
    system: &'static str,
}

impl Telling {
    /// Something happened.
    pub(super) fn tell(&self, text: impl Into<String>) {
        self.add(Kind::Event, text.into());
    }

    /// Something was checked.
    pub(super) fn check(&self, holds: bool, text: impl Into<String>) {
        self.add(if holds { Kind::Right } else { Kind::Wrong }, text.into());
    }

    fn add(&self, kind: Kind, text: String) {
        self.story.add(kind, format!("{:9} {text}", format!("{}:", self.system)));
    }
}

/// A line of it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Seconds since the start.
    pub(super) seconds: f64,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something happened.
    Event,
    /// Something is as it should be.
    Right,
    /// Something is not.
    Wrong,
}

impl Story {
    pub(super) fn begin() -> Self {
        Self { start: Instant::now(), lines: Arc::default() }
    }

    /// Something happened.
    pub(super) fn tell(&self, text: impl Into<String>) {
        self.add(Kind::Event, text.into());
    }

    /// The story as one system tells it.
    pub(super) fn of(&self, system: &'static str) -> Telling {
        Telling { story: self.clone(), system }
    }

    fn add(&self, kind: Kind, text: String) {
        let seconds = self.start.elapsed().as_secs_f64();
        let mark = match kind {
            Kind::Event => "     ",
            Kind::Right => "ok   ",
            Kind::Wrong => "WRONG",
        };
        // Whoever closed stdout has heard enough; the tour goes on.
        let _ = writeln!(std::io::stdout(), "{seconds:6.2} s  {mark} {text}");
        self.lines.lock().push(Line { seconds, kind, text });
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        self.lines.lock().clone()
    }

    /// How many things are not as they should be.
    pub(super) fn wrong_count(&self) -> usize {
        self.lines.lock().iter().filter(|line| line.kind == Kind::Wrong).count()
    }
}
