//! `ecobee-simulator`: the simulated ecobee as a program.

use ecobee_simulator::{Options, PinForm, ROUTES, Simulator, Tls};
use lexopt::prelude::*;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
Usage: ecobee-simulator [OPTIONS]

A simulated ecobee authorization server. Prints its URL on one line when it listens, then serves until it is ended.

Options:
      --listen ADDRESS         loopback address and port; port 0 takes a free one [127.0.0.1:8765]
      --pin-minutes N          how long a PIN can be entered [9]
      --pin-form FORM          today (XXXX-XXXX) or documented (four characters) [today]
      --interval SECONDS       least time between polls [30]
      --lifetime SECONDS       life of an access token [3599]
      --rotation KIND          what a refresh does with refresh tokens [reuse]
                                 reuse            a new one is issued, old ones stay valid
                                 same             the same one is returned
                                 absent           none is returned, the old one stays valid
                                 leeway=10s       rotated; the old one lives so long after its first use
                                 strict           rotated; the old one is dead at once
                                 reuse-detection  strict, and showing an old one revokes the grant
      --api-key KEY            an API key that is known; may be given again; without it any key is
      --approve-after SECONDS  approve each PIN by itself, so long after it was issued
      --options JSON           any options as POST /_control/options takes them, put over the others
      --tls[=KIND]             HTTPS: good, not-yet-valid, expired or wrong-name [good]
      --ca-out FILE            where to write the certificate that clients must trust (with --tls)
  -h, --help                   this text
  -V, --version                the version

Numbers of seconds and minutes may have a fraction: 0.5.

ecobee's endpoints:
  GET  /authorize              response_type=ecobeePin, client_id, scope
  POST /token                  grant_type=ecobeePin, code, client_id [, ecobee_type=jwt]
                               grant_type=refresh_token, refresh_token (or code), client_id [, ecobee_type=jwt]
  GET  /1/thermostat           Authorization: Bearer TOKEN

The control API, JSON in and out, untouched by moods:
";

const REST: &str = r#"
WHICH is one of {"all": true}, {"client_id": "KEY"}, {"grant": 1} and {"token": "ANY TOKEN OF IT"}.
A mood: {"on": "refresh", "times": 1, "client_id": "KEY", "commit": "first", "delay_before_ms": 0, "delay_after_ms": 0, "trick": TRICK}
  on: authorize, poll, refresh, token (both), thermostat or all [all]; times: [until cleared]; commit: first or never [what fits the trick]
  TRICK: "truth" (only the delays), {"error": {"error": "invalid_grant", "status", "description", "retry_after"}},
         {"html": {"status": 503}}, {"empty": {"status": 200}}, {"status": {"status": 429, "retry_after": "5"}},
         {"raw": {"status": 200, "content_type": "text/plain", "headers": [["X-Name", "value"]], "body": "text or [98, 121]"}},
         {"redirect": {"to": "URL"}}, "half-body", "drop", "reset", "reset-after-headers", "hang",
         {"drip": {"pause_ms": 50}}, {"huge": {"bytes": 1000000, "chunked": false}}, "chunked"

Exit status: 0, 2 for wrong arguments, 1 for anything else.
"#;

struct Arguments {
    options: Options,
    ca_out: Option<PathBuf>,
}

enum Wish {
    Serve(Box<Arguments>),
    Help,
    Version,
}

fn main() -> ExitCode {
    let arguments = match parse(lexopt::Parser::from_env()) {
        Ok(Wish::Serve(arguments)) => arguments,
        Ok(Wish::Help) => return say(&help()),
        Ok(Wish::Version) => {
            return say(concat!("ecobee-simulator ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Err(error) => {
            eprintln!("ecobee-simulator: {error}; try --help");
            return ExitCode::from(2);
        }
    };
    match serve(*arguments) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("ecobee-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until the process is ended.
fn serve(arguments: Arguments) -> Result<std::convert::Infallible, String> {
    let simulator = Simulator::start(arguments.options).map_err(|error| error.to_string())?;
    if let (Some(file), Some(pem)) = (&arguments.ca_out, simulator.ca_pem()) {
        std::fs::write(file, pem).map_err(|error| format!("{}: cannot write: {error}", file.display()))?;
    }
    // The certificate is in its file before the URL is told: who has read the line can connect.
    let mut out = std::io::stdout();
    writeln!(out, "{}", simulator.url())
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))?;
    loop {
        std::thread::park();
    }
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn help() -> String {
    let mut help = USAGE.to_owned();
    for (method, path, what) in ROUTES {
        // Writing to a String cannot fail.
        let _ = writeln!(help, "  {method:<4} {path:<32} {what}");
    }
    help + REST
}

fn parse(mut parser: lexopt::Parser) -> Result<Wish, lexopt::Error> {
    let mut options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 8765)), ..Options::default() };
    let mut ca_out = None;
    let mut over = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Wish::Help),
            Short('V') | Long("version") => return Ok(Wish::Version),
            Long("listen") => options.listen = parser.value()?.parse()?,
            Long("pin-minutes") => options.pin_lifetime = parser.value()?.parse_with(minutes)?,
            Long("pin-form") => options.pin_form = parser.value()?.parse_with(pin_form)?,
            Long("interval") => options.interval = parser.value()?.parse_with(seconds)?,
            Long("lifetime") => options.lifetime = parser.value()?.parse_with(seconds)?,
            Long("rotation") => options.rotation = parser.value()?.parse()?,
            Long("api-key") => options.api_keys.get_or_insert_default().push(parser.value()?.string()?),
            Long("approve-after") => {
                options.approve_after = Some(parser.value()?.parse_with(seconds)?);
            }
            Long("options") => over.push(parser.value()?.string()?),
            Long("tls") => {
                options.tls = match parser.optional_value() {
                    Some(kind) => kind.parse_with(tls)?,
                    None => Tls::Good,
                }
            }
            Long("ca-out") => ca_out = Some(PathBuf::from(parser.value()?)),
            Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
        }
    }
    for json in over {
        options =
            options.with_json(&json).map_err(|error| lexopt::Error::from(format!("--options: {error}")))?;
    }
    if ca_out.is_some() && options.tls == Tls::Off {
        return Err("--ca-out: there is no certificate without --tls".into());
    }
    Ok(Wish::Serve(Box::new(Arguments { options, ca_out })))
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .ok_or_else(|| "want a number of seconds".to_owned())
}

fn minutes(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|number: f64| Duration::try_from_secs_f64(number * 60.0).ok())
        .ok_or_else(|| "want a number of minutes".to_owned())
}

fn pin_form(text: &str) -> Result<PinForm, String> {
    match text {
        "today" => Ok(PinForm::Today),
        "documented" => Ok(PinForm::Documented),
        _ => Err("want today or documented".to_owned()),
    }
}

fn tls(text: &str) -> Result<Tls, String> {
    match text {
        "good" => Ok(Tls::Good),
        "not-yet-valid" => Ok(Tls::NotYetValid),
        "expired" => Ok(Tls::Expired),
        "wrong-name" => Ok(Tls::WrongName),
        _ => Err("want good, not-yet-valid, expired or wrong-name".to_owned()),
    }
}
