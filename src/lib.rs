//! Keeps ecobee's tokens fresh and lends them to local scripts.

pub mod clock;
pub mod config;
pub mod ecobee;
pub mod keeper;
pub mod log;
pub mod people;
pub mod secret;
pub mod signals;
pub mod socket;
pub mod store;
pub mod supervisor;
pub mod systemd;
