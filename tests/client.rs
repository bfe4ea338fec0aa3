//! The client and the daemon as they are shipped, a pretend ecobee behind them; and the client alone with daemons that
//! answer oddly.

#[path = "client/exec.rs"]
mod exec;
#[path = "client/exits.rs"]
mod exits;
mod harness;
#[path = "client/odd.rs"]
mod odd;
#[path = "client/pin.rs"]
mod pin;
#[path = "client/run.rs"]
mod run;
#[path = "client/status.rs"]
mod status;
#[path = "client/tokens.rs"]
mod tokens;
