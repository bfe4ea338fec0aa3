//! How a metric is written, in the dialects of Prometheus (both documents are named at [`Dialect`]).

use std::fmt::{self, Display, Write};

use crate::socket::form::Dialect;

/// Every metric's name begins so. Even that of the process's start: its usual name would collide with `node_exporter`'s
/// own in a file that it reads.
const OURS: &str = "ecobee_tokend";

/// What a family of samples is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Histogram,
    Info,
}

/// A text that grows, family by family.
pub(super) struct Text {
    dialect: Dialect,
    out: String,
    /// The family that is being written.
    name: String,
}

/// A label's name and its value.
type Label<'a> = (&'a str, &'a str);

impl Text {
    /// An empty one, with room for so many bytes.
    pub(super) fn new(dialect: Dialect, room: usize) -> Self {
        Self { dialect, out: String::with_capacity(room), name: String::new() }
    }

    /// Begins a family; `help` is one line.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.name = format!("{OURS}_{name}");
        let (suffix, kind) = match (self.dialect, kind) {
            (_, Kind::Gauge) => ("", "gauge"),
            (_, Kind::Histogram) => ("", "histogram"),
            (Dialect::OpenMetrics, Kind::Counter) => ("", "counter"),
            (Dialect::OpenMetrics, Kind::Info) => ("", "info"),
            (Dialect::Prometheus, Kind::Counter) => ("_total", "counter"),
            (Dialect::Prometheus, Kind::Info) => ("_info", "gauge"),
        };
        let name = &self.name;
        let _ = write!(self.out, "# TYPE {name}{suffix} {kind}\n# HELP {name}{suffix} {help}\n");
        if self.dialect == Dialect::OpenMetrics && name.ends_with("_seconds") {
            let _ = writeln!(self.out, "# UNIT {name} seconds");
        }
    }

    /// One sample of the family that was begun last.
    pub(super) fn sample(&mut self, suffix: &str, labels: &[Label], value: impl Display) {
        self.out.push_str(&self.name);
        self.out.push_str(suffix);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{name}=\"{}\"", Escaped(value));
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// A family with one sample.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample("", &[], value);
    }

    /// All that was written, with the end that the dialect wants.
    pub(super) fn end(mut self) -> String {
        if self.dialect == Dialect::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

/// A label's value as both dialects write it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Milliseconds, written as seconds.
pub(super) struct Seconds(pub(super) i64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let millis = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:03}", millis / 1000, millis % 1000)
    }
}

/// Milliseconds, written as the shortest number of seconds that has a point, as `OpenMetrics` wants bounds.
pub(super) struct Ceiling(pub(super) u64);

impl Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = format!("{:03}", self.0 % 1000);
        let places = places.trim_end_matches('0');
        write!(f, "{}.{}", self.0 / 1000, if places.is_empty() { "0" } else { places })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut text = Text { dialect: Dialect::OpenMetrics, out: String::new(), name: "x".to_owned() };
        text.sample("_total", &[("a", "1\"} 2\n\\")], 3);
        assert_eq!(text.out, "x_total{a=\"1\\\"} 2\\n\\\\\"} 3\n");
    }

    #[test]
    fn times_are_seconds_with_their_milliseconds() {
        for (millis, written) in
            [(0, "0.000"), (1_763_755_200_045, "1763755200.045"), (-1_500, "-1.500"), (-5, "-0.005")]
        {
            assert_eq!(Seconds(millis).to_string(), written);
        }
        for (millis, written) in [(50, "0.05"), (250, "0.25"), (1000, "1.0"), (2500, "2.5"), (60_000, "60.0")]
        {
            assert_eq!(Ceiling(millis).to_string(), written);
        }
    }
}
