//! The only file that asks what time it is.
//!
//! Inside, only the boot clock counts: it runs through suspend and no one can set it. The wall clock is read to
//! write on disk what another boot can understand, and to say times to people.

use std::cell::Cell;
use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use jiff::{Timestamp, tz::TimeZone};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;

use crate::keeper::Moment;

/// The present moment on the boot clock. No system call on common machines (vDSO).
pub fn now() -> Moment {
    Moment::from_millis(millis(clock_gettime(ClockId::Boottime)))
}

/// The present wall time, in milliseconds since 1970.
pub fn wall_millis() -> i64 {
    millis(clock_gettime(ClockId::Realtime))
}

/// The present wall time.
pub fn wall() -> SystemTime {
    let since_1970 = Duration::from_millis(wall_millis().try_into().unwrap_or(0));
    SystemTime::UNIX_EPOCH + since_1970
}

/// The wall time of a moment as the clocks stand now, in milliseconds since 1970.
pub fn wall_of(moment: Moment) -> i64 {
    wall_millis().saturating_add(moment.as_millis().saturating_sub(now().as_millis()))
}

/// A wall time as programs read it: written, it is RFC 3339 in whole seconds of UTC. What no calendar has becomes the end
/// of it.
pub fn utc(wall_millis: i64) -> Timestamp {
    let seconds = wall_millis.div_euclid(1000);
    let limit = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(limit)
}

/// A wall time as people here read it: `18:43`.
pub fn time_of_day(wall_millis: i64) -> String {
    utc(wall_millis).to_zoned(zone()).strftime("%H:%M").to_string()
}

/// The time zone that people here live in: that of `TZ`, else this machine's.
///
/// jiff would look names up in an index of all zones, which takes a walk through a thousand files and a hundred kilobytes
/// for good. So that is left out of it (`tzdb-zoneinfo`), and `TZ=Europe/Berlin` is the file of that name.
pub fn zone() -> TimeZone {
    static NAMED: LazyLock<Option<TimeZone>> = LazyLock::new(|| {
        let name = env::var("TZ").ok()?;
        let name = name.strip_prefix(':').unwrap_or(&name);
        let file = fs::read(Path::new("/usr/share/zoneinfo").join(name)).ok()?;
        TimeZone::tzif(name, &file).ok()
    });
    NAMED.clone().unwrap_or_else(TimeZone::system)
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

/// Both clocks read together, and how far the wall clock can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The boot clock.
    pub moment: Moment,
    /// The wall clock, in milliseconds since 1970.
    pub wall_millis: i64,
    /// Which boot this is; empty where the kernel does not say.
    pub boot_id: String,
    /// Whether the wall clock may be believed across boots.
    pub wall: Wall,
}

/// How far the wall clock can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// It is kept by a battery or has been synchronised.
    Believable,
    /// This board has no clock with a battery, and the kernel does not say that the time was set since.
    Doubtful,
}

impl Reading {
    /// Reads both clocks.
    pub fn take() -> Self {
        Self {
            moment: now(),
            wall_millis: wall_millis(),
            boot_id: boot_id(),
            wall: if has_hardware_clock() || kernel_says_synchronised() {
                Wall::Believable
            } else {
                Wall::Doubtful
            },
        }
    }

    /// The wall time of a moment, in milliseconds since 1970.
    pub fn wall_of(&self, moment: Moment) -> i64 {
        self.wall_millis.saturating_add(moment.as_millis().saturating_sub(self.moment.as_millis()))
    }

    /// The moment of a wall time.
    pub fn moment_of(&self, wall_millis: i64) -> Moment {
        Moment::from_millis(
            self.moment.as_millis().saturating_add(wall_millis.saturating_sub(self.wall_millis)),
        )
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn has_hardware_clock() -> bool {
    Path::new("/sys/class/rtc/rtc0").exists()
}

/// systemd-timesyncd and its peers leave a mark; the kernel's own flag needs a call that no safe crate offers.
fn kernel_says_synchronised() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}

/// An alarm on the boot clock: it also rings when the moment passed during a suspend.
///
/// It may ring early, for a moment that has been put off since; it never rings late.
#[derive(Debug)]
pub struct Alarm {
    /// A timer is read as a pipe is: eight bytes when it has rung.
    timer: Receiver,
    set_to: Cell<Option<Moment>>,
}

impl Alarm {
    /// An alarm that is not set. Needs a tokio runtime with I/O.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer: Receiver::from_owned_fd_unchecked(timer)?, set_to: Cell::new(None) })
    }

    /// Rings at `moment` at the latest, at once if it is past. Costs nothing if it is set to ring before that.
    pub fn ring_by(&self, moment: Moment) {
        if self.set_to.get().is_some_and(|set_to| set_to <= moment) {
            return;
        }
        self.set_to.set(Some(moment));
        // The zero time would disarm the timer, so a moment before the boot becomes its first millisecond.
        let millis = moment.as_millis().max(1);
        let value = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
        let never_again = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never_again, it_value: value };
        if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting) {
            tracing::error!(%error, "the alarm could not be set");
        }
    }

    /// Waits until it rings. Can be dropped at any moment without losing the ringing.
    pub async fn rung(&self) {
        loop {
            if self.timer.readable().await.is_err() {
                break;
            }
            let mut count = [0_u8; 8];
            match self.timer.try_read(&mut count) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.set_to.set(None);
    }
}
