//! Where the diary goes: the journal, a terminal, or JSON lines.
//!
//! In the journal each line has its priority, and its fields under their own names in capitals: `ACCOUNT=home`,
//! `STATE=authorized`. For people, an account's name begins the sentence already, so the two are left out there.

mod filter;

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::Layer;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// The journal where standard error goes there, else text.
    Auto,
    /// Lines for people, coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
    /// The journal, with priorities and fields.
    Journal,
}

impl LogFormat {
    /// All of them by name.
    pub const NAMED: [(&str, Self); 4] =
        [("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json), ("journal", Self::Journal)];
}

/// The time of day here, as in the sentences beside it.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let time = Timestamp::from_millisecond(clock::wall_millis()).map_err(|_| fmt::Error)?;
        write!(writer, "{}", time.to_zoned(clock::zone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))
    }
}

/// A sentence and its fields, but for those that the sentence begins with anyway.
struct Sentence;

impl<'writer> FormatFields<'writer> for Sentence {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut words = Words { writer, outcome: Ok(()), first: true };
        fields.record(&mut words);
        words.outcome
    }
}

struct Words<'writer> {
    writer: Writer<'writer>,
    outcome: fmt::Result,
    first: bool,
}

impl Visit for Words<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.outcome.is_err() || matches!(field.name(), "account" | "state") {
            return;
        }
        let space = if std::mem::take(&mut self.first) { "" } else { " " };
        let (name, equals) = if field.name() == "message" { ("", "") } else { (field.name(), "=") };
        self.outcome = write!(self.writer, "{space}{name}{equals}{}", OnOneLine(&format!("{value:?}")));
    }
}

/// Whatever comes from elsewhere cannot begin a line of its own, nor command a terminal.
struct OnOneLine<'a>(&'a str);

impl fmt::Display for OnOneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_debug()) } else { fmt::Write::write_char(f, c) }
        })
    }
}

/// Whether standard error goes to the journal: `JOURNAL_STREAM` names the stream that systemd made of it, but it is
/// handed on to programs whose standard error goes elsewhere (systemd.exec(5)).
pub fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr().as_fd())
        .is_ok_and(|stderr| stream.to_str() == Some(&format!("{}:{}", stderr.st_dev, stderr.st_ino)))
}

/// Opens the log. `RUST_LOG` filters it; the default is `info`.
pub fn start(format: LogFormat) {
    let (filter, complaint) = filter::of_environment();
    let journal = match format {
        LogFormat::Journal => true,
        LogFormat::Auto => stderr_is_journal(),
        LogFormat::Text | LogFormat::Json => false,
    };
    let layer = match (journal.then(tracing_journald::layer), format) {
        (Some(Ok(layer)), _) => {
            // The layer would have info as a notice, which journalctl prints in bold.
            let priorities = PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                ..PriorityMappings::default()
            };
            layer
                .with_priority_mappings(priorities)
                .with_field_prefix(None)
                .with_syslog_identifier("ecobee-tokend".to_owned())
                .boxed()
        }
        (_, LogFormat::Json) => {
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed()
        }
        (Some(Err(_)) | None, LogFormat::Auto | LogFormat::Text | LogFormat::Journal) => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            tracing_subscriber::fmt::layer()
                .with_timer(LocalTime)
                .with_ansi(colours)
                .with_target(false)
                .fmt_fields(Sentence)
                .with_writer(io::stderr)
                .boxed()
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}
