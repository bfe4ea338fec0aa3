//! Keeps ecobee's tokens fresh and lends them to local scripts.

pub mod clock;
pub mod keeper;
pub mod secret;
