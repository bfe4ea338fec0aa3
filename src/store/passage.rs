//! How moments pass from the boot that wrote a file to the boot that reads it.

use serde::{Deserialize, Serialize};

use super::note::Doubt;
use crate::clock::{Reading, Wall};
use crate::keeper::Moment;

/// Both clocks as they stood when a file was written.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    boot_id: String,
    boot_ms: i64,
    wall_ms: i64,
}

impl Written {
    pub(super) fn at(now: &Reading) -> Self {
        Self { boot_id: now.boot_id.clone(), boot_ms: now.moment.as_millis(), wall_ms: now.wall_millis }
    }
}

/// The way from the writer's boot clock to ours.
///
/// One number says it all: the moment on *our* clock at which the file was written. In the same boot that is
/// what the file says; in another, what the wall clocks say. In doubt it is now, as if no time had passed in
/// between: right for a PIN, whose end ecobee itself will tell, and for when people were told of it (they are
/// not told twice, nor is the next reminder put off); wrong for an access token, so whoever carries one over
/// asks for [`Passage::doubt`] first.
pub(super) struct Passage {
    boot_ms: i64,
    written_at: Moment,
    doubt: Option<Doubt>,
}

impl Passage {
    pub(super) fn new(written: &Written, now: &Reading) -> Self {
        let (written_at, doubt) = match Self::written_at(written, now) {
            Ok(moment) => (moment, None),
            Err(doubt) => (now.moment, Some(doubt)),
        };
        Self { boot_ms: written.boot_ms, written_at, doubt }
    }

    fn written_at(written: &Written, now: &Reading) -> Result<Moment, Doubt> {
        let same_boot = !written.boot_id.is_empty() && written.boot_id == now.boot_id;
        if same_boot {
            let moment = Moment::from_millis(written.boot_ms);
            // Another time namespace, or a machine that was put back to a snapshot.
            return if now.moment < moment { Err(Doubt::BootClockWentBack) } else { Ok(moment) };
        }
        match now.wall {
            Wall::Doubtful => Err(Doubt::WallClockDoubtful),
            // A token is issued before it is written, so this catches a clock that stands before its issue,
            // and one that stands between the two is just as wrong.
            Wall::Believable if now.wall_millis < written.wall_ms => Err(Doubt::WallClockWentBack),
            Wall::Believable => Ok(now.moment_of(written.wall_ms)),
        }
    }

    /// A moment of the writer's boot clock (in milliseconds) on ours.
    pub(super) fn moment(&self, millis: i64) -> Moment {
        let after_writing = millis.saturating_sub(self.boot_ms);
        Moment::from_millis(self.written_at.as_millis().saturating_add(after_writing))
    }

    /// Why moments that were carried over may be wrong, if they may.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }
}
