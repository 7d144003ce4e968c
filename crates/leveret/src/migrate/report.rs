//! What a migration tells: a bar while it moves a queue, and what was counted at the end.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// A remark, on stderr.
pub(super) fn note(text: &str) {
    // Whoever closed stderr does without.
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

/// How far a queue is; drawn on a terminal only.
pub(super) struct Progress {
    bar: ProgressBar,
    count: AtomicU64,
}

impl Progress {
    pub(super) fn start(queue: &str, messages: u32) -> Self {
        let is_drawn = std::io::stderr().is_terminal() && messages > 0;
        let bar = if is_drawn { ProgressBar::new(messages.into()) } else { ProgressBar::hidden() };
        if let Ok(style) =
            ProgressStyle::with_template("{msg:30} {bar:30} {human_pos}/{human_len} {per_sec} {eta}")
        {
            bar.set_style(style);
        }
        bar.set_message(queue.to_owned());
        Self { bar, count: AtomicU64::new(0) }
    }

    pub(super) fn one(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(1);
    }

    /// Messages confirmed.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A queue, and what was counted in it.
pub(super) struct Moved {
    pub(super) vhost: String,
    pub(super) queue: String,
    pub(super) moved: u64,
    /// Ready at the source afterwards.
    pub(super) left: u32,
    pub(super) target_before: u32,
    pub(super) target_after: u32,
}

impl Moved {
    /// Whether everything is there that should be. With clients at work on either side it cannot be said.
    fn matches(&self) -> bool {
        self.left == 0 && u64::from(self.target_after) == u64::from(self.target_before) + self.moved
    }
}

#[derive(Default)]
pub(super) struct Report {
    queues: Vec<Moved>,
}

impl Report {
    pub(super) fn add(&mut self, moved: Moved) {
        self.queues.push(moved);
    }

    /// A line for each queue that had messages or does not match, and one for all.
    pub(super) fn print(&self) {
        let mut out = std::io::stdout().lock();
        for one in self.queues.iter().filter(|one| one.moved > 0 || !one.matches()) {
            let Moved { vhost, queue, moved, left, target_before, target_after } = one;
            let verdict = if one.matches() { "matches" } else { "DIFFERS" };
            let _ = writeln!(
                out,
                "{verdict}  {vhost} {queue}: {moved} moved, {left} left at the source, {target_before} then \
                 {target_after} at the target"
            );
        }
        let moved: u64 = self.queues.iter().map(|one| one.moved).sum();
        let _ = writeln!(out, "{} queues, {moved} messages moved", self.queues.len());
    }

    pub(super) fn verdict(&self) -> Result<(), Failure> {
        match self.queues.iter().filter(|one| !one.matches()).count() {
            0 => Ok(()),
            several => Err(Failure::run(format!(
                "the counts of {several} queues differ: clients that publish or consume, limits on length, or time to \
                 live do that; run it again to move what is left"
            ))),
        }
    }
}
