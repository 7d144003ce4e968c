//! Prometheus' text format (version 0.0.4).

use std::fmt::Write;

/// A page of metrics.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    /// The beginning of a family of samples.
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    /// A value that goes up and down.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// A value that only goes up.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// A time that only gets longer, given in microseconds.
    pub(crate) fn seconds(&mut self, name: &str, help: &str, value_us: u64) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {}.{:06}", value_us / 1_000_000, value_us % 1_000_000);
    }

    /// What is told by labels alone.
    pub(crate) fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) {
        self.head(name, "untyped", help);
        self.sample(name, labels, 1);
    }

    /// One value with labels, after its family's head.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            self.escaped(text);
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.sample("a", &[("queue", "x\"\\\n"), ("vhost", "/")], 3);
        text.gauge("b", "B", 1);
        text.seconds("c", "C", 2_000_003);
        assert_eq!(
            text.finish(),
            "a{queue=\"x\\\"\\\\\\n\",vhost=\"/\"} 3\n# TYPE b gauge\n# HELP b B\nb 1\n# TYPE c counter\n# HELP c C\nc 2.000003\n"
        );
    }
}
