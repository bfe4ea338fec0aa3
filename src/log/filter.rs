//! `RUST_LOG`: which lines are written.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// The parts of this program whose words a filter may name.
const TARGETS: [&str; 6] = ["ecobee_tokend", "hyper", "hyper_util", "hyper_rustls", "rustls", "mio"];

/// What `RUST_LOG` asks for, and a complaint if that is no filter: then the log is at `info`, as without it.
pub(super) fn of_environment() -> (Targets, Option<String>) {
    let usual = Targets::new().with_default(LevelFilter::INFO);
    let asked = std::env::var_os("RUST_LOG").unwrap_or_default();
    let asked = asked.to_string_lossy();
    if asked.trim().is_empty() {
        return (usual, None);
    }
    match read_filter(&asked) {
        Ok(filter) => (filter, None),
        Err(why) => (usual, Some(format!("RUST_LOG is no log filter: {why}; logging at info"))),
    }
}

/// A filter takes any word for the name of a part of the program, and a misspelt one would silence the log.
fn read_filter(asked: &str) -> Result<Targets, String> {
    for directive in asked.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let target = match directive.split_once('=') {
            Some((target, _)) => target,
            None if directive.parse::<LevelFilter>().is_ok() => continue,
            None => directive,
        };
        let part = target.split("::").next().unwrap_or(target);
        if !TARGETS.contains(&part) {
            return Err(format!(
                "{directive:?} is neither a level (error, warn, info, debug, trace, off) nor names a part of this \
                 program, as ecobee_tokend=debug does"
            ));
        }
    }
    asked.parse().map_err(|error| format!("{error}"))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::read_filter;

    #[test]
    fn levels_and_parts_of_the_program_make_a_filter() {
        for (asked, at_debug) in [
            ("debug", true),
            ("WARN", false),
            ("off", false),
            ("info,ecobee_tokend=debug", true),
            ("ecobee_tokend::socket=trace, warn", false),
            ("ecobee_tokend", true),
            ("hyper=debug,debug", true),
        ] {
            let filter = read_filter(asked).unwrap_or_else(|why| panic!("{asked}: {why}"));
            assert_eq!(filter.would_enable("ecobee_tokend::keeper", &Level::DEBUG), at_debug, "{asked}");
        }
    }

    #[test]
    fn what_would_silence_the_log_by_mistake_is_no_filter() {
        for asked in ["inof", "ecobee-tokend=debug", "garbage,=", "ecobee_tokend=loud", "info;debug", "[x]=1"]
        {
            assert!(read_filter(asked).is_err(), "{asked}");
        }
    }
}
