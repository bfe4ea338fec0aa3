//! Where the diary goes: the journal, a terminal, or JSON lines.

use std::fmt;
use std::io::{self, IsTerminal};

use jiff::{Timestamp, tz::TimeZone};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
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
    /// The format of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            "journal" => Some(Self::Journal),
            _ => None,
        }
    }
}

/// The time of day here, as in the sentences beside it.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let time = Timestamp::from_millisecond(clock::wall_millis()).map_err(|_| fmt::Error)?;
        write!(writer, "{}", time.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))
    }
}

/// Opens the log. `RUST_LOG` filters it; the default is `info`.
pub fn start(format: LogFormat) {
    let (filter, complaint) = filter();
    let journal = match format {
        LogFormat::Journal => true,
        LogFormat::Auto => std::env::var_os("JOURNAL_STREAM").is_some() && !io::stderr().is_terminal(),
        LogFormat::Text | LogFormat::Json => false,
    };
    let layer = match (journal.then(tracing_journald::layer), format) {
        (Some(Ok(layer)), _) => layer.with_syslog_identifier("ecobee-tokend".to_owned()).boxed(),
        (_, LogFormat::Json) => {
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed()
        }
        (Some(Err(_)) | None, LogFormat::Auto | LogFormat::Text | LogFormat::Journal) => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            tracing_subscriber::fmt::layer()
                .with_timer(LocalTime)
                .with_ansi(colours)
                .with_target(false)
                .with_writer(io::stderr)
                .boxed()
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}

fn filter() -> (Targets, Option<String>) {
    let usual = Targets::new().with_default(LevelFilter::INFO);
    match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => match text.parse() {
            Ok(filter) => (filter, None),
            Err(error) => (usual, Some(format!("RUST_LOG is no log filter ({error}); logging at info"))),
        },
        Ok(_) | Err(_) => (usual, None),
    }
}
