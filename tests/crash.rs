//! Power cuts: what the daemon does to its store, call by call, and what every moment of it would have left.
//!
//! `strace` watches the real thing; where it cannot be run, these tests say that they were skipped.

mod harness;

#[path = "crash/disk.rs"]
mod disk;
#[path = "crash/law.rs"]
mod law;
#[path = "crash/order.rs"]
mod order;
#[path = "crash/power_cuts.rs"]
mod power_cuts;
#[path = "crash/strace.rs"]
mod strace;
