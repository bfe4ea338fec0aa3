//! The table: what was measured, what it is measured by, what it ought to be.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Seconds,
    Bytes,
    Count,
}

impl Unit {
    fn show(self, value: f64) -> String {
        let scaled = |steps: &[(f64, &str)]| {
            let (step, name) =
                steps.iter().find(|(step, _)| value.abs() >= *step).unwrap_or(&steps[steps.len() - 1]);
            format!("{} {name}", digits(value / step))
        };
        match self {
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Seconds => scaled(&[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")]),
            Self::Bytes => scaled(&[(1e6, "MB"), (1e3, "kB"), (1.0, "B")]),
            Self::Count => digits(value),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "1/s",
            Self::Seconds => "s",
            Self::Bytes => "B",
            Self::Count => "1",
        }
    }
}

/// Three digits that say something.
fn digits(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        10.0.. => format!("{value:.2}"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

/// What a number ought to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtMost(f64),
    RatioAtLeast(f64),
    RatioAtMost(f64),
    /// Over the yardstick.
    OverItAtMost(f64),
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    part: &'static str,
    figure: String,
    unit: Unit,
    /// The number, or why there is none.
    ours: Result<f64, String>,
    yardstick: Option<(&'static str, f64)>,
    ratio: Option<f64>,
    over: Option<f64>,
    target: Option<Target>,
    note: Option<String>,
}

impl Row {
    /// Measured by this.
    pub(crate) fn beside(&mut self, name: &'static str, value: f64) -> &mut Self {
        self.yardstick = Some((name, value));
        self.ratio = self.ours.as_ref().ok().map(|ours| ours / value);
        self.over = self.ours.as_ref().ok().map(|ours| ours - value);
        self
    }

    /// A ratio that is more than the two numbers' own: the median of many.
    pub(crate) fn ratio(&mut self, ratio: f64) -> &mut Self {
        self.ratio = Some(ratio);
        self
    }

    /// So much over the yardstick, where that is more than the two numbers' own difference: the median of many.
    pub(crate) fn over(&mut self, over: f64) -> &mut Self {
        self.over = Some(over);
        self
    }

    pub(crate) fn target(&mut self, target: Target) -> &mut Self {
        self.target = Some(target);
        self
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) -> &mut Self {
        self.note = Some(note.into());
        self
    }

    /// Whether it is as it ought to be; `None`: it cannot be said.
    fn is_met(&self) -> Option<bool> {
        Some(match self.target? {
            Target::AtMost(most) => *self.ours.as_ref().ok()? <= most,
            Target::RatioAtLeast(least) => self.ratio? >= least,
            Target::RatioAtMost(most) => self.ratio? <= most,
            Target::OverItAtMost(most) => self.over? <= most,
        })
    }

    fn target_in_words(&self) -> String {
        match self.target {
            None => String::new(),
            Some(Target::AtMost(most)) => format!("≤ {}", self.unit.show(most)),
            Some(Target::RatioAtLeast(least)) => format!("ratio ≥ {least:.2}"),
            Some(Target::RatioAtMost(most)) => format!("ratio ≤ {most:.2}"),
            Some(Target::OverItAtMost(most)) => format!("≤ {} over it", self.unit.show(most)),
        }
    }

    fn to_json(&self) -> Value {
        let (kind, target) = match self.target {
            None => (Value::Null, Value::Null),
            Some(Target::AtMost(most)) => (json!("at-most"), json!(most)),
            Some(Target::RatioAtLeast(least)) => (json!("ratio-at-least"), json!(least)),
            Some(Target::RatioAtMost(most)) => (json!("ratio-at-most"), json!(most)),
            Some(Target::OverItAtMost(most)) => (json!("over-yardstick-at-most"), json!(most)),
        };
        json!({
            "part": self.part,
            "figure": self.figure,
            "unit": self.unit.name(),
            "ours": self.ours.as_ref().ok(),
            "skipped": self.ours.as_ref().err(),
            "yardstick": self.yardstick.map(|(name, _)| name),
            "yardstick_value": self.yardstick.map(|(_, value)| value),
            "ratio": self.ratio,
            "target_kind": kind,
            "target": target,
            "met": self.is_met(),
            "note": self.note,
        })
    }
}

/// All lines.
#[derive(Debug, Default)]
pub(crate) struct Table {
    part: &'static str,
    rows: Vec<Row>,
}

impl Table {
    /// The rows that follow are of this part.
    pub(crate) fn begin(&mut self, part: &'static str) {
        self.part = part;
        eprintln!("figures: {part}");
    }

    /// A row; what it is measured by and ought to be may be said of what this returns.
    pub(crate) fn row(&mut self, figure: impl Into<String>, unit: Unit, ours: impl Into<Ours>) -> &mut Row {
        let Ours(ours) = ours.into();
        let row = Row {
            part: self.part,
            figure: figure.into(),
            unit,
            ours,
            yardstick: None,
            ratio: None,
            over: None,
            target: None,
            note: None,
        };
        self.rows.push(row);
        self.rows.last_mut().expect("there is one now")
    }

    /// Writes all of it as JSON.
    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        let document = json!({
            "machine": machine(),
            "optimized": !cfg!(debug_assertions),
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
        });
        fs::write(file, format!("{document:#}\n"))
    }
}

/// What a row is made of: a number, or a reason why there is none.
pub(crate) struct Ours(Result<f64, String>);

impl From<f64> for Ours {
    fn from(value: f64) -> Self {
        Self(Ok(value))
    }
}

impl From<Duration> for Ours {
    fn from(value: Duration) -> Self {
        Self(Ok(value.as_secs_f64()))
    }
}

impl From<Result<f64, String>> for Ours {
    fn from(value: Result<f64, String>) -> Self {
        Self(value)
    }
}

/// Enough of the machine to know which numbers may be laid side by side.
fn machine() -> Value {
    let first_line =
        |path: &str| fs::read_to_string(path).unwrap_or_default().lines().next().map(str::to_owned);
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name);
    let compiler = Command::new("rustc").arg("--version").output().ok();
    json!({
        "cpu": model,
        "cpus": std::thread::available_parallelism().map_or(1, usize::from),
        "kernel": first_line("/proc/sys/kernel/osrelease"),
        "load": first_line("/proc/loadavg"),
        "rustc": compiler.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
    })
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["figure", "ours", "yardstick", "ratio", "target", "met"].map(str::to_owned);
        let lines = self.rows.iter().map(|row| {
            let ours = row.ours.as_ref().map_or_else(|_| "skipped".to_owned(), |value| row.unit.show(*value));
            let yardstick = row.yardstick.map(|(name, value)| format!("{} {name}", row.unit.show(value)));
            let met = match (row.is_met(), row.target) {
                (Some(true), _) => "yes",
                (Some(false), _) => "NO",
                (None, Some(_)) => "?",
                (None, None) => "",
            };
            [
                row.figure.clone(),
                ours,
                yardstick.unwrap_or_default(),
                row.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default(),
                row.target_in_words(),
                met.to_owned(),
            ]
        });
        let lines: Vec<[String; 6]> = std::iter::once(header).chain(lines).collect();
        let widths: [usize; 6] = std::array::from_fn(|column| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
        });
        for (number, line) in lines.iter().enumerate() {
            let row = number.checked_sub(1).and_then(|number| self.rows.get(number));
            if let Some(row) = row
                && (number == 1 || self.rows[number - 2].part != row.part)
            {
                writeln!(f, "\n{}", row.part)?;
            }
            let mut text = String::new();
            for (column, cell) in line.iter().enumerate() {
                let padding = " ".repeat(widths[column] - cell.chars().count());
                // Words stand left, numbers right.
                let cell = if matches!(column, 0 | 4 | 5) {
                    format!("{cell}{padding}  ")
                } else {
                    format!("{padding}{cell}  ")
                };
                text.push_str(&cell);
            }
            if let Some(remark) = row.and_then(|row| row.ours.as_ref().err().or(row.note.as_ref())) {
                text.push_str(remark);
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}
