//! Where this process's memory may go: into no core file, and not out to swap.
//!
//! A [`Secret`](crate::secret::Secret) wipes itself, and the allocator of both programs wipes all that is freed, for the
//! libraries between us and the wire keep tokens in buffers of their own. What is left is what lives: `tests/memory.rs`
//! counts it.
//!
//! Beyond reach are the kernel's own copies (socket buffers, the page cache of the files that hold secrets, the image of
//! a suspend to disk), and what the stack and the registers hold for a moment; that test searches the stack too, and has
//! found nothing there. Root can read a living process: against root nothing here helps.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Forbids core files, and other users' debuggers with them. To be called before anything is read; a program that this
/// one becomes starts afresh.
pub fn forbid_core_files() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// The same by the limit that programs started by this one inherit: what they are told need not end on a disk either.
/// They may raise it again.
pub fn forbid_core_files_of_children() -> io::Result<()> {
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) })?)
}

/// Whether the memory stays out of swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It does, now and in future.
    Yes,
    /// `RLIMIT_MEMLOCK` has an end. A lock on all that is to come would have every allocation beyond it fail, and the
    /// daemon with it, one day; a lock on what there is now would hold none of the tokens to come.
    Limited,
}

/// Keeps the memory out of swap where nothing can come of it. Pages are locked as they are touched: none is made for it.
pub fn lock() -> io::Result<Locked> {
    if getrlimit(Resource::Memlock).current.is_some() {
        return Ok(Locked::Limited);
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    Ok(Locked::Yes)
}
