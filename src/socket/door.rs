//! Who found no seat: shown the door, with the time to read why.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// So many are heard out at a time.
const AT_THE_DOOR: usize = 16;

/// Whoever is cut off while it still speaks sees a broken pipe and not the answer, so it is heard out for so long.
pub(super) const HEARD_OUT_FOR: Duration = Duration::from_secs(1);

/// How many are being heard out.
#[derive(Default)]
pub(super) struct Door(Rc<Cell<usize>>);

impl Door {
    /// Hears a client out to which the answer has been written. `None`: too many are at the door already.
    pub(super) fn see_off(&self, stream: UnixStream) -> Option<impl Future<Output = ()> + 'static> {
        let at_the_door = Rc::clone(&self.0);
        let place = Some(at_the_door.get() + 1).filter(|&place| place <= AT_THE_DOOR)?;
        at_the_door.set(place);
        Some(async move {
            let _ = rustix::net::shutdown(&stream, Shutdown::Write);
            let hear_out = async {
                let mut words = [0; 1024];
                while stream.readable().await.is_ok() {
                    match stream.try_read(&mut words) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Ok(0) | Err(_) => break,
                        Ok(_) => {}
                    }
                }
            };
            let _ = timeout(HEARD_OUT_FOR, hear_out).await;
            at_the_door.set(at_the_door.get().saturating_sub(1));
        })
    }
}
