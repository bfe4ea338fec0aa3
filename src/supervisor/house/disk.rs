//! Whose turn it is at the disk.

use tokio::sync::{Semaphore, SemaphorePermit};

/// One at the disk at a time, of all accounts together, be it to save or to look for a successor's file: the store's
/// folder takes no two anyway, and a disk that hangs then holds one thread.
///
/// **What a kill would lose waits for one at most of what it would not**: after a start, a thousand accounts may have a
/// mark to save before the first of them gets its new grant.
pub(super) struct Disk {
    turn: Semaphore,
    /// Who may stand in line for it with something that could be had again.
    patient: Semaphore,
}

/// What somebody wants at the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// To save what cannot be had again: a token, a PIN.
    Urgent,
    /// Anything else.
    Patient,
}

/// A turn at the disk: over when it is dropped.
pub(super) struct Turn<'a> {
    _turn: Option<SemaphorePermit<'a>>,
    _patient: Option<SemaphorePermit<'a>>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self { turn: Semaphore::new(1), patient: Semaphore::new(1) }
    }

    pub(super) async fn turn(&self, errand: Errand) -> Turn<'_> {
        let patient = match errand {
            Errand::Urgent => None,
            Errand::Patient => self.patient.acquire().await.ok(),
        };
        Turn { _turn: self.turn.acquire().await.ok(), _patient: patient }
    }
}
