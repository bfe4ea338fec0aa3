//! The real binary as a service manager sees it: sockets handed over, reloads, notifications, the journal.

mod harness;

#[path = "service/doors.rs"]
mod doors;
#[path = "service/manager.rs"]
mod manager;
#[path = "service/notices.rs"]
mod notices;
#[path = "service/reload.rs"]
mod reload;
