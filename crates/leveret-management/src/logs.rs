//! The newest lines of the log, for the page that shows them. Whoever sets up logging pushes them here.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tracing::Level;

/// Lines kept.
const KEPT: usize = 2000;
/// Bytes kept of a line.
const LINE_BYTES: usize = 4096;

/// A line of the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Counts lines, from 1.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How bad it is.
    pub level: Level,
    /// Whose line it is: a module.
    pub target: String,
    /// What it says, with its fields.
    pub message: String,
}

/// The last lines of the log.
#[derive(Debug, Default)]
pub struct Logs(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    count: u64,
}

impl Logs {
    /// Adds a line; its `id` is given here, and it is cut where it is very long.
    pub fn push(&self, mut line: LogLine) {
        if line.message.len() > LINE_BYTES {
            let end = (0..=LINE_BYTES).rev().find(|at| line.message.is_char_boundary(*at)).unwrap_or(0);
            line.message.truncate(end);
            line.message.push('…');
        }
        let mut kept = self.0.lock();
        kept.count += 1;
        line.id = kept.count;
        if kept.lines.len() == KEPT {
            kept.lines.pop_front();
        }
        kept.lines.push_back(line);
    }

    /// The newest lines that are at least so bad, newest first.
    pub(crate) fn newest(&self, least: Level, most: usize) -> Vec<LogLine> {
        // A worse level is the smaller one to `tracing`.
        self.0.lock().lines.iter().rev().filter(|line| line.level <= least).take(most).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_of_a_level_are_found() {
        let logs = Logs::default();
        let line = |level, message: &str| LogLine {
            id: 0,
            at_ms: 7,
            level,
            target: "a".into(),
            message: message.into(),
        };
        (0..KEPT).for_each(|_| logs.push(line(Level::INFO, "usual")));
        logs.push(line(Level::WARN, &"ü".repeat(LINE_BYTES)));
        let all = logs.newest(Level::DEBUG, usize::MAX);
        assert_eq!((all.len(), all[0].id), (KEPT, KEPT as u64 + 1));
        let bad = logs.newest(Level::WARN, 10);
        assert_eq!(bad.len(), 1);
        assert!(bad[0].message.len() <= LINE_BYTES + '…'.len_utf8());
    }
}
