//! A simulated ecobee: its authorization server in every mood, and as much of its API as shows whether a token is alive.
//!
//! ```
//! use ecobee_simulator::{CallKind, Endpoint, Mood, Options, Pin, Rotation, Simulator};
//! use std::time::Duration;
//!
//! let ecobee = Simulator::start(Options {
//!     lifetime: Duration::from_secs(30),
//!     rotation: Rotation::Strict,
//!     ..Options::default()
//! })?;
//! println!("point a client at {}", ecobee.url());
//! // The next refresh is carried out, and its answer lost.
//! ecobee.add_mood(Mood::drop().after_commit().on(Endpoint::Refresh).once());
//! assert!(ecobee.approve(Pin::Latest).is_err(), "no client has asked for a PIN");
//! assert_eq!(ecobee.calls_of(CallKind::Refresh).len(), 0);
//! # Ok::<(), ecobee_simulator::StartError>(())
//! ```
//!
//! # The flow
//!
//! [`server`] reads a request ([`http`]) → [`shared`] logs it ([`calls`]) and picks its mood ([`mood`]) → [`endpoints`] answer it out of the [`truth`],
//! which changes → [`sending`] sends the answer, as well or as badly as the mood wants.
//! Behind the clients' backs, [`control`] (over HTTP) and [`simulator`] (in process) do the [`deeds`] of people and of ecobee.
//!
//! # What holds
//!
//! - **The truth knows no clock and no socket.** The time comes in; the real clock is asked in [`shared`] only.
//! - **A call changes the truth at one instant**, under one lock, together with its line in the log. No lock is held across an await.
//! - **A mood never touches the control API**, and the control API is served on the same port.
//! - **What is sent is in the log before it is sent**: who has an answer in hand finds it there.
#![allow(rustdoc::private_intra_doc_links, reason = "the tour is for those who read the source")]

mod calls;
mod control;
mod deeds;
mod endpoints;
mod fault;
mod http;
mod millis;
mod mint;
mod mood;
mod options;
mod report;
mod sending;
mod server;
mod shared;
mod simulator;
mod tls;
mod trick;
mod truth;

pub use calls::{Answer, Call, CallKind, Via};
pub use control::ROUTES;
pub use deeds::{NotThere, Pin, Which};
pub use fault::{Fault, Liveness};
pub use mood::{Commit, Endpoint, Mood};
pub use options::{Options, PinForm, PinUnit, Raw, RefreshTokenForm, Rotation, Tls, TokenForm};
pub use simulator::{Simulator, StartError};
pub use trick::{Body, Trick};
pub use truth::{AccessToken, Counters, Grant, GrantEnd, IssuedPin, PinState, RefreshToken, Truth};
