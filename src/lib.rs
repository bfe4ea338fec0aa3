//! Keeps ecobee's tokens fresh and lends them to local scripts. This page is the tour of the house.
//!
//! # The flow, one way only
//! ```text
//!  config ──▶ supervisor ──▶ keeper ──▶ actions ──▶  ecobee   the three calls, HTTP to outcome
//!  signals ─────▲  ▲  ▲                              store    the token files
//!  clock ──────────┘  └── what came of the actions   socket   local readers
//!                         what clients ask           systemd  ready, status, watchdog, inherited sockets
//!                                                    notify   webhook, command
//!                                                    metrics  what happened, counted
//! ```
//! [`keeper`] decides what happens next to one account and knows nothing of the world. [`supervisor`] is the one
//! loop: it brings events in and carries actions out. Each other room does one thing for it and knows no other
//! room but the keeper's words, [`secret`], [`clock`], [`url`] and [`quote`] ([`metrics`] where it is read out); what
//! leaves this machine, `ecobee`'s calls and `notify`'s messages, goes by way of [`dial`]. `tests/rooms.rs` holds the
//! arrows.
//!
//! Beside the flow: [`people`] looks users and groups up, [`log`] opens the log, [`memory`] keeps secrets out of core files
//! and swap, [`foreign`] reads other clients' files for `import`.
//!
//! # Four ways through the house
//! - **A reader's `GET /token`**: `socket` turns it into an [`Ask`](keeper::Ask), `supervisor::Clerk` steps the
//!   account's keeper on the spot, and the [`Answer`](keeper::Answer) goes back; no task switch, no wait unless the
//!   keeper says so.
//! - **A refresh token from ecobee's answer to the disk**: `ecobee` makes an [`Outcome`](keeper::Outcome) of it, the
//!   keeper orders `Persist`, `store` writes it in a thread of its own, the report of that lets the keeper publish.
//! - **A PIN to a person's eye**: the keeper tells `News::PinShown` when it is saved; `supervisor` writes the diary and
//!   systemd's status, anyone may read it at `GET /pin`, and the keeper's `Notify` makes [`notify`] post it.
//! - **A changed configuration**: SIGHUP; `House::reread` has `supervisor/reload.rs` read it in a thread of its own,
//!   `House::refurnish` takes it over between two steps (`supervisor/house/succession.rs`); an account that goes finishes
//!   first what is under way.
//!
//! # What always holds
//! - **A grant is on disk before anyone is served from it**, unless saving fails or takes longer than two seconds.
//! - **Before a refresh is sent, the disk knows**, unless saving still fails or hangs when the token is about to die: a
//!   start after a kill never serves a token that ecobee replaced.
//! - **Only ecobee's explicit refusals count against a refresh token**, and a counted-out one is still tried.
//! - **At most one call to ecobee is in flight an account**; no client can cancel it.
//! - **What `expires_in` says, the daemon keeps**: it never refreshes of its own accord before that.
//! - **What no key opens is left alone**: an encrypted grant is never given up for a configuration's mistake.
//! - **A secret is a [`secret::Secret`]** and has no way into a log line; what is freed is wiped ([`memory`]).
//!
//! # What is deliberately absent
//! - **No threads to speak of**: one loop serves all; what may block (disk, certificates, names) leaves it, for a moment.
//! - **No clock in the keeper**: time is an argument, so that a year is tested in a second.
//! - **No connection kept open to ecobee**: one call an hour does not pay for it.
//! - **No `unsafe`**.
//!
//! # Where to start
//! `README.md`, `config/config.toml`, [`keeper`], `tests/keeper_sim.rs`, [`supervisor`].
//!
//! # Where to change what
//! | what | where |
//! | --- | --- |
//! | when a refresh happens: the window | `keeper/plan.rs` (`Window::of`); what `ahead` is by itself, `config.rs` (`Refresh`) |
//! | who waits, how long, and what is promised | `keeper/desk.rs` |
//! | what a refusal, an outage or a lost answer leads to | `keeper/renewal.rs` |
//! | when a PIN is asked for, shown, polled for, over; what `slow_down` leads to | `keeper/pin.rs` |
//! | what an error of ecobee's means | `ecobee/errors.rs` |
//! | what lies in the store | `store/format.rs`; how it gets there, `store/file.rs`; what a start makes of it, `store/intake.rs` |
//! | a configuration key | `config.rs` holds it, `config/sections.rs` reads it, `supervisor/fittings.rs` hands it on; `tests/shipped.rs` and `tests/manual.rs` name what lacks it |
//! | what a reload does to accounts | `supervisor/house/succession.rs` |
//! | a route, its parameters | `socket/routes.rs`; what it does, `socket/request.rs` (`respond`); its answer, `socket/answers.rs` |
//! | a kind of notification | `keeper/words.rs` (`Notice`), told from `keeper/pin.rs` or `keeper/renewal.rs`; its words, `notify/message.rs` |
//! | a way to notify | `notify.rs` (`Way`), `supervisor/fittings.rs` (`ways`), `supervisor/outline.rs` |
//! | a metric | `metrics.rs` counts, `socket/measures.rs` writes |
//! | a sentence of the log | `supervisor/diary.rs`; of systemd's status, `systemd/sentence.rs` |
//! | a word of the client | `bin/ecobee-token/args.rs` |
//! | what a request may cost | `tests/exact.rs`, `tests/bench` |
//! | which room may know which | `tests/rooms.rs` |

pub mod clock;
pub mod config;
pub mod dial;
pub mod ecobee;
pub mod foreign;
pub mod keeper;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod notify;
pub mod people;
pub mod quote;
pub mod secret;
pub mod signals;
pub mod socket;
pub mod store;
pub mod supervisor;
pub mod systemd;
pub mod url;
